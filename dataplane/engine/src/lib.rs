//! Sans-IO forwarding engine.
//!
//! One engine belongs to one worker: packets, commands and time go
//! in, datagrams in a [`TransmitBatch`] and messages to other workers come out.
//! It knows rows, packets and time; no sockets, threads, clocks, rooms or SDP.
#![forbid(unsafe_code)]

/// Where the engine's results go: transmit memory and other workers.
pub mod output;
/// Points in time, as the engine is told them.
pub mod time;
/// Transmit memory: datagrams laid out so that runs to one viewer are one GSO send.
pub mod transmit;

pub use output::Output;
pub use time::Micros;
pub use transmit::{Path, Transmit, TransmitBatch};
