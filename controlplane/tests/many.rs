//! A room with two thousand viewers is taken up again: what that costs, in operations.

mod common;

use common::{Folder, Plane, config};
use ion_api::names::{Identity, RoomName, SessionId};
use ion_controlplane::core::Core;
use ion_controlplane::metrics::Metrics;
use ion_controlplane::record::{
    Bounds, Codec, Feedback, Kind, Media, Payload, Played, Published, PublishedEncoding, Record,
};
use ion_controlplane::store::Store;
use ion_sdp::{CodecKind, Fmtp, TrackCodec};
use ion_tables::{
    Capacities, ControlTables, HasHead, Row, RowLink, Subscription, SubscriptionConfig, Text,
    Track, Transport, TransportConfig, TransportSecrets,
};
use std::net::SocketAddr;
use std::sync::Arc;

const EPOCH: u64 = 1;
const WORKERS: usize = 2;
const ROOMS: u32 = 2;
const VIEWERS: u32 = 2_000;

fn codec(kind: CodecKind) -> Codec {
    let fmtp = Fmtp::default();
    Codec(TrackCodec { kind, fmtp })
}

fn kinds() -> [(Kind, Codec); 2] {
    [
        (Kind::Audio, codec(CodecKind::Opus)),
        (Kind::Video, codec(CodecKind::Vp8)),
    ]
}

/// Rows and records as an earlier process left them, every session connected.
struct Past {
    control: ControlTables,
    store: Store,
    transports: u32,
    tracks: u32,
    subscriptions: u32,
}

impl Past {
    fn new(folder: &Folder, plane: &Plane) -> Self {
        Self {
            control: ControlTables::new(Arc::clone(&plane.tables)),
            store: Store::open(&folder.0).unwrap().0,
            transports: 0,
            tracks: 0,
            subscriptions: 0,
        }
    }

    fn row<R: Row>(&self, row: u32, mut config: R::Config) -> RowLink {
        let head = self.control.next_life::<R>(row);
        config.set_head(head);
        self.control.write::<R>(row, &config);
        let generation = head.generation;
        RowLink { row, generation }
    }

    fn session(&mut self, room: u32, media: impl FnOnce(&mut Self, RowLink) -> Media) {
        let n = self.transports;
        self.transports += 1;
        let id = SessionId::random().unwrap();
        let address = |port: u32| {
            let port = u16::try_from(port).unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        let config = TransportConfig {
            session: Text::new(id.as_str()).unwrap(),
            srtp_profile: 7,
            local: address(1).into(),
            remote: address(1_024 + n).into(),
            worker: worker_of(n),
            ..TransportConfig::default()
        };
        let row = self.row::<Transport>(n, config);
        let secrets = TransportSecrets {
            generation: row.generation,
            keyed: 1,
            local_ufrag: Text::new(&format!("ufrag{n}")).unwrap(),
            local_pwd: Text::new("passwordpasswordpassword").unwrap(),
            ..TransportSecrets::default()
        };
        self.control.write_secrets(n, &secrets);
        let media = media(self, row);
        let room = RoomName::parse(&format!("r{room}")).unwrap();
        let identity = Identity::parse(&format!("p{n}")).unwrap();
        let ordinal = u64::from(n) + 1;
        let mut record = Record::new(id.as_str().to_owned(), ordinal, room, identity, media);
        record.row = row.into();
        self.store.put(EPOCH, &record).unwrap();
    }

    /// A publisher; the rows of its tracks.
    fn publisher(&mut self, room: u32) -> Vec<RowLink> {
        let mut rows = Vec::new();
        self.session(room, |past, _| {
            let tracks = kinds().map(|(kind, codec)| {
                let n = past.tracks;
                past.tracks += 1;
                let row = past.row::<Track>(n, ion_tables::TrackConfig::default());
                rows.push(row);
                let encoding = past.row::<ion_tables::Encoding>(n, Default::default());
                Published {
                    id: ion_api::signal::PublicationId(1_000_000 + u64::from(n)),
                    kind,
                    mid: String::new(),
                    codec,
                    pt: 96,
                    rtx_pt: None,
                    red_pt: None,
                    fec_pt: None,
                    feedback: Feedback::default(),
                    encodings: vec![PublishedEncoding {
                        rid: String::new(),
                        ssrc: Some(n + 1),
                        rtx_ssrc: None,
                        fec_ssrc: None,
                        row: encoding.into(),
                    }],
                    row: row.into(),
                }
            });
            Media::Publish(tracks.into())
        });
        rows
    }

    fn viewer(&mut self, room: u32, tracks: &[RowLink]) {
        self.session(room, |past, transport| {
            let slots = kinds()
                .into_iter()
                .zip(tracks)
                .map(|((kind, codec), track)| {
                    let n = past.subscriptions;
                    past.subscriptions += 1;
                    let config = SubscriptionConfig {
                        transport,
                        track: *track,
                        ..SubscriptionConfig::default()
                    };
                    let payload = Payload {
                        codec,
                        pt: 96,
                        rtx_pt: None,
                        red_pt: None,
                        feedback: Feedback::default(),
                    };
                    Played {
                        kind,
                        mid: String::new(),
                        ssrc: n + 1,
                        rtx_ssrc: None,
                        fec: None,
                        payloads: vec![payload],
                        section: 0,
                        bounds: Bounds::default(),
                        row: past.row::<Subscription>(n, config).into(),
                    }
                });
            Media::Play(slots.collect())
        });
    }
}

fn worker_of(transport: u32) -> u16 {
    u16::try_from(transport).unwrap() % u16::try_from(WORKERS).unwrap()
}

#[tokio::test]
async fn taking_up_a_room_looks_at_each_viewer_a_few_times_only() {
    let folder = Folder::new();
    let capacities = Capacities {
        transports: ROOMS * (VIEWERS + 1),
        tracks: 2 * ROOMS,
        encodings: 2 * ROOMS,
        subscriptions: 2 * ROOMS * VIEWERS,
    };
    let plane = Plane::with(&folder.0, EPOCH, WORKERS, capacities);
    let mut past = Past::new(&folder, &plane);
    for room in 0..ROOMS {
        let tracks = past.publisher(room);
        for _ in 0..VIEWERS {
            past.viewer(room, &tracks);
        }
    }
    drop(past);
    let began = std::time::Instant::now();
    let core = Core::start(config(&folder.0), Arc::new(Metrics::new()))
        .await
        .unwrap();
    eprintln!("{} sessions taken up in {:?}", core.len(), began.elapsed());
    let sessions = usize::try_from(ROOMS * (VIEWERS + 1)).unwrap();
    assert_eq!(core.len(), sessions);
    let bindings = u64::from(2 * ROOMS * VIEWERS);
    let visited = core.bindings_visited();
    assert!(
        visited <= 3 * bindings,
        "{visited} looks at {bindings} bindings"
    );
    assert!(visited >= bindings, "each was looked at");
    for (row, track) in plane.tables.live::<Track>() {
        assert_eq!(track.subscriber_workers, 0b11, "track {row}");
    }
}
