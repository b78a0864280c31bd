//! ICE, DTLS, SDP, rooms, and the HTTP API.
//!
//! What it is: the process that negotiates. It answers WHIP and WHEP, speaks ICE and DTLS on
//! sockets that the dataplane hands over, and writes what was agreed into the forwarding tables.
//! What it is not: on the path of any media packet. It may die and return while media flows.
//!
//! `rooms`, `session`, `rows` and `record` are pure; `core` brings them together in one task.

/// The HTTP surface's view of the core.
pub mod backend;
/// Which addresses an answer announces.
pub mod candidates;
/// Data channels: SCTP over DTLS.
pub mod channels;
/// The one task that owns sessions, rooms and rows.
pub mod core;
/// What the API keeps, in SQLite.
pub mod documents;
/// What happened in rooms, kept and sent on.
pub mod events;
/// `ion run`, `ion status`, `ion token`: the command line.
pub mod launcher;
/// Every limit of the core.
pub mod limits;
/// What is counted.
pub mod metrics;
/// Free rows, writing rows, announcing rows.
pub mod programmer;
/// What is known about a session beside ICE and DTLS.
pub mod record;
/// Rooms as a pure state machine.
pub mod rooms;
/// Records as rows.
pub mod rows;
/// The control process: core, HTTP server, signals.
pub mod serve;
/// One ICE and DTLS association.
pub mod session;
/// Settings: flags, environment, `ion.toml`.
pub mod settings;
/// What outlives this process.
pub mod store;
/// Token bucket for log lines.
pub mod throttle;
/// Which layers anybody watches.
pub mod watch;
