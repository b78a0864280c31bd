//! `ion-loadtest run`: real clients against any server that speaks WHIP and WHEP, or Ion's signalling.
//!
//! Each session is a str0m engine (ICE, DTLS, SRTP: none of it is Ion's own code) with a socket of its own. Generator threads
//! drive them without a runtime; HTTP happens on a pool of its own. What viewers receive is compared with what the publishers
//! of the same process sent, packet by packet, by content.

/// Which packets of a series arrived.
mod arrivals;
/// One session.
mod client;
mod clock;
mod fail_if;
/// A generator thread.
mod generator;
mod histogram;
mod html;
/// WHIP and WHEP requests.
mod http;
/// What a viewer receives of a track.
mod meter;
mod options;
/// Frames as a player shows them.
mod player;
/// Requests to the API meanwhile.
mod probe;
mod progress;
mod publisher;
mod report;
mod send_log;
mod shared;
/// The SDK's protocol.
mod signal;
mod stop;
mod viewer;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::generator::{Generator, Outcomes, Tick};
use self::histogram::Histogram;
use self::http::{Http, origin};
pub(crate) use self::options::Options;
use self::options::Plan;
use self::progress::Timeline;
use self::publisher::Track;
use self::report::{Percentiles, Report};
use self::shared::{Phase, Shared, Tracks};
use self::stop::Stop;
use crate::media::clip::Clip;

/// A condition of `--fail-if` held.
const FAILED: u8 = 1;
/// The options make no sense.
const USAGE: u8 = 2;
/// Nobody could join.
const NO_JOINS: u8 = 3;

/// Publishers that have not come by then are not waited for.
const PUBLISHERS_TIMEOUT: Duration = Duration::from_secs(20);
/// What is on its way when the run ends has this long, and a bit, to arrive.
const LEAVING: Duration = Duration::from_millis(1300);
const STEP: Duration = Duration::from_millis(20);
/// Descriptors that are no sockets of clients.
const OTHER_DESCRIPTORS: u64 = 128;

/// Runs the load and reports.
pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = match options.plan() {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("ion-loadtest: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    match go(plan) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ion-loadtest: {error:#}");
            ExitCode::from(NO_JOINS)
        }
    }
}

fn go(plan: Plan) -> anyhow::Result<ExitCode> {
    let bind = match plan.bind {
        Some(bind) => bind,
        None => local_address(
            [&plan.whep, &plan.whip, &plan.signal]
                .into_iter()
                .flatten()
                .next()
                .map_or("", String::as_str),
        )?,
    };
    let mut warnings = Vec::new();
    raise_descriptors(&plan, &mut warnings)?;
    let clips = [&plan.audio, &plan.video].map(|path| path.as_deref().map(Clip::load).transpose());
    let [audio, video] = clips;
    let (audio, video) = (audio?.map(Arc::new), video?.map(Arc::new));
    let tracks = plan.publishers.iter().map(|_| Tracks {
        audio: audio.as_ref().map(Track::new),
        video: video.as_ref().map(Track::new),
    });
    let tracks = tracks.collect();
    let bitrate = audio.iter().chain(&video).map(|clip| clip.bitrate()).sum();
    let shared = Shared::new(plan, tracks, bind);
    let stop = Stop::on_signals()?;
    let http = Http::start(&stop)?;
    let (ticks, incoming) = channel();
    let started_unix_s = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();

    let (outcomes, timeline, api) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let mut threads = Vec::new();
        for index in 0..shared.plan.threads {
            let generator = Generator::new(&shared, index, http.clone(), ticks.clone())?;
            let builder = std::thread::Builder::new().name(format!("generator-{index}"));
            threads.push(builder.spawn_scoped(scope, move || generator.run())?);
        }
        drop(ticks);
        let probe = shared.plan.probe_api.as_deref();
        let probe = probe.map(|url| scope.spawn(|| probe::run(&shared, url)));
        let timeline = conduct(&shared, &incoming, &stop);
        let mut outcomes = Vec::new();
        for thread in threads {
            let outcome = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a generator thread panicked"))?;
            outcomes.push(outcome.context("a generator thread failed")?);
        }
        let api = probe.map(|probe| probe.join()).transpose();
        let api = api.map_err(|_| anyhow::anyhow!("the thread that asks the API panicked"))?;
        Ok((outcomes, timeline, api))
    })?;
    let mut report = summarise(&shared, outcomes, timeline);
    report.run.started_unix_s = started_unix_s;
    report.run.bitrate = bitrate;
    report.api = api;
    report.run.interrupted = stop.requested();
    warnings.append(&mut report.warnings);
    report.warnings = warnings;
    finish(&shared.plan, report)
}

/// Writes what there is to write, and says how it went.
fn finish(plan: &Plan, mut report: Report) -> anyhow::Result<ExitCode> {
    report.failed = plan.fail_if.that_hold(&report);
    if let Some(path) = &plan.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if let Some(path) = &plan.html {
        std::fs::write(path, html::page(&report))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    progress::print_summary(&report)?;
    if report.joins_ok + report.publishers.joins_ok == 0
        || !plan.viewers.is_empty() && report.joins_ok == 0
    {
        return Ok(ExitCode::from(NO_JOINS));
    }
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// Leads the run through its phases, and gathers what the threads report meanwhile.
fn conduct(shared: &Shared, incoming: &Receiver<Tick>, stop: &Stop) -> Timeline {
    let mut timeline = Timeline::new(shared);
    let mut wait = |until: &dyn Fn() -> bool, deadline: Instant| {
        while !until() && Instant::now() < deadline && !stop.requested() {
            incoming.try_iter().for_each(|tick| timeline.take(tick));
            timeline.show(shared);
            std::thread::sleep(STEP);
        }
    };
    let publishers = shared.plan.publishers.len();
    let all_settled = || {
        let (live, failed) = shared.publishers();
        live + failed >= publishers
    };
    wait(
        &all_settled,
        Instant::now() + shared.ramp(publishers) + PUBLISHERS_TIMEOUT,
    );
    if publishers == 0 || shared.publishers().0 > 0 {
        shared.let_viewers_in();
        wait(
            &|| false,
            Instant::now() + shared.ramp(shared.plan.viewers.len()),
        );
        shared.enter(Phase::Steady);
        let steady = Instant::now();
        wait(&|| false, steady + shared.plan.duration);
    }
    shared.enter(Phase::Leaving);
    let leaving = Instant::now();
    while leaving.elapsed() < LEAVING {
        incoming.try_iter().for_each(|tick| timeline.take(tick));
        std::thread::sleep(STEP);
    }
    shared.enter(Phase::Closing);
    // Ends when the last thread has dropped its sender.
    incoming.iter().for_each(|tick| timeline.take(tick));
    timeline.end();
    timeline
}

/// Adds up what the threads found.
fn summarise(shared: &Shared, outcomes: Vec<Outcomes>, timeline: Timeline) -> Report {
    let plan = &shared.plan;
    let mut report = Report {
        run: progress::run_info(plan),
        ..Report::default()
    };
    let [
        mut latency,
        mut jitter,
        mut joins,
        mut first_frames,
        mut waits,
    ] = std::array::from_fn(|_| Histogram::default());
    let (mut steady_cpu_ns, mut steady_datagrams) = (0, 0);
    for out in outcomes {
        report.add(&out.totals);
        latency.merge(&out.latency);
        jitter.merge(&out.jitter);
        joins.merge(&out.joins);
        first_frames.merge(&out.first_frames);
        waits.merge(&out.counts.socket_wait);
        for (reason, count) in out.failures {
            *report.join_failures.entry(reason).or_default() += count;
        }
        report.joins_ok += out.viewers_ok;
        report.joins_failed += out.viewers_failed;
        report.publishers.joins_ok += out.publishers_ok;
        report.publishers.joins_failed += out.publishers_failed;
        report.publishers.packets_sent += out.packets_sent;
        report.publishers.frames_sent += out.frames_sent;
        report.publishers.nacks_received += out.nacks_received;
        report.publishers.keyframe_requests_received += out.keyframe_requests;
        report.nacks_sent += out.nacks_sent;
        report.plis_sent += out.plis_sent;
        report.disconnects += out.disconnects;
        report.deletes_failed += out.deletes_failed;
        report.tracks_expected += out.tracks_expected;
        report.tracks_silent += out.tracks_silent;
        report.packets_not_decrypted += out.counts.not_decrypted;
        report.generator.send_errors += out.counts.send_errors;
        report.generator.socket_drops += out.socket_drops;
        report.generator.cpu_s += report::ms(out.cpu_ns) / 1000.0;
        let busy = report::ms(out.steady.cpu_ns) / 1000.0 / out.steady.seconds.max(1e-9);
        report.generator.busiest_thread = report.generator.busiest_thread.max(busy);
        let starved = report::ms(out.steady.starved_ns) / 1000.0 / out.steady.seconds.max(1e-9);
        report.generator.starved = report.generator.starved.max(starved);
        report.run.steady_s = report.run.steady_s.max(out.steady.seconds);
        steady_cpu_ns += out.steady.cpu_ns;
        steady_datagrams += out.steady.datagrams;
        report.viewers.extend(out.rows);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a run are far below 2^53"
    )]
    if steady_datagrams > 0 {
        report.generator.cpu_ns_per_packet = Some(steady_cpu_ns as f64 / steady_datagrams as f64);
        report.generator.packets_per_s = steady_datagrams as f64 / report.run.steady_s.max(1e-9);
    }
    report.generator.threads = plan.threads;
    report.generator.socket_wait_ms = Percentiles::of(&waits);
    report.loss = report::loss(&meter::Totals {
        expected: report.packets_expected,
        lost: report.packets_lost,
        ..meter::Totals::default()
    });
    report.latency_ms = Percentiles::of(&latency);
    report.jitter_ms = Percentiles::of(&jitter);
    report.join_ms = Percentiles::of(&joins);
    report.first_frame_ms = Percentiles::of(&first_frames);
    report.join_histogram = joins
        .buckets()
        .map(|(upper_ns, count)| (report::ms(upper_ns), count))
        .collect();
    report.viewers.sort_by_key(|row| row.viewer);
    report.seconds = timeline.seconds();
    report.warnings = warnings(plan, &report);
    report
}

/// What makes the figures doubtful.
fn warnings(plan: &Plan, report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let generator = &report.generator;
    if generator.socket_drops > 0 {
        warnings.push(format!(
            "{} datagrams overflowed the load generator's own sockets: the loss is not all the server's",
            generator.socket_drops
        ));
    }
    if let Some(wait) = generator.socket_wait_ms.filter(|ms| ms.p99 > 100.0) {
        warnings.push(format!(
            "datagrams waited up to {:.0} ms in the load generator's own sockets: one of its threads computed for {:.0} % of \
             the time and waited for a core for {:.0} %",
            wait.max,
            generator.busiest_thread * 100.0,
            generator.starved * 100.0
        ));
    }
    if generator.busiest_thread > 0.9 {
        warnings.push(format!(
            "a generator thread was busy for {:.0} % of the time: give it more --threads, or --decrypt-sample",
            generator.busiest_thread * 100.0
        ));
    }
    if generator.send_errors > 0 {
        warnings.push(format!(
            "the kernel refused {} sends of the load generator",
            generator.send_errors
        ));
    }
    if plan.decrypt_sample > 1 {
        let sampled = report.viewers.iter().filter(|row| row.sampled).count();
        warnings.push(format!(
            "sampled: {sampled} of {} viewers decrypted and counted their media; nothing is said about the others'",
            report.viewers.len()
        ));
    }
    if plan.publishers.is_empty() {
        warnings.push("the publishers are not ours: loss is told by sequence numbers, latency is not available".into());
    }
    if report.packets_unknown > 0 {
        warnings.push(format!(
            "{} packets were received that our publishers did not send: is somebody else in the room?",
            report.packets_unknown
        ));
    }
    if report.deletes_failed > 0 {
        warnings.push(format!(
            "{} sessions could not be deleted",
            report.deletes_failed
        ));
    }
    warnings
}

/// The local address from which the server of this URL is reached. IPv4 where the server has both: media servers often have
/// no other.
fn local_address(url: &str) -> anyhow::Result<IpAddr> {
    let authority = origin(url)
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let with_port = if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:{}", if url.starts_with("https") { 443 } else { 80 })
    };
    let mut found: Vec<SocketAddr> = with_port
        .to_socket_addrs()
        .with_context(|| format!("the host of {url} cannot be found"))?
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let Some(server) = found.first() else {
        bail!("the host of {url} has no address")
    };
    let any: IpAddr = if server.is_ipv6() {
        [0_u16; 8].into()
    } else {
        [0_u8; 4].into()
    };
    // Connecting a datagram socket sends nothing: it asks the routing table.
    let socket = UdpSocket::bind((any, 0))?;
    socket
        .connect(server)
        .with_context(|| format!("there is no route to {server}"))?;
    Ok(socket.local_addr()?.ip())
}

/// One descriptor for each session; viewers who leave and those who take their place overlap.
fn raise_descriptors(plan: &Plan, warnings: &mut Vec<String>) -> anyhow::Result<()> {
    let sessions = plan.sessions();
    // Participants have a socket for signalling too.
    let each = if plan.signal.is_some() { 2 } else { 1 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 100 joins a second"
    )]
    let overlapping = (plan.churn_hz * 4.0).ceil() as u64;
    let wanted = each * (u64::try_from(sessions)? + overlapping) + OTHER_DESCRIPTORS;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = now.maximum.map_or(wanted, |maximum| maximum.max(wanted));
    let raised = Rlimit {
        current: Some(wanted),
        maximum: Some(maximum),
    };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let Some(hard) = now.maximum.filter(|hard| *hard < wanted) else {
        warnings.push("the limit of open files could not be raised".into());
        return Ok(());
    };
    bail!(
        "{sessions} sessions need {wanted} open files, and only {hard} are allowed: raise it by `ulimit -Hn {wanted}`"
    )
}
