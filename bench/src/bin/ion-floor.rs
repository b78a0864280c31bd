//! The least that any forwarder with sockets must do, to measure others against.

use clap::{Parser, Subcommand};
use ion_bench::floor::{self, reflect};
use std::io::Write;
use std::time::Duration;

/// The least that a forwarder with sockets must do: one SRTP open, a seal and the cheapest send for each
/// viewer. Prints JSON. Everything stays on loopback.
#[derive(Debug, Parser)]
#[command(name = "ion-floor", version, about)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Viewers of the one publisher.
    #[arg(long, value_name = "N", default_value_t = 50)]
    viewers: u32,
    /// Seconds that each variant is measured.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A bare UDP reflector: prints its port, sends each datagram to every viewer, ends with its input.
    Reflect {
        /// Addresses that each datagram goes to, from 127.16.0.2 on.
        #[arg(long, value_name = "N", default_value_t = 50)]
        viewers: u32,
        /// The port that viewers receive at.
        #[arg(long, value_name = "PORT")]
        to_port: u16,
        /// Seconds after which it ends by itself.
        #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
    },
    /// Latency through a reflector of its own.
    Latency {
        /// Viewers of the one publisher.
        #[arg(long, value_name = "N", default_value_t = 50)]
        viewers: u32,
        /// Times real time.
        #[arg(long, value_name = "F", default_value_t = 1.0)]
        speed: f64,
        /// Seconds that are measured.
        #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let result = match options.command {
        None => floor::measure(options.viewers, options.seconds)?,
        Some(Command::Reflect {
            viewers,
            to_port,
            seconds,
        }) => return reflect::reflect(viewers, to_port, Duration::from_secs(seconds)),
        Some(Command::Latency {
            viewers,
            speed,
            seconds,
        }) => reflect::latency(viewers, speed, seconds)?,
    };
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}
