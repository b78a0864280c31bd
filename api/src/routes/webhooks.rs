//! `/v1/webhooks`.

use std::sync::Arc;

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Creation, Holder, Meant, Name, Part, listed};
use super::params::{IdempotencyKey, IfMatchHeader, PageQuery, WebhookPath};
use super::{Described, resource};
use crate::accounts::refused;
use crate::backend::Backend;
use crate::exchange::{self, App, Made, State};
use crate::limits;
use crate::model::events::{
    FailedList, Redelivered, Redelivery, WebhookChange, WebhookInfo, WebhookList, WebhookSecret,
    WebhookStatus,
};
use crate::problem::Problem;
use crate::webhooks::Webhooks;

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(list, create))
        .routes(resource!(read, change, delete))
        .routes(resource!(rotate))
        .routes(resource!(failed))
        .routes(resource!(redeliver))
}

/// Asks the webhooks, off the threads that serve.
async fn webhooks<B: Backend, T: Send + 'static>(
    app: &Arc<App<B>>,
    call: impl FnOnce(&Webhooks) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let webhooks = Arc::clone(&app.webhooks);
    app.accounts(move |_| call(&webhooks)).await
}

/// List webhooks
#[utoipa::path(get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "events",
    params(PageQuery),
    responses((status = 200, body = WebhookList, description = "A page of webhooks")))]
async fn list<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Part { limit, after }: Part,
) -> Result<Response, Problem> {
    let page = app.webhooks.list(after.as_deref(), limit);
    Ok(listed(page, |webhooks, next| WebhookList {
        webhooks,
        next,
    }))
}

/// Make a webhook
///
/// Every event from now on is posted to its URL as JSON (a `RoomEvent`), in order for each room, at
/// least once: `webhook-id` is the same for each attempt. Signed as the Standard Webhooks specification
/// has it: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over
/// `{webhook-id}.{webhook-timestamp}.{body}`. Any answer of 200 to 299 within 10 seconds takes an event;
/// otherwise it is tried again, later and later, for a day. The answer to this request is the only one
/// that shows the secret.
#[utoipa::path(post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "events",
    params(IdempotencyKey), request_body = WebhookChange,
    responses(
        (status = 201, body = WebhookSecret, description = "The webhook and its secret"),
        (status = 409, description = "There are as many as there may be"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn create<B: Backend>(
    axum::extract::State(app): State<B>,
    Holder(caller): Holder,
    creation: Creation<WebhookChange>,
) -> Result<Response, Problem> {
    let make = |app: Arc<App<B>>, new| async move {
        let webhook = webhooks(&app, |webhooks| webhooks.create(new)).await?;
        Made::at(format!("/v1/webhooks/{}", webhook.value.info.id), webhook)
    };
    creation.once(&app, &caller, make).await
}

/// Show a webhook
#[utoipa::path(get, path = "/v1/webhooks/{id}", operation_id = "readWebhook", tag = "events",
    params(WebhookPath),
    responses(
        (status = 200, body = WebhookStatus, description = "The webhook, and how it does"),
        (status = 404, description = "There is no such webhook"),
    ))]
async fn read<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
) -> Result<Response, Problem> {
    let found = app.webhooks.get(&id)?;
    let (log, id) = (Arc::clone(&app.events), found.value.id.clone());
    let deliveries = app
        .accounts(move |_| log.deliveries(&id).map_err(refused))
        .await?;
    exchange::versioned(crate::accounts::Versioned {
        value: WebhookStatus {
            deliveries,
            info: found.value,
        },
        version: found.version,
    })
}

/// Change a webhook
#[utoipa::path(patch, path = "/v1/webhooks/{id}", operation_id = "changeWebhook", tag = "events",
    params(WebhookPath, IfMatchHeader), request_body = WebhookChange,
    responses(
        (status = 200, body = WebhookInfo, description = "The webhook as it is now"),
        (status = 404, description = "There is no such webhook"),
        (status = 412, description = "It was changed meanwhile"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn change<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
    Meant(expected): Meant,
    Body(change): Body<WebhookChange>,
) -> Result<Response, Problem> {
    let call = move |webhooks: &Webhooks| webhooks.change(&id, expected, change);
    exchange::versioned(webhooks(&app, call).await?)
}

/// Delete a webhook
///
/// What waits to be delivered to it is forgotten.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", operation_id = "deleteWebhook", tag = "events",
    params(WebhookPath, IfMatchHeader),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such webhook"),
        (status = 412, description = "It was changed meanwhile"),
    ))]
async fn delete<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
    Meant(expected): Meant,
) -> Result<Response, Problem> {
    let log = Arc::clone(&app.events);
    let call = move |webhooks: &Webhooks| {
        webhooks.delete(&id, expected)?;
        log.forget(&id).map_err(refused)
    };
    webhooks(&app, call).await?;
    Ok(exchange::gone())
}

/// Replace the secret of a webhook
///
/// The answer is the only one that shows the secret; the one before signs nothing from then on.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", operation_id = "rotateWebhook",
    tag = "events", params(WebhookPath, IfMatchHeader),
    responses(
        (status = 200, body = WebhookSecret, description = "The webhook and its new secret"),
        (status = 404, description = "There is no such webhook"),
        (status = 412, description = "It was changed meanwhile"),
    ))]
async fn rotate<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
    Meant(expected): Meant,
) -> Result<Response, Problem> {
    let call = move |webhooks: &Webhooks| webhooks.rotate(&id, expected);
    exchange::versioned(webhooks(&app, call).await?)
}

/// List events that a webhook did not take
///
/// Tried for a day and given up; they wait here to be delivered after all.
#[utoipa::path(get, path = "/v1/webhooks/{id}/failed", operation_id = "listFailedDeliveries",
    tag = "events", params(WebhookPath, PageQuery),
    responses(
        (status = 200, body = FailedList, description = "A page of events, in order"),
        (status = 404, description = "There is no such webhook"),
    ))]
async fn failed<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
    Part { limit, after }: Part,
) -> Result<Response, Problem> {
    let id = app.webhooks.get(&id)?.value.id;
    let after = match after {
        Some(after) => after
            .parse()
            .map_err(|_| Problem::bad_request("cursor: is none that this server gave"))?,
        None => 0,
    };
    let log = Arc::clone(&app.events);
    let found = app
        .accounts(move |_| log.failed(&id, after, limit + 1).map_err(refused))
        .await?;
    let page = crate::accounts::Page::of(found, limit, |one| one.event.to_string());
    Ok(listed(page, |failed, next| FailedList { failed, next }))
}

/// Deliver events after all
///
/// Those that were given up are tried again, before what waits of their rooms.
#[utoipa::path(post, path = "/v1/webhooks/{id}/failed/redeliver", operation_id = "redeliver",
    tag = "events", params(WebhookPath), request_body = Redelivery,
    responses(
        (status = 202, body = Redelivered, description = "How many are tried again"),
        (status = 404, description = "There is no such webhook"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn redeliver<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
    Body(Redelivery { events }): Body<Redelivery>,
) -> Result<Response, Problem> {
    let id = app.webhooks.get(&id)?.value.id;
    if events.as_ref().is_some_and(|all| all.len() > limits::PAGE) {
        let text = format!("events: at most {} are allowed", limits::PAGE);
        return Err(Problem::invalid(text));
    }
    let log = Arc::clone(&app.events);
    let count = app
        .accounts(move |_| log.redeliver(&id, events.as_deref()).map_err(refused))
        .await?;
    let mut response = exchange::fresh(Redelivered { count });
    *response.status_mut() = axum::http::StatusCode::ACCEPTED;
    Ok(response)
}
