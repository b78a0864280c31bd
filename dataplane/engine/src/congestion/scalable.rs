use super::{Ecn, PacketReport};
use crate::time::Micros;

/// Weight of the newest round trip in the share of marked packets.
const GAIN: f64 = 1.0 / 8.0;
/// Marks are judged no more often than this, microseconds.
const ROUND_MIN_US: u64 = 25_000;
/// A path without marks for this long may be probed, microseconds.
const QUIET_US: u64 = 2_000_000;

/// The scalable response to congestion marks that L4S asks for (RFC 9331, 4.3): the
/// target falls in proportion to the share of packets that are marked, each round trip.
#[derive(Debug, Clone)]
pub(crate) struct Scalable {
    marked: u32,
    total: u32,
    round: Micros,
    alpha: f64,
    last_mark: Option<Micros>,
    /// Congestion marks in all.
    ce: u64,
}

impl Scalable {
    pub(crate) fn new() -> Self {
        Self {
            marked: 0,
            total: 0,
            round: Micros(0),
            alpha: 1.0,
            last_mark: None,
            ce: 0,
        }
    }

    pub(crate) fn add(&mut self, packet: &PacketReport) {
        if packet.arrived.is_some() && packet.ecn != Ecn::NotEct {
            self.total += 1;
            let marked = packet.ecn == Ecn::Ce;
            self.marked += u32::from(marked);
            self.ce += u64::from(marked);
        }
    }

    /// By which share to lower the target, once each round trip in which marks came.
    pub(crate) fn judge(&mut self, now: Micros, rtt_us: u64) -> Option<f64> {
        let began = self.marked > 0 && self.last_mark.is_none();
        if began {
            // The first mark ends the search for capacity.
            (self.alpha, self.last_mark) = (0.5, Some(now));
        }
        if self.total == 0 || now.since(self.round) < rtt_us.max(ROUND_MIN_US) {
            return None;
        }
        let share = f64::from(self.marked) / f64::from(self.total);
        let marked = self.marked > 0;
        (self.marked, self.total, self.round) = (0, 0, now);
        if self.last_mark.is_some() {
            self.alpha += GAIN * (share - self.alpha);
        }
        if marked {
            self.last_mark = Some(now);
        }
        marked.then_some(self.alpha / 2.0)
    }

    /// Whether marks came lately.
    pub(crate) fn is_marking(&self, now: Micros) -> bool {
        self.last_mark.is_some_and(|at| now.since(at) < QUIET_US)
    }

    /// Congestion marks in all.
    pub(crate) fn ce(&self) -> u64 {
        self.ce
    }
}
