//! Measures the packet path: its stages, the least that any forwarder must do, and whole dataplanes
//! against each other.
//!
//! The library holds what the criterion benches in `benches/` and the programs `ion-floor` and `ion-bench`
//! share. It runs `ion-loadtest` as a program and never links it. Figures are for comparing within one run
//! on one machine; the table of `ion-bench table` therefore measures its unit, the floor and the dataplane
//! in turn.
//!
//! Invariants:
//! - **Loopback only.** Nothing here sends anywhere but to 127.0.0.0/8.
//! - **Bounded.** Whatever runs has a limit on its time, and a program that exceeds it is ended.
#![deny(missing_docs)]

/// Two candidates in turn, several rounds.
pub mod compare;
/// An allocator that counts.
pub mod counting;
/// CPU time and the monotonic clock.
pub mod cpu;
/// How far apart the cores were.
pub mod distance;
/// The least that any forwarder with sockets must do.
pub mod floor;
/// The yardstick for congestion control.
pub mod gcc;
/// Figures picked from the JSON of a run.
pub mod metric;
/// Packet sizes of the standard video mix.
pub mod mix;
/// The unit `S`: one plain `sendto`.
pub mod plain_send;
/// Running other programs within a time limit.
pub mod process;
/// One dataplane measured by `ion-loadtest raw`.
pub mod raw;
/// Markdown and HTML reports.
pub mod report;
/// The engine with rows, a publisher and viewers, without the kernel.
pub mod rig;
/// What is measured: mix, rooms, viewers.
pub mod scenario;
/// Two servers measured by `ion-loadtest run`.
pub mod servers;
/// Congestion control in virtual time, as tables.
pub mod simulate;
/// Medians, spreads and ratios.
pub mod stats;
/// The table of bars.
pub mod table;
