//! What publishers are told and asked when it is due: how their packets arrived, what is missing, keyframes.

use crate::engine::Engine;
use crate::limits::{KEYFRAME_THROTTLE_US, MAX_RTCP, TICK_US, TWCC_MAX_US, TWCC_MESSAGES};
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::report::send_rtcp;
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::StreamKind;
use ion_tables::{EncodingConfig, RowLink, Transport as TransportRow, TransportConfig};
use ion_wire::WireError;
use ion_wire::ntp;
use ion_wire::rtcp::feedback::FirEntry;
use ion_wire::rtcp::twcc::TwccHeader;
use ion_wire::rtcp::{CompoundBuilder, build};

/// What a compound must begin with, unless reduced size was negotiated (RFC 5506): a
/// report, and who we are.
fn begin<'a>(
    buffer: &'a mut [u8],
    config: &TransportConfig,
) -> Result<CompoundBuilder<'a>, WireError> {
    let mut compound = CompoundBuilder::new(buffer);
    if config.flags & TransportConfig::RTCP_REDUCED_SIZE == 0 {
        let ssrc = config.feedback_ssrc;
        compound.push(|out| build::receiver_report(out, ssrc, &[]))?;
        compound.push(|out| build::sdes_cname(out, ssrc, config.cname.as_str()))?;
    }
    Ok(compound)
}

impl Engine {
    /// Feedback by RFC 8888 of what came since the last.
    fn send_arrivals<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let time = ntp::middle(self.ntp(now));
        let Some(transport) = self.transports[row as usize].as_deref_mut() else {
            return;
        };
        transport.last_feedback = now;
        let config = transport.config;
        for _ in 0..TWCC_MESSAGES {
            let Some(arrivals) = &mut transport.arrivals else {
                return;
            };
            let Ok(mut compound) = begin(&mut self.scratch.rtcp[..MAX_RTCP], &config) else {
                return;
            };
            let ssrc = config.feedback_ssrc;
            let written = arrivals.report(now, |streams| {
                compound
                    .push(|out| build::ccfb(out, ssrc, time, streams))
                    .is_ok()
            });
            let Some(written) = written else { return };
            if written
                && send_rtcp(&self.tables, transport, compound.as_bytes(), out)
                && let Some(counters) = self.tables.tables().counters::<TransportRow>(row)
            {
                counters.transport_cc_sent.add(1);
            }
        }
        let pending = transport.arrivals.as_ref().is_some_and(|a| a.is_pending());
        if pending {
            self.timers.arm(TimerKind::Feedback, row, now + TWCC_MAX_US);
        }
    }

    /// Transport-wide feedback of what came since the last, or feedback by RFC 8888.
    pub(crate) fn send_feedback<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let Some(transport) = self.transports[row as usize].as_deref_mut() else {
            return;
        };
        if transport.arrivals.is_some() {
            return self.send_arrivals(now, row, out);
        }
        let media_ssrc = transport
            .streams
            .iter()
            .find(|stream| stream.kind == StreamKind::Media)
            .map_or(0, |stream| stream.ssrc);
        let config = transport.config;
        transport.last_feedback = now;
        for _ in 0..TWCC_MESSAGES {
            let Some(twcc) = &mut transport.twcc else {
                return;
            };
            let Some((base_sequence, count)) = twcc.pending(&mut self.scratch.arrivals) else {
                return;
            };
            let arrivals = &self.scratch.arrivals[..count];
            #[expect(clippy::cast_possible_truncation, reason = "eight bits on the wire")]
            let header = TwccHeader {
                sender_ssrc: config.feedback_ssrc,
                media_ssrc,
                base_sequence,
                feedback_count: transport.state.transport_cc_feedback_count as u8,
            };
            let Ok(mut compound) = begin(&mut self.scratch.rtcp[..MAX_RTCP], &config) else {
                return;
            };
            let mut statuses = 0;
            let written = compound.push(|out| {
                let written = build::twcc(out, &header, arrivals)?;
                statuses = written.statuses;
                Ok(written.len)
            });
            if written.is_err() {
                // Cannot be said in this message: what it begins with is given up.
                twcc.reported(count);
                continue;
            }
            twcc.reported(statuses);
            transport.state.transport_cc_feedback_count =
                transport.state.transport_cc_feedback_count.wrapping_add(1);
            if send_rtcp(&self.tables, transport, compound.as_bytes(), out)
                && let Some(counters) = self.tables.tables().counters::<TransportRow>(row)
            {
                counters.transport_cc_sent.add(1);
            }
        }
        if transport
            .twcc
            .as_ref()
            .is_some_and(|twcc| twcc.is_pending())
        {
            self.timers.arm(TimerKind::Feedback, row, now + TWCC_MAX_US);
        }
    }

    /// Sends one feedback message about an encoding to its publisher.
    fn send_to_publisher<O, F>(&mut self, link: RowLink, out: &mut O, write: F) -> bool
    where
        O: Output<Message = PeerMessage>,
        F: FnOnce(&mut [u8], u32) -> Result<usize, WireError>,
    {
        let transport = self
            .transports
            .get_mut(link.row as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|transport| transport.link == link);
        let Some(transport) = transport else {
            return false;
        };
        let ssrc = transport.config.feedback_ssrc;
        let Ok(mut compound) = begin(&mut self.scratch.rtcp[..MAX_RTCP], &transport.config) else {
            return false;
        };
        compound.push(|out| write(out, ssrc)).is_ok()
            && send_rtcp(&self.tables, transport, compound.as_bytes(), out)
    }

    /// Asks a publisher for what is missing of an encoding.
    pub(crate) fn send_nacks<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
            return;
        };
        let (link, transport) = (encoding.link, encoding.config.transport);
        let Some(receiver) = encoding.receiver.as_deref_mut() else {
            return;
        };
        let media_ssrc = receiver.ssrc;
        let (count, given_up) = receiver.nack.due(now, &mut self.scratch.missing);
        let again = !receiver.nack.is_empty();
        if count > 0 {
            let mut sequences = [0_u16; crate::limits::NACK_BATCH];
            for (sequence, &index) in sequences.iter_mut().zip(&self.scratch.missing[..count]) {
                *sequence = crate::seal::low16(index);
            }
            let sent = self.send_to_publisher(transport, out, |out, ssrc| {
                build::nack(out, ssrc, media_ssrc, &sequences[..count])
            });
            if let Some(counters) = self.encoding_counters(row).filter(|_| sent) {
                counters.nacks_sent.add(count as u64);
                counters.nack_messages_sent.add(1);
                self.tables.counters().nacks_sent.add(count as u64);
            }
        }
        if given_up {
            // Viewers cannot decode past it: only a new picture helps.
            self.want_keyframe(now, link);
        }
        if again {
            self.timers.arm(TimerKind::Nack, row, now + TICK_US);
        }
    }

    /// Asks for a keyframe of an encoding: its publisher, or its worker if that is
    /// another.
    pub(crate) fn request_keyframe<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let Some(encoding) = self.encodings[row as usize].as_deref() else {
            return;
        };
        let (link, config) = (encoding.link, encoding.config);
        let Some(due) = encoding.keyframe.due() else {
            // One came meanwhile; not everybody could be sent it, maybe.
            let again = now + KEYFRAME_THROTTLE_US;
            self.timers.arm(TimerKind::KeyframeWait, row, again);
            return;
        };
        if due > now {
            self.timers.arm(TimerKind::Keyframe, row, due);
            return;
        }
        if config.worker != self.worker {
            let message = PeerMessage::Keyframe { encoding: link };
            if out.to_worker(usize::from(config.worker), message).is_err() {
                self.drop_packet(ion_tables::DropReason::PeerRingFull);
            }
        } else if !self.ask_publisher(row, &config, out) {
            // Nobody to ask yet: asked again when the encoding starts.
            return;
        }
        if let Some(encoding) = self.encodings[row as usize].as_deref_mut() {
            encoding.keyframe.sent(now);
            let again = now + KEYFRAME_THROTTLE_US;
            self.timers.arm(TimerKind::KeyframeWait, row, again);
        }
    }

    /// Asks for a keyframe once more if somebody has waited for it too long.
    pub(crate) fn wait_for_keyframe<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) {
        let Some(encoding) = self.encodings[row as usize].as_deref() else {
            return;
        };
        let (link, track) = (encoding.link, encoding.config.track);
        if !self.has_waiting(now, link, track) {
            return;
        }
        if let Some(encoding) = self.encodings[row as usize].as_deref_mut() {
            encoding.keyframe.want_again(now);
        }
        self.timers
            .arm(TimerKind::KeyframeWait, row, now + KEYFRAME_THROTTLE_US);
        self.request_keyframe(now, row, out);
    }

    /// Sends a PLI, or where only that was negotiated a FIR. False if there is nothing
    /// to ask.
    fn ask_publisher<O: Output<Message = PeerMessage>>(
        &mut self,
        row: u32,
        config: &EncodingConfig,
        out: &mut O,
    ) -> bool {
        let Some(receiver) = self.encodings[row as usize]
            .as_deref_mut()
            .and_then(|encoding| encoding.receiver.as_deref_mut())
            .filter(|receiver| receiver.ssrc != 0)
        else {
            return false;
        };
        let media_ssrc = receiver.ssrc;
        let feedback = config.feedback;
        let fir = feedback & EncodingConfig::PLI == 0 && feedback & EncodingConfig::FIR != 0;
        if feedback & (EncodingConfig::PLI | EncodingConfig::FIR) == 0 {
            return false;
        }
        let entry = FirEntry {
            ssrc: media_ssrc,
            sequence: receiver.fir_sequence,
        };
        if fir {
            receiver.fir_sequence = receiver.fir_sequence.wrapping_add(1);
        }
        let sent = self.send_to_publisher(config.transport, out, |out, ssrc| {
            if fir {
                build::fir(out, ssrc, &[entry])
            } else {
                build::pli(out, ssrc, media_ssrc)
            }
        });
        if let Some(counters) = self.encoding_counters(row).filter(|_| sent) {
            counters.plis_sent.add(u64::from(!fir));
            counters.firs_sent.add(u64::from(fir));
            self.tables.counters().keyframes_asked.add(1);
        }
        sent
    }
}
