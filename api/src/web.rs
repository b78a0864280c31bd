//! The web app, and the plain page at `/plain`, compiled in.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::exchange::{self, App};

#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// Files that `webapp/` was built to, by their paths; none where it was not built.
const APP: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/webapp.rs"));

/// Paths that the app's own router knows; each answers with its one HTML file.
const APP_PAGES: [&str; 5] = [
    "/",
    "/room/{room}",
    "/watch/{room}",
    "/broadcast/{room}",
    "/admin",
];

const APP_INDEX: &str = "/index.html";
const UNBUILT: &str = include_str!("../assets/unbuilt.html");

/// Asked for again each time, answered by 304 while nothing changed: a page never runs with the
/// script of another version.
const REVALIDATED: &str = "no-cache";
/// Files under this have the hash of their content in their name.
const HASHED: &str = "/assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

const ASSETS: [Asset; 7] = [
    Asset {
        path: "/plain",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../assets/plain.html"),
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
    let mut serve = |path: &'static str, content_type, body: &'static [u8], caching| {
        let etag = etag(body);
        let answer = move |headers: HeaderMap| {
            std::future::ready(answer(content_type, body, caching, &etag, &headers))
        };
        router = std::mem::take(&mut router).route(path, get(answer).merge(options()));
    };
    for asset in ASSETS {
        serve(
            asset.path,
            asset.content_type,
            asset.text.as_bytes(),
            REVALIDATED,
        );
    }
    for (path, body) in APP.iter().filter(|(path, _)| *path != APP_INDEX) {
        let caching = match path.starts_with(HASHED) {
            true => FOR_EVER,
            false => REVALIDATED,
        };
        serve(path, content_type(path), body, caching);
    }
    let index = APP.iter().find(|(path, _)| *path == APP_INDEX);
    let index = index.map_or(UNBUILT.as_bytes(), |(_, body)| body);
    for path in APP_PAGES {
        serve(path, content_type(APP_INDEX), index, REVALIDATED);
    }
    router
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn etag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn answer(
    content_type: &'static str,
    body: &'static [u8],
    caching: &'static str,
    etag: &str,
    request: &HeaderMap,
) -> Response {
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
        false => body.into_response(),
    };
    let fixed = HeaderValue::from_static;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, fixed(content_type));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, fixed(caching));
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(POLICY));
    headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
    headers.insert("cross-origin-opener-policy", fixed("same-origin"));
    headers.insert("permissions-policy", fixed(PERMISSIONS));
    response
}
