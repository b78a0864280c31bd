//! The plain page at `/` and its files, compiled in.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::exchange::{self, App};

struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 7] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../assets/index.html"),
    },
    Asset {
        path: "/app.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../assets/app.js"),
    },
    Asset {
        path: "/session.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../assets/session.js"),
    },
    Asset {
        path: "/docs",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../assets/docs.html"),
    },
    Asset {
        path: "/docs.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../assets/docs.js"),
    },
    Asset {
        path: "/docs.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../assets/docs.css"),
    },
    Asset {
        path: "/style.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../assets/style.css"),
    },
];

/// The page runs its own files only, talks to its own server only, and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; media-src 'self' blob: mediastream:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self)";

pub(crate) fn routes<B: Send + Sync + 'static>() -> Router<Arc<App<B>>> {
    let options = || exchange::preflight("GET, HEAD, OPTIONS", None);
    let mut router = Router::new()
        // Browsers ask for it unbidden.
        .route(
            "/favicon.ico",
            get(|| async { StatusCode::NO_CONTENT }).merge(options()),
        );
    for asset in &ASSETS {
        let etag = etag(asset.text);
        let serve = move |headers: HeaderMap| std::future::ready(answer(asset, &etag, &headers));
        router = router.route(asset.path, get(serve).merge(options()));
    }
    router
}

fn etag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn answer(asset: &Asset, etag: &str, request: &HeaderMap) -> Response {
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => asset.text.into_response(),
    };
    let fixed = HeaderValue::from_static;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, fixed(asset.content_type));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    // Asked for again each time, answered by 304 while nothing changed: a page never runs with the
    // script of another version.
    headers.insert(header::CACHE_CONTROL, fixed("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(POLICY));
    headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
    headers.insert("cross-origin-opener-policy", fixed("same-origin"));
    headers.insert("permissions-policy", fixed(PERMISSIONS));
    response
}
