use ion_engine::congestion::Ecn;
use ion_engine::{Engine, EngineConfig, Micros, Output, PeerMessage, Received, TransmitBatch};
use ion_srtp::{MasterKey, Profile, Sealer};
use ion_tables::{
    Capacities, ControlTables, Encoding, EncodingConfig, ExtensionKind, ExtensionMap, RowKind,
    RowLink, RowRef, Subscription, SubscriptionConfig, Tables, Track, TrackConfig, Transport,
    TransportConfig, TransportSecrets, WorkerTables,
};
use ion_wire::CodecKind;
use ion_wire::rtcp::build;
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Packets of a picture.
pub const PICTURE: usize = 10;
/// Payload bytes of a packet.
pub const PAYLOAD: usize = 1_150;
/// Header extension ids on both legs.
pub const MID_ID: u8 = 1;
/// The id of transport-wide numbers.
pub const TRANSPORT_CC_ID: u8 = 3;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PROFILE: Profile = Profile::AeadAes128Gcm;
const KEY: [u8; 32] = [7; 32];
const SALT: [u8; 16] = [9; 16];
const VIDEO_PT: u8 = 96;
const RTX_PT: u8 = 97;
const PUBLISHED_SSRC: u32 = 1;
const VIEWED_SSRC: u32 = 1_000;
const RTX_SSRC: u32 = 1_000_000;
/// From one picture to the next: the time in which a viewer may ask for a whole picture again.
pub const INTERVAL_US: u64 = 40_000;

/// Throws away what is sent.
struct Sink {
    batch: TransmitBatch,
    /// Datagrams sent.
    sent: u64,
    /// Sequence number of the last RTP packet, looked at only if asked for.
    last_sequence: Option<u16>,
    watch: bool,
}

impl Output for Sink {
    type Message = PeerMessage;
    type Frame = Box<[u8]>;

    fn batch(&mut self) -> &mut TransmitBatch {
        &mut self.batch
    }

    fn transmit(&mut self) {
        for send in self.batch.sends() {
            self.sent += send.count as u64;
            if self.watch {
                let last = self.batch.datagrams(send).last();
                let sequence = last
                    .filter(|datagram| datagram.get(1).is_some_and(|pt| pt & 0x7f == VIDEO_PT))
                    .and_then(|datagram| datagram.get(2..4)?.try_into().ok());
                self.last_sequence = sequence.map(u16::from_be_bytes).or(self.last_sequence);
            }
        }
        self.batch.clear();
    }

    fn to_worker(&mut self, _: usize, message: PeerMessage) -> Result<(), PeerMessage> {
        Err(message)
    }
}

/// One worker's engine with one publisher of VP8 and its viewers, in virtual time.
pub struct Rig {
    engine: Engine,
    sink: Sink,
    publisher: Sealer,
    viewer: Sealer,
    tables: Arc<Tables>,
    index: u64,
    rtcp_index: u32,
    now: Micros,
}

fn address(row: u32) -> SocketAddr {
    let [_, _, high, low] = row.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), 5_000)
}

fn received(row: u32, data: &[u8]) -> Received<'_> {
    Received {
        remote: address(row),
        local: LOCAL,
        ecn: Ecn::NotEct,
        data,
    }
}

fn transport(control: &ControlTables, row: u32) -> RowLink {
    let head = control.next_life::<Transport>(row);
    let secrets = TransportSecrets::keyed(head.generation, (KEY, SALT), (KEY, SALT));
    control.write_secrets(row, &secrets);
    let mut extensions = ExtensionMap::default();
    extensions.set(ExtensionKind::Mid, MID_ID);
    extensions.set(ExtensionKind::TransportCc, TRANSPORT_CC_ID);
    let config = TransportConfig {
        head,
        srtp_profile: PROFILE.id(),
        feedback_ssrc: row + 1,
        remote: address(row).into(),
        local: SocketAddr::new(LOCAL, 7_882).into(),
        extensions,
        flags: TransportConfig::TRANSPORT_CC_OUT | TransportConfig::RTCP_REDUCED_SIZE,
        ..TransportConfig::default()
    };
    control.write::<Transport>(row, &config);
    head.link(row)
}

/// Writes the publisher's rows; returns the link of the track.
fn program_track(control: &ControlTables) -> RowLink {
    let publisher = transport(control, 0);
    let encoding = control.next_life::<Encoding>(0);
    let track = control.next_life::<Track>(0);
    let mut config = TrackConfig {
        head: track,
        transport: publisher,
        subscriber_workers: 1,
        clock_rate: 90_000,
        kind: TrackConfig::VIDEO,
        codec: CodecKind::Vp8 as u8,
        ..TrackConfig::default()
    };
    config.encodings[0] = encoding.link(0);
    control.write::<Track>(0, &config);
    let config = EncodingConfig {
        head: encoding,
        track: track.link(0),
        transport: publisher,
        ssrc: PUBLISHED_SSRC,
        clock_rate: 90_000,
        codec: CodecKind::Vp8 as u8,
        payload_type: VIDEO_PT,
        feedback: EncodingConfig::NACK | EncodingConfig::PLI | EncodingConfig::TRANSPORT_CC,
        ..EncodingConfig::default()
    };
    control.write::<Encoding>(0, &config);
    track.link(0)
}

/// Row 0 publishes VP8, rows 1 to `viewers` watch.
fn program(control: &ControlTables, viewers: u32) {
    let track = program_track(control);
    for viewer in 1..=viewers {
        let link = transport(control, viewer);
        let config = SubscriptionConfig {
            head: control.next_life::<Subscription>(viewer),
            transport: link,
            track,
            ssrc: VIEWED_SSRC + viewer,
            rtx_ssrc: RTX_SSRC + viewer,
            payload_type: VIDEO_PT,
            rtx_payload_type: RTX_PT,
            max_layer: 3,
            flags: SubscriptionConfig::NACK,
            clock_rate: 90_000,
            ..SubscriptionConfig::default()
        };
        control.write::<Subscription>(viewer, &config);
    }
    let row = RowRef {
        kind: RowKind::Track,
        row: 0,
    };
    control.announce(row, |_| {});
    if let Some(commands) = control.tables().commands(0) {
        commands.ask_rescan();
    }
}

fn sealer() -> Sealer {
    let master = MasterKey::from_slices(PROFILE, &KEY[..16], &SALT[..12]).expect("lengths");
    Sealer::new(PROFILE, &master)
}

impl Rig {
    /// An engine that has read its rows.
    ///
    /// # Panics
    /// When there is no memory for the tables.
    #[must_use]
    pub fn new(viewers: u32) -> Self {
        let rows = viewers + 1;
        let capacities = Capacities {
            transports: rows,
            tracks: 1,
            encodings: 1,
            subscriptions: rows,
        };
        let tables = Arc::new(Tables::create(capacities, 1, 1, 0).expect("tables"));
        program(&ControlTables::new(Arc::clone(&tables)), viewers);
        let worker = WorkerTables::new(Arc::clone(&tables), 0);
        let mut rig = Self {
            engine: Engine::new(EngineConfig::default(), worker),
            sink: Sink {
                batch: TransmitBatch::new(256 << 10, 256),
                sent: 0,
                last_sequence: None,
                watch: false,
            },
            publisher: sealer(),
            viewer: sealer(),
            tables,
            index: 1,
            rtcp_index: 1,
            now: Micros(1_000_000),
        };
        rig.engine.configure(rig.now);
        rig.sink.batch.clear();
        rig
    }

    /// Runs until what grows at the start has grown: two seconds of packets.
    #[must_use]
    pub fn warmed_up(mut self) -> Self {
        for _ in 0..60 {
            let picture = self.picture(PICTURE);
            self.forward(&picture);
            self.pass_time();
        }
        self
    }

    /// Fails unless every viewer got so many packets since the start: what is measured must be
    /// forwarding, not dropping.
    ///
    /// # Panics
    /// Then.
    pub fn check(&self, viewers: u32, packets: u64) {
        for row in 1..=viewers {
            let counters = self.tables.counters::<Subscription>(row);
            let sent = counters.map(|c| c.packets_sent.load());
            let worker = self.tables.worker_counters(0).expect("worker 0");
            let drops: Vec<_> = worker.drops.iter().map(ion_tables::Counter::load).collect();
            assert_eq!(
                sent,
                Some(packets),
                "viewer {row}; drops by reason: {drops:?}"
            );
        }
    }

    /// Retransmissions to the first viewer.
    #[must_use]
    pub fn retransmitted(&self) -> u64 {
        let counters = self.tables.counters::<Subscription>(1);
        counters.map_or(0, |c| c.retransmitted_sent.load())
    }

    /// Datagrams sent so far, reports among them.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sink.sent
    }

    /// The next picture, of so many packets, sealed by the publisher.
    pub fn picture(&mut self, packets: usize) -> Vec<Vec<u8>> {
        (0..packets).map(|n| self.packet(n, packets)).collect()
    }

    fn packet(&mut self, n: usize, of: usize) -> Vec<u8> {
        let [.., high, low] = self.index.to_be_bytes();
        let picture = u32::try_from((self.now.0 / INTERVAL_US) & 0xffff_ffff).unwrap_or(0);
        let fields = HeaderFields {
            marker: n + 1 == of,
            payload_type: VIDEO_PT,
            sequence: u16::from_be_bytes([high, low]),
            timestamp: picture.wrapping_mul(3_600),
            ssrc: PUBLISHED_SSRC,
        };
        let mut packet = vec![0; 64 + PAYLOAD];
        let mut writer =
            HeaderWriter::new(&mut packet, &fields, ExtForm::OneByte).expect("it fits");
        writer.push_extension(MID_ID, b"1").expect("it fits");
        writer
            .push_extension(TRANSPORT_CC_ID, &[high, low])
            .expect("it fits");
        let header = writer.finish();
        let mut payload = vec![0; PAYLOAD];
        // VP8 payload descriptor: start of partition 0; then a frame header, P = 0: a keyframe.
        payload[0] = if n == 0 { 0x10 } else { 0 };
        let len = self
            .publisher
            .seal_rtp(header, self.index, PUBLISHED_SSRC, &payload, &mut packet)
            .expect("seals");
        packet.truncate(len);
        self.index += 1;
        packet
    }

    /// Forwards a picture to all viewers.
    pub fn forward(&mut self, picture: &[Vec<u8>]) {
        for packet in picture {
            self.engine
                .ingest(self.now, received(0, packet), &mut self.sink);
        }
        self.engine.flush(self.now, &mut self.sink);
        self.sink.transmit();
    }

    /// Forwards a picture, and looks which sequence number the last packet had.
    ///
    /// # Panics
    /// When nothing was forwarded.
    pub fn forward_watched(&mut self, picture: &[Vec<u8>]) -> u16 {
        self.sink.watch = true;
        self.forward(picture);
        self.sink.watch = false;
        self.sink.last_sequence.expect("something was forwarded")
    }

    /// The first viewer's request for the packets up to `last`, sealed.
    ///
    /// # Panics
    /// When there are more than fit a request.
    pub fn nack(&mut self, last: u16, packets: usize) -> Vec<u8> {
        let back = (0..=u16::MAX).take(packets).rev();
        let sequences: Vec<_> = back.map(|n| last.wrapping_sub(n)).collect();
        let (mut plain, mut sealed) = ([0; 256], vec![0; 512]);
        let len = build::nack(&mut plain, 77, VIEWED_SSRC + 1, &sequences).expect("it fits");
        let len = self
            .viewer
            .seal_rtcp(self.rtcp_index, &plain[..len], &mut sealed)
            .expect("seals");
        self.rtcp_index += 1;
        sealed.truncate(len);
        sealed
    }

    /// One datagram of the first viewer, and whatever it causes.
    pub fn from_viewer(&mut self, datagram: &[u8]) {
        self.engine
            .ingest(self.now, received(1, datagram), &mut self.sink);
        self.engine.flush(self.now, &mut self.sink);
        self.sink.transmit();
    }

    /// To the next picture, without what is due.
    pub fn skip(&mut self) {
        self.now = self.now + INTERVAL_US;
    }

    /// Does what is due: feedback, reports, upkeep; and reads rows.
    pub fn timers(&mut self) {
        if self
            .engine
            .next_timeout()
            .is_some_and(|due| due <= self.now)
        {
            self.engine.handle_timeout(self.now, &mut self.sink);
        }
        self.engine.flush(self.now, &mut self.sink);
        self.sink.transmit();
        self.engine.configure(self.now);
    }

    /// To the next picture, with what is due on the way.
    pub fn pass_time(&mut self) {
        self.skip();
        self.timers();
    }
}
