//! Live bitrates: how fast the rows' byte counters grow.

use ion_tables::RowKind;
use std::collections::HashMap;
use std::time::Instant;

/// Samples whose mean is shown: a live figure over the last seconds.
const WEIGHT: u64 = 2;

#[derive(Debug, Clone, Copy)]
struct Rate {
    bytes: u64,
    at: Instant,
    bps: u64,
}

/// What is counted of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flow {
    Received,
    Sent,
}

/// Rates by row.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<(RowKind, u32, Flow), Rate>);

impl Rates {
    /// Takes a sample of a byte counter.
    pub(super) fn sample(&mut self, now: Instant, kind: RowKind, row: u32, flow: Flow, bytes: u64) {
        let fresh = Rate {
            bytes,
            at: now,
            bps: 0,
        };
        let rate = self.0.entry((kind, row, flow)).or_insert(fresh);
        let elapsed_ms =
            u64::try_from(now.saturating_duration_since(rate.at).as_millis()).unwrap_or(0);
        if elapsed_ms == 0 {
            return;
        }
        // A counter that went back belongs to a new life of the row, or of the dataplane.
        let grown = bytes.saturating_sub(rate.bytes);
        let bps = grown.saturating_mul(8_000) / elapsed_ms;
        let mean = (rate.bps * (WEIGHT - 1) + bps) / WEIGHT;
        *rate = Rate {
            bytes,
            at: now,
            bps: if rate.bps == 0 { bps } else { mean },
        };
    }

    /// The bitrate, bits per second.
    pub(super) fn bps(&self, kind: RowKind, row: u32, flow: Flow) -> u64 {
        self.0.get(&(kind, row, flow)).map_or(0, |rate| rate.bps)
    }

    /// Forgets a row.
    pub(super) fn forget(&mut self, kind: RowKind, row: u32) {
        self.0.remove(&(kind, row, Flow::Received));
        self.0.remove(&(kind, row, Flow::Sent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_follows_the_counter_and_survives_its_reset() {
        let (start, kind) = (Instant::now(), RowKind::Encoding);
        let mut rates = Rates::default();
        for second in 0..5_u64 {
            rates.sample(
                start + Duration::from_secs(second),
                kind,
                1,
                Flow::Received,
                second * 125_000,
            );
        }
        assert_eq!(rates.bps(kind, 1, Flow::Received), 1_000_000);
        rates.sample(start + Duration::from_secs(5), kind, 1, Flow::Received, 10);
        assert_eq!(rates.bps(kind, 1, Flow::Received), 500_000, "no underflow");
        assert_eq!(rates.bps(kind, 1, Flow::Sent), 0);
        rates.forget(kind, 1);
        assert_eq!(rates.bps(kind, 1, Flow::Received), 0);
    }
}
