//! PATCH, DELETE, GET of sessions (RFC 9725 §4.3).

use axum::http::Method;
use ion_api::if_match::IfMatch;
use ion_api::model::Role;

use crate::fake::*;

fn paths() -> [(String, Role); 2] {
    [
        (format!("/whip/lobby/{SESSION}"), Role::Publisher),
        (format!("/whep/lobby/bob/{SESSION}"), Role::Viewer),
    ]
}

#[tokio::test]
async fn trickled_candidates_are_204_without_body_and_etag() {
    for (path, role) in paths() {
        let api = Api::dev();
        let tag = format!("if-match: \"{ETAG}\"");
        for if_match in [tag.as_str(), "if-match: *", "if-match: \"*\""] {
            let answer = api
                .send(Method::PATCH, &path, &[FRAG, if_match], "a=candidate")
                .await;
            assert_eq!(answer.code(), 204, "{if_match}");
            assert!(answer.is_empty() && !answer.headers.contains_key("etag"));
        }
        let Call::Trickle(session, if_match, frag) = api.last_call() else {
            panic!()
        };
        assert_eq!((session.role, session.id.as_str()), (role, SESSION));
        assert_eq!((if_match, frag.as_str()), (IfMatch::Any, "a=candidate"));
    }
}

#[tokio::test]
async fn an_ice_restart_is_200_with_a_fragment_and_a_new_etag() {
    for (path, _) in paths() {
        let tag = format!("if-match: \"old\", \"{ETAG}\"");
        let answer = Api::dev()
            .send(Method::PATCH, &path, &[FRAG, &tag], "restart")
            .await;
        assert_eq!(answer.code(), 200);
        assert_eq!(
            answer.header("content-type"),
            "application/trickle-ice-sdpfrag"
        );
        assert_eq!(answer.header("etag"), "\"ice-2\"");
        assert_eq!(answer.body, "fragment");
    }
}

#[tokio::test]
async fn preconditions() {
    for (path, _) in paths() {
        let api = Api::dev();
        let refusal = async |lines: &[&str]| {
            api.send(Method::PATCH, &path, &[&[FRAG], lines].concat(), "a=x")
                .await
                .refusal()
        };
        assert_eq!(refusal(&[]).await, (428, "etag-required".into()));
        assert_eq!(
            refusal(&["if-match: \"ice-0\""]).await,
            (412, "etag-mismatch".into())
        );
        let weak = format!("if-match: W/\"{ETAG}\"");
        assert_eq!(refusal(&[&weak]).await, (412, "etag-mismatch".into()));
        assert_eq!(
            refusal(&["if-match: \"open"]).await,
            (400, "bad-request".into())
        );
    }
}

#[tokio::test]
async fn patch_takes_fragments_and_from_players_answers() {
    let api = Api::dev();
    let [(whip, _), (whep, _)] = paths();
    let answer = api
        .send(Method::PATCH, &whip, &[SDP, "if-match: *"], "v=0")
        .await;
    assert_eq!(answer.refusal(), (415, "unsupported-media-type".into()));
    assert_eq!(
        answer.header("accept-patch"),
        "application/trickle-ice-sdpfrag"
    );
    let answer = api
        .send(Method::PATCH, &whep, &["content-type: text/plain"], "v=0")
        .await;
    assert_eq!(answer.code(), 415);
    assert_eq!(
        answer.header("accept-patch"),
        "application/trickle-ice-sdpfrag, application/sdp"
    );
    let frag = "content-type: application/Trickle-ICE-sdpfrag;charset=utf-8";
    let answer = api
        .send(Method::PATCH, &whep, &[frag, "if-match: *"], "a=x")
        .await;
    assert_eq!(answer.code(), 204);
    let answer = api
        .send(Method::PATCH, &whep, &[FRAG, "if-match: *"], "")
        .await;
    assert_eq!(answer.code(), 400);
    let huge = "a".repeat(ion_api::limits::BODY_BYTES + 1);
    let answer = api
        .send(Method::PATCH, &whip, &[FRAG, "if-match: *"], &huge)
        .await;
    assert_eq!(answer.code(), 413);
}

#[tokio::test]
async fn delete_ends_the_session_and_ignores_etags() {
    for (path, role) in paths() {
        let api = Api::dev();
        let answer = api
            .send(Method::DELETE, &path, &["if-match: \"nonsense"], "")
            .await;
        assert_eq!(answer.code(), 200);
        assert!(answer.body.is_empty());
        let Call::End(session) = api.last_call() else {
            panic!()
        };
        assert_eq!((session.role, session.room.as_str()), (role, "lobby"));
    }
}

#[tokio::test]
async fn sessions_that_are_none_are_404() {
    let api = Api::dev();
    for path in [
        "/whip/lobby/nothing".to_owned(),
        "/whep/lobby/bob/nothing".to_owned(),
        format!("/whip/elsewhere/{SESSION}"),
        "/whip/lobby/%2e%2e%2fetc".to_owned(),
        format!("/whip/lobby/{}", "x".repeat(5000)),
    ] {
        let gone = (404, "no-such-session".to_owned());
        assert_eq!(
            api.send(Method::DELETE, &path, &[], "").await.refusal(),
            gone,
            "{path}"
        );
        let patch = api
            .send(Method::PATCH, &path, &[FRAG, "if-match: *"], "a=x")
            .await;
        assert_eq!(patch.refusal(), gone, "{path}");
    }
}

#[tokio::test]
async fn a_bearer_must_be_of_the_sessions_room() {
    for (path, _) in paths() {
        let api = Api::strict();
        let code = async |lines: &[&str]| api.send(Method::DELETE, &path, lines, "").await.code();
        assert_eq!(code(&[&token(joins("other"))]).await, 403);
        assert_eq!(code(&["authorization: Bearer a.b.c"]).await, 401);
        assert!(api.backend.calls.lock().unwrap().is_empty());
        assert_eq!(code(&[&token(joins("lobby"))]).await, 200);
        // The id itself is a capability, and a token that has expired meanwhile does no harm.
        assert_eq!(code(&[]).await, 200);
        assert_eq!(code(&[&expired("lobby")]).await, 200);
    }
}
