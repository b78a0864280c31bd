//! WHIP (RFC 9725): `/whip/{room}` and `/whip/{room}/{session}`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, patch};

use crate::backend::{Backend, PublishRequest};
use crate::exchange::{self, ACCEPT_PATCH, ACCEPT_POST, App, SDP, SDPFRAG, State, decoded};
use crate::model::Role;
use crate::problem::Problem;
use crate::session;

pub(crate) fn routes<B: Backend>() -> Router<Arc<App<B>>> {
    Router::new()
        .route(
            "/whip/{room}",
            get(session::empty)
                .post(publish::<B>)
                .merge(exchange::preflight(
                    "GET, HEAD, POST, OPTIONS",
                    Some((ACCEPT_POST, SDP)),
                )),
        )
        .route(
            "/whip/{room}/{session}",
            get(session::empty)
                .merge(patch(change::<B>).delete(end::<B>))
                .merge(exchange::preflight(
                    "GET, HEAD, PATCH, DELETE, OPTIONS",
                    Some((ACCEPT_PATCH, SDPFRAG)),
                )),
        )
}

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

async fn end<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, id) = decoded(path)?;
    session::delete(app, session::named(Role::Publisher, &room, &id)?, headers).await
}
