use std::ops::{Add, Sub};

/// Microseconds of the dataplane's monotonic clock, which is zero when the
/// dataplane starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// One millisecond, as a number of microseconds.
    pub const MS: u64 = 1_000;
    /// One second, as a number of microseconds.
    pub const SECOND: u64 = 1_000_000;

    /// Microseconds since `earlier`; zero if that is in the future.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Micros {
    type Output = Self;
    fn add(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

impl Sub<u64> for Micros {
    type Output = Self;
    fn sub(self, us: u64) -> Self {
        Self(self.0.saturating_sub(us))
    }
}
