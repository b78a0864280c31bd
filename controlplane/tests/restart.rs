//! The control plane dies and returns; the dataplane dies and returns.

mod common;

use common::client::{Answered, Client, OfferOf, PLAY, PUBLISH};
use common::{Folder, Plane, Server, answer, config, wait};
use ion_api::backend::{Backend, Patched};
use ion_api::govern::AudioSettings;
use ion_api::if_match::IfMatch;
use ion_api::model::{Role, SessionState};
use ion_api::names::RoomName;
use ion_controlplane::core::StartError;
use ion_controlplane::rooms::{Input, Settings};
use ion_dtls::{DtlsSession, DtlsVersion};
use ion_tables::attach::AttachError;
use ion_tables::{
    Encoding, Event, EventKind, Row, RowKind, RowLink, Subscription, SubscriptionState, Tables,
    Track, TrackConfig, Transport, WorkerTables,
};
use std::sync::Arc;
use std::time::Instant;

struct Party {
    folder: Folder,
    plane: Plane,
    server: Server,
    ann: Client,
    ann_to: Answered,
    vera: Client,
    vera_to: Answered,
}

/// One publisher and one viewer, connected.
async fn party(workers: usize) -> Party {
    party_with(workers, ion_dtls::Config::default()).await
}

async fn party_with(workers: usize, dtls: ion_dtls::Config) -> Party {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, workers);
    let server = Server::start(&folder.0).await;
    let mut ann = Client::with(dtls.clone()).await;
    let mut vera = Client::with(dtls).await;
    let created = server
        .publish("r", "ann", ann.offer(&PUBLISH))
        .await
        .unwrap();
    let ann_to = Answered::new("r", Role::Publisher, &created);
    ann.connect(&ann_to).await;
    connected(&server, "ann").await;
    let created = answer(server.play("r", "vera", vera.offer(&PLAY)).await.unwrap());
    let vera_to = Answered::new("r", Role::Viewer, &created);
    vera.connect(&vera_to).await;
    connected(&server, "vera").await;
    Party {
        folder,
        plane,
        server,
        ann,
        ann_to,
        vera,
        vera_to,
    }
}

async fn connected(server: &Server, who: &str) {
    let state = (who.to_owned(), SessionState::Connected);
    wait("a participant to connect", async || {
        server.states("r").await.contains(&state)
    })
    .await;
}

/// Every live row of a table, as bytes.
fn rows<R: Row>(tables: &Tables) -> Vec<(u32, Vec<u8>)> {
    use zerocopy::IntoBytes;
    tables
        .live::<R>()
        .map(|(row, config)| (row, config.as_bytes().to_vec()))
        .collect()
}

type AllRows = [Vec<(u32, Vec<u8>)>; 4];

fn all_rows(tables: &Tables) -> AllRows {
    [
        rows::<Transport>(tables),
        rows::<Track>(tables),
        rows::<Encoding>(tables),
        rows::<Subscription>(tables),
    ]
}

#[tokio::test]
async fn everything_goes_on_after_the_control_plane_was_killed() {
    let Party {
        folder,
        plane,
        server,
        ann,
        ann_to,
        vera,
        vera_to,
    } = party(2).await;
    let before = all_rows(&plane.tables);
    server.kill().await;
    // A check that comes while nobody is there waits in the socket.
    ann.send(&ann_to, &ann.check(&ann_to, false, 42)).await;
    let server = Server::start(&folder.0).await;
    let reply = ann.receive_stun().await;
    assert_eq!((reply[0], reply[1], reply[8]), (1, 1, 42));
    assert!(vera.ping(&vera_to, false).await);
    assert_eq!(
        all_rows(&plane.tables),
        before,
        "nothing was written that stood there"
    );
    assert_eq!(server.metric("ion_sessions_resumed_total").await, 2);
    connected(&server, "ann").await;
    connected(&server, "vera").await;
    let tracks = server
        .handle
        .tracks(ann_to.session.room.clone(), "ann".parse().unwrap())
        .await;
    assert_eq!(
        tracks
            .unwrap()
            .iter()
            .map(|t| t.viewers)
            .collect::<Vec<_>>(),
        [1, 1]
    );

    // An ICE restart, by the entity tag that the first process gave out.
    let restart = format!("a=ice-ufrag:another\r\na=ice-pwd:{}\r\n", ann.pwd);
    let tag = IfMatch::Tags(vec![ann_to.etag.clone()]);
    let patched = server
        .handle
        .trickle_or_restart(ann_to.session.clone(), tag, restart)
        .await;
    let Patched::Restarted { frag, .. } = patched.unwrap() else {
        panic!("no restart")
    };
    let frag = ion_sdp::SdpFragment::parse(frag.as_bytes()).unwrap();
    let mut fresh = ann_to.clone();
    (fresh.ufrag, fresh.pwd) = (frag.ufrag.unwrap(), frag.pwd.unwrap());
    assert!(ann.ping(&fresh, true).await);

    // A new viewer; DELETE of an old one; a second kill, and DELETE of the publisher.
    let mut carl = Client::new().await;
    let created = answer(server.play("r", "carl", carl.offer(&PLAY)).await.unwrap());
    carl.connect(&Answered::new("r", Role::Viewer, &created))
        .await;
    connected(&server, "carl").await;
    server.end(&vera_to.session).await.unwrap();
    assert_eq!(plane.tables.live::<Subscription>().count(), 2);
    server.stop().await;
    let server = Server::start(&folder.0).await;
    assert!(
        ann.ping(&fresh, false).await,
        "the restarted credentials too"
    );
    server.end(&ann_to.session).await.unwrap();
    assert_eq!(plane.tables.live::<Transport>().count(), 1);
    let waits = plane
        .tables
        .live::<Subscription>()
        .all(|(_, s)| !s.track.is_some());
    assert!(waits, "carl stays, and waits for a publisher");
}

#[tokio::test]
async fn trickle_is_told_from_an_ice_restart_after_the_control_plane_was_killed() {
    let Party {
        folder,
        plane,
        server,
        ann,
        ann_to,
        ..
    } = party(1).await;
    let fragment = |ufrag: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
             a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n",
            ann.pwd
        )
    };
    let patch = async |server: &Server, text: String| {
        let session = ann_to.session.clone();
        let patched = server
            .handle
            .trickle_or_restart(session, IfMatch::Any, text);
        patched.await.unwrap()
    };
    server.kill().await;
    let server = Server::start(&folder.0).await;
    let before = all_rows(&plane.tables);
    let trickled = patch(&server, fragment(&ann.ufrag)).await;
    assert_eq!(trickled, Patched::NoContent);
    assert!(ann.ping(&ann_to, false).await);
    let restarted = patch(&server, fragment("second")).await;
    let Patched::Restarted { frag, .. } = restarted else {
        panic!("no restart")
    };
    server.kill().await;
    let server = Server::start(&folder.0).await;
    // Of the ICE session that is, and of the one that was.
    for ufrag in ["second", &ann.ufrag] {
        let trickled = patch(&server, fragment(ufrag)).await;
        assert_eq!(trickled, Patched::NoContent, "{ufrag}");
    }
    let frag = ion_sdp::SdpFragment::parse(frag.as_bytes()).unwrap();
    let mut fresh = ann_to.clone();
    (fresh.ufrag, fresh.pwd) = (frag.ufrag.unwrap(), frag.pwd.unwrap());
    assert!(ann.ping(&fresh, true).await);
    // Of many earlier ones only some are kept in mind.
    for n in 0..10 {
        let again = patch(&server, fragment(&format!("ufrag{n}"))).await;
        assert!(matches!(again, Patched::Restarted { .. }), "{n}");
    }
    let forgotten = patch(&server, fragment("second")).await;
    assert!(matches!(forgotten, Patched::Restarted { .. }));
    assert_eq!(all_rows(&plane.tables)[1..], before[1..]);
}

#[tokio::test]
async fn dtls_that_nothing_can_read_any_more_disturbs_nothing() {
    for max_version in [DtlsVersion::V1_2, DtlsVersion::V1_3] {
        let dtls = ion_dtls::Config {
            max_version,
            ..Default::default()
        };
        let Party {
            folder,
            plane,
            server,
            ann,
            ann_to,
            mut vera,
            vera_to,
        } = party_with(1, dtls).await;
        let before = all_rows(&plane.tables);
        server.kill().await;
        let server = Server::start(&folder.0).await;
        // A goodbye cannot be verified: it is counted, and consent decides.
        vera.close(&vera_to).await;
        let alerts = "ion_control_dropped_total{reason=\"inherited_dtls_alert\"}";
        server.wait_metric(alerts, 1).await;
        assert!(vera.ping(&vera_to, false).await);
        // Takes what the handshake has left in the socket.
        assert!(ann.ping(&ann_to, false).await);
        // A hello that anybody could send is not worth the keys of a session that works.
        let nobody = ann.fingerprint.parse().unwrap();
        let mut hello = ann.endpoint.connect(Instant::now(), &[nobody]).unwrap();
        let mut sent = 0;
        while let Some(datagram) = hello.poll_datagram() {
            ann.send(&ann_to, &datagram).await;
            sent += 1;
        }
        let others = "ion_control_dropped_total{reason=\"inherited_dtls\"}";
        server.wait_metric(others, sent).await;
        ann.send(&ann_to, &ann.check(&ann_to, false, 5)).await;
        let answer = ann.receive().await.unwrap();
        assert_eq!((answer[0], answer[8]), (1, 5), "and to nothing before it");
        assert_eq!(server.metric(alerts).await, 1);
        let unvalidated = "ion_control_dropped_total{reason=\"unvalidated_dtls\"}";
        assert_eq!(server.metric(unvalidated).await, 0);
        assert_eq!(all_rows(&plane.tables), before);
        connected(&server, "vera").await;
        connected(&server, "ann").await;
    }
}

#[tokio::test]
async fn a_session_that_was_still_negotiating_finishes_after_the_restart() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let mut client = Client::new().await;
    let created = server
        .publish("r", "ann", client.offer(&PUBLISH))
        .await
        .unwrap();
    let to = Answered::new("r", Role::Publisher, &created);
    server.kill().await;
    let server = Server::start(&folder.0).await;
    client.connect(&to).await;
    connected(&server, "ann").await;
    assert_eq!(plane.tables.live::<Encoding>().count(), 2);
}

#[tokio::test]
async fn rows_without_a_session_are_freed_and_sessions_without_rows_forgotten() {
    let Party {
        folder,
        plane,
        server,
        ann,
        ann_to,
        vera,
        vera_to,
    } = party(1).await;
    server.kill().await;
    let control = ion_tables::ControlTables::new(Arc::clone(&plane.tables));
    // Vera's transport is gone; somebody's stray track is there.
    let (vera_row, _) = plane
        .tables
        .live::<Transport>()
        .find(|(_, t)| t.session.as_str() == vera_to.session.id.as_str())
        .unwrap();
    control.free::<Transport>(vera_row);
    let stray = ion_tables::TrackConfig {
        head: control.next_life::<Track>(7),
        ..Default::default()
    };
    control.write::<Track>(7, &stray);
    let server = Server::start(&folder.0).await;
    assert!(ann.ping(&ann_to, false).await);
    assert_eq!(
        server
            .end(&vera_to.session)
            .await
            .unwrap_err()
            .status
            .as_u16(),
        404
    );
    vera.send(&vera_to, &vera.check(&vera_to, false, 1)).await;
    server
        .wait_metric("ion_control_dropped_total{reason=\"unknown_user\"}", 1)
        .await;
    assert_eq!(plane.tables.live::<Transport>().count(), 1);
    assert_eq!(plane.tables.live::<Subscription>().count(), 0);
    assert_eq!(plane.tables.live::<Track>().count(), 2);
    assert_eq!(server.metric("ion_rows_swept_total").await, 3);
    assert_eq!(server.metric("ion_rows_used{table=\"track\"}").await, 2);
}

#[tokio::test]
async fn a_store_that_is_no_database_is_moved_aside() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    std::fs::write(
        folder.0.join("ion.db"),
        b"this is no database, and never was one",
    )
    .unwrap();
    let server = Server::start(&folder.0).await;
    let client = Client::new().await;
    server
        .publish("r", "ann", client.offer(&PUBLISH))
        .await
        .unwrap();
    assert!(folder.0.join("ion.db.broken").exists());
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder.0.join("ion.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "it holds the DTLS key");
    drop(plane);
}

#[tokio::test]
async fn a_second_control_plane_is_refused() {
    let folder = Folder::new();
    let _plane = Plane::start(&folder.0, 1, 1);
    let first = Server::start(&folder.0).await;
    let Err(error) = Server::try_start(config(&folder.0)).await else {
        panic!("two at once")
    };
    assert!(
        matches!(&error, StartError::Attach(AttachError::ControlRuns { .. })),
        "{error}"
    );
    assert!(error.is_configuration());
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    first.stop().await;
}

#[tokio::test]
async fn sessions_are_carried_to_a_new_dataplane() {
    let Party {
        folder,
        plane,
        server,
        ann_to,
        vera_to,
        ..
    } = party(2).await;
    let (row, subscription) = plane
        .tables
        .live::<Subscription>()
        .find(|(_, s)| s.clock_rate == 90_000)
        .unwrap();
    let state = SubscriptionState {
        generation: subscription.head.generation,
        srtp_next: 70_000,
        ..SubscriptionState::default()
    };
    WorkerTables::new(Arc::clone(&plane.tables), 0).store::<Subscription>(row, &state);
    // The worker dies in the middle of storing it once more.
    plane.tables.state::<Subscription>(row).unwrap().tear();
    let before = all_rows(&plane.tables);
    let old = plane.kill(&folder.0);
    wait("the server to notice", async || {
        server.handle.ready().is_err()
    })
    .await;
    let client = Client::new().await;
    let refused = server
        .publish("r", "late", client.offer(&PUBLISH))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.status.as_u16(), refused.retry_after_s.is_some()),
        (503, true)
    );

    let plane = Plane::start(&folder.0, 2, 2);
    wait("the server to attach again", async || {
        server.handle.ready().is_ok()
    })
    .await;
    assert_eq!(
        all_rows(&plane.tables),
        before,
        "the same rows at the same numbers"
    );
    let carried = plane
        .tables
        .state::<Subscription>(row)
        .unwrap()
        .read()
        .unwrap();
    assert_eq!(
        (carried.srtp_next, carried.generation),
        (70_000, state.generation)
    );
    let secrets = |tables: &Tables| {
        let rows: Vec<u32> = tables.live::<Transport>().map(|(row, _)| row).collect();
        rows.iter()
            .map(|row| tables.secrets(*row).unwrap().read().unwrap().tx_key)
            .collect::<Vec<_>>()
    };
    assert_eq!(secrets(&plane.tables), secrets(&old));
    // A control plane that dies now finds its sessions under the new epoch.
    server.kill().await;
    let server = Server::start(&folder.0).await;
    assert_eq!(server.metric("ion_sessions_resumed_total").await, 2);
    server.end(&ann_to.session).await.unwrap();
    server.end(&vera_to.session).await.unwrap();
}

#[tokio::test]
async fn a_smaller_dataplane_takes_what_it_has_room_for() {
    let Party {
        folder,
        plane,
        server,
        ..
    } = party(2).await;
    // The viewer's rows are beyond the new tables, and its worker too.
    plane.kill(&folder.0);
    let capacities = ion_tables::Capacities {
        transports: 1,
        ..common::CAPACITIES
    };
    let plane = Plane::with(&folder.0, 2, 1, capacities);
    wait("the server to attach again", async || {
        server.handle.ready().is_ok()
    })
    .await;
    server
        .wait_metric("ion_sessions_ended_total{cause=\"rows_lost\"}", 1)
        .await;
    let (_, transport) = plane.tables.live::<Transport>().next().unwrap();
    assert_eq!(transport.worker, 0);
    assert!(
        plane
            .tables
            .live::<Encoding>()
            .all(|(_, encoding)| encoding.worker == 0)
    );
    let client = Client::new().await;
    let full = server
        .publish("r", "bob", client.offer(&OfferOf { ssrc: 9, ..PUBLISH }))
        .await;
    assert_eq!(full.unwrap_err().status.as_u16(), 503);
}

#[tokio::test]
async fn a_stage_is_carried_to_a_new_dataplane_and_known_to_the_next_control_plane() {
    let Party {
        folder,
        plane,
        server,
        ..
    } = party(2).await;
    let room = RoomName::parse("r").unwrap();
    let settings = Settings {
        audio: AudioSettings {
            slots: 2,
            ..AudioSettings::default()
        },
        ..Settings::default()
    };
    let configure = Input::Configure {
        room: room.clone(),
        settings,
    };
    server.handle.govern(configure).await.unwrap();
    let slots = async |server: &Server| {
        let details = server.handle.details(room.clone()).await.unwrap();
        details.value.audio_slots
    };
    let is_seat = |(_, track): &(u32, TrackConfig)| track.seat > 0;
    let seats = |tables: &Tables| {
        let seats = tables.live::<Track>().filter(is_seat);
        seats
            .map(|(row, track)| (row, track.head.generation, track.seat, track.stage))
            .collect::<Vec<_>>()
    };
    wait("the seats' rows", async || seats(&plane.tables).len() == 2).await;
    let (before, known) = (seats(&plane.tables), slots(&server).await);
    let on_stage = |(_, track): &(u32, TrackConfig)| track.seat == 0 && track.stage.is_some();
    let found = plane.tables.live::<Track>().find(on_stage);
    let (row, source) = found.expect("ann's sound");
    let source = RowLink {
        row,
        generation: source.head.generation,
    };
    plane.tables.events(0).unwrap().push(&Event {
        kind: EventKind::SeatTaken,
        table: RowKind::Track,
        row: before[1].3,
        value: source.pack(),
        at_us: 0,
    });
    wait("ann to have a seat", async || {
        slots(&server).await[0].source.is_some()
    })
    .await;

    plane.kill(&folder.0);
    let plane = Plane::start(&folder.0, 2, 2);
    wait("the seats to be carried", async || {
        seats(&plane.tables) == before
    })
    .await;
    wait("the server to attach again", async || {
        server.handle.ready().is_ok()
    })
    .await;
    assert_eq!(
        slots(&server).await,
        known,
        "nobody has a seat of the new workers"
    );
    server.kill().await;
    let server = Server::start(&folder.0).await;
    assert_eq!(slots(&server).await, known);
    assert_eq!(seats(&plane.tables), before);
}
