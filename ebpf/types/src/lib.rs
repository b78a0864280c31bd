//! What the eBPF programs and user space agree on: keys and values of the maps, the numbers of
//! the counters, and the policy by which packets are judged.
//!
//! The same code runs in the kernel (`ebpf/programs`), in the loader and in the tests, which hold
//! the program's verdicts against [`policy::judge`].
//!
//! It is not the parser (`ion_wire::frame`) and touches no map. `no_std`, no allocation, no clock.
//!
//! Invariants:
//! - **Layout is the contract.** Every shared struct is `repr(C)` without padding (`IntoBytes`
//!   refuses it), its size asserted; addresses and ports are kept as they are on the wire.
//! - **IPv4 is mapped** (`::ffff:a.b.c.d`) wherever an address is kept.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Flows: the keys and values of the flow map.
pub mod flow;
/// IP addresses as the maps have them.
pub mod ip;
/// What becomes of a datagram to the media port.
pub mod policy;
/// Token buckets as one number each.
pub mod rate;
/// Rewriting a datagram's addresses for its next hop.
pub mod relay;
/// What the program reports of packets that it dropped.
pub mod sample;
/// What the programs are told when they are loaded.
pub mod settings;
/// Which worker gets a flow that is not in the map.
pub mod steer;
/// What became of a frame, and its counter.
pub mod verdict;

pub use flow::{Endpoint, Flow, FlowKey};
pub use ip::Ip;
pub use policy::{Action, judge};
pub use rate::Rate;
pub use relay::Relay;
pub use sample::Sample;
pub use settings::{Media, Settings};
pub use verdict::Verdict;

/// Flows that the map holds at most: eight times the transports that shared memory has rows for by default.
/// Media of a flow that found no room is dropped by the XDP program as unknown.
pub const MAX_FLOWS: u32 = 65_536;
/// Sources whose rate is remembered; the one not seen for longest is forgotten first.
pub const MAX_SOURCES: u32 = 16_384;
/// Receive queues that can have an AF_XDP socket.
pub const MAX_QUEUES: u32 = 256;
/// Bytes of the largest frame that goes to an AF_XDP socket: what its chunks of 2,048 bytes have room for
/// behind the kernel's headroom. No media is larger; a larger frame may lie in pieces, which such
/// sockets do not take.
pub const MAX_REDIRECTED_LEN: usize = 2_048 - 256;
/// Interfaces that relayed packets can leave by.
pub const MAX_DEVICES: u32 = 64;
/// Bytes of the ring buffer of samples: a power of two and whole pages.
pub const SAMPLE_RING_BYTES: u32 = 65_536;
/// Workers at most, as `ion_tables::layout::MAX_WORKERS`.
pub const MAX_WORKERS: u32 = 64;
/// Sockets of one reuseport group: the workers', the control plane's, and the workers' for reports on packets.
pub const GROUP_LEN: u32 = 2 * MAX_WORKERS + 1;
/// Sockets of all groups.
pub const MAX_SOCKETS: u32 = settings::MAX_MEDIA * GROUP_LEN;
