//! What happened in rooms, kept and sent on.
//!
//! [`Log`] writes an event, with a line for each webhook that wants it, before the core answers whom
//! it answers: what a client has seen happen, a webhook is told of, though this process be killed in
//! the next moment. [`outbox::Outbox`] is what waits, in memory, as a pure state machine: who is next,
//! and when; [`deliver`] sends. A delivery is deleted when it was taken, so that it comes at least once.
//!
//! Not synced at each event: what a machine loses with its power, its media lost too.

/// Sends what waits.
pub mod deliver;
mod log;
/// What waits, and for how long.
pub mod outbox;

pub use log::{FILE, Log};
