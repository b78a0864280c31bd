//! What moderators, quotas and revocations do to participants.

use crate::common::client::{Answered, Client, PUBLISH};
use crate::common::sdk::{Sdk, serve_with};
use crate::common::world::{World, ended, left, room_anew, transport};
use crate::common::{publish_request, wait};
use ion_api::Backend;
use ion_api::accounts::{Accounts, KeyLimits, NewKey, Quota, Subject};
use ion_api::documents::Expected;
use ion_api::govern::{Act, Maker, RoomSettings};
use ion_api::model::Role;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::client::{Join, Request, Subscribe, SubscriptionChange};
use ion_api::signal::model::{SubscriptionBounds, TransportState};
use ion_api::signal::server::{Reason, RoomCause};
use ion_api::token::{Claims, Grants, Keys, TokenRef, mint};
use ion_controlplane::rooms::{Input, Key, Settings};
use ion_tables::{Encoding, SubscriptionConfig};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

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
    world.govern(pause(true)).await;
    assert!(is_paused(&world));
    world.govern(pause(false)).await;
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
    world.govern(shift(keys(&ann))).await;
    world.wait_sent(0).await;
    let snapshot = ann.event(room_anew(RoomCause::Moved)).await;
    assert_eq!(snapshot.room.name, "elsewhere");
    world.govern(shift(keys(&bob))).await;
    let snapshot = bob.event(room_anew(RoomCause::Moved)).await;
    assert_eq!(snapshot.subscriptions.len(), 2);
    bob.offer().await.unwrap();
    world.wait_sent(1).await;
    world.govern(Input::Kick(keys(&bob)[0])).await;
    assert_eq!(bob.event(ended).await, Reason::Kicked);
    assert!(bob.is_closed().await);
    assert_eq!(world.counts().0, 1);
}

#[tokio::test]
async fn a_revocation_ends_sessions_of_all_kinds_with_the_reason() {
    let world = World::new().await;
    let mut ann = world.join("ann").await;
    let mut bob = world.join("bob").await;
    let mut obs = Client::new().await;
    let offer = obs.offer(&PUBLISH);
    let mut request = publish_request("r", "obs", offer);
    request.participant.token = Some(TokenRef {
        key: "k".to_owned(),
        id: "leaked".to_owned(),
    });
    let created = Backend::publish(&*world.server.handle, request)
        .await
        .unwrap();
    let to = Answered::new("r", Role::Publisher, &created);
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
    assert_eq!(ann.event(ended).await, Reason::TokenRevoked);
    assert!(ann.is_closed().await);
    for _ in ["obs", "ann"] {
        assert_eq!(bob.event(left).await, Reason::TokenRevoked);
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
    world.govern(configure).await;
    let publish = async |room: &str, who: &str, passes_lobby: bool| {
        let offer = Client::new().await.offer(&PUBLISH);
        let mut request = publish_request(room, who, offer);
        request.participant.passes_lobby = passes_lobby;
        request.participant.token = Some(TokenRef {
            key: "k".to_owned(),
            id: who.to_owned(),
        });
        request.participant.quota = Quota {
            participants: 2,
            rooms: 1,
            ..Quota::default()
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
async fn rooms_that_a_key_made_count_in_its_quota() {
    let world = World::new().await;
    let handle = &*world.server.handle;
    let room = |name: &str| RoomName::parse(name).unwrap();
    let quota = Quota {
        rooms: 2,
        ..Quota::default()
    };
    let make = async |name: &str, key: &str| {
        let make = Act::Configure {
            expected: Expected::Absent,
            settings: RoomSettings {
                keep: true,
                ..RoomSettings::default()
            },
            maker: Some(Maker {
                key: key.to_owned(),
                quota,
            }),
        };
        let made = Backend::act(handle, room(name), make).await;
        made.map_err(|problem| (problem.status.as_u16(), problem.kind))
    };
    assert_eq!(make("one", "k").await, Ok(()));
    assert_eq!(make("two", "k").await, Ok(()));
    assert_eq!(make("three", "k").await, Err((429, "key-limit")));
    assert_eq!(make("three", "l").await, Ok(()), "each key has its own");
    let publish = async |name: &str| {
        let offer = Client::new().await.offer(&PUBLISH);
        let mut request = publish_request(name, "obs", offer);
        let (key, id) = ("k".to_owned(), String::new());
        request.participant.token = Some(TokenRef { key, id });
        request.participant.quota = quota;
        let published = Backend::publish(handle, request).await;
        published.map(drop).map_err(|problem| problem.kind)
    };
    assert_eq!(publish("four").await, Err("key-limit"));
    assert_eq!(publish("two").await, Ok(()), "it has this one already");
    Backend::act(handle, room("one"), Act::Close).await.unwrap();
    assert_eq!(make("five", "k").await, Ok(()));
}

#[tokio::test]
async fn who_publishes_as_much_as_a_key_may_publishes_nothing_more() {
    let world = World::new().await;
    let accounts = Arc::new(Accounts::ephemeral(Keys::default()).unwrap());
    let limits = KeyLimits {
        published_bitrate_bps: NonZeroU32::new(64_000),
        ..KeyLimits::default()
    };
    let label = String::new();
    let made = accounts.create_key(NewKey { label, limits }).unwrap().value;
    let key = made.info.key;
    let quota = accounts.quota(&key);
    let claims = Claims {
        sub: "ann".to_owned(),
        video: Grants {
            room_join: true,
            room: "r".to_owned(),
            ..Grants::default()
        },
        ..Claims::default()
    };
    let token = mint(&key, &made.secret, claims, Duration::from_secs(60)).unwrap();
    let http = serve_with(&world.server, |config| config.auth.accounts = accounts).await;
    let join = Join {
        token: Some(token),
        ..Join::default()
    };
    let mut ann = Sdk::enter(http, join).await;
    ann.send("audio", "mic");
    ann.connect().await;
    ann.event(transport(TransportState::Connected)).await;
    // More than 64 kbit/s, until it stops.
    let (row, _) = world.tables().live::<Encoding>().next().unwrap();
    let tables = Arc::clone(&world.plane.tables);
    let sending = tokio::spawn(async move {
        let counters = tables.counters::<Encoding>(row).unwrap();
        loop {
            counters.bytes_received.add(2_000);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let handle = &*world.server.handle;
    let published = async || {
        let usage = Backend::usage(handle, key.clone()).await;
        usage.published_bitrate_bps
    };
    wait("the rate to be seen", async || published().await >= 64_000).await;
    ann.send("video", "cam");
    let answer = ann.offer().await.unwrap();
    assert_eq!(answer.declined["1"].reason, Reason::RateLimited);
    assert_eq!(answer.publications.len(), 1, "what is published goes on");
    let publish = async |room: &str| {
        let offer = Client::new().await.offer(&PUBLISH);
        let mut request = publish_request(room, "obs", offer);
        let (key, id) = (key.clone(), String::new());
        request.participant.token = Some(TokenRef { key, id });
        request.participant.quota = quota;
        let published = Backend::publish(handle, request).await;
        published.map(drop).map_err(|problem| problem.kind)
    };
    assert_eq!(publish("r").await, Err("key-limit"));
    sending.abort();
    wait("the rate to fall", async || published().await < 64_000).await;
    assert_eq!(publish("r").await, Ok(()));
    assert!(ann.offer().await.unwrap().declined.is_empty());
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
        world.govern(Input::Attach { publication, room }).await;
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
