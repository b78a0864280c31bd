use super::Options;
use super::place::{End, Place};
use super::rooms::Rooms;
use anyhow::{Context, anyhow, ensure};
use ion_tables::attach::{Attached, attach};
use ion_tables::{ControlTables, DropReason, Row, Tables, WorkerCounters};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it may take to start, or to read the rows.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Keeps this thread on one core, by default the last one that no worker of the dataplane is pinned to.
pub(super) fn pin(options: &Options) -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None).context("asking for the cores")?;
    let taken = worker_cores(options)?;
    let cores = || {
        (0..CpuSet::MAX_CPU)
            .rev()
            .filter(|&cpu| allowed.is_set(cpu))
    };
    let free = cores().find(|cpu| !taken.contains(cpu));
    let core = options.core.or(free).or_else(|| cores().next());
    let core = core.context("no core to run on")?;
    ensure!(
        core < CpuSet::MAX_CPU && allowed.is_set(core),
        "--core {core}: this process may not use that core"
    );
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).context("pinning the generator")
}

/// Where the dataplane will pin its workers, as it says itself.
pub(super) fn worker_cores(options: &Options) -> anyhow::Result<Vec<usize>> {
    // As it will be started: it would inherit our pinning.
    let mut command = Command::new(&options.dataplane);
    command.args([
        "--print-affinity",
        "--workers",
        &options.workers.to_string(),
    ]);
    let output = unpinned(|| command.output()).with_context(|| cannot_start(options))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "core");
            words.nth(1)?.parse().ok()
        })
        .collect())
}

fn cannot_start(options: &Options) -> String {
    format!(
        "starting {}: build it with `make build`, or name it with --dataplane",
        options.dataplane.display()
    )
}

/// A dataplane of our own, with us as its control plane.
pub(super) struct Target {
    child: Child,
    state_dir: PathBuf,
    attached: Attached,
    rows: ControlTables,
    media: SocketAddr,
}

/// What the dataplane has used up so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) cpu_ns: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) sends: u64,
    pub(super) syscalls: u64,
    pub(super) batches: u64,
    pub(super) crossed: u64,
    /// Resident memory now, bytes; not a difference.
    pub(super) resident_bytes: u64,
}

impl std::ops::Sub for Figures {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            received: self.received - before.received,
            sent: self.sent - before.sent,
            sends: self.sends - before.sends,
            syscalls: self.syscalls - before.syscalls,
            batches: self.batches - before.batches,
            crossed: self.crossed - before.crossed,
            resident_bytes: self.resident_bytes,
        }
    }
}

impl Target {
    pub(super) fn start(options: &Options, place: &Place, rooms: &Rooms) -> anyhow::Result<Self> {
        let state_dir = std::env::temp_dir().join(format!("ion-raw-{}", std::process::id()));
        let capacities = rooms.capacities();
        let mut command = Command::new(&options.dataplane);
        command
            .arg("--state-dir")
            .arg(&state_dir)
            .args(["--media", &format!("{}:0", place.address(End::Server))])
            .args(["--log", "warn"])
            .args(place.interface().map(|name| format!("--interface={name}")))
            .args(["--workers", &options.workers.to_string()])
            .args(["--max-transports", &capacities.transports.to_string()])
            .args(["--max-tracks", &capacities.tracks.to_string()])
            .args(["--max-encodings", &capacities.encodings.to_string()])
            .args(["--max-subscriptions", &capacities.subscriptions.to_string()])
            .args(options.dataplane_args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // It inherits our pinning unless told otherwise.
        let child = unpinned(|| command.spawn()).with_context(|| cannot_start(options))?;
        let mut guard = Guard(Some(child), state_dir.clone());
        let mut attached = attach_to(&mut guard, &state_dir)?;
        let memfd = attached.tables.memfd().try_clone_to_owned()?;
        let tables = std::mem::replace(&mut attached.tables, Tables::map(memfd)?);
        let media = attached.sockets.first().context("it has no media socket")?;
        let media = SocketAddr::try_from(rustix::net::getsockname(media)?)?;
        Ok(Self {
            child: guard.0.take().context("the process is ours")?,
            state_dir,
            attached,
            rows: ControlTables::new(Arc::new(tables)),
            media,
        })
    }

    /// Where publishers send to.
    pub(super) fn media(&self) -> SocketAddr {
        self.media
    }

    pub(super) fn rows(&self) -> &ControlTables {
        &self.rows
    }

    /// Writes a row and tells the workers.
    pub(super) fn publish<R: Row>(&self, row: u32, config: &R::Config) {
        self.rows
            .publish::<R>(row, config, |worker| self.ring(worker));
    }

    fn ring(&self, worker: usize) {
        if let Some(doorbell) = self.attached.worker_doorbells.get(worker) {
            // A doorbell that is full has been rung.
            let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
        }
    }

    /// Waits until every worker has read every row, and has acted on it: flows are in the map.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let tables = self.rows.tables();
        let deadline = Instant::now() + START_PATIENCE;
        for worker in 0..tables.workers() {
            let counters = tables.worker_counters(worker).context("a worker's row")?;
            let wait_for_other = |what: &dyn Fn() -> u64, before: u64| {
                while what() == before {
                    ensure!(
                        Instant::now() < deadline,
                        "worker {worker} does not read its rows"
                    );
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            };
            let scans = counters.rescans.load();
            if tables
                .commands(worker)
                .is_some_and(|ring| ring.ask_rescan())
            {
                self.ring(worker);
            }
            // A scan is counted as it begins ...
            wait_for_other(&|| counters.rescans.load(), scans)?;
            // ... and a turn of the worker tells the time as it ends: the scan's own, or one after it.
            let turn = counters.heartbeat_us.load();
            self.ring(worker);
            wait_for_other(&|| counters.heartbeat_us.load(), turn)?;
        }
        Ok(())
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerCounters> {
        let tables = self.rows.tables();
        (0..tables.workers()).filter_map(|worker| tables.worker_counters(worker))
    }

    /// What it has used up to now.
    pub(super) fn figures(&self) -> anyhow::Result<Figures> {
        let sum = |of: fn(&WorkerCounters) -> u64| self.workers().map(of).sum();
        Ok(Figures {
            cpu_ns: cpu_ns(self.child.id())?,
            received: sum(|c| c.packets_received.load()),
            sent: sum(|c| c.packets_sent.load()),
            sends: sum(|c| c.sends.load()),
            syscalls: sum(|c| c.syscalls.load()),
            batches: sum(|c| c.batches.load()),
            crossed: sum(|c| c.packets_crossed_out.load()),
            resident_bytes: resident_bytes(self.child.id())?,
        })
    }

    /// What was dropped, by reason.
    pub(super) fn drops(&self) -> Vec<(String, u64)> {
        DropReason::ALL
            .into_iter()
            .map(|reason| {
                let count = self
                    .workers()
                    .map(|c| c.drops[reason as usize].load())
                    .sum();
                (format!("{reason:?}"), count)
            })
            .filter(|&(_, count)| count > 0)
            .collect()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        end(&mut self.child, &self.state_dir);
    }
}

/// Ends a process that does not come to be a [`Target`].
struct Guard(Option<Child>, PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child, &self.1);
        }
    }
}

fn end(child: &mut Child, state_dir: &std::path::Path) {
    let pid = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(3);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = std::fs::remove_dir_all(state_dir);
}

/// Runs `f` with every core allowed again, then returns to the one that we are pinned to.
fn unpinned<T>(f: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let pinned = sched_getaffinity(None)?;
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    sched_setaffinity(None, &all)?;
    let result = f();
    sched_setaffinity(None, &pinned)?;
    result
}

fn attach_to(guard: &mut Guard, state_dir: &std::path::Path) -> anyhow::Result<Attached> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match attach(&state_dir.join("dataplane.sock")) {
            Ok(attached) => return Ok(attached),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => {}
        }
        let child = guard.0.as_mut().context("the process is ours")?;
        if let Some(status) = child.try_wait()? {
            return Err(anyhow!(
                "the dataplane ended with {status} instead of starting"
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// CPU time of all threads of a process, nanoseconds (`schedstat`: exact, unlike `stat`'s ticks).
fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))
            .context("the kernel has no schedstat")?;
        let ns = text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok());
        total += ns.context("schedstat is not as it should be")?;
    }
    Ok(total)
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    let page = u64::try_from(rustix::param::page_size())?;
    Ok(pages.context("statm is not as it should be")? * page)
}
