//! ICE, DTLS, SDP, rooms, and the HTTP API.

/// `ion run`, `ion status`, `ion token`: the command line.
pub mod launcher;
/// Settings: flags, environment, `ion.toml`.
pub mod settings;
