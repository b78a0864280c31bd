//! WHEP (draft-ietf-wish-whep-03): `/whep/{room}` plays the room's first publisher,
//! `/whep/{room}/{participant}` a named one. Sessions are one segment deeper,
//! `/whep/{room}/{participant}/{session}`, so that they cannot be mistaken for participants; the
//! participant of a session that named none is `-`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, patch};

use crate::backend::{Backend, Play, PlayRequest};
use crate::exchange::{self, ACCEPT_PATCH, ACCEPT_POST, App, SDP, State, decoded};
use crate::model::Role;
use crate::names::Identity;
use crate::problem::Problem;
use crate::session;

/// Stands in paths for "whoever publishes first".
const ANYBODY: &str = "-";

pub(crate) fn routes<B: Backend>() -> Router<Arc<App<B>>> {
    let options = || exchange::preflight("GET, HEAD, POST, OPTIONS", Some((ACCEPT_POST, SDP)));
    Router::new()
        .route(
            "/whep/{room}",
            get(session::empty).post(play_room::<B>).merge(options()),
        )
        .route(
            "/whep/{room}/{participant}",
            get(session::empty)
                .post(play_participant::<B>)
                .merge(options()),
        )
        .route(
            "/whep/{room}/{participant}/{session}",
            get(session::empty)
                .merge(patch(change::<B>).delete(end::<B>))
                .merge(exchange::preflight(
                    "GET, HEAD, PATCH, DELETE, OPTIONS",
                    Some((ACCEPT_PATCH, session::VIEWER_PATCH_TYPES)),
                )),
        )
}

async fn play_room<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    play(app, &decoded(path)?, None, headers, body).await
}

async fn play_participant<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (room, publisher) = decoded(path)?;
    let publisher = match publisher.as_str() {
        ANYBODY => None,
        name => Some(exchange::identity(name)?),
    };
    play(app, &room, publisher, headers, body).await
}

async fn play<B: Backend>(
    app: Arc<App<B>>,
    room: &str,
    publisher: Option<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let room = exchange::room(room)?;
    let participant = app.auth.player(&headers, &room)?;
    let offer = exchange::offer(&headers, body)?;
    let prefix = format!(
        "/whep/{}/{}",
        exchange::segment(room.as_str()),
        exchange::segment(publisher.as_ref().map_or(ANYBODY, Identity::as_str)),
    );
    let request = PlayRequest {
        room,
        publisher,
        participant,
        offer,
    };
    let backend = Arc::clone(&app.backend);
    let (status, created, content_type) = match app
        .run(async move { backend.play(request).await })
        .await??
    {
        Play::Answer(created) => (StatusCode::CREATED, created, SDP.to_owned()),
        Play::CounterOffer {
            created,
            valid_until,
        } => (
            StatusCode::NOT_ACCEPTABLE,
            created,
            counter_offer_type(valid_until),
        ),
    };
    let location = format!("{prefix}/{}", created.session.as_str());
    exchange::created(status, created, &location, &content_type)
}

fn counter_offer_type(valid_until: Option<SystemTime>) -> String {
    match valid_until {
        Some(time) => format!("{SDP}; valid-until=\"{}\"", httpdate::fmt_http_date(time)),
        None => SDP.to_owned(),
    }
}

async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (room, _participant, id) = decoded(path)?;
    session::patch(
        app,
        session::named(Role::Viewer, &room, &id)?,
        headers,
        body,
    )
    .await
}

async fn end<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, _participant, id) = decoded(path)?;
    session::delete(app, session::named(Role::Viewer, &room, &id)?, headers).await
}
