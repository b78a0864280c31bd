//! The OpenAPI document: `/openapi.json`, and `/docs`, which shows it.
//!
//! Handlers say what is theirs; what holds for all of them is added here: who must show a token, and
//! that every refusal is a problem.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::exchange::{self, App};
use crate::problem::{self, PROBLEM_JSON};
use crate::routes::Described;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Ion",
        description = "WHIP, WHEP and the management of an Ion SFU.\n\nTokens are JWTs (HS256) with \
            LiveKit's claim names, sent as `Authorization: Bearer`. Every refusal is a problem \
            (RFC 9457) whose `type` is stable. Lists come in pages: `next` of one is `cursor` of \
            the next. What has an `ETag` can be changed under `If-Match`; creations take an \
            `Idempotency-Key`.",
        license(name = "MIT", identifier = "MIT")
    ),
    tags(
        (name = "whip", description = "Publishing (RFC 9725)"),
        (name = "whep", description = "Playing (draft-ietf-wish-whep)"),
        (name = "rooms", description = "Rooms and who is in them"),
        (name = "keys", description = "API keys; for holders of a key (grant `serverAdmin`)"),
        (name = "users", description = "Users; for holders of a key"),
        (name = "tokens", description = "Tokens and their revocation; for holders of a key"),
        (name = "events", description = "What happens: as a stream, and by webhooks"),
        (name = "server", description = "The server itself"),
    ),
)]
struct Description;

/// A router without routes, whose description says what holds for all.
pub(crate) fn empty<B: Send + Sync + 'static>() -> Described<B> {
    let mut description = Description::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    description
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(bearer));
    OpenApiRouter::with_openapi(description)
}

/// `/openapi.json`.
pub(crate) fn routes<B: Send + Sync + 'static>(description: OpenApi) -> Router<Arc<App<B>>> {
    let text: Arc<str> = finished(description).to_string().into();
    let serve = move || {
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        std::future::ready((headers, text.to_string()).into_response())
    };
    let options = exchange::preflight("GET, HEAD, OPTIONS", None);
    Router::new().route("/openapi.json", get(serve).merge(options))
}

/// Paths that need no token.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Who must show a token.
#[derive(PartialEq, Eq)]
enum Need {
    /// Nobody.
    Nothing,
    /// Who shows none knows the session's id, which is as good.
    TokenOrSession,
    /// Everybody.
    Token,
}

impl Need {
    fn of(path: &str, method: &str) -> Self {
        let is_whip_or_whep = path.starts_with("/whip/") || path.starts_with("/whep/");
        match (is_whip_or_whep, method) {
            _ if OPEN.contains(&path) => Self::Nothing,
            // Reserved, and answered with nothing.
            (true, "get") if !path.contains("/sse/") => Self::Nothing,
            (true, _) if path.contains("{session}") => Self::TokenOrSession,
            _ => Self::Token,
        }
    }
}

fn finished(description: OpenApi) -> Value {
    let mut document = serde_json::to_value(description).unwrap_or_default();
    document["components"]["schemas"]["Problem"] = problem_schema();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                finish(path, method, operation);
            }
        }
    }
    document
}

/// Adds to one operation what holds for all.
fn finish(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let need = Need::of(path, method);
    let needs_token = need != Need::Nothing;
    let takes_body = operation.contains_key("requestBody");
    let changes = method != "get";
    let security = match need {
        Need::Nothing => json!([]),
        Need::TokenOrSession => json!([{}, {"token": []}]),
        Need::Token => json!([{"token": []}]),
    };
    operation.insert("security".to_owned(), security);
    let Some(responses) = operation
        .entry("responses")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return;
    };
    let mut add = |when: bool, code: &str, description: &str| {
        if when && !responses.contains_key(code) {
            responses.insert(code.to_owned(), json!({"description": description}));
        }
    };
    let has_parameters = path.contains('{') || takes_body || path.starts_with("/v1");
    add(has_parameters, "400", "The request cannot be understood");
    add(
        needs_token,
        "401",
        "The token is missing, expired, revoked or no good",
    );
    add(needs_token, "403", "The token does not allow this");
    add(takes_body, "408", "The body did not arrive in time");
    add(takes_body, "413", "The body is too large");
    add(takes_body, "415", "The content type is not supported");
    add(
        needs_token || changes,
        "429",
        "Too many requests, or the key's limit is reached",
    );
    add(true, "503", "The server cannot take this now");
    for (code, response) in responses.iter_mut() {
        // A 406 of WHEP is no refusal: it brings an offer.
        let refuses = code.as_str() >= "400" && response.get("content").is_none();
        if refuses {
            let schema = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
            response["content"] = json!({PROBLEM_JSON: schema});
        }
        if matches!(code.as_str(), "429" | "503") {
            let seconds = json!({"schema": {"type": "integer"}, "description": "Seconds to wait"});
            response["headers"] = json!({"Retry-After": seconds});
        }
    }
}

/// The problem, with all types that there are.
fn problem_schema() -> Value {
    let types: Vec<String> = problem::KINDS
        .iter()
        .map(|kind| format!("urn:ion:problem:{kind}"))
        .collect();
    json!({
        "type": "object",
        "description": "A refusal (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": types, "description": "Stable: to be matched on"},
            "title": {"type": "string", "description": "The same for every problem of this type"},
            "status": {"type": "integer", "description": "The status code"},
            "detail": {"type": "string", "description": "What was wrong this time, for people"},
            "retryAfterS": {"type": "integer", "description": "When to try again, in seconds"},
        },
    })
}
