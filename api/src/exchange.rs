//! What all endpoints share: reading a body, running the backend, writing an answer.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::accounts::{Accounts, Subject, Versioned};
use crate::auth::Auth;
use crate::backend::{Backend, Created, IceServer};
use crate::counters::Counters;
use crate::documents::Expected;
use crate::events::EventLog;
use crate::if_match::IfMatch;
use crate::limits;
use crate::names::{Identity, NameError, RoomName};
use crate::problem::Problem;
use crate::server::Clients;
use crate::signal::Backlog;
use crate::webhooks::Webhooks;

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
    pub(crate) events: Arc<dyn EventLog>,
    pub(crate) webhooks: Arc<Webhooks>,
    /// The settings in force, without secrets.
    pub(crate) settings: serde_json::Value,
    /// Places of clients that follow events.
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) sockets: Sockets,
}

/// How many sockets there may be.
pub(crate) struct Sockets {
    pub(crate) places: Arc<Semaphore>,
    pub(crate) clients: Arc<Clients>,
    /// What waits to be sent on all of them.
    pub(crate) backlog: Backlog,
    pub(crate) join_timeout: Duration,
}

impl Sockets {
    pub(crate) fn new(backlog: Backlog, join_timeout: Duration) -> Self {
        Self {
            backlog,
            join_timeout,
            places: Arc::new(Semaphore::new(limits::SOCKETS)),
            clients: Arc::new(Clients::new(limits::SOCKETS_PER_CLIENT)),
        }
    }
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

impl<B: Backend> App<B> {
    /// Ends the sessions of tokens that were revoked.
    pub(crate) async fn end_sessions(self: &Arc<Self>, of: Subject) -> Result<(), Problem> {
        let backend = Arc::clone(&self.backend);
        self.run(async move { backend.revoke(of).await }).await?
    }
}

impl<B: Send + Sync + 'static> App<B> {
    /// Asks the accounts, off the threads that serve.
    pub(crate) async fn accounts<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Accounts) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let accounts = Arc::clone(&self.auth.accounts);
        let call = tokio::task::spawn_blocking(move || call(&accounts));
        let call = async { call.await.unwrap_or_else(|_| Err(Problem::internal())) };
        self.run(call).await?
    }
}

/// An answer whose body is JSON and as of now.
pub(crate) fn fresh(body: impl Serialize) -> Response {
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, Json(body)).into_response()
}

/// The same, of something that has versions.
pub(crate) fn versioned<T: Serialize>(found: Versioned<T>) -> Result<Response, Problem> {
    let mut response = fresh(found.value);
    let etag = entity_tag(&found.version.to_string())?;
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// 204.
pub(crate) fn gone() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// What was created, as it is answered: 201.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub(crate) struct Made {
    body: String,
    location: Option<String>,
    version: Option<u64>,
}

impl Made {
    /// Something without a path of its own.
    pub(crate) fn new(body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            body: serde_json::to_string(body).map_err(|_| Problem::internal())?,
            location: None,
            version: None,
        })
    }

    /// A resource with versions.
    pub(crate) fn at<T: Serialize>(location: String, made: Versioned<T>) -> Result<Self, Problem> {
        Ok(Self {
            version: Some(made.version),
            ..Self::new(&made.value)?.located(location)
        })
    }

    /// The same, at this path.
    pub(crate) fn located(self, location: String) -> Self {
        Self {
            location: Some(location),
            ..self
        }
    }

    /// The answer.
    pub(crate) fn answer(self) -> Result<Response, Problem> {
        let mut response = (StatusCode::CREATED, self.body).into_response();
        let headers = response.headers_mut();
        let fixed = HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, fixed("application/json"));
        headers.insert(header::CACHE_CONTROL, fixed("no-store"));
        if let Some(location) = self.location {
            let location = HeaderValue::try_from(location).map_err(|_| Problem::internal())?;
            headers.insert(header::LOCATION, location);
        }
        if let Some(version) = self.version {
            headers.insert(header::ETAG, entity_tag(&version.to_string())?);
        }
        Ok(response)
    }
}

/// Reads a JSON body.
///
/// # Errors
/// 415 when it is not called so, 400 when it is none, 422 when it is not what is needed here.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let media_type = media_type(headers);
    let suffixed = media_type.starts_with("application/") && media_type.ends_with("+json");
    if media_type != "application/json" && !suffixed {
        let text = "the body must be JSON and be called application/json";
        return Err(Problem::unsupported_media_type(text));
    }
    // Else a list would pass for an object's fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("the body must be an object"));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::invalid(error.to_string()),
        _ => Problem::bad_request(format!("the body is no JSON: {error}")),
    })
}

/// Reads a form.
///
/// # Errors
/// 422 when it is not what is needed here.
pub(crate) fn form<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_urlencoded::from_bytes(body).map_err(|error| Problem::invalid(error.to_string()))
}

/// The version that a request means by `If-Match`: any without the header or with `*`.
///
/// # Errors
/// 400 when it cannot be read, 412 when it names no version that there could be.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    match IfMatch::from_headers(headers)? {
        None | Some(IfMatch::Any) => Ok(Expected::Any),
        Some(IfMatch::Tags(tags)) => {
            let version = match tags.as_slice() {
                [tag] => tag.parse().ok(),
                _ => None,
            };
            let text = "If-Match names no version of this resource";
            let version = version.ok_or_else(|| Problem::version_mismatch(text))?;
            Ok(Expected::Version(version))
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
    allow: impl Into<Cow<'static, str>>,
    accept: Option<(HeaderName, &'static str)>,
) -> MethodRouter<S> {
    let allow = HeaderValue::try_from(allow.into().as_ref()).ok();
    options(move || {
        let mut headers = HeaderMap::new();
        if let Some(allow) = allow.clone() {
            headers.insert(header::ALLOW, allow);
        }
        if let Some((name, types)) = &accept {
            headers.insert(name, HeaderValue::from_static(types));
        }
        std::future::ready((StatusCode::NO_CONTENT, headers))
    })
}
