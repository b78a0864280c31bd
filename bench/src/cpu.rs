use rustix::time::{ClockId, clock_gettime};

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// CPU time of the calling thread, nanoseconds. A system call.
#[must_use]
pub fn thread_ns() -> u64 {
    ns(ClockId::ThreadCPUTime)
}

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now_ns() -> u64 {
    ns(ClockId::Monotonic)
}

/// A count as a number to divide by or show.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a run are far below 2^53"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}
