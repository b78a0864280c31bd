//! The shared-memory contract between Ion's two processes.
//!
//! The dataplane makes one sealed memfd; the control plane maps the same pages.
//! Everything that forwarding needs is a fixed-size row in it, so that either
//! process can die and return while the other goes on. This crate knows rows,
//! rings and versions. It does not know packets, rooms or sockets.
//!
//! Invariants:
//! - **One writer for each part.** A row's *config* (and a transport's *secrets*)
//!   is written by the control plane only, its *state* and *counters* by the
//!   worker that owns it only. [`ControlTables`] and [`WorkerTables`] are the two
//!   roles; everybody may read.
//! - **A reader never sees half a row.** Config, secrets and state are
//!   [`SeqCell`]s: the reader gets a consistent copy or [`Torn`].
//! - **Nothing read from the other side is trusted.** Indices are checked against
//!   the capacities taken at mapping time; values are copied out before use.
//! - **A lost announcement costs a rescan, never an update.**
#![deny(missing_docs)]

/// Unix seqpacket handshake that hands over the memfd, doorbells and sockets.
#[cfg(not(loom))]
pub mod attach;
/// What the XDP program does, for those who cannot ask the kernel.
pub mod bypass;
/// Row numbers announced by the control plane to one worker.
pub mod command;
/// Single-writer counters that anyone may read.
pub mod counters;
/// Why a packet was not forwarded.
pub mod drop_reason;
/// What workers tell the control plane.
pub mod event;
/// First page of the mapping: version, capacities, heartbeats.
pub mod header;
/// Offsets of every part, computed from the capacities.
#[cfg(not(loom))]
pub mod layout;
/// The memfd and its mapping.
#[cfg(not(loom))]
pub mod mapping;
/// Who writes to it: the control plane, and workers.
#[cfg(not(loom))]
pub mod roles;
/// The rows of the four tables.
pub mod rows;
/// Sequence lock over a plain value in shared memory.
pub mod seqcell;
/// Which worker gets a client's packets.
pub mod steer;
mod sync;
/// Fixed-size values that rows are made of.
pub mod values;

pub use bypass::{Bypass, DropSamples};
pub use command::{CommandRing, RowKind, RowRef};
pub use counters::Counter;
pub use drop_reason::DropReason;
pub use event::{Event, EventKind, EventReader, EventRing};
#[cfg(not(loom))]
pub use layout::Capacities;
#[cfg(not(loom))]
pub use mapping::{MapError, Tables};
#[cfg(not(loom))]
pub use roles::{ControlTables, WorkerTables};
pub use rows::*;
pub use seqcell::{SeqCell, Torn};
pub use values::{Address, ExtensionKind, ExtensionMap, Text};

/// Version of the layout and of its meaning; both sides must agree exactly.
pub const ABI_VERSION: u32 = 8;
