//! WHIP (RFC 9725): `/whip/{room}` and `/whip/{room}/{session}`.

#![expect(
    clippy::extra_unused_type_parameters,
    reason = "`resource!` takes handlers that are generic over the backend"
)]

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::backend::{Backend, PublishRequest};
use crate::exchange::{self, ACCEPT_PATCH, ACCEPT_POST, SDP, SDPFRAG, State, decoded};
use crate::model::Role;
use crate::problem::Problem;
use crate::routes::params::{IceMatchHeader, RoomPath, SessionPath};
use crate::routes::{Described, resource};
use crate::session;

pub(crate) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(reserved, publish; (ACCEPT_POST, SDP)))
        .routes(resource!(reserved_session, change, end; (ACCEPT_PATCH, SDPFRAG)))
}

/// Reserved (RFC 9725 §4.2)
#[utoipa::path(get, path = "/whip/{room}", operation_id = "whipReserved", tag = "whip",
    params(RoomPath), responses((status = 204, description = "Nothing")))]
async fn reserved<B: Backend>() -> StatusCode {
    session::empty().await
}

/// Reserved (RFC 9725 §4.2)
#[utoipa::path(get, path = "/whip/{room}/{session}", operation_id = "whipReservedSession",
    tag = "whip", params(RoomPath, SessionPath), responses((status = 204, description = "Nothing")))]
async fn reserved_session<B: Backend>() -> StatusCode {
    session::empty().await
}

/// Publish to a room
///
/// In the lobby of a room that has one nobody can wait who speaks WHIP: without the grant `roomAdmin` the
/// answer is 403 with the type `urn:ion:problem:lobby`.
#[utoipa::path(post, path = "/whip/{room}", operation_id = "publish", tag = "whip",
    params(RoomPath),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, body = String, content_type = "application/sdp", description = "The answer",
            headers(
                ("Location" = String, description = "The session, to be changed and ended"),
                ("ETag" = String, description = "Of the ICE session"),
            )),
        (status = 409, description = "The identity publishes here already"),
        (status = 422, description = "The offer cannot be served"),
    ))]
async fn publish<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let room = exchange::room(&decoded(path)?)?;
    let (participant, sources) = app.auth.publisher(&headers, &room)?;
    let offer = exchange::offer(&headers, body)?;
    let prefix = format!("/whip/{}", exchange::segment(room.as_str()));
    let request = PublishRequest {
        room,
        participant,
        sources,
        offer,
    };
    let backend = Arc::clone(&app.backend);
    let created = app
        .run(async move { backend.publish(request).await })
        .await??;
    let location = format!("{prefix}/{}", created.session.as_str());
    exchange::created(StatusCode::CREATED, created, &location, SDP)
}

/// Trickle candidates, or restart ICE
#[utoipa::path(patch, path = "/whip/{room}/{session}", operation_id = "changePublisher",
    tag = "whip", params(RoomPath, SessionPath, IceMatchHeader),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag",
            description = "ICE was restarted"),
        (status = 204, description = "Candidates were taken in"),
        (status = 404, description = "There is no such session"),
        (status = 409, description = "The state of the session does not allow this"),
        (status = 412, description = "The ICE session is another one by now"),
        (status = 422, description = "The fragment cannot be served"),
        (status = 428, description = "There is no If-Match"),
    ))]
async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (room, id) = decoded(path)?;
    session::patch(
        app,
        session::named(Role::Publisher, &room, &id)?,
        headers,
        body,
    )
    .await
}

/// Stop publishing
#[utoipa::path(delete, path = "/whip/{room}/{session}", operation_id = "endPublisher", tag = "whip",
    params(RoomPath, SessionPath),
    responses(
        (status = 200, description = "It has ended"),
        (status = 404, description = "There is no such session"),
    ))]
async fn end<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, id) = decoded(path)?;
    session::delete(app, session::named(Role::Publisher, &room, &id)?, headers).await
}
