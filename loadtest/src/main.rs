//! `ion-loadtest`: the load generator.
//!
//! `run` is real clients against any server that speaks WHIP and WHEP; `raw` takes the
//! control plane's place in front of Ion's dataplane and measures forwarding alone.

mod media;
mod raw;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load generator for WHIP and WHEP servers, and for Ion's dataplane alone.
#[derive(Parser)]
#[command(name = "ion-loadtest", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<run::Options>),
    /// Forwarding alone: static keys, rows written directly, the highest rate.
    Raw(raw::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(options) => Ok(run::run(&options)),
        Command::Raw(options) => raw::run(&options).map(|()| ExitCode::SUCCESS),
    }
}
