//! Making and governing rooms, over HTTP.

use std::sync::Arc;

use axum::http::Method;
use ion_api::accounts::{Quota, Subject};
use ion_api::documents::Expected;
use ion_api::govern::{Act, Cap, Maker, RoomSettings};
use ion_api::limits;
use ion_api::model::MediaKind;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{Permissions, SubscriptionRule};
use ion_api::token::Grants;
use serde_json::{Value, json};

use crate::fake::*;

const JSON: &str = "content-type: application/json";

fn admin() -> String {
    token(Grants {
        room_admin: true,
        room_create: true,
        destination_room: "b".into(),
        room: "lobby".into(),
        ..Grants::default()
    })
}

async fn ask(api: &Api, method: Method, path: &str, lines: &[&str], body: &Value) -> Answer {
    let auth = admin();
    let mut all = vec![auth.as_str(), JSON];
    all.extend(lines);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    api.send(method, path, &all, &body).await
}

fn name(room: &str) -> RoomName {
    RoomName::parse(room).unwrap()
}

fn who(identity: &str) -> Identity {
    Identity::parse(identity).unwrap()
}

#[tokio::test]
async fn every_act_reaches_the_backend_as_it_was_meant() {
    let api = Api::strict();
    let (post, patch, put, delete) = (Method::POST, Method::PATCH, Method::PUT, Method::DELETE);
    let seven = PublicationId(7);
    let cap = Cap {
        max_spatial: Some(1),
        ..Cap::default()
    };
    let mute_only = Permissions {
        can_publish: false,
        ..Permissions::default()
    };
    let move_to = |identities: &[&str]| Act::Move {
        identities: identities.iter().map(|one| who(one)).collect(),
        to: name("b"),
    };
    let cases = [
        (
            &post,
            "participants/vera/admit",
            Value::Null,
            Act::Admit(who("vera")),
        ),
        (
            &delete,
            "participants/vera",
            Value::Null,
            Act::Kick(who("vera")),
        ),
        (
            &post,
            "participants/vera/mute",
            json!({"kind": "audio"}),
            Act::MuteAll(who("vera"), Some(MediaKind::Audio)),
        ),
        (
            &post,
            "participants/vera/move",
            json!({"to": "b"}),
            move_to(&["vera"]),
        ),
        (&post, "merge", json!({"to": "b"}), move_to(&[])),
        (
            &post,
            "split",
            json!({"to": "b", "identities": ["x", "y"]}),
            move_to(&["x", "y"]),
        ),
        (
            &patch,
            "participants/vera",
            json!({"permissions": mute_only}),
            Act::Permit(who("vera"), mute_only.clone()),
        ),
        (
            &put,
            "participants/vera/subscriptions/PB_7",
            json!({"rule": "forbidden"}),
            Act::Rule(who("vera"), seven, SubscriptionRule::Forbidden),
        ),
        (
            &patch,
            "tracks/PB_7",
            json!({"paused": true}),
            Act::Pause(seven, true),
        ),
        (
            &patch,
            "tracks/PB_7",
            json!({"muted": true}),
            Act::Mute(seven),
        ),
        (
            &patch,
            "tracks/PB_7",
            json!({"cap": {"maxSpatial": 1}}),
            Act::Throttle(seven, cap),
        ),
        (&delete, "tracks/PB_7", Value::Null, Act::Unpublish(seven)),
        (
            &put,
            "tracks/PB_7/rooms/b",
            Value::Null,
            Act::Attach(seven, name("b")),
        ),
        (
            &delete,
            "tracks/PB_7/rooms/b",
            Value::Null,
            Act::Detach(seven, name("b")),
        ),
        (
            &post,
            "data",
            json!({"payload": "aGk=", "to": ["vera"]}),
            Act::Send {
                to: Some(vec![who("vera")]),
                topic: String::new(),
                payload: "aGk=".to_owned(),
                lossy: false,
            },
        ),
    ];
    for (method, path, body, act) in cases {
        let path = format!("/v1/rooms/lobby/{path}");
        let answer = ask(&api, method.clone(), &path, &[], &body).await;
        assert_eq!(answer.code(), 204, "{path}: {}", answer.body);
        assert_eq!(api.last_call(), Call::Govern("lobby".into(), act));
        let elsewhere = path.replace("lobby", "other");
        let answer = ask(&api, method.clone(), &elsewhere, &[], &body).await;
        assert_eq!(answer.code(), 403, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_room_is_made_once_and_changed_by_its_version() {
    let api = Api::strict();
    let made = ask(
        &api,
        Method::POST,
        "/v1/rooms",
        &[],
        &json!({"name": "new"}),
    )
    .await;
    assert_eq!(
        (made.code(), made.header("location")),
        (201, "/v1/rooms/new")
    );
    let kept = RoomSettings {
        keep: true,
        ..RoomSettings::default()
    };
    let configure = |expected, settings, maker| Act::Configure {
        expected,
        settings,
        maker,
    };
    let maker = Maker {
        key: "key".into(),
        quota: Quota::default(),
    };
    let first = configure(Expected::Absent, kept, Some(maker));
    assert_eq!(api.last_call(), Call::Govern("new".into(), first));
    let again = ask(
        &api,
        Method::POST,
        "/v1/rooms",
        &[],
        &json!({"name": "lobby"}),
    )
    .await;
    assert_eq!(again.refusal(), (409, "conflict".into()));

    let shown = ask(&api, Method::GET, "/v1/rooms/lobby", &[], &Value::Null).await;
    assert_eq!((shown.code(), shown.header("etag")), (200, "\"7\""));
    let change = json!({"lobby": true});
    let lines = ["if-match: \"6\""];
    let stale = ask(&api, Method::PATCH, "/v1/rooms/lobby", &lines, &change).await;
    assert_eq!(stale.refusal(), (412, "version-mismatch".into()));
    let lines = ["if-match: \"7\""];
    let changed = ask(&api, Method::PATCH, "/v1/rooms/lobby", &lines, &change).await;
    assert_eq!(changed.code(), 200);
    let settings = RoomSettings {
        lobby: true,
        metadata: "as it was".into(),
        ..RoomSettings::default()
    };
    let expected = configure(Expected::Version(7), settings, None);
    assert_eq!(api.last_call(), Call::Govern("lobby".into(), expected));
    let closed = ask(&api, Method::DELETE, "/v1/rooms/lobby", &[], &Value::Null).await;
    assert_eq!(closed.code(), 204);
    assert_eq!(api.last_call(), Call::Govern("lobby".into(), Act::Close));
}

#[tokio::test]
async fn a_kicked_participants_token_is_dead_and_a_new_one_is_not() {
    let api = Api::strict();
    let old = token(joins("lobby"));
    let publish = |line: String| {
        let api = &api;
        async move {
            let lines = [line.as_str(), SDP];
            api.send(Method::POST, "/whip/lobby", &lines, "v=0").await
        }
    };
    assert_eq!(publish(old.clone()).await.code(), 201);
    let path = "/v1/rooms/lobby/participants/alice";
    let by_other = token(Grants {
        room_admin: true,
        room: "lobby".into(),
        ..Grants::default()
    });
    // The token of the one who kicks is the same person's here, and dies too.
    assert_eq!(
        api.send(Method::DELETE, path, &[&by_other], "")
            .await
            .code(),
        204
    );
    assert_eq!(publish(old).await.refusal(), (401, "token-revoked".into()));
    // One that was signed elsewhere may be of a clock that is ahead; one that this server issues is not.
    let signed = publish(token(joins("lobby"))).await;
    assert_eq!(signed.refusal(), (401, "token-revoked".into()));
    let holder = token(Grants {
        server_admin: true,
        ..Grants::default()
    });
    let wish = json!({"identity": "alice", "grants": {"roomJoin": true, "room": "lobby"}});
    let issued = api
        .send(
            Method::POST,
            "/v1/tokens",
            &[&holder, JSON],
            &wish.to_string(),
        )
        .await;
    let issued: Value = serde_json::from_str(&issued.body).unwrap();
    let issued = format!(
        "authorization: Bearer {}",
        issued["token"].as_str().unwrap()
    );
    assert_eq!(publish(issued).await.code(), 201);
}

#[tokio::test]
async fn moving_into_another_room_needs_a_say_there() {
    let api = Api::strict();
    let admin = Grants {
        room_admin: true,
        room: "lobby".into(),
        ..Grants::default()
    };
    // To make rooms is no say in those that others made.
    let maker = Grants {
        room_create: true,
        destination_room: "c".into(),
        ..admin.clone()
    };
    let mover = Grants {
        destination_room: "b".into(),
        ..admin.clone()
    };
    for (grants, code) in [(admin, 403), (maker, 403), (mover, 204)] {
        let auth = token(grants);
        for (method, path, body) in [
            (Method::POST, "merge", "{\"to\":\"b\"}"),
            (Method::POST, "participants/vera/move", "{\"to\":\"b\"}"),
            (Method::PUT, "tracks/PB_7/rooms/b", ""),
        ] {
            let path = format!("/v1/rooms/lobby/{path}");
            let answer = api.send(method, &path, &[&auth, JSON], body).await;
            assert_eq!(answer.code(), code, "{path}");
        }
    }
}

#[tokio::test]
async fn a_kick_kicks_though_no_more_tokens_can_be_revoked() {
    let config = config(false);
    let accounts = Arc::clone(&config.auth.accounts);
    let api = Api::with(Fake::default(), config);
    for n in 0..limits::REVOCATIONS {
        let subject = Subject::User(who(&format!("u{n}")));
        accounts.revoke(&subject, "").unwrap();
    }
    let path = "/v1/rooms/lobby/participants/vera";
    let answer = ask(&api, Method::DELETE, path, &[], &Value::Null).await;
    assert_eq!(answer.refusal(), (409, "limit-reached".to_owned()));
    assert_eq!(
        api.last_call(),
        Call::Govern("lobby".to_owned(), Act::Kick(who("vera")))
    );
}
