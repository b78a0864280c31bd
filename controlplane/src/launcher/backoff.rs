//! Delays between restarts: 50 ms, doubling up to 5 s, and from the start again after a process has
//! been up for 30 s.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// How often a process may die before Ion has been ready once; then it never will be.
const HOPELESS_AFTER: u32 = 10;

/// Counts a process's deaths.
#[derive(Debug)]
pub struct Backoff {
    immediate: bool,
    deaths: u32,
}

impl Backoff {
    /// With `immediate`, the first restart is not delayed.
    pub fn new(immediate: bool) -> Self {
        Self {
            immediate,
            deaths: 0,
        }
    }

    /// The process died after having been up for this long. Returns the delay before it may be
    /// started again.
    pub fn died(&mut self, up: Duration) -> Duration {
        if up >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        let doublings = self.deaths - 1;
        let doublings = if self.immediate {
            let Some(doublings) = doublings.checked_sub(1) else {
                return Duration::ZERO;
            };
            doublings
        } else {
            doublings
        };
        FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST)
    }

    /// Whether a process that never came to work should be given up.
    pub fn is_hopeless(&self) -> bool {
        self.deaths >= HOPELESS_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays_ms(backoff: &mut Backoff, deaths: usize) -> Vec<u128> {
        (0..deaths)
            .map(|_| backoff.died(Duration::from_secs(1)).as_millis())
            .collect()
    }

    #[test]
    fn doubles_up_to_five_seconds() {
        let mut backoff = Backoff::new(false);
        assert_eq!(
            delays_ms(&mut backoff, 9),
            [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]
        );
    }

    #[test]
    fn the_control_planes_first_restart_is_immediate() {
        assert_eq!(delays_ms(&mut Backoff::new(true), 4), [0, 50, 100, 200]);
    }

    #[test]
    fn thirty_seconds_of_health_start_afresh() {
        let mut backoff = Backoff::new(true);
        delays_ms(&mut backoff, 6);
        assert_eq!(backoff.died(Duration::from_secs(30)), Duration::ZERO);
        assert_eq!(delays_ms(&mut backoff, 2), [50, 100]);
    }

    #[test]
    fn years_of_crashes_do_not_overflow() {
        let mut backoff = Backoff {
            immediate: false,
            deaths: u32::MAX - 1,
        };
        assert_eq!(delays_ms(&mut backoff, 3), [5000; 3]);
        assert!(backoff.is_hopeless());
    }
}
