//! AF_XDP on veth, with the real XDP program, against plain UDP sockets in another network
//! namespace, whose kernel checks every checksum. Needs root.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "patterns of bytes, and small counts"
)]

/// Namespaces and what is in them.
mod net;
/// A worker's backend with its XDP program, and a client.
mod rig;

/// What happens when interface, neighbour or program change.
mod changes;
/// An allocator that counts.
#[path = "../support/counting.rs"]
mod counting;

/// What a packet costs.
mod cost;
/// Packets there and back.
mod traffic;
