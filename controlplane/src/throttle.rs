//! A token bucket for log lines that a peer can cause.

use std::time::{Duration, Instant};

/// Lets a burst of lines through, then one for each `interval`, and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    tokens: u32,
    refilled: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// A full bucket.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            tokens: burst,
            refilled: None,
            suppressed: 0,
        }
    }

    /// Whether a line may be written now; if so, how many were kept back since the last one.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        let since = *self.refilled.get_or_insert(now);
        let gained =
            now.saturating_duration_since(since).as_nanos() / self.interval.as_nanos().max(1);
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(gained).min(self.burst);
            self.refilled = Some(now);
        }
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_a_burst_then_one_line_an_interval() {
        let start = Instant::now();
        let mut throttle = Throttle::new(3, Duration::from_secs(1));
        // A line each millisecond for ten seconds.
        let passed: Vec<u64> = (0..10_000)
            .filter_map(|ms| throttle.allow(start + Duration::from_millis(ms)))
            .collect();
        assert_eq!(passed.len(), 3 + 9);
        assert_eq!(
            passed.iter().sum::<u64>() + 12 + 999,
            10_000,
            "every line is counted"
        );
    }
}
