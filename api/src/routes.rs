//! The management API, `/v1`: one module for each kind of resource.
//!
//! Every handler is annotated for the OpenAPI document where it is written; [`resource!`] puts both
//! into the router, so that no route is served that is not described.

use std::sync::Arc;

use axum::http::HeaderName;
use axum::routing::MethodRouter;
use utoipa::openapi::path::HttpMethod;
use utoipa_axum::router::OpenApiRouter;

use crate::backend::Backend;
use crate::exchange::{self, App};

mod events;
mod extract;
mod govern;
mod keys;
mod moderate;
pub(crate) mod params;
mod rooms;
mod tokens;
mod users;
mod webhooks;

/// A router with its description.
pub(crate) type Described<B> = OpenApiRouter<Arc<App<B>>>;

/// One resource: its handlers, generic over the backend `B`, and their descriptions; after a
/// semicolon, the header by which OPTIONS says what types it takes. The macro that `utoipa_axum` has
/// for this knows no generic handlers.
macro_rules! resource {
    ($($handler:ident),+ $(; $accept:expr)?) => {{
        let mut schemas = Vec::new();
        let mut paths = utoipa::openapi::path::Paths::new();
        let mut router = axum::routing::MethodRouter::new();
        let mut methods = Vec::new();
        $(utoipa_axum::paste! {
            #[allow(unused_imports, reason = "which of them is needed depends on the handler")]
            use utoipa::{Path as _, __dev::{SchemaReferences as _, Tags as _}};
            let described = [<__path_ $handler>]::methods();
            let mut operation = [<__path_ $handler>]::operation();
            let tags = [<__path_ $handler>]::tags();
            operation.tags = Some(tags.iter().map(ToString::to_string).collect());
            [<__path_ $handler>]::schemas(&mut schemas);
            for method in &described {
                use utoipa_axum::PathItemExt as _;
                router = router.on(method.to_method_filter(), $handler::<B>);
            }
            methods.extend(described.iter().cloned());
            let path = [<__path_ $handler>]::path();
            paths.add_path_operation(path, described, operation);
        })+
        #[allow(unused_mut, unused_assignments, reason = "only some resources say what they take")]
        let mut accept = None;
        $(accept = Some($accept);)?
        (schemas, paths, $crate::routes::with_options(router, &methods, accept))
    }};
}
pub(crate) use resource;

/// Adds OPTIONS, which names the other methods.
pub(crate) fn with_options<S: Clone + Send + Sync + 'static>(
    router: MethodRouter<S>,
    methods: &[HttpMethod],
    accept: Option<(HeaderName, &'static str)>,
) -> MethodRouter<S> {
    let mut allow: Vec<&str> = Vec::new();
    for method in methods {
        allow.extend(match method {
            HttpMethod::Get => ["GET", "HEAD"].as_slice(),
            HttpMethod::Post => &["POST"],
            HttpMethod::Put => &["PUT"],
            HttpMethod::Patch => &["PATCH"],
            HttpMethod::Delete => &["DELETE"],
            HttpMethod::Options | HttpMethod::Head | HttpMethod::Trace => &[],
        });
    }
    allow.push("OPTIONS");
    router.merge(exchange::preflight(allow.join(", "), accept))
}

/// All of `/v1`.
pub(crate) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .merge(rooms::routes())
        .merge(govern::routes())
        .merge(moderate::routes())
        .merge(keys::routes())
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
}
