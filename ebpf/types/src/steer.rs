//! The hash of `ion_tables::steer`, on what an eBPF program sees; a test of the loader holds the
//! two together.

use crate::Endpoint;

/// Multiplier of the hash.
const MULTIPLIER: u32 = 0x9E37_79B1;
/// Right shift that brings the upper bits of a product down.
const SHIFT: u32 = 15;

#[inline(always)]
const fn mix(hash: u32, word: u32) -> u32 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> SHIFT)
}

/// The worker, below `workers`, that gets packets from `remote` while its flow is in no map:
/// `ion_tables::steer::worker_of`.
#[inline(always)]
#[must_use]
pub const fn worker_of(remote: &Endpoint, workers: u32) -> u32 {
    let hash = mix(0, remote.port() as u32);
    let [a, b, c, d] = remote.ip.words();
    let hash = if remote.ip.is_v4() {
        hash
    } else {
        let hash = mix(hash, u32::from_be_bytes(a));
        let hash = mix(hash, u32::from_be_bytes(b));
        mix(hash, u32::from_be_bytes(c))
    };
    let hash = mix(hash, u32::from_be_bytes(d));
    if workers == 0 { 0 } else { hash % workers }
}
