//! What all endpoints share: reading a body, running the backend, writing an answer.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, options};
use tokio::sync::Semaphore;

use crate::auth::Auth;
use crate::backend::{Created, IceServer};
use crate::counters::Counters;
use crate::limits;
use crate::names::{Identity, NameError, RoomName};
use crate::problem::Problem;

/// Content type of offers and answers.
pub(crate) const SDP: &str = "application/sdp";

/// Content type of trickled candidates (RFC 8840 §9).
pub(crate) const SDPFRAG: &str = "application/trickle-ice-sdpfrag";

pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// State of all handlers.
pub(crate) struct App<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) auth: Auth,
    pub(crate) counters: Arc<Counters>,
    pub(crate) in_flight: Arc<Semaphore>,
}

pub(crate) type State<B> = axum::extract::State<Arc<App<B>>>;

impl<B> App<B> {
    /// Runs a backend call as a task of its own, so that a client who hangs up cannot leave it half
    /// done, and waits for it, but not for ever.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, call: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let permit = Arc::clone(&self.in_flight)
            .try_acquire_owned()
            .map_err(|_| Problem::overloaded("too many requests are under way", 1))?;
        let task = tokio::spawn(async move {
            let answer = call.await;
            drop(permit);
            answer
        });
        match tokio::time::timeout(limits::BACKEND_TIMEOUT, task).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_panicked)) => Err(Problem::internal()),
            Err(_elapsed) => Err(Problem::overloaded("the server did not answer in time", 2)),
        }
    }
}

/// The essence of `Content-Type`, in lower case, without parameters. Empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    value
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}

/// A body as text.
///
/// # Errors
/// 400 when it is empty or no UTF-8.
pub(crate) fn text(body: Bytes) -> Result<String, Problem> {
    let text = String::from_utf8(body.into())
        .map_err(|_| Problem::malformed_sdp("the body is no UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(Problem::malformed_sdp("the body is empty"));
    }
    Ok(text)
}

/// Reads the SDP offer of a POST.
///
/// # Errors
/// 415 when it is not called `application/sdp`, and as [`text`].
pub(crate) fn offer(headers: &HeaderMap, body: Bytes) -> Result<String, Problem> {
    if media_type(headers) != SDP {
        return Err(Problem::unsupported_media_type(format!(
            "POST takes {SDP} here"
        )));
    }
    text(body)
}

/// Path parameters that could be percent-decoded.
pub(crate) fn decoded<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(params)| params)
        .map_err(|_| Problem::bad_request("the path is no UTF-8 text"))
}

pub(crate) fn room(name: &str) -> Result<RoomName, Problem> {
    RoomName::parse(name).map_err(|error| bad_name("the room's name", error))
}

pub(crate) fn identity(name: &str) -> Result<Identity, Problem> {
    Identity::parse(name).map_err(|error| bad_name("the participant's identity", error))
}

fn bad_name(what: &str, error: NameError) -> Problem {
    Problem::bad_name(format!("{what} {error}"))
}

/// One segment of a path, percent-encoded (RFC 3986 §3.3) where it must be.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~@:+=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A strong entity tag (RFC 9110 §8.8.3) of a tag given without quotes.
pub(crate) fn entity_tag(tag: &str) -> Result<HeaderValue, Problem> {
    let good = !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if !good {
        return Err(Problem::internal());
    }
    HeaderValue::try_from(format!("\"{tag}\"")).map_err(|_| Problem::internal())
}

/// 201 with an answer, or 406 with a counter-offer.
pub(crate) fn created(
    status: StatusCode,
    created: Created,
    location: &str,
    content_type: &str,
) -> Result<Response, Problem> {
    let etag = entity_tag(&created.etag)?;
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Problem::internal());
    let mut response = (status, created.sdp).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(content_type)?);
    headers.insert(header::LOCATION, value(location)?);
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(SDPFRAG));
    for server in &created.ice_servers {
        headers.append(header::LINK, value(&ice_link(server))?);
    }
    Ok(response)
}

fn ice_link(server: &IceServer) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let url = server.url.replace(['<', '>', ' '], "");
    let mut link = format!("<{url}>; rel=\"ice-server\"");
    if let Some(username) = &server.username {
        let _ = write!(link, "; username=\"{}\"", quoted(username));
    }
    if let Some(credential) = &server.credential {
        let _ = write!(
            link,
            "; credential=\"{}\"; credential-type=\"password\"",
            quoted(credential)
        );
    }
    link
}

/// Answers OPTIONS for a resource: the methods it takes and the types it takes them with. CORS
/// headers are added for all answers elsewhere.
pub(crate) fn preflight<S: Clone + Send + Sync + 'static>(
    allow: &'static str,
    accept: Option<(HeaderName, &'static str)>,
) -> MethodRouter<S> {
    options(move || {
        let mut headers = HeaderMap::new();
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        if let Some((name, types)) = &accept {
            headers.insert(name, HeaderValue::from_static(types));
        }
        std::future::ready((StatusCode::NO_CONTENT, headers))
    })
}
