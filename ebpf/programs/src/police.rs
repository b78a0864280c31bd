use crate::maps::{SAMPLING, SOURCES, TOTAL};
use aya_ebpf::bindings::BPF_ANY;
use core::arch::asm;
use core::ptr;
use ion_ebpf_types::policy::source_of;
use ion_ebpf_types::{Endpoint, Rate, Settings, Verdict};

/// Attempts at a bucket that other CPUs take from at the same time.
const ATTEMPTS: u32 = 4;

/// A bucket in a map, which other CPUs may take from at the same time.
struct Bucket(*mut u64);

impl Bucket {
    /// Takes a packet out; a bucket too contended counts as empty.
    #[inline(always)]
    fn take(&self, rate: &Rate, now_ns: u64) -> bool {
        for _ in 0..ATTEMPTS {
            // SAFETY: map values are 8-byte aligned and stay allocated while the program runs. Other CPUs
            // may write meanwhile: the machine's load of an aligned word is atomic, and volatile keeps
            // it one. (LLVM has no atomic load before BPF's version 4.)
            let full_at = unsafe { self.0.read_volatile() };
            let Some(next) = rate.admit(full_at, now_ns) else {
                return false;
            };
            if self.compare_exchange(full_at, next) {
                return true;
            }
        }
        false
    }

    /// `AtomicU64::compare_exchange`, which Rust's BPF target lacks though the machine has it.
    #[inline(always)]
    fn compare_exchange(&self, old: u64, new: u64) -> bool {
        let seen: u64;
        // SAFETY: as in `take`; the instruction compares what is there with r0, stores `new` if they are
        // equal, and leaves in r0 what was there.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({place} + 0, r0, {new})",
                place = in(reg) self.0,
                new = in(reg) new,
                inout("r0") old => seen,
                options(nostack),
            );
        }
        seen == old
    }
}

/// The same reference, made in this branch: LLVM would add one of two offsets behind both, and without
/// CAP_PERFMON the verifier takes only constants there.
#[inline(always)]
fn pinned<T>(reference: &T) -> &T {
    let mut pointer = ptr::from_ref(reference);
    // SAFETY: a move onto itself; the pointer is the reference's still.
    unsafe {
        asm!("{0} = {0}", inout(reg) pointer);
        &*pointer
    }
}

/// Whether STUN or DTLS from `remote` may pass; if not, why.
#[inline(always)]
pub(crate) fn admit(
    settings: &Settings,
    remote: &Endpoint,
    known: bool,
    now_ns: u64,
) -> Result<(), Verdict> {
    let rate = if known {
        pinned(&settings.flow)
    } else {
        pinned(&settings.source)
    };
    let source = source_of(remote, known);
    match SOURCES.get_ptr_mut(&source) {
        Some(pointer) if !Bucket(pointer).take(rate, now_ns) => {
            return Err(Verdict::DropSourceRate);
        }
        Some(_) => {}
        None => {
            // A full bucket, less this packet. Without room for it, the total still holds.
            let next = rate.admit(0, now_ns).unwrap_or(now_ns);
            let _ = SOURCES.insert(&source, &next, u64::from(BPF_ANY));
        }
    }
    let Some(total) = TOTAL.get_ptr_mut(0) else {
        return Err(Verdict::DropTotalRate);
    };
    if known || Bucket(total).take(&settings.total, now_ns) {
        Ok(())
    } else {
        Err(Verdict::DropTotalRate)
    }
}

/// Whether this CPU may report one more dropped packet.
#[inline(always)]
pub(crate) fn may_sample(settings: &Settings, now_ns: u64) -> bool {
    SAMPLING
        .get_ptr_mut(0)
        .is_some_and(|pointer| Bucket(pointer).take(&settings.samples, now_ns))
}
