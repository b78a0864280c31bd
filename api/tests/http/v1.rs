//! The management API, probes and metrics.

use axum::http::Method;
use ion_api::token::Grants;

use crate::fake::*;

async fn get(api: &Api, path: &str, lines: &[&str]) -> Answer {
    api.send(Method::GET, path, lines, "").await
}

fn json(answer: &Answer) -> serde_json::Value {
    assert_eq!(
        (answer.code(), answer.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn bodies_are_camel_case_json() {
    let api = Api::dev();
    let rooms = json(&get(&api, "/v1/rooms", &[]).await);
    assert_eq!(
        (&rooms["rooms"][0]["name"], &rooms["rooms"][0]["sentBps"]),
        (&"lobby".into(), &7.into())
    );
    assert_eq!(
        json(&get(&api, "/v1/rooms/lobby", &[]).await)["createdAtS"],
        0
    );
    let people = json(&get(&api, "/v1/rooms/lobby/participants", &[]).await);
    assert_eq!(people["participants"][0]["role"], "publisher");
    let tracks = json(&get(&api, "/v1/rooms/lobby/participants/alice/tracks", &[]).await);
    assert_eq!(tracks["tracks"][0]["bitrateBps"], 9);
    let stats = json(&get(&api, "/v1/rooms/lobby/participants/alice/stats", &[]).await);
    let outbound = &stats["sessions"][0]["outbound"][0];
    assert_eq!(outbound["qualityLimitationReason"], "bandwidth");
    assert_eq!(outbound["packetsSent"], 7);
    assert_eq!(json(&get(&api, "/v1/status", &[]).await)["version"], "test");
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let api = Api::dev();
    for path in [
        "/v1/rooms/nowhere",
        "/v1/rooms/nowhere/participants",
        "/v1/rooms/lobby/participants/nobody/tracks",
        "/v1/rooms/lobby/participants/nobody/stats",
    ] {
        assert_eq!(
            get(&api, path, &[]).await.refusal(),
            (404, "not-found".into()),
            "{path}"
        );
    }
    assert_eq!(get(&api, "/v1/rooms/a%20b", &[]).await.code(), 400);
}

#[tokio::test]
async fn grants_decide_who_may_look() {
    let api = Api::strict();
    let list = token(Grants {
        room_list: true,
        ..Grants::default()
    });
    let admin = token(Grants {
        room_admin: true,
        room: "lobby".into(),
        ..Grants::default()
    });
    let join = token(joins("lobby"));
    for (path, codes) in [
        ("/v1/status", [401, 200, 403, 403]),
        ("/v1/rooms", [401, 200, 403, 403]),
        ("/v1/rooms/lobby", [401, 200, 200, 403]),
        ("/v1/rooms/lobby/participants", [401, 200, 200, 403]),
        (
            "/v1/rooms/lobby/participants/alice/tracks",
            [401, 200, 200, 403],
        ),
        (
            "/v1/rooms/lobby/participants/alice/stats",
            [401, 200, 200, 403],
        ),
        ("/v1/rooms/other", [401, 404, 403, 403]),
    ] {
        let mut seen = Vec::new();
        seen.push(get(&api, path, &[]).await.code());
        for line in [&list, &admin, &join] {
            seen.push(get(&api, path, &[line]).await.code());
        }
        assert_eq!(seen, codes, "{path}");
    }
}

#[tokio::test]
async fn probes_need_no_token() {
    let api = Api::strict();
    assert_eq!(get(&api, "/healthz", &[]).await.code(), 200);
    assert_eq!(get(&api, "/readyz", &[]).await.code(), 200);
    let not_ready = Some("waiting for the dataplane".to_owned());
    let starting = Api::with(
        Fake {
            not_ready,
            ..Fake::default()
        },
        config(false),
    );
    assert_eq!(get(&starting, "/healthz", &[]).await.code(), 200);
    let answer = get(&starting, "/readyz", &[]).await;
    assert_eq!(answer.refusal(), (503, "overloaded".into()));
    assert_eq!(answer.problem()["detail"], "waiting for the dataplane");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn metrics_count_refusals_by_endpoint_and_code() {
    let metrics = "# TYPE x gauge\nx 1\n# EOF\n".to_owned();
    let api = Api::with(
        Fake {
            metrics,
            ..Fake::default()
        },
        config(false),
    );
    api.post("/whip/lobby").await;
    api.post("/whip/lobby").await;
    api.post("/made/up/path").await;
    let answer = get(&api, "/metrics", &[]).await;
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let expected = "\
# TYPE x gauge
x 1
# HELP ion_http_responses HTTP answers by endpoint and status code.
# TYPE ion_http_responses counter
ion_http_responses_total{endpoint=\"whip\",code=\"401\"} 2
ion_http_responses_total{endpoint=\"other\",code=\"404\"} 1
# EOF
";
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn metrics_in_the_older_format_stay_so() {
    let api = Api::with(
        Fake {
            metrics: "x 1".into(),
            ..Fake::default()
        },
        config(false),
    );
    let answer = get(&api, "/metrics", &[]).await;
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(answer.body.starts_with("x 1\n# HELP") && !answer.body.contains("EOF"));
}
