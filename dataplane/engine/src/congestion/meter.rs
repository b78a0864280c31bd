/// Samples kept.
const SAMPLES: usize = 32;
/// Packets closer together than this make one sample, microseconds.
const MERGE_US: u64 = 16_000;

/// Bytes per time over the last half second, by the times that packets carry.
#[derive(Debug, Clone)]
pub(crate) struct RateMeter {
    /// Time and bytes in all up to then, both modulo 2^32.
    samples: [(u32, u32); SAMPLES],
    len: usize,
    /// Place of the newest.
    at: usize,
    newest: u64,
    /// When the newest sample began.
    began: u64,
    total: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "differences are taken modulo 2^32"
)]
fn low32(value: u64) -> u32 {
    value as u32
}

impl RateMeter {
    pub(crate) fn new() -> Self {
        Self {
            samples: [(0, 0); SAMPLES],
            len: 0,
            at: 0,
            newest: 0,
            began: 0,
            total: 0,
        }
    }

    /// Takes in a packet. Times that run back count as the newest.
    pub(crate) fn add(&mut self, at_us: u64, bytes: u16) {
        self.total = self.total.wrapping_add(u32::from(bytes));
        let at_us = at_us.max(self.newest);
        let merged = self.len > 0 && at_us - self.began < MERGE_US;
        if !merged {
            self.at = (self.at + 1) % SAMPLES;
            self.len = (self.len + 1).min(SAMPLES);
            self.began = at_us;
        }
        self.newest = at_us;
        self.samples[self.at] = (low32(at_us), self.total);
    }

    /// Bits per second over the last `window_us`, or a little more; `None` if that was
    /// not seen yet, or there were not packets enough.
    pub(crate) fn bps(&self, window_us: u64) -> Option<f64> {
        let (newest, total) = self.samples[self.at];
        for back in 1..self.len {
            let (time, bytes) = self.samples[(self.at + SAMPLES - back) % SAMPLES];
            let span = u64::from(newest.wrapping_sub(time));
            if span >= window_us {
                if span > 2 * window_us + MERGE_US && back < 3 {
                    // After a silence the gap says nothing of the rate.
                    return None;
                }
                let bytes = total.wrapping_sub(bytes);
                return Some(f64::from(bytes) * 8e6 / span_f64(span));
            }
        }
        None
    }

    /// As [`bps`](Self::bps), with what there is where the window is not full yet.
    pub(crate) fn bps_at_most(&self, window_us: u64) -> Option<f64> {
        self.bps(window_us).or_else(|| {
            let (newest, total) = self.samples[self.at];
            let oldest = (self.at + SAMPLES + 1 - self.len) % SAMPLES;
            let (time, bytes) = self.samples[oldest];
            let span = u64::from(newest.wrapping_sub(time));
            (self.len > 3 && span > 2 * MERGE_US && span <= window_us)
                .then(|| f64::from(total.wrapping_sub(bytes)) * 8e6 / span_f64(span))
        })
    }
}

fn span_f64(span_us: u64) -> f64 {
    f64::from(low32(span_us).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_measured_and_a_change_is_seen_in_the_short_window_first() {
        let mut meter = RateMeter::new();
        let mut at = u64::from(u32::MAX) - 200_000;
        for _ in 0..100 {
            meter.add(at, 1_000);
            at += 8_000;
        }
        let rate = meter.bps(300_000).unwrap();
        assert!((rate / 1e6 - 1.0).abs() < 0.06, "{rate}");
        for _ in 0..8 {
            meter.add(at, 1_000);
            at += 16_000;
        }
        let (short, long) = (meter.bps(100_000).unwrap(), meter.bps(400_000).unwrap());
        assert!(short < 0.6e6 && long > 0.7e6, "{short} {long}");
    }

    #[test]
    fn nothing_is_said_of_what_was_not_seen() {
        let mut meter = RateMeter::new();
        assert_eq!(meter.bps(100_000), None);
        meter.add(5, 1_000);
        meter.add(9_000_000, 1_000);
        assert_eq!(meter.bps(100_000), None);
    }
}
