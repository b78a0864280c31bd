//! Publishing and playing through the core: what is answered, what stands in the rows.

mod common;

use common::client::{Answered, Client, OfferOf, PLAY, PUBLISH};
use common::{Folder, Plane, Server, answer, wait};
use ion_api::backend::{Backend, Patched};
use ion_api::if_match::IfMatch;
use ion_api::model::{Role, SessionState};
use ion_dtls::DtlsVersion;
use ion_tables::{
    Encoding, EncodingConfig, Event, EventKind, ExtensionKind, RowKind, RowLink, Subscription,
    Tables, Track, Transport, TransportConfig,
};

struct Peer {
    client: Client,
    to: Answered,
}

async fn publisher(server: &Server, who: &str, offer: &OfferOf) -> Peer {
    publisher_of(server, who, |client| client.offer(offer)).await
}

async fn publisher_of(server: &Server, who: &str, offer: impl Fn(&Client) -> String) -> Peer {
    let mut client = Client::new().await;
    let created = server.publish("r", who, offer(&client)).await.unwrap();
    let to = Answered::new("r", Role::Publisher, &created);
    client.connect(&to).await;
    Peer { client, to }
}

async fn viewer(server: &Server, who: &str, offer: &OfferOf) -> Peer {
    let mut client = Client::new().await;
    let created = answer(server.play("r", who, client.offer(offer)).await.unwrap());
    let to = Answered::new("r", Role::Viewer, &created);
    client.connect(&to).await;
    Peer { client, to }
}

async fn connected(server: &Server, who: &str) {
    let state = (who.to_owned(), SessionState::Connected);
    wait("a participant to connect", async || {
        server.states("r").await.contains(&state)
    })
    .await;
}

fn used(tables: &Tables) -> [usize; 4] {
    [
        tables.live::<Transport>().count(),
        tables.live::<Track>().count(),
        tables.live::<Encoding>().count(),
        tables.live::<Subscription>().count(),
    ]
}

#[tokio::test]
async fn a_publisher_and_a_viewer_become_rows_that_fit_together() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let server = Server::start(&folder.0).await;
    let tables = &plane.tables;

    let mut client = Client::new().await;
    let early = server
        .play("r", "vera", client.offer(&PLAY))
        .await
        .unwrap_err();
    assert_eq!(
        (early.status.as_u16(), early.retry_after_s.is_some()),
        (409, true)
    );
    let created = server
        .publish("r", "ann", client.offer(&PUBLISH))
        .await
        .unwrap();
    let to = Answered::new("r", Role::Publisher, &created);
    let early = server
        .play("r", "vera", client.offer(&PLAY))
        .await
        .unwrap_err();
    assert_eq!(early.status.as_u16(), 409, "not live before DTLS is done");
    let keys = client.connect(&to).await;
    assert_eq!(keys.version, DtlsVersion::V1_3);
    connected(&server, "ann").await;

    let (row, transport) = tables.live::<Transport>().next().unwrap();
    assert_eq!(transport.session.as_str(), to.session.id.as_str());
    assert_eq!(
        transport.remote.socket_addr(),
        client.socket.local_addr().ok()
    );
    assert_eq!(transport.local.socket_addr(), Some(to.remote));
    assert_eq!(transport.srtp_profile, keys.profile.id());
    assert_eq!(transport.extensions.id(ExtensionKind::TransportCc), Some(2));
    assert_eq!(transport.flags, TransportConfig::RTCP_REDUCED_SIZE);
    let secrets = tables.secrets(row).unwrap().read().unwrap();
    assert_eq!(
        (secrets.keyed, secrets.generation),
        (1, transport.head.generation)
    );
    let (key, salt) = keys.keying_material.local();
    assert_eq!(
        &secrets.rx_key[..key.len()],
        key,
        "what the client sends, we receive"
    );
    assert_eq!(&secrets.rx_salt[..salt.len()], salt);
    assert_eq!(
        &secrets.tx_key[..key.len()],
        keys.keying_material.remote().0
    );
    assert_eq!(used(tables), [1, 2, 2, 0]);
    let (_, video) = tables
        .live::<Encoding>()
        .find(|(_, e)| e.clock_rate == 90_000)
        .unwrap();
    assert_eq!(
        (
            video.ssrc,
            video.rtx_ssrc,
            video.payload_type,
            video.rtx_payload_type
        ),
        (1010, 1011, 96, 97)
    );
    assert_eq!(
        video.feedback,
        EncodingConfig::NACK | EncodingConfig::PLI | EncodingConfig::TRANSPORT_CC
    );
    assert_eq!(video.mid.as_str(), "1");
    let track = tables
        .follow::<Track>(video.track)
        .expect("the link is not stale");
    assert_eq!(
        (track.subscriber_workers, track.worker),
        (0, transport.worker)
    );
    assert_eq!(
        tables.follow::<Encoding>(track.encodings[0]).unwrap().ssrc,
        1010
    );

    let view = viewer(&server, "vera", &PLAY).await;
    connected(&server, "vera").await;
    assert_eq!(used(tables), [2, 2, 2, 2]);
    let (_, subscription) = tables
        .live::<Subscription>()
        .find(|(_, s)| s.clock_rate == 90_000)
        .unwrap();
    assert_eq!(subscription.track, video.track);
    assert_eq!(
        (subscription.payload_type, subscription.rtx_payload_type),
        (96, 97)
    );
    let announced: Vec<u32> = view
        .to
        .sdp
        .media
        .iter()
        .flat_map(|m| &m.sources)
        .map(|source| source.ssrc)
        .collect();
    assert!(announced.contains(&subscription.ssrc) && announced.contains(&subscription.rtx_ssrc));
    let theirs = tables.follow::<Transport>(subscription.transport).unwrap();
    assert_eq!(
        theirs.flags & TransportConfig::TRANSPORT_CC_OUT,
        TransportConfig::TRANSPORT_CC_OUT
    );
    let track = tables.follow::<Track>(video.track).unwrap();
    assert_eq!(track.subscriber_workers, 1 << theirs.worker);

    // Both are seen; nobody else's DELETE ends them; then both go, and all rows are free.
    assert_eq!(server.states("r").await.len(), 2);
    let wrong = common::session_ref("r", Role::Viewer, &to.session.id);
    assert_eq!(server.end(&wrong).await.unwrap_err().status.as_u16(), 404);
    server.end(&view.to.session).await.unwrap();
    let track = tables.follow::<Track>(video.track).unwrap();
    assert_eq!(track.subscriber_workers, 0);
    server.end(&to.session).await.unwrap();
    assert!(client.is_closed().await, "close_notify comes");
    assert_eq!(used(tables), [0; 4]);
    let secrets = tables.secrets(row).unwrap().read().unwrap();
    assert_eq!(
        (secrets.keyed, secrets.rx_key, secrets.local_pwd.as_str()),
        (0, [0; 32], "")
    );
    assert_eq!(
        server.end(&to.session).await.unwrap_err().status.as_u16(),
        404
    );
    assert_eq!(
        server
            .metric("ion_sessions_ended_total{cause=\"deleted\"}")
            .await,
        2
    );
    assert!(server.handle.rooms().await.is_empty());
}

#[tokio::test]
async fn viewers_are_carried_over_to_a_publisher_that_returns_with_another_codec() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let server = Server::start(&folder.0).await;
    let tables = &plane.tables;
    let first = publisher(&server, "ann", &PUBLISH).await;
    connected(&server, "ann").await;
    // This one takes both codecs.
    let mut client = Client::new().await;
    let offer = client.offer(&PLAY).replace(
        "UDP/TLS/RTP/SAVPF 96 97\r\n",
        "UDP/TLS/RTP/SAVPF 96 97 98 99\r\na=rtpmap:98 VP9/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n",
    );
    let created = answer(server.play("r", "vera", offer).await.unwrap());
    client
        .connect(&Answered::new("r", Role::Viewer, &created))
        .await;
    connected(&server, "vera").await;
    let video = || {
        tables
            .live::<Subscription>()
            .find(|(_, s)| s.clock_rate == 90_000)
            .unwrap()
            .1
    };
    let before = video();
    assert_eq!(before.payload_type, 96);

    server.end(&first.to.session).await.unwrap();
    let waiting = video();
    assert!(!waiting.track.is_some(), "plays nothing, and stays");
    assert_eq!(
        waiting.head, before.head,
        "the same row: its SRTP index goes on"
    );
    let again = OfferOf {
        video: "VP9",
        ssrc: 5000,
        ..PUBLISH
    };
    let second = publisher(&server, "ann", &again).await;
    wait("the viewer to follow", async || video().track.is_some()).await;
    let after = video();
    assert_eq!(
        (after.payload_type, after.rtx_payload_type, after.ssrc),
        (98, 99, before.ssrc)
    );
    let track = tables.follow::<Track>(after.track).unwrap();
    assert_eq!(
        tables.follow::<Encoding>(track.encodings[0]).unwrap().ssrc,
        5010
    );
    assert_ne!(track.subscriber_workers, 0);

    // Again, this time without an end of the old session: the new one takes its place.
    let third = publisher(&server, "ann", &PUBLISH).await;
    wait("the old session to end", async || {
        server
            .metric("ion_sessions_ended_total{cause=\"replaced\"}")
            .await
            == 1
    })
    .await;
    assert_eq!(video().payload_type, 96);
    assert_eq!(
        server
            .end(&second.to.session)
            .await
            .unwrap_err()
            .status
            .as_u16(),
        404
    );
    server.end(&third.to.session).await.unwrap();
    assert_eq!(used(tables), [1, 0, 0, 2]);
}

#[tokio::test]
async fn a_kind_that_was_not_published_comes_without_negotiation() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let server = Server::start(&folder.0).await;
    let tables = &plane.tables;
    let rows_used =
        async |server: &Server| server.metric("ion_rows_used{table=\"subscription\"}").await;
    let first = publisher_of(&server, "ann", |client| client.video_offer(&PUBLISH)).await;
    connected(&server, "ann").await;
    let view = viewer(&server, "vera", &PLAY).await;
    connected(&server, "vera").await;
    let audio = &view.to.sdp.media[0];
    assert_eq!(audio.direction, ion_sdp::Direction::SendOnly);
    let ssrc = audio.sources[0].ssrc;
    let audio = || tables.live::<Subscription>().find(|(_, s)| s.ssrc == ssrc);
    assert!(
        audio().is_none(),
        "no row before there is something to play"
    );
    assert_eq!(tables.live::<Subscription>().count(), 1);
    assert_eq!(rows_used(&server).await, 2, "and yet there is room for it");

    // The section is known to the control plane that comes after this one.
    server.kill().await;
    let server = Server::start(&folder.0).await;
    assert!(view.client.ping(&view.to, false).await);
    assert_eq!(tables.live::<Subscription>().count(), 1);
    assert_eq!(rows_used(&server).await, 2);

    server.end(&first.to.session).await.unwrap();
    let second = publisher(&server, "ann", &PUBLISH).await;
    wait("the sound", async || audio().is_some()).await;
    let (row, playing) = audio().unwrap();
    let track = tables.follow::<Track>(playing.track).unwrap();
    assert_eq!(
        tables.follow::<Encoding>(track.encodings[0]).unwrap().ssrc,
        1000
    );
    assert_eq!((playing.payload_type, playing.clock_rate), (111, 48_000));
    let theirs = tables.follow::<Transport>(playing.transport).unwrap();
    assert_eq!(track.subscriber_workers, 1 << theirs.worker);
    assert_eq!(playing.worker, theirs.worker);
    let picture = tables.live::<Subscription>().find(|(_, s)| s.ssrc != ssrc);
    assert!(picture.unwrap().1.track.is_some());

    // A row that has played stays; and with its viewer both are gone.
    server.end(&second.to.session).await.unwrap();
    let (still, waiting) = audio().unwrap();
    assert_eq!((still, waiting.head), (row, playing.head));
    assert!(!waiting.track.is_some());
    server.end(&view.to.session).await.unwrap();
    assert_eq!(used(tables), [0; 4]);
    assert_eq!(rows_used(&server).await, 0);
}

#[tokio::test]
async fn a_viewer_that_goes_before_the_other_kind_came_leaves_nothing() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let _ann = publisher_of(&server, "ann", |client| client.video_offer(&PUBLISH)).await;
    connected(&server, "ann").await;
    // More often than there are rows.
    for _ in 0..8 {
        let view = viewer(&server, "vera", &PLAY).await;
        server.end(&view.to.session).await.unwrap();
    }
    assert_eq!(used(&plane.tables), [1, 1, 1, 0]);
}

#[tokio::test]
async fn the_hidden_are_in_no_count_of_a_room() {
    let folder = Folder::new();
    let _plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let _ann = publisher(&server, "ann", &PUBLISH).await;
    connected(&server, "ann").await;
    let client = Client::new().await;
    let mut request = common::publish_request("r", "spy", client.offer(&PUBLISH));
    request.participant.hidden = true;
    server.handle.publish(request).await.unwrap();
    let mut request = common::play_request("r", "ghost", client.offer(&PLAY));
    request.participant.hidden = true;
    answer(server.handle.play(request).await.unwrap());
    let seen = &server.handle.rooms().await[0];
    assert_eq!((seen.publishers, seen.viewers, seen.tracks), (1, 0, 2));
    assert_eq!(server.states("r").await.len(), 1);
    assert_eq!(
        server.metric("ion_sessions{kind=\"publisher\"}").await,
        2,
        "the operator's numbers have them"
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_answered_with_503() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let Peer { client, to } = publisher(&server, "ann", &PUBLISH).await;
    connected(&server, "ann").await;
    let rows = used(&plane.tables);
    // Somebody holds the file's lock; what SQLite says of a full disk takes the same way.
    let other = rusqlite::Connection::open(folder.0.join("ion.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let overloaded = |problem: ion_api::problem::Problem| {
        assert_eq!(problem.status.as_u16(), 503, "{}", problem.detail);
        assert!(problem.retry_after_s.is_some());
        assert!(problem.detail.contains("store"), "{}", problem.detail);
    };
    let late = Client::new().await;
    overloaded(
        server
            .publish("r", "bob", late.offer(&PUBLISH))
            .await
            .unwrap_err(),
    );
    overloaded(
        server
            .play("r", "vera", late.offer(&PLAY))
            .await
            .unwrap_err(),
    );
    let restart = format!("a=ice-ufrag:fresh\r\na=ice-pwd:{}\r\n", client.pwd);
    let patch = |text: String| {
        let tag = IfMatch::Tags(vec![to.etag.clone()]);
        server
            .handle
            .trickle_or_restart(to.session.clone(), tag, text)
    };
    overloaded(patch(restart.clone()).await.unwrap_err());
    // Nothing has changed for the others, and nothing is left of the refused.
    assert!(client.ping(&to, false).await);
    assert_eq!(used(&plane.tables), rows);
    assert!(server.metric("ion_store_errors_total").await >= 3);
    other.execute_batch("ROLLBACK").unwrap();
    let restarted = patch(restart).await.unwrap();
    assert!(
        matches!(restarted, Patched::Restarted { .. }),
        "by the same tag"
    );
    server
        .publish("r", "bob", late.offer(&PUBLISH))
        .await
        .unwrap();
}

#[tokio::test]
async fn offers_in_progress_count_as_sessions_of_the_room() {
    let folder = Folder::new();
    let _plane = Plane::start(&folder.0, 1, 1);
    let mut config = common::config(&folder.0);
    config.rooms.sessions = 3;
    let server = Server::try_start(config).await.unwrap();
    let _ann = publisher_of(&server, "ann", |client| client.video_offer(&PUBLISH)).await;
    connected(&server, "ann").await;
    let client = Client::new().await;
    let vp9 = OfferOf {
        video: "VP9",
        ..PLAY
    };
    let mut offered = Vec::new();
    for who in ["vera", "carl"] {
        let play = server
            .play("r", who, client.video_offer(&vp9))
            .await
            .unwrap();
        let ion_api::backend::Play::CounterOffer { created, .. } = play else {
            panic!("VP9 is not published");
        };
        offered.push(Answered::new("r", Role::Viewer, &created).session);
    }
    let more = async || server.play("r", "more", client.offer(&PLAY)).await;
    let full = more().await.unwrap_err();
    assert_eq!(
        (full.status.as_u16(), full.retry_after_s.is_some()),
        (503, true)
    );
    let refused = "ion_requests_refused_total{reason=\"room\"}";
    assert_eq!(server.metric(refused).await, 1);
    // An answer takes no second place, and an offer given up gives its place back.
    let active = OfferOf {
        setup: "active",
        ..PLAY
    };
    let taken = client
        .video_offer(&active)
        .replace("BUNDLE 1", "BUNDLE 0")
        .replace("a=mid:1", "a=mid:0");
    server
        .handle
        .accept(offered[0].clone(), taken)
        .await
        .unwrap();
    assert_eq!(more().await.unwrap_err().status.as_u16(), 503);
    server.end(&offered[1]).await.unwrap();
    answer(more().await.unwrap());
}

#[tokio::test]
async fn events_of_workers_are_counted_by_kind() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let server = Server::start(&folder.0).await;
    let kinds = [
        (EventKind::EncodingStarted, "encoding_started", 2),
        (EventKind::EncodingStalled, "encoding_stalled", 1),
        (EventKind::KeyframeWait, "keyframe_wait", 3),
    ];
    let line = |name: &str| format!("ion_events_total{{kind=\"{name}\"}}");
    assert!(
        server
            .handle
            .metrics()
            .await
            .contains(&line("layer_switched"))
    );
    for (kind, _, count) in kinds {
        for n in 0..count {
            let event = Event {
                kind,
                table: RowKind::Encoding,
                row: RowLink::default(),
                value: 0,
                at_us: 0,
            };
            plane.tables.events(n % 2).unwrap().push(&event);
        }
    }
    for (_, name, count) in kinds {
        server
            .wait_metric(&line(name), u64::try_from(count).unwrap())
            .await;
    }
}

#[tokio::test]
async fn a_passive_client_is_called() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let offer = OfferOf {
        setup: "passive",
        ..PUBLISH
    };
    let mut peer = publisher(&server, "ffmpeg", &offer).await;
    connected(&server, "ffmpeg").await;
    assert_eq!(used(&plane.tables)[1], 2);
    peer.client.close(&peer.to).await;
    server
        .wait_metric("ion_sessions_ended_total{cause=\"dtls_closed\"}", 1)
        .await;
    assert_eq!(used(&plane.tables), [0; 4]);
}

#[tokio::test]
async fn a_counter_offer_is_made_and_taken() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 2);
    let server = Server::start(&folder.0).await;
    let mut client = Client::new().await;
    let offer = client.video_offer(&PUBLISH);
    let created = server.publish("r", "ann", offer).await.unwrap();
    client
        .connect(&Answered::new("r", Role::Publisher, &created))
        .await;
    connected(&server, "ann").await;

    let mut viewer = Client::new().await;
    let offer = viewer.video_offer(&OfferOf {
        video: "VP9",
        ..PLAY
    });
    let ion_api::backend::Play::CounterOffer {
        created,
        valid_until,
    } = server.play("r", "vera", offer).await.unwrap()
    else {
        panic!("nothing in the offer fits");
    };
    assert!(valid_until.is_some());
    let to = Answered::new("r", Role::Viewer, &created);
    let line = |name: &str| {
        created
            .sdp
            .lines()
            .find(|l| l.contains(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("rtpmap:96").contains("VP8"));
    let not_ours = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
    let refused = server
        .handle
        .accept(to.session.clone(), not_ours)
        .await
        .unwrap_err();
    assert_eq!(refused.status.as_u16(), 400);
    let active = OfferOf {
        setup: "active",
        ..PLAY
    };
    let taken = viewer
        .video_offer(&active)
        .replace("BUNDLE 1", "BUNDLE 0")
        .replace("a=mid:1", "a=mid:0");
    server
        .handle
        .accept(to.session.clone(), taken.clone())
        .await
        .unwrap();
    let again = server
        .handle
        .accept(to.session.clone(), taken)
        .await
        .unwrap_err();
    assert_eq!(again.status.as_u16(), 409, "none waits any more");
    viewer.connect(&to).await;
    connected(&server, "vera").await;
    let (_, subscription) = plane.tables.live::<Subscription>().next().unwrap();
    assert!(plane.tables.follow::<Track>(subscription.track).is_some());
    assert!(
        created
            .sdp
            .contains(&format!("a=ssrc:{}", subscription.ssrc))
    );
}

#[tokio::test]
async fn trickle_and_restart_by_entity_tag() {
    let folder = Folder::new();
    let plane = Plane::start(&folder.0, 1, 1);
    let server = Server::start(&folder.0).await;
    let Peer { mut client, to } = publisher(&server, "ann", &PUBLISH).await;
    connected(&server, "ann").await;
    let fragment = |ufrag: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                 a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n",
            client.pwd
        )
    };
    let patch = |tag: IfMatch, text: String| {
        server
            .handle
            .trickle_or_restart(to.session.clone(), tag, text)
    };
    let tag = |tag: &str| IfMatch::Tags(vec![tag.to_owned()]);
    assert_eq!(
        patch(tag(&to.etag), fragment(&client.ufrag)).await,
        Ok(Patched::NoContent)
    );
    assert_eq!(
        patch(IfMatch::Any, fragment(&client.ufrag)).await,
        Ok(Patched::NoContent)
    );
    let stale = patch(tag("other"), fragment("newufrag")).await.unwrap_err();
    assert_eq!(stale.status.as_u16(), 412);
    let half = patch(IfMatch::Any, "a=ice-ufrag:newufrag\r\n".to_owned())
        .await
        .unwrap_err();
    assert_eq!(half.status.as_u16(), 400, "and the session goes on:");
    assert!(client.ping(&to, false).await);

    let Patched::Restarted { frag, etag } =
        patch(tag(&to.etag), fragment("newufrag")).await.unwrap()
    else {
        panic!("no restart");
    };
    assert_ne!(etag, to.etag);
    let frag = ion_sdp::SdpFragment::parse(frag.as_bytes()).unwrap();
    assert!(frag.candidates().count() > 0 && frag.end_of_candidates);
    let mut fresh = to.clone();
    (fresh.ufrag, fresh.pwd) = (frag.ufrag.unwrap(), frag.pwd.unwrap());
    assert_ne!(fresh.ufrag, to.ufrag);
    assert!(
        client.ping(&to, false).await,
        "the old credentials are answered for now"
    );
    // The client moves to another address with the new ones.
    let socket = std::mem::replace(
        &mut client.socket,
        tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    assert!(client.ping(&fresh, true).await);
    let moved = client.socket.local_addr().ok();
    wait("the row to follow", async || {
        let (_, row) = plane.tables.live::<Transport>().next().unwrap();
        row.remote.socket_addr() == moved
    })
    .await;
    drop(socket);
    let (row, _) = plane.tables.live::<Transport>().next().unwrap();
    let secrets = plane.tables.secrets(row).unwrap().read().unwrap();
    assert_eq!(
        (secrets.local_ufrag.as_str(), secrets.keyed),
        (fresh.ufrag.as_str(), 1)
    );
    assert_eq!(secrets.remote_ufrag.as_str(), "newufrag");

    // Candidates that were on their way while ICE restarted change nothing.
    for late in [fragment(&client.ufrag), fragment("newufrag")] {
        assert_eq!(patch(IfMatch::Any, late).await, Ok(Patched::NoContent));
    }
    let bare = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n".to_owned();
    assert_eq!(patch(IfMatch::Any, bare).await, Ok(Patched::NoContent));
    assert!(client.ping(&fresh, false).await);
}
