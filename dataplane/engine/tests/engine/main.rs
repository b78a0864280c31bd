//! Scenarios of publishers, workers and viewers in virtual time, one for each file.
#![allow(clippy::print_stdout, reason = "tests may say what they saw")]

mod forward;
mod harness;
