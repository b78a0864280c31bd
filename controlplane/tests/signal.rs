//! Participants over `/v1/signal`: what they are told, and what stands in the rows.

mod common;

use common::sdk::{Channels, Sdk, serve};
use common::{Folder, Plane, Server, answer, config, wait};
use ion_api::Backend;
use ion_api::accounts::{Accounts, Quota, Subject};
use ion_api::events::EventLog as _;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::client::{Data, Leave, Request, Subscribe, SubscriptionChange, UpdateSelf};
use ion_api::signal::model::{SubscriptionBounds, TransportState};
use ion_api::signal::server::{Event, Reason, RoomCause};
use ion_api::token::{Keys, TokenRef};
use ion_api::webhooks::Webhooks;
use ion_controlplane::events::Log;
use ion_controlplane::rooms::{Input, Key, Settings};
use ion_tables::{
    RowLink, Subscription, SubscriptionConfig, Tables, Track, TrackConfig, Transport,
};
use std::net::SocketAddr;
use std::sync::Arc;

struct World {
    folder: Folder,
    plane: Plane,
    server: Server,
    http: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let folder = Folder::new();
        let plane = Plane::start(&folder.0, 1, 2);
        let server = Server::start(&folder.0).await;
        let http = serve(&server).await;
        Self {
            folder,
            plane,
            server,
            http,
        }
    }

    fn tables(&self) -> &Tables {
        &self.plane.tables
    }

    async fn join(&self, who: &str) -> Sdk {
        Sdk::join(self.http, "r", who).await
    }

    /// Ann publishes sound and pictures.
    async fn ann(&self) -> (Sdk, Vec<PublicationId>) {
        let mut ann = self.join("ann").await;
        ann.send("audio", "mic");
        ann.send("video", "cam");
        let (_, published) = ann.connect().await;
        (ann, published.iter().map(|p| p.id).collect())
    }

    /// The subscription rows that are sent a track, with their numbers.
    fn sent(&self) -> Vec<(u32, SubscriptionConfig)> {
        let rows = self.tables().live::<Subscription>();
        rows.filter(|(_, row)| row.track.is_some()).collect()
    }

    async fn wait_sent(&self, count: usize) -> Vec<(u32, SubscriptionConfig)> {
        wait("subscription rows", async || self.sent().len() == count).await;
        self.sent()
    }

    fn track(&self, link: RowLink) -> TrackConfig {
        self.tables().follow::<Track>(link).expect("a live track")
    }

    fn counts(&self) -> (usize, usize, usize) {
        let tables = self.tables();
        (
            tables.live::<Transport>().count(),
            tables.live::<Track>().count(),
            tables.live::<Subscription>().count(),
        )
    }
}

fn transport(state: TransportState) -> impl FnMut(&Event) -> Option<()> {
    move |event| match event {
        Event::TransportChanged(changed) if changed.transport.state == state => Some(()),
        _ => None,
    }
}

fn room_anew(wanted: RoomCause) -> impl FnMut(&Event) -> Option<ion_api::signal::model::Snapshot> {
    move |event| match event {
        Event::Room(room) if room.cause == wanted => Some(room.snapshot.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn two_participants_publish_and_receive_over_one_transport_each() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    ann.event(transport(TransportState::Connected)).await;
    let mut bob = world.join("bob").await;
    let others = &bob.joined.snapshot.participants;
    assert_eq!((others.len(), others[0].publications.len()), (1, 2));
    let wanted: Vec<PublicationId> = bob
        .joined
        .snapshot
        .subscriptions
        .iter()
        .map(|s| s.publication)
        .collect();
    assert_eq!(wanted, ids);
    bob.receive("audio", ids[0]);
    bob.receive("video", ids[1]);
    bob.send("video", "cam");
    let (to, published) = bob.connect().await;
    bob.event(transport(TransportState::Connected)).await;
    let rows = world.wait_sent(2).await;
    assert_eq!(world.counts(), (2, 3, 2));
    for (_, row) in &rows {
        let track = world.track(row.track);
        let (bob_ssrc, section) = (row.ssrc, row.mid.as_str());
        assert_eq!(
            track.kind,
            if section == "0" {
                TrackConfig::AUDIO
            } else {
                TrackConfig::VIDEO
            }
        );
        assert!(to.sdp.to_string().contains(&format!("a=ssrc:{bob_ssrc} ")));
        assert_ne!(track.subscriber_workers, 0);
    }
    assert!(to.sdp.to_string().contains(&format!(
        "a=msid:{}-camera {}",
        ann.joined.snapshot.me.id, ids[1]
    )));

    // And the other way, by renegotiation of a live transport: what was there stays as it is.
    assert_eq!(ann.subscriptions().await, [published[0].id]);
    let before = world.sent();
    let tracks: Vec<(u32, RowLink)> = world
        .tables()
        .live::<Track>()
        .map(|(row, track)| (row, track.transport))
        .collect();
    ann.receive("video", published[0].id);
    ann.offer().await.unwrap();
    let after = world.wait_sent(3).await;
    for (row, config) in before {
        let same = after.iter().find(|(other, _)| *other == row).unwrap().1;
        assert_eq!(
            (same.ssrc, same.track, same.head),
            (config.ssrc, config.track, config.head)
        );
    }
    let same: Vec<(u32, RowLink)> = world
        .tables()
        .live::<Track>()
        .map(|(row, track)| (row, track.transport))
        .collect();
    assert_eq!(tracks, same);

    // What is unpublished is sent no more, and its rows are free.
    let request = ion_api::signal::client::Unpublish {
        publication: ids[1],
    };
    ann.ask(Request::Unpublish(request)).await.unwrap();
    assert_eq!(bob.subscriptions().await, [ids[0]]);
    world.wait_sent(2).await;
    assert_eq!(world.counts().1, 2);
    // Both leave: nothing is left.
    ann.ask(Request::Leave(Leave {})).await.unwrap();
    let left = bob.event(|event| match event {
        Event::ParticipantLeft(left) => Some(left.reason),
        _ => None,
    });
    assert_eq!(left.await, Reason::Left);
    assert!(ann.is_closed().await);
    bob.ask(Request::Leave(Leave {})).await.unwrap();
    wait("free rows", async || world.counts() == (0, 0, 0)).await;
}

#[tokio::test]
async fn whip_and_whep_are_of_the_same_room() {
    let world = World::new().await;
    let mut bob = world.join("bob").await;
    let mut obs = common::client::Client::new().await;
    let offer = obs.offer(&common::client::PUBLISH);
    let created = world.server.publish("r", "obs", offer).await.unwrap();
    let to = common::client::Answered::new("r", ion_api::model::Role::Publisher, &created);
    obs.connect(&to).await;
    let ids = bob.subscriptions().await;
    assert_eq!(ids.len(), 2);
    bob.receive("audio", ids[0]);
    bob.receive("video", ids[1]);
    bob.connect().await;
    world.wait_sent(2).await;
    // A WHEP viewer plays a participant of the SDK that it names.
    bob.send("video", "cam");
    bob.offer().await.unwrap();
    let mut vera = common::client::Client::new().await;
    let mut request = common::play_request("r", "vera", vera.video_offer(&common::client::PLAY));
    request.publisher = Some(ion_api::names::Identity::parse("bob").unwrap());
    let played = ion_api::Backend::play(&*world.server.handle, request)
        .await
        .unwrap();
    let to = common::client::Answered::new("r", ion_api::model::Role::Viewer, &answer(played));
    vera.connect(&to).await;
    world.wait_sent(3).await;
}

#[tokio::test]
async fn a_lost_socket_resumes_and_media_does_not_notice() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    ann.event(transport(TransportState::Connected)).await;
    let rows: Vec<u32> = world
        .tables()
        .live::<Transport>()
        .map(|(row, _)| row)
        .collect();
    let next = ann.seq + 1;
    // Something happens while the socket is gone.
    let bob = world.join("bob").await;
    assert_eq!(ann.resume(world.http).await, Ok(next));
    let joined = ann.event(|event| match event {
        Event::ParticipantJoined(joined) => Some(joined.participant.identity.clone()),
        _ => None,
    });
    assert_eq!(joined.await, bob.joined.snapshot.me.identity);
    assert_eq!(
        world
            .tables()
            .live::<Transport>()
            .map(|(row, _)| row)
            .collect::<Vec<_>>(),
        rows
    );
    // It remembers nothing: it is told everything.
    ann.seq = u64::MAX - 1;
    ann.resume(world.http).await.unwrap();
    let snapshot = ann.event(room_anew(RoomCause::Resync)).await;
    let mine: Vec<PublicationId> = snapshot.me.publications.iter().map(|p| p.id).collect();
    assert_eq!(mine, ids);
    assert_eq!(snapshot.transport.unwrap().state, TransportState::Connected);
    ann.joined.session = "0".repeat(64);
    assert_eq!(
        ann.resume(world.http).await.unwrap_err().reason,
        Reason::NoSuchSession
    );
}

#[tokio::test]
async fn a_new_control_plane_takes_up_participants_who_resume() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    let mut bob = world.join("bob").await;
    bob.receive("video", ids[1]);
    bob.connect().await;
    let before = world.wait_sent(1).await;
    let World {
        folder,
        plane,
        server,
        ..
    } = world;
    server.kill().await;
    let server = Server::start(&folder.0).await;
    let http = serve(&server).await;
    let world = World {
        folder,
        plane,
        server,
        http,
    };
    assert_eq!(world.sent().len(), 1, "nothing has stopped");
    ann.resume(world.http).await.unwrap();
    let snapshot = ann.event(room_anew(RoomCause::Resync)).await;
    assert_eq!(snapshot.participants.len(), 1);
    let transport = snapshot.transport.unwrap();
    assert_eq!(
        (transport.state, transport.data_channels),
        (TransportState::Connected, false)
    );
    bob.resume(world.http).await.unwrap();
    let snapshot = bob.event(room_anew(RoomCause::Resync)).await;
    assert_eq!(snapshot.subscriptions[1].mid.as_deref(), Some("0"));
    // Renegotiation of what was inherited, and nothing moves.
    bob.receive("audio", ids[0]);
    bob.offer().await.unwrap();
    let after = world.wait_sent(2).await;
    let (row, config) = before[0];
    let same = after.iter().find(|(other, _)| *other == row).unwrap().1;
    assert_eq!(
        (same.ssrc, same.track, same.head),
        (config.ssrc, config.track, config.head)
    );
    assert!(world.folder.0.exists());
}

#[tokio::test]
async fn a_new_control_plane_tells_nobody_again_who_is_there() {
    let folder = Folder::new();
    let _plane = Plane::start(&folder.0, 1, 2);
    let accounts = Arc::new(Accounts::ephemeral(Keys::default()).unwrap());
    let webhooks = Arc::new(Webhooks::open(accounts).unwrap());
    let log = Arc::new(Log::open(&folder.0, webhooks).unwrap());
    let start = async || {
        let mut config = config(&folder.0);
        config.log = Some(Arc::clone(&log));
        Server::try_start(config).await.unwrap()
    };
    let server = start().await;
    let mut ann = Sdk::join(serve(&server).await, "r", "ann").await;
    ann.send("audio", "mic");
    ann.connect().await;
    let told = |text: &str| {
        let events = log.after(0, None, 100).unwrap().events;
        let told = events.iter().filter(|event| event.body.contains(text));
        told.count()
    };
    let news = ["roomOpened", "participantJoined", "published"].map(|kind| format!("\"{kind}\""));
    let before: Vec<usize> = news.iter().map(|kind| told(kind)).collect();
    assert_eq!(before, [1, 1, 1]);
    server.kill().await;
    let server = start().await;
    let after: Vec<usize> = news.iter().map(|kind| told(kind)).collect();
    assert_eq!(after, before);
    ann.resume(serve(&server).await).await.unwrap();
}

#[tokio::test]
async fn a_new_peer_connection_keeps_the_publications() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    let mut bob = world.join("bob").await;
    bob.receive("video", ids[1]);
    bob.connect().await;
    let before = world.wait_sent(1).await;
    ann.client = common::client::Client::new().await;
    ann.peer = "pc2".to_owned();
    let (_, published) = ann.connect().await;
    assert_eq!(published.iter().map(|p| p.id).collect::<Vec<_>>(), ids);
    let after = world.wait_sent(1).await;
    assert_eq!(before[0].0, after[0].0, "the subscriber's row goes on");
    assert_ne!(before[0].1.track, after[0].1.track, "with another track");
    wait("the old rows to be free", async || world.counts().1 == 2).await;
}

#[tokio::test]
async fn sections_are_declined_one_by_one_and_ice_restarts() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    ann.receive("video", PublicationId(4_711));
    let answer = ann.offer().await.unwrap();
    assert_eq!(answer.declined["2"].reason, Reason::NotFound);
    assert_eq!(answer.publications.len(), 2);
    // A restart: other credentials on both sides, the same rows.
    let old = Sdk::to(&answer);
    ann.client.ufrag = "fresh".to_owned();
    let to = Sdk::to(&ann.offer().await.unwrap());
    assert_ne!((&to.ufrag, &to.pwd), (&old.ufrag, &old.pwd));
    assert!(ann.client.ping(&to, true).await);
    assert_eq!(world.counts(), (1, 2, 0));
    // Another certificate is another peer connection, and has to say so.
    ann.client = common::client::Client::new().await;
    assert_eq!(
        ann.offer().await.unwrap_err().reason,
        Reason::UnprocessableSdp
    );
    // A section that is not offered to publish any more ends its publication.
    ann.peer = "pc2".to_owned();
    ann.tracks.remove("0");
    let answer = ann.offer().await.unwrap();
    assert_eq!(
        answer
            .publications
            .values()
            .map(|p| p.id)
            .collect::<Vec<_>>(),
        [ids[1]]
    );
}

#[tokio::test]
async fn moderators_pause_move_and_kick() {
    let world = World::new().await;
    let (mut ann, ids) = world.ann().await;
    let mut bob = world.join("bob").await;
    bob.receive("video", ids[1]);
    bob.connect().await;
    let is_paused = |world: &World| {
        world
            .sent()
            .iter()
            .any(|(_, row)| row.flags & SubscriptionConfig::PAUSED != 0)
    };
    world.wait_sent(1).await;
    let publication = ids[1];
    let pause = |is_paused| Input::Pause {
        publication,
        is_paused,
    };
    world.server.handle.govern(pause(true)).await.unwrap();
    assert!(is_paused(&world));
    world.server.handle.govern(pause(false)).await.unwrap();
    assert!(!is_paused(&world));
    // The subscriber bounds what it is sent.
    let bounds = SubscriptionBounds {
        max_temporal: Some(0),
        priority: Some(7),
        ..SubscriptionBounds::default()
    };
    let change = SubscriptionChange {
        publication,
        subscribed: None,
        bounds: Some(bounds),
    };
    let subscribe = Subscribe {
        auto_subscribe: None,
        changes: vec![change],
    };
    bob.ask(Request::Subscribe(subscribe)).await.unwrap();
    let row = world.sent()[0].1;
    assert_eq!((row.temporal_layers, row.priority), (1, 7));
    // To another room, without reconnecting: nothing is sent any more, and all is again when both are there.
    let keys = |sdk: &Sdk| vec![Key::from(sdk.joined.snapshot.me.id)];
    let to = RoomName::parse("elsewhere").unwrap();
    let shift = |keys| Input::Move {
        keys,
        to: to.clone(),
    };
    world.server.handle.govern(shift(keys(&ann))).await.unwrap();
    world.wait_sent(0).await;
    let snapshot = ann.event(room_anew(RoomCause::Moved)).await;
    assert_eq!(snapshot.room.name, "elsewhere");
    world.server.handle.govern(shift(keys(&bob))).await.unwrap();
    let snapshot = bob.event(room_anew(RoomCause::Moved)).await;
    assert_eq!(snapshot.subscriptions.len(), 2);
    bob.offer().await.unwrap();
    world.wait_sent(1).await;
    world
        .server
        .handle
        .govern(Input::Kick(keys(&bob)[0]))
        .await
        .unwrap();
    let ended = bob.event(|event| match event {
        Event::Ended(ended) => Some(ended.reason),
        _ => None,
    });
    assert_eq!(ended.await, Reason::Kicked);
    assert!(bob.is_closed().await);
    assert_eq!(world.counts().0, 1);
}

#[tokio::test]
async fn a_revocation_ends_sessions_of_all_kinds_with_the_reason() {
    let world = World::new().await;
    let mut ann = world.join("ann").await;
    let mut bob = world.join("bob").await;
    let mut obs = common::client::Client::new().await;
    let offer = obs.offer(&common::client::PUBLISH);
    let mut request = common::publish_request("r", "obs", offer);
    request.participant.token = Some(TokenRef {
        key: "k".to_owned(),
        id: "leaked".to_owned(),
    });
    let created = Backend::publish(&*world.server.handle, request)
        .await
        .unwrap();
    let to = common::client::Answered::new("r", ion_api::model::Role::Publisher, &created);
    obs.connect(&to).await;
    assert_eq!(bob.subscriptions().await.len(), 2);
    let usage = Backend::usage(&*world.server.handle, "k".to_owned()).await;
    assert_eq!((usage.participants, usage.rooms), (1, 1));

    let named = |name| Identity::parse(name).unwrap();
    for subject in [Subject::Token(named("leaked")), Subject::User(named("ann"))] {
        Backend::revoke(&*world.server.handle, subject)
            .await
            .unwrap();
    }
    let ended = ann.event(|event| match event {
        Event::Ended(ended) => Some(ended.reason),
        _ => None,
    });
    assert_eq!(ended.await, Reason::TokenRevoked);
    assert!(ann.is_closed().await);
    for _ in ["obs", "ann"] {
        let left = bob.event(|event| match event {
            Event::ParticipantLeft(left) => Some(left.reason),
            _ => None,
        });
        assert_eq!(left.await, Reason::TokenRevoked);
    }
    let ended = Backend::ended(&*world.server.handle, RoomName::parse("r").unwrap()).await;
    assert!(ended.iter().any(|one| one.cause == "revoked"), "{ended:?}");
    assert_eq!(world.counts(), (0, 0, 0));
}

#[tokio::test]
async fn a_lobby_and_the_quota_of_a_key_stop_whip_clients() {
    let world = World::new().await;
    let handle = &*world.server.handle;
    let lobby = Settings {
        lobby: true,
        is_kept: true,
        ..Settings::default()
    };
    let room = RoomName::parse("closed").unwrap();
    let configure = Input::Configure {
        room,
        settings: lobby,
    };
    handle.govern(configure).await.unwrap();
    let publish = async |room: &str, who: &str, passes_lobby: bool| {
        let offer = common::client::Client::new()
            .await
            .offer(&common::client::PUBLISH);
        let mut request = common::publish_request(room, who, offer);
        request.participant.passes_lobby = passes_lobby;
        request.participant.token = Some(TokenRef {
            key: "k".to_owned(),
            id: who.to_owned(),
        });
        request.participant.quota = Quota {
            participants: 2,
            rooms: 1,
        };
        let published = Backend::publish(handle, request).await;
        published
            .map(drop)
            .map_err(|problem| (problem.status.as_u16(), problem.kind))
    };
    assert_eq!(publish("closed", "obs", false).await, Err((403, "lobby")));
    assert_eq!(publish("closed", "obs", true).await, Ok(()));
    assert_eq!(publish("other", "two", true).await, Err((429, "key-limit")));
    assert_eq!(publish("closed", "two", true).await, Ok(()));
    assert_eq!(
        publish("closed", "three", true).await,
        Err((429, "key-limit"))
    );
    assert_eq!(
        publish("closed", "two", true).await,
        Ok(()),
        "it takes its own place"
    );
}

#[tokio::test]
async fn multicast_forwards_one_track_into_other_rooms() {
    let world = World::new().await;
    let (ann, ids) = world.ann().await;
    let halls = ["hall1", "hall2"];
    let mut viewers = Vec::new();
    for hall in halls {
        let room = RoomName::parse(hall).unwrap();
        let mut viewer = Sdk::join(world.http, hall, "bob").await;
        let publication = ids[1];
        world
            .server
            .handle
            .govern(Input::Attach { publication, room })
            .await
            .unwrap();
        assert_eq!(viewer.subscriptions().await, [publication]);
        viewer.receive("video", publication);
        viewer.connect().await;
        viewers.push(viewer);
    }
    let rows = world.wait_sent(2).await;
    assert_eq!(
        rows[0].1.track, rows[1].1.track,
        "one track, sent once by its publisher"
    );
    assert_eq!(world.counts().1, 2);
    drop((ann, viewers));
}

#[tokio::test]
async fn data_over_the_socket_reaches_the_room_or_those_named() {
    let world = World::new().await;
    let mut ann = world.join("ann").await;
    let mut bob = world.join("bob").await;
    let mut cay = world.join("cay").await;
    let data = |to: Option<&str>, payload: &str| {
        Request::Data(Data {
            to: to.map(|to| vec![to.to_owned()]),
            topic: "chat".to_owned(),
            payload: payload.to_owned(),
            lossy: false,
        })
    };
    ann.ask(data(Some("bob"), "b25l")).await.unwrap();
    ann.ask(data(None, "dHdv")).await.unwrap();
    let received = |event: &Event| match event {
        Event::DataReceived(data) => Some((data.from, data.payload.clone())),
        _ => None,
    };
    let from = Some(ann.joined.snapshot.me.id);
    assert_eq!(bob.event(received).await, (from, "b25l".to_owned()));
    assert_eq!(bob.event(received).await, (from, "dHdv".to_owned()));
    assert_eq!(cay.event(received).await, (from, "dHdv".to_owned()));
    let update = UpdateSelf {
        metadata: Some("hand up".to_owned()),
        ..UpdateSelf::default()
    };
    ann.ask(Request::UpdateSelf(update)).await.unwrap();
    let updated = bob.event(|event| match event {
        Event::ParticipantUpdated(updated) => Some(updated.participant.metadata.clone()),
        _ => None,
    });
    assert_eq!(updated.await, "hand up");
    // The core would look for each of them in the room.
    let crowd = Request::Data(Data {
        to: Some(vec![String::new(); 5_000]),
        ..Data::default()
    });
    assert_eq!(ann.ask(crowd).await.unwrap_err().reason, Reason::TooLarge);
}

fn framed(header: &str, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap();
    [&length.to_be_bytes()[..], header.as_bytes(), payload].concat()
}

#[tokio::test]
async fn data_channels_carry_data_and_sockets_stand_in_for_them() {
    let world = World::new().await;
    let mut ann = world.join("ann").await;
    ann.data();
    let (to, _) = ann.connect().await;
    let mut bob = world.join("bob").await;
    bob.data();
    let (bobs, _) = bob.connect().await;
    let mut cay = world.join("cay").await;
    let (mut channels, mut others) = (Channels::new(), Channels::new());
    for (sdk, channels, to) in [
        (&mut ann, &mut channels, &to),
        (&mut bob, &mut others, &bobs),
    ] {
        let mut turns = 0;
        channels
            .exchange(&mut sdk.client, to, |_| {
                turns += 1;
                turns > 3
            })
            .await;
        channels.open(0, "reliable");
        turns = 0;
        channels
            .exchange(&mut sdk.client, to, |_| {
                turns += 1;
                turns > 3
            })
            .await;
        let open = sdk.event(|event| match event {
            Event::TransportChanged(changed) => changed.transport.data_channels.then_some(()),
            _ => None,
        });
        open.await;
    }
    channels.send(0, &framed(r#"{"topic":"chat"}"#, b"hello"));
    let mut turns = 0;
    channels
        .exchange(&mut ann.client, &to, |_| {
            turns += 1;
            turns > 1
        })
        .await;
    others
        .exchange(&mut bob.client, &bobs, |channels| {
            !channels.received.is_empty()
        })
        .await;
    let header = format!(
        r#"{{"topic":"chat","from":"{}"}}"#,
        ann.joined.snapshot.me.id
    );
    assert_eq!(others.received, [framed(&header, b"hello")]);
    let received = cay.event(|event| match event {
        Event::DataReceived(data) => Some(data.payload.clone()),
        _ => None,
    });
    assert_eq!(
        received.await,
        "aGVsbG8=",
        "who has no channel gets it over the socket"
    );
    // A socket's data goes over the channels of those who have one.
    let data = Request::Data(Data {
        to: Some(vec!["bob".to_owned()]),
        topic: String::new(),
        payload: "aGk=".to_owned(),
        lossy: false,
    });
    cay.ask(data).await.unwrap();
    others
        .exchange(&mut bob.client, &bobs, |channels| {
            channels.received.len() == 2
        })
        .await;
    assert!(others.received[1].ends_with(b"hi"));
}

#[tokio::test]
async fn two_hundred_join_at_once_and_all_see_each_other() {
    const COUNT: usize = 200;
    let world = World::new().await;
    let joins = (0..COUNT).map(|n| {
        let http = world.http;
        tokio::spawn(async move { Sdk::join(http, "r", &format!("p{n}")).await })
    });
    let joins: Vec<_> = joins.collect();
    let mut all = Vec::new();
    for join in joins {
        all.push(join.await.unwrap());
    }
    for sdk in &mut all {
        let mut seen = sdk.joined.snapshot.participants.len();
        while seen < COUNT - 1 {
            sdk.event(|event| matches!(event, Event::ParticipantJoined(_)).then_some(()))
                .await;
            seen += 1;
        }
    }
}

/// Whose each audio slot is, as participants are told.
fn slots(wanted: usize) -> impl FnMut(&Event) -> Option<Vec<ion_api::signal::model::AudioSlot>> {
    move |event| match event {
        Event::AudioSlots(now) => {
            let taken = now.slots.iter().filter(|slot| slot.source.is_some());
            (taken.count() == wanted).then(|| now.slots.clone())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_room_with_audio_slots_sends_these_and_says_whose_they_are() {
    let world = World::new().await;
    let room = RoomName::parse("r").unwrap();
    let settings = ion_controlplane::rooms::Settings {
        is_kept: true,
        audio: ion_api::govern::AudioSettings {
            slots: 2,
            silence: ion_api::govern::Silence::Drop,
        },
        ..Default::default()
    };
    let configure = |settings| Input::Configure {
        room: room.clone(),
        settings,
    };
    let handle = world.server.handle.clone();
    handle.govern(configure(settings.clone())).await.unwrap();
    let (ann, ids) = world.ann().await;
    let mut bob = world.join("bob").await;
    let snapshot = &bob.joined.snapshot;
    let seats: Vec<PublicationId> = snapshot.audio_slots.iter().map(|s| s.publication).collect();
    let wanted: Vec<PublicationId> = snapshot
        .subscriptions
        .iter()
        .map(|s| s.publication)
        .collect();
    assert_eq!(
        wanted,
        [seats[0], seats[1], ids[1]],
        "not ann's sound by itself"
    );
    bob.receive("audio", seats[0]);
    bob.receive("audio", seats[1]);
    bob.connect().await;
    let rows = world.wait_sent(2).await;
    let stage = rows[0].1.track;
    let track = world.track(stage);
    assert_eq!((track.stage, track.seat), (stage, 1));
    assert_eq!(world.track(rows[1].1.track).seat, 2);
    for (_, row) in &rows {
        assert_ne!(row.flags & SubscriptionConfig::DROP_SILENCE, 0);
        assert_ne!(world.track(row.track).subscriber_workers, 0);
    }
    let of_ann = |world: &World| {
        let mut tracks = world.tables().live::<Track>();
        let found = tracks.find(|(_, row)| row.kind == TrackConfig::AUDIO && row.seat == 0);
        let (row, config) = found.expect("ann's sound");
        (
            config,
            RowLink {
                row,
                generation: config.head.generation,
            },
        )
    };
    let (config, source) = of_ann(&world);
    assert_eq!(config.stage, stage, "it may come onto the stage");
    // As a worker says it.
    world.tables().events(0).unwrap().push(&ion_tables::Event {
        kind: ion_tables::EventKind::SeatTaken,
        table: ion_tables::RowKind::Track,
        row: stage,
        value: source.pack(),
        at_us: 0,
    });
    let told = bob.event(slots(1)).await;
    assert_eq!(
        (told[0].publication, told[0].source),
        (seats[0], Some(ids[0]))
    );
    // What a moderator has muted does not come onto it.
    handle.govern(Input::Mute(ids[0])).await.unwrap();
    wait("ann to be off the stage", async || {
        !of_ann(&world).0.stage.is_some()
    })
    .await;
    handle
        .govern(Input::Redescribe {
            publication: ids[0],
            key: Key(ann.joined.snapshot.me.id.0),
            muted: Some(false),
            name: None,
            layers: None,
        })
        .await
        .unwrap();
    wait("ann to be back", async || of_ann(&world).0.stage == stage).await;

    // Another control plane: the same rows, under the same names.
    let World {
        folder,
        plane,
        server,
        ..
    } = world;
    server.kill().await;
    let server = Server::start(&folder.0).await;
    let http = serve(&server).await;
    let handle = server.handle.clone();
    let world = World {
        folder,
        plane,
        server,
        http,
    };
    assert_eq!(world.sent().len(), 2, "nothing has stopped");
    bob.resume(world.http).await.unwrap();
    let snapshot = bob.event(room_anew(RoomCause::Resync)).await;
    let after: Vec<PublicationId> = snapshot.audio_slots.iter().map(|s| s.publication).collect();
    assert_eq!(after, seats);

    // Without slots again, ann is heard as before, and the rows are free.
    let plain = ion_controlplane::rooms::Settings {
        is_kept: true,
        ..Default::default()
    };
    handle.govern(configure(plain)).await.unwrap();
    assert_eq!(bob.subscriptions().await, [ids[0], ids[1]]);
    wait("the seats' rows to be free", async || world.counts().1 == 2).await;
    assert!(!of_ann(&world).0.stage.is_some());
    assert!(world.folder.0.exists());
}
