use crate::encoder::Encoder;
use crate::link::{Load, Packet, Piece};
use ion_engine::Micros;
use ion_engine::congestion::{Ecn, Estimator, PacketReport, Probe, SentPackets, Wanted};
use ion_wire::rtcp::{Compound, Packet as Rtcp, Rtpfb, ccfb};
use ion_wire::seq;
use std::collections::{HashMap, VecDeque};

/// IP bytes of a full packet, and of its headers.
pub(crate) const FULL: u32 = 1_200;
const HEADERS: u32 = 48;
/// A burst may be this long, microseconds.
const BURST_US: f64 = 2_000.0;
/// How often the estimator is called without feedback.
const TIMEOUT_US: u64 = 100_000;
/// A picture that is older than this is not worth sending again, microseconds.
const AGAIN_US: u64 = 400_000;

/// A media flow's sending end: encoder, pacer, estimator.
pub(crate) struct Sender {
    pub(crate) flow: usize,
    pub(crate) estimator: Box<dyn Estimator>,
    pub(crate) encoder: Encoder,
    sent: SentPackets,
    reports: Vec<PacketReport>,
    arrivals: Box<[Option<ccfb::Arrival>; ion_engine::limits::SENT_PACKETS]>,
    queue: VecDeque<(Piece, u32)>,
    /// Pieces by number, to send again.
    pieces: HashMap<u64, (Piece, u32)>,
    again: bool,
    frame: u64,
    /// Bits that may be sent.
    budget: f64,
    ticked: Micros,
    timed_out: Micros,
    probe: Option<(Probe, i64)>,
    probe_budget: f64,
    ecn: Ecn,
    delay_us: u64,
    pace: f64,
}

pub(crate) struct SenderSpec {
    pub(crate) flow: usize,
    pub(crate) ecn: Ecn,
    pub(crate) delay_us: u64,
    pub(crate) again: bool,
}

impl Sender {
    pub(crate) fn new(spec: &SenderSpec, estimator: Box<dyn Estimator>, encoder: Encoder) -> Self {
        let scalable = spec.ecn == Ecn::Ect1;
        Self {
            flow: spec.flow,
            estimator,
            encoder,
            sent: SentPackets::new(0, scalable, spec.ecn),
            reports: Vec::with_capacity(ion_engine::limits::SENT_PACKETS),
            arrivals: Box::new([None; ion_engine::limits::SENT_PACKETS]),
            queue: VecDeque::new(),
            pieces: HashMap::new(),
            again: spec.again,
            frame: 0,
            budget: 0.0,
            ticked: Micros(0),
            timed_out: Micros(0),
            probe: None,
            probe_budget: 0.0,
            ecn: spec.ecn,
            delay_us: spec.delay_us,
            pace: if scalable { 1.15 } else { 1.5 },
        }
    }

    pub(crate) fn feedback(&mut self, now: Micros, message: &[u8]) {
        let mut lost = Vec::new();
        for packet in Compound::iter(message).flatten() {
            self.reports.clear();
            let newest = self.sent.next().saturating_sub(1);
            match packet {
                Rtcp::Rtpfb(Rtpfb::Twcc(twcc)) => {
                    let missing = twcc.statuses().filter(|(_, delta)| delta.is_none());
                    lost.extend(missing.map(|(at, _)| seq::extend(at, newest)));
                    let _ = self.sent.twcc(now, &twcc, &mut self.reports);
                }
                Rtcp::Rtpfb(Rtpfb::Ccfb(ccfb)) => {
                    let reports = ccfb
                        .streams()
                        .flat_map(|stream| stream.reports().collect::<Vec<_>>());
                    let missing = reports.filter(|(_, arrival)| arrival.is_none());
                    lost.extend(missing.map(|(at, _)| seq::extend(at, newest)));
                    let _ = self
                        .sent
                        .ccfb(now, &ccfb, &mut self.arrivals, &mut self.reports);
                }
                _ => continue,
            }
            self.estimator.on_feedback(now, &self.reports);
            if !self.estimator.is_probing() {
                self.probe = None;
            }
        }
        if self.again {
            self.resend(now, &lost);
        }
    }

    fn resend(&mut self, now: Micros, lost: &[u64]) {
        for number in lost {
            let Some((mut piece, bytes)) = self.pieces.remove(number) else {
                continue;
            };
            if now.since(piece.captured) < AGAIN_US {
                piece.again = true;
                self.queue.push_front((piece, bytes));
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Micros, active: bool, out: &mut Vec<Packet>) {
        if now.since(self.timed_out) >= TIMEOUT_US {
            self.timed_out = now;
            let unheard = self.sent.unheard_since(now);
            self.estimator.on_timeout(now, unheard);
        }
        let target = self.estimator.target_bps();
        // Layers are chosen for what there is when a queue is gone, as the engine does.
        let rate = if self.encoder.has_layers() {
            self.estimator.sustained_bps()
        } else {
            target
        };
        if active && let Some(picture) = self.encoder.picture(now, rate) {
            self.cut(picture);
        }
        let passed = now.since(self.ticked) as f64;
        self.ticked = now;
        if active && self.probe.is_none() {
            // Twice, for layers, as the engine does: then nothing needs to be spread.
            let most = self.encoder.max_bps();
            let most_bps = if self.encoder.has_layers() {
                2 * most
            } else {
                most * 21 / 20
            };
            let next_bps = self.encoder.next_bps(now);
            let wanted = Wanted { most_bps, next_bps };
            self.probe = self
                .estimator
                .probe(now, wanted)
                .map(|probe| (probe, i64::from(probe.bytes)));
            if let Some((probe, _)) = &self.probe {
                self.sent.set_probe(probe.id);
                self.probe_budget = 0.0;
            }
        }
        if let Some((probe, left)) = self.probe {
            self.send_probe(now, probe, left, passed, out);
            return;
        }
        let waiting: u32 = self.queue.iter().map(|(_, bytes)| bytes).sum();
        // What waits goes out within half a second, whatever the target.
        let rate = (self.pace * target as f64).max(f64::from(waiting) * 8.0 / 0.5);
        self.budget = (self.budget + rate * passed / 1e6).min(rate * BURST_US / 1e6);
        while self.budget > 0.0
            && let Some((piece, bytes)) = self.queue.pop_front()
        {
            self.budget -= f64::from(bytes) * 8.0;
            self.send(now, Load::Media(piece), bytes, false, out);
        }
    }

    fn send_probe(
        &mut self,
        now: Micros,
        probe: Probe,
        mut left: i64,
        passed: f64,
        out: &mut Vec<Packet>,
    ) {
        self.probe_budget += probe.rate_bps as f64 * passed / 1e6;
        while self.probe_budget > 0.0 && left > 0 {
            let (load, bytes) = match self.queue.pop_front() {
                Some((piece, bytes)) => (Load::Media(piece), bytes),
                None => (Load::Padding, FULL),
            };
            self.probe_budget -= f64::from(bytes) * 8.0;
            left -= i64::from(bytes);
            self.send(now, load, bytes, true, out);
        }
        self.probe = (left > 0).then_some((probe, left));
        self.budget = 0.0;
    }

    fn cut(&mut self, picture: crate::encoder::Picture) {
        let room = FULL - HEADERS;
        let parts = picture.bytes.div_ceil(room).max(1);
        for part in 0..parts {
            let piece = Piece {
                frame: self.frame,
                part: part as u16,
                parts: parts as u16,
                key: picture.key,
                captured: picture.captured,
                again: false,
            };
            let bytes = picture.bytes / parts + HEADERS;
            self.queue.push_back((piece, bytes));
        }
        self.frame += 1;
    }

    fn send(&mut self, now: Micros, load: Load, bytes: u32, probe: bool, out: &mut Vec<Packet>) {
        let number = self.sent.next();
        let stream = (self.flow as u32 + 1, (number & 0xffff) as u16);
        self.sent.sent(now, bytes as usize, probe, stream);
        if self.again
            && let Load::Media(piece) = load
        {
            self.pieces.insert(number, (piece, bytes));
            self.pieces.remove(&number.wrapping_sub(2_048));
        }
        out.push(Packet {
            flow: self.flow,
            number,
            bytes,
            ecn: self.ecn,
            sent: now,
            delay_us: self.delay_us,
            load,
            queued: now,
            waited_us: 0,
        });
    }

    /// Forgets what waits: the source pauses.
    pub(crate) fn pause(&mut self) {
        self.queue.clear();
        self.probe = None;
    }
}
