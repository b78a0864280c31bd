//! HTTP surface of Ion: WHIP (RFC 9725), WHEP (draft-ietf-wish-whep-03), the management API,
//! tokens, health, metrics and the web page.
//!
//! What it is: axum routers generic over [`backend::Backend`], and the server that runs them. What
//! it is not: it knows no SDP, ICE, DTLS or rooms; bodies pass through as text, bounded and checked
//! for their content type only. It runs on the tokio runtime of the control process, never in the
//! dataplane.
//!
//! Invariants:
//! - *Every refusal is a problem*: each answer of 400 and above carries `application/problem+json`
//!   with a stable `type`, CORS headers, and nothing of the server's inside.
//! - *Everything is bounded*: bodies, headers, names, connections, requests at a time and requests
//!   per client, by the constants of [`limits`].
//! - *No name reaches the backend unchecked*: [`names`] parses, so the backend need not validate.

#![forbid(unsafe_code)]

/// API keys, users, revoked tokens.
pub mod accounts;
/// Who is asking, and whether they may.
pub mod auth;
/// What the control plane does for the HTTP surface.
pub mod backend;
/// A client of all this.
#[cfg(feature = "client")]
pub mod client;
mod cors;
/// Counters of answers by endpoint and status code, for `/metrics`.
pub mod counters;
/// What the API keeps: versioned JSON documents.
pub mod documents;
/// What happens in rooms.
pub mod events;
mod exchange;
/// What is asked of a room.
pub mod govern;
mod health;
mod idempotency;
/// `If-Match` of RFC 9110, as WHIP clients really send it.
pub mod if_match;
mod intake;
/// Every limit of the HTTP surface, in one place.
pub mod limits;
/// The JSON bodies of `/v1`.
pub mod model;
/// Room names, identities and session ids: parsed, bounded strings.
pub mod names;
mod openapi;
/// Errors as RFC 9457 problems.
pub mod problem;
/// Requests per client address.
pub mod ratelimit;
/// The whole router, and what it needs to know.
pub mod router;
/// The management API.
mod routes;
/// Secrets at rest.
pub mod seal;
/// Serves a router over TCP with time-outs, a connection limit and a clean stop.
pub mod server;
mod session;
/// The messages of `/v1/signal`.
pub mod signal;
/// Access tokens: JWT, HS256, LiveKit's claim names.
pub mod token;
mod web;
/// Where events are sent to.
pub mod webhooks;
/// WHEP.
pub mod whep;
mod whip;

pub use backend::Backend;
pub use problem::Problem;
pub use router::{Config, router};
