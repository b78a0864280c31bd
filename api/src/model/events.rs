//! The bodies of `/v1/events` and `/v1/webhooks`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::events::{Deliveries, EventKind, FailedDelivery, RoomEvent};
pub use crate::webhooks::{WebhookChange, WebhookInfo, WebhookSecret};

/// A page of webhooks.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookList {
    /// The webhooks, in order of their ids.
    pub webhooks: Vec<WebhookInfo>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A webhook, and how it does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookStatus {
    /// What is under way to it.
    pub deliveries: Deliveries,
    /// Everything else.
    #[serde(flatten)]
    pub info: WebhookInfo,
}

/// A page of events that a webhook did not take.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedList {
    /// The events, in order.
    pub failed: Vec<FailedDelivery>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which events to deliver after all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Redelivery {
    /// Their ids; absent: all that were given up.
    #[schema(max_items = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<u64>>,
}

/// How many events are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redelivered {
    /// So many.
    pub count: u64,
}
