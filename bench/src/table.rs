//! The bars that the forwarding path is held to, each measured in the same run as its unit.

mod row;

pub use row::Row;

use crate::counting::allocations;
use crate::distance::by_distance;
use crate::metric::{pick, shown};
use crate::process::Runner;
use crate::raw::RawRun;
use crate::report::{Block, Document, Dots, host};
use crate::rig::{PICTURE, Rig};
use crate::scenario::{Mix, Scenario};
use crate::stats::{median, paired_ratio, rounded_up};
use anyhow::Context;
use row::{pair_row, ratio_row};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Viewers between whose memory a viewer's is told, in real time: enough that what is made once (transmit memory, receive
/// buffers, the history) has been touched with the fewer already.
const MEMORY_VIEWERS: [u32; 2] = [500, 2_000];
/// Viewers whose feedback is measured: so many keep a worker busy most of the time.
const ADAPTED_VIEWERS: u32 = 1_500;
/// Share of the frames that a reflector must have been sent in time for its latency to mean anything.
const KEPT_UP: f64 = 0.95;
const KIB: f64 = 1_024.0;
/// Packets that a publisher of video sends each second.
const VIDEO_PPS: f64 = crate::mix::PACKETS_PER_S;

/// What is run.
pub struct Plan {
    /// The dataplane, and how.
    pub raw: RawRun,
    /// The `ion-floor` program.
    pub floor: PathBuf,
    /// Rounds, in each of which everything is measured once.
    pub rounds: u32,
}

/// Results of all rounds.
#[derive(Debug, Default)]
struct Runs {
    /// By scenario, round by round.
    scenarios: Vec<(Scenario, Vec<Value>)>,
    /// By viewers, round by round.
    floors: Vec<(u32, Vec<Value>)>,
}

impl Runs {
    fn of(&self, scenario: Scenario) -> &[Value] {
        let mut runs = self.scenarios.iter();
        runs.find(|(of, _)| *of == scenario)
            .map_or(&[], |(_, results)| results)
    }

    fn values(&self, scenario: Scenario, path: &str) -> Vec<f64> {
        let results = self.of(scenario).iter();
        results.filter_map(|result| pick(result, path)).collect()
    }

    fn floor(&self, viewers: u32, path: &str) -> Vec<f64> {
        let runs = self.floors.iter().filter(|(of, _)| *of == viewers);
        runs.flat_map(|(_, results)| results)
            .filter_map(|result| pick(result, path))
            .collect()
    }
}

const fn scenario(mix: Mix, rooms: u32, viewers: u32) -> Scenario {
    Scenario {
        mix,
        rooms,
        viewers,
    }
}

const VIDEO_50: Scenario = scenario(Mix::Video, 1, 50);
const VIDEO_500: Scenario = scenario(Mix::Video, 1, 500);
const VIDEO_2000: Scenario = scenario(Mix::Video, 1, 2_000);
const MEETINGS: Scenario = scenario(Mix::Meeting, 20, 10);
const CALLS: Scenario = scenario(Mix::Video, 1_000, 1);
const AUDIO_500: Scenario = scenario(Mix::Audio, 1, 500);
const SCENARIOS: [Scenario; 6] = [VIDEO_50, VIDEO_500, VIDEO_2000, MEETINGS, CALLS, AUDIO_500];

/// Measures everything and makes the report.
///
/// # Errors
/// When a program is missing or fails.
pub fn measure(
    plan: &Plan,
    runner: &Runner,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Document> {
    let mut runs = Runs {
        scenarios: SCENARIOS.map(|scenario| (scenario, Vec::new())).into(),
        floors: [50, 500].map(|viewers| (viewers, Vec::new())).into(),
    };
    for round in 1..=plan.rounds {
        progress(&format!("round {round} of {}", plan.rounds));
        for (viewers, results) in &mut runs.floors {
            let args = ["--viewers", &viewers.to_string(), "--seconds", "1"];
            results.push(plan.floor(runner, &args)?);
        }
        for (scenario, results) in &mut runs.scenarios {
            let result = plan.raw.measure(runner, scenario)?;
            let sends = pick(&result, "plain_sends_per_packet").unwrap_or(0.0);
            progress(&format!("  {scenario}: {sends:.3} S"));
            results.push(result);
        }
    }
    let mut rows = cost_rows(&runs);
    rows.push(allocation_row());
    progress("memory of a viewer");
    rows.push(memory_row(plan, runner)?);
    progress("congestion control");
    rows.push(adaptation_row(plan, runner)?);
    progress("latency at half load");
    rows.extend(latency_rows(plan, runner, &runs)?);
    rows.push(Row {
        what: "30-minute soak at half load, 200 viewers joining and leaving each minute".into(),
        unit: "lost",
        bar: 0.0,
        values: Vec::new(),
        note: "takes half an hour: see bench/README.md".into(),
    });
    Ok(document(&rows, &runs))
}

impl Plan {
    /// Latency through a bare reflector to 50 viewers.
    fn reflector(&self, runner: &Runner, speed: &str, seconds: u64) -> anyhow::Result<Value> {
        let seconds = seconds.to_string();
        let args = [
            "latency",
            "--viewers",
            "50",
            "--speed",
            speed,
            "--seconds",
            &seconds,
        ];
        self.floor(runner, &args)
    }

    fn floor(&self, runner: &Runner, args: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.floor);
        command.args(args);
        runner
            .json(command, Duration::from_secs(60))
            .context("measuring the floor (build it with `make bench`)")
    }
}

fn cost_row(runs: &Runs, what: &str, scenario: Scenario, bar: f64) -> Row {
    let cpu = median(&runs.values(scenario, "cpu_ns_per_packet")).unwrap_or(0.0);
    let lost = runs
        .values(scenario, "loss")
        .into_iter()
        .fold(0.0, f64::max);
    Row {
        what: format!("{what}, CPU per forwarded packet"),
        unit: "S",
        bar,
        values: runs.values(scenario, "plain_sends_per_packet"),
        note: format!(
            "{} ns; loss at most {}; {}",
            shown(cpu),
            shown(lost),
            by_distance(runs.of(scenario), "plain_sends_per_packet")
        ),
    }
}

fn cost_rows(runs: &Runs) -> Vec<Row> {
    let cpu = |scenario| runs.values(scenario, "cpu_ns_per_packet");
    let mut rows = vec![
        cost_row(runs, "video, 1 → 50", VIDEO_50, 0.50),
        cost_row(runs, "video, 1 → 500", VIDEO_500, 0.50),
    ];
    for (scenario, viewers) in [(VIDEO_50, 50), (VIDEO_500, 500)] {
        let equal = runs.floor(viewers, "variants.equal_sizes.cpu_ns_per_packet");
        let split = runs.floor(viewers, "variants.as_split.cpu_ns_per_packet");
        let own = cpu(scenario);
        let against_split = paired_ratio(&split, &own).map_or(0.0, |ratio| ratio.median);
        let note = format!(
            "floor {} ns with sizes made equal, as Ion sends them; {} ns with sizes as split, {against_split:.3} × of that",
            shown(median(&equal).unwrap_or(0.0)),
            shown(median(&split).unwrap_or(0.0)),
        );
        let what = format!("video, 1 → {viewers}, against the floor");
        rows.push(ratio_row(what, 1.5, &own, &equal, note));
    }
    rows.push(cost_row(runs, "meetings, 20 of ten", MEETINGS, 0.70));
    rows.push(cost_row(runs, "1,000 rooms of 1 → 1 video", CALLS, 1.2));
    rows.push(cost_row(runs, "audio, 1 → 500", AUDIO_500, 1.2));
    rows.push(pair_row(
        "video, 1 → 2,000 against 1 → 50, per packet",
        1.25,
        runs.of(VIDEO_2000),
        runs.of(VIDEO_50),
    ));
    rows.push(Row {
        what: "system calls per forwarded packet, video, 1 → 50".into(),
        unit: "",
        bar: 0.125,
        values: runs.values(VIDEO_50, "syscalls_per_packet"),
        note: String::new(),
    });
    rows
}

/// Allocations of the engine in this process.
fn allocation_row() -> Row {
    const VIEWERS: u32 = 50;
    const PICTURES: usize = 100;
    let mut rig = Rig::new(VIEWERS).warmed_up();
    let pictures: Vec<_> = (0..PICTURES).map(|_| rig.picture(PICTURE)).collect();
    let before = rig.sent();
    let count = allocations(|| {
        for picture in &pictures {
            rig.forward(picture);
            rig.pass_time();
        }
    });
    let sent = rig.sent() - before;
    Row {
        what: "allocations per forwarded packet".into(),
        unit: "",
        bar: 0.0,
        values: vec![crate::cpu::float(count) / crate::cpu::float(sent.max(1))],
        note: format!("{count} in {sent} datagrams of the engine, timers and reports included"),
    }
}

/// Memory that a viewer of one audio and one video track adds.
fn memory_row(plan: &Plan, runner: &Runner) -> anyhow::Result<Row> {
    let raw = RawRun {
        seconds: 2,
        speed: 1.0,
        ..plan.raw.clone()
    };
    let mut resident = [0.0; 2];
    for (viewers, resident) in MEMORY_VIEWERS.iter().zip(&mut resident) {
        let result = raw.measure(runner, &scenario(Mix::Broadcast, 1, *viewers))?;
        *resident = pick(&result, "resident_bytes").context("resident_bytes")?;
    }
    Ok(Row {
        what: "resident memory per further viewer of one audio and one video track".into(),
        unit: "KiB",
        bar: 24.0,
        values: vec![slope(resident, MEMORY_VIEWERS) / KIB],
        note: format!(
            "from {} to {} viewers at real-time rate, over one transport each",
            MEMORY_VIEWERS[0], MEMORY_VIEWERS[1]
        ),
    })
}

/// What viewers' feedback, their estimates and the choice of a layer cost, in real time: against the same video without, and, in
/// the note, against the same encodings without feedback.
fn adaptation_row(plan: &Plan, runner: &Runner) -> anyhow::Result<Row> {
    let (mut plain, mut deaf, mut adapted) = (Vec::new(), Vec::new(), Vec::new());
    // Runs that differ by little: twice as many rounds.
    for _ in 0..2 * plan.rounds {
        for (feedback, mix, results) in [
            (false, Mix::Video, &mut plain),
            (false, Mix::Simulcast, &mut deaf),
            (true, Mix::Simulcast, &mut adapted),
        ] {
            let raw = RawRun {
                seconds: 3,
                speed: 1.0,
                feedback,
                ..plan.raw.clone()
            };
            results.push(raw.measure(runner, &scenario(mix, 1, ADAPTED_VIEWERS))?);
        }
    }
    let what = "simulcast with feedback against one video without, per packet";
    let row = pair_row(what, 1.1, &adapted, &plain);
    let of_feedback = pair_row(what, 1.1, &adapted, &deaf);
    let share = |result: &Value| {
        let reports = pick(result, "feedback_sent")?;
        Some(reports / pick(result, "packets_received")?)
    };
    let shares: Vec<_> = adapted.iter().filter_map(share).collect();
    let note = format!(
        "{}; against the same encodings without feedback {}; {ADAPTED_VIEWERS} viewers at real-time rate, {} reports received for \
         each packet",
        row.note,
        rounded_up(median(&of_feedback.values).unwrap_or(0.0), 3),
        rounded_up(median(&shares).unwrap_or(0.0), 3),
    );
    Ok(Row { note, ..row })
}

/// What each further viewer adds.
fn slope(values: [f64; 2], viewers: [u32; 2]) -> f64 {
    (values[1] - values[0]) / (f64::from(viewers[1]) - f64::from(viewers[0]))
}

/// Latency of the dataplane and of a bare reflector at the same rate: half of what the slower of the two
/// can do.
fn latency_rows(plan: &Plan, runner: &Runner, runs: &Runs) -> anyhow::Result<[Row; 2]> {
    let own_ns = median(&runs.values(VIDEO_50, "cpu_ns_per_packet")).context("video-1x50")?;
    let flat_out = plan.reflector(runner, "1000", 1)?;
    let bare_pps = pick(&flat_out, "packets_per_s").context("packets_per_s")?;
    let speed = half_load_speed(own_ns, bare_pps, 50);
    let raw = RawRun {
        speed,
        ..plan.raw.clone()
    };
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        bare.push(plan.reflector(runner, &format!("{speed:.3}"), plan.raw.seconds)?);
        own.push(raw.measure(runner, &VIDEO_50)?);
    }
    let kept_up = bare
        .iter()
        .all(|result| pick(result, "kept_up").is_some_and(|share| share >= KEPT_UP));
    let row = |path: &str, name: &str, bar| {
        let pick_all = |results: &[Value]| -> Vec<f64> {
            results.iter().filter_map(|r| pick(r, path)).collect()
        };
        let (own_us, bare_us) = (pick_all(&own), pick_all(&bare));
        let note = format!(
            "{} against {} µs, video, 1 → 50 at {} packets/s{}",
            shown(median(&own_us).unwrap_or(0.0)),
            shown(median(&bare_us).unwrap_or(0.0)),
            shown(speed * VIDEO_PPS * 50.0),
            if kept_up {
                "; reflector: one plain send each"
            } else {
                ": the reflector did not keep up, so this says nothing"
            }
        );
        let what = format!("latency {name} at half load, against a bare reflector");
        let own_us = if kept_up { own_us } else { Vec::new() };
        ratio_row(what, bar, &own_us, &bare_us, note)
    };
    Ok([
        row("latency_us.p50", "p50", 2.0),
        row("latency_us.p99", "p99", 3.0),
    ])
}

/// Times real time at which the slower of the two is half busy.
fn half_load_speed(own_ns: f64, bare_pps: f64, viewers: u32) -> f64 {
    let slower = bare_pps.min(1e9 / own_ns);
    (0.5 * slower / (VIDEO_PPS * f64::from(viewers))).max(0.1)
}

fn document(rows: &[Row], runs: &Runs) -> Document {
    let s = runs.values(VIDEO_50, "plain_send_ns");
    let floor = runs.floor(50, "variants.equal_sizes.plain_sends_per_packet");
    let missed = rows
        .iter()
        .filter(|row| row.verdict() == "**miss**")
        .count();
    let open = rows.iter().filter(|row| row.values.is_empty()).count();
    let mut blocks = vec![
        Block::Text(host::describe()),
        Block::Text(format!(
            "S, one plain `sendto` of 1,200 bytes: {} ns. The floor takes {} S per packet. {} of {} bars are \
             missed, {open} not measured. Medians of the rounds and their range, rounded up.",
            shown(median(&s).unwrap_or(0.0)),
            rounded_up(median(&floor).unwrap_or(0.0), 3),
            missed,
            rows.len(),
        )),
        Block::Table {
            head: ["what", "measured", "bar", "", "note"]
                .map(String::from)
                .to_vec(),
            rows: rows.iter().map(Row::cells).collect(),
        },
    ];
    let lines: Vec<_> = rows
        .iter()
        .filter(|row| row.bar > 0.0 && !row.values.is_empty())
        .map(|row| Dots {
            label: row.what.chars().take(34).collect(),
            values: row.values.iter().map(|value| value / row.bar).collect(),
        })
        .collect();
    blocks.push(Block::Plot {
        title: "Measured over bar: left of the dashed line is met".into(),
        lines,
        mark: Some(1.0),
    });
    Document {
        title: "The forwarding path against its bars".into(),
        blocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> Row {
        Row {
            what: "x".into(),
            unit: "S",
            bar: 0.5,
            values: values.to_vec(),
            note: String::new(),
        }
    }

    #[test]
    fn a_bar_is_met_by_what_was_measured_and_not_by_what_is_shown() {
        assert_eq!(row(&[0.5]).verdict(), "pass");
        assert_eq!(row(&[0.5004]).verdict(), "**miss**");
        assert_eq!(row(&[0.4, 0.6, 0.7]).verdict(), "**miss**");
        assert_eq!(row(&[]).verdict(), "not measured");
        assert_eq!(row(&[0.5001]).cells()[1], "0.501 (0.501 to 0.501) S");
    }

    #[test]
    fn slopes_and_speeds() {
        assert_eq!(slope([1_000.0, 10_000.0], [100, 1_000]), 10.0);
        let speed = half_load_speed(500.0, 500_000.0, 50);
        assert!((speed * VIDEO_PPS * 50.0 - 250_000.0).abs() < 1.0);
    }

    #[test]
    fn rounds_are_compared_within_themselves() {
        let row = ratio_row("x".into(), 1.5, &[3.0, 20.0], &[2.0, 10.0], String::new());
        assert_eq!(row.values, [1.5, 2.0]);
        assert_eq!(row.verdict(), "**miss**");
    }
}
