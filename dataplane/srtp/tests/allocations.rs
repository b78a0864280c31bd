//! No packet costs an allocation, in Rust or in the C library behind it.
//!
//! A counting `GlobalAlloc` would not see what AWS-LC allocates. So the test binary defines `malloc` and its
//! kin itself, in front of glibc's: the linker binds AWS-LC, statically linked, and Rust's system allocator
//! to these.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};

use ion_srtp::{MasterKey, Opener, Profile, RtcpRx, RxIndex, Sealer, SrtpError};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static RUST_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
}

// SAFETY: takes the place of the C library's function, with its signature, and leaves the work to it.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: any size is allowed.
    unsafe { __libc_malloc(size) }
}

// SAFETY: as `malloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(items: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: any sizes are allowed.
    unsafe { __libc_calloc(items, size) }
}

// SAFETY: as `malloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: the caller owns `memory`, which came from the same allocator.
    unsafe { __libc_realloc(memory, size) }
}

// SAFETY: as `malloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    memory: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    count();
    // SAFETY: the caller gives a power of two and a place to write to.
    unsafe {
        *memory = __libc_memalign(alignment, size);
        if (*memory).is_null() { 12 } else { 0 }
    }
}

/// Counts Rust's own share, to show that there is another.
struct RustShare;

#[global_allocator]
static ALLOCATOR: RustShare = RustShare;

// SAFETY: `System` does the work; the other methods are made of these two.
unsafe impl GlobalAlloc for RustShare {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        RUST_ALLOCATIONS.set(RUST_ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract; `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Allocations of this thread while `work` runs, of Rust and C together.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_sees_rust_and_c() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![1u8; 100]))),
        1
    );
    // The keys of AES-GCM live in memory of AWS-LC.
    let key = MasterKey::new([1; 32], [2; 14]);
    let rust_before = RUST_ALLOCATIONS.get();
    let all = allocations(|| drop(Sealer::new(Profile::AeadAes128Gcm, &key)));
    assert!(all > RUST_ALLOCATIONS.get() - rust_before);
}

#[test]
fn none_for_each_packet() {
    for profile in [
        Profile::Aes128CmSha1_80,
        Profile::AeadAes128Gcm,
        Profile::AeadAes256Gcm,
    ] {
        let key = MasterKey::new([1; 32], [2; 14]);
        let (mut sealer, mut opener) = (Sealer::new(profile, &key), Opener::new(profile, &key));
        let (mut rx, mut rtcp_rx) = (RxIndex::new(), RtcpRx::new());
        let mut round = |index: u32| {
            let payload = [7; 1200];
            let (mut sealed, mut opened) = ([0; 1500], [0; 1500]);
            let sequence = u16::try_from(index).unwrap();
            let len = sealer
                .seal_rtp(12, index.into(), 5, &payload, &mut sealed)
                .unwrap();
            opener
                .open_rtp(12, 5, sequence, &sealed[..len], &mut rx, &mut opened)
                .unwrap();
            sealed[len - 1] ^= 1;
            let forged = opener.open_rtp(
                12,
                6,
                sequence,
                &sealed[..len],
                &mut RxIndex::new(),
                &mut opened,
            );
            assert_eq!(forged, Err(SrtpError::AuthFailed));
            sealer
                .seal_rtp_in_place(12, 500, index.into(), 7, &mut sealed)
                .unwrap();
            let len = sealer
                .seal_rtcp(index, &payload[..100], &mut sealed)
                .unwrap();
            opener
                .open_rtcp(&sealed[..len], &mut rtcp_rx, &mut opened)
                .unwrap();
        };
        // The first failure of a thread makes AWS-LC's queue of errors for it.
        round(0);
        let count = allocations(|| (1..100).for_each(&mut round));
        assert_eq!(
            count, 0,
            "{profile:?}: allocations in 99 rounds of six operations"
        );
    }
}
