use crate::link::{Load, Packet};
use ion_engine::Micros;
use ion_engine::congestion::Ecn;
use std::collections::BTreeSet;

/// IP bytes of a segment, and of an acknowledgement.
const SEGMENT: u32 = 1_500;
const ACK: u32 = 52;
/// Without acknowledgement for this long all is sent again, microseconds.
const TIMEOUT_US: u64 = 1_000_000;

/// A TCP flow, both ends: NewReno in its essentials (RFC 6582), for something to compete with.
#[derive(Debug)]
pub(crate) struct Tcp {
    flow: usize,
    /// Segments to send in all.
    segments: u64,
    window: f64,
    threshold: f64,
    next: u64,
    acked: u64,
    duplicates: u32,
    /// Loss is being repaired up to here.
    recover: u64,
    last_ack: Micros,
    again: Option<u64>,
    // The receiving end.
    expected: u64,
    early: BTreeSet<u64>,
    delay_us: u64,
}

impl Tcp {
    pub(crate) fn new(flow: usize, bytes: Option<u64>, start: Micros, delay_us: u64) -> Self {
        Self {
            flow,
            segments: bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(u64::from(SEGMENT))),
            window: 10.0,
            threshold: 1e9,
            next: 0,
            acked: 0,
            duplicates: 0,
            recover: 0,
            last_ack: start,
            again: None,
            expected: 0,
            early: BTreeSet::new(),
            delay_us,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.acked >= self.segments
    }

    fn packet(&self, now: Micros, bytes: u32, load: Load) -> Packet {
        Packet {
            flow: self.flow,
            number: 0,
            bytes,
            ecn: Ecn::NotEct,
            sent: now,
            delay_us: self.delay_us,
            load,
            queued: now,
            waited_us: 0,
        }
    }

    /// A segment arrives: gives the acknowledgement.
    pub(crate) fn segment(&mut self, now: Micros, number: u64) -> Packet {
        if number == self.expected {
            self.expected += 1;
            while self.early.remove(&self.expected) {
                self.expected += 1;
            }
        } else if number > self.expected {
            self.early.insert(number);
        }
        self.packet(now, ACK, Load::Ack(self.expected))
    }

    pub(crate) fn ack(&mut self, now: Micros, expected: u64) {
        if expected > self.acked {
            let newly = (expected - self.acked) as f64;
            self.acked = expected;
            self.last_ack = now;
            self.duplicates = 0;
            if expected < self.recover {
                // A partial acknowledgement: the next hole.
                self.again = Some(expected);
            } else if self.window < self.threshold {
                self.window += newly;
            } else {
                self.window += newly / self.window;
            }
        } else {
            self.duplicates += 1;
            if self.duplicates == 3 && self.acked >= self.recover {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recover = self.next;
                self.again = Some(self.acked);
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Micros, out: &mut Vec<Packet>) {
        if self.next > self.acked && now.since(self.last_ack) > TIMEOUT_US {
            self.threshold = (self.window / 2.0).max(2.0);
            (self.window, self.next, self.recover) = (1.0, self.acked, self.acked);
            self.last_ack = now;
        }
        if let Some(number) = self.again.take() {
            out.push(self.packet(now, SEGMENT, Load::Segment(number)));
        }
        // While loss is repaired, what was acknowledged out of order has left the path.
        let inflation = u64::from(if self.acked < self.recover {
            self.duplicates
        } else {
            0
        });
        let end = self.acked + self.window as u64 + inflation;
        while self.next < end.min(self.segments) {
            out.push(self.packet(now, SEGMENT, Load::Segment(self.next)));
            self.next += 1;
        }
    }
}
