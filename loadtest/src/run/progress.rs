//! What is shown while a run lasts and at its end, and the seconds of the report.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::generator::Tick;
use super::histogram::Histogram;
use super::options::Plan;
use super::report::{Percentiles, Report, RunInfo, Second, loss, ms};
use super::shared::Shared;
use crate::run::meter::Totals;

/// The seconds of a run, added up over threads.
pub(crate) struct Timeline {
    seconds: BTreeMap<u64, (Second, u64, Histogram)>,
    show: bool,
    terminal: bool,
    shown: Instant,
}

impl Timeline {
    pub(crate) fn new(shared: &Shared) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            seconds: BTreeMap::new(),
            show: terminal || shared.plan.progress,
            terminal,
            shown: Instant::now(),
        }
    }

    pub(crate) fn take(&mut self, tick: Tick) {
        let (second, received, latency) = self.seconds.entry(tick.second).or_default();
        second.at_s = tick.second;
        second.viewers += tick.viewers;
        second.packets += tick.packets;
        second.bytes += tick.bytes;
        second.lost += tick.lost;
        *received += tick.received;
        latency.merge(&tick.latency);
    }

    /// Once a second, one line.
    pub(crate) fn show(&mut self, shared: &Shared) {
        if !self.show || self.shown.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.shown = Instant::now();
        // The last but one: the last may lack a thread.
        let Some((second, received, latency)) = self.seconds.values().rev().nth(1) else {
            return;
        };
        let (publishers, _) = shared.publishers();
        let (viewers, failed) = shared.viewers();
        let lost = Totals {
            expected: received + second.lost,
            lost: second.lost,
            ..Totals::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "bytes of one second")]
        let megabits = second.bytes as f64 * 8e-6;
        let line = format!(
            "{:>4} s  publishers {publishers}/{}  viewers {} ({viewers} joined, {failed} failed)  {} packets/s  {megabits:.1} Mbit/s  \
             loss {:.3} %  latency p99 {:.2} ms",
            second.at_s,
            shared.plan.publishers.len(),
            second.viewers,
            second.packets,
            loss(&lost).unwrap_or(0.0) * 100.0,
            ms(latency.percentile_ns(0.99)),
        );
        // A terminal's line is overwritten by the next one.
        let end = if self.terminal { "\x1b[K\r" } else { "\n" };
        eprint!("{line}{end}");
    }

    pub(crate) fn end(&self) {
        if self.show && self.terminal {
            eprintln!();
        }
    }

    pub(crate) fn seconds(self) -> Vec<Second> {
        let finish = |(mut second, received, latency): (Second, u64, Histogram)| {
            second.loss = loss(&Totals {
                expected: received + second.lost,
                lost: second.lost,
                ..Totals::default()
            });
            let percentiles = Percentiles::of(&latency);
            second.latency_p50_ms = percentiles.map(|ms| ms.p50);
            second.latency_p99_ms = percentiles.map(|ms| ms.p99);
            second
        };
        self.seconds.into_values().map(finish).collect()
    }
}

pub(crate) fn run_info(plan: &Plan) -> RunInfo {
    RunInfo {
        version: env!("CARGO_PKG_VERSION"),
        whip: plan.whip.clone(),
        whep: plan.whep.clone(),
        signal: plan.signal.clone(),
        mix: format!("{:?}", plan.mix).to_lowercase(),
        codec: if plan.mix.has_video() {
            format!("{:?}", plan.codec).to_lowercase()
        } else {
            "opus".into()
        },
        rooms: plan.rooms,
        publishers: plan.publishers.len(),
        viewers: plan.viewers.len(),
        ramp_per_s: plan.ramp_hz,
        churn_per_min: plan.churn_hz * 60.0,
        decrypt_sample: plan.decrypt_sample,
        dtls: "1.2",
        ..RunInfo::default()
    }
}

/// The figures as text on stdout.
pub(crate) fn print_summary(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let three = |percentiles: Option<Percentiles>| match percentiles {
        Some(ms) => format!(
            "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            ms.p50, ms.p99, ms.max
        ),
        None => "not measured".into(),
    };
    let generator = &report.generator;
    writeln!(
        out,
        "joins        {} of {} {}, {} of {} publishers",
        report.joins_ok,
        report.joins_ok + report.joins_failed,
        if report.run.signal.is_some() {
            "participants"
        } else {
            "viewers"
        },
        report.publishers.joins_ok,
        report.publishers.joins_ok + report.publishers.joins_failed
    )?;
    for (reason, count) in &report.join_failures {
        writeln!(out, "             {count} × {reason}")?;
    }
    writeln!(out, "join time    {}", three(report.join_ms))?;
    if let Some(api) = &report.api {
        writeln!(
            out,
            "API          {} ({} requests, {} errors)",
            three(api.ms),
            api.requests,
            api.errors
        )?;
        for (request, ms) in &api.by_request {
            writeln!(out, "             {request}: {}", three(Some(*ms)))?;
        }
        if let Some(error) = &api.last_error {
            writeln!(out, "             the last error: {error}")?;
        }
    }
    writeln!(out, "first frame  {}", three(report.first_frame_ms))?;
    let share = report
        .loss
        .map_or("not measured".into(), |loss| format!("{} %", loss * 100.0));
    writeln!(
        out,
        "loss         {share} ({} of {} packets)",
        report.packets_lost, report.packets_expected
    )?;
    writeln!(
        out,
        "tracks       {} of {} came",
        report.tracks_expected - report.tracks_silent,
        report.tracks_expected
    )?;
    writeln!(out, "latency      {}", three(report.latency_ms))?;
    writeln!(out, "jitter       {}", three(report.jitter_ms))?;
    writeln!(
        out,
        "frames       {} of {} complete, {} shown; {} freezes, {:.0} ms frozen",
        report.frames_complete,
        report.frames_expected,
        report.frames_shown,
        report.freezes,
        report.frozen_ms
    )?;
    writeln!(
        out,
        "repair       {} NACKs and {} PLIs by viewers; {} and {} reached publishers",
        report.nacks_sent,
        report.plis_sent,
        report.publishers.nacks_received,
        report.publishers.keyframe_requests_received
    )?;
    let cost = generator
        .cpu_ns_per_packet
        .map_or("-".into(), |ns| format!("{ns:.0}"));
    writeln!(
        out,
        "generator    {:.0} packets/s in {:.1} s, {cost} ns of CPU each, busiest thread {:.0} %, waited in sockets {}",
        generator.packets_per_s,
        report.run.steady_s,
        generator.busiest_thread * 100.0,
        three(generator.socket_wait_ms)
    )?;
    for warning in &report.warnings {
        writeln!(out, "warning      {warning}")?;
    }
    for failed in &report.failed {
        writeln!(out, "FAILED       {failed}")?;
    }
    Ok(())
}
