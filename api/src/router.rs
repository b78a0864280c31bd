//! The whole router, and what it needs to know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::auth::Auth;
use crate::backend::Backend;
use crate::counters::Counters;
use crate::documents::DocumentError;
use crate::events::{EventLog, NoEvents};
use crate::exchange::{App, Sockets};
use crate::problem::Problem;
use crate::ratelimit::{Quota, RateLimiter};
use crate::webhooks::Webhooks;
use crate::{cors, health, intake, limits, openapi, routes, signal, web, whep, whip};

/// Settings of the HTTP surface.
#[derive(Clone)]
pub struct Config {
    /// Keys, and whether guests may come in.
    pub auth: Auth,
    /// What happens.
    pub events: Arc<dyn EventLog>,
    /// Where it is sent to.
    pub webhooks: Arc<Webhooks>,
    /// The settings in force, as they are shown: without secrets.
    pub settings: serde_json::Value,
    /// POST, PATCH and DELETE requests per client address.
    pub quota: Quota,
    /// Time in which a request body must have arrived.
    pub body_timeout: Duration,
    /// Time in which a socket must have joined or resumed.
    pub join_timeout: Duration,
    /// Backend calls at the same time.
    pub requests_in_flight: usize,
    /// What waits to be sent to clients; the backend's data channels count in it too.
    pub backlog: signal::Backlog,
}

impl Config {
    /// The defaults, with these accounts, and without any events.
    ///
    /// # Errors
    /// When the documents behind the accounts cannot be read.
    pub fn new(auth: Auth) -> Result<Self, DocumentError> {
        Ok(Self {
            events: Arc::new(NoEvents::default()),
            webhooks: Arc::new(Webhooks::open(Arc::clone(&auth.accounts))?),
            settings: serde_json::json!({}),
            auth,
            quota: Quota::default(),
            body_timeout: limits::BODY_TIMEOUT,
            join_timeout: limits::JOIN_TIMEOUT,
            requests_in_flight: limits::REQUESTS_IN_FLIGHT,
            backlog: signal::Backlog::default(),
        })
    }
}

/// The address a request came from; [`crate::server::serve`] adds it to each request.
#[derive(Clone, Copy)]
pub struct ClientAddr(pub SocketAddr);

/// Clients' addresses stay out of logs.
impl std::fmt::Debug for ClientAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientAddr(..)")
    }
}

/// All routes, over a backend.
pub fn router<B: Backend>(backend: Arc<B>, config: Config) -> Router {
    let counters = Arc::new(Counters::default());
    let limiter = Arc::new(RateLimiter::new(config.quota));
    let app = Arc::new(App {
        backend,
        auth: config.auth,
        counters: Arc::clone(&counters),
        events: config.events,
        webhooks: config.webhooks,
        settings: config.settings,
        followers: Arc::new(Semaphore::new(limits::FOLLOWERS)),
        in_flight: Arc::new(Semaphore::new(config.requests_in_flight)),
        sockets: Sockets::new(config.backlog, config.join_timeout),
    });
    let (described, description) = openapi::empty::<B>()
        .merge(whip::routes())
        .merge(whep::routes())
        .merge(routes::routes())
        .merge(health::routes())
        .split_for_parts();
    described
        .merge(openapi::routes(description))
        .merge(signal::routes())
        .merge(web::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
        .layer(from_fn_with_state(config.body_timeout, intake::complete))
        .layer(from_fn_with_state(limiter, limit_rate))
        .layer(from_fn_with_state(counters, cors::finish))
}

async fn no_such_path() -> Problem {
    Problem::not_found("no resource of this server has this path")
}

async fn no_such_method() -> Problem {
    Problem::method_not_allowed("the header Allow names the methods of this resource")
}

async fn limit_rate(
    State(limiter): State<Arc<RateLimiter>>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    ) {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let client = request
            .extensions()
            .get::<ClientAddr>()
            .map_or(unknown, |c| c.0.ip());
        if let Err(seconds) = limiter.check(client) {
            return Problem::too_many_requests(seconds).into_response();
        }
    }
    next.run(request).await
}
