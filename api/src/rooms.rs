//! The management API: rooms, participants, tracks, and the server's status. Read-only.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::backend::Backend;
use crate::exchange::{self, App, State, decoded};
use crate::model::{ParticipantList, RoomList, TrackList};
use crate::names::{Identity, RoomName};
use crate::problem::Problem;

pub(crate) fn routes<B: Backend>() -> Router<Arc<App<B>>> {
    let options = || exchange::preflight("GET, HEAD, OPTIONS", None);
    Router::new()
        .route("/v1/status", get(status::<B>).merge(options()))
        .route("/v1/rooms", get(rooms::<B>).merge(options()))
        .route("/v1/rooms/{room}", get(room::<B>).merge(options()))
        .route(
            "/v1/rooms/{room}/participants",
            get(participants::<B>).merge(options()),
        )
        .route(
            "/v1/rooms/{room}/participants/{identity}/tracks",
            get(tracks::<B>).merge(options()),
        )
        .route(
            "/v1/rooms/{room}/participants/{identity}/stats",
            get(stats::<B>).merge(options()),
        )
}

fn fresh(body: impl Serialize) -> Response {
    (
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(body),
    )
        .into_response()
}

fn no_such_room(room: &RoomName) -> Problem {
    Problem::not_found(format!("nobody is in a room called {room}"))
}

async fn status<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.lister(&headers)?;
    let backend = Arc::clone(&app.backend);
    Ok(fresh(app.run(async move { backend.status().await }).await?))
}

async fn rooms<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.lister(&headers)?;
    let backend = Arc::clone(&app.backend);
    let rooms = app.run(async move { backend.rooms().await }).await?;
    Ok(fresh(RoomList { rooms }))
}

async fn room<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = exchange::room(&decoded(path)?)?;
    app.auth.inspector(&headers, &room)?;
    let (backend, name) = (Arc::clone(&app.backend), room.clone());
    let found = app.run(async move { backend.room(name).await }).await?;
    found.map(fresh).ok_or_else(|| no_such_room(&room))
}

async fn participants<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = exchange::room(&decoded(path)?)?;
    app.auth.inspector(&headers, &room)?;
    let (backend, name) = (Arc::clone(&app.backend), room.clone());
    let (found, ended) = app
        .run(async move {
            let found = backend.participants(name.clone()).await;
            (found, backend.ended(name).await)
        })
        .await?;
    if found.is_none() && ended.is_empty() {
        return Err(no_such_room(&room));
    }
    let participants = found.unwrap_or_default();
    Ok(fresh(ParticipantList {
        participants,
        ended,
    }))
}

async fn tracks<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, identity) = decoded(path)?;
    let (room, identity) = (exchange::room(&room)?, exchange::identity(&identity)?);
    app.auth.inspector(&headers, &room)?;
    let (backend, names) = (Arc::clone(&app.backend), (room.clone(), identity.clone()));
    let found = app
        .run(async move { backend.tracks(names.0, names.1).await })
        .await?;
    let tracks = found.ok_or_else(|| not_there(&room, &identity))?;
    Ok(fresh(TrackList { tracks }))
}

async fn stats<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, identity) = decoded(path)?;
    let (room, identity) = (exchange::room(&room)?, exchange::identity(&identity)?);
    app.auth.inspector(&headers, &room)?;
    let (backend, names) = (Arc::clone(&app.backend), (room.clone(), identity.clone()));
    let found = app
        .run(async move { backend.stats(names.0, names.1).await })
        .await?;
    found.map(fresh).ok_or_else(|| not_there(&room, &identity))
}

fn not_there(room: &RoomName, identity: &Identity) -> Problem {
    Problem::not_found(format!("{identity} is not in a room called {room}"))
}
