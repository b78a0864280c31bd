use crate::clock::Clock;
use crate::flows::FlowTable;
use crate::peers::{Inboxes, Outboxes};
use ion_ebpf::Flows;
use ion_engine::{Engine, EngineConfig, Micros, Output, PeerMessage, Received, TransmitBatch};
use ion_io::uring::UringConfig;
use ion_io::xdp::Frame;
use ion_io::xdp::{RingState, XdpConfig};
use ion_io::{
    Aside, Backend, Doorbell, Fallback, IoMode, MediaSocket, ReceiveReport, SendReport, Sender,
};
use ion_tables::{DropReason, EventReader, Tables, WorkerTables};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes sealed before they are handed to the kernel: they stay in the core's cache.
const BATCH_BYTES: usize = 256 << 10;
/// The longest sleep: how often a worker without traffic shows that it lives.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// Reports on packets wake nobody: they are looked for this often, as long as something was sent of late (ADR 9).
const REPORTS_EVERY: Micros = Micros(5_000);
/// ... that is, within this: a viewer's reports are no further apart than a quarter of it.
const REPORTS_LAST: u64 = Micros::SECOND;

/// What all workers of a process share.
pub struct Shared {
    /// The tables.
    pub tables: Arc<Tables>,
    /// The clock.
    pub clock: Clock,
    /// By worker; also rung by the control plane.
    pub doorbells: Vec<Arc<Doorbell>>,
    /// Rung when a worker has written events.
    pub events: Doorbell,
    /// Set, and all doorbells rung: come to an end.
    pub stop: AtomicBool,
    /// The backend to try first.
    pub mode: IoMode,
    /// Packets of packet memory for each worker.
    pub packets: usize,
}

/// What one worker is made of. Sent to its thread.
pub struct Parts {
    /// Its number.
    pub worker: usize,
    /// Its sockets.
    pub sockets: Vec<MediaSocket>,
    /// Those that reports on packets come to.
    pub reports: Vec<MediaSocket>,
    /// From the others.
    pub inboxes: Inboxes,
    /// To the others.
    pub outboxes: Outboxes,
    /// Its queues of the interface, if it has any.
    pub xdp: Option<XdpConfig>,
    /// The flow map, where eBPF steers.
    pub flows: Option<Flows>,
}

/// One forwarding thread.
pub struct Worker {
    shared: Arc<Shared>,
    tables: WorkerTables,
    engine: Engine,
    backend: Backend,
    reports: Aside,
    /// When they are next looked for, and when something was last sent.
    reports_due: Micros,
    sent: Micros,
    batch: TransmitBatch<Frame>,
    inboxes: Inboxes,
    outboxes: Outboxes,
    flows: Option<FlowTable>,
    /// What was last said of the rings.
    rings: RingState,
    /// When the kernel was last asked what it dropped before the rings.
    rings_asked: Micros,
    /// Sees whether the engine has written events.
    events: EventReader,
    now: Micros,
}

impl Worker {
    /// Makes a worker. Call it on the thread that will run it. With it come reasons why it
    /// does not use what was asked for.
    ///
    /// # Errors
    /// When no backend can be opened.
    pub fn new(shared: Arc<Shared>, parts: Parts) -> io::Result<(Self, Vec<String>)> {
        let uring = UringConfig::default();
        let doorbell = Arc::clone(&shared.doorbells[parts.worker]);
        let (mut backend, reasons) =
            open_backend(shared.mode, &uring, parts.xdp, parts.sockets, doorbell)?;
        let role = || WorkerTables::new(Arc::clone(&shared.tables), parts.worker);
        let config = EngineConfig {
            packets: shared.packets,
            ntp_zero: shared.clock.zero_ntp(),
            watch_transports: parts.flows.is_some(),
            ..EngineConfig::default()
        };
        let tables = role();
        let worker = Self {
            engine: Engine::new(config, role()),
            events: EventReader::at_end(tables.events()),
            now: shared.clock.now(),
            batch: backend.batch(BATCH_BYTES, uring.sends),
            reports: Aside::open(parts.reports)?,
            reports_due: Micros(0),
            sent: Micros(0),
            inboxes: parts.inboxes,
            outboxes: parts.outboxes,
            flows: parts.flows.map(|map| FlowTable::new(map, parts.worker)),
            rings: RingState::Running,
            rings_asked: Micros(0),
            tables,
            backend,
            shared,
        };
        Ok((worker, reasons))
    }

    /// The backend, for the log.
    pub fn backend(&self) -> String {
        let name = self.backend.name();
        let details = self
            .backend
            .xdp()
            .map(|xdp| format!(", {}", xdp.describe()));
        format!("{name}{}", details.unwrap_or_default())
    }

    /// Forwards until asked to stop.
    ///
    /// # Errors
    /// When the sockets or the ring fail for good.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn: waits, takes in what came, forwards it, and does what is due.
    fn turn(&mut self) -> io::Result<()> {
        let timeout = self.go_to_sleep();
        let polled = self.backend.poll(Some(timeout))?;
        self.tables.commands().wake();
        let now = self.shared.clock.now();
        self.now = now;
        self.configure(now);

        let engine = &mut self.engine;
        let (arrivals, sender) = self.backend.split();
        let mut out = Outbox {
            batch: &mut self.batch,
            sender,
            clock: self.shared.clock,
            time: now,
            peers: &mut self.outboxes,
            sent: SendReport::default(),
            broken: None,
        };
        let mut received = arrivals.for_each(|received| engine.ingest(now, received, &mut out));
        let mut syscalls = polled.syscalls;
        if self.reports_due <= now {
            self.reports_due = now + REPORTS_EVERY.0;
            let ingest = |received: Received<'_>| engine.ingest(now, received, &mut out);
            let (reports, calls) = self.reports.drain(ingest)?;
            received += reports;
            syscalls += calls;
        }
        self.inboxes
            .drain(|message| engine.ingest_peer(now, message, &mut out));
        if engine.next_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now, &mut out);
        }
        engine.flush(now, &mut out);
        out.transmit();
        let (sent, broken) = (out.sent, out.broken);
        if let Some(error) = broken {
            return Err(error);
        }
        if sent.datagrams > 0 {
            self.sent = now;
        }
        let rung = self.wake_others();
        self.tell_of_rings();
        self.count(&received, &sent, syscalls + rung);
        Ok(())
    }

    /// Takes in what the control plane announced, and steers packets by it.
    fn configure(&mut self, now: Micros) {
        self.engine.configure(now);
        if let Some(flows) = &mut self.flows {
            while let Some(row) = self.engine.changed_transport() {
                flows.update(&self.tables, row);
            }
        }
    }

    /// How long the worker may sleep. From here on, whoever gives it work rings its doorbell.
    fn go_to_sleep(&self) -> Duration {
        if !self.tables.commands().sleep() || self.inboxes.waiting() {
            return Duration::ZERO;
        }
        let listening = self.now.since(self.sent) < REPORTS_LAST;
        let reports = listening.then_some(self.reports_due);
        let due = self.engine.next_timeout().into_iter().chain(reports).min();
        due.map_or(MAX_SLEEP, |due| {
            Duration::from_micros(due.since(self.now)).min(MAX_SLEEP)
        })
    }

    /// Rings for the workers that were given something and sleep, and for the control
    /// plane if there are events: each at most once for a batch. Returns how often.
    fn wake_others(&mut self) -> u64 {
        let mut rung = 0;
        let mut given = self.outboxes.take_given();
        while given != 0 {
            let worker = given.trailing_zeros() as usize;
            given &= given - 1;
            let commands = self.shared.tables.commands(worker);
            if commands.is_some_and(ion_tables::CommandRing::is_sleeping) {
                self.shared.doorbells[worker].ring();
                rung += 1;
            }
        }
        if self.events.take(self.tables.events()).is_some() {
            self.events = EventReader::at_end(self.tables.events());
            self.shared.events.ring();
            rung += 1;
        }
        rung
    }

    fn count(&self, received: &ReceiveReport, sent: &SendReport, syscalls: u64) {
        let counters = self.tables.counters();
        counters.heartbeat_us.set(self.now.0);
        counters.syscalls.add(syscalls + sent.syscalls);
        if received.datagrams + received.truncated > 0 {
            counters.batches.add(1);
            counters.drop_packets(DropReason::Truncated, received.truncated);
        }
        counters.sends.add(sent.sends);
        counters.packets_sent.add(sent.datagrams);
        counters.bytes_sent.add(sent.bytes);
        counters.drop_packets(DropReason::TransmitFull, sent.full);
        counters.drop_packets(DropReason::SendFailed, sent.failed);
        if let Some(xdp) = self.backend.xdp() {
            counters.ring_received.add(received.ring);
            counters.ring_sent.add(sent.ring);
            counters.ring_kicks.add(sent.kicks);
            counters.ring_full.add(sent.ring_full);
            let frames = xdp.frames();
            counters.ring_frames.set(frames.outstanding() as u64);
            counters.ring_state.set(match xdp.state() {
                RingState::Running => 1,
                RingState::LinkDown => 2,
                RingState::Lost => 3,
            });
        }
    }

    /// Says once when the rings are lost, or back; asks each second what found no room in them.
    fn tell_of_rings(&mut self) {
        let Some(xdp) = self.backend.xdp() else {
            return;
        };
        if self.now.since(self.rings_asked) >= Micros::SECOND {
            self.rings_asked = self.now;
            self.tables.counters().ring_dropped.set(xdp.dropped());
        }
        let state = xdp.state();
        if state != self.rings {
            self.rings = state;
            tracing::warn!(worker = self.tables.worker(), "{state}");
        }
    }
}

/// AF_XDP where there are queues for it, else what the mode says.
fn open_backend(
    mode: IoMode,
    uring: &UringConfig,
    xdp: Option<XdpConfig>,
    mut sockets: Vec<MediaSocket>,
    mut doorbell: Arc<Doorbell>,
) -> io::Result<(Backend, Vec<String>)> {
    let mut reasons = Vec::new();
    if let Some(config) = xdp {
        match Backend::open_xdp(config, sockets, doorbell) {
            Ok(backend) => return Ok((backend, reasons)),
            Err(refused) => {
                reasons.push(format!("no AF_XDP: {}", refused.error));
                (sockets, doorbell) = (refused.sockets, refused.doorbell);
            }
        }
    }
    let (backend, fallback) = Backend::open(mode, uring, sockets, doorbell)?;
    reasons.extend(fallback.as_ref().map(Fallback::to_string));
    Ok((backend, reasons))
}

/// Where one batch's results go.
struct Outbox<'a> {
    batch: &'a mut TransmitBatch<Frame>,
    sender: Sender<'a>,
    clock: Clock,
    /// As of the last send.
    time: Micros,
    peers: &'a mut Outboxes,
    sent: SendReport,
    /// The first failure of the ring itself; nothing is sent after it.
    broken: Option<io::Error>,
}

impl Output for Outbox<'_> {
    type Message = PeerMessage;
    type Frame = Frame;

    fn batch(&mut self) -> &mut TransmitBatch<Frame> {
        self.batch
    }

    fn transmit(&mut self) {
        if self.broken.is_none() && !self.batch.is_empty() {
            match self.sender.send(self.batch) {
                Ok(report) => self.sent += report,
                Err(error) => self.broken = Some(error),
            }
            self.time = self.clock.now();
        }
        self.batch.clear();
    }

    fn time(&self, _turn: Micros) -> Micros {
        self.time
    }

    fn to_worker(&mut self, worker: usize, message: PeerMessage) -> Result<(), PeerMessage> {
        self.peers.give(worker, message)
    }
}
