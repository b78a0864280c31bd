//! Sessions of WHIP and WHEP under moderation.

use crate::common::client::{Answered, Client, PLAY, PUBLISH};
use crate::common::world::World;
use crate::common::{answer, play_request, wait};
use ion_api::Backend;
use ion_api::backend::{Patched, SessionRef};
use ion_api::govern::Act;
use ion_api::if_match::IfMatch;
use ion_api::model::{Role, SessionState};
use ion_api::names::{Identity, RoomName};
use ion_api::signal::model::Permissions;
use ion_api::whep::extensions::LayerSelection;

fn who(identity: &str) -> Identity {
    Identity::parse(identity).unwrap()
}

/// A publisher and a viewer of a room, connected.
async fn obs_and_vera(world: &World) -> [(Client, Answered); 2] {
    let mut obs = Client::new().await;
    let created = world.server.publish("r", "obs", obs.offer(&PUBLISH)).await;
    let published = Answered::new("r", Role::Publisher, &created.unwrap());
    obs.connect(&published).await;
    live(world, 1).await;
    let mut vera = Client::new().await;
    let created = world.server.play("r", "vera", vera.offer(&PLAY)).await;
    let played = Answered::new("r", Role::Viewer, &answer(created.unwrap()));
    vera.connect(&played).await;
    live(world, 2).await;
    [(obs, published), (vera, played)]
}

async fn live(world: &World, count: usize) {
    wait("sessions to connect", async || {
        let states = world.server.states("r").await;
        let connected = |(_, state): &&(String, SessionState)| *state == SessionState::Connected;
        states.iter().filter(connected).count() == count
    })
    .await;
}

#[tokio::test]
async fn a_moved_session_is_found_at_the_address_that_it_was_given() {
    let world = World::new().await;
    let sessions = obs_and_vera(&world).await;
    let handle = &*world.server.handle;
    let room = |name: &str| RoomName::parse(name).unwrap();
    let shift = Act::Move {
        identities: vec![who("obs"), who("vera")],
        to: room("elsewhere"),
    };
    Backend::act(handle, room("r"), shift).await.unwrap();
    assert_eq!(world.server.states("elsewhere").await.len(), 2);
    for (client, to) in &sessions {
        let session = &to.session;
        assert_eq!(session.room, room("r"));
        // What is of the one kind is not of the other.
        let other = SessionRef {
            role: match session.role {
                Role::Publisher => Role::Viewer,
                _ => Role::Publisher,
            },
            ..session.clone()
        };
        let missing = Backend::end(handle, other).await.unwrap_err();
        assert_eq!(missing.status.as_u16(), 404);
        let restart = format!("a=ice-ufrag:fresh\r\na=ice-pwd:{}\r\n", client.pwd);
        let tag = IfMatch::Tags(vec![to.etag.clone()]);
        let patched = handle.trickle_or_restart(session.clone(), tag, restart);
        let patched = patched.await;
        assert!(
            matches!(patched, Ok(Patched::Restarted { .. })),
            "{patched:?}"
        );
    }
    let [published, played] = sessions.map(|(_, to)| to.session);
    assert!(Backend::playing(handle, published.clone()).await.is_none());
    let playing = Backend::playing(handle, played.clone()).await;
    assert!(playing.is_some_and(|playing| playing.active));
    let all = LayerSelection::default();
    let selected = Backend::select_layers(handle, played.clone(), all).await;
    selected.unwrap();
    for session in [published, played] {
        Backend::end(handle, session).await.unwrap();
    }
    assert_eq!(world.counts(), (0, 0, 0));
}

#[tokio::test]
async fn who_is_hidden_is_not_played_even_where_he_is_asked_for() {
    let world = World::new().await;
    let handle = &*world.server.handle;
    let mut spy = Client::new().await;
    let created = world.server.publish("r", "spy", spy.offer(&PUBLISH)).await;
    let to = Answered::new("r", Role::Publisher, &created.unwrap());
    spy.connect(&to).await;
    live(&world, 1).await;
    let play = async |publisher: Option<&str>| {
        let client = Client::new().await;
        let mut request = play_request("r", "vera", client.offer(&PLAY));
        request.publisher = publisher.map(who);
        let played = Backend::play(handle, request).await;
        played.map(drop).map_err(|problem| problem.kind)
    };
    assert_eq!(play(None).await, Ok(()));
    assert_eq!(play(Some("spy")).await, Ok(()));
    let hidden = Permissions {
        hidden: true,
        ..Permissions::default()
    };
    let hide = Act::Permit(who("spy"), hidden);
    let room = RoomName::parse("r").unwrap();
    Backend::act(handle, room, hide).await.unwrap();
    // As one who is not there.
    for publisher in [None, Some("spy"), Some("nobody")] {
        assert_eq!(play(publisher).await, Err("not-live"), "{publisher:?}");
    }
}
