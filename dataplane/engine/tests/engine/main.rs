//! Scenarios of publishers, workers and viewers in virtual time, one for each file.

mod demux;
mod forward;
mod harness;
mod keyframes;
mod reports;
mod retransmission;
mod workers;
