use super::PacketReport;
use crate::time::Micros;

/// The queue is the least delay of what was sent within so many stretches of so many
/// microseconds, three pictures, ...
const SLOW: (u64, u64) = (5, 20_000);
/// ... and of at least so many packets.
const SLOW_PACKETS: u32 = 5;
/// A sudden queue is seen in what arrived within this much, ...
const FAST: (u64, u64) = (4, 10_000);
/// ... and in so many packets.
const FAST_PACKETS: u32 = 3;
/// Stretches that are remembered.
const BUCKETS: usize = 12;
/// The least delay is looked for over one to two such spans, microseconds.
const BASE_SPAN_US: u64 = 15_000_000;
/// Least queue that counts as one, microseconds ...
const THRESHOLD_US: f64 = 20_000.0;
/// ... and what of the noise is added ...
const NOISE_SHARE: f64 = 1.5;
/// ... or, for a sudden one, of what packets waver.
const SPREAD_SHARE: f64 = 1.5;
/// Most that either may add, microseconds.
const NOISE_MAX_US: f64 = 25_000.0;
const SPREAD_MAX_US: f64 = 80_000.0;
/// A queue that grows by this share of the time, twice in a row, is a sudden one.
const STEEP: f64 = 0.25;
/// What the delay says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Signal {
    /// No queue to speak of.
    Empty,
    /// A queue, below what is taken for congestion.
    Some,
    /// A queue above the threshold that does not shrink.
    Over,
}

/// The least delay of each of the last stretches of time.
#[derive(Debug, Clone)]
struct Minima {
    /// Which stretch, packets in it, their least delay; the newest at `at`.
    buckets: [(u64, u32, i64); BUCKETS],
    at: usize,
}

impl Minima {
    fn new() -> Self {
        Self {
            buckets: [(0, 0, i64::MAX); BUCKETS],
            at: 0,
        }
    }

    /// Takes in a packet. What comes late counts in the newest stretch.
    fn add(&mut self, stretch: u64, delay: i64) {
        if self.buckets[self.at].0 < stretch {
            self.at = (self.at + 1) % BUCKETS;
            self.buckets[self.at] = (stretch, 0, i64::MAX);
        }
        let (_, packets, least) = &mut self.buckets[self.at];
        *packets += 1;
        *least = (*least).min(delay);
    }

    /// Over the newest `count` stretches, or more if there are not `enough` packets in them.
    fn least(&self, count: u64, enough: u32) -> Option<i64> {
        let newest = self.buckets[self.at].0;
        let (mut packets, mut least) = (0, i64::MAX);
        for back in 0..BUCKETS {
            let (stretch, some, delay) = self.buckets[(self.at + BUCKETS - back) % BUCKETS];
            let recent = newest - stretch.min(newest) < count;
            if some == 0 || (!recent && packets >= enough) {
                break;
            }
            packets += some;
            least = least.min(delay);
        }
        (packets >= enough).then_some(least)
    }
}

/// Sees a queue build up, in how long packets are under way.
///
/// The filter is a minimum: of all packets sent within some time the fastest counts, so
/// that jitter, which only ever adds, disappears, and a queue, which all packets wait in,
/// does not. Less the least delay of the last half minute, that is how long the queue is.
#[derive(Debug, Clone)]
pub(crate) struct DelayDetector {
    /// By when packets were sent.
    slow: Minima,
    /// By when they arrived.
    fast: Minima,
    /// Packets since the last judgement.
    fresh: u32,
    /// Least delay of the present span and of the one before.
    base: [Option<i64>; 2],
    base_since: Micros,
    queue_us: f64,
    sudden_us: f64,
    noise_us: f64,
    spread_us: f64,
    /// The newest packets waited clearly longer than those before, at that time.
    rising: bool,
    risen: Micros,
    signal: Signal,
}

impl DelayDetector {
    pub(crate) fn new() -> Self {
        Self {
            slow: Minima::new(),
            fast: Minima::new(),
            fresh: 0,
            base: [None; 2],
            base_since: Micros(0),
            queue_us: 0.0,
            sudden_us: 0.0,
            noise_us: 3_000.0,
            spread_us: 5_000.0,
            rising: false,
            risen: Micros(0),
            signal: Signal::Empty,
        }
    }

    /// Takes in a packet that arrived.
    pub(crate) fn add(&mut self, packet: &PacketReport) {
        let Some(arrived) = packet.arrived else {
            return;
        };
        let delay = arrived.saturating_sub(packet.sent.0.cast_signed());
        self.slow.add(packet.sent.0 / SLOW.1, delay);
        let arrived = arrived.saturating_add(1 << 60).cast_unsigned();
        self.fast.add(arrived / FAST.1, delay);
        self.fresh += 1;
        let base = self.base[0].map_or(delay, |base| base.min(delay));
        self.base[0] = Some(base);
        if self.signal == Signal::Empty {
            let above = micros_f64(delay.saturating_sub(base).min(200_000));
            self.spread_us += (above - self.spread_us) * 0.02;
        }
    }

    /// A feedback message ends: judges what came. Returns whether there was enough.
    pub(crate) fn judge(&mut self, now: Micros) -> bool {
        let Some(slow) = self
            .slow
            .least(SLOW.0, SLOW_PACKETS)
            .filter(|_| self.fresh > 0)
        else {
            return false;
        };
        let fast = self.fast.least(FAST.0, FAST_PACKETS).unwrap_or(slow);
        self.fresh = 0;
        self.renew_base(now);
        let base = self.base.iter().flatten().min().copied().unwrap_or(slow);
        let before = (self.queue_us, self.sudden_us);
        self.queue_us = micros_f64(slow.saturating_sub(base));
        self.sudden_us = micros_f64(fast.saturating_sub(base));
        if self.signal == Signal::Empty {
            let moved = (self.queue_us - before.0).abs();
            self.noise_us += (moved - self.noise_us) * 0.05;
        }
        let threshold = self.threshold_us();
        let sudden = self.is_sudden(self.sudden_us - before.1, now);
        let shrinking = self.queue_us < 0.95 * before.0;
        self.signal = if sudden || (self.queue_us > threshold && !shrinking) {
            Signal::Over
        } else if self.queue_us > 0.5 * threshold {
            Signal::Some
        } else {
            Signal::Empty
        };
        true
    }

    /// Whether the newest packets wait longer than jitter explains, or longer and longer.
    fn is_sudden(&mut self, rise: f64, now: Micros) -> bool {
        let rising = rise > STEEP * micros_f64(now.since(self.risen).min(100_000).cast_signed());
        let twice = rising && self.rising;
        (self.rising, self.risen) = (rising, now);
        let threshold = 1.2 * self.threshold_us();
        let wavering = THRESHOLD_US + (SPREAD_SHARE * self.spread_us).min(SPREAD_MAX_US);
        let above = |threshold: f64| rise > 0.0 && self.sudden_us > threshold;
        above(wavering.max(threshold)) || (twice && above(threshold))
    }

    fn renew_base(&mut self, now: Micros) {
        if now.since(self.base_since) > BASE_SPAN_US {
            self.base_since = now;
            self.base = [None, self.base[0]];
        }
    }

    /// The queue above which there is congestion, microseconds.
    pub(crate) fn threshold_us(&self) -> f64 {
        let noise = (NOISE_SHARE * self.noise_us).min(NOISE_MAX_US);
        THRESHOLD_US + noise
    }

    /// How long a packet waits, microseconds.
    pub(crate) fn queue_us(&self) -> f64 {
        self.queue_us.max(self.sudden_us)
    }

    /// How long a packet with this delay has waited, microseconds.
    pub(crate) fn waited_us(&self, delay: i64) -> f64 {
        let base = self.base.iter().flatten().min().copied().unwrap_or(delay);
        micros_f64(delay.saturating_sub(base))
    }

    /// Nothing was sent for long: there is no queue.
    pub(crate) fn rest(&mut self) {
        (self.queue_us, self.sudden_us) = (0.0, 0.0);
        self.signal = Signal::Empty;
    }

    /// How much packets waver, microseconds.
    pub(crate) fn spread_us(&self) -> f64 {
        self.spread_us
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "below 2^53 in all cases that matter"
)]
pub(crate) fn micros_f64(us: i64) -> f64 {
    us as f64
}

#[cfg(test)]
mod tests {
    use super::super::Ecn;
    use super::*;

    fn feed(detector: &mut DelayDetector, from: u64, count: u64, delay: impl Fn(u64) -> i64) {
        for at in from..from + count {
            let sent = Micros(at * 10_000);
            let packet = PacketReport {
                sent,
                arrived: Some(sent.0.cast_signed() - 1_000_000 + delay(at)),
                bytes: 1_000,
                ecn: Ecn::NotEct,
                probe: None,
            };
            detector.add(&packet);
            detector.judge(sent + 100_000);
        }
    }

    #[test]
    fn jitter_is_no_queue_and_a_ramp_is() {
        let mut detector = DelayDetector::new();
        let jitter = |at: u64| i64::try_from(at * 7_919 % 30).unwrap() * 1_000;
        feed(&mut detector, 0, 500, jitter);
        assert_ne!(detector.signal(), Signal::Over);
        let ramp = |at: u64| jitter(at) + i64::try_from(at - 500).unwrap() * 5_000;
        feed(&mut detector, 500, 20, ramp);
        assert_eq!(detector.signal(), Signal::Over);
    }
}
