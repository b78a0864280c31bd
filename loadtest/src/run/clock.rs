//! The clocks of a run: one of the wall for stamps that the kernel gives too, one of the CPU for what the run costs.

use rustix::time::{ClockId, clock_gettime};

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Nanoseconds of the Unix epoch, as in the kernel's receive stamps.
pub(crate) fn wall_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// CPU time of this thread in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// Nanoseconds for which this thread could have run and no core was free; 0 where the kernel does not tell.
pub(crate) fn thread_starved_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0)
}
