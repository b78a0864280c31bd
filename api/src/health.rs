//! Probes: `/healthz` (the process answers), `/readyz` (it takes sessions), `/metrics`.

#![expect(
    clippy::extra_unused_type_parameters,
    reason = "`resource!` takes handlers that are generic over the backend"
)]

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;

use crate::backend::Backend;
use crate::exchange::State;
use crate::problem::Problem;
use crate::routes::{Described, resource};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(alive))
        .routes(resource!(ready))
        .routes(resource!(metrics))
}

fn plain(text: &'static str) -> Response {
    (
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        text,
    )
        .into_response()
}

/// Does the process answer?
#[utoipa::path(get, path = "/healthz", operation_id = "isAlive", tag = "server",
    responses((status = 200, body = String, content_type = "text/plain", description = "It does")))]
async fn alive<B: Backend>() -> Response {
    plain("ok\n")
}

/// Does it take sessions?
#[utoipa::path(get, path = "/readyz", operation_id = "isReady", tag = "server",
    responses((status = 200, body = String, content_type = "text/plain", description = "It does")))]
async fn ready<B: Backend>(axum::extract::State(app): State<B>) -> Result<Response, Problem> {
    app.backend
        .ready()
        .map_err(|missing| Problem::overloaded(missing, 1))?;
    Ok(plain("ready\n"))
}

/// Everything that is counted
#[utoipa::path(get, path = "/metrics", operation_id = "readMetrics", tag = "server",
    responses((status = 200, description = "OpenMetrics or Prometheus text",
        content((String = "application/openmetrics-text"), (String = "text/plain")))))]
async fn metrics<B: Backend>(axum::extract::State(app): State<B>) -> Result<Response, Problem> {
    let backend = Arc::clone(&app.backend);
    let text = app.run(async move { backend.metrics().await }).await?;
    Ok(exposition(text, &app.counters.render()))
}

/// Joins the backend's metrics and ours, keeping OpenMetrics' end marker at the end.
fn exposition(mut text: String, ours: &str) -> Response {
    let (content_type, end) = match text.trim_end().strip_suffix("# EOF").map(str::len) {
        Some(length) => {
            text.truncate(length);
            (OPENMETRICS, "# EOF\n")
        }
        None => (PROMETHEUS, ""),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(ours);
    text.push_str(end);
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
        text,
    )
        .into_response()
}
