//! Scenarios of publishers, workers and viewers in virtual time, one for each file.
#![allow(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are the low half of indices"
)]
#![allow(unreachable_pub, reason = "shared by several test programs")]

mod arrived;
mod bad_input;
mod demux;
mod ecn;
mod fec;
mod forward;
mod harness;
mod keyframes;
mod layers;
mod model;
mod padding;
mod playout;
mod properties;
mod redundancy;
mod reports;
mod retransmission;
mod room;
mod rows;
mod silence;
mod simulcast;
mod speech;
mod stage;
mod workers;

/// Properties run on the same cases every time; `PROPTEST_RNG_SEED` chooses others.
fn seeded(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen => chosen,
    };
    Config {
        rng_seed,
        failure_persistence: None,
        cases,
        ..config
    }
}
