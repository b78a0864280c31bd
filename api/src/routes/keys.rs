//! `/v1/keys`.

use std::sync::Arc;

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Creation, Holder, Meant, Name, Part, listed};
use super::params::{IdempotencyKey, IfMatchHeader, KeyPath, PageQuery};
use super::{Described, resource};
use crate::backend::Backend;
use crate::exchange::{self, App, Made, State};
use crate::limits;
use crate::model::access::{KeyChange, KeyInfo, KeyList, KeySecret, KeyUsage, NewKey, Rotation};
use crate::problem::Problem;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(list, create))
        .routes(resource!(read, change, delete))
        .routes(resource!(usage))
        .routes(resource!(rotate))
}

/// List API keys
#[utoipa::path(get, path = "/v1/keys", operation_id = "listKeys", tag = "keys",
    params(PageQuery), responses((status = 200, body = KeyList, description = "A page of keys")))]
async fn list<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Part { limit, after }: Part,
) -> Result<Response, Problem> {
    let page = app.auth.accounts.keys(after.as_deref(), limit);
    Ok(listed(page, |keys, next| KeyList { keys, next }))
}

/// Make an API key
///
/// The answer is the only one that shows the secret.
#[utoipa::path(post, path = "/v1/keys", operation_id = "createKey", tag = "keys",
    params(IdempotencyKey), request_body = NewKey,
    responses(
        (status = 201, body = KeySecret, description = "The key and its secret"),
        (status = 409, description = "There are as many as there may be"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn create<B: Backend>(
    axum::extract::State(app): State<B>,
    Holder(caller): Holder,
    creation: Creation<NewKey>,
) -> Result<Response, Problem> {
    let make = |app: Arc<App<B>>, new| async move {
        let key = app.accounts(|accounts| accounts.create_key(new)).await?;
        Made::at(format!("/v1/keys/{}", key.value.info.key), key)
    };
    creation.once(&app, &caller, make).await
}

/// Show an API key
#[utoipa::path(get, path = "/v1/keys/{key}", operation_id = "readKey", tag = "keys",
    params(KeyPath),
    responses(
        (status = 200, body = KeyInfo, description = "The key, without its secret"),
        (status = 404, description = "There is no such key"),
    ))]
async fn read<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(key): Name,
) -> Result<Response, Problem> {
    exchange::versioned(app.auth.accounts.key(&key)?)
}

/// Show what the sessions of an API key take now
///
/// To be compared with its limits.
#[utoipa::path(get, path = "/v1/keys/{key}/usage", operation_id = "readKeyUsage", tag = "keys",
    params(KeyPath),
    responses(
        (status = 200, body = KeyUsage, description = "Participants and rooms"),
        (status = 404, description = "There is no such key"),
    ))]
async fn usage<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(key): Name,
) -> Result<Response, Problem> {
    app.auth.accounts.key(&key)?;
    let backend = Arc::clone(&app.backend);
    let usage = app.run(async move { backend.usage(key).await }).await?;
    Ok(exchange::fresh(usage))
}

/// Change an API key
#[utoipa::path(patch, path = "/v1/keys/{key}", operation_id = "changeKey", tag = "keys",
    params(KeyPath, IfMatchHeader), request_body = KeyChange,
    responses(
        (status = 200, body = KeyInfo, description = "The key as it is now"),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "The settings name this key"),
        (status = 412, description = "It was changed meanwhile"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(key): Name,
    Meant(expected): Meant,
    Body(change): Body<KeyChange>,
) -> Result<Response, Problem> {
    let changed = app
        .accounts(move |accounts| accounts.change_key(&key, expected, change))
        .await?;
    exchange::versioned(changed)
}

/// Delete an API key
///
/// All its tokens are refused from then on.
#[utoipa::path(delete, path = "/v1/keys/{key}", operation_id = "deleteKey", tag = "keys",
    params(KeyPath, IfMatchHeader),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "The settings name this key"),
        (status = 412, description = "It was changed meanwhile"),
    ))]
async fn delete<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(key): Name,
    Meant(expected): Meant,
) -> Result<Response, Problem> {
    app.accounts(move |accounts| accounts.delete_key(&key, expected))
        .await?;
    Ok(exchange::gone())
}

/// Replace the secret of an API key
///
/// The answer is the only one that shows the secret. For `graceS` more seconds the secret before is
/// accepted too.
#[utoipa::path(post, path = "/v1/keys/{key}/rotate", operation_id = "rotateKey", tag = "keys",
    params(KeyPath, IfMatchHeader), request_body = Rotation,
    responses(
        (status = 200, body = KeySecret, description = "The key and its new secret"),
        (status = 404, description = "There is no such key"),
        (status = 409, description = "The settings name this key"),
        (status = 412, description = "It was changed meanwhile"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn rotate<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(key): Name,
    Meant(expected): Meant,
    Body(Rotation { grace_s }): Body<Rotation>,
) -> Result<Response, Problem> {
    if grace_s > limits::GRACE_S {
        let text = format!("graceS: at most {} are allowed", limits::GRACE_S);
        return Err(Problem::invalid(text));
    }
    let rotated = app
        .accounts(move |accounts| accounts.rotate_key(&key, expected, grace_s))
        .await?;
    exchange::versioned(rotated)
}
