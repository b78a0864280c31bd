//! What handlers take: who asks, and the parts of a request, read and found good.
//!
//! Extractors run in the order of a handler's arguments. [`Holder`] comes first, so that who may not
//! ask learns nothing about the rest.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::params::{self, PageQuery};
use crate::accounts::Page;
use crate::auth::Caller;
use crate::backend::Backend;
use crate::documents::Expected;
use crate::exchange::{self, App, Made};
use crate::names::{self, RoomName};
use crate::problem::Problem;
use crate::signal::PublicationId;

/// The holder of a key, who alone may ask.
pub(super) struct Holder(pub(super) Caller);

impl<B: Backend> FromRequestParts<Arc<App<B>>> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        app.auth.key_holder(&parts.headers).map(Self)
    }
}

/// The part of the path that varies.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        exchange::decoded(Path::from_request_parts(parts, state).await).map(Self)
    }
}

/// The same where it is an identity.
pub(super) struct Identity(pub(super) names::Identity);

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Name(name) = Name::from_request_parts(parts, state).await?;
        exchange::identity(&name).map(Self)
    }
}

/// A room that the caller governs.
pub(super) struct Governed(pub(super) RoomName);

impl<B: Backend> FromRequestParts<Arc<App<B>>> for Governed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        let Name(room) = Name::from_request_parts(parts, app).await?;
        governed(app, &parts.headers, &room).map(Self)
    }
}

/// Somebody in a room that the caller governs.
pub(super) struct Somebody {
    pub(super) room: RoomName,
    pub(super) identity: names::Identity,
}

impl<B: Backend> FromRequestParts<Arc<App<B>>> for Somebody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (room, identity) = exchange::decoded(path)?;
        Ok(Self {
            room: governed(app, &parts.headers, &room)?,
            identity: exchange::identity(&identity)?,
        })
    }
}

/// A track in a room that the caller governs.
pub(super) struct Track {
    pub(super) room: RoomName,
    pub(super) track: PublicationId,
}

impl<B: Backend> FromRequestParts<Arc<App<B>>> for Track {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (room, track) = exchange::decoded(path)?;
        Ok(Self {
            room: governed(app, &parts.headers, &room)?,
            track: publication(&track)?,
        })
    }
}

/// The room of a path, which the caller governs.
pub(super) fn governed<B>(
    app: &App<B>,
    headers: &HeaderMap,
    room: &str,
) -> Result<RoomName, Problem> {
    let room = exchange::room(room)?;
    app.auth.governor(headers, &room)?;
    Ok(room)
}

/// The track of a path.
pub(super) fn publication(text: &str) -> Result<PublicationId, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("there is no such track"))
}

/// A room that the caller may see into.
pub(super) struct Seen(pub(super) RoomName);

impl<B: Backend> FromRequestParts<Arc<App<B>>> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        let Name(room) = Name::from_request_parts(parts, app).await?;
        let room = exchange::room(&room)?;
        app.auth.inspector(&parts.headers, &room)?;
        Ok(Self(room))
    }
}

/// Somebody in a room that the caller may see into.
pub(super) struct SeenIn(pub(super) RoomName, pub(super) names::Identity);

impl<B: Backend> FromRequestParts<Arc<App<B>>> for SeenIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (room, identity) = exchange::decoded(path)?;
        let (room, identity) = (exchange::room(&room)?, exchange::identity(&identity)?);
        app.auth.inspector(&parts.headers, &room)?;
        Ok(Self(room, identity))
    }
}

/// Which part of a list is wanted; [`listed`] answers.
pub(super) struct Part {
    /// Entries at most.
    pub(super) limit: usize,
    /// Id of the last one before it.
    pub(super) after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        let (limit, after) = PageQuery::read(query)?;
        Ok(Self { limit, after })
    }
}

/// Answers with a page and the cursor of the next.
pub(super) fn listed<T, L: Serialize>(
    page: Page<T>,
    list: impl FnOnce(Vec<T>, Option<String>) -> L,
) -> Response {
    let next = params::next(&page);
    exchange::fresh(list(page.items, next))
}

/// The version that a change is meant for.
pub(super) struct Meant(pub(super) Expected);

impl<S: Send + Sync> FromRequestParts<S> for Meant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        exchange::expected(&parts.headers).map(Self)
    }
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        Creation::from_request(request, state)
            .await
            .map(|creation| Self(creation.wanted))
    }
}

/// What is to be created, by a request that may be sent again.
pub(super) struct Creation<T> {
    pub(super) wanted: T,
    headers: HeaderMap,
    body: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Creation<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| rejection.into_response())?;
        let wanted = exchange::json(&headers, &body).map_err(Problem::into_response)?;
        Ok(Self {
            wanted,
            headers,
            body,
        })
    }
}

impl<T> Creation<T> {
    /// Creates it once for each `Idempotency-Key` of the caller, and answers.
    pub(super) async fn once<B: Backend, F>(
        self,
        app: &Arc<App<B>>,
        caller: &Caller,
        make: impl FnOnce(Arc<App<B>>, T) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Made, Problem>> + Send + 'static,
    {
        let made = make(Arc::clone(app), self.wanted);
        app.once(&self.headers, caller, &self.body, made).await
    }
}
