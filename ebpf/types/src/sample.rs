use crate::{FlowKey, Verdict};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a dropped datagram's payload that its sample holds: an RTP header without extras.
pub const SAMPLE_BYTES: usize = 12;

/// The headers of a packet that was dropped.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Sample {
    /// When, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub at_ns: u64,
    /// From where, to where.
    pub key: FlowKey,
    verdict: u32,
    /// The receive queue.
    pub queue: u32,
    /// Length of the UDP payload as its header says, or 0 if the lengths contradict each other.
    pub payload_len: u16,
    /// How much of `payload` was there to be copied.
    pub payload_copied: u16,
    /// The first bytes of the UDP payload.
    pub payload: [u8; SAMPLE_BYTES],
}

impl Sample {
    /// A sample without payload.
    #[inline(always)]
    #[must_use]
    pub const fn new(at_ns: u64, key: FlowKey, verdict: Verdict, queue: u32) -> Self {
        Self {
            at_ns,
            key,
            verdict: verdict as u32,
            queue,
            payload_len: 0,
            payload_copied: 0,
            payload: [0; SAMPLE_BYTES],
        }
    }

    /// Why it was dropped.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        Verdict::ALL
            .get(usize::try_from(self.verdict).ok()?)
            .copied()
    }
}

const _: () = assert!(size_of::<Sample>() == 72 && align_of::<Sample>() == 8);
