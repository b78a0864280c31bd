use crate::congestion::Ecn;
use crate::demux::Found;
use crate::encoding::Receiver;
use crate::engine::Engine;
use crate::limits::{NACK_REORDER_US, REBIND_INTERVAL_US, TWCC_MIN_US, UPKEEP_US};
use crate::nack::Gaps;
use crate::output::Output;
use crate::packet::Packet;
use crate::peer::PeerMessage;
use crate::rewrite::{self, Running};
use crate::speech;
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::{StreamKind, Transport};
use crate::window::Seen;
use ion_srtp::{RxIndex, SrtpError};
use ion_tables::{DropReason, EncodingConfig, EventKind, ExtensionKind, RowKind, RowLink};
use ion_wire::rtp::RtpHeader;
use ion_wire::{CodecKind, ext};
use std::sync::Arc;

mod fec;
mod rtx;

/// A packet that has been opened: what is known of it before its stream is.
struct Opened {
    header: RtpHeader,
    index: u64,
    /// Its packet in the pool.
    slot: u32,
}

pub(crate) fn srtp_drop(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Replayed => DropReason::Replayed,
        SrtpError::TooOld => DropReason::TooOld,
        SrtpError::BufferTooSmall => DropReason::Truncated,
        SrtpError::TooShort => DropReason::MalformedRtp,
        SrtpError::IndexExhausted => DropReason::IndexExhausted,
        _ => DropReason::AuthFailed,
    }
}

impl Engine {
    /// One SRTP packet of one of our transports.
    pub(crate) fn ingest_rtp<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        (datagram, ecn): (&[u8], Ecn),
        out: &mut O,
    ) {
        let Ok(header) = RtpHeader::parse(datagram) else {
            return self.drop_of(row, DropReason::MalformedRtp);
        };
        let Some(slot) = self.take_packet(now) else {
            return self.drop_of(row, DropReason::NoBuffer);
        };
        match self.open(now, row, header, (datagram, ecn), slot) {
            Ok((opened, stream)) => self.accept(now, row, &opened, stream, out),
            Err(reason) => {
                self.drop_of(row, reason);
                self.pool.put_back(slot);
            }
        }
    }

    /// An authentic packet of a stream that is known.
    fn accept<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        opened: &Opened,
        stream: Found,
        out: &mut O,
    ) {
        let encoding = stream.encoding;
        let accepted = match stream.kind {
            StreamKind::Media => self.accept_media(now, opened, encoding, out),
            StreamKind::Rtx => self.accept_rtx(now, opened, encoding),
            StreamKind::Fec => return self.accept_fec(now, row, opened, encoding, out),
        };
        match accepted {
            Ok(packet) => {
                if packet.redundant_len > 0 {
                    self.recover_redundant(now, opened.index, &packet, out);
                }
                let kept = stream.kind == StreamKind::Media
                    && self.keep_for_repair(encoding, opened.index, &packet);
                self.publish(now, packet, out);
                if kept {
                    self.mend(now, row, encoding, out);
                }
            }
            Err(reason) => {
                self.drop_of(row, reason);
                self.pool.put_back(opened.slot);
            }
        }
    }

    /// Authenticates and decrypts a packet into its slot, and finds its stream.
    fn open(
        &mut self,
        now: Micros,
        row: u32,
        header: RtpHeader,
        (datagram, ecn): (&[u8], Ecn),
        slot: u32,
    ) -> Result<(Opened, Found), DropReason> {
        let missing = DropReason::UnknownAddress;
        let transport = self.transports[row as usize]
            .as_deref_mut()
            .ok_or(missing)?;
        let packet = self.pool.fill(slot).ok_or(DropReason::NoBuffer)?;
        let place = transport.stream(header.ssrc);
        // State of an SSRC never seen is made only after its packet was authenticated.
        let mut fresh = RxIndex::new();
        let Transport { keys, streams, .. } = transport;
        let keys = keys.as_mut().ok_or(DropReason::AuthFailed)?;
        let rx = match place {
            Some(place) => &mut streams[place].rx,
            None => &mut fresh,
        };
        let index = rx.estimate(header.sequence).map_err(srtp_drop)?;
        let opened = keys.opener.open_rtp(
            usize::from(header.header_len),
            header.ssrc,
            header.sequence,
            datagram,
            rx,
            &mut packet.buffer,
        );
        let len = opened.map_err(srtp_drop)?;
        (packet.arrival, packet.ecn) = (now, ecn);
        packet
            .read(&header, len, &transport.config.extensions)
            .ok_or(DropReason::MalformedRtp)?;
        self.account(now, row, (datagram.len(), header.sequence), slot);
        let found = match place {
            Some(place) => self.known_stream(row, place),
            None => self.demux(now, row, &header, slot, fresh),
        };
        let found = found.ok_or(DropReason::UnknownSsrc)?;
        if let Some(transport) = self.transports[row as usize].as_deref_mut() {
            transport.streams[found.place].last_packet = now;
        }
        let opened = Opened {
            header,
            index,
            slot,
        };
        Ok((opened, found))
    }

    /// Accounts an authenticated packet to its transport.
    fn account(&mut self, now: Micros, row: u32, (len, sequence): (usize, u16), slot: u32) {
        if let Some(counters) = self.transport_counters(row) {
            counters.packets_received.add(1);
            counters.bytes_received.add(len as u64);
            counters.last_received_us.set(now.0);
        }
        let (Some(transport), Some(packet)) = (
            self.transports[row as usize].as_deref_mut(),
            self.pool.fill(slot),
        ) else {
            return;
        };
        transport.bytes_since_report += len as u64;
        if let Some(twcc) = &mut transport.twcc
            && let Some(value) = packet.extension(ExtensionKind::TransportCc)
            && let Some(number) = ext::parse_transport_cc(value)
        {
            twcc.received(now, number);
            let due = (transport.last_feedback + TWCC_MIN_US).max(now);
            self.timers.arm(TimerKind::Feedback, row, due);
        } else if let Some(arrivals) = &mut transport.arrivals {
            arrivals.received(now, packet.ssrc, sequence, packet.ecn);
            let due = (transport.last_feedback + TWCC_MIN_US).max(now);
            self.timers.arm(TimerKind::Feedback, row, due);
        }
        if packet.ecn == Ecn::Ce
            && let Some(counters) = self.transport_counters(row)
        {
            counters.congestion_marks_received.add(1);
            self.tables.counters().congestion_marks_received.add(1);
        }
    }

    /// A media packet of an encoding: gives it its place in the encoding's stream.
    fn accept_media<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        opened: &Opened,
        row: u32,
        out: &mut O,
    ) -> Result<Arc<Packet>, DropReason> {
        let Opened { header, index, .. } = *opened;
        let unknown = DropReason::UnknownSsrc;
        let encoding = self.encodings[row as usize].as_deref_mut().ok_or(unknown)?;
        let (link, config, codec) = (encoding.link, encoding.config, encoding.codec);
        let receiver = encoding.receiver.as_deref_mut().ok_or(unknown)?;
        let red = config.red_payload_type != 0 && header.payload_type == config.red_payload_type;
        if header.payload_type != config.payload_type && !red {
            return Err(DropReason::UnknownPayloadType);
        }
        let started = receiver.ssrc != header.ssrc;
        let mut discarded = 0;
        if started {
            if receiver.ssrc != 0 && now.since(receiver.bound) < REBIND_INTERVAL_US {
                return Err(DropReason::RateLimited);
            }
            receiver.bind(now, header.ssrc, index, config.clock_rate);
            discarded = receiver.repair.as_mut().map_or(0, |repair| repair.clear());
        }
        receiver.take_leap(index);
        match receiver.window.insert(index) {
            Seen::New => {}
            Seen::Already => return Err(DropReason::Duplicate),
            Seen::TooOld => return Err(DropReason::TooOld),
        }
        let gaps = receiver.nack.received(now, index);
        receiver
            .reception
            .received(now, index, Some(header.timestamp));
        receiver.state.srtp_next = receiver.state.srtp_next.max(index + 1);
        receiver.state.timestamp = header.timestamp;
        receiver.last_packet = Some(now);
        let newest = receiver.window.next() == index + 1;
        let packet = self.pool.fill(opened.slot).ok_or(DropReason::NoBuffer)?;
        let empty = packet.payload_len == 0;
        if empty && newest {
            receiver.positions.skip(index);
        }
        let placed = place(receiver, index);
        let resumed = std::mem::take(&mut receiver.stalled);
        self.touch(row);
        self.timers.arm(TimerKind::Upkeep, row, now + UPKEEP_US);
        if started {
            self.discard_fec(config.transport.row, row, discarded);
            self.stream_started(now, row, link, header.ssrc);
        }
        if resumed {
            self.event(now, EventKind::EncodingResumed, RowKind::Encoding, link, 0);
        }
        self.note_gaps(now, row, &config, codec, gaps);
        if empty && newest {
            return Err(DropReason::PaddingOnly);
        }
        let position = placed?;
        if red && !empty {
            let packet = self.pool.fill(opened.slot).ok_or(DropReason::NoBuffer)?;
            if !packet.open_red() {
                return Err(DropReason::MalformedRtp);
            }
            if started {
                // What was before the beginning is nobody's.
                packet.redundant_len = 0;
            }
            if let Some(counters) = self.encoding_counters(row) {
                counters.red_received.add(1);
            }
        }
        if !codec.is_video() {
            self.listen(now, row, opened.slot, newest, out);
        }
        self.finish(opened.slot, link, codec, position)
    }

    /// Takes in how loud a packet of audio says it is; `newest`: it came in order.
    fn listen<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        slot: u32,
        newest: bool,
        out: &mut O,
    ) {
        let (Some(packet), Some(encoding)) = (
            self.pool.fill(slot),
            self.encodings[row as usize].as_deref_mut(),
        ) else {
            return;
        };
        let (track, codec) = (encoding.config.track, encoding.codec);
        let Some(receiver) = encoding.receiver.as_deref_mut() else {
            return;
        };
        let level = packet.extension(ExtensionKind::AudioLevel);
        let level = level.and_then(ext::AudioLevel::parse);
        let silence =
            codec == CodecKind::Opus && receiver.pauses.is_silence(now, level, packet.payload_len);
        packet.silent = silence && newest;
        let change = level.and_then(|level| receiver.speech.heard(now, level.level));
        let heard = if silence {
            Some(ext::AudioLevel::SILENCE)
        } else {
            level
        };
        let loudness = receiver.loudness.heard(now, heard);
        self.speech_changed(now, row, change);
        if let Some(loudness) = loudness {
            self.tell_stage(now, track, loudness, out);
        }
    }

    /// Tells of speech that has begun or ended.
    pub(crate) fn speech_changed(&mut self, now: Micros, row: u32, change: Option<speech::Change>) {
        let Some((change, encoding)) = change.zip(self.encodings[row as usize].as_deref()) else {
            return;
        };
        let (kind, value) = match change {
            speech::Change::Started(level) => (EventKind::SpeechStarted, u64::from(level)),
            speech::Change::Ended => (EventKind::SpeechEnded, 0),
        };
        self.event(now, kind, RowKind::Encoding, encoding.link, value);
    }

    /// Fills in what a packet is, and shares it.
    pub(crate) fn finish(
        &mut self,
        slot: u32,
        encoding: RowLink,
        codec: CodecKind,
        position: u64,
    ) -> Result<Arc<Packet>, DropReason> {
        let packet = self.pool.fill(slot).ok_or(DropReason::NoBuffer)?;
        packet.encoding = encoding;
        packet.position = position;
        packet.codec = codec;
        packet.paddable = false;
        // What has no keyframes, or none that we can see, may begin anywhere.
        packet.keyframe = !codec.is_video();
        (packet.frame, packet.running) = (None, Running::default());
        if codec.is_video() && packet.payload_len > 0 {
            let receiver = self.encodings[encoding.row as usize]
                .as_deref_mut()
                .and_then(|encoding| encoding.receiver.as_deref_mut());
            let receiver = receiver.ok_or(DropReason::UnknownSsrc)?;
            let said = receiver
                .frames
                .read(codec, packet)
                .map_err(|_| DropReason::MalformedDescriptor)?;
            packet.keyframe = said.keyframe;
            packet.frame = said.frame;
            packet.running = Running {
                payload: said.numbers,
                frame: rewrite::frame_number(packet),
            };
        }
        if codec.is_video() {
            packet.lay_ramp();
        }
        self.count_media(slot, encoding.row, codec);
        self.pool.share(slot).ok_or(DropReason::NoBuffer)
    }

    fn count_media(&mut self, slot: u32, row: u32, codec: CodecKind) {
        let Some(packet) = self.pool.fill(slot) else {
            return;
        };
        let (marker, timestamp) = (packet.marker, packet.timestamp);
        let keyframe = packet.keyframe && codec.is_video();
        let (bytes, arrival) = (u64::from(packet.payload_len), packet.arrival);
        let mut begins = false;
        if keyframe && let Some(encoding) = self.encodings[row as usize].as_deref_mut() {
            encoding.keyframe.came();
            if let Some(receiver) = encoding.receiver.as_deref_mut() {
                begins = receiver.last_keyframe.replace(timestamp) != Some(timestamp);
            }
        }
        if let Some(counters) = self.encoding_counters(row) {
            counters.packets_received.add(1);
            counters.bytes_received.add(bytes);
            counters.frames_received.add(u64::from(marker));
            counters.key_frames_received.add(u64::from(begins));
            counters.last_received_us.set(arrival.0);
        }
    }

    fn stream_started(&mut self, now: Micros, row: u32, link: RowLink, ssrc: u32) {
        let value = u64::from(ssrc);
        self.event(
            now,
            EventKind::EncodingStarted,
            RowKind::Encoding,
            link,
            value,
        );
        self.timers.arm(TimerKind::Keyframe, row, now);
        self.timers.arm(TimerKind::KeyframeWait, row, now);
    }

    fn note_gaps(
        &mut self,
        now: Micros,
        row: u32,
        config: &EncodingConfig,
        codec: CodecKind,
        gaps: Gaps,
    ) {
        let nack = config.feedback & EncodingConfig::NACK != 0;
        match gaps {
            Gaps::Same => {}
            Gaps::Opened if nack => {
                let at = now + NACK_REORDER_US / 2;
                self.timers.arm(TimerKind::Nack, row, at);
            }
            Gaps::Opened => {
                if let Some(encoding) = self.encodings[row as usize].as_deref_mut()
                    && let Some(receiver) = encoding.receiver.as_deref_mut()
                {
                    receiver.nack.forget();
                }
            }
            Gaps::TooMany if codec.is_video() => {
                self.want_keyframe(now, config.head.link(row));
            }
            Gaps::TooMany => {}
        }
    }

    /// The state of an encoding is to be stored at the end of the batch.
    fn touch(&mut self, row: u32) {
        if let Some(encoding) = self.encodings[row as usize].as_deref_mut()
            && let Some(receiver) = encoding.receiver.as_deref_mut()
            && !std::mem::replace(&mut receiver.touched, true)
        {
            self.touched.push(row);
        }
    }

    /// Gives a new packet of an encoding to the workers that have subscribers of it.
    pub(crate) fn publish<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        packet: Arc<Packet>,
        out: &mut O,
    ) {
        let row = packet.encoding.row;
        let workers = self.other_workers(packet.encoding);
        let mut rest = workers;
        while rest != 0 {
            let worker = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let message = PeerMessage::Packet(Arc::clone(&packet));
            if out.to_worker(worker, message).is_ok() {
                self.tables.counters().packets_crossed_out.add(1);
                if let Some(counters) = self.encoding_counters(row) {
                    counters.packets_crossed.add(1);
                }
            } else {
                self.drop_packet(DropReason::PeerRingFull);
            }
        }
        self.enqueue(now, packet, out);
    }

    /// Other workers with subscribers of an encoding's track, a bit each.
    pub(crate) fn other_workers(&mut self, encoding: RowLink) -> u64 {
        let Some(encoding) = self.encoding(encoding) else {
            return 0;
        };
        let track = encoding.config.track;
        let all = self.track(track).map_or(0, |track| {
            let seat = self.track(track.part.partner);
            let seat = seat.map_or(0, |seat| seat.config.subscriber_workers);
            track.config.subscriber_workers | seat
        });
        let known = 1_u64
            .checked_shl(u32::try_from(self.tables.tables().workers()).unwrap_or(64))
            .map_or(u64::MAX, |bit| bit - 1);
        all & known & !(1 << self.worker)
    }
}

/// The place of an authenticated index in its encoding's stream.
fn place(receiver: &mut Receiver, index: u64) -> Result<u64, DropReason> {
    let position = receiver.positions.of(index).ok_or(DropReason::TooOld)?;
    receiver.next_position = receiver.next_position.max(position + 1);
    receiver.state.position_offset = receiver.positions.offset();
    Ok(position)
}
