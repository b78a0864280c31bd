//! `POST /whep/{room}` and `/whep/{room}/{participant}` (draft-ietf-wish-whep-03).

use axum::http::Method;
use ion_api::model::Role;
use ion_api::token::Grants;

use crate::fake::*;

#[tokio::test]
async fn playing_a_room_and_playing_a_participant() {
    let api = Api::dev();
    let room = api.post("/whep/lobby").await;
    assert_eq!(room.code(), 201);
    assert_eq!(room.header("location"), format!("/whep/lobby/-/{SESSION}"));
    assert_eq!(room.header("etag"), format!("\"{ETAG}\""));
    assert!(matches!(api.last_call(), Call::Play(room, None, _) if room == "lobby"));

    let named = api.post("/whep/lobby/bob%7C1").await;
    assert_eq!(
        named.header("location"),
        format!("/whep/lobby/bob%7C1/{SESSION}")
    );
    let Call::Play(_, publisher, _) = api.last_call() else {
        panic!()
    };
    assert_eq!(publisher.as_deref(), Some("bob|1"));

    assert_eq!(api.post("/whep/lobby/-").await.code(), 201);
    assert!(matches!(api.last_call(), Call::Play(_, None, _)));
    assert_eq!(
        api.post("/whep/lobby/a%20b").await.refusal(),
        (400, "bad-name".into())
    );
}

#[tokio::test]
async fn nobody_publishes_yet() {
    let answer = Api::dev().post("/whep/empty").await;
    assert_eq!(answer.refusal(), (409, "not-live".into()));
    assert_eq!(answer.header("retry-after"), "3");
    assert_eq!(answer.problem()["retryAfterS"], 3);
}

#[tokio::test]
async fn a_counter_offer_is_taken_by_patch() {
    let api = Api::dev();
    let offer = api.post("/whep/counter").await;
    assert_eq!(offer.code(), 406);
    assert_eq!(
        offer.header("content-type"),
        "application/sdp; valid-until=\"Sun, 06 Nov 1994 08:49:37 GMT\""
    );
    assert_eq!(offer.body, "offer");
    let location = offer.header("location");
    assert_eq!(location, format!("/whep/counter/-/{SESSION}"));

    let taken = api
        .send(Method::PATCH, location, &[SDP], "v=0 answer")
        .await;
    assert_eq!(taken.code(), 204);
    assert!(taken.is_empty());
    let Call::Accept(session, answer) = api.last_call() else {
        panic!()
    };
    assert_eq!(
        (session.role, answer.as_str()),
        (Role::Viewer, "v=0 answer")
    );
}

#[tokio::test]
async fn subscribing_is_a_grant() {
    let api = Api::strict();
    let status = async |grants: Grants| {
        let auth = token(grants);
        api.send(Method::POST, "/whep/lobby", &[SDP, &auth], "v=0")
            .await
            .code()
    };
    assert_eq!(status(joins("lobby")).await, 201);
    assert_eq!(
        status(Grants {
            can_publish: Some(false),
            ..joins("lobby")
        })
        .await,
        201
    );
    assert_eq!(
        status(Grants {
            can_subscribe: Some(false),
            ..joins("lobby")
        })
        .await,
        403
    );
    assert_eq!(status(joins("other")).await, 403);
    assert_eq!(
        status(Grants {
            hidden: true,
            ..joins("lobby")
        })
        .await,
        201
    );
    let Call::Play(_, _, participant) = api.last_call() else {
        panic!()
    };
    assert!(participant.hidden);
}

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn layers_are_chosen_at_a_resource_that_the_answer_names() {
    let api = Api::dev();
    let made = api.post("/whep/lobby").await;
    let location = format!("/whep/lobby/-/{SESSION}");
    let links: Vec<&str> = made
        .headers
        .get_all("link")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let layer = format!("<{location}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\"");
    assert!(links.contains(&layer.as_str()), "{links:?}");

    let path = format!("{location}/layer");
    let chosen = api
        .send(Method::POST, &path, &[JSON], r#"{"rid":"h"}"#)
        .await;
    assert_eq!(chosen.code(), 200);
    let Call::Select(_, selection) = api.last_call() else {
        panic!()
    };
    assert_eq!(selection.rid.as_deref(), Some("h"));
    let plain = api.send(Method::POST, &path, &[SDP], "{}").await;
    assert_eq!(plain.refusal(), (415, "unsupported-media-type".into()));
    assert_eq!(
        api.send(Method::POST, &path, &[JSON], "{").await.code(),
        400
    );
    let stranger = format!("/whep/lobby/-/{}/layer", "f".repeat(16));
    assert_eq!(
        api.send(Method::POST, &stranger, &[JSON], "{}")
            .await
            .code(),
        404
    );
}

#[tokio::test]
async fn an_event_stream_is_made_of_the_events_that_there_are() {
    let api = Api::dev();
    let path = format!("/whep/lobby/-/{SESSION}/sse");
    let made = api
        .send(
            Method::POST,
            &path,
            &[JSON],
            r#"["viewercount","scte35","active"]"#,
        )
        .await;
    assert_eq!(made.code(), 201);
    let stream = format!("{path}/active,viewercount");
    assert_eq!(made.header("location"), stream);
    assert_eq!(
        api.send(Method::POST, &path, &[JSON], r#"["scte35"]"#)
            .await
            .code(),
        422
    );
    assert_eq!(
        api.send(Method::GET, &format!("{path}/scte35"), &[], "")
            .await
            .code(),
        404
    );
    assert_eq!(api.send(Method::DELETE, &stream, &[], "").await.code(), 200);
}
