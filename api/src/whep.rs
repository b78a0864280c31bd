//! WHEP (draft-ietf-wish-whep-03): `/whep/{room}` plays the room's first publisher,
//! `/whep/{room}/{participant}` a named one. Sessions are one segment deeper,
//! `/whep/{room}/{participant}/{session}`, so that they cannot be mistaken for participants; the
//! participant of a session that named none is `-`.

#![expect(
    clippy::extra_unused_type_parameters,
    reason = "`resource!` takes handlers that are generic over the backend"
)]

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::backend::{Backend, Play, PlayRequest};
use crate::exchange::{self, ACCEPT_PATCH, ACCEPT_POST, App, SDP, State, decoded};
use crate::model::Role;
use crate::names::Identity;
use crate::problem::Problem;
use crate::routes::params::{IceMatchHeader, PublisherPath, RoomPath, SessionPath};
use crate::routes::{Described, resource};
use crate::session;

/// Server-sent events, and the choice of layers.
pub mod extensions;

/// Stands in paths for "whoever publishes first".
const ANYBODY: &str = "-";

pub(crate) fn routes<B: Backend>() -> Described<B> {
    let accept = (ACCEPT_PATCH, session::VIEWER_PATCH_TYPES);
    OpenApiRouter::new()
        .routes(resource!(reserved, play_room; (ACCEPT_POST, SDP)))
        .routes(resource!(reserved_participant, play_participant; (ACCEPT_POST, SDP)))
        .routes(resource!(reserved_session, change, end; accept))
        .merge(extensions::routes())
}

/// Reserved
#[utoipa::path(get, path = "/whep/{room}", operation_id = "whepReserved", tag = "whep",
    params(RoomPath), responses((status = 204, description = "Nothing")))]
async fn reserved<B: Backend>() -> StatusCode {
    session::empty().await
}

/// Reserved
#[utoipa::path(get, path = "/whep/{room}/{participant}", operation_id = "whepReservedParticipant",
    tag = "whep", params(RoomPath, PublisherPath),
    responses((status = 204, description = "Nothing")))]
async fn reserved_participant<B: Backend>() -> StatusCode {
    session::empty().await
}

/// Reserved
#[utoipa::path(get, path = "/whep/{room}/{participant}/{session}",
    operation_id = "whepReservedSession", tag = "whep",
    params(RoomPath, PublisherPath, SessionPath),
    responses((status = 204, description = "Nothing")))]
async fn reserved_session<B: Backend>() -> StatusCode {
    session::empty().await
}

/// Play a room's first publisher
///
/// In the lobby of a room that has one nobody can wait who speaks WHEP: without the grant `roomAdmin` the
/// answer is 403 with the type `urn:ion:problem:lobby`.
#[utoipa::path(post, path = "/whep/{room}", operation_id = "play", tag = "whep",
    params(RoomPath),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, body = String, content_type = "application/sdp", description = "The answer",
            headers(
                ("Location" = String, description = "The session, to be changed and ended"),
                ("ETag" = String, description = "Of the ICE session"),
            )),
        (status = 406, body = String, content_type = "application/sdp",
            description = "An offer of the server's own, to be answered by PATCH"),
        (status = 409, description = "Nobody publishes here yet: try again after Retry-After"),
        (status = 422, description = "The offer cannot be served"),
    ))]
async fn play_room<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    play(app, &decoded(path)?, None, headers, body).await
}

/// Play a publisher
#[utoipa::path(post, path = "/whep/{room}/{participant}", operation_id = "playParticipant",
    tag = "whep", params(RoomPath, PublisherPath),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, body = String, content_type = "application/sdp", description = "The answer",
            headers(
                ("Location" = String, description = "The session, to be changed and ended"),
                ("ETag" = String, description = "Of the ICE session"),
            )),
        (status = 406, body = String, content_type = "application/sdp",
            description = "An offer of the server's own, to be answered by PATCH"),
        (status = 409, description = "Nobody publishes here yet: try again after Retry-After"),
        (status = 422, description = "The offer cannot be served"),
    ))]
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
    let mut response = exchange::created(status, created, &location, &content_type)?;
    extensions::announce(response.headers_mut(), &location)?;
    Ok(response)
}

fn counter_offer_type(valid_until: Option<SystemTime>) -> String {
    match valid_until {
        Some(time) => format!("{SDP}; valid-until=\"{}\"", httpdate::fmt_http_date(time)),
        None => SDP.to_owned(),
    }
}

/// Trickle candidates, restart ICE, or answer a counter-offer
#[utoipa::path(patch, path = "/whep/{room}/{participant}/{session}", operation_id = "changeViewer",
    tag = "whep", params(RoomPath, PublisherPath, SessionPath, IceMatchHeader),
    request_body(content(
        (String = "application/trickle-ice-sdpfrag"),
        (String = "application/sdp"),
    )),
    responses(
        (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag",
            description = "ICE was restarted"),
        (status = 204, description = "Candidates, or the answer, were taken in"),
        (status = 404, description = "There is no such session"),
        (status = 409, description = "The state of the session does not allow this"),
        (status = 412, description = "The ICE session is another one by now"),
        (status = 422, description = "The SDP cannot be served"),
        (status = 428, description = "There is no If-Match"),
    ))]
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

/// Stop playing
#[utoipa::path(delete, path = "/whep/{room}/{participant}/{session}", operation_id = "endViewer",
    tag = "whep", params(RoomPath, PublisherPath, SessionPath),
    responses(
        (status = 200, description = "It has ended"),
        (status = 404, description = "There is no such session"),
    ))]
async fn end<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, _participant, id) = decoded(path)?;
    session::delete(app, session::named(Role::Viewer, &room, &id)?, headers).await
}
