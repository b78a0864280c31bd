//! The forwarding process.
