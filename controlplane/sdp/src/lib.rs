//! SDP as typed values, and the offer/answer of WHIP and WHEP.
//!
//! What it is: a parser and writer of session descriptions (RFC 8866) that knows the
//! attributes WebRTC uses, of trickle-ICE fragments (RFC 8840), and the pure functions that
//! turn an offer into an answer. What it is not: a socket, a clock, a source of randomness, a
//! store. Identifiers, credentials, SSRCs and candidates are arguments.
//!
//! Invariants:
//! - **Bounded**: nothing is allocated for a text that breaks a bound of [`limits`].
//! - **Bad input never panics**: it becomes an [`SdpError`] or a [`Reject`] whose text says
//!   what was wrong and what would be right.
//! - **An answer mirrors its offer**: as many m-sections, in the same order, with the same
//!   MIDs; only payload types and extension ids that were offered.
#![forbid(unsafe_code)]

/// ICE candidates, credentials and DTLS fingerprints.
pub mod transport;

/// Codecs: payload types, format parameters, feedback, and which codecs are the same.
pub mod codec;

/// RTP header extensions and the map of their negotiated ids.
pub mod extension;

/// Streams inside a media section: MSID, SSRC, SSRC groups, RID, simulcast.
pub mod stream;

/// The session description and its media sections.
pub mod session;

/// Bounds on everything a peer can send, and the check made before parsing.
pub mod limits;

/// Why a text is no acceptable SDP.
pub mod error;

/// Trickle-ICE fragments (RFC 8840): candidates and ICE restarts over HTTP PATCH.
pub mod fragment;

/// What offers and answers have in common: our parameters, the peer's, the reasons to refuse.
pub mod negotiate;

/// Publishing: the answer to a WHIP offer (RFC 9725).
pub mod whip;

/// Playing: the answer to a WHEP offer, and the counter-offer (draft-ietf-wish-whep).
pub mod whep;

/// Both ways over one transport: the answer to a participant of `/v1/signal`.
pub mod duplex;

mod parse;
mod write;

pub use codec::{Codec, CodecKind, Feedback, FeedbackSet, Fmtp, TrackCodec};
pub use duplex::{DuplexAnswer, Purpose, Section};
pub use error::SdpError;
pub use extension::{Extension, ExtensionKind, ExtensionMap};
pub use fragment::SdpFragment;
pub use negotiate::{DtlsRole, LocalParams, Reject, RemoteParams};
pub use session::{Direction, Media, MediaKind, Mid, Origin, SessionDescription, Setup};
pub use stream::{Msid, Rid, Simulcast};
pub use transport::{Candidate, Fingerprint, HashAlgorithm, IceCredentials};
pub use whep::{PayloadMap, PlayAnswer, PlayTrack, Sender, Senders, SourceTrack};
pub use whip::{Encoding, PublishAnswer, PublishTrack};
