use ion_sim::Report;
use serde_json::{Value, json as value};
use std::fmt::Write;
use std::ops::Range;

/// A case, with the runs of both estimators, either of which may be missing.
#[derive(Debug)]
pub struct Compared {
    /// What is seen.
    pub about: &'static str,
    /// Runs of Ion's.
    pub ion: Vec<Report>,
    /// Runs of the yardstick.
    pub gcc: Vec<Report>,
}

/// One column of the table: its name, how it is read, whether more is better, and what counts as equal.
struct Column {
    name: &'static str,
    of: fn(&Report) -> f64,
    more_is_better: bool,
    equal: f64,
}

const COLUMNS: [Column; 4] = [
    Column {
        name: "use, %",
        of: |report| 100.0 * report.utilisation,
        more_is_better: true,
        equal: 1.0,
    },
    Column {
        name: "queue p95, ms",
        of: |report| report.queue_ms[1],
        more_is_better: false,
        equal: 1.0,
    },
    Column {
        name: "loss, %",
        of: |report| 100.0 * report.loss,
        more_is_better: false,
        equal: 0.1,
    },
    Column {
        name: "fairness",
        of: |report| report.fairness,
        more_is_better: true,
        equal: 0.02,
    },
];

fn mean(reports: &[Report], of: impl Fn(&Report) -> f64) -> Option<f64> {
    let count = u32::try_from(reports.len()).ok().filter(|&n| n > 0)?;
    Some(reports.iter().map(of).sum::<f64>() / f64::from(count))
}

/// All runs as Markdown: the comparison, then what followed each change of capacity.
pub fn table(compared: &[Compared], seeds: &Range<u64>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Means of the seeds {} to {}; of each pair the first is Ion's, the second `rtc-interceptor`'s `Gcc`.\n\
         **Bold** is better by more than {} points of use, {} ms, {} points of loss or {} of Jain's index.\n",
        seeds.start,
        seeds.end - 1,
        COLUMNS[0].equal,
        COLUMNS[1].equal,
        COLUMNS[2].equal,
        COLUMNS[3].equal,
    );
    let _ = write!(text, "| case | |");
    for column in &COLUMNS {
        let _ = write!(text, " {} |", column.name);
    }
    let _ = writeln!(
        text,
        " queue p99, ms |\n|---|---|{}",
        "---|".repeat(COLUMNS.len() + 1)
    );
    for case in compared {
        row(&mut text, case);
    }
    let _ = writeln!(
        text,
        "\n| case | change, kbit/s | estimator | 90 % used after, s | lost in the second after, % |\n|---|---|---|---|---|"
    );
    for case in compared {
        for (name, reports) in [("ion", &case.ion), ("gcc", &case.gcc)] {
            steps(&mut text, name, reports);
        }
    }
    text
}

fn row(text: &mut String, case: &Compared) {
    let Some(first) = case.ion.first().or(case.gcc.first()) else {
        return;
    };
    let _ = write!(text, "| {} | {} |", first.case, case.about);
    for column in &COLUMNS {
        let pair = [&case.ion, &case.gcc].map(|reports| mean(reports, column.of));
        let better = match pair {
            [Some(ion), Some(gcc)] => {
                let gain = if column.more_is_better {
                    ion - gcc
                } else {
                    gcc - ion
                };
                [gain > column.equal, gain < -column.equal]
            }
            _ => [false, false],
        };
        let shown = |at: usize| match pair[at] {
            Some(figure) if better[at] => format!("**{figure:.2}**"),
            Some(figure) => format!("{figure:.2}"),
            None => "–".to_owned(),
        };
        let _ = write!(text, " {} · {} |", shown(0), shown(1));
    }
    let p99 = [&case.ion, &case.gcc].map(|reports| {
        mean(reports, |report| report.queue_ms[2]).map_or("–".to_owned(), |ms| format!("{ms:.1}"))
    });
    let _ = writeln!(text, " {} · {} |", p99[0], p99[1]);
}

fn steps(text: &mut String, name: &str, reports: &[Report]) {
    let Some(first) = reports.first() else { return };
    for (at, step) in first.steps.iter().enumerate() {
        let of = || reports.iter().filter_map(|report| report.steps.get(at));
        // The worst of all runs; one that never got there is worse than any that did.
        let reached = if step.bps.1 > step.bps.0 {
            let times: Option<Vec<f64>> = of().map(|step| step.reached).collect();
            times.map_or("never".to_owned(), |times| {
                let worst = times.into_iter().fold(0.0, f64::max);
                format!("{worst:.1} at worst")
            })
        } else {
            "–".to_owned()
        };
        let lost = of().map(|step| step.lost).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "| {} | {} → {} | {name} | {reached} | {:.1} at worst |",
            first.case,
            step.bps.0 / 1_000,
            step.bps.1 / 1_000,
            100.0 * lost,
        );
    }
}

/// All runs, flow by flow.
pub fn json(compared: &[Compared]) -> Value {
    let of = |estimator: &str, report: &Report| {
        let flows: Vec<_> = report
            .flows
            .iter()
            .map(|flow| {
                value!({
                    "bps": flow.bps,
                    "queue_ms": flow.queue_ms,
                    "loss": flow.loss,
                    "padding": flow.padding,
                    "freezes": flow.freezes.0,
                    "frozen_s": flow.freezes.1,
                    "frame_p95_ms": flow.frame_ms,
                    "switches": flow.switches,
                })
            })
            .collect();
        let steps: Vec<_> = report
            .steps
            .iter()
            .map(|step| {
                value!({
                    "at_s": step.at,
                    "from_bps": step.bps.0,
                    "to_bps": step.bps.1,
                    "used_90_after_s": step.reached,
                    "lost_in_second_after": step.lost,
                })
            })
            .collect();
        value!({
            "case": report.case,
            "estimator": estimator,
            "seed": report.seed,
            "utilisation": report.utilisation,
            "queue_p50_p95_p99_ms": report.queue_ms,
            "loss": report.loss,
            "fairness": report.fairness,
            "flows": flows,
            "steps": steps,
        })
    };
    let runs = compared.iter().flat_map(|case| {
        let ion = case.ion.iter().map(|report| of("ion", report));
        ion.chain(case.gcc.iter().map(|report| of("gcc", report)))
    });
    Value::Array(runs.collect())
}
