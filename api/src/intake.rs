//! Reads request bodies before anything else looks at a request.
//!
//! A server that answers and closes while the client is still sending makes the kernel reset the
//! connection, and the client may never see why. So bodies are read to their end first, and what is
//! too large is thrown away, up to [`limits::DISCARDED_BYTES`].

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::limits;
use crate::problem::Problem;

/// Hands on requests whose body has arrived completely, within the limits of size and time.
pub(crate) async fn complete(
    State(timeout): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, Body::empty())).await;
    }
    if is_hopeless(&parts.headers) {
        return too_large().into_response();
    }
    match tokio::time::timeout(timeout, gather(body)).await {
        Ok(Ok(bytes)) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(_elapsed) => {
            let limit = timeout.as_secs_f32();
            Problem::body_timeout(format!("it must be complete within {limit} s")).into_response()
        }
    }
}

/// Whether the body is known to be too large to be worth its reading.
fn is_hopeless(headers: &HeaderMap) -> bool {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok());
    // A client that asks before it sends loses nothing by an early answer.
    let asks = headers.contains_key(header::EXPECT);
    let limit = if asks {
        limits::BODY_BYTES
    } else {
        limits::DISCARDED_BYTES
    };
    length
        .and_then(|v| v.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
}

fn too_large() -> Problem {
    Problem::too_large(format!(
        "a body may have at most {} bytes",
        limits::BODY_BYTES
    ))
}

async fn gather(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("the body broke off"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        received += data.len();
        if received > limits::DISCARDED_BYTES {
            break;
        }
        if received > limits::BODY_BYTES {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(data);
        }
    }
    if received > limits::BODY_BYTES {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}
