//! Cross-origin requests, methods, paths, the page, limits of rate and concurrency.

use std::num::NonZeroU32;

use axum::http::Method;
use ion_api::Config;
use ion_api::ratelimit::Quota;

use crate::fake::*;

const PREFLIGHT: [&str; 3] = [
    "origin: https://example.org",
    "access-control-request-method: POST",
    "access-control-request-headers: authorization,content-type",
];

#[tokio::test]
async fn preflights_need_no_token_and_name_methods_headers_and_types() {
    let api = Api::strict();
    let session = format!("/whep/a/b/{SESSION}");
    for (path, methods, accept, types) in [
        ("/whip/a", "POST", "accept-post", "application/sdp"),
        ("/whep/a", "POST", "accept-post", "application/sdp"),
        ("/whep/a/b", "POST", "accept-post", "application/sdp"),
        (
            "/whip/a/s",
            "PATCH, DELETE",
            "accept-patch",
            "application/trickle-ice-sdpfrag",
        ),
        (
            &session,
            "PATCH, DELETE",
            "accept-patch",
            "application/trickle-ice-sdpfrag, application/sdp",
        ),
        ("/v1/status", "GET", "vary", ""),
    ] {
        let answer = api.send(Method::OPTIONS, path, &PREFLIGHT, "").await;
        assert_eq!(answer.code(), 204, "{path}");
        assert!(answer.is_empty(), "{path}");
        assert_eq!(answer.header(accept), types, "{path}");
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains(methods),
            "{path}"
        );
        assert!(answer.header("allow").contains(methods), "{path}");
        let headers = answer.header("access-control-allow-headers");
        for name in ["Authorization", "If-Match", "Content-Type"] {
            assert!(headers.contains(name), "{path}: {headers}");
        }
    }
}

#[tokio::test]
async fn get_is_2xx_and_empty_on_endpoints_and_sessions() {
    let api = Api::strict();
    let session = format!("/whep/a/b/{SESSION}");
    for path in ["/whip/a", "/whip/a/s", "/whep/a", "/whep/a/b", &session] {
        for method in [Method::GET, Method::HEAD] {
            let answer = api.send(method, path, &[], "").await;
            assert_eq!((answer.code(), answer.is_empty()), (204, true), "{path}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow() {
    let api = Api::dev();
    for (method, path, allowed) in [
        (Method::PUT, "/whip/a", ["GET", "POST"]),
        (Method::PUT, "/whip/a/s", ["PATCH", "DELETE"]),
        (Method::POST, "/whip/a/s", ["PATCH", "DELETE"]),
        (Method::DELETE, "/whep/a", ["GET", "POST"]),
        (Method::PATCH, "/whep/a/b", ["GET", "POST"]),
        (Method::POST, "/v1/status", ["GET", "HEAD"]),
        (Method::POST, "/", ["GET", "HEAD"]),
    ] {
        let answer = api.send(method.clone(), path, &[SDP], "v=0").await;
        assert_eq!(
            answer.refusal(),
            (405, "method-not-allowed".into()),
            "{method} {path}"
        );
        for name in allowed {
            assert!(
                answer.header("allow").contains(name),
                "{path}: {}",
                answer.header("allow")
            );
        }
    }
}

#[tokio::test]
async fn unknown_paths_are_404_problems() {
    let api = Api::dev();
    for path in [
        "/nothing",
        "/whip",
        "/whip/a/b/c",
        "/v1",
        "/v1/rooms/",
        "//",
        "/app.js/x",
    ] {
        let answer = api.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.refusal(), (404, "not-found".into()), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_locked_down_and_revalidated() {
    let api = Api::strict();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/room/demo", "text/html; charset=utf-8"),
        ("/plain", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/session.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = api.send(Method::GET, path, &[], "").await;
        assert_eq!(
            (answer.code(), answer.header("content-type")),
            (200, content_type)
        );
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("cache-control"), "no-cache");
        let known = format!("if-none-match: {}", answer.header("etag"));
        let again = api.send(Method::GET, path, &[&known], "").await;
        assert_eq!((again.code(), again.body.as_str()), (304, ""));
    }
    // Nothing in the page that its own policy forbids.
    let mut page = api.send(Method::GET, "/plain", &[], "").await.body;
    page += &api.send(Method::GET, "/", &[], "").await.body;
    for forbidden in [
        "<style",
        " style=",
        " onclick=",
        "<script>",
        "http://",
        "https://",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn too_many_requests_are_429_but_looking_is_free() {
    let one = NonZeroU32::MIN;
    let two = NonZeroU32::new(2).unwrap();
    let quota = Quota {
        burst: two,
        per_second: one,
    };
    let api = Api::with(
        Fake::default(),
        Config {
            quota,
            ..config(true)
        },
    );
    assert_eq!(api.post("/whip/a").await.code(), 201);
    assert_eq!(
        api.send(Method::DELETE, "/whip/a/none", &[], "")
            .await
            .code(),
        404
    );
    for method in [Method::POST, Method::PATCH, Method::DELETE] {
        let answer = api.send(method, "/whip/a/none", &[], "").await;
        assert_eq!(answer.refusal(), (429, "too-many-requests".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(
        api.send(Method::OPTIONS, "/whip/a", &PREFLIGHT, "")
            .await
            .code(),
        204
    );
    assert_eq!(
        api.send(Method::GET, "/v1/status", &[], "").await.code(),
        200
    );
}

#[tokio::test]
async fn beyond_the_requests_at_a_time_is_503() {
    let api = Api::with(
        Fake::default(),
        Config {
            requests_in_flight: 0,
            ..config(true)
        },
    );
    let answer = api.post("/whip/a").await;
    assert_eq!(answer.refusal(), (503, "overloaded".into()));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(api.send(Method::GET, "/healthz", &[], "").await.code(), 200);
}
