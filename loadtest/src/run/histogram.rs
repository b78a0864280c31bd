//! A histogram of times: 32 buckets for each power of two, so that a percentile is right within 3 %.

/// Buckets for each power of two.
const STEPS: u64 = 32;
/// Times below this many nanoseconds share one bucket in 32 ns steps.
const STEPS_LOG2: u32 = STEPS.ilog2();
/// Nanoseconds of the finest bucket, as a power of two: 256 ns.
const UNIT_LOG2: u32 = 8;
/// Buckets up to 256 ns × 32 × 2^23, more than a minute.
const BUCKETS: usize = 32 * 24;

/// Counts of times.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            max_ns: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        let slot = &mut self.counts[bucket(ns)];
        *slot = slot.saturating_add(1);
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The time that `share` (0 to 1) of all are at or below, in nanoseconds: the upper end of its bucket, never more than
    /// the largest recorded, so that no figure is rounded in anybody's favour. 0 if nothing was recorded.
    pub(crate) fn percentile_ns(&self, share: f64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^53"
        )]
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return upper_ns(at).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// Upper ends in nanoseconds and counts of the buckets that have any.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (upper_ns(at), *count))
    }
}

fn bucket(ns: u64) -> usize {
    let units = ns >> UNIT_LOG2;
    let index = if units < STEPS {
        units
    } else {
        let power = units.ilog2() - STEPS_LOG2;
        u64::from(power + 1) * STEPS + ((units >> power) - STEPS)
    };
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// One past the largest time of a bucket.
fn upper_ns(bucket: usize) -> u64 {
    let index = u64::try_from(bucket).unwrap_or(0);
    let (row, step) = (index / STEPS, index % STEPS);
    let units = if row == 0 {
        step + 1
    } else {
        (STEPS + step + 1) << (row - 1)
    };
    units << UNIT_LOG2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        let mut lower = 0;
        for at in 0..BUCKETS - 1 {
            let upper = upper_ns(at);
            assert_eq!(
                (bucket(lower), bucket(upper - 1), bucket(upper)),
                (at, at, at + 1)
            );
            assert!(
                upper - lower <= 256 || (upper - lower) * 32 <= lower,
                "bucket {at}"
            );
            lower = upper;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut all = Histogram::default();
        assert_eq!((all.percentile_ns(0.5), all.max_ns()), (0, 0));
        for ms in 1..=50 {
            all.record(ms * 1_000_000);
        }
        let mut others = Histogram::default();
        for ms in 51..=100 {
            others.record(ms * 1_000_000);
        }
        all.merge(&others);
        for (share, ms) in [(0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let found = all.percentile_ns(share) as f64 / 1e6;
            assert!(
                found >= ms && found <= ms * 1.032,
                "{share}: {found} and not {ms}"
            );
        }
        assert_eq!(all.percentile_ns(1.0), 100_000_000);
    }
}
