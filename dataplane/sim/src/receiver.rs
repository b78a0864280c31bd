use crate::link::{Load, Packet};
use crate::player::Player;
use crate::random::Random;
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use ion_wire::rtcp::ccfb::{self, StreamReport};
use ion_wire::rtcp::twcc::{self, TwccHeader};
use std::collections::VecDeque;

/// The receiver's clock is ahead by this, microseconds.
const AHEAD_US: u64 = 777_123_456;
/// Feedback is sent this often, as browsers do above 220 kbit/s, microseconds.
const FEEDBACK_US: u64 = 50_000;

/// A media flow's receiving end: sends feedback messages, and plays.
pub(crate) struct Receiver {
    flow: usize,
    scalable: bool,
    /// Number of the first of `arrivals`.
    base: u64,
    arrivals: VecDeque<Option<(u64, Ecn)>>,
    fed: Micros,
    count: u8,
    delay_us: u64,
    pub(crate) player: Player,
}

impl Receiver {
    pub(crate) fn new(flow: usize, scalable: bool, delay_us: u64, seed: u64) -> Self {
        // Where in its rhythm a receiver is when something happens is chance.
        let phase = Random::new(seed).unit() * FEEDBACK_US as f64;
        Self {
            flow,
            scalable,
            base: 0,
            arrivals: VecDeque::new(),
            fed: Micros(phase as u64),
            count: 0,
            delay_us,
            player: Player::new(),
        }
    }

    pub(crate) fn arrived(&mut self, at: Micros, packet: &Packet) {
        if let Load::Media(piece) = &packet.load {
            self.player.arrived(at, piece);
        }
        if packet.number < self.base {
            return;
        }
        let place = (packet.number - self.base) as usize;
        if place >= self.arrivals.len() {
            self.arrivals.resize(place + 1, None);
        }
        self.arrivals[place] = Some((at.0 + AHEAD_US, packet.ecn));
    }

    /// Feedback, when it is due.
    pub(crate) fn tick(&mut self, now: Micros, out: &mut Vec<Packet>) {
        if now.since(self.fed) < FEEDBACK_US || self.arrivals.is_empty() {
            return;
        }
        self.fed = now;
        let arrivals: Vec<_> = self.arrivals.drain(..).collect();
        let base = self.base;
        self.base += arrivals.len() as u64;
        if self.scalable {
            self.ccfb(now, base, &arrivals, out);
        } else {
            self.twcc(now, base, &arrivals, out);
        }
    }

    fn twcc(
        &mut self,
        now: Micros,
        base: u64,
        arrivals: &[Option<(u64, Ecn)>],
        out: &mut Vec<Packet>,
    ) {
        let times: Vec<_> = arrivals.iter().map(|a| a.map(|(at, _)| at)).collect();
        let mut from = 0;
        while from < times.len() {
            let mut buf = vec![0; 1_200];
            let header = TwccHeader {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_sequence: ((base + from as u64) & 0xffff) as u16,
                feedback_count: self.count,
            };
            self.count = self.count.wrapping_add(1);
            let Ok(written) = twcc::write(&mut buf, &header, &times[from..]) else {
                return;
            };
            from += written.statuses;
            buf.truncate(written.len);
            self.send(now, buf, out);
        }
    }

    fn ccfb(
        &mut self,
        now: Micros,
        base: u64,
        arrivals: &[Option<(u64, Ecn)>],
        out: &mut Vec<Packet>,
    ) {
        let report_us = now.0 + AHEAD_US;
        let report_time = (u128::from(report_us) * 65_536 / 1_000_000) as u32;
        let arrivals: Vec<_> = arrivals
            .iter()
            .map(|arrival| {
                arrival.map(|(at, ecn)| {
                    let ticks = report_us.saturating_sub(at) * ccfb::TICKS_PER_SECOND / 1_000_000;
                    let before = u16::try_from(ticks).ok();
                    ccfb::Arrival { ecn, before }
                })
            })
            .collect();
        let mut buf = vec![0; 40 + 2 * arrivals.len()];
        let report = StreamReport {
            ssrc: self.flow as u32 + 1,
            begin_sequence: (base & 0xffff) as u16,
            arrivals: &arrivals,
        };
        if let Ok(len) = ccfb::write(&mut buf, 1, report_time, &[report]) {
            buf.truncate(len);
            self.send(now, buf, out);
        }
    }

    fn send(&self, now: Micros, message: Vec<u8>, out: &mut Vec<Packet>) {
        out.push(Packet {
            flow: self.flow,
            number: 0,
            bytes: message.len() as u32 + 42,
            ecn: Ecn::NotEct,
            sent: now,
            delay_us: self.delay_us,
            load: Load::Feedback(message),
            queued: now,
            waited_us: 0,
        });
    }
}
