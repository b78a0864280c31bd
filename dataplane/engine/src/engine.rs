use crate::allocate::Claim;
use crate::bandwidth::MakeEstimator;
use crate::batch::Workbench;
use crate::children::Children;
use crate::congestion::{Ecn, IonEstimator, PacketReport};
use crate::encoding::Encoding;
use crate::limits::{NACK_BATCH, SENT_PACKETS, TWCC_REPORTED};
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::pool::Pool;
use crate::received::Received;
use crate::stage::Part;
use crate::subscription::Subscriber;
use crate::time::Micros;
use crate::timers::{TimerKind, Timers};
use crate::transport::Transport;
use ion_tables::{
    DropReason, Encoding as EncodingRow, EncodingCounters, Event, RowKind, RowLink, RowRef,
    Subscription as SubscriptionRow, SubscriptionCounters, TrackConfig, Transport as TransportRow,
    TransportCounters, WorkerTables,
};
use ion_wire::rtcp::ccfb;
use ion_wire::{PacketKind, classify};
use std::collections::HashMap;
use std::net::SocketAddr;

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Packets of packet memory at most (1.7 KiB each).
    pub packets: usize,
    /// NTP time, 32.32, at [`Micros`] zero.
    pub ntp_zero: u64,
    /// How long packets are kept for retransmission, microseconds.
    pub history_us: u64,
    /// Whether [`Engine::changed_transport`] is asked after each configuration.
    pub watch_transports: bool,
    /// Makes the estimator of a viewer's network.
    pub estimator: MakeEstimator,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            packets: 65_536,
            ntp_zero: 0,
            history_us: 1_000_000,
            watch_transports: false,
            estimator: |bounds| Box::new(IonEstimator::new(bounds)),
        }
    }
}

/// Drops that mean that the worker has too little of something.
const TROUBLES: [DropReason; 2] = [DropReason::NoBuffer, DropReason::PeerRingFull];

/// Where datagrams of an address belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) transport: u32,
    pub(crate) worker: u16,
}

/// A published source, as far as this worker needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub(crate) link: RowLink,
    pub(crate) config: TrackConfig,
    pub(crate) part: Part,
}

impl Track {
    /// Whether nothing changed that subscriptions depend on.
    pub(crate) fn is_same_but_for_workers(&self, other: &Self) -> bool {
        let of = |track: &Self| {
            let TrackConfig {
                transport,
                encodings,
                clock_rate,
                worker,
                kind,
                codec,
                stage,
                seat,
                ..
            } = track.config;
            let source = (transport, encodings, clock_rate, kind, codec);
            (track.link, source, worker, stage, seat)
        };
        of(self) == of(other)
    }
}

/// The forwarding engine of one worker.
///
/// The path of a packet: [`ingest`](Self::ingest) → `ingest_rtp` → `demux` →
/// `accept_media` or `accept_rtx` → `publish` → [`flush`](Self::flush) → `fan_out` →
/// `Subscriber::admit` → `send_media`.
pub struct Engine {
    pub(crate) tables: WorkerTables,
    pub(crate) worker: u16,
    pub(crate) config: EngineConfig,
    pub(crate) pool: Pool,
    pub(crate) timers: Timers,
    pub(crate) routes: HashMap<SocketAddr, Route>,
    /// The address that each transport row has in `routes`.
    pub(crate) addresses: Vec<Option<SocketAddr>>,
    pub(crate) transports: Vec<Option<Box<Transport>>>,
    pub(crate) tracks: Vec<Option<Box<Track>>>,
    pub(crate) encodings: Vec<Option<Box<Encoding>>>,
    pub(crate) subscriptions: Vec<Option<Box<Subscriber>>>,
    pub(crate) children: Children,
    /// Encodings with packets to fan out.
    pub(crate) dirty: Vec<u32>,
    pub(crate) workbench: Workbench,
    /// Encodings whose receiver's state is to be stored.
    pub(crate) touched: Vec<u32>,
    /// Subscriptions whose first sender report is due.
    pub(crate) unreported: Vec<u32>,
    /// Where the search for packets to evict goes on.
    pub(crate) evict_at: usize,
    /// Drops that mean trouble, as last told of, and when that was.
    pub(crate) troubles: [u64; TROUBLES.len()],
    pub(crate) trouble_told: Micros,
    /// Rows that were torn when they were read.
    pub(crate) torn: Vec<RowRef>,
    /// Transport rows that changed, for whoever steers packets by them.
    pub(crate) changed_transports: Vec<u32>,
    /// The first scan of the tables has been made.
    pub(crate) scanned: bool,
    pub(crate) scratch: Box<Scratch>,
}

/// Memory for messages under construction.
pub(crate) struct Scratch {
    pub(crate) rtcp: [u8; crate::limits::PACKET_BYTES],
    pub(crate) arrivals: [Option<u64>; TWCC_REPORTED],
    pub(crate) missing: [u64; NACK_BATCH],
    /// What a viewer's feedback says, and of RFC 8888 before it is in order.
    pub(crate) reports: Vec<PacketReport>,
    pub(crate) reported: [Option<ccfb::Arrival>; SENT_PACKETS],
    /// What a viewer's tracks ask for.
    pub(crate) claims: Vec<Claim>,
}

fn none<T>(len: u32) -> Vec<Option<T>> {
    std::iter::repeat_with(|| None).take(len as usize).collect()
}

impl Engine {
    /// An engine that knows no rows yet. The first [`configure`](Self::configure)
    /// reads all that are live, so that a restarted worker goes on.
    pub fn new(config: EngineConfig, tables: WorkerTables) -> Self {
        let capacities = tables.tables().capacities();
        let worker = u16::try_from(tables.worker()).unwrap_or(u16::MAX);
        let rows = capacities.transports.max(capacities.encodings);
        Self {
            worker,
            pool: Pool::new(worker, config.packets),
            timers: Timers::new(rows),
            routes: HashMap::new(),
            addresses: none(capacities.transports),
            transports: none(capacities.transports),
            tracks: none(capacities.tracks),
            encodings: none(capacities.encodings),
            subscriptions: none(capacities.subscriptions),
            children: Children::new(&capacities),
            dirty: Vec::with_capacity(capacities.encodings as usize),
            workbench: Workbench::new(capacities.encodings, capacities.subscriptions),
            touched: Vec::with_capacity(capacities.encodings as usize),
            unreported: Vec::with_capacity(64),
            evict_at: 0,
            troubles: [0; TROUBLES.len()],
            trouble_told: Micros(0),
            torn: Vec::new(),
            changed_transports: Vec::new(),
            scanned: false,
            scratch: Box::new(Scratch {
                rtcp: [0; crate::limits::PACKET_BYTES],
                arrivals: [None; TWCC_REPORTED],
                missing: [0; NACK_BATCH],
                reports: Vec::with_capacity(SENT_PACKETS),
                reported: [None; SENT_PACKETS],
                claims: Vec::new(),
            }),
            tables,
            config,
        }
    }

    /// A transport row that was read anew since it was last given here. Ask after each
    /// [`configure`](Self::configure) until there is none, if the configuration says so.
    pub fn changed_transport(&mut self) -> Option<u32> {
        self.changed_transports.pop()
    }

    /// One received datagram: SRTP or SRTCP as it came from the socket.
    pub fn ingest<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        received: Received<'_>,
        out: &mut O,
    ) {
        let counters = self.tables.counters();
        counters.packets_received.add(1);
        counters.bytes_received.add(received.data.len() as u64);
        let remote = received.remote;
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let received = Received { remote, ..received };
        match self.routes.get(&remote).copied() {
            None => self.drop_packet(DropReason::UnknownAddress),
            Some(route) if route.worker == self.worker => {
                self.dispatch(now, route.transport, (received.data, received.ecn), out);
            }
            Some(route) => self.hand_over(now, route.worker, received, out),
        }
    }

    /// A datagram of one of our own transports.
    fn dispatch<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        transport: u32,
        (datagram, ecn): (&[u8], Ecn),
        out: &mut O,
    ) {
        match classify(datagram) {
            PacketKind::Rtp => self.ingest_rtp(now, transport, (datagram, ecn), out),
            PacketKind::Rtcp => self.ingest_rtcp(now, transport, datagram, out),
            _ => self.drop_of(transport, DropReason::NotMedia),
        }
    }

    fn hand_over<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        worker: u16,
        received: Received<'_>,
        out: &mut O,
    ) {
        let Some(slot) = self.take_packet(now) else {
            return self.drop_packet(DropReason::NoBuffer);
        };
        let fits = self.pool.fill(slot).is_some_and(|packet| {
            (packet.remote, packet.local) = (received.remote, received.local);
            packet.ecn = received.ecn;
            packet.set_datagram(received.data)
        });
        if let Some(packet) = self.pool.share(slot).filter(|_| fits) {
            match out.to_worker(usize::from(worker), PeerMessage::Datagram(packet)) {
                Ok(()) => self.tables.counters().handed_over.add(1),
                Err(_) => self.drop_packet(DropReason::PeerRingFull),
            }
        } else {
            self.drop_packet(DropReason::Truncated);
        }
        self.pool.put_back(slot);
    }

    /// One message of another worker.
    pub fn ingest_peer<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        message: PeerMessage,
        out: &mut O,
    ) {
        match message {
            PeerMessage::Packet(packet) => {
                self.tables.counters().packets_crossed_in.add(1);
                self.enqueue(now, packet, out);
            }
            PeerMessage::Keyframe { encoding } => self.want_keyframe(now, encoding),
            PeerMessage::SenderReport { encoding, mapping } => self.set_mapping(encoding, mapping),
            PeerMessage::Loud { source, loudness } => self.hear(now, source, loudness, out),
            PeerMessage::Seated { seat, source } => self.give_seat(now, seat, source),
            PeerMessage::Datagram(packet) => {
                // Handed over once only: rows that change meanwhile must not send it in circles.
                match self.routes.get(&packet.remote).copied() {
                    Some(route) if route.worker == self.worker => {
                        let datagram = (packet.datagram(), packet.ecn);
                        self.dispatch(now, route.transport, datagram, out);
                    }
                    _ => self.drop_packet(DropReason::UnknownAddress),
                }
            }
        }
    }

    /// The end of a batch of datagrams and messages: fans out what came. After this
    /// the owner sends what is in the batch.
    pub fn flush<O: Output<Message = PeerMessage>>(&mut self, now: Micros, out: &mut O) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.fan_out(now, &dirty, out);
        dirty.clear();
        self.dirty = dirty;
        self.store_touched();
        while let Some(subscription) = self.unreported.pop() {
            self.send_first_report(now, subscription, out);
        }
        self.pool.prepare();
        self.tell_trouble(now);
        let counters = self.tables.counters();
        counters.buffers_used.set(self.pool.used() as u64);
        counters.buffers_total.set(self.pool.total() as u64);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due, if ever.
    pub fn next_timeout(&self) -> Option<Micros> {
        self.timers.next()
    }

    /// Does what is due: feedback, reports, requests again. Followed by sending the batch.
    pub fn handle_timeout<O: Output<Message = PeerMessage>>(&mut self, now: Micros, out: &mut O) {
        while let Some(mut list) = self.timers.begin(now) {
            while let Some((kind, row)) = self.timers.step(&mut list) {
                match kind {
                    TimerKind::Report => self.report(now, row, out),
                    TimerKind::Feedback => self.send_feedback(now, row, out),
                    TimerKind::Nack => self.send_nacks(now, row, out),
                    TimerKind::Keyframe => self.request_keyframe(now, row, out),
                    TimerKind::KeyframeWait => self.wait_for_keyframe(now, row, out),
                    TimerKind::Upkeep => self.upkeep(now, row),
                    TimerKind::Bandwidth => self.tend_bandwidth(now, row),
                    TimerKind::Pacer => self.pace(now, row, out),
                    TimerKind::TornRows => self.read_torn(now),
                }
            }
        }
    }

    /// Tells the control plane of drops that mean that this worker has too little of
    /// something, each second at most.
    fn tell_trouble(&mut self, now: Micros) {
        let drops = &self.tables.counters().drops;
        let counts = TROUBLES.map(|reason| drops[reason as usize].load());
        if counts == self.troubles || now.since(self.trouble_told) < Micros::SECOND {
            return;
        }
        for ((reason, count), before) in TROUBLES.into_iter().zip(counts).zip(self.troubles) {
            if count != before {
                let worker = RowLink {
                    row: u32::from(self.worker),
                    generation: 0,
                };
                let kind = ion_tables::EventKind::WorkerTrouble;
                self.event(now, kind, RowKind::Transport, worker, reason as u64);
            }
        }
        (self.troubles, self.trouble_told) = (counts, now);
    }

    /// Packets of packet memory that are in use: kept in histories, or held by other
    /// workers. Settles what others have given back; for tests and inspection.
    pub fn packets_in_use(&mut self) -> usize {
        self.pool.settle()
    }

    /// Our NTP time, 32.32.
    pub(crate) fn ntp(&self, now: Micros) -> u64 {
        self.config
            .ntp_zero
            .wrapping_add(crate::clock::us_to_ntp(now.0))
    }

    /// Counts a packet dropped.
    pub(crate) fn drop_packet(&self, reason: DropReason) {
        self.tables.counters().drop_packets(reason, 1);
    }

    /// Counts a packet from or for a transport dropped.
    pub(crate) fn drop_of(&self, transport: u32, reason: DropReason) {
        self.drop_packet(reason);
        if let Some(counters) = self.transport_counters(transport) {
            counters.dropped.add(1);
        }
    }

    pub(crate) fn transport_counters(&self, row: u32) -> Option<&TransportCounters> {
        self.tables.tables().counters::<TransportRow>(row)
    }

    pub(crate) fn encoding_counters(&self, row: u32) -> Option<&EncodingCounters> {
        self.tables.tables().counters::<EncodingRow>(row)
    }

    pub(crate) fn subscription_counters(&self, row: u32) -> Option<&SubscriptionCounters> {
        self.tables.tables().counters::<SubscriptionRow>(row)
    }

    pub(crate) fn event(
        &self,
        now: Micros,
        kind: ion_tables::EventKind,
        table: RowKind,
        row: RowLink,
        value: u64,
    ) {
        self.tables.events().push(&Event {
            kind,
            table,
            row,
            value,
            at_us: now.0,
        });
    }

    /// The encoding of a link, if this worker knows it and the link is not stale.
    pub(crate) fn encoding(&mut self, link: RowLink) -> Option<&mut Encoding> {
        self.encodings
            .get_mut(link.row as usize)?
            .as_deref_mut()
            .filter(|encoding| encoding.link == link)
    }

    /// A packet to fill; packets of the histories are given up for it if there is no
    /// other.
    pub(crate) fn take_packet(&mut self, now: Micros) -> Option<u32> {
        if let Some(slot) = self.pool.take() {
            return Some(slot);
        }
        const LOOKS: usize = 8;
        const EVICTED: usize = 32;
        for _ in 0..LOOKS.min(self.children.feeds.len()) {
            self.evict_at = (self.evict_at + 1) % self.children.feeds.len();
            let row = self.children.feeds[self.evict_at];
            let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
                continue;
            };
            let Some(feed) = encoding.feed.as_deref_mut() else {
                continue;
            };
            let pool = &mut self.pool;
            feed.history
                .expire(now + 1, EVICTED, |packet| pool.release(packet));
            if let Some(slot) = self.pool.take() {
                return Some(slot);
            }
        }
        None
    }
}
