use super::compete::{Competition, Move};
use super::delay::{DelayDetector, Signal, micros_f64};
use super::loss::{LossMeter, Verdict};
use super::meter::RateMeter;
use super::probe::{Prober, Shown};
use super::retreat::{Congestion, Retreat};
use super::scalable::Scalable;
use super::{Ecn, Estimator, PacketReport, Probe, Wanted};
use crate::time::Micros;

/// What is delivered is measured over this long, microseconds, ...
const RATE_US: u64 = 400_000;
/// ... and over this where the path has just changed.
const FAST_RATE_US: u64 = 80_000;
/// Of what was delivered before, what it must have fallen to for the path to have changed.
const FALLEN: f64 = 0.7;
/// Weight of each message in what is sent usually.
const USUAL_WEIGHT: f64 = 0.03;
/// So much more than usual is a rise.
const RISING: f64 = 1.25;
/// What is delivered without a queue is carried: this share of it, since it wavers.
const PROVEN: f64 = 0.9;
/// ... when the path has not been congested for this long, microseconds.
const PROVEN_US: u64 = 1_000_000;
/// Growth near the known capacity, bits per second each second.
const ADDITIVE_BPS: f64 = 70_000.0;
/// Least and most growth beyond it, a share each second.
const GROWTH: (f64, f64) = (0.15, 0.8);
/// Growth back to a capacity that is known, a share each second.
const RECOVERY: f64 = 0.4;
/// With nothing heard for this long, the path is taken for broken, microseconds.
const SILENCE_US: u64 = 600_000;
/// With nothing heard for this long, what was known of queue and loss is out of date, microseconds.
const REST_US: u64 = 2_000_000;
/// Of the target before such a rest, what there is at once when the path answers again: it was cut, and not full.
const RESUMED: f64 = 0.5;
/// Who was not asked for a probe for this long cannot send any, microseconds.
const ABLE_US: u64 = 1_000_000;
/// A layer that was rehearsed begins within this, microseconds.
const REHEARSED_US: u64 = 2_000_000;
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
    /// What was carried for long, not only in a burst: layers rise no further.
    lasting: f64,
    /// When that was last rehearsed.
    rehearsed: Option<Micros>,
    /// When a probe was last asked for.
    asked: Option<Micros>,
    delay: DelayDetector,
    loss: LossMeter,
    scalable: Scalable,
    prober: Prober,
    delivered: RateMeter,
    sent: RateMeter,
    rtt_us: u64,
    /// What was sent in the last seconds, bits per second.
    usual: f64,
    /// How long ago the newest packet was sent that was heard of.
    heard_us: u64,
    /// Delay of the newest packet, to see clocks leap.
    last_delay: Option<i64>,
    last_feedback: Option<Micros>,
    grown: Micros,
    /// Share each second.
    growth: f64,
    /// What the path was last seen to carry.
    capacity: Option<f64>,
    retreat: Retreat,
    silenced: Micros,
    /// The target before silence lowered it.
    before_silence: Option<f64>,
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
            lasting: bps_f64(bounds.start_bps),
            rehearsed: None,
            asked: None,
            delay: DelayDetector::new(),
            loss: LossMeter::new(),
            scalable: Scalable::new(),
            prober: Prober::new(),
            delivered: RateMeter::new(),
            sent: RateMeter::new(),
            rtt_us: 100_000,
            usual: 0.0,
            heard_us: 100_000,
            last_delay: None,
            last_feedback: None,
            grown: Micros(0),
            growth: GROWTH.1,
            capacity: None,
            retreat: Retreat::new(),
            silenced: Micros(0),
            before_silence: None,
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

    /// Less is carried than was thought.
    fn lower(&mut self, target: f64) {
        self.set(target);
        self.lasting = self.lasting.min(self.target);
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
        let queue_us = self.delay.queue_us();
        let settled = self.retreat.is_settled(now, self.rtt_us);
        if !settled && queue_us < self.retreat.grown_us() {
            return;
        }
        let patience = self.competition.patience(now);
        if settled && self.retreat.stays(patience, queue_us) {
            self.competition.begin(now);
            self.retreat.restore(now);
            return self.end_drain();
        }
        let Some(rate) = self.carried() else { return };
        let sent = self.sent.bps_at_most(FAST_RATE_US).unwrap_or(self.target);
        let lately = self.sent.bps_at_most(RATE_US).unwrap_or(0.0);
        let rehearsed = self
            .rehearsed
            .is_some_and(|at| now.since(at) < REHEARSED_US);
        let seen = Congestion {
            queue_us,
            to_come_us: micros_f64(self.heard_us.cast_signed()) * (sent / rate - 1.0).max(0.0),
            rate,
            proven: if rehearsed { self.lasting } else { rate },
            target: self.target,
            limited: self.is_at_target(),
            rising: lately > RISING * self.usual && !rehearsed,
            least: self.competition.floor(now),
            settled,
        };
        self.growth = GROWTH.0;
        self.capacity = Some(rate);
        self.prober.postpone(now);
        let drain = self.retreat.cut(now, &seen);
        self.set(drain.max(seen.least).min(self.target));
        // With a queue, what is delivered is what is carried.
        self.lasting = self.retreat.resume().unwrap_or(self.target);
    }

    /// What is delivered while there is a queue, bits per second: over long, since it wavers, unless
    /// it has just fallen.
    fn carried(&self) -> Option<f64> {
        let fast = self.delivered.bps(FAST_RATE_US);
        let slow = self.delivered.bps_at_most(RATE_US);
        let delivered = match (fast, slow) {
            (Some(fast), Some(slow)) if fast > FALLEN * slow => Some(slow),
            (fast, slow) => fast.or(slow),
        };
        // What the path loses anyhow was carried by the bottleneck all the same.
        delivered.map(|rate| rate / (1.0 - self.loss.own().min(0.3)))
    }

    /// The queue is gone: on with what the path carries.
    fn end_drain(&mut self) {
        if let Some(resume) = self.retreat.end_drain() {
            self.set(resume.max(self.target));
        }
    }

    /// Whether what is sent is limited by the target, so that its arrival proves it.
    fn is_at_target(&self) -> bool {
        self.sent
            .bps_at_most(RATE_US)
            .is_some_and(|sent| sent > 0.75 * self.target)
    }

    /// The path is heard of again. After a whole outage what was lost in it says nothing of the path as it is now.
    fn answered(&mut self, away_us: u64) {
        let Some(before) = self.before_silence.take() else {
            return;
        };
        if away_us > REST_US {
            self.loss = LossMeter::new();
            self.set(self.target.max(RESUMED * before));
            self.lasting = self.lasting.max(self.target);
        }
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

    fn shown(&mut self, now: Micros, shown: Shown) {
        let found = match shown {
            Shown::AtLeast(rate) => rate,
            Shown::Limit(rate) => 0.85 * rate,
            Shown::Lasting(rate) => {
                self.lasting = self.lasting.max(rate);
                self.rehearsed = Some(now);
                rate
            }
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
        self.heard_us = rtt.min(2_000_000);
        self.rtt_us = (7 * self.rtt_us + rtt.min(2_000_000)) / 8;
        let heard = self.last_feedback.replace(now);
        let judged = self.take(now, packets);
        if packets.iter().any(|packet| packet.arrived.is_some()) {
            self.answered(heard.map_or(0, |at| now.since(at)));
        }
        if let Some(sent) = self.sent.bps_at_most(RATE_US) {
            self.usual += (sent - self.usual) * USUAL_WEIGHT;
        }
        let loss = self.loss.judge(now);
        if let Verdict::Lower(share) = loss
            && self.retreat.is_settled(now, self.rtt_us)
        {
            self.retreat.lowered(now);
            self.growth = GROWTH.0;
            self.prober.postpone(now);
            self.lower(self.target * (1.0 - 0.5 * share));
        }
        if let Some(share) = self.scalable.judge(now, self.rtt_us) {
            self.growth = GROWTH.0;
            self.capacity = self.delivered.bps_at_most(RATE_US).or(self.capacity);
            self.prober.postpone(now);
            self.lower(self.target * (1.0 - share));
        }
        let lost = packets.iter().filter(|p| p.arrived.is_none()).count();
        let queue = self.delay.queue_us();
        let lost = (lost, packets.len());
        let step = self
            .competition
            .step(now, queue, lost, self.rtt_us, self.target);
        match step {
            Move::None if judged && self.delay.signal() == Signal::Over => self.back_off(now),
            Move::None => {}
            Move::To(share) => self.set(self.target * share),
            Move::By(bps) if self.is_at_target() => self.set(self.target + bps),
            Move::By(_) => {}
        }
        if let Some(shown) = self.prober.judge(now, &self.delay) {
            self.shown(now, shown);
        }
        if self.delay.signal() == Signal::Empty {
            self.end_drain();
            self.retreat.is_over();
        } else if self.retreat.is_drained(now) {
            self.end_drain();
        }
        let free = self.delay.signal() == Signal::Empty;
        if free && step == Move::None && loss == Verdict::Fine {
            self.grow(now);
            // What arrives without a queue is proven, whoever decided to send it.
            if self.retreat.since_us(now) > PROVEN_US {
                let proven = self.delivered.bps(RATE_US).unwrap_or(0.0);
                self.set(self.target.max(PROVEN * proven));
                self.lasting = self.lasting.max(PROVEN * proven);
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
        self.asked = self.asked.filter(|&at| now.since(at) < ABLE_US);
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
            self.retreat = Retreat::new();
        }
        let silent = unheard.is_some_and(|at| now.since(at) > patience)
            && now.since(last) > patience
            && now.since(self.silenced) > patience / 2;
        if silent {
            self.silenced = now;
            self.growth = GROWTH.0;
            self.prober.postpone(now);
            self.before_silence.get_or_insert(self.target);
            self.lower(self.target * 0.6);
        }
    }

    fn target_bps(&self) -> u64 {
        bps_u64(self.bounded(self.target))
    }

    fn sustained_bps(&self) -> u64 {
        let resume = self.retreat.resume().unwrap_or(0.0);
        let kept = self.retreat.kept().unwrap_or(0.0);
        let sustained = self.target.max(resume).max(kept);
        // Who cannot probe has nothing but the target to go by.
        let lasting = self.asked.map_or(sustained, |_| self.lasting.max(kept));
        let room = self.retreat.room(self.delay.queue_us());
        bps_u64(self.bounded(room * sustained.min(lasting)))
    }

    fn ecn(&self) -> Ecn {
        Ecn::Ect1
    }

    fn probe(&mut self, now: Micros, wanted: Wanted) -> Option<Probe> {
        self.asked = Some(now);
        let quiet = self.delay.signal() == Signal::Empty
            && self.retreat.resume().is_none()
            && !self.scalable.is_marking(now)
            && self.loss.share() < 0.05;
        if !quiet {
            return None;
        }
        let most = bps_f64(wanted.most_bps.min(self.bounds.max_bps));
        let next = bps_f64(wanted.next_bps);
        let carried = (self.target, self.lasting);
        let noise_us = self.delay.spread_us();
        self.prober.next(now, carried, (most, next), noise_us)
    }

    fn is_probing(&self) -> bool {
        self.prober.is_probing()
    }

    fn is_unlimited(&self) -> bool {
        let sent = self.sent.bps_at_most(RATE_US).unwrap_or(0.0);
        self.delay.signal() == Signal::Empty
            && self.retreat.resume().is_none()
            && sent < 0.6 * bps_f64(self.target_bps())
    }
}

#[cfg(test)]
mod tests;
