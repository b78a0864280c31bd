//! PATCH, DELETE and GET of a session: the same for WHIP and WHEP but for one content type.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::backend::{Backend, Patched, SessionRef};
use crate::exchange::{self, ACCEPT_PATCH, App, SDP, SDPFRAG};
use crate::if_match::IfMatch;
use crate::model::Role;
use crate::names::SessionId;
use crate::problem::Problem;

/// Types that PATCH takes for a player's session; a publisher's takes the first only.
pub(crate) const VIEWER_PATCH_TYPES: &str = "application/trickle-ice-sdpfrag, application/sdp";

/// The session that a path names.
pub(crate) fn named(role: Role, room: &str, id: &str) -> Result<SessionRef, Problem> {
    let room = exchange::room(room)?;
    let id = SessionId::parse(id)
        .ok_or_else(|| Problem::no_such_session("this is no session id of this server"))?;
    Ok(SessionRef { id, room, role })
}

/// PATCH: dispatches on the content type.
pub(crate) async fn patch<B: Backend>(
    app: Arc<App<B>>,
    session: SessionRef,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    app.auth.session(&headers, &session.room)?;
    let media_type = exchange::media_type(&headers);
    if media_type == SDPFRAG {
        let if_match = IfMatch::from_headers(&headers)?.ok_or_else(|| {
            Problem::precondition_required("send the session's ETag, or *, as If-Match")
        })?;
        let frag = exchange::text(body)?;
        let backend = Arc::clone(&app.backend);
        let call = async move { backend.trickle_or_restart(session, if_match, frag).await };
        return patched(app.run(call).await??);
    }
    if media_type == SDP && session.role == Role::Viewer {
        let answer = exchange::text(body)?;
        let backend = Arc::clone(&app.backend);
        app.run(async move { backend.accept(session, answer).await })
            .await??;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(unsupported(session.role))
}

fn patched(outcome: Patched) -> Result<Response, Problem> {
    let Patched::Restarted { frag, etag } = outcome else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let etag = exchange::entity_tag(&etag)?;
    let mut response = (StatusCode::OK, frag).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDPFRAG));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// 415 with the types that would do (RFC 5789 §2.2).
fn unsupported(role: Role) -> Response {
    let types = match role {
        Role::Publisher => SDPFRAG,
        Role::Viewer | Role::Participant => VIEWER_PATCH_TYPES,
    };
    let problem = Problem::unsupported_media_type(format!("PATCH takes {types} here"));
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(ACCEPT_PATCH, HeaderValue::from_static(types));
    response
}

/// DELETE: ends the session; entity tags are not looked at (RFC 9725 §4.2).
pub(crate) async fn delete<B: Backend>(
    app: Arc<App<B>>,
    session: SessionRef,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.session(&headers, &session.room)?;
    let backend = Arc::clone(&app.backend);
    app.run(async move { backend.end(session).await }).await??;
    Ok(StatusCode::OK.into_response())
}

/// GET of an endpoint or session: reserved by RFC 9725, answered with nothing.
pub(crate) async fn empty() -> StatusCode {
    StatusCode::NO_CONTENT
}
