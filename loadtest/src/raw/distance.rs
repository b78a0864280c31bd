use super::Options;
use super::dataplane::worker_cores;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// Round trips of one batch; the quickest of the batches counts, since others may want the cores.
const ROUND_TRIPS: u32 = 10_000;
const BATCHES: u32 = 7;

/// Time for a cache line to go from our core to that of a worker and back, nanoseconds; `None` where they have no cores of
/// their own.
///
/// On a virtual machine it changes from one second to the next: about 50 where the host has both on one core, several
/// hundred where they are in different corners of the chip. Every packet crosses that distance with its buffers and
/// the kernel's, so that a figure says little without it.
pub(super) fn round_trip_ns(options: &Options) -> Option<f64> {
    let ours = sched_getaffinity(None).ok()?;
    let theirs = worker_cores(options).ok()?;
    let theirs = theirs.into_iter().find(|&core| !ours.is_set(core))?;
    between(theirs)
}

/// The same for any core but our own.
fn between(core: usize) -> Option<f64> {
    let ball = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let ball = &ball;
        scope.spawn(move || {
            let mut one = CpuSet::new();
            one.set(core);
            let pinned = sched_setaffinity(None, &one).is_ok();
            if ready.send(pinned).is_ok() && pinned {
                (0..ROUND_TRIPS * BATCHES).for_each(|round| pass(ball, 2 * round + 1));
            }
        });
        if !is_ready.recv().ok()? {
            return None;
        }
        (0..BATCHES)
            .map(|batch| {
                let started = Instant::now();
                for round in batch * ROUND_TRIPS..(batch + 1) * ROUND_TRIPS {
                    ball.store(2 * round + 1, Ordering::Release);
                    wait_for(ball, 2 * round + 2);
                }
                started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUND_TRIPS)
            })
            .min_by(f64::total_cmp)
    })
}

/// Waits for the ball and passes it back.
fn pass(ball: &AtomicU32, number: u32) {
    wait_for(ball, number);
    ball.store(number + 1, Ordering::Release);
}

fn wait_for(ball: &AtomicU32, number: u32) {
    while ball.load(Ordering::Acquire) != number {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_time_and_ends() {
        let allowed = sched_getaffinity(None).unwrap();
        if allowed.count() < 2 {
            return; // There is nothing to measure.
        }
        let last = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|&core| allowed.is_set(core));
        let ns = between(last.unwrap()).unwrap();
        assert!(ns > 0.0, "{ns}");
    }
}
