//! What happens in rooms, as `/v1/events` and webhooks tell it: the events of the SDK
//! ([`crate::signal::Event`]) that are about the room, and its beginning and end.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::documents::DocumentError;
use crate::names::RoomName;
use crate::signal::Event;

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomEvent {
    /// Grows with each event of this server; `Last-Event-ID`.
    pub id: u64,
    /// When it happened, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Where.
    pub room: String,
    /// What.
    pub event: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum What {
    /// The room itself came or went.
    Life(Life),
    /// As participants are told.
    Event(Box<Event>),
}

/// The beginning and the end of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Life {
    /// The room is there: somebody came, or it was made.
    RoomOpened,
    /// The room is gone.
    RoomClosed,
}

/// Kinds of events, by the words in their `type`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// The room is there.
    RoomOpened,
    /// The room is gone.
    RoomClosed,
    /// The room's settings have changed.
    RoomUpdated,
    /// Somebody came, or waits in the lobby.
    ParticipantJoined,
    /// Somebody's name, metadata, attributes or state has changed.
    ParticipantUpdated,
    /// Somebody is gone.
    ParticipantLeft,
    /// Somebody publishes something.
    Published,
    /// A publication has changed.
    PublicationUpdated,
    /// A publication is gone.
    Unpublished,
    /// Connections got better or worse.
    QualityChanged,
}

impl What {
    /// Its kind; `None` for what is told to participants only: what concerns one session, and what
    /// is too frequent to be kept (who speaks, data).
    pub fn kind(&self) -> Option<EventKind> {
        let event = match self {
            Self::Life(Life::RoomOpened) => return Some(EventKind::RoomOpened),
            Self::Life(Life::RoomClosed) => return Some(EventKind::RoomClosed),
            Self::Event(event) => event,
        };
        match **event {
            Event::RoomUpdated(_) => Some(EventKind::RoomUpdated),
            Event::ParticipantJoined(_) => Some(EventKind::ParticipantJoined),
            Event::ParticipantUpdated(_) => Some(EventKind::ParticipantUpdated),
            Event::ParticipantLeft(_) => Some(EventKind::ParticipantLeft),
            Event::Published(_) => Some(EventKind::Published),
            Event::PublicationUpdated(_) => Some(EventKind::PublicationUpdated),
            Event::Unpublished(_) => Some(EventKind::Unpublished),
            Event::QualityChanged(_) => Some(EventKind::QualityChanged),
            Event::Room(_)
            | Event::Subscriptions(_)
            | Event::PermissionsChanged(_)
            | Event::Speakers(_)
            | Event::AudioSlots(_)
            | Event::LayersWatched(_)
            | Event::DataReceived(_)
            | Event::TransportChanged(_)
            | Event::Ended(_) => None,
        }
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: u64,
    /// Where it happened.
    pub room: RoomName,
    /// The JSON of a [`RoomEvent`].
    pub body: String,
}

/// A part of the history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In order.
    pub events: Vec<Kept>,
    /// Whether events between the one asked for and the first here are no longer kept.
    pub is_cut: bool,
}

/// An event that a webhook did not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedDelivery {
    /// Id of the event.
    pub event: u64,
    /// Where it happened.
    pub room: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time, for people.
    pub error: String,
    /// The event itself.
    pub body: serde_json::Value,
}

/// What is under way to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Deliveries {
    /// Events that wait to be delivered.
    pub pending: u64,
    /// Events that were given up; see `/v1/webhooks/{id}/failed`.
    pub failed: u64,
    /// What went wrong the last time; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// In place of the newest event's id: nothing more will be told.
pub const STOPPING: u64 = u64::MAX;

/// The history of events, and what is under way to webhooks: nothing, by default. Calls may block.
pub trait EventLog: Send + Sync + 'static {
    /// Events after this id, in order, of one room or of all.
    ///
    /// # Errors
    /// When the store fails.
    fn after(
        &self,
        id: u64,
        room: Option<&RoomName>,
        limit: usize,
    ) -> Result<History, DocumentError>;

    /// Id of the newest event, now and whenever it changes; [`STOPPING`] when the server stops.
    fn newest(&self) -> watch::Receiver<u64>;

    /// What is under way to a webhook.
    ///
    /// # Errors
    /// When the store fails.
    fn deliveries(&self, _webhook: &str) -> Result<Deliveries, DocumentError> {
        Ok(Deliveries::default())
    }

    /// Events that a webhook did not take, after this id, in order.
    ///
    /// # Errors
    /// When the store fails.
    fn failed(
        &self,
        _webhook: &str,
        _after: u64,
        _limit: usize,
    ) -> Result<Vec<FailedDelivery>, DocumentError> {
        Ok(Vec::new())
    }

    /// Tries those events again, or all; how many.
    ///
    /// # Errors
    /// When the store fails.
    fn redeliver(&self, _webhook: &str, _events: Option<&[u64]>) -> Result<u64, DocumentError> {
        Ok(0)
    }

    /// Forgets a webhook's deliveries: it is gone.
    ///
    /// # Errors
    /// When the store fails.
    fn forget(&self, _webhook: &str) -> Result<(), DocumentError> {
        Ok(())
    }
}

/// A log in which nothing ever happens.
#[derive(Debug)]
pub struct NoEvents(watch::Sender<u64>);

impl Default for NoEvents {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl EventLog for NoEvents {
    fn after(&self, _: u64, _: Option<&RoomName>, _: usize) -> Result<History, DocumentError> {
        Ok(History::default())
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
