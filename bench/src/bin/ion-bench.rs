//! End-to-end benches: two builds or two servers in turn, and the table of bars.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use ion_bench::counting::Counting;
use ion_bench::process::Runner;
use ion_bench::raw::RawRun;
use ion_bench::report::{Document, ab};
use ion_bench::scenario::Scenario;
use ion_bench::servers::{Server, ServerRun};
use ion_bench::{compare, servers, table};
use std::io::Write;
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Compares dataplanes or servers on this host, and measures Ion against its bars. Everything that is
/// measured runs here, on loopback, one after the other.
#[derive(Debug, Parser)]
#[command(name = "ion-bench", version, about)]
struct Options {
    /// Where reports go.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "bench/reports"
    )]
    reports: PathBuf,
    /// The load generator.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "target/release/ion-loadtest"
    )]
    loadtest: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Two builds of the dataplane, or one with two sets of arguments, in turn.
    Ab(AbOptions),
    /// Two WHIP/WHEP servers in turn.
    Servers(ServersOptions),
    /// Everything that there is a bar for.
    Table(TableOptions),
}

#[derive(Debug, Args)]
struct AbOptions {
    /// The first dataplane.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "target/release/ion-dataplane"
    )]
    a: PathBuf,
    /// The second [default: the first].
    #[arg(long, value_name = "PATH")]
    b: Option<PathBuf>,
    /// Arguments for the first, separated by spaces.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    a_args: String,
    /// Arguments for the second.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    b_args: String,
    /// What is measured: MIX-ROOMSxVIEWERS.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["video-1x50", "video-1x500", "audio-1x500"])]
    scenario: Vec<Scenario>,
    /// Rounds of A and B.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Times real time; 0 is as fast as it goes.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    speed: f64,
    /// Viewers send transport-wide feedback; with `--speed 1`.
    #[arg(long)]
    feedback: bool,
    /// Forwarding threads of each.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: u16,
}

#[derive(Debug, Args)]
struct ServersOptions {
    /// Shell command that runs the first in the foreground; nothing if it runs already.
    #[arg(long, value_name = "CMD", default_value = "")]
    a_start: String,
    /// Its WHIP address; `{room}` stands for the room.
    #[arg(long, value_name = "URL")]
    a_whip: String,
    /// Its WHEP address.
    #[arg(long, value_name = "URL")]
    a_whep: String,
    /// Shell command that runs the second.
    #[arg(long, value_name = "CMD", default_value = "")]
    b_start: String,
    /// Its WHIP address.
    #[arg(long, value_name = "URL")]
    b_whip: String,
    /// Its WHEP address.
    #[arg(long, value_name = "URL")]
    b_whep: String,
    /// Rounds of A and B.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds that all viewers are there.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Further arguments of `ion-loadtest run`.
    #[arg(
        last = true,
        value_name = "ARGS",
        default_values = ["--publishers", "1", "--viewers", "50"]
    )]
    args: Vec<String>,
}

#[derive(Debug, Args)]
struct TableOptions {
    /// The dataplane.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "target/release/ion-dataplane"
    )]
    dataplane: PathBuf,
    /// Arguments for it, separated by spaces.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    args: String,
    /// The floor program.
    #[arg(long, value_name = "PATH", default_value = "target/release/ion-floor")]
    floor: PathBuf,
    /// Rounds.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runner = Runner::new()?;
    let (name, report) = match &options.command {
        Command::Ab(ab) => ("ab", run_ab(&runner, &options, ab)?),
        Command::Servers(servers) => ("servers", run_servers(&runner, &options, servers)?),
        Command::Table(table) => ("table", run_table(&runner, &options, table)?),
    };
    let path = report.write(&options.reports, name)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", report.markdown()).context("writing the report")?;
    writeln!(
        stdout,
        "Written to {} and, with plots, to {}.",
        path.display(),
        path.with_extension("html").display()
    )?;
    Ok(())
}

/// Says how far it has come.
fn progress(line: &str) {
    // Nobody listening is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn run_ab(runner: &Runner, options: &Options, ab_options: &AbOptions) -> anyhow::Result<Document> {
    let candidate = |dataplane: &PathBuf, args: &String| RawRun {
        loadtest: options.loadtest.clone(),
        dataplane: dataplane.clone(),
        args: args.clone(),
        workers: ab_options.workers,
        seconds: ab_options.seconds,
        speed: ab_options.speed,
        feedback: ab_options.feedback,
    };
    let b = ab_options.b.as_ref().unwrap_or(&ab_options.a);
    let candidates = [
        candidate(&ab_options.a, &ab_options.a_args),
        candidate(b, &ab_options.b_args),
    ];
    let names = candidates.each_ref().map(|c| {
        format!("{} {}", c.dataplane.display(), c.args)
            .trim()
            .to_owned()
    });
    let comparisons = compare::raw(
        runner,
        &candidates,
        &ab_options.scenario,
        ab_options.rounds,
        &mut progress,
    )?;
    let title = format!("Two dataplanes in turn, {} rounds", ab_options.rounds);
    Ok(ab(&title, &names, &comparisons))
}

fn run_servers(
    runner: &Runner,
    options: &Options,
    servers_options: &ServersOptions,
) -> anyhow::Result<Document> {
    let run = ServerRun {
        loadtest: options.loadtest.clone(),
        args: servers_options.args.clone(),
        seconds: servers_options.seconds,
    };
    let server = |start: &String, whip: &String, whep: &String| Server {
        start: start.clone(),
        whip: whip.clone(),
        whep: whep.clone(),
    };
    let candidates = [
        server(
            &servers_options.a_start,
            &servers_options.a_whip,
            &servers_options.a_whep,
        ),
        server(
            &servers_options.b_start,
            &servers_options.b_whip,
            &servers_options.b_whep,
        ),
    ];
    let names = candidates.each_ref().map(|s| {
        let how = if s.start.is_empty() {
            "running already"
        } else {
            &s.start
        };
        format!("{} ({how})", s.whip)
    });
    let rounds = servers_options.rounds;
    let comparison = servers::compare(runner, &run, &candidates, rounds, &mut progress)?;
    let title = format!("Two servers in turn, {rounds} rounds");
    Ok(ab(&title, &names, &[comparison]))
}

fn run_table(
    runner: &Runner,
    options: &Options,
    table_options: &TableOptions,
) -> anyhow::Result<Document> {
    let plan = table::Plan {
        raw: RawRun {
            loadtest: options.loadtest.clone(),
            dataplane: table_options.dataplane.clone(),
            args: table_options.args.clone(),
            workers: 1,
            seconds: table_options.seconds,
            speed: 0.0,
            feedback: false,
        },
        floor: table_options.floor.clone(),
        rounds: table_options.rounds,
    };
    table::measure(&plan, runner, &mut progress)
}
