//! The management API: rooms, participants, tracks, and the server's status. Read-only.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Seen, SeenIn};
use super::params::{IdentityPath, RoomPath};
use super::{Described, resource};
use crate::backend::Backend;
use crate::exchange::{State, fresh};
use crate::model::rooms::{MemberList, SubscriptionList};
use crate::model::stats::ParticipantStats;
use crate::model::{ParticipantList, Status, TrackList};
use crate::names::{Identity, RoomName};
use crate::problem::Problem;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(status))
        .routes(resource!(config))
        .routes(resource!(participants))
        .routes(resource!(tracks))
        .routes(resource!(stats))
        .routes(resource!(members))
        .routes(resource!(subscriptions))
}

fn no_such_room(room: &RoomName) -> Problem {
    Problem::not_found(format!("nobody is in a room called {room}"))
}

/// Show the state of the server
#[utoipa::path(get, path = "/v1/status", operation_id = "readStatus", tag = "server",
    responses((status = 200, body = Status, description = "Its state")))]
async fn status<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.lister(&headers)?;
    let backend = Arc::clone(&app.backend);
    Ok(fresh(app.run(async move { backend.status().await }).await?))
}

/// Show the settings in force
///
/// By the names that they have in `ion.toml`; secrets are left out.
#[utoipa::path(get, path = "/v1/config", operation_id = "readConfig", tag = "server",
    responses((status = 200, body = Object, description = "The settings")))]
async fn config<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.key_holder(&headers)?;
    Ok(fresh(&app.settings))
}

/// List the participants of a room
#[utoipa::path(get, path = "/v1/rooms/{room}/participants", operation_id = "listParticipants",
    tag = "rooms", params(RoomPath),
    responses(
        (status = 200, body = ParticipantList, description = "Who is there, and who was lately"),
        (status = 404, description = "There is no such room"),
    ))]
async fn participants<B: Backend>(
    axum::extract::State(app): State<B>,
    Seen(room): Seen,
) -> Result<Response, Problem> {
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

/// List the tracks of a participant
#[utoipa::path(get, path = "/v1/rooms/{room}/participants/{identity}/tracks", operation_id = "listTracks",
    tag = "rooms", params(RoomPath, IdentityPath),
    responses(
        (status = 200, body = TrackList, description = "What it publishes, or plays"),
        (status = 404, description = "There is no such participant"),
    ))]
async fn tracks<B: Backend>(
    axum::extract::State(app): State<B>,
    SeenIn(room, identity): SeenIn,
) -> Result<Response, Problem> {
    let (backend, names) = (Arc::clone(&app.backend), (room.clone(), identity.clone()));
    let found = app
        .run(async move { backend.tracks(names.0, names.1).await })
        .await?;
    let tracks = found.ok_or_else(|| not_there(&room, &identity))?;
    Ok(fresh(TrackList { tracks }))
}

/// Show what was counted of a participant's media
///
/// Under the names of W3C webrtc-stats.
#[utoipa::path(get, path = "/v1/rooms/{room}/participants/{identity}/stats",
    operation_id = "readStats", tag = "rooms", params(RoomPath, IdentityPath),
    responses(
        (status = 200, body = ParticipantStats, description = "Its statistics"),
        (status = 404, description = "There is no such participant"),
    ))]
async fn stats<B: Backend>(
    axum::extract::State(app): State<B>,
    SeenIn(room, identity): SeenIn,
) -> Result<Response, Problem> {
    let (backend, names) = (Arc::clone(&app.backend), (room.clone(), identity.clone()));
    let found = app
        .run(async move { backend.stats(names.0, names.1).await })
        .await?;
    found.map(fresh).ok_or_else(|| not_there(&room, &identity))
}

/// List who is in a room, in full
///
/// As the SDK's clients see them, with ids, versions and publications, and what each may do; those in the
/// lobby among them.
#[utoipa::path(get, path = "/v1/rooms/{room}/members", operation_id = "listMembers", tag = "rooms",
    params(RoomPath),
    responses(
        (status = 200, body = MemberList, description = "Who is there"),
        (status = 404, description = "There is no such room"),
    ))]
async fn members<B: Backend>(
    axum::extract::State(app): State<B>,
    Seen(room): Seen,
) -> Result<Response, Problem> {
    let (backend, name) = (Arc::clone(&app.backend), room.clone());
    let found = app.run(async move { backend.members(name).await }).await?;
    let members = found.ok_or_else(|| no_such_room(&room))?;
    Ok(fresh(MemberList { members }))
}

/// List what a participant receives
#[utoipa::path(get, path = "/v1/rooms/{room}/participants/{identity}/subscriptions",
    operation_id = "listSubscriptions", tag = "rooms", params(RoomPath, IdentityPath),
    responses(
        (status = 200, body = SubscriptionList, description = "What it receives"),
        (status = 404, description = "There is no such participant"),
    ))]
async fn subscriptions<B: Backend>(
    axum::extract::State(app): State<B>,
    SeenIn(room, identity): SeenIn,
) -> Result<Response, Problem> {
    let (backend, names) = (Arc::clone(&app.backend), (room.clone(), identity.clone()));
    let found = app
        .run(async move { backend.subscriptions(names.0, names.1).await })
        .await?;
    let subscriptions = found.ok_or_else(|| not_there(&room, &identity))?;
    Ok(fresh(SubscriptionList { subscriptions }))
}

fn not_there(room: &RoomName, identity: &Identity) -> Problem {
    Problem::not_found(format!("{identity} is not in a room called {room}"))
}
