//! Scenarios of publishers, workers and viewers in virtual time, one for each file.

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
