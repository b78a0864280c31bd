//! Data between participants.

use crate::common::sdk::Channels;
use crate::common::world::{World, channels_are_open};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ion_api::names::RoomName;
use ion_api::signal::ParticipantId;
use ion_api::signal::client::{Data, Request, UpdateSelf};
use ion_api::signal::server::{Event, Reason};
use ion_controlplane::channels::Label;
use ion_controlplane::core::DataMessage;

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

#[tokio::test]
async fn what_is_sent_on_for_one_sender_is_bounded_by_how_many_get_it() {
    let payload = vec![0; ion_api::limits::DATA_BYTES];
    // A message to one is within it, the next one not if all have got one in between.
    let world = World::with(|config| config.fanout_bytes_per_second = 10_000).await;
    let mut ann = world.join("ann").await;
    ann.data();
    let (to, _) = ann.connect().await;
    let mut channels = Channels::opened(&mut ann, &to).await;
    let mut crowd = Vec::new();
    for n in 0..8 {
        crowd.push(world.join(&format!("p{n}")).await);
    }
    let data = |to: Option<&str>| {
        Request::Data(Data {
            to: to.map(|to| vec![to.to_owned()]),
            payload: BASE64.encode(&payload),
            ..Data::default()
        })
    };
    let dropped = async || {
        let line = "ion_data_dropped_total{reason=\"fan_out\"}";
        world.server.metric(line).await
    };
    ann.ask(data(Some("p0"))).await.unwrap();
    ann.ask(data(None)).await.unwrap();
    let refused = ann.ask(data(Some("p0"))).await.unwrap_err();
    assert_eq!((refused.reason, dropped().await), (Reason::RateLimited, 1));
    // What cannot be lost, and cannot be kept, ends its channel.
    channels.send(0, &framed("{}", b"x"));
    channels.turns(&mut ann.client, &to, 2).await;
    ann.event(|event| channels_are_open(event).filter(|is_open| !is_open))
        .await;
    assert_eq!(dropped().await, 2);
    // The application's server has its own.
    let send = async || {
        let message = DataMessage {
            topic: String::new(),
            payload: payload.clone(),
            label: Label::Reliable,
        };
        let room = RoomName::parse("r").unwrap();
        world.server.handle.send_data(room, None, message).await
    };
    send().await.unwrap();
    assert_eq!(send().await.unwrap_err().status.as_u16(), 503);
    assert_eq!(dropped().await, 3);
    // Others too.
    crowd[0].ask(data(None)).await.unwrap();
}
