//! What goes on when a socket, a peer connection or the control plane is another.

use crate::common::client::Client;
use crate::common::sdk::{Sdk, asks_in_vain, serve, serve_with};
use crate::common::world::{World, room_anew, transport};
use crate::common::{Folder, Plane, Server, config, wait};
use ion_api::accounts::Accounts;
use ion_api::events::EventLog as _;
use ion_api::signal::PublicationId;
use ion_api::signal::client::Join;
use ion_api::signal::model::TransportState;
use ion_api::signal::server::{Event, Reason, RoomCause};
use ion_api::token::Keys;
use ion_api::webhooks::Webhooks;
use ion_controlplane::events::Log;
use ion_controlplane::rooms::Rooms;
use ion_tables::Transport;
use std::sync::Arc;
use std::time::Duration;

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
    let (mut bob, before) = world.bob_watches(ids[1]).await;
    let world = world.restarted().await;
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
    let (_bob, before) = world.bob_watches(ids[1]).await;
    ann.client = Client::new().await;
    ann.peer = "pc2".to_owned();
    let (_, published) = ann.connect().await;
    assert_eq!(published.iter().map(|p| p.id).collect::<Vec<_>>(), ids);
    let after = world.wait_sent(1).await;
    assert_eq!(before[0].0, after[0].0, "the subscriber's row goes on");
    assert_ne!(before[0].1.track, after[0].1.track, "with another track");
    wait("the old rows to be free", async || world.counts().1 == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_was_not_let_in_in_time_is_not_in() {
    let world = World::new().await;
    let (short, handle) = (Duration::from_millis(200), world.server.handle.clone());
    let hasty = serve_with(&world.server, |config| config.join_timeout = short).await;
    let mut bob = world.join("bob").await;
    // The core is busy with something.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (busy, is_busy) = tokio::sync::oneshot::channel();
    let look = tokio::spawn(async move {
        let look = move |_: &Rooms| {
            busy.send(()).unwrap();
            held.recv().unwrap();
        };
        handle.look(look).await.unwrap();
    });
    is_busy.await.unwrap();
    for who in ["bob", "ann"] {
        let join = Join {
            room: Some("r".to_owned()),
            identity: Some(who.to_owned()),
            ..Join::default()
        };
        assert!(asks_in_vain(hasty, join).await.is_none());
    }
    release.send(()).unwrap();
    look.await.unwrap();
    // Neither is there, and the one who was has not been taken for another.
    let cay = world.join("cay").await;
    let there: Vec<_> = cay
        .joined
        .snapshot
        .participants
        .iter()
        .map(|p| p.id)
        .collect();
    assert_eq!(there, [bob.joined.snapshot.me.id]);
    let news = bob.event(|event| match event {
        Event::ParticipantJoined(joined) => Some(joined.participant.id),
        Event::ParticipantLeft(left) => Some(left.participant),
        _ => None,
    });
    assert_eq!(news.await, cay.joined.snapshot.me.id);
}
