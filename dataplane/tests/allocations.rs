//! Forwarding allocates nothing: the whole process but its clients, in this one.

#[path = "dataplane/room.rs"]
mod room;
#[expect(dead_code, reason = "shared with the tests of the process")]
#[path = "dataplane/support.rs"]
mod support;

use clap::Parser;
use ion_dataplane::options::Options;
use ion_dataplane::process;
use ion_tables::DropReason;
use room::{Control, room};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, counting what the workers' threads take.
struct Counting;

thread_local! {
    /// Set on the threads that are not workers.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system allocator's; counting touches no memory of its.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !EXEMPT.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn forwarding_between_two_workers_allocates_nothing() {
    EXEMPT.set(true);
    let state_dir = support::StateDir::new();
    let arguments = ["ion-dataplane", "--media", "127.0.0.1:0", "--workers", "2"];
    let mut options = Options::parse_from(arguments);
    options.state_dir = state_dir.path().to_owned();
    // Ends with this process: a signal would end the test.
    std::thread::spawn(move || {
        EXEMPT.set(true);
        process::run(&options)
    });
    support::until("it listens", || state_dir.socket().exists());
    let control = Control::attach(&state_dir);
    let mut room = room(&control, 0);
    // Packet memory is made in steps, until there is enough for what the history keeps.
    room.publish(1..1_001);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(before > 0, "the workers are counted");
    room.publish(1_001..2_001);
    assert_eq!(control.all_dropped(), []);
    // Who is sent sound alone has nothing to report on.
    room.report(8);
    support::until("reports are read", || {
        control.dropped(DropReason::FeedbackRefused) == 32
    });
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
