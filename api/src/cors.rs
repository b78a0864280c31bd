//! What every answer carries, errors among them: CORS and `nosniff`. Every answer is counted here.
//!
//! Any origin may call: permission comes from the token in a header, which no foreign page has, and
//! never from a cookie.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::counters::Counters;

const EXPOSED: &str = "Location, Link, ETag, Retry-After, Accept-Post, Accept-Patch, WWW-Authenticate, Idempotent-Replayed";
const REQUEST_HEADERS: &str =
    "Authorization, If-Match, Content-Type, Idempotency-Key, Last-Event-ID";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Preflights are asked again after two hours, the longest that Chromium allows.
const MAX_AGE_S: &str = "7200";

pub(crate) async fn finish(
    State(counters): State<Arc<Counters>>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    counters.count(&path, response.status());
    tracing::debug!(%method, status = response.status().as_u16(), "answered");
    decorate(response.headers_mut(), &method);
    response
}

fn decorate(headers: &mut HeaderMap, method: &Method) {
    let fixed = HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, fixed(EXPOSED));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    if method == Method::OPTIONS {
        let methods = headers
            .get(header::ALLOW)
            .cloned()
            .unwrap_or(fixed(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fixed(REQUEST_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, fixed(MAX_AGE_S));
    }
}
