use crate::sync::{AtomicU64, Ordering};

/// A number in shared memory with one writer; readers may look at any time.
///
/// Adding is a load and a store, not a locked instruction: the one-writer rule
/// makes that exact.
#[repr(transparent)]
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The present value.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `n`, wrapping. Only for the writer.
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Replaces the value, for gauges and for rows that begin a new life. Only for the writer.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}
