//! What follows.

use super::Key;
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_api::signal::server::{Event, Reason};

/// What follows from an input, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// What an m-section of a viewer is sent has changed: another publication, none, or, where both
    /// are one, other bounds. [`Rooms::delivery`](super::Rooms::delivery) says the rest.
    Bind {
        /// The viewer.
        viewer: Key,
        /// Place of its m-section.
        slot: usize,
        /// What it was sent.
        from: Option<PublicationId>,
        /// What it is sent now.
        to: Option<PublicationId>,
    },
    /// A publication is no more: its rows are free.
    Unpublished {
        /// Whose it was.
        owner: Key,
        /// Which.
        publication: PublicationId,
    },
    /// A participant is no more: its transport and socket end.
    Ended {
        /// Who.
        key: Key,
        /// Why.
        reason: Reason,
        /// Where it was.
        room: RoomName,
    },
    /// Participants are told, and so is the application's server, where the event is the room's.
    Tell {
        /// The room that it happened in.
        room: RoomName,
        /// Whom to tell.
        to: Vec<Key>,
        /// What.
        event: Event,
        /// It is about the room and not about one participant's session: webhooks and `/v1/events`
        /// have it too.
        is_public: bool,
    },
    /// What a participant receives has changed: tell it all of it, once for all such effects.
    Resubscribed(Key),
    /// What is to be kept of a participant has changed; it may be in another room.
    Changed(Key),
    /// What is to be kept of a room has changed, or the room is there or gone.
    RoomChanged(RoomName),
}
