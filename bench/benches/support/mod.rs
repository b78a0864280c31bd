//! What all benches share: how long they take, and the counting of allocations.

use criterion::Criterion;
use ion_bench::counting::{Counting, allocations};
use ion_bench::cpu::float;
use std::io::Write;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Half a second to warm up and one to measure: all benches together take a few minutes.
pub(crate) fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

/// Runs a stage that handles so many elements and promises not to allocate; says what it found.
///
/// # Panics
/// When it allocates.
pub(crate) fn expect_no_allocation(name: &str, elements: u64, run: impl FnOnce()) {
    let count = allocations(run);
    let each = float(count) / float(elements.max(1));
    // Nobody reading is no reason to stop.
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {count} allocations for {elements} elements, {each} each"
    );
    assert_eq!(count, 0, "{name} allocates");
}
