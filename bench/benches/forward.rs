//! The engine without the kernel: a picture of ten packets from one publisher to N
//! viewers, sealed into transmit memory. Per forwarded packet.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ion_engine::{Engine, EngineConfig, Micros, Output, PeerMessage, TransmitBatch};
use ion_srtp::{MasterKey, Profile, Sealer};
use ion_tables::{
    Capacities, ControlTables, Encoding, EncodingConfig, RowKind, RowLink, RowRef, Subscription,
    SubscriptionConfig, Tables, Track, TrackConfig, Transport, TransportConfig, TransportSecrets,
    WorkerTables,
};
use ion_wire::CodecKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const PICTURE: usize = 10;
const PAYLOAD: usize = 1_150;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PROFILE: Profile = Profile::AeadAes128Gcm;
const KEY: [u8; 32] = [7; 32];
const SALT: [u8; 16] = [9; 16];

/// Throws away what is sent.
struct Sink(TransmitBatch);

impl Output for Sink {
    type Message = PeerMessage;
    fn batch(&mut self) -> &mut TransmitBatch {
        &mut self.0
    }
    fn transmit(&mut self) {
        self.0.clear();
    }
    fn to_worker(&mut self, _: usize, message: PeerMessage) -> Result<(), PeerMessage> {
        Err(message)
    }
}

fn address(n: u32) -> SocketAddr {
    let [_, _, high, low] = n.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), 5_000)
}

struct Rig {
    engine: Engine,
    sink: Sink,
    sealer: Sealer,
    tables: Arc<Tables>,
    index: u64,
    now: Micros,
}

fn transport(control: &ControlTables, row: u32) -> RowLink {
    let head = control.next_life::<Transport>(row);
    let secrets = TransportSecrets {
        generation: head.generation,
        keyed: 1,
        rx_key: KEY,
        rx_salt: SALT,
        tx_key: KEY,
        tx_salt: SALT,
        ..TransportSecrets::default()
    };
    control.write_secrets(row, &secrets);
    let config = TransportConfig {
        head,
        srtp_profile: PROFILE.id(),
        feedback_ssrc: row + 1,
        remote: address(row).into(),
        local: SocketAddr::new(LOCAL, 7_882).into(),
        ..TransportConfig::default()
    };
    control.write::<Transport>(row, &config);
    RowLink {
        row,
        generation: head.generation,
    }
}

/// Row 0 publishes VP8, rows 1 to `viewers` watch.
fn program(control: &ControlTables, viewers: u32) {
    let publisher = transport(control, 0);
    let encoding = control.next_life::<Encoding>(0);
    let track = control.next_life::<Track>(0);
    let track_link = RowLink {
        row: 0,
        generation: track.generation,
    };
    let mut config = TrackConfig {
        head: track,
        transport: publisher,
        subscriber_workers: 1,
        clock_rate: 90_000,
        kind: TrackConfig::VIDEO,
        codec: CodecKind::Vp8 as u8,
        ..TrackConfig::default()
    };
    config.encodings[0] = RowLink {
        row: 0,
        generation: encoding.generation,
    };
    control.write::<Track>(0, &config);
    let config = EncodingConfig {
        head: encoding,
        track: track_link,
        transport: publisher,
        ssrc: 1,
        clock_rate: 90_000,
        codec: CodecKind::Vp8 as u8,
        payload_type: 96,
        ..EncodingConfig::default()
    };
    control.write::<Encoding>(0, &config);
    for viewer in 1..=viewers {
        let link = transport(control, viewer);
        let config = SubscriptionConfig {
            head: control.next_life::<Subscription>(viewer),
            transport: link,
            track: track_link,
            ssrc: 1_000 + viewer,
            payload_type: 96,
            max_layer: 3,
            clock_rate: 90_000,
            ..SubscriptionConfig::default()
        };
        control.write::<Subscription>(viewer, &config);
    }
    control.announce(
        RowRef {
            kind: RowKind::Track,
            row: 0,
        },
        |_| {},
    );
    for commands in (0..1).filter_map(|worker| control.tables().commands(worker)) {
        commands.ask_rescan();
    }
}

impl Rig {
    fn new(viewers: u32) -> Self {
        let rows = viewers + 1;
        let capacities = Capacities {
            transports: rows,
            tracks: 1,
            encodings: 1,
            subscriptions: rows,
        };
        let tables = Arc::new(Tables::create(capacities, 1, 1, 0).expect("tables"));
        program(&ControlTables::new(Arc::clone(&tables)), viewers);
        let master = MasterKey::from_slices(PROFILE, &KEY[..16], &SALT[..12]).expect("lengths");
        let mut rig = Self {
            engine: Engine::new(
                EngineConfig::default(),
                WorkerTables::new(Arc::clone(&tables), 0),
            ),
            sink: Sink(TransmitBatch::new(256 << 10, 256)),
            sealer: Sealer::new(PROFILE, &master),
            tables,
            index: 1,
            now: Micros(1_000_000),
        };
        rig.engine.configure(rig.now);
        rig.sink.0.clear();
        rig
    }

    /// What is measured must be forwarding, not dropping.
    fn check(&self, viewers: u32, packets: u64) {
        for row in 1..=viewers {
            let sent = self
                .tables
                .counters::<Subscription>(row)
                .map(|c| c.packets_sent.load());
            let worker = self.tables.worker_counters(0).expect("worker 0");
            let drops: Vec<_> = worker.drops.iter().map(ion_tables::Counter::load).collect();
            assert_eq!(
                sent,
                Some(packets),
                "viewer {row}; drops by reason: {drops:?}"
            );
        }
    }

    /// The next picture, sealed by the publisher.
    fn picture(&mut self) -> Vec<Vec<u8>> {
        (0..PICTURE).map(|n| self.packet(n)).collect()
    }

    fn packet(&mut self, n: usize) -> Vec<u8> {
        let mut packet = vec![0; 12 + PAYLOAD + 16];
        packet[0] = 0x80;
        packet[1] = 96 | if n == PICTURE - 1 { 0x80 } else { 0 };
        packet[2..4].copy_from_slice(&self.index.to_be_bytes()[6..]);
        let timestamp = self.index / PICTURE as u64 * 3_000;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes()[4..]);
        packet[8..12].copy_from_slice(&1_u32.to_be_bytes());
        let mut payload = vec![0; PAYLOAD];
        // VP8 payload descriptor: start of partition 0; then a frame header, P = 0: a keyframe.
        payload[0] = if n == 0 { 0x10 } else { 0 };
        self.sealer
            .seal_rtp(12, self.index, 1, &payload, &mut packet)
            .expect("seals");
        self.index += 1;
        packet
    }

    fn forward(&mut self, picture: &[Vec<u8>]) {
        self.now = self.now + 33_333;
        for packet in picture {
            self.engine
                .ingest(self.now, address(0), LOCAL, packet, &mut self.sink);
        }
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
}

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    for viewers in [1, 10, 50, 500] {
        let mut rig = Rig::new(viewers);
        let first = rig.picture();
        rig.forward(&first);
        rig.check(viewers, PICTURE as u64);
        group.throughput(Throughput::Elements(PICTURE as u64 * u64::from(viewers)));
        group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
            b.iter_custom(|rounds| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let picture = rig.picture();
                    let start = std::time::Instant::now();
                    rig.forward(&picture);
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = forward
}
criterion_main!(benches);
