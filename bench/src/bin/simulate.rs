//! Congestion control in virtual time: one case, or all of them as a table.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use ion_bench::gcc::GccEstimator;
use ion_bench::simulate::{Compared, json, table};
use ion_engine::congestion::{Bounds, Estimator, IonEstimator};
use ion_sim::{Report, cases, run};
use std::io::Write;
use std::path::PathBuf;

/// Runs the evaluations of RFC 8867, of RFC 8869 and of an SFU in virtual time. The same seed gives the
/// same figures.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, about)]
struct Options {
    /// A case, such as `rfc8867-5.1`, or `all`; any other name lists them.
    #[arg(long, value_name = "NAME")]
    case: String,
    /// Of the random numbers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs with this many seeds from `--seed` on; the table has their means.
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: u64,
    /// Which estimator; without it, both are compared.
    #[arg(long, value_enum)]
    estimator: Option<Which>,
    /// Writes all figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the table goes when all cases are run.
    #[arg(long, value_name = "DIR", default_value = "bench/reports")]
    reports: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Ion's.
    Ion,
    /// That of `rtc-interceptor`.
    Gcc,
}

fn make(which: Which, bounds: Bounds) -> Box<dyn Estimator> {
    match which {
        Which::Ion => Box::new(IonEstimator::new(bounds)),
        Which::Gcc => Box::new(GccEstimator::new(bounds)),
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let chosen = match options.case.as_str() {
        "all" => cases::all(),
        name => cases::find(name).into_iter().collect(),
    };
    let mut out = std::io::stdout().lock();
    if chosen.is_empty() {
        for case in cases::all() {
            writeln!(out, "{:22} {}", case.name, case.about)?;
        }
        anyhow::bail!("there is no case {}; these are", options.case);
    }
    let seeds = options.seed..options.seed + options.runs.max(1);
    let of = |which: Which, case: &ion_sim::Case| -> Vec<Report> {
        if options.estimator.is_some_and(|only| only != which) {
            return Vec::new();
        }
        let estimator = |bounds| make(which, bounds);
        seeds
            .clone()
            .map(|seed| run(case, seed, &estimator))
            .collect()
    };
    let compared: Vec<_> = chosen
        .iter()
        .map(|case| Compared {
            about: case.about,
            ion: of(Which::Ion, case),
            gcc: of(Which::Gcc, case),
        })
        .collect();
    let text = table(&compared, &seeds);
    write!(out, "{text}")?;
    if options.case == "all" {
        std::fs::create_dir_all(&options.reports)?;
        let path = options.reports.join("simulate.md");
        std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&json(&compared))?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
