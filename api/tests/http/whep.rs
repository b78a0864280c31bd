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
