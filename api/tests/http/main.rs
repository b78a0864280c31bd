//! The HTTP surface over a fake backend: every status code and header that clients rely on.

mod access;
mod edges;
mod fake;
mod govern;
mod patience;
mod server;
mod session;
mod v1;
mod whep;
mod whip;
