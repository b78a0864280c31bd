use crate::bypass::Bypass;
use crate::clock::{Clock, unix_us};
use crate::diagnostics::Failure;
use crate::options::Options;
use crate::peers;
use crate::placement::{self, Place};
use crate::worker::{Parts, Shared, Worker};
use ion_io::reuseport::SOCKET_BUFFER_BYTES;
use ion_io::{BindError, Doorbell, MediaPort, MediaSocket, Signals, affinity};
use ion_tables::Tables;
use ion_tables::attach::{ControlLink, Listener, MAX_SOCKETS, Offer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Between two signs of life in the tables' header.
const HEARTBEAT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// Workers that have not ended after this are left behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a port may be in use at start. A dataplane that died leaves sockets with
/// its control plane, which lets go of them when it notices.
const BIND_PATIENCE: Duration = Duration::from_millis(1_500);
const BIND_RETRY: Duration = Duration::from_millis(50);

/// Runs the dataplane until it is asked to stop.
///
/// # Errors
/// Any [`Failure`]; before it returns, everything is cleaned up.
pub fn run(options: &Options) -> Result<(), Failure> {
    let cores = affinity::allowed_cores().map_err(Failure::os("asking for the cores"))?;
    let workers = options.workers(cores.len());
    let interface = options.interface.as_deref();
    let places = placement::plan(&cores, workers, interface);
    if options.print_affinity {
        return print_affinity(&places, interface);
    }
    let signals = Signals::block().map_err(Failure::os("taking over the signals"))?;
    make_state_dir(&options.state_dir)?;
    // First of all: it finds out whether another dataplane runs here.
    let listener = Listener::bind(&options.state_dir.join("dataplane.sock"))?;
    let mut media = bind_media(&options.media, workers)?;
    hint_at_buffers(&media.control);
    let shared = Arc::new(share(options, workers)?);
    if shared.tables.secrets_locked().is_err() {
        warn!(
            "the tables' keys could not be locked in memory and may be swapped to disk: \
             raise `ulimit -l`, or LimitMEMLOCK= of the unit"
        );
    }
    let mut bypass = Bypass::open(options, &media);
    let sockets = std::mem::take(&mut media.workers)
        .into_iter()
        .zip(std::mem::take(&mut media.reports))
        .collect();
    let parts = equip(options, sockets, bypass.as_ref())?;
    let mut crew = Crew::start(&shared, parts, &places)?;
    let outcome = supervise(&listener, &signals, &shared, &media.control, &mut bypass);
    let stopped = crew.stop(&shared);
    outcome.and(stopped)
}

/// What each worker starts with.
fn equip(
    options: &Options,
    sockets: Vec<(Vec<MediaSocket>, Vec<MediaSocket>)>,
    bypass: Option<&Bypass>,
) -> Result<Vec<Parts>, Failure> {
    let workers = sockets.len();
    let queues = bypass.map_or_else(
        || vec![None; workers],
        |bypass| bypass.plan(options, workers),
    );
    let mut all = Vec::with_capacity(workers);
    let ends = peers::mesh(workers);
    for (worker, (((sockets, reports), xdp), (inboxes, outboxes))) in
        sockets.into_iter().zip(queues).zip(ends).enumerate()
    {
        let flows = bypass.map(Bypass::flows).transpose();
        let flows = flows.map_err(|error| Failure::Os {
            what: "sharing the flow map",
            source: io::Error::other(error),
        })?;
        all.push(Parts {
            worker,
            sockets,
            reports,
            inboxes,
            outboxes,
            xdp,
            flows,
        });
    }
    Ok(all)
}

fn print_affinity(places: &[Place], interface: Option<&str>) -> Result<(), Failure> {
    let queues = match interface {
        Some(name) => ion_io::xdp::queues(name).map_err(|error| {
            Failure::Flag(format!(
                "--interface {name}: {error}: `ip link` lists those there are"
            ))
        })?,
        None => 0,
    };
    let text = placement::describe(places, interface, queues);
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(Failure::os("writing"))
}

fn make_state_dir(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Failure::StateDir {
            path: path.to_owned(),
            source,
        })
}

fn bind_media(addresses: &[SocketAddr], workers: usize) -> Result<MediaPort, Failure> {
    if addresses.len() > MAX_SOCKETS {
        return Err(Failure::Flag(format!(
            "--media: {} addresses, at most {MAX_SOCKETS} are possible",
            addresses.len()
        )));
    }
    let mut addresses = addresses.to_vec();
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match MediaPort::bind(&addresses, workers) {
            Ok(port) => return Ok(port),
            Err(BindError::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(BIND_RETRY);
            }
            // "All addresses" of a family that this host does not have are none.
            Err(BindError::NoSuchAddress { address })
                if address.ip().is_unspecified() && addresses.len() > 1 =>
            {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                warn!("this host has no {family}: media goes without it");
                addresses.retain(|other| *other != address);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Small receive buffers lose packets in bursts, without a counter of ours.
fn hint_at_buffers(sockets: &[MediaSocket]) {
    let smallest = sockets
        .iter()
        .filter_map(|socket| sockopt::socket_recv_buffer_size(socket).ok())
        .min();
    if let Some(bytes) = smallest.filter(|&bytes| bytes < SOCKET_BUFFER_BYTES) {
        info!(
            bytes,
            "the kernel allows small receive buffers only: \
             sysctl net.core.rmem_max={SOCKET_BUFFER_BYTES} helps in bursts"
        );
    }
}

fn share(options: &Options, workers: usize) -> Result<Shared, Failure> {
    let clock = Clock::start();
    let epoch = getrandom::u64().map_err(|_| Failure::Os {
        what: "asking for a random number",
        source: io::ErrorKind::Other.into(),
    })?;
    let tables = Tables::create(options.capacities(), workers, epoch, clock.zero_unix_us())?;
    let heartbeat = tables.header().dataplane();
    heartbeat.pid.set(u64::from(std::process::id()));
    heartbeat.incarnation.set(1);
    heartbeat.at_unix_us.set(unix_us());
    let bell = || Doorbell::new().map_err(Failure::os("making a doorbell"));
    Ok(Shared {
        tables: Arc::new(tables),
        clock,
        doorbells: (0..workers)
            .map(|_| bell().map(Arc::new))
            .collect::<Result<_, _>>()?,
        events: bell()?,
        stop: AtomicBool::new(false),
        mode: options.io.mode(),
        packets: options.packets as usize,
    })
}

/// Serves control planes, one at a time, until a signal asks for the end.
fn supervise(
    listener: &Listener,
    signals: &Signals,
    shared: &Shared,
    control: &[MediaSocket],
    bypass: &mut Option<Bypass>,
) -> Result<(), Failure> {
    let offer = Offer {
        tables: &shared.tables,
        event_doorbell: shared.events.as_fd(),
        worker_doorbells: shared.doorbells.iter().map(|bell| bell.as_fd()).collect(),
        sockets: control.iter().map(AsFd::as_fd).collect(),
    };
    let mut link: Option<ControlLink> = None;
    loop {
        shared.tables.header().dataplane().at_unix_us.set(unix_us());
        if let Some(bypass) = bypass {
            bypass.tend(shared.tables.header().bypass());
        }
        let mut fds = vec![
            PollFd::new(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(listener.fd(), PollFlags::IN),
        ];
        fds.extend(
            link.as_ref()
                .map(|link| PollFd::from_borrowed_fd(link.fd(), PollFlags::IN)),
        );
        match poll(&mut fds, Some(&HEARTBEAT)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::os("waiting")(error.into())),
        }
        let visitor = !fds[1].revents().is_empty();
        drop(fds);
        if signals.take() {
            info!("stopping");
            return Ok(());
        }
        if link.as_ref().is_some_and(ControlLink::is_closed) {
            info!("the control plane is gone; forwarding goes on");
            link = None;
        }
        if visitor {
            match listener.accept(&offer, link.as_ref()) {
                Ok(Some(new)) => {
                    info!(pid = new.pid, "a control plane is attached");
                    link = Some(new);
                }
                Ok(None) => info!("a visitor of the attach socket was refused"),
                Err(error) => {
                    // Such as too many open files: it may pass.
                    warn!("attach socket: {error}");
                    std::thread::sleep(BIND_RETRY);
                }
            }
        }
    }
}

/// The worker threads.
struct Crew {
    threads: Vec<JoinHandle<()>>,
    /// One message for each thread that has ended.
    ended: Receiver<()>,
}

impl Crew {
    fn start(shared: &Arc<Shared>, parts: Vec<Parts>, places: &[Place]) -> Result<Self, Failure> {
        let workers = parts.len();
        let (ready, started) = sync_channel(workers);
        let (end, ended) = sync_channel(workers);
        let mut crew = Self {
            threads: Vec::with_capacity(workers),
            ended,
        };
        for parts in parts {
            let worker = parts.worker;
            let core = places.get(worker).map(|place| place.core);
            let (shared, ready, end) = (Arc::clone(shared), ready.clone(), end.clone());
            let thread = std::thread::Builder::new()
                .name(format!("ion-worker-{worker}"))
                .spawn(move || work(shared, parts, core, ready, &end))
                .map_err(Failure::os("starting a worker"))?;
            crew.threads.push(thread);
        }
        drop(ready);
        crew.await_start(shared, &started)?;
        Ok(crew)
    }

    /// Waits until every worker says how it started, and logs it once for all.
    fn await_start(
        &mut self,
        shared: &Shared,
        started: &Receiver<io::Result<Start>>,
    ) -> Result<(), Failure> {
        // Workers mostly say the same: each thing is said once.
        let (mut backends, mut reasons) = (Vec::new(), Vec::new());
        for start in started {
            match start {
                Ok(start) => {
                    backends.push(start.backend);
                    reasons.extend(start.reasons);
                }
                Err(source) => {
                    let _ = self.stop(shared);
                    return Err(Failure::os("opening the sockets of a worker")(source));
                }
            }
        }
        for list in [&mut backends, &mut reasons] {
            list.sort_unstable();
            list.dedup();
        }
        for reason in reasons {
            warn!("{reason}");
        }
        info!(
            workers = self.threads.len(),
            io = backends.join("; "),
            "forwarding"
        );
        Ok(())
    }

    /// Asks all workers to end, and waits for a bounded time.
    fn stop(&mut self, shared: &Shared) -> Result<(), Failure> {
        shared.stop.store(true, Ordering::Release);
        for doorbell in &shared.doorbells {
            doorbell.ring();
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        for left in (1..=self.threads.len()).rev() {
            let patience = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(patience) {
                return Err(Failure::Stuck(left));
            }
        }
        for thread in self.threads.drain(..) {
            // It has ended; a panic would have ended the process.
            let _ = thread.join();
        }
        Ok(())
    }
}

/// How a worker started.
struct Start {
    backend: String,
    reasons: Vec<String>,
}

/// A worker's thread, from its first instruction to its last.
fn work(
    shared: Arc<Shared>,
    parts: Parts,
    core: Option<usize>,
    ready: SyncSender<io::Result<Start>>,
    end: &SyncSender<()>,
) {
    let number = parts.worker;
    if let Some(Err(error)) = core.map(affinity::pin) {
        warn!(worker = number, "not pinned to a core: {error}");
    }
    match Worker::new(shared, parts) {
        Ok((mut worker, reasons)) => {
            let _ = ready.send(Ok(Start {
                backend: worker.backend(),
                reasons,
            }));
            drop(ready);
            if let Err(error) = worker.run() {
                error!(worker = number, "cannot receive or send any more: {error}");
                panic!("worker {number}: {error}");
            }
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
    let _ = end.send(());
}
