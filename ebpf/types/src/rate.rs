use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many packets a bucket lets through.
///
/// A bucket's whole state is one number, the time at which it will be full again (the generic cell
/// rate algorithm, ITU-T I.371 annex A): no division, no multiplication, and one atomic word where
/// CPUs share it. A state in the past is a full bucket, so zero is one too.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rate {
    /// Time between packets at the steady rate, nanoseconds.
    interval_ns: u64,
    /// How far from full a bucket may be and still let a packet through, nanoseconds.
    depth_ns: u64,
}

impl Rate {
    /// `per_second` packets in the long run, `burst` of them at once. Neither can be less than one.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        let interval_ns = 1_000_000_000 / per_second as u64;
        Self {
            interval_ns,
            depth_ns: interval_ns * burst.saturating_sub(1) as u64,
        }
    }

    /// The bucket's state after one more packet at `now_ns`, or `None` if that is one too many.
    #[inline(always)]
    #[must_use]
    pub const fn admit(&self, full_at_ns: u64, now_ns: u64) -> Option<u64> {
        let start = if full_at_ns > now_ns {
            full_at_ns
        } else {
            now_ns
        };
        if start - now_ns > self.depth_ns {
            return None;
        }
        Some(start.wrapping_add(self.interval_ns))
    }
}

const _: () = assert!(size_of::<Rate>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_steady_rate() {
        let rate = Rate::new(1_000, 5);
        let mut bucket = 0;
        let mut admitted_at = |now| match rate.admit(bucket, now) {
            Some(next) => {
                bucket = next;
                true
            }
            None => false,
        };
        let start = 1_000_000_000_000;
        let burst = (0..20).filter(|_| admitted_at(start)).count();
        assert_eq!(burst, 5);
        // A tenth of a second later the bucket is full again, and no fuller.
        let later = start + 100_000_000;
        assert_eq!((0..20).filter(|_| admitted_at(later)).count(), 5);
        // From an empty bucket, at ten times the rate: one in ten.
        let through = (1..=10_000_u64)
            .filter(|n| admitted_at(later + n * 100_000))
            .count();
        assert_eq!(through, 1_000);
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_zero() {
        for rate in [
            Rate::new(0, 0),
            Rate::new(u32::MAX, u32::MAX),
            Rate::new(1, u32::MAX),
        ] {
            for full_at in [0, 1, u64::MAX] {
                for now in [0, 1, u64::MAX] {
                    let _ = rate.admit(full_at, now);
                }
            }
            assert!(rate.admit(0, 1).is_some(), "a full bucket holds a packet");
        }
    }
}
