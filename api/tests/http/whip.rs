//! `POST /whip/{room}` (RFC 9725 §4.2).

use axum::http::Method;
use ion_api::limits;
use ion_api::token::Grants;

use crate::fake::*;

#[tokio::test]
async fn a_publisher_gets_201_with_all_that_it_needs() {
    let api = Api::strict();
    let auth = token(joins("lobby"));
    let answer = api
        .send(Method::POST, "/whip/lobby", &[SDP, &auth], "v=0\r\n")
        .await;
    assert_eq!(answer.code(), 201);
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert_eq!(answer.header("location"), format!("/whip/lobby/{SESSION}"));
    assert_eq!(answer.header("etag"), format!("\"{ETAG}\""));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.body, "answer");
    let links: Vec<&str> = answer
        .headers
        .get_all("link")
        .iter()
        .map(|l| l.to_str().unwrap())
        .collect();
    assert_eq!(
        links,
        [
            "<stun:stun.example.net>; rel=\"ice-server\"",
            "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"u\\\"x\"; \
             credential=\"c\"; credential-type=\"password\"",
        ]
    );
    let Call::Publish(room, participant, sources, offer) = api.last_call() else {
        panic!()
    };
    assert_eq!((room.as_str(), offer.as_str()), ("lobby", "v=0\r\n"));
    assert_eq!(participant.identity.as_str(), "alice");
    assert!(sources.audio && sources.video);
}

#[tokio::test]
async fn content_types_are_compared_without_case_and_parameters() {
    let api = Api::dev();
    for good in [
        "application/sdp",
        "Application/SDP",
        "application/sdp ; charset=UTF-8",
    ] {
        let line = format!("content-type: {good}");
        assert_eq!(
            api.send(Method::POST, "/whip/a", &[&line], "v=0")
                .await
                .code(),
            201,
            "{good}"
        );
    }
    for bad in [
        "text/plain",
        "application/json",
        "application/sdpx",
        "application",
        ";",
    ] {
        let line = format!("content-type: {bad}");
        let answer = api.send(Method::POST, "/whip/a", &[&line], "v=0").await;
        assert_eq!(
            answer.refusal(),
            (415, "unsupported-media-type".into()),
            "{bad}"
        );
    }
    assert_eq!(
        api.send(Method::POST, "/whip/a", &[], "v=0").await.code(),
        415
    );
}

#[tokio::test]
async fn bodies_that_are_none() {
    let api = Api::dev();
    for body in ["", " \r\n "] {
        let answer = api.send(Method::POST, "/whip/a", &[SDP], body).await;
        assert_eq!(answer.refusal(), (400, "malformed-sdp".into()));
    }
    let exact = "a".repeat(limits::BODY_BYTES);
    assert_eq!(
        api.send(Method::POST, "/whip/a", &[SDP], &exact)
            .await
            .code(),
        201
    );
    let more = "a".repeat(limits::BODY_BYTES + 1);
    let answer = api.send(Method::POST, "/whip/a", &[SDP], &more).await;
    assert_eq!(answer.refusal(), (413, "too-large".into()));
    let announced = format!("content-length: {}", 1u64 << 40);
    assert_eq!(
        api.send(Method::POST, "/whip/a", &[SDP, &announced], "v")
            .await
            .code(),
        413
    );
}

#[tokio::test]
async fn the_backends_refusals_pass_through() {
    let api = Api::dev();
    let full = api.post("/whip/full").await;
    assert_eq!(full.refusal(), (503, "overloaded".into()));
    assert_eq!(full.header("retry-after"), "5");
    let bad = api.post("/whip/bad").await;
    assert_eq!(bad.refusal(), (400, "malformed-sdp".into()));
    assert_eq!(bad.problem()["detail"], "line 2: no such thing");
    assert_eq!(
        api.post("/whip/mute").await.refusal(),
        (422, "unprocessable-sdp".into())
    );
}

#[tokio::test]
async fn a_backend_that_panics_is_a_500_that_tells_nothing() {
    let api = Api::dev();
    let answer = api.post("/whip/panic").await;
    assert_eq!(answer.refusal(), (500, "internal".into()));
    assert!(!answer.body.contains("on purpose"));
    assert_eq!(api.post("/whip/lobby").await.code(), 201);
}

#[tokio::test]
async fn tokens_are_asked_for_and_looked_at() {
    let api = Api::strict();
    let missing = api.post("/whip/lobby").await;
    assert_eq!(missing.refusal(), (401, "token-missing".into()));
    assert!(missing.header("www-authenticate").starts_with("Bearer "));
    let refusal = async |lines: &[&str]| {
        let lines = [&[SDP], lines].concat();
        let answer = api.send(Method::POST, "/whip/lobby", &lines, "v=0").await;
        (
            answer.refusal(),
            answer.header("www-authenticate").to_owned(),
        )
    };
    let (garbage, challenge) = refusal(&["authorization: Bearer x.y.z"]).await;
    assert_eq!(garbage, (401, "token-invalid".into()));
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(
        refusal(&[&expired("lobby")]).await.0,
        (401, "token-expired".into())
    );
    let (other_room, challenge) = refusal(&[&token(joins("other"))]).await;
    assert_eq!(other_room, (403, "forbidden".into()));
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    let viewer = Grants {
        can_publish: Some(false),
        ..joins("lobby")
    };
    assert_eq!(refusal(&[&token(viewer)]).await.0.0, 403);
    assert!(api.backend.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn guests_of_a_dev_server_are_named_by_their_bearer() {
    let api = Api::dev();
    let line = "authorization: Bearer studio-1";
    assert_eq!(
        api.send(Method::POST, "/whip/a", &[SDP, line], "v=0")
            .await
            .code(),
        201
    );
    let Call::Publish(_, participant, ..) = api.last_call() else {
        panic!()
    };
    assert_eq!(participant.identity.as_str(), "studio-1");
    assert_eq!(api.post("/whip/a").await.code(), 201);
    let Call::Publish(_, participant, ..) = api.last_call() else {
        panic!()
    };
    assert!(participant.identity.as_str().starts_with("guest-"));
}

#[tokio::test]
async fn room_names_are_checked_and_written_back_encoded() {
    let api = Api::dev();
    let answer = api.post("/whip/auth0%7C5@x").await;
    assert_eq!(
        answer.header("location"),
        format!("/whip/auth0%7C5@x/{SESSION}")
    );
    let long = "x".repeat(limits::ROOM_NAME_BYTES + 1);
    for bad in [
        "a%2Fb",
        "a%20b",
        "%00",
        "%2e%2e",
        "%C3%BC",
        "%3Cscript%3E",
        &long,
    ] {
        let answer = api.post(&format!("/whip/{bad}")).await;
        assert_eq!(answer.refusal(), (400, "bad-name".into()), "{bad}");
    }
    assert_eq!(
        api.post("/whip/%ff").await.refusal(),
        (400, "bad-request".into())
    );
    assert_eq!(api.post("/whip/").await.code(), 404);
}
