//! A network in virtual time, to judge congestion control by.
//!
//! A [`World`] has two [`Link`](link::Link)s, one each way, and media flows across them:
//! a model encoder, a pacer, an [`Estimator`](ion_engine::congestion::Estimator), and at
//! the far end a receiver that sends real feedback messages and a player that knows what
//! is decodable. TCP flows may compete. Everything moves in steps of a millisecond,
//! links and arrivals in microseconds; the same seed gives the same run.
//!
//! [`cases`] has the evaluations of RFC 8867 and RFC 8869, and an SFU's own;
//! [`metrics`] those of RFC 8868.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a model computes in floating point; what it counts is small"
)]

/// The evaluations.
pub mod cases;
mod dualpi2;
/// Model encoders.
pub mod encoder;
/// Emulated links.
pub mod link;
/// What a run is judged by.
pub mod metrics;
/// A model player.
pub mod player;
/// Seeded random numbers.
pub mod random;
mod receiver;
mod sender;
mod tcp;
/// Flows across links.
pub mod world;

pub use cases::Case;
pub use metrics::Report;
pub use world::{World, run};
