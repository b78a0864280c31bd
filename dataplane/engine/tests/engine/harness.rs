//! Publishers, viewers and workers in virtual time: the other ends of an engine.
//!
//! Every packet that a client gets is opened with the client's own keys, and no SRTP
//! index may ever be seen with two contents: that is checked here, for every test.

use ion_engine::congestion::Ecn;
use ion_engine::{Engine, EngineConfig, Micros, Output, PeerMessage, Received, TransmitBatch};
use ion_srtp::opener::rtcp_ssrc;
use ion_srtp::{MasterKey, Opener, Profile, RtcpRx, RxIndex, Sealer, SrtpError};
use ion_tables::rows::HasHead;
use ion_tables::*;
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter, RtpHeader, RtpView};
use ion_wire::{CodecKind, PacketKind, classify};
use std::collections::HashMap;
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

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub header: RtpHeader,
    pub index: u64,
    pub payload: Vec<u8>,
    /// All of it, in plain.
    pub plain: Vec<u8>,
    /// Extensions, by the viewer's ids.
    pub extensions: Vec<(ExtensionKind, Vec<u8>)>,
    /// Byte by byte what had been received before.
    pub again: bool,
    pub at: Micros,
}

impl Got {
    pub fn extension(&self, kind: ExtensionKind) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, value)| &value[..])
    }
}

pub struct Client {
    pub address: SocketAddr,
    pub row: RowLink,
    pub worker: usize,
    pub map: ExtensionMap,
    sealer: Sealer,
    opener: Opener,
    rx: HashMap<u32, RxIndex>,
    rtcp_rx: HashMap<u32, RtcpRx>,
    seen: HashMap<(u32, u64), Vec<u8>>,
    rtcp_index: u32,
    pub rtp: Vec<Got>,
    /// Compounds, in order.
    pub rtcp: Vec<(Micros, Vec<u8>)>,
}

impl Client {
    /// RTP got under an SSRC.
    pub fn of(&self, ssrc: u32) -> Vec<&Got> {
        self.rtp.iter().filter(|g| g.header.ssrc == ssrc).collect()
    }

    /// Seals an RTP packet as this client.
    pub fn seal(&mut self, spec: &Rtp) -> Vec<u8> {
        let (header_len, plain) = spec.plain();
        let mut buffer = vec![0; 2_048];
        buffer[..header_len].copy_from_slice(&plain[..header_len]);
        let payload = &plain[header_len..];
        let len = self
            .sealer
            .seal_rtp(header_len, spec.index, spec.ssrc, payload, &mut buffer)
            .unwrap();
        buffer.truncate(len);
        buffer
    }

    /// Seals an RTCP compound as this client.
    pub fn seal_rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 2_048];
        let index = self.rtcp_index;
        self.rtcp_index += 1;
        let len = self.sealer.seal_rtcp(index, compound, &mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    pub fn receive(&mut self, now: Micros, datagram: &[u8]) {
        let mut plain = vec![0; 2_048];
        if classify(datagram) == PacketKind::Rtcp {
            let ssrc = rtcp_ssrc(datagram).unwrap();
            let rx = self.rtcp_rx.entry(ssrc).or_default();
            let len = self.opener.open_rtcp(datagram, rx, &mut plain).unwrap();
            plain.truncate(len);
            ion_wire::rtcp::Compound::check(&plain).expect("well-formed compound");
            self.rtcp.push((now, plain));
            return;
        }
        let header = RtpHeader::parse(datagram).unwrap();
        let rx = self.rx.entry(header.ssrc).or_default();
        let index = rx.estimate(header.sequence).unwrap();
        let key = (header.ssrc, index);
        let header_len = usize::from(header.header_len);
        let mut again = false;
        let opened = self.opener.open_rtp(
            header_len,
            header.ssrc,
            header.sequence,
            datagram,
            rx,
            &mut plain,
        );
        let len = match opened {
            Ok(len) => len,
            // Behind the client's window, and new all the same: it came very late.
            Err(error @ (SrtpError::Replayed | SrtpError::TooOld)) => {
                let before = self.seen.get(&key).map(Vec::as_slice);
                again = before.is_some();
                assert!(
                    before == Some(datagram) || (!again && error == SrtpError::TooOld),
                    "index {index} of {} sealed for two contents",
                    header.ssrc
                );
                let mut fresh = RxIndex::restore(index.checked_sub(1));
                self.opener
                    .open_rtp(
                        header_len,
                        header.ssrc,
                        header.sequence,
                        datagram,
                        &mut fresh,
                        &mut plain,
                    )
                    .unwrap()
            }
            Err(error) => panic!("client cannot open what it was sent: {error}"),
        };
        self.seen.entry(key).or_insert_with(|| datagram.to_vec());
        let view = RtpView::parse(&plain[..len]).expect("well-formed RTP");
        let extensions = view
            .extensions()
            .map(|element| {
                let (id, value) = element.unwrap();
                let kind = self.map.kind(id).expect("only negotiated extensions");
                (kind, value.to_vec())
            })
            .collect();
        self.rtp.push(Got {
            header: *view.header(),
            index,
            payload: view.payload().to_vec(),
            plain: plain[..len].to_vec(),
            extensions,
            again,
            at: now,
        });
    }
}

/// An RTP packet to be sent by a client.
#[derive(Debug, Clone)]
pub struct Rtp {
    pub ssrc: u32,
    pub pt: u8,
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub padding: u8,
    pub extensions: Vec<(ExtensionKind, Vec<u8>)>,
}

impl Rtp {
    pub fn new(ssrc: u32, pt: u8, index: u64, timestamp: u32, payload: &[u8]) -> Self {
        Self {
            ssrc,
            pt,
            index,
            timestamp,
            marker: false,
            payload: payload.to_vec(),
            padding: 0,
            extensions: Vec::new(),
        }
    }

    /// The packet before it is sealed, and the length of its header.
    pub fn plain(&self) -> (usize, Vec<u8>) {
        let mut buffer = vec![0; 2_048];
        #[expect(clippy::cast_possible_truncation, reason = "low half")]
        let fields = HeaderFields {
            marker: self.marker,
            payload_type: self.pt,
            sequence: self.index as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let form = self
            .extensions
            .iter()
            .fold(ExtForm::OneByte, |form, (kind, value)| {
                form.and(ExtForm::fitting(publisher_id(*kind), value.len()))
            });
        let mut writer = HeaderWriter::new(&mut buffer, &fields, form).unwrap();
        for (kind, value) in &self.extensions {
            writer.push_extension(publisher_id(*kind), value).unwrap();
        }
        let header_len = writer.finish();
        buffer.truncate(header_len);
        buffer.extend(&self.payload);
        if self.padding > 0 {
            buffer[0] |= 0x20;
            buffer.resize(buffer.len() + usize::from(self.padding) - 1, 0);
            buffer.push(self.padding);
        }
        (header_len, buffer)
    }

    pub fn with(mut self, kind: ExtensionKind, value: &[u8]) -> Self {
        self.extensions.push((kind, value.to_vec()));
        self
    }

    pub fn padded(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }
}

/// A VP8 payload: one packet of a picture.
pub fn vp8(keyframe: bool, tag: u64) -> Vec<u8> {
    let mut payload = vec![0x10, u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a];
    payload.extend(tag.to_be_bytes());
    payload
}

/// Payload types at publishers and viewers.
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;
pub const OPUS: u8 = 111;
pub const RED: u8 = 63;
pub const FEC: u8 = 49;
pub const V_VP8: u8 = 120;
pub const V_RTX: u8 = 121;
pub const V_OPUS: u8 = 109;
pub const V_RED: u8 = 110;
pub const V_FEC: u8 = 122;

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

    /// Writes a row and has it read.
    pub fn write<R: Row>(&mut self, row: u32, config: &R::Config) {
        assert!(self.control.write::<R>(row, config));
        self.control.announce(RowRef { kind: R::KIND, row }, |_| {});
        self.configure();
    }

    pub fn free<R: Row>(&mut self, row: u32) {
        self.control.free::<R>(row);
        self.control.announce(RowRef { kind: R::KIND, row }, |_| {});
        self.configure();
    }

    pub fn row<R: Row>(&mut self) -> (u32, RowHead) {
        let row = self.next[R::KIND as usize - 1];
        self.next[R::KIND as usize - 1] += 1;
        (row, self.control.next_life::<R>(row))
    }

    pub fn edit<R: Row>(&mut self, row: u32, edit: impl FnOnce(&mut R::Config)) {
        let mut config = self.tables.config::<R>(row).unwrap().read().unwrap();
        edit(&mut config);
        self.write::<R>(row, &config);
    }

    pub fn link<R: Row>(&self, row: u32) -> RowLink {
        let config = self.tables.config::<R>(row).unwrap().read().unwrap();
        RowLink {
            row,
            generation: config.head().generation,
        }
    }

    /// A client with all extensions; publishers and viewers differ in their ids only.
    pub fn client(&mut self, worker: usize, viewer: bool) -> usize {
        let mut map = ExtensionMap::default();
        for kind in KINDS {
            map.set(
                kind,
                if viewer {
                    viewer_id(kind)
                } else {
                    publisher_id(kind)
                },
            );
        }
        let flags = if viewer {
            TransportConfig::TRANSPORT_CC_OUT
        } else {
            0
        };
        self.client_with(worker, map, flags, Profile::AeadAes128Gcm)
    }

    pub fn client_with(
        &mut self,
        worker: usize,
        map: ExtensionMap,
        flags: u32,
        profile: Profile,
    ) -> usize {
        let (row, head) = self.row::<Transport>();
        let port = 10_000 + u16::try_from(row).unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let fill = |first: u8| {
            let mut key = [0; 32];
            key[..profile.key_len()].fill(first);
            key[0] = u8::try_from(row).unwrap();
            let mut salt = [0; 16];
            salt[..profile.salt_len()].fill(first ^ 0x55);
            (key, salt)
        };
        let ((rx_key, rx_salt), (tx_key, tx_salt)) = (fill(0x11), fill(0x22));
        let secrets = TransportSecrets {
            generation: head.generation,
            keyed: 1,
            rx_key,
            rx_salt,
            tx_key,
            tx_salt,
            ..TransportSecrets::default()
        };
        self.control.write_secrets(row, &secrets);
        let config = TransportConfig {
            head,
            worker: u16::try_from(worker).unwrap(),
            srtp_profile: profile.id(),
            feedback_ssrc: 0xFEED_0000 + row,
            remote: address.into(),
            local: SocketAddr::new(LOCAL, 7_882).into(),
            extensions: map,
            flags,
            cname: Text::new("ion").unwrap(),
            ..TransportConfig::default()
        };
        self.write::<Transport>(row, &config);
        let master =
            |key: [u8; 32], salt: [u8; 16]| MasterKey::new(key, salt[..14].try_into().unwrap());
        self.clients.push(Client {
            address,
            row: RowLink {
                row,
                generation: head.generation,
            },
            worker,
            map,
            sealer: Sealer::new(profile, &master(rx_key, rx_salt)),
            opener: Opener::new(profile, &master(tx_key, tx_salt)),
            rx: HashMap::new(),
            rtcp_rx: HashMap::new(),
            seen: HashMap::new(),
            rtcp_index: 0,
            rtp: Vec::new(),
            rtcp: Vec::new(),
        });
        self.clients.len() - 1
    }

    /// A track of a client with one encoding for each function, which sets what
    /// differs from the usual. Returns the track's row; encodings are read from it.
    pub fn track(
        &mut self,
        client: usize,
        video: bool,
        encodings: &[&dyn Fn(&mut EncodingConfig)],
    ) -> u32 {
        let (row, head) = self.row::<Track>();
        let track = RowLink {
            row,
            generation: head.generation,
        };
        let (transport, worker) = (self.clients[client].row, self.clients[client].worker);
        let worker = u16::try_from(worker).unwrap();
        let mut codec = u8::from(if video {
            CodecKind::Vp8
        } else {
            CodecKind::Opus
        });
        let clock_rate = if video { 90_000 } else { 48_000 };
        let mut links = [RowLink::default(); TrackConfig::MAX_ENCODINGS];
        for (layer, edit) in encodings.iter().enumerate() {
            let (row, head) = self.row::<Encoding>();
            links[layer] = RowLink {
                row,
                generation: head.generation,
            };
            let mut config = EncodingConfig {
                head,
                track,
                transport,
                clock_rate,
                worker,
                layer: u8::try_from(layer).unwrap(),
                codec,
                payload_type: if video { VP8 } else { OPUS },
                rtx_payload_type: if video { VP8_RTX } else { 0 },
                red_payload_type: if video { 0 } else { RED },
                feedback: if video {
                    EncodingConfig::NACK | EncodingConfig::PLI | EncodingConfig::TRANSPORT_CC
                } else {
                    EncodingConfig::TRANSPORT_CC
                },
                mid: Text::new(if video { "1" } else { "0" }).unwrap(),
                ..EncodingConfig::default()
            };
            edit(&mut config);
            codec = config.codec;
            self.write::<Encoding>(row, &config);
        }
        let config = TrackConfig {
            head,
            transport,
            encodings: links,
            subscriber_workers: 0,
            clock_rate,
            worker,
            kind: if video {
                TrackConfig::VIDEO
            } else {
                TrackConfig::AUDIO
            },
            codec,
            ..TrackConfig::default()
        };
        self.write::<Track>(row, &config);
        row
    }

    pub fn video(&mut self, client: usize) -> u32 {
        self.track(client, true, &[&|_| ()])
    }

    pub fn audio(&mut self, client: usize) -> u32 {
        self.track(client, false, &[&|_| ()])
    }

    /// Rows of a track's encodings.
    pub fn encodings(&self, track: u32) -> Vec<RowLink> {
        let config = self.tables.config::<Track>(track).unwrap().read().unwrap();
        config
            .encodings
            .into_iter()
            .filter(|l| l.is_some())
            .collect()
    }

    /// A client watches a track. Returns the row; the SSRC is 1,000 times row plus one,
    /// that of RTX one more.
    pub fn subscribe(&mut self, client: usize, track: u32) -> u32 {
        self.subscribe_with(client, track, |_| ())
    }

    pub fn subscribe_with(
        &mut self,
        client: usize,
        track: u32,
        edit: impl FnOnce(&mut SubscriptionConfig),
    ) -> u32 {
        let (row, head) = self.row::<Subscription>();
        let source = self.tables.config::<Track>(track).unwrap().read().unwrap();
        let video = source.kind == TrackConfig::VIDEO;
        let worker = self.clients[client].worker;
        let mut config = SubscriptionConfig {
            head,
            transport: self.clients[client].row,
            track: self.link::<Track>(track),
            ssrc: media_ssrc(row),
            rtx_ssrc: if video { media_ssrc(row) + 1 } else { 0 },
            worker: u16::try_from(worker).unwrap(),
            payload_type: if video { V_VP8 } else { V_OPUS },
            rtx_payload_type: if video { V_RTX } else { 0 },
            red_payload_type: if video { 0 } else { V_RED },
            max_layer: 3,
            flags: SubscriptionConfig::NACK,
            mid: Text::new("v").unwrap(),
            clock_rate: source.clock_rate,
            ..SubscriptionConfig::default()
        };
        edit(&mut config);
        self.write::<Subscription>(row, &config);
        self.edit::<Track>(track, |t| t.subscriber_workers |= 1 << worker);
        row
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

pub fn media_ssrc(subscription: u32) -> u32 {
    1_000 * (subscription + 1)
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

/// A NACK of a viewer.
pub fn nack(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    let mut buffer = vec![0; 1_400];
    let len = ion_wire::rtcp::build::nack(&mut buffer, 7, ssrc, sequences).unwrap();
    buffer.truncate(len);
    buffer
}

/// A PLI of a viewer.
pub fn pli(ssrc: u32) -> Vec<u8> {
    let mut buffer = vec![0; 64];
    let len = ion_wire::rtcp::build::pli(&mut buffer, 7, ssrc).unwrap();
    buffer.truncate(len);
    buffer
}
