use crate::counters::Counter;
use crate::plain;
use crate::seqcell::SeqCell;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the XDP program in front of the interface does: copied here from its maps by the
/// dataplane, each second, so that others need no privilege to see it.
#[repr(C, align(128))]
pub struct Bypass {
    /// [`Bypass::NATIVE`] and the like.
    pub attached: Counter,
    /// Frames by what became of them (`ion_ebpf_types::Verdict`), since the program was loaded.
    pub verdicts: [Counter; Bypass::VERDICTS],
    /// Dropped packets of which samples were taken.
    pub samples_taken: Counter,
    /// The newest of those samples.
    pub samples: SeqCell<DropSamples>,
}

impl Bypass {
    /// Room for verdicts; more than there are.
    pub const VERDICTS: usize = 24;
    /// [`Bypass::attached`] without an XDP program.
    pub const NONE: u64 = 0;
    /// [`Bypass::attached`] in the driver.
    pub const NATIVE: u64 = 1;
    /// [`Bypass::attached`] behind the driver.
    pub const GENERIC: u64 = 2;
}

/// Headers of packets that the XDP program dropped. They hold addresses: not for logs.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DropSamples {
    /// Each as `ion_ebpf_types::Sample` has it, in a circle; zeros are none.
    pub samples: [[u8; DropSamples::BYTES]; DropSamples::KEPT],
}

impl DropSamples {
    /// Bytes of one.
    pub const BYTES: usize = 72;
    /// How many are kept.
    pub const KEPT: usize = 16;
}

plain!(DropSamples);
