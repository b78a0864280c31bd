//! `/v1/users`.

use std::sync::Arc;

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Creation, Holder, Identity, Meant, Part, listed};
use super::params::{IdempotencyKey, IdentityPath, IfMatchHeader, PageQuery};
use super::{Described, resource};
use crate::accounts::Subject;
use crate::backend::Backend;
use crate::exchange::{self, App, Made, State};
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
    _: Holder,
    Part { limit, after }: Part,
) -> Result<Response, Problem> {
    let page = app
        .accounts(move |accounts| accounts.users(after.as_deref(), limit))
        .await?;
    Ok(listed(page, |users, next| UserList { users, next }))
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
    Holder(caller): Holder,
    creation: Creation<UserChange>,
) -> Result<Response, Problem> {
    let make = |app: Arc<App<B>>, new| async move {
        let user = app.accounts(|accounts| accounts.create_user(new)).await?;
        let name = exchange::segment(&user.value.identity);
        Made::at(format!("/v1/users/{name}"), user)
    };
    creation.once(&app, &caller, make).await
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
    _: Holder,
    Identity(identity): Identity,
) -> Result<Response, Problem> {
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
    _: Holder,
    Identity(identity): Identity,
    Meant(expected): Meant,
    Body(change): Body<UserChange>,
) -> Result<Response, Problem> {
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
    _: Holder,
    Identity(identity): Identity,
    Meant(expected): Meant,
) -> Result<Response, Problem> {
    let who = identity.clone();
    app.accounts(move |accounts| accounts.delete_user(&who, expected))
        .await?;
    app.end_sessions(Subject::User(identity)).await?;
    Ok(exchange::gone())
}
