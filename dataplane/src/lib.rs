//! The forwarding process.
//!
//! One pinned worker thread for each core drives one [`ion_engine::Engine`] over one
//! [`ion_io::Backend`]; the main thread hands the tables to the control plane and
//! waits. It knows threads, clocks and files; no RTP, keys, rooms or SDP.
//!
//! The path of a datagram, as functions: `Worker::turn` → `Backend::poll` →
//! `Arrivals::for_each` → `Engine::ingest` → `Engine::flush` →
//! `Outbox::transmit` → `Sender::send`; and for another worker's viewers
//! `Outbox::to_worker` → `Inboxes::drain` → `Engine::ingest_peer`.
//!
//! Invariants:
//! - **A worker shares nothing but rings and shared memory** with the others.
//! - **A worker that fails ends the process**, loudly: half of a dataplane would
//!   look alive and drop its share of the packets.
//! - **The control plane may come, go and misbehave** without a worker noticing.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// The eBPF programs, and the interface that packets bypass the stack at.
pub mod bypass;
/// The dataplane's time.
pub mod clock;
/// How the process speaks and fails.
pub mod diagnostics;
/// The flow map, as a worker's transports say.
mod flows;
/// Flags.
pub mod options;
/// Rings between workers.
pub mod peers;
/// Cores, queues and interrupts of each worker.
pub mod placement;
/// Start, supervision and end.
pub mod process;
/// The loop of one worker.
pub mod worker;
