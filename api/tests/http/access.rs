//! Keys, users, tokens, over HTTP.

use axum::http::Method;
use ion_api::accounts::Subject;
use ion_api::names::Identity;
use ion_api::token::Grants;
use serde_json::{Value, json};

use crate::fake::*;

const JSON: &str = "content-type: application/json";

fn holder() -> String {
    token(Grants {
        server_admin: true,
        ..Grants::default()
    })
}

async fn ask(api: &Api, method: Method, path: &str, lines: &[&str], body: &Value) -> Answer {
    let auth = holder();
    let mut all = vec![auth.as_str(), JSON];
    all.extend(lines);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    api.send(method, path, &all, &body).await
}

async fn post(api: &Api, path: &str, body: &Value) -> Answer {
    ask(api, Method::POST, path, &[], body).await
}

fn parsed(answer: &Answer, code: u16) -> Value {
    assert_eq!(answer.code(), code, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    serde_json::from_str(&answer.body).unwrap()
}

fn bearer(token: &Value) -> String {
    format!("authorization: Bearer {}", token.as_str().unwrap())
}

#[tokio::test]
async fn only_the_holder_of_a_key_may() {
    let api = Api::strict();
    let everything_else = token(Grants {
        room_admin: true,
        room_create: true,
        room_list: true,
        room: "lobby".into(),
        ..Grants::default()
    });
    for path in ["/v1/keys", "/v1/users", "/v1/revocations"] {
        let get = |lines: Vec<String>| {
            let api = &api;
            async move {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                api.send(Method::GET, path, &lines, "").await.code()
            }
        };
        assert_eq!(get(vec![]).await, 401);
        assert_eq!(get(vec![everything_else.clone()]).await, 403);
        assert_eq!(get(vec![holder()]).await, 200);
    }
}

#[tokio::test]
async fn a_key_is_made_used_rotated_and_deleted() {
    let api = Api::strict();
    let answer = post(&api, "/v1/keys", &json!({"label": "app"})).await;
    let made = parsed(&answer, 201);
    let path = answer.header("location").to_owned();
    let etag = format!("if-match: {}", answer.header("etag"));
    let (key, secret) = (
        made["key"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    assert_eq!(path, format!("/v1/keys/{key}"));
    assert_eq!(secret.len(), 64);

    let claims = ion_api::token::Claims {
        video: Grants {
            room_list: true,
            ..Grants::default()
        },
        ..Default::default()
    };
    let minute = std::time::Duration::from_secs(60);
    let signed = ion_api::token::mint(key, secret, claims, minute).unwrap();
    let own = format!("authorization: Bearer {signed}");
    assert_eq!(
        api.send(Method::GET, "/v1/rooms", &[&own], "").await.code(),
        200
    );

    let shown = ask(&api, Method::GET, &path, &[], &Value::Null).await;
    assert!(!shown.body.contains(secret) && shown.body.contains("\"label\":\"app\""));
    let changed = ask(&api, Method::PATCH, &path, &[&etag], &json!({"label": "b"})).await;
    assert_eq!(parsed(&changed, 200)["label"], "b");
    let stale = ask(&api, Method::PATCH, &path, &[&etag], &json!({"label": "c"})).await;
    assert_eq!(stale.refusal(), (412, "version-mismatch".into()));

    let rotated = parsed(
        &post(&api, &format!("{path}/rotate"), &json!({})).await,
        200,
    );
    assert_ne!(rotated["secret"], made["secret"]);
    let refused = api.send(Method::GET, "/v1/rooms", &[&own], "").await;
    assert_eq!(refused.refusal(), (401, "token-invalid".into()));
    assert_eq!(
        ask(&api, Method::DELETE, &path, &[], &Value::Null)
            .await
            .code(),
        204
    );
    assert_eq!(
        ask(&api, Method::GET, &path, &[], &Value::Null)
            .await
            .code(),
        404
    );
}

#[tokio::test]
async fn a_token_is_issued_introspected_refreshed_and_revoked() {
    let api = Api::strict();
    let user = json!({"identity": "vera", "name": "Vera", "grants":
        {"roomJoin": true, "room": "lobby"}});
    assert_eq!(post(&api, "/v1/users", &user).await.code(), 201);
    let wish = json!({"identity": "vera", "ttlS": 60, "refreshForS": 90});
    let issued = parsed(&post(&api, "/v1/tokens", &wish).await, 201);
    let lines = [bearer(&issued["token"]), SDP.to_owned()];
    let lines = [lines[0].as_str(), lines[1].as_str()];
    let publish = || api.send(Method::POST, "/whip/lobby", &lines, "v=0");
    assert_eq!(publish().await.code(), 201);

    let question = json!({"token": issued["token"]});
    let known = parsed(&post(&api, "/v1/tokens/introspect", &question).await, 200);
    assert_eq!(
        (
            &known["active"],
            &known["sub"],
            &known["username"],
            &known["scope"]
        ),
        (
            &json!(true),
            &json!("vera"),
            &json!("Vera"),
            &json!("roomJoin")
        )
    );
    let form = format!("token={}", issued["token"].as_str().unwrap());
    let auth = holder();
    let form_lines = [
        auth.as_str(),
        "content-type: application/x-www-form-urlencoded",
    ];
    let by_form = api
        .send(Method::POST, "/v1/tokens/introspect", &form_lines, &form)
        .await;
    assert_eq!(parsed(&by_form, 200), known);

    let refresh = api
        .send(Method::POST, "/v1/tokens/refresh", &lines[..1], "")
        .await;
    let fresh = parsed(&refresh, 201);
    assert_ne!(fresh["id"], issued["id"]);
    assert_eq!(fresh["refreshUntilS"], issued["refreshUntilS"]);

    let jti = json!({"token": issued["id"], "reason": "leaked"});
    let revocation = parsed(&post(&api, "/v1/revocations", &jti).await, 201);
    let ended = Subject::Token(Identity::parse(issued["id"].as_str().unwrap()).unwrap());
    assert_eq!(api.last_call(), Call::Revoke(ended));
    assert_eq!(publish().await.refusal(), (401, "token-revoked".into()));
    let gone = parsed(&post(&api, "/v1/tokens/introspect", &question).await, 200);
    assert_eq!(gone, json!({"active": false}));
    let other = [bearer(&fresh["token"]), SDP.to_owned()];
    let other = [other[0].as_str(), other[1].as_str()];
    assert_eq!(
        api.send(Method::POST, "/whip/lobby", &other, "v=0")
            .await
            .code(),
        201
    );

    let path = format!("/v1/revocations/{}", revocation["id"].as_str().unwrap());
    assert_eq!(
        ask(&api, Method::DELETE, &path, &[], &Value::Null)
            .await
            .code(),
        204
    );
    assert_eq!(publish().await.code(), 201);
    let stale = ["if-match: \"999\""];
    let refused = ask(&api, Method::DELETE, "/v1/users/vera", &stale, &Value::Null).await;
    assert_eq!((refused.code(), publish().await.code()), (412, 201));
    let disable = json!({"disabled": true});
    ask(&api, Method::PATCH, "/v1/users/vera", &[], &disable).await;
    let ended = Subject::User(Identity::parse("vera").unwrap());
    assert_eq!(api.last_call(), Call::Revoke(ended));
    assert_eq!(publish().await.code(), 401);
    assert_eq!(post(&api, "/v1/tokens", &wish).await.code(), 409);
}

#[tokio::test]
async fn a_token_that_was_not_issued_for_it_is_not_refreshed() {
    let api = Api::strict();
    let lines = [token(joins("lobby"))];
    let answer = api
        .send(Method::POST, "/v1/tokens/refresh", &[&lines[0]], "")
        .await;
    assert_eq!(answer.refusal(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_creation_sent_again_creates_nothing_more() {
    let api = Api::strict();
    let once = ["idempotency-key: abc"];
    let body = json!({"label": "one"});
    let first = ask(&api, Method::POST, "/v1/keys", &once, &body).await;
    let again = ask(&api, Method::POST, "/v1/keys", &once, &body).await;
    assert_eq!((first.code(), &first.body), (201, &again.body));
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(again.header("idempotent-replayed"), "true");
    let other = ask(&api, Method::POST, "/v1/keys", &once, &json!({})).await;
    assert_eq!(other.refusal(), (422, "invalid".into()));
    let list = ask(&api, Method::GET, "/v1/keys", &[], &Value::Null).await;
    assert_eq!(parsed(&list, 200)["keys"].as_array().unwrap().len(), 2);
    // A refused one may be tried again under its key.
    let twice = ["idempotency-key: def"];
    let bad = json!({"label": "x".repeat(300)});
    assert_eq!(
        ask(&api, Method::POST, "/v1/keys", &twice, &bad)
            .await
            .code(),
        422
    );
    assert_eq!(
        ask(&api, Method::POST, "/v1/keys", &twice, &body)
            .await
            .code(),
        201
    );
}

#[tokio::test]
async fn bodies_that_are_not_what_is_needed_are_told_so() {
    let api = Api::strict();
    for (body, code) in [
        ("{", 400),
        ("[]", 422),
        ("{\"label\": 1}", 422),
        ("{\"lable\": \"typo\"}", 422),
        ("{\"limits\": {\"requestsPerSecond\": 0}}", 422),
    ] {
        let lines = [holder(), JSON.to_owned()];
        let lines = [lines[0].as_str(), lines[1].as_str()];
        let answer = api.send(Method::POST, "/v1/keys", &lines, body).await;
        assert_eq!(answer.code(), code, "{body}: {}", answer.body);
        let plain = [lines[0], "content-type: text/plain"];
        let answer = api.send(Method::POST, "/v1/keys", &plain, body).await;
        assert_eq!(answer.code(), 415);
    }
    let cursor = ask(&api, Method::GET, "/v1/users?cursor=%21", &[], &Value::Null).await;
    assert_eq!(cursor.code(), 400);
    let limit = ask(&api, Method::GET, "/v1/users?limit=0", &[], &Value::Null).await;
    assert_eq!(limit.code(), 400);
}

#[tokio::test]
async fn the_description_names_every_problem_and_all_refusals() {
    let api = Api::strict();
    let answer = api.send(Method::GET, "/openapi.json", &[], "").await;
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            assert!(operation["operationId"].is_string(), "{method} {path}");
            for (code, response) in operation["responses"].as_object().unwrap() {
                if code.as_str() >= "400" && code != "406" {
                    let problem = &response["content"]["application/problem+json"];
                    assert!(problem.is_object(), "{method} {path} {code}");
                }
            }
        }
    }
    assert!(operations > 30, "{operations}");
    let options = api.send(Method::OPTIONS, "/v1/keys/x", &[], "").await;
    assert_eq!(options.header("allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
}
