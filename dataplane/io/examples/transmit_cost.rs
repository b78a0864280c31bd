//! What a datagram costs to send: by one plain `sendto`, and by AF_XDP as a worker sends,
//! with everything but sealing: a payload copied into a frame, headers, checksum, rings.
//!
//! ```text
//! transmit_cost INTERFACE LOCAL-IP REMOTE-IP SECONDS
//! ```
//!
//! For a machine that does nothing else, such as that of `tests/kernels`: the cost is all
//! time that its cores were not idle, so what the kernel does in interrupts is in it. The
//! ways take turns. A line for each: its name, nanoseconds for each datagram, how many of
//! those the process itself was charged, and datagrams; or its name and why it is not
//! possible. The remote address must be of the interface's network, and better nobody's.

use ion_engine::{Path, TransmitBatch};
use ion_io::xdp::{CopyMode, Frame, XdpConfig, XdpError};
use ion_io::{Backend, Doorbell, MediaPort, SendReport};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

/// Datagrams go to so many clients in turn: each has a look-up and headers of its own.
const CLIENTS: u16 = 50;
/// Bytes of a datagram.
const PAYLOAD: [u8; 1_200] = [0x80; 1_200];
/// How often each way is measured.
const ROUNDS: usize = 3;
/// Datagrams before the measurement: until the way to each client is known.
const WARM_UP: u64 = 2_000;
/// How long the kernel may take to let go of a queue.
const PATIENCE: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Job {
    interface: String,
    local: IpAddr,
    remote: IpAddr,
    time: Duration,
}

impl Job {
    fn clients(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let remote = self.remote;
        (0..CLIENTS)
            .cycle()
            .map(move |n| SocketAddr::new(remote, 20_000 + n))
    }
}

/// Time that something took, and for how many datagrams.
#[derive(Default)]
struct Cost {
    busy: Duration,
    own: Duration,
    datagrams: u64,
}

impl Cost {
    /// Measures `send`, which sends some datagrams and returns how many.
    fn add(&mut self, time: Duration, mut send: impl FnMut() -> Outcome<u64>) -> Outcome<()> {
        let mut warm_up = 0;
        while warm_up < WARM_UP {
            warm_up += send()?;
        }
        let (started, idle, own) = (Instant::now(), idle()?, own());
        while started.elapsed() < time {
            self.datagrams += send()?;
        }
        let cores = u32::try_from(available_parallelism()?.get())?;
        let all = started.elapsed() * cores;
        self.busy += all.saturating_sub(self::idle()?.saturating_sub(idle));
        self.own += self::own().saturating_sub(own);
        Ok(())
    }

    fn for_each(&self, time: Duration) -> u128 {
        time.as_nanos() / u128::from(self.datagrams.max(1))
    }
}

/// Time that the cores were idle since the start, to hundredths of a second.
fn idle() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks: Result<Vec<u64>, _> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(4) // cpu, user, nice, system
        .take(2) // idle, waiting for a disk
        .map(str::parse)
        .collect();
    Ok(Duration::from_millis(10 * ticks?.iter().sum::<u64>()))
}

/// Time that this process was charged.
fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn by_sendto(job: &Job, cost: &mut Cost) -> Outcome<()> {
    let socket = UdpSocket::bind((job.local, 0))?;
    let mut clients = job.clients();
    cost.add(job.time, || {
        for client in clients.by_ref().take(256) {
            socket.send_to(&PAYLOAD, client)?;
        }
        Ok(256)
    })
}

/// A worker's backend, on queue 0.
fn open(job: &Job, mode: CopyMode) -> Outcome<Backend> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut port = MediaPort::bind(&[SocketAddr::new(job.local, 0)], 1)?;
        let config = XdpConfig {
            mode,
            // There is no XDP program: nothing is received.
            ..XdpConfig::new(&job.interface, vec![0], Arc::new(|_, _| Ok(())))
        };
        let sockets = std::mem::take(&mut port.workers[0]);
        match Backend::open_xdp(config, sockets, Arc::new(Doorbell::new()?)) {
            Ok(backend) => return Ok(backend),
            Err(refused) => {
                let busy = matches!(&refused.error, XdpError::Bind { source, .. } if *source == Errno::BUSY);
                if !busy || Instant::now() > deadline {
                    return Err(refused.error.into());
                }
                sleep(Duration::from_millis(50));
            }
        }
    }
}

fn by_ring(job: &Job, mode: CopyMode, cost: &mut Cost) -> Outcome<()> {
    let mut backend = open(job, mode)?;
    let mut batch = backend.batch(0, 0);
    let mut clients = job.clients();
    let mut all = SendReport::default();
    cost.add(job.time, || {
        await_room(&mut backend)?;
        fill(&mut batch, job.local, &mut clients);
        let (_, mut sender) = backend.split();
        let report = sender.send(&mut batch)?;
        batch.clear();
        all += report;
        Ok(report.ring)
    })?;
    // While the ways are asked for, the socket serves those that are still unknown.
    if all.ring < 100 * (all.datagrams - all.ring) {
        return Err(format!("too few went by the ring: {all:?}").into());
    }
    Ok(())
}

/// Sleeps until a whole batch has room in the ring.
fn await_room(backend: &mut Backend) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut patience = Duration::ZERO;
    loop {
        backend.poll(Some(patience))?;
        let frames = backend.xdp().ok_or("no AF_XDP")?.frames();
        // Each frame that is sent is replaced by a free one.
        if frames.free >= frames.batch {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the device sends nothing: {frames:?}").into());
        }
        patience = Duration::from_millis(1);
    }
}

fn fill(
    batch: &mut TransmitBatch<Frame>,
    local: IpAddr,
    clients: &mut impl Iterator<Item = SocketAddr>,
) {
    while let Some(space) = batch.space(PAYLOAD.len()) {
        space.copy_from_slice(&PAYLOAD);
        let Some(remote) = clients.next() else { return };
        batch.commit(&Path { remote, local }, PAYLOAD.len());
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, local, remote, seconds] = &arguments[..] else {
        return Err("transmit_cost INTERFACE LOCAL-IP REMOTE-IP SECONDS".into());
    };
    let job = Job {
        interface: interface.clone(),
        local: local.parse()?,
        remote: remote.parse()?,
        time: Duration::from_secs(seconds.parse()?),
    };
    let ways = [
        ("sendto", None),
        ("copy", Some(CopyMode::Copy)),
        ("zero-copy", Some(CopyMode::ZeroCopy)),
    ];
    let mut costs = ways.map(|(name, mode)| (name, mode, Ok(Cost::default())));
    for _ in 0..ROUNDS {
        for (_, mode, outcome) in &mut costs {
            let Ok(cost) = outcome else { continue };
            let done = match mode {
                None => by_sendto(&job, cost),
                Some(mode) => by_ring(&job, *mode, cost),
            };
            if let Err(error) = done {
                *outcome = Err(error);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for (name, _, outcome) in costs {
        match outcome {
            Ok(cost) => writeln!(
                out,
                "{name} {} {} {}",
                cost.for_each(cost.busy),
                cost.for_each(cost.own),
                cost.datagrams
            )?,
            Err(error) => writeln!(out, "{name} impossible: {error}")?,
        }
    }
    Ok(())
}
