use crate::time::Micros;

/// Of what is delivered while there is a queue, what is sent when the queue is gone.
const BACK_OFF: f64 = 0.96;
/// While a queue this long or longer drains next to nothing is sent, microseconds, ...
const DRAIN_US: f64 = 350_000.0;
/// ... which is this share of what is delivered.
const DRAIN_LEAST: f64 = 0.25;
/// A reduction has this long, and a round trip, to show, microseconds.
const SETTLE_US: u64 = 100_000;
/// A queue shorter than this is not worth competing for, microseconds.
const COMPETED_US: f64 = 60_000.0;
/// What was delivered longer ago than this means nothing, microseconds.
const STALE_US: u64 = 6_000_000;
/// The same, of one who sends less than it could.
const UNUSED: f64 = 1.02;
/// A drain is given this long at most, microseconds.
const DRAINED_MOST_US: f64 = 2e6;
/// How long a drain counts before its effect is waited for, microseconds.
const DRAIN_SHOWN_US: u64 = 250_000;
/// Layers are kept through a queue that goes away after so many reductions ...
const KEPT_CUTS: u32 = 2;
/// ... if the one before is so long ago, microseconds.
const KEPT_AGAIN_US: u64 = 1_500_000;
/// A queue that stays has layers take less, by a share of its length in this, microseconds, ...
const STANDS_US: f64 = 1.2e6;
/// ... and no larger than this.
const ROOM_MOST: f64 = 0.4;
/// A queue that has grown by so much since the last reduction needs another at once.
const GROWN: f64 = 1.4;

/// A queue too long, and what is known beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Congestion {
    /// How long the newest packets that were heard of waited, microseconds.
    pub(crate) queue_us: f64,
    /// How much longer those will that were not yet, microseconds.
    pub(crate) to_come_us: f64,
    /// What is delivered, bits per second.
    pub(crate) rate: f64,
    /// The same, or what was just rehearsed: a queue may then be of the keyframe alone that a layer begins with.
    pub(crate) proven: f64,
    /// The target, bits per second.
    pub(crate) target: f64,
    /// As much is sent as the target allows.
    pub(crate) limited: bool,
    /// More is sent than was in the last seconds: the queue may well be our own.
    pub(crate) rising: bool,
    /// Below this others only would gain, bits per second.
    pub(crate) least: f64,
    /// The reduction before had time to show.
    pub(crate) settled: bool,
}

/// A queue is being drained: less is sent than is delivered, for as long as that takes.
///
/// What is sent now says nothing for a round trip. So the end is reckoned, from how long
/// the queue is and how much of it was sent already, and not waited for; and the next
/// reduction only comes when that one could have shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retreat {
    /// While a queue drains, what to go on with.
    resume: Option<f64>,
    /// The last reduction, how long the queue was, and when it will be gone.
    cut: Micros,
    cut_queue_us: f64,
    drained: Micros,
    /// Reductions since the queue was last gone; when the first was, and what it saw.
    cuts: u32,
    first_cut: Micros,
    first_queue_us: f64,
    first_rate: f64,
    /// What is kept through the first reduction, and when that last was.
    kept: Option<f64>,
    kept_at: Micros,
}

impl Retreat {
    pub(crate) fn new() -> Self {
        Self {
            resume: None,
            cut: Micros(0),
            cut_queue_us: 0.0,
            drained: Micros(0),
            cuts: 0,
            first_cut: Micros(0),
            first_queue_us: 0.0,
            first_rate: 0.0,
            kept: None,
            kept_at: Micros(0),
        }
    }

    /// Whether the last reduction had time to show.
    pub(crate) fn is_settled(&self, now: Micros, rtt_us: u64) -> bool {
        now.since(self.drained.min(self.cut + DRAIN_SHOWN_US)) > rtt_us + SETTLE_US
    }

    /// A queue this long needs another reduction at once, microseconds.
    pub(crate) fn grown_us(&self) -> f64 {
        GROWN * self.cut_queue_us
    }

    /// Whether so many reductions have changed nothing.
    pub(crate) fn stays(&self, patience: u32, queue_us: f64) -> bool {
        self.cuts >= patience && queue_us > (0.8 * self.first_queue_us).max(COMPETED_US)
    }

    /// It was for nothing: back to what there was before, if that is not long ago.
    pub(crate) fn restore(&mut self, now: Micros) {
        if now.since(self.first_cut) < STALE_US {
            self.resume = self.resume.map(|resume| resume.max(self.first_rate));
        }
        self.is_over();
    }

    /// Sends less. Returns how much until the queue is gone, bits per second.
    pub(crate) fn cut(&mut self, now: Micros, seen: &Congestion) -> f64 {
        let (rate, target) = (seen.rate, seen.target);
        let again = self.cuts > 0;
        if !again {
            (self.first_queue_us, self.first_rate) = (seen.queue_us, rate.min(target));
            self.first_cut = now;
        }
        self.cuts += u32::from(seen.settled || !again);
        (self.cut, self.cut_queue_us) = (now, seen.queue_us);
        let fallen = seen.to_come_us > seen.queue_us;
        // What is not used is given back before what is: the queue may be another's.
        let share = if seen.limited || again || fallen {
            BACK_OFF
        } else {
            UNUSED
        };
        let before = self.resume.unwrap_or(target);
        let resume = (share * rate).min(before).max(seen.least);
        self.resume = Some(resume);
        self.keep(now, seen, again, fallen);
        let whole_us = seen.queue_us + seen.to_come_us;
        let drain = resume * (1.0 - whole_us / DRAIN_US).max(DRAIN_LEAST);
        let spare = (rate - drain).max(0.05 * rate);
        let drained_us = (whole_us * rate / spare).min(DRAINED_MOST_US);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and bounded"
        )]
        let drained_us = drained_us as u64;
        self.drained = now + drained_us;
        drain
    }

    /// Decides what layers go on with. Who sends what it sent before keeps it through a
    /// reduction or two; that it has more than the path carries shows when the queue stays.
    fn keep(&mut self, now: Micros, seen: &Congestion, again: bool, fallen: bool) {
        if fallen || seen.rising || self.cuts > KEPT_CUTS {
            self.kept = None;
        } else if !again {
            let seldom = now.since(self.kept_at) > KEPT_AGAIN_US;
            self.kept = seldom.then_some(seen.proven.min(seen.target));
            self.kept_at = now;
        }
    }

    /// Something else lowered the target.
    pub(crate) fn lowered(&mut self, now: Micros) {
        self.cut = now;
    }

    /// Whether the queue should be gone.
    pub(crate) fn is_drained(&self, now: Micros) -> bool {
        now >= self.drained
    }

    /// What to go on with, if a queue was being drained.
    pub(crate) fn end_drain(&mut self) -> Option<f64> {
        self.resume.take()
    }

    /// The queue is gone.
    pub(crate) fn is_over(&mut self) {
        self.cuts = 0;
    }

    /// What layers may go on with although a queue was seen: one that goes away again costs none.
    pub(crate) fn kept(&self) -> Option<f64> {
        self.kept
    }

    pub(crate) fn resume(&self) -> Option<f64> {
        self.resume
    }

    /// Which share of what is carried layers may take, so that a queue goes that stays.
    pub(crate) fn room(&self, queue_us: f64) -> f64 {
        if self.cuts > KEPT_CUTS {
            1.0 - (queue_us / STANDS_US).min(ROOM_MOST)
        } else {
            1.0
        }
    }

    /// Time since the last reduction, microseconds.
    pub(crate) fn since_us(&self, now: Micros) -> u64 {
        now.since(self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn congestion(queue_ms: f64, rate: f64) -> Congestion {
        Congestion {
            queue_us: queue_ms * 1e3,
            to_come_us: 0.0,
            rate,
            proven: rate,
            target: 1e6,
            limited: true,
            rising: false,
            least: 0.0,
            settled: true,
        }
    }

    #[test]
    fn a_queue_is_drained_for_as_long_as_that_takes() {
        let mut retreat = Retreat::new();
        let drain = retreat.cut(Micros(1_000_000), &congestion(35.0, 1e6));
        assert!((drain - 0.9 * BACK_OFF * 1e6).abs() < 1.0, "{drain}");
        // 35 kbit leave at the 136 kbit/s that are saved.
        assert!(!retreat.is_drained(Micros(1_256_000)));
        assert!(retreat.is_drained(Micros(1_259_000)));
        assert_eq!(retreat.end_drain(), Some(BACK_OFF * 1e6));
        // One that is longer than can be drained is still sent something through.
        let drain = retreat.cut(Micros(9_000_000), &congestion(900.0, 1e6));
        assert!(
            (drain - DRAIN_LEAST * BACK_OFF * 1e6).abs() < 1.0,
            "{drain}"
        );
    }

    #[test]
    fn layers_outlast_a_queue_that_goes_away_and_not_one_that_stays() {
        let mut retreat = Retreat::new();
        let seen = congestion(40.0, 9e5);
        retreat.cut(Micros(10_000_000), &seen);
        assert_eq!(retreat.kept(), Some(9e5));
        retreat.cut(Micros(10_500_000), &seen);
        assert_eq!(retreat.kept(), Some(9e5));
        retreat.cut(Micros(11_000_000), &seen);
        assert_eq!(retreat.kept(), None, "it stays");
        retreat.is_over();
        let rising = Congestion {
            rising: true,
            ..seen
        };
        retreat.cut(Micros(20_000_000), &rising);
        assert_eq!(retreat.kept(), None, "it is its own");
        retreat.is_over();
        let fallen = Congestion {
            to_come_us: 90_000.0,
            ..seen
        };
        retreat.cut(Micros(30_000_000), &fallen);
        assert_eq!(retreat.kept(), None, "the path has lost its capacity");
    }
}
