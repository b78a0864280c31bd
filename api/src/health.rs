//! Probes: `/healthz` (the process answers), `/readyz` (it takes sessions), `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::backend::Backend;
use crate::exchange::{self, App, State};
use crate::problem::Problem;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes<B: Backend>() -> Router<Arc<App<B>>> {
    let options = || exchange::preflight("GET, HEAD, OPTIONS", None);
    Router::new()
        .route("/healthz", get(|| async { plain("ok\n") }).merge(options()))
        .route("/readyz", get(ready::<B>).merge(options()))
        .route("/metrics", get(metrics::<B>).merge(options()))
}

fn plain(text: &'static str) -> Response {
    (
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        text,
    )
        .into_response()
}

async fn ready<B: Backend>(axum::extract::State(app): State<B>) -> Result<Response, Problem> {
    app.backend
        .ready()
        .map_err(|missing| Problem::overloaded(missing, 1))?;
    Ok(plain("ready\n"))
}

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
