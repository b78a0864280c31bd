//! Scenarios of publishers, workers and viewers in virtual time, one for each file.
#![allow(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
#![allow(unreachable_pub, reason = "shared by several test programs")]

mod bad_input;
mod demux;
mod forward;
mod harness;
mod keyframes;
mod properties;
mod reports;
mod retransmission;
mod rows;
mod workers;
