//! The messages of `/v1/signal`: what the SDK and the server say to each other over one
//! WebSocket, defined once. TypeScript is generated from here (`web-sdk/src/wire/signal.ts`, kept
//! fresh by a test); `docs/signalling.md` tells the story around them.
//!
//! Each text message is one JSON object with a `type`. A [`ClientMessage`] is a [`Request`], with an
//! `id` where an answer is wanted. A [`ServerMessage`] is the [`Answer`] to one, with the same `id`,
//! or an [`Event`], with a `seq` that grows by one.

/// What the client says.
pub mod client;
/// What both talk about: rooms, participants, publications, subscriptions.
pub mod model;
/// What the server says.
pub mod server;
/// What a socket and the control plane hand each other.
pub mod session;
mod socket;
#[cfg(test)]
mod typescript;

pub use client::{ClientMessage, Request};
pub use model::{ParticipantId, PublicationId};
pub use server::{Answer, Event, Reason, ServerMessage};
pub use session::{Backlog, JoinRequest, Outbox};
pub(crate) use socket::routes;

/// Version of the protocol; a client of another one is refused with
/// [`Reason::UnsupportedProtocol`].
pub const PROTOCOL: u32 = 1;

/// WebSocket subprotocol that is accepted where a client asks for one.
pub const SUBPROTOCOL: &str = "ion.signal.v1";
