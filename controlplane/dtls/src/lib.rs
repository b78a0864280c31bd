//! Sans-IO DTLS 1.3 and 1.2 for WebRTC, over BoringSSL.
//!
//! An [`Endpoint`] is made once, from an [`Identity`] (the certificate that SDP announces by its
//! [`Fingerprint`]); it gives one [`Session`] per transport, as server or as client. A session takes
//! datagrams and time and gives datagrams and events: it opens no socket and reads no clock. Its only
//! use is to authenticate the peer against the fingerprint of its SDP, to agree on an SRTP profile, to
//! export the SRTP keys (RFC 5764), and to carry data channels. Callers see the [`DtlsSession`] trait, so
//! that the engine behind it can be replaced.
//!
//! It is not a general TLS library: no chains of trust, no resumption, no renegotiation, no 0-RTT.
//!
//! Invariants:
//! - **A session is connected only to a peer whose certificate hashes to an expected fingerprint** and
//!   only with an SRTP profile agreed.
//! - **The caller hands in only datagrams of pairs that ICE has validated.** The handshake answers a
//!   ClientHello with more bytes than it holds; ICE is what proves that the source wants them.
//! - **Plaintext is not trusted**: records of epoch 0 that make no sense in the present state are dropped and
//!   counted, and alerts among them can hasten a time-out but not end a handshake that goes on.
//! - **Bounded**: input size, output queue, retransmissions, rebuilds and handshake time.

#![deny(unsafe_code)]

/// What all sessions share: certificate, ciphers, SRTP profiles.
pub mod endpoint;
/// Why a session failed.
pub mod error;
/// Certificate fingerprints as in SDP (RFC 8122).
pub mod fingerprint;
/// The server's certificate and key.
pub mod identity;
/// Exported SRTP keys and profiles (RFC 5764).
pub mod keying;
/// The engine-neutral interface: trait, events, counters.
pub mod session;

mod boring_session;
#[expect(
    unsafe_code,
    reason = "the few BoringSSL calls that `boring` does not wrap"
)]
mod ffi;
mod filter;
mod pipe;

pub use boring_session::Session;
pub use endpoint::{Config, Endpoint};
pub use error::DtlsError;
pub use fingerprint::{Fingerprint, FingerprintError, HashAlgorithm};
pub use identity::Identity;
pub use keying::{KeyingMaterial, SrtpProfile};
pub use session::{CloseReason, Connected, Counters, DtlsEvent, DtlsSession, DtlsVersion, Role};
