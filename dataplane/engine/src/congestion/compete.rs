use crate::time::Micros;

/// Reductions that change nothing, until others are taken to fill the queue; ...
const PATIENCE: u32 = 3;
/// ... one, if they did so not longer ago than this, microseconds.
const MEMORY_US: u64 = 30_000_000;
/// Growth against them, bits per second each second: what a TCP flow gains in as long.
const GROWTH_BPS: f64 = 110_000.0;
/// What is left of the target when something is lost.
const AT_LOSS: f64 = 0.85;
/// Of what was sent then, what is held for a while after, ...
const FLOOR: f64 = 0.7;
/// ... microseconds.
const FLOOR_US: u64 = 20_000_000;
/// A queue longer than this is not competed for, microseconds.
const QUEUE_MAX_US: f64 = 450_000.0;
/// A queue shorter than this is nobody's, microseconds, ...
const QUEUE_MIN_US: f64 = 20_000.0;
/// ... if it stays so for this long: others may only have lost something, microseconds.
const GONE_US: u64 = 1_000_000;
/// Now and then, with this much between, microseconds, ...
const TEST_EVERY_US: u64 = 8_000_000;
/// ... for this long, microseconds, ...
const TEST_US: u64 = 400_000;
/// ... so much less is sent, ...
const TEST_SHARE: f64 = 0.6;
/// ... and if so little of the queue is left then, it was our own.
const TEST_LEFT: f64 = 0.55;

/// What competition does to the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Move {
    /// There is none.
    None,
    /// To this share of it.
    To(f64),
    /// Bits per second more.
    By(f64),
}

/// Others fill the queue whatever we send: who gives way to them gets nothing. While that
/// lasts, loss alone is taken for congestion, as those others do.
#[derive(Debug, Clone)]
pub(crate) struct Competition {
    active: bool,
    stepped: Micros,
    cut: Micros,
    ended: Option<Micros>,
    held: f64,
    tested: Micros,
    /// When there last was a queue.
    seen: Micros,
    /// Queue when the test under way began.
    test_queue_us: Option<f64>,
}

impl Competition {
    pub(crate) fn new() -> Self {
        Self {
            active: false,
            stepped: Micros(0),
            cut: Micros(0),
            ended: None,
            held: 0.0,
            tested: Micros(0),
            seen: Micros(0),
            test_queue_us: None,
        }
    }

    /// Reductions that change nothing, until others are taken to fill the queue.
    pub(crate) fn patience(&self, now: Micros) -> u32 {
        let lately = self.ended.is_some_and(|at| now.since(at) < MEMORY_US);
        if lately { 1 } else { PATIENCE }
    }

    /// A queue stays although less is sent.
    pub(crate) fn begin(&mut self, now: Micros) {
        self.active = true;
        (self.stepped, self.cut) = (now, now);
        (self.tested, self.seen) = (now, now);
        self.test_queue_us = None;
    }

    /// Not below this for a while after it: others may only have paused.
    pub(crate) fn floor(&self, now: Micros) -> f64 {
        let lately = self.ended.is_some_and(|at| now.since(at) < FLOOR_US);
        if lately { self.held } else { 0.0 }
    }

    fn end(&mut self, now: Micros, held: f64) -> Move {
        self.active = false;
        self.held = FLOOR * held;
        self.ended = Some(now);
        Move::None
    }

    /// A message came: the queue, what was lost of how many, the round trip.
    pub(crate) fn step(
        &mut self,
        now: Micros,
        queue_us: f64,
        (lost, packets): (usize, usize),
        rtt_us: u64,
        target: f64,
    ) -> Move {
        if !self.active {
            return Move::None;
        }
        if queue_us >= QUEUE_MIN_US {
            self.seen = now;
        }
        if queue_us > QUEUE_MAX_US || now.since(self.seen) > GONE_US {
            let target = if queue_us > QUEUE_MAX_US { 0.0 } else { target };
            return self.end(now, target);
        }
        let passed_us = now.since(self.stepped).min(200_000);
        self.stepped = now;
        if let Some(before) = self.test_queue_us {
            if now.since(self.tested) < TEST_US + rtt_us {
                return Move::By(0.0);
            }
            self.test_queue_us = None;
            if queue_us < TEST_LEFT * before {
                return self.end(now, target / TEST_SHARE);
            }
            return Move::To(1.0 / TEST_SHARE);
        }
        if now.since(self.tested) > TEST_EVERY_US {
            (self.tested, self.test_queue_us) = (now, Some(queue_us));
            return Move::To(TEST_SHARE);
        }
        if (lost >= 2 || lost * 20 > packets) && now.since(self.cut) > rtt_us + 100_000 {
            self.cut = now;
            return Move::To(AT_LOSS);
        }
        Move::By(GROWTH_BPS * super::delay::micros_f64(passed_us.cast_signed()) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        competition: &mut Competition,
        from_ms: u64,
        count: u64,
        queue: impl Fn(u64) -> f64,
    ) -> Vec<Move> {
        (0..count)
            .map(|at| {
                let now = Micros((from_ms + at * 50) * 1_000);
                competition.step(now, queue(at), (0, 10), 100_000, 1e6)
            })
            .collect()
    }

    #[test]
    fn a_queue_that_is_others_is_competed_for_and_our_own_is_given_up() {
        let mut competition = Competition::new();
        assert_eq!(run(&mut competition, 0, 2, |_| 200_000.0), [Move::None; 2]);
        competition.begin(Micros(100_000));
        let moves = run(&mut competition, 100, 400, |_| 200_000.0);
        assert!(!moves.contains(&Move::None));
        // Now the queue falls with what we send: the next test finds it.
        let mut queue = 200_000.0;
        let mut last = Move::By(0.0);
        for at in 0..400 {
            let now = Micros(20_100_000 + at * 50_000);
            last = competition.step(now, queue, (0, 10), 100_000, 1e6);
            queue = match last {
                Move::To(share) if share < 1.0 => 60_000.0,
                Move::To(_) => 200_000.0,
                _ => queue,
            };
        }
        assert_eq!(last, Move::None);
        assert_eq!(competition.patience(Micros(60_000_000)), PATIENCE);
        // Half of what it had then is held for a while.
        let ended = competition.ended.unwrap();
        assert!((competition.floor(ended) - FLOOR * 1e6 / TEST_SHARE).abs() < 1.0);
        assert!(competition.floor(ended + FLOOR_US) < 1.0);
    }

    #[test]
    fn a_queue_that_is_gone_ends_it() {
        let mut competition = Competition::new();
        competition.begin(Micros(0));
        let moves = run(&mut competition, 50, 30, |_| 5_000.0);
        assert_ne!(moves.first(), Some(&Move::None));
        assert_eq!(moves.last(), Some(&Move::None));
        assert_eq!(competition.patience(Micros(2_000_000)), 1);
    }
}
