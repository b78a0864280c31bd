use crate::bandwidth::PacketFeedback;
use crate::engine::Engine;
use crate::ingress::srtp_drop;
use crate::limits::SENDER_REPORT_MIN_US;
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::time::Micros;
use crate::transport::{Sent, StreamKind};
use ion_srtp::SrtpError;
use ion_tables::{DropReason, EventKind, RowKind};
use ion_wire::ntp;
use ion_wire::rtcp::{Compound, Packet, Psfb, ReportBlock, Rtpfb, SenderInfo};

impl Engine {
    /// One SRTCP compound of one of our transports, as publisher or as viewer.
    pub(crate) fn ingest_rtcp<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        datagram: &[u8],
        out: &mut O,
    ) {
        // A copy of the engine's own: what follows reads the compound and changes the engine.
        let Some(slot) = self.take_packet(now) else {
            return self.drop_of(row, DropReason::NoBuffer);
        };
        match self.open_rtcp(now, row, datagram, slot) {
            Ok(len) => {
                if let Some(packet) = self.pool.share(slot) {
                    let plain = packet.buffer.get(..len).unwrap_or_default();
                    self.read_rtcp(now, row, plain, out);
                }
            }
            Err(reason) => self.drop_of(row, reason),
        }
        self.pool.put_back(slot);
    }

    fn open_rtcp(
        &mut self,
        now: Micros,
        row: u32,
        datagram: &[u8],
        slot: u32,
    ) -> Result<usize, DropReason> {
        let transport = self.transports[row as usize]
            .as_deref_mut()
            .ok_or(DropReason::UnknownAddress)?;
        let keys = transport.keys.as_mut().ok_or(DropReason::AuthFailed)?;
        let packet = self.pool.fill(slot).ok_or(DropReason::NoBuffer)?;
        let opened = keys.open_rtcp(datagram, &mut packet.buffer);
        let len = opened.map_err(|error| match error {
            SrtpError::TooShort | SrtpError::NotEncrypted => DropReason::MalformedRtcp,
            other => srtp_drop(other),
        })?;
        if let Some(counters) = self.transport_counters(row) {
            counters.rtcp_received.add(1);
            counters.packets_received.add(1);
            counters.bytes_received.add(datagram.len() as u64);
            counters.last_received_us.set(now.0);
        }
        Ok(len)
    }

    fn read_rtcp<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        plain: &[u8],
        out: &mut O,
    ) {
        for packet in Compound::iter(plain) {
            let Ok(packet) = packet else {
                return self.drop_of(row, DropReason::MalformedRtcp);
            };
            match packet {
                Packet::SenderReport(report) => {
                    self.sender_report(now, row, report.ssrc, &report.info, out);
                    report
                        .blocks()
                        .for_each(|block| self.report_block(now, row, &block));
                }
                Packet::ReceiverReport(report) => report
                    .blocks()
                    .for_each(|block| self.report_block(now, row, &block)),
                Packet::Bye(bye) => bye.ssrcs().for_each(|ssrc| self.bye(now, row, ssrc)),
                Packet::Rtpfb(Rtpfb::Nack(nack)) => {
                    if let Some(subscription) = self.subscription_of(row, nack.media_ssrc) {
                        self.answer_nack(now, row, subscription, nack.sequences(), out);
                    }
                }
                Packet::Psfb(Psfb::Pli(pli)) => self.keyframe_asked(now, row, pli.media_ssrc, None),
                Packet::Psfb(Psfb::Fir(fir)) => fir.entries().for_each(|entry| {
                    self.keyframe_asked(now, row, entry.ssrc, Some(entry.sequence));
                }),
                Packet::Psfb(Psfb::Remb(remb)) => self.take_remb(now, row, remb.bitrate_bps),
                Packet::Rtpfb(Rtpfb::Twcc(twcc)) => {
                    self.take_feedback(now, row, PacketFeedback::Twcc(twcc));
                }
                Packet::Rtpfb(Rtpfb::Ccfb(ccfb)) => {
                    self.take_feedback(now, row, PacketFeedback::Ccfb(ccfb));
                }
                _ => {}
            }
        }
    }

    /// What we send with an SSRC on a transport.
    fn sent_with(&self, transport: u32, ssrc: u32) -> Option<Sent> {
        let transport = self.transports[transport as usize].as_ref()?;
        transport.sent.get(&ssrc).copied()
    }

    /// The subscription that we send a media SSRC for, on a transport.
    fn subscription_of(&self, transport: u32, ssrc: u32) -> Option<u32> {
        let sent = self.sent_with(transport, ssrc)?;
        (sent.kind == StreamKind::Media).then_some(sent.subscription)
    }

    /// The encoding that a publisher sends a media SSRC for.
    fn encoding_of(&self, transport: u32, ssrc: u32) -> Option<u32> {
        let transport = self.transports[transport as usize].as_ref()?;
        let stream = &transport.streams[transport.stream(ssrc)?];
        (stream.kind == StreamKind::Media).then_some(stream.encoding)
    }

    fn sender_report<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        ssrc: u32,
        info: &SenderInfo,
        out: &mut O,
    ) {
        let Some(encoding_row) = self.encoding_of(row, ssrc) else {
            return;
        };
        let ours = self.ntp(now);
        let (Some(transport), Some(encoding)) = (
            self.transports[row as usize].as_deref_mut(),
            self.encodings[encoding_row as usize].as_deref_mut(),
        ) else {
            return;
        };
        let link = encoding.link;
        let Some(receiver) = encoding
            .receiver
            .as_deref_mut()
            .filter(|receiver| receiver.ssrc == ssrc)
        else {
            return;
        };
        // Each report goes to every worker: a publisher must not fill their rings.
        if receiver
            .last_report
            .is_some_and(|(_, at)| now.since(at) < SENDER_REPORT_MIN_US)
        {
            return self.drop_of(row, DropReason::RateLimited);
        }
        let mapping = crate::clock::ClockMapping {
            ssrc,
            ntp: transport.clock.observe(ours, info.ntp),
            rtp: info.rtp_timestamp,
        };
        receiver.last_report = Some((ntp::middle(info.ntp), now));
        receiver.mapping = Some(mapping);
        receiver.state.sr_ntp = info.ntp;
        receiver.state.sr_rtp = info.rtp_timestamp;
        if let Some(feed) = encoding.feed.as_deref_mut() {
            feed.reported = Some(mapping);
        }
        let mut workers = self.other_workers(link);
        while workers != 0 {
            let worker = workers.trailing_zeros() as usize;
            workers &= workers - 1;
            let message = PeerMessage::SenderReport {
                encoding: link,
                mapping,
            };
            if out.to_worker(worker, message).is_err() {
                self.drop_packet(DropReason::PeerRingFull);
            }
        }
    }

    fn report_block(&mut self, now: Micros, row: u32, block: &ReportBlock) {
        let middle = ntp::middle(self.ntp(now));
        let Some(sent) = self.sent_with(row, block.ssrc) else {
            return;
        };
        if sent.kind != StreamKind::Media {
            return self.extras_reported(row, sent, block);
        }
        let subscription = sent.subscription;
        let Some(subscriber) = self.subscriptions[subscription as usize].as_deref_mut() else {
            return;
        };
        let rtt = ntp::round_trip_us(middle, block.last_sr, block.delay_since_last_sr);
        if let Some(rtt) = rtt {
            subscriber.rtt_us = rtt;
        }
        let rate = u64::from(subscriber.config.clock_rate.max(1));
        if let Some(counters) = self.subscription_counters(subscription) {
            counters
                .packets_lost
                .set(i64::from(block.cumulative_lost).cast_unsigned());
            counters.fraction_lost.set(u64::from(block.fraction_lost));
            counters
                .jitter_us
                .set(u64::from(block.jitter) * 1_000_000 / rate);
            if let Some(rtt) = rtt {
                counters.rtt_us.set(rtt);
            }
        }
        if let (Some(rtt), Some(counters)) = (rtt, self.transport_counters(row)) {
            counters.rtt_us.set(rtt);
        }
    }

    /// A publisher says that a stream has ended. Told once, until packets come again.
    fn bye(&mut self, now: Micros, row: u32, ssrc: u32) {
        let Some(encoding) = self.encoding_of(row, ssrc) else {
            return;
        };
        let Some(encoding) = self.encodings[encoding as usize].as_deref_mut() else {
            return;
        };
        let link = encoding.link;
        let Some(receiver) = encoding
            .receiver
            .as_deref_mut()
            .filter(|receiver| receiver.ssrc == ssrc)
        else {
            return;
        };
        if receiver.ended.is_some() && receiver.ended >= receiver.last_packet {
            return;
        }
        receiver.ended = Some(now);
        let kind = EventKind::EncodingEnded;
        self.event(now, kind, RowKind::Encoding, link, u64::from(ssrc));
    }

    /// A viewer asks for a keyframe: of what it is being sent.
    fn keyframe_asked(&mut self, now: Micros, row: u32, ssrc: u32, fir: Option<u8>) {
        let Some(subscription) = self.subscription_of(row, ssrc) else {
            return;
        };
        let (Some(transport), Some(subscriber)) = (
            self.transports[row as usize].as_deref_mut(),
            self.subscriptions[subscription as usize].as_deref_mut(),
        ) else {
            return;
        };
        let counted = transport.budget.take_keyframe(now);
        // The same sequence number again is a repetition, not a request (RFC 5104, 4.3.1.2).
        let repeated = fir.is_some() && subscriber.fir_sequence == fir;
        subscriber.fir_sequence = fir.or(subscriber.fir_sequence);
        let source = subscriber.source.map(|source| source.encoding);
        let encoding = source
            .or(subscriber.target)
            .filter(|_| !subscriber.is_paused());
        let asked = encoding.filter(|_| counted && !repeated);
        let asked = asked.filter(|_| subscriber.may_ask_for_keyframe(now));
        let refused = !counted || (asked.is_none() && encoding.is_some() && !repeated);
        if let Some(counters) = self.subscription_counters(subscription) {
            counters.plis_received.add(u64::from(fir.is_none()));
            counters.firs_received.add(u64::from(fir.is_some()));
        }
        if refused {
            return self.drop_of(row, DropReason::RateLimited);
        }
        if let Some(encoding) = asked {
            self.want_keyframe(now, encoding);
        }
    }
}
