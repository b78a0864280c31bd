//! Publishers, viewers and workers in virtual time: the other ends of an engine.
//!
//! Every packet that a client gets is opened with the client's own keys, and no SRTP
//! index may ever be seen with two contents: that is checked here, for every test.

#[path = "harness/client.rs"]
mod client;
#[path = "harness/rows.rs"]
mod rows;

pub use client::*;
pub use rows::*;

use ion_engine::congestion::Ecn;
use ion_engine::{Engine, EngineConfig, Micros, Output, PeerMessage, Received, TransmitBatch};
use ion_tables::*;
use ion_wire::{PacketKind, classify};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub const NTP_ZERO: u64 = 0xE000_0000_0000_0000;
pub const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Extension ids of every client, by kind: publishers count up, viewers down.
pub const KINDS: [ExtensionKind; 9] = [
    ExtensionKind::Mid,
    ExtensionKind::Rid,
    ExtensionKind::RepairedRid,
    ExtensionKind::TransportCc,
    ExtensionKind::AbsSendTime,
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::DependencyDescriptor,
    ExtensionKind::PlayoutDelay,
];

pub fn publisher_id(kind: ExtensionKind) -> u8 {
    u8::try_from(KINDS.iter().position(|&k| k == kind).unwrap()).unwrap() + 1
}

pub fn viewer_id(kind: ExtensionKind) -> u8 {
    14 - publisher_id(kind)
}

/// Where one worker's results go.
pub struct Outbox {
    batch: TransmitBatch,
    pub record: bool,
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    pub datagrams: usize,
    /// Datagrams in each send that went out, in order.
    pub sends: Vec<usize>,
    /// Datagrams of media, and of RTCP, by the ECN bits that they went out with.
    pub ecn: [[usize; 4]; 2],
    pub rings: Vec<Vec<PeerMessage>>,
    pub ring_capacity: usize,
}

impl Outbox {
    fn new(workers: usize) -> Self {
        Self {
            batch: TransmitBatch::new(1 << 20, 1_024),
            record: true,
            sent: Vec::new(),
            datagrams: 0,
            sends: Vec::new(),
            ecn: [[0; 4]; 2],
            rings: (0..workers).map(|_| Vec::with_capacity(4_096)).collect(),
            ring_capacity: 4_096,
        }
    }
}

impl Output for Outbox {
    type Message = PeerMessage;
    type Frame = Box<[u8]>;

    fn batch(&mut self) -> &mut TransmitBatch {
        &mut self.batch
    }

    fn transmit(&mut self) {
        for send in self.batch.sends() {
            self.datagrams += send.count;
            if !self.record {
                continue;
            }
            self.sends.push(send.count);
            for datagram in self.batch.datagrams(send) {
                let is_rtcp = classify(datagram) == PacketKind::Rtcp;
                self.ecn[usize::from(is_rtcp)][send.ecn as usize] += 1;
                self.sent.push((send.path.remote, datagram.to_vec()));
            }
        }
        self.batch.clear();
    }

    fn to_worker(&mut self, worker: usize, message: PeerMessage) -> Result<(), PeerMessage> {
        if self.rings[worker].len() == self.ring_capacity {
            return Err(message);
        }
        self.rings[worker].push(message);
        Ok(())
    }
}

pub struct Worker {
    pub engine: Engine,
    pub out: Outbox,
}

/// Whether a datagram gets lost.
pub type Loss = dyn FnMut(&[u8]) -> bool;

pub struct World {
    pub tables: Arc<Tables>,
    pub control: ControlTables,
    pub workers: Vec<Worker>,
    pub clients: Vec<Client>,
    pub now: Micros,
    pub config: EngineConfig,
    next: [u32; 4],
    /// Datagrams to clients that get lost: said by the function.
    pub lose: Box<Loss>,
}

impl World {
    pub fn new(workers: usize) -> Self {
        let capacities = Capacities {
            transports: 64,
            tracks: 32,
            encodings: 32,
            subscriptions: 128,
        };
        let config = EngineConfig {
            packets: 8_192,
            ntp_zero: NTP_ZERO,
            ..EngineConfig::default()
        };
        let tables = Arc::new(Tables::create(capacities, workers, 1, 0).unwrap());
        let mut world = Self {
            control: ControlTables::new(Arc::clone(&tables)),
            workers: Vec::new(),
            clients: Vec::new(),
            now: Micros(1_000_000),
            next: [0; 4],
            lose: Box::new(|_| false),
            tables,
            config,
        };
        world.start_workers(workers);
        world
    }

    /// Makes engines on the tables as they are: at the start, or after all have died.
    pub fn start_workers(&mut self, workers: usize) {
        self.workers = (0..workers)
            .map(|worker| {
                let tables = WorkerTables::new(Arc::clone(&self.tables), worker);
                Worker {
                    engine: Engine::new(self.config.clone(), tables),
                    out: Outbox::new(workers),
                }
            })
            .collect();
        self.configure();
    }

    pub fn configure(&mut self) {
        for worker in &mut self.workers {
            worker.engine.configure(self.now);
        }
    }

    /// A client's RTP packet arrives at its worker.
    pub fn rtp(&mut self, client: usize, spec: &Rtp) {
        let datagram = self.clients[client].seal(spec);
        self.arrive(client, &datagram);
    }

    /// A client's RTCP compound arrives at its worker.
    pub fn rtcp(&mut self, client: usize, compound: &[u8]) {
        let datagram = self.clients[client].seal_rtcp(compound);
        self.arrive(client, &datagram);
    }

    pub fn arrive(&mut self, client: usize, datagram: &[u8]) {
        let (worker, from) = (self.clients[client].worker, self.clients[client].address);
        self.arrive_at(worker, from, datagram);
    }

    pub fn arrive_at(&mut self, worker: usize, from: SocketAddr, datagram: &[u8]) {
        self.arrive_marked(worker, from, Ecn::NotEct, datagram);
    }

    pub fn arrive_marked(&mut self, worker: usize, from: SocketAddr, ecn: Ecn, datagram: &[u8]) {
        let Worker { engine, out } = &mut self.workers[worker];
        engine.ingest(self.now, received(from, ecn, datagram), out);
    }

    /// Ends the batch everywhere, until no worker has anything for another.
    pub fn flush(&mut self) {
        loop {
            let mut messages = Vec::new();
            for worker in &mut self.workers {
                worker.engine.flush(self.now, &mut worker.out);
                worker.out.transmit();
                for (to, ring) in worker.out.rings.iter_mut().enumerate() {
                    messages.extend(ring.drain(..).map(|message| (to, message)));
                }
            }
            if messages.is_empty() {
                break;
            }
            for (to, message) in messages {
                let Worker { engine, out } = &mut self.workers[to];
                engine.ingest_peer(self.now, message, out);
            }
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        for worker in &mut self.workers {
            for (to, datagram) in worker.out.sent.drain(..) {
                let lost = (self.lose)(&datagram);
                if let Some(client) = self.clients.iter_mut().find(|c| c.address == to)
                    && !lost
                {
                    client.receive(self.now, &datagram);
                }
            }
        }
    }

    /// One packet in a batch of its own.
    pub fn send(&mut self, client: usize, spec: &Rtp) {
        self.rtp(client, spec);
        self.flush();
    }

    pub fn send_rtcp(&mut self, client: usize, compound: &[u8]) {
        self.rtcp(client, compound);
        self.flush();
    }

    /// Lets time pass, with all that is due on the way.
    pub fn advance(&mut self, us: u64) {
        let end = self.now + us;
        loop {
            let next = self
                .workers
                .iter()
                .filter_map(|worker| worker.engine.next_timeout())
                .min();
            let Some(next) = next.filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for worker in &mut self.workers {
                worker.engine.handle_timeout(self.now, &mut worker.out);
            }
            self.flush();
        }
        self.now = end;
    }

    pub fn drops(&self, worker: usize, reason: DropReason) -> u64 {
        self.tables.worker_counters(worker).unwrap().drops[reason as usize].load()
    }

    /// All drops of all workers.
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let mut all = Vec::new();
        for reason in DropReason::ALL {
            let count = (0..self.workers.len()).map(|w| self.drops(w, reason)).sum();
            if count > 0 {
                all.push((reason, count));
            }
        }
        all
    }

    pub fn encoding_counters(&self, track: u32) -> &EncodingCounters {
        let row = self.encodings(track)[0].row;
        self.tables.counters::<Encoding>(row).unwrap()
    }

    pub fn subscription_counters(&self, row: u32) -> &SubscriptionCounters {
        self.tables.counters::<Subscription>(row).unwrap()
    }

    /// All RTCP packets of one kind that a client has got, taken out by a function.
    pub fn feedback<T>(
        &self,
        client: usize,
        pick: impl Fn(ion_wire::rtcp::Packet<'_>) -> Option<T>,
    ) -> Vec<(Micros, T)> {
        let mut found = Vec::new();
        for (at, compound) in &self.clients[client].rtcp {
            for packet in ion_wire::rtcp::Compound::iter(compound) {
                found.extend(pick(packet.unwrap()).map(|t| (*at, t)));
            }
        }
        found
    }

    /// Sequence numbers asked for in NACKs, and when.
    pub fn nacks(&self, client: usize) -> Vec<(Micros, u16)> {
        use ion_wire::rtcp::{Packet, Rtpfb};
        let lists = self.feedback(client, |packet| match packet {
            Packet::Rtpfb(Rtpfb::Nack(nack)) => Some(nack.sequences().collect::<Vec<_>>()),
            _ => None,
        });
        let each = |(at, list): (Micros, Vec<u16>)| list.into_iter().map(move |s| (at, s));
        lists.into_iter().flat_map(each).collect()
    }

    /// When PLIs were got, and for which SSRC.
    pub fn plis(&self, client: usize) -> Vec<(Micros, u32)> {
        use ion_wire::rtcp::{Packet, Psfb};
        self.feedback(client, |packet| match packet {
            Packet::Psfb(Psfb::Pli(pli)) => Some(pli.media_ssrc),
            _ => None,
        })
    }
}

/// A datagram as an engine gets it.
pub fn received(remote: SocketAddr, ecn: Ecn, data: &[u8]) -> Received<'_> {
    Received {
        remote,
        local: LOCAL,
        ecn,
        data,
    }
}
