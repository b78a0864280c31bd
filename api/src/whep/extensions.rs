//! The extensions of WHEP (draft-ietf-wish-whep-03, section 4.9): server-sent events, and the choice of video layers.
//!
//! An event stream is made of what its path says, the names of the events, and of what the backend says of the session, once
//! a second: nothing is kept for it here, so that ending one (DELETE) is ending the request that reads it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa_axum::router::OpenApiRouter;

use crate::backend::{Backend, SessionRef};
use crate::exchange::{self, App, State, decoded};
use crate::limits;
use crate::model::Role;
use crate::problem::Problem;
use crate::routes::params::{PublisherPath, RoomPath, SessionPath};
use crate::routes::{Described, resource};
use crate::session;

/// `rel` of the resource that makes event streams.
const EVENTS_REL: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
/// `rel` of the resource that chooses layers.
const LAYER_REL: &str = "urn:ietf:params:whep:ext:core:layer";
/// The events that there are, in the order in which they are sent.
const EVENTS: [&str; 4] = ["active", "inactive", "layers", "viewercount"];
/// How often the backend is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const JSON: &str = "application/json";

/// Event streams that may be open.
static STREAMS: Semaphore = Semaphore::const_new(limits::WHEP_STREAMS);

/// What a viewer may be sent of what it plays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Playing {
    /// Somebody publishes what it plays.
    pub active: bool,
    /// Who plays the same, this viewer included.
    pub viewers: u32,
    /// The layers of each video, by index of the m-section.
    pub layers: BTreeMap<String, Vec<PlayableLayer>>,
}

/// One layer of a video. Without `bitrate` it is not sent at present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayableLayer {
    /// RTP stream id of the simulcast encoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// The spatial layer, of an encoding that has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spatial_layer_id: Option<u8>,
    /// Bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
}

/// What a viewer wants of a video; what is `None` is for the server to choose. A network that carries less is sent less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LayerSelection {
    /// Index of the m-section; the first video without.
    pub media_id: Option<String>,
    /// The simulcast encoding; earlier drafts called it so.
    #[serde(alias = "encodingId")]
    pub rid: Option<String>,
    /// The spatial layer.
    pub spatial_layer_id: Option<u8>,
    /// The temporal layer.
    pub temporal_layer_id: Option<u8>,
    /// The highest spatial layer.
    pub max_spatial_layer_id: Option<u8>,
    /// The highest temporal layer.
    pub max_temporal_layer_id: Option<u8>,
    /// The largest width.
    pub max_width: Option<u32>,
    /// The largest height.
    pub max_height: Option<u32>,
}

type Named = (String, String, String);

pub(crate) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(select; (exchange::ACCEPT_POST, JSON)))
        .routes(resource!(make_events; (exchange::ACCEPT_POST, JSON)))
        .routes(resource!(events, end_events))
}

/// Announces the extensions of a session in the answer that made it.
pub(crate) fn announce(headers: &mut HeaderMap, location: &str) -> Result<(), Problem> {
    let events = EVENTS.join(",");
    let links = [
        format!("<{location}/layer>; rel=\"{LAYER_REL}\""),
        format!("<{location}/sse>; rel=\"{EVENTS_REL}\"; events=\"{events}\""),
    ];
    for link in links {
        let value = HeaderValue::try_from(link).map_err(|_| Problem::internal())?;
        headers.append(header::LINK, value);
    }
    Ok(())
}

/// Choose the layers of a video
#[utoipa::path(post, path = "/whep/{room}/{participant}/{session}/layer", operation_id = "selectLayers",
    tag = "whep", params(RoomPath, PublisherPath, SessionPath),
    request_body(content = LayerSelection, content_type = "application/json"),
    responses(
        (status = 200, description = "It is sent as soon as the codec and the network allow"),
        (status = 404, description = "There is no such session"),
        (status = 422, description = "There is no such video or layer"),
    ))]
async fn select<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<Named>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let session = named(path)?;
    app.auth.session(&headers, &session.room)?;
    let selection: LayerSelection = json(&headers, &body)?;
    let backend = Arc::clone(&app.backend);
    app.run(async move { backend.select_layers(session, selection).await })
        .await??;
    Ok(StatusCode::OK)
}

/// Make an event stream
#[utoipa::path(post, path = "/whep/{room}/{participant}/{session}/sse", operation_id = "makeEvents",
    tag = "whep", params(RoomPath, PublisherPath, SessionPath),
    request_body(content = Vec<String>, content_type = "application/json",
        description = "Names of events: active, inactive, layers, viewercount"),
    responses(
        (status = 201, description = "The stream is at Location"),
        (status = 404, description = "There is no such session"),
        (status = 422, description = "There are no such events"),
    ))]
async fn make_events<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<Named>, PathRejection>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let session = named(path)?;
    app.auth.session(&headers, &session.room)?;
    let wanted: Vec<String> = if body.is_empty() {
        EVENTS.map(str::to_owned).into()
    } else {
        json(&headers, &body)?
    };
    // Events that there are not are left out: a later draft may have more.
    let known = EVENTS
        .into_iter()
        .filter(|name| wanted.iter().any(|w| w == name));
    let known: Vec<&str> = known.collect();
    if known.is_empty() {
        let text = format!("the events of this server are {}", EVENTS.join(", "));
        return Err(Problem::unprocessable(text));
    }
    found(&app, session).await?;
    let location = format!("{}/{}", uri.path().trim_end_matches('/'), known.join(","));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Follow a session's events
#[utoipa::path(get, path = "/whep/{room}/{participant}/{session}/sse/{events}",
    operation_id = "followSession", tag = "whep",
    params(RoomPath, PublisherPath, SessionPath,
        ("events" = String, Path, description = "Names of events, with commas")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 404, description = "There is no such session"),
    ))]
async fn events<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, participant, id, names) = decoded(path)?;
    let session = named(Ok(Path((room, participant, id))))?;
    // An EventSource sends no header: the path, which nobody can guess, says who it is.
    if headers.contains_key(header::AUTHORIZATION) {
        app.auth.session(&headers, &session.room)?;
    }
    let wanted = EVENTS.map(|event| names.split(',').any(|name| name == event));
    if !wanted.contains(&true) {
        return Err(Problem::not_found("there are no such events"));
    }
    found(&app, session.clone()).await?;
    let permit = STREAMS.try_acquire();
    let permit = permit.map_err(|_| Problem::overloaded("too many event streams are open", 5))?;
    let follower = Follower {
        app,
        session,
        wanted,
        asked: false,
        before: None,
        queue: Vec::new(),
        _permit: permit,
    };
    let mut response = Sse::new(follower.stream())
        .keep_alive(KeepAlive::default())
        .into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// End an event stream
#[utoipa::path(delete, path = "/whep/{room}/{participant}/{session}/sse/{events}",
    operation_id = "endEvents", tag = "whep",
    params(RoomPath, PublisherPath, SessionPath,
        ("events" = String, Path, description = "Names of events, with commas")),
    responses(
        (status = 200, description = "Whoever reads it need read no more"),
        (status = 404, description = "There is no such session"),
    ))]
async fn end_events<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (room, participant, id, _names) = decoded(path)?;
    let session = named(Ok(Path((room, participant, id))))?;
    app.auth.session(&headers, &session.room)?;
    found(&app, session).await?;
    Ok(StatusCode::OK)
}

fn named(path: Result<Path<Named>, PathRejection>) -> Result<SessionRef, Problem> {
    let (room, _participant, id) = decoded(path)?;
    session::named(Role::Viewer, &room, &id)
}

fn json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if exchange::media_type(headers) != JSON {
        return Err(Problem::unsupported_media_type(format!(
            "POST takes {JSON} here"
        )));
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!("the body is not what is taken here: {error}"))
    })
}

async fn found<B: Backend>(app: &Arc<App<B>>, session: SessionRef) -> Result<Playing, Problem> {
    let backend = Arc::clone(&app.backend);
    let playing = app
        .run(async move { backend.playing(session).await })
        .await?;
    playing.ok_or_else(|| Problem::no_such_session("this session is no more"))
}

/// Whoever reads an event stream.
struct Follower<B> {
    app: Arc<App<B>>,
    session: SessionRef,
    /// By place in [`EVENTS`].
    wanted: [bool; EVENTS.len()],
    /// Whether the backend was asked before.
    asked: bool,
    before: Option<Playing>,
    /// To be sent, the next one last.
    queue: Vec<Event>,
    _permit: SemaphorePermit<'static>,
}

impl<B: Backend> Follower<B> {
    /// The stream ends with the session.
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, |mut follower| async move {
            loop {
                if let Some(event) = follower.queue.pop() {
                    return Some((Ok(event), follower));
                }
                // After a refusal too: asking again at once would never let go of the thread.
                if std::mem::replace(&mut follower.asked, true) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                let now = match found(&follower.app, follower.session.clone()).await {
                    Ok(now) => now,
                    // A server that is busy is asked again.
                    Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => continue,
                    Err(_gone) => return None,
                };
                let news = news(follower.before.as_ref(), &now);
                let wanted = news.into_iter().zip(follower.wanted).rev();
                let wanted = wanted.filter_map(|(event, wanted)| event.filter(|_| wanted));
                follower.queue = wanted.collect();
                follower.before = Some(now);
            }
        })
    }
}

/// The layers, and which of them are sent: rates change all the time.
fn shape(playing: &Playing) -> BTreeMap<&str, Vec<PlayableLayer>> {
    let layers = |layers: &[PlayableLayer]| {
        let layers = layers.iter().cloned();
        layers
            .map(|layer| PlayableLayer {
                bitrate: layer.bitrate.map(|_| 1),
                ..layer
            })
            .collect()
    };
    let all = playing.layers.iter();
    all.map(|(media, list)| (media.as_str(), layers(list)))
        .collect()
}

/// What there is to tell, by place in [`EVENTS`].
fn news(before: Option<&Playing>, now: &Playing) -> [Option<Event>; EVENTS.len()] {
    let event = |name: &str, data: String| Event::default().event(name).data(data);
    let was_active = before.is_some_and(|before| before.active);
    // Maps of strings and numbers have no value that cannot be written.
    let layers = || serde_json::to_string(&now.layers).unwrap_or_default();
    [
        (now.active && !was_active).then(|| event("active", "{}".to_owned())),
        (!now.active && was_active).then(|| event("inactive", "{}".to_owned())),
        before
            .is_none_or(|before| shape(before) != shape(now))
            .then(|| event("layers", layers())),
        before
            .is_none_or(|before| before.viewers != now.viewers)
            .then(|| {
                event(
                    "viewercount",
                    format!("{{\"viewercount\":{}}}", now.viewers),
                )
            }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playing(rates: [Option<u64>; 2]) -> Playing {
        let layer = |(rid, bitrate): (&str, Option<u64>)| PlayableLayer {
            rid: Some(rid.to_owned()),
            bitrate,
            ..PlayableLayer::default()
        };
        let layers = ["q", "f"].into_iter().zip(rates).map(layer).collect();
        Playing {
            active: true,
            viewers: 2,
            layers: BTreeMap::from([("1".to_owned(), layers)]),
        }
    }

    fn told(before: Option<&Playing>, now: &Playing) -> [bool; 4] {
        news(before, now).map(|event| event.is_some())
    }

    #[test]
    fn what_has_changed_is_told_and_nothing_else() {
        let now = playing([Some(100), None]);
        assert_eq!(told(None, &now), [true, false, true, true], "at first");
        assert_eq!(
            told(Some(&now), &playing([Some(120), None])),
            [false; 4],
            "rates"
        );
        let more = playing([Some(100), Some(900)]);
        assert_eq!(told(Some(&now), &more), [false, false, true, false]);
        let gone = Playing::default();
        assert_eq!(told(Some(&now), &gone), [false, true, true, true]);
        assert!(!told(None, &gone)[1], "no first word that nobody is there");
    }

    #[test]
    fn a_selection_is_read_as_the_draft_and_older_ones_write_it() {
        let of = |text: &str| serde_json::from_str::<LayerSelection>(text).unwrap();
        let now = of(r#"{"mediaId":"1","rid":"hd","maxTemporalLayerId":1}"#);
        assert_eq!(
            (now.rid.as_deref(), now.max_temporal_layer_id),
            (Some("hd"), Some(1))
        );
        assert_eq!(of(r#"{"mediaId":"1","encodingId":"hd"}"#).rid, now.rid);
        assert_eq!(of("{}"), LayerSelection::default());
    }
}
