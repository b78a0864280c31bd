//! Sans-IO ICE-lite agent (RFC 8445 §2.5), server side.
//!
//! One [`Agent`] serves one transport: it answers the peer's connectivity checks, remembers which
//! address pairs the peer has proven, follows its nominations, and says when the peer has gone
//! (RFC 7675, seen from the answering side). It is always the controlled agent, sends nothing on its
//! own account, opens no socket and reads no clock: packets and `now` are arguments, the response is
//! written into the caller's buffer. It runs on whichever thread owns the session.
//!
//! It is not a full agent: no candidates are gathered, no checks are sent, TURN is not spoken.
//!
//! Invariants:
//! - **Bad input never panics** and never changes state: an [`Agent`] moves only on a request whose
//!   MESSAGE-INTEGRITY was verified, and looks only at attributes that it covers.
//! - **No amplification**: an error response is never longer than the request that caused it; where
//!   it would be, nothing is sent. A success response goes out only to an authenticated request.
//! - **Bounded**: at most [`MAX_PAIRS`] pairs and two superseded sets of credentials are remembered.

#![forbid(unsafe_code)]

/// The agent: answers checks, keeps pairs, nomination, consent and restarts.
pub mod agent;
/// Username fragments and passwords (RFC 8445 §5.3).
pub mod credentials;
/// Reading Binding requests in place; the username for routing an unknown source.
pub mod packet;
/// Candidate priorities (RFC 8445 §5.1.2.1).
pub mod priority;

mod response;

pub use agent::{Agent, MAX_PAIRS, Outcome, Pair, Reason, Timeouts};
pub use credentials::{Credentials, CredentialsError};
pub use packet::username_of;
pub use priority::{CandidateType, candidate_priority};
