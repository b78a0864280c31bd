//! `/v1/users`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::params::{self, IdempotencyKey, IdentityPath, IfMatchHeader, PageQuery};
use super::{Described, resource};
use crate::accounts::Subject;
use crate::backend::Backend;
use crate::exchange::{self, Made, State, decoded};
use crate::model::access::{UserChange, UserInfo, UserList};
use crate::problem::Problem;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(list, create))
        .routes(resource!(read, change, delete))
}

/// List users
#[utoipa::path(get, path = "/v1/users", operation_id = "listUsers", tag = "users",
    params(PageQuery), responses((status = 200, body = UserList, description = "A page of users")))]
async fn list<B: Backend>(
    axum::extract::State(app): State<B>,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.key_holder(&headers)?;
    let (limit, after) = PageQuery::read(query)?;
    let page = app
        .accounts(move |accounts| accounts.users(after.as_deref(), limit))
        .await?;
    let next = params::next(&page);
    Ok(exchange::fresh(UserList {
        users: page.items,
        next,
    }))
}

/// Make a user
#[utoipa::path(post, path = "/v1/users", operation_id = "createUser", tag = "users",
    params(IdempotencyKey), request_body = UserChange,
    responses(
        (status = 201, body = UserInfo, description = "The user"),
        (status = 409, description = "There is one of this identity, or as many as there may be"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn create<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let caller = app.auth.key_holder(&headers)?;
    let new: UserChange = exchange::json(&headers, &body)?;
    let made = Arc::clone(&app);
    let make = async move {
        let user = made.accounts(|accounts| accounts.create_user(new)).await?;
        let name = exchange::segment(&user.value.identity);
        Made::at(format!("/v1/users/{name}"), user)
    };
    app.once(&headers, &caller, &body, make).await
}

/// Show a user
#[utoipa::path(get, path = "/v1/users/{identity}", operation_id = "readUser", tag = "users",
    params(IdentityPath),
    responses(
        (status = 200, body = UserInfo, description = "The user"),
        (status = 404, description = "There is no such user"),
    ))]
async fn read<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.key_holder(&headers)?;
    let identity = exchange::identity(&decoded(path)?)?;
    let found = app
        .accounts(move |accounts| accounts.user(&identity))
        .await?;
    exchange::versioned(found)
}

/// Change a user
///
/// What is absent stays. Tokens issued before keep what they hold; a disabled user's are refused, and
/// its sessions end.
#[utoipa::path(patch, path = "/v1/users/{identity}", operation_id = "changeUser", tag = "users",
    params(IdentityPath, IfMatchHeader), request_body = UserChange,
    responses(
        (status = 200, body = UserInfo, description = "The user as it is now"),
        (status = 404, description = "There is no such user"),
        (status = 412, description = "It was changed meanwhile"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    app.auth.key_holder(&headers)?;
    let identity = exchange::identity(&decoded(path)?)?;
    let expected = exchange::expected(&headers)?;
    let change: UserChange = exchange::json(&headers, &body)?;
    let who = identity.clone();
    let changed = app
        .accounts(move |accounts| accounts.change_user(&who, expected, change))
        .await?;
    if changed.value.disabled {
        app.end_sessions(Subject::User(identity)).await?;
    }
    exchange::versioned(changed)
}

/// Delete a user
///
/// Its tokens are revoked, and its sessions end.
#[utoipa::path(delete, path = "/v1/users/{identity}", operation_id = "deleteUser", tag = "users",
    params(IdentityPath, IfMatchHeader),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "There are as many revocations as there may be"),
        (status = 412, description = "It was changed meanwhile"),
    ))]
async fn delete<B: Backend>(
    axum::extract::State(app): State<B>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.auth.key_holder(&headers)?;
    let identity = exchange::identity(&decoded(path)?)?;
    let expected = exchange::expected(&headers)?;
    let who = identity.clone();
    app.accounts(move |accounts| accounts.delete_user(&who, expected))
        .await?;
    app.end_sessions(Subject::User(identity)).await?;
    Ok(exchange::gone())
}
