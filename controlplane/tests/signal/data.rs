//! Data between participants.

use crate::common::sdk::Channels;
use crate::common::world::{World, channels_are_open};
use ion_api::signal::ParticipantId;
use ion_api::signal::client::{Data, Request, UpdateSelf};
use ion_api::signal::server::{Event, Reason};

/// Data over the socket: from whom, and what.
fn received(event: &Event) -> Option<(Option<ParticipantId>, String)> {
    match event {
        Event::DataReceived(data) => Some((data.from, data.payload.clone())),
        _ => None,
    }
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
    let mut channels = Channels::opened(&mut ann, &to).await;
    let mut others = Channels::opened(&mut bob, &bobs).await;
    channels.send(0, &framed(r#"{"topic":"chat"}"#, b"hello"));
    channels.turns(&mut ann.client, &to, 2).await;
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
    let from = Some(ann.joined.snapshot.me.id);
    let told = cay.event(received).await;
    let text = "who has no channel gets it over the socket";
    assert_eq!(told, (from, "aGVsbG8=".to_owned()), "{text}");
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
