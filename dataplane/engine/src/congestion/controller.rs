use super::compete::{Competition, Move};
use super::delay::{DelayDetector, Signal, micros_f64};
use super::loss::{LossMeter, Verdict};
use super::meter::RateMeter;
use super::probe::{Prober, Shown};
use super::scalable::Scalable;
use super::{Estimator, PacketReport, Probe};
use crate::time::Micros;

/// What is delivered is measured over this long, microseconds, ...
const RATE_US: u64 = 400_000;
/// ... and over this where the path has just changed.
const FAST_RATE_US: u64 = 80_000;
/// Of what is delivered while there is a queue, what is sent when the queue is gone.
const BACK_OFF: f64 = 0.93;
/// A queue this long is drained at half the rate, microseconds.
const DRAIN_US: f64 = 350_000.0;
/// A reduction has this long, and a round trip, to show, microseconds.
const SETTLE_US: u64 = 100_000;
/// A queue shorter than this is not worth competing for, microseconds.
const COMPETED_US: f64 = 60_000.0;
/// What was delivered longer ago than this means nothing, microseconds.
const STALE_US: u64 = 3_000_000;
/// What is delivered without a queue is carried: this share of it, since it wavers.
const PROVEN: f64 = 0.9;
/// ... when the path has not been congested for this long, microseconds.
const PROVEN_US: u64 = 1_000_000;
/// Growth near the known capacity, bits per second each second.
const ADDITIVE_BPS: f64 = 45_000.0;
/// Least and most growth beyond it, a share each second.
const GROWTH: (f64, f64) = (0.10, 0.8);
/// Growth back to a capacity that is known, a share each second.
const RECOVERY: f64 = 0.4;
/// With nothing heard for this long, the path is taken for broken, microseconds.
const SILENCE_US: u64 = 600_000;
/// With nothing heard for this long, what was known of queue and loss is out of date, microseconds.
const REST_US: u64 = 2_000_000;
/// A receiver's own estimate counts for this long, microseconds.
const REMB_US: u64 = 5_000_000;
/// A leap of the delay by this much is a leap of a clock, microseconds.
const CLOCK_LEAP_US: i64 = 5_000_000;

/// Between what, and where to begin, bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Until something is known.
    pub start_bps: u64,
    /// Never less.
    pub min_bps: u64,
    /// Never more.
    pub max_bps: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            start_bps: 600_000,
            min_bps: 40_000,
            max_bps: 100_000_000,
        }
    }
}

/// Ion's estimator.
///
/// A queue that builds up tells, by what is delivered meanwhile, how much the path
/// carries: the target falls to that at once, below it until the queue is gone, and is
/// then back. Near the known capacity it grows by a constant, so that flows which share
/// a queue come to equal parts; beyond it faster and faster, since then the path has
/// changed. Probes find capacity that nothing is being sent to find. Loss beyond what
/// the path loses anyhow, congestion marks in proportion, and silence lower it too.
#[derive(Debug, Clone)]
pub struct IonEstimator {
    bounds: Bounds,
    target: f64,
    delay: DelayDetector,
    loss: LossMeter,
    scalable: Scalable,
    prober: Prober,
    delivered: RateMeter,
    sent: RateMeter,
    rtt_us: u64,
    /// Delay of the newest packet, to see clocks leap.
    last_delay: Option<i64>,
    last_feedback: Option<Micros>,
    grown: Micros,
    /// Share each second.
    growth: f64,
    /// What the path was last seen to carry.
    capacity: Option<f64>,
    /// While a queue drains, what to go on with.
    resume: Option<f64>,
    cut: Micros,
    cut_queue_us: f64,
    /// Reductions since the queue was last gone, and how long it was at the first.
    cuts: u32,
    first_queue_us: f64,
    first_rate: f64,
    first_cut: Micros,
    silenced: Micros,
    rested: Micros,
    remb: Option<(f64, Micros)>,
    competition: Competition,
}

#[expect(clippy::cast_precision_loss, reason = "bitrates are below 2^53")]
fn bps_f64(bps: u64) -> f64 {
    bps as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded from both sides"
)]
fn bps_u64(bps: f64) -> u64 {
    bps as u64
}

impl IonEstimator {
    /// An estimator that knows nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            target: bps_f64(bounds.start_bps),
            delay: DelayDetector::new(),
            loss: LossMeter::new(),
            scalable: Scalable::new(),
            prober: Prober::new(),
            delivered: RateMeter::new(),
            sent: RateMeter::new(),
            rtt_us: 100_000,
            last_delay: None,
            last_feedback: None,
            grown: Micros(0),
            growth: GROWTH.1,
            capacity: None,
            resume: None,
            cut: Micros(0),
            cut_queue_us: 0.0,
            cuts: 0,
            first_queue_us: 0.0,
            first_rate: 0.0,
            first_cut: Micros(0),
            silenced: Micros(0),
            rested: Micros(0),
            remb: None,
            competition: Competition::new(),
        }
    }

    /// Queue that packets wait in at present, microseconds.
    pub fn queue_us(&self) -> u64 {
        bps_u64(self.delay.queue_us().max(0.0))
    }

    /// Congestion marks seen.
    pub fn ce(&self) -> u64 {
        self.scalable.ce()
    }

    /// Loss as last seen, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss.share()
    }

    fn set(&mut self, target: f64) {
        let (min, max) = (bps_f64(self.bounds.min_bps), bps_f64(self.bounds.max_bps));
        self.target = target.clamp(min, max);
    }

    /// Not above what the receiver says it takes.
    fn bounded(&self, bps: f64) -> f64 {
        self.remb.map_or(bps, |(remb, _)| bps.min(remb))
    }

    /// Takes in the packets. Returns whether the delay has been judged anew.
    fn take(&mut self, now: Micros, packets: &[PacketReport]) -> bool {
        for packet in packets {
            self.loss.add(packet);
            self.scalable.add(packet);
            self.prober.add(now, packet);
            self.sent.add(packet.sent.0, packet.bytes);
            let Some(arrived) = packet.arrived else {
                continue;
            };
            let delay = arrived.saturating_sub(packet.sent.0.cast_signed());
            let leap = self
                .last_delay
                .is_some_and(|last| delay.saturating_sub(last).abs() > CLOCK_LEAP_US);
            if leap {
                self.delay = DelayDetector::new();
                self.delivered = RateMeter::new();
            }
            self.last_delay = Some(delay);
            // Any zero will do, if only times are positive.
            let at = arrived.saturating_add(1 << 60).cast_unsigned();
            self.delivered.add(at, packet.bytes);
            self.delay.add(packet);
        }
        self.delay.judge(now)
    }

    /// There is too long a queue: down to what is delivered, and below until it is gone.
    fn back_off(&mut self, now: Micros) {
        let queue = self.delay.queue_us();
        let settled = now.since(self.cut) > self.rtt_us + SETTLE_US;
        if !settled && queue < 1.4 * self.cut_queue_us {
            return;
        }
        let patience = self.competition.patience(now);
        let stays = queue > (0.8 * self.first_queue_us).max(COMPETED_US);
        if settled && self.cuts >= patience && stays {
            self.competition.begin(now);
            if now.since(self.first_cut) < STALE_US {
                self.resume = self.resume.map(|resume| resume.max(self.first_rate));
            }
            self.end_drain();
            return;
        }
        let rate = self
            .delivered
            .bps(FAST_RATE_US)
            .or_else(|| self.delivered.bps_at_most(RATE_US));
        let Some(rate) = rate else { return };
        if self.cuts == 0 {
            (self.first_queue_us, self.first_rate) = (queue, rate.min(self.target));
            self.first_cut = now;
        }
        self.cuts += u32::from(settled);
        (self.cut, self.cut_queue_us) = (now, queue);
        self.growth = GROWTH.0;
        self.capacity = Some(rate);
        self.prober.postpone(now);
        let resume = (BACK_OFF * rate).min(self.resume.unwrap_or(self.target));
        // A path that has lost much of its capacity has a queue still to come.
        let fallen = rate < 0.6 * self.target;
        let drained = if fallen {
            0.5
        } else {
            1.0 - (queue / DRAIN_US).min(0.5)
        };
        self.resume = Some(resume);
        self.set((resume * drained).min(self.target));
    }

    /// The queue is gone: on with what the path carries.
    fn end_drain(&mut self) {
        self.cuts = 0;
        if let Some(resume) = self.resume.take() {
            self.set(resume.max(self.target));
        }
    }

    /// Whether what is sent is limited by the target, so that its arrival proves it.
    fn is_at_target(&self) -> bool {
        self.sent
            .bps_at_most(RATE_US)
            .is_some_and(|sent| sent > 0.75 * self.target)
    }

    fn grow(&mut self, now: Micros) {
        let passed_us = now.since(self.grown).min(200_000);
        self.grown = now;
        let passed = micros_f64(passed_us.cast_signed()) / 1e6;
        if !self.is_at_target() {
            return;
        }
        let share = match self.capacity {
            Some(capacity) if self.target < 0.8 * capacity => RECOVERY,
            Some(capacity) if self.target < 1.02 * capacity => 0.0,
            _ => {
                self.growth = (self.growth * (1.0 + 1.5 * passed)).min(GROWTH.1);
                self.growth
            }
        };
        let share = if self.scalable.is_marking(now) {
            share.min(GROWTH.0)
        } else {
            share
        };
        let grown = self.target + (ADDITIVE_BPS + share * self.target) * passed;
        // What is not delivered does not prove that more would be.
        let proven = self.delivered.bps_at_most(RATE_US).unwrap_or(0.0);
        self.set(grown.min(1.5 * proven + 20_000.0).max(self.target));
    }

    fn shown(&mut self, shown: Shown) {
        let found = match shown {
            Shown::AtLeast(rate) => rate,
            Shown::Limit(rate) => 0.85 * rate,
        };
        if found > self.target && self.delay.signal() == Signal::Empty {
            self.capacity = None;
            self.growth = GROWTH.0;
            self.set(found);
        }
    }
}

impl Estimator for IonEstimator {
    fn on_feedback(&mut self, now: Micros, packets: &[PacketReport]) {
        let Some(last) = packets.last() else { return };
        let rtt = now.since(last.sent);
        self.rtt_us = (7 * self.rtt_us + rtt.min(2_000_000)) / 8;
        self.last_feedback = Some(now);
        let judged = self.take(now, packets);
        let loss = self.loss.judge(now);
        if let Verdict::Lower(share) = loss
            && now.since(self.cut) > self.rtt_us + SETTLE_US
        {
            self.cut = now;
            self.growth = GROWTH.0;
            self.prober.postpone(now);
            self.set(self.target * (1.0 - 0.5 * share));
        }
        if let Some(share) = self.scalable.judge(now, self.rtt_us) {
            self.growth = GROWTH.0;
            self.capacity = self.delivered.bps_at_most(RATE_US).or(self.capacity);
            self.prober.postpone(now);
            self.set(self.target * (1.0 - share));
        }
        let lost = packets.iter().filter(|p| p.arrived.is_none()).count();
        let queue = self.delay.queue_us();
        let lost = (lost, packets.len());
        let step = self.competition.step(now, queue, lost, self.rtt_us);
        match step {
            Move::None if judged && self.delay.signal() == Signal::Over => self.back_off(now),
            Move::None => {}
            Move::To(share) => self.set(self.target * share),
            Move::By(bps) if self.is_at_target() => self.set(self.target + bps),
            Move::By(_) => {}
        }
        if let Some(shown) = self.prober.judge(now, &self.delay) {
            self.shown(shown);
        }
        if self.delay.signal() == Signal::Empty {
            self.end_drain();
        }
        let free = self.delay.signal() == Signal::Empty && self.resume.is_none();
        if free && step == Move::None && loss == Verdict::Fine {
            self.grow(now);
            // What arrives without a queue is proven, whoever decided to send it.
            if now.since(self.cut) > PROVEN_US {
                let proven = self.delivered.bps(RATE_US).unwrap_or(0.0);
                self.set(self.target.max(PROVEN * proven));
            }
        } else {
            self.grown = now;
        }
    }

    fn on_remb(&mut self, now: Micros, bitrate_bps: u64) {
        let max = self.bounds.max_bps;
        let bps = bps_f64(bitrate_bps.clamp(self.bounds.min_bps, max));
        self.remb = Some((bps, now));
        if self.last_feedback.is_none() {
            self.target = bps;
        }
    }

    fn on_timeout(&mut self, now: Micros, unheard: Option<Micros>) {
        if self
            .remb
            .is_some_and(|(_, at)| now.since(at) > REMB_US && self.last_feedback.is_some())
        {
            self.remb = None;
        }
        let patience = SILENCE_US.max(3 * self.rtt_us);
        let Some(last) = self.last_feedback else {
            return;
        };
        let old = |at: Micros| now.since(at) > REST_US;
        if old(last) && unheard.is_none_or(old) && old(self.rested) {
            // What queue there was is gone, and what loss there was is long ago.
            self.rested = now;
            self.delay.rest();
            self.loss = LossMeter::new();
            self.resume = None;
            self.cuts = 0;
        }
        let silent = unheard.is_some_and(|at| now.since(at) > patience)
            && now.since(last) > patience
            && now.since(self.silenced) > patience / 2;
        if silent {
            self.silenced = now;
            self.growth = GROWTH.0;
            self.prober.postpone(now);
            self.set(self.target * 0.6);
        }
    }

    fn target_bps(&self) -> u64 {
        bps_u64(self.bounded(self.target))
    }

    fn sustained_bps(&self) -> u64 {
        let sustained = self.resume.unwrap_or(self.target).max(self.target);
        bps_u64(self.bounded(sustained))
    }

    fn probe(&mut self, now: Micros, wanted_bps: u64) -> Option<Probe> {
        let quiet = self.delay.signal() == Signal::Empty
            && self.resume.is_none()
            && !self.scalable.is_marking(now)
            && self.loss.share() < 0.05;
        let wanted = bps_f64(wanted_bps.min(self.bounds.max_bps));
        if !quiet {
            return None;
        }
        self.prober
            .next(now, self.target, wanted, self.delay.spread_us())
    }

    fn is_unlimited(&self) -> bool {
        let sent = self.sent.bps_at_most(RATE_US).unwrap_or(0.0);
        self.delay.signal() == Signal::Empty
            && self.resume.is_none()
            && sent < 0.6 * bps_f64(self.target_bps())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ecn;
    use super::*;

    /// Sends at a rate over a path of a capacity, with feedback each 50 ms, from a second on.
    fn drive(estimator: &mut IonEstimator, from: u64, seconds: u64, sent_bps: u64, capacity: u64) {
        let (gap, service) = (8_000_000_000 / sent_bps, 8_000_000_000 / capacity);
        let (mut packets, mut free) = (Vec::new(), 0);
        let mut sent = from * 1_000_000;
        let mut due = sent + 50_000;
        while sent < (from + seconds) * 1_000_000 {
            free = u64::max(free, sent) + service;
            packets.push(PacketReport {
                sent: Micros(sent),
                arrived: Some((free + 20_000).cast_signed()),
                bytes: 1_000,
                ecn: Ecn::NotEct,
                probe: None,
            });
            sent += gap;
            if sent >= due {
                estimator.on_feedback(Micros(due + 50_000), &packets);
                packets.clear();
                due += 50_000;
            }
        }
    }

    #[test]
    fn what_is_not_sent_proves_nothing() {
        let mut estimator = IonEstimator::new(Bounds::default());
        drive(&mut estimator, 1, 30, 200_000, 50_000_000);
        assert_eq!(estimator.target_bps(), Bounds::default().start_bps);
        assert!(estimator.is_unlimited());
    }

    #[test]
    fn what_is_delivered_without_a_queue_is_proven_and_with_one_it_is_the_limit() {
        let mut estimator = IonEstimator::new(Bounds::default());
        drive(&mut estimator, 1, 5, 4_000_000, 50_000_000);
        assert!(estimator.target_bps() > 3_500_000);
        drive(&mut estimator, 6, 1, 4_000_000, 1_000_000);
        assert!(
            estimator.target_bps() < 1_000_000,
            "{}",
            estimator.target_bps()
        );
        assert!(estimator.sustained_bps() > estimator.target_bps());
        assert!(!estimator.is_unlimited());
    }

    #[test]
    fn silence_lowers_it_and_a_receiver_bounds_it() {
        let mut estimator = IonEstimator::new(Bounds::default());
        drive(&mut estimator, 1, 5, 4_000_000, 50_000_000);
        let before = estimator.target_bps();
        for tenth in 0..20 {
            let now = Micros(7_000_000 + tenth * 100_000);
            estimator.on_timeout(now, Some(Micros(6_000_000)));
        }
        assert!(estimator.target_bps() < before / 4);
        for (remb, low, high) in [
            (0, 40_000, 40_000),
            (300_000, 40_000, 300_000),
            (u64::MAX, 40_000, 100_000_000),
        ] {
            estimator.on_remb(Micros(9_000_000), remb);
            assert!((low..=high).contains(&estimator.target_bps()), "{remb}");
        }
    }

    #[test]
    fn a_clock_that_leaps_is_no_queue() {
        let mut estimator = IonEstimator::new(Bounds::default());
        drive(&mut estimator, 1, 5, 2_000_000, 50_000_000);
        let before = estimator.target_bps();
        let packets: Vec<_> = (0..50)
            .map(|at: u64| PacketReport {
                sent: Micros(6_000_000 + at * 4_000),
                arrived: Some(900_000_000 + (at * 4_000).cast_signed()),
                bytes: 1_000,
                ecn: Ecn::NotEct,
                probe: None,
            })
            .collect();
        estimator.on_feedback(Micros(6_300_000), &packets);
        assert!(estimator.target_bps() >= before);
    }
}
