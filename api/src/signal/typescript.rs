//! Generates the TypeScript of these types, and fails when the committed file is stale.
//! `ION_UPDATE_WIRE=1 cargo test -p ion-api wire_types` writes it anew (`make wire`).

use std::fmt::Write as _;
use std::path::Path;

use ts_rs::{Config, TS};

use super::{client, model, server};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../web-sdk/src/wire/signal.ts");

fn put<T: TS>(out: &mut String, config: &Config) {
    let docs = T::docs().unwrap_or_default();
    let _ = writeln!(out, "\n{docs}export {}", T::decl(config));
}

fn generate() -> String {
    let config = Config::default();
    let mut out = String::from(
        "// Generated from api/src/signal by `make wire`. Do not edit.\n\n\
         /** Version of the protocol. */\n",
    );
    let _ = writeln!(out, "export const PROTOCOL = {};", super::PROTOCOL);
    let _ = writeln!(
        out,
        "\n/** WebSocket subprotocol. */\nexport const SUBPROTOCOL = \"{}\";",
        super::SUBPROTOCOL
    );
    macro_rules! all {
        ($($type:ty),* $(,)?) => { $(put::<$type>(&mut out, &config);)* };
    }
    all!(
        model::ParticipantId,
        model::PublicationId,
        model::Source,
        model::Permissions,
        model::ParticipantKind,
        model::ParticipantState,
        model::ParticipantInfo,
        model::LayerInfo,
        model::PublicationInfo,
        model::SubscriptionBounds,
        model::SubscriptionRule,
        model::SubscriptionInfo,
        model::RoomState,
        model::AudioSlot,
        model::Snapshot,
        model::TransportState,
        model::TransportInfo,
        model::IceServer,
        model::Quality,
        client::ClientMessage,
        client::Request,
        client::Join,
        client::Resume,
        client::Offer,
        client::TrackOffer,
        client::Candidates,
        client::UpdatePublication,
        client::Unpublish,
        client::Subscribe,
        client::SubscriptionChange,
        client::UpdateSelf,
        client::Data,
        client::Ping,
        client::Leave,
        server::ServerMessage,
        server::Answer,
        server::Reason,
        server::Problem,
        server::Joined,
        server::Limits,
        server::Resumed,
        server::OfferAnswer,
        server::Pong,
        server::Event,
        server::RoomCause,
        server::RoomChanged,
        server::RoomUpdated,
        server::ParticipantChanged,
        server::ParticipantLeft,
        server::PublicationChanged,
        server::Unpublished,
        server::Subscriptions,
        server::PermissionsChanged,
        server::AudioSlots,
        server::Speakers,
        server::Speaker,
        server::QualityChanged,
        server::ParticipantQuality,
        server::LayersWatched,
        server::DataReceived,
        server::TransportChanged,
        server::Ended,
    );
    out
}

#[test]
fn the_committed_wire_types_are_fresh() {
    let fresh = generate();
    if std::env::var_os("ION_UPDATE_WIRE").is_some() {
        std::fs::write(Path::new(FILE), &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == fresh,
        "web-sdk/src/wire/signal.ts is stale: `make wire` writes it anew"
    );
}

#[test]
fn messages_are_flat_json() {
    let ping = r#"{"type":"ping","id":7,"at":12}"#;
    let message: client::ClientMessage = serde_json::from_str(ping).unwrap();
    assert_eq!(message.id, Some(7));
    assert_eq!(
        message.request,
        client::Request::Ping(client::Ping { at: 12 })
    );
    let leave: client::ClientMessage = serde_json::from_str(r#"{"type":"leave"}"#).unwrap();
    assert_eq!(
        (leave.id, leave.request),
        (None, client::Request::Leave(client::Leave {}))
    );
    let join: client::ClientMessage =
        serde_json::from_str(r#"{"id":1,"type":"join","protocol":1,"room":"r"}"#).unwrap();
    assert!(
        matches!(join.request, client::Request::Join(join) if join.room.as_deref() == Some("r"))
    );

    let says = |message: &server::ServerMessage| serde_json::to_string(message).unwrap();
    let ok = server::ServerMessage::Answer {
        id: 3,
        answer: server::Answer::Ok,
    };
    assert_eq!(says(&ok), r#"{"id":3,"type":"ok"}"#);
    let event = server::Event::Unpublished(server::Unpublished {
        publication: model::PublicationId(5),
        participant: model::ParticipantId(2),
    });
    let event = server::ServerMessage::Event { seq: 9, event };
    let text = r#"{"seq":9,"type":"unpublished","publication":"PB_5","participant":"PA_2"}"#;
    assert_eq!(says(&event), text);
    assert_eq!(
        serde_json::from_str::<server::ServerMessage>(text).unwrap(),
        event
    );
    let problem = server::Problem {
        reason: server::Reason::BadMessage,
        detail: "no JSON".to_owned(),
        retry_after_ms: None,
    };
    let error = server::ServerMessage::Error {
        kind: server::ErrorTag::Error,
        problem,
    };
    assert_eq!(
        says(&error),
        r#"{"type":"error","reason":"badMessage","detail":"no JSON"}"#
    );
}
