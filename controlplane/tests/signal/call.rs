//! What participants publish and receive over their one transport.

use crate::common::client::{Answered, Client, PLAY, PUBLISH};
use crate::common::sdk::Sdk;
use crate::common::world::{World, left, transport};
use crate::common::{CAPACITIES, answer, play_request, wait};
use ion_api::Backend;
use ion_api::model::Role;
use ion_api::names::Identity;
use ion_api::signal::PublicationId;
use ion_api::signal::client::{Leave, Request, Unpublish};
use ion_api::signal::model::TransportState;
use ion_api::signal::server::{Event, Reason};
use ion_tables::{RowLink, Track, TrackConfig};

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
    let request = Unpublish {
        publication: ids[1],
    };
    ann.ask(Request::Unpublish(request)).await.unwrap();
    assert_eq!(bob.subscriptions().await, [ids[0]]);
    world.wait_sent(2).await;
    assert_eq!(world.counts().1, 2);
    // Both leave: nothing is left.
    ann.ask(Request::Leave(Leave {})).await.unwrap();
    assert_eq!(bob.event(left).await, Reason::Left);
    assert!(ann.is_closed().await);
    bob.ask(Request::Leave(Leave {})).await.unwrap();
    wait("free rows", async || world.counts() == (0, 0, 0)).await;
}

#[tokio::test]
async fn whip_and_whep_are_of_the_same_room() {
    let world = World::new().await;
    let mut bob = world.join("bob").await;
    let mut obs = Client::new().await;
    let offer = obs.offer(&PUBLISH);
    let created = world.server.publish("r", "obs", offer).await.unwrap();
    let to = Answered::new("r", Role::Publisher, &created);
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
    let mut vera = Client::new().await;
    let mut request = play_request("r", "vera", vera.video_offer(&PLAY));
    request.publisher = Some(Identity::parse("bob").unwrap());
    let played = Backend::play(&*world.server.handle, request).await.unwrap();
    let to = Answered::new("r", Role::Viewer, &answer(played));
    vera.connect(&to).await;
    world.wait_sent(3).await;
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
    ann.client = Client::new().await;
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

#[tokio::test]
async fn an_offer_that_cannot_be_stored_keeps_no_rows() {
    let world = World::new().await;
    let mut ann = world.join("ann").await;
    ann.send("audio", "mic");
    // Somebody holds the file's lock; what SQLite says of a full disk takes the same way.
    let other = rusqlite::Connection::open(world.folder.0.join("ion.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let used = async || {
        let tables = ["transport", "track", "encoding", "subscription"];
        let mut used = 0;
        for table in tables {
            let line = format!("ion_rows_used{{table=\"{table}\"}}");
            used += world.server.metric(&line).await;
        }
        used
    };
    // More often than there are rows.
    for _ in 0..2 * CAPACITIES.transports {
        let refused = ann.offer().await.unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
        assert!(refused.detail.contains("store"), "{}", refused.detail);
    }
    other.execute_batch("ROLLBACK").unwrap();
    ann.connect().await;
    world.join("bob").await;
    assert_eq!(used().await, 3);
}
