//! Rooms as a pure state machine: who is there, who publishes what, and who is sent what over
//! which m-section. [`Input`]s and the time go in, [`Effect`]s come out; no I/O, no clock.
//!
//! There is one model for all clients. A *participant* is one client with one transport: of the
//! SDK, a WHIP publisher, a WHEP viewer. A *publication* is a track of one. A *slot* is an m-section
//! of one that receives; what it is sent follows from subscriptions (the SDK) or from whom it
//! follows (WHEP). A publication may be attached to other rooms than its publisher's: multicast.
//!
//! Invariants (each checked by the property test):
//! - a slot is sent a publication that its participant can see, of a *live* publisher, of its
//!   kind, in a codec that it takes, and no two slots of a participant are sent the same one;
//! - an SDK participant is sent only what it is subscribed to, and nothing without `canSubscribe`
//!   or in the lobby;
//! - a WHEP viewer plays one publisher: the identity it asked for, or without one the publisher it
//!   has, and when that is gone the room's first live one; if there is one, it plays;
//! - there is at most one live WHIP publisher, and at most one SDK participant, for each identity in
//!   a room;
//! - nobody is told anything but those who are there; nothing refers to what is gone;
//! - a room without participants, guests or settings to keep does not exist.

/// Slots and what they are sent.
mod deliver;
/// What follows.
pub mod effect;
/// Moderation: moving, splitting, merging, multicast, and the like.
mod govern;
/// What can happen to rooms.
pub mod input;
/// Who comes and goes.
mod people;
/// What outlives the process.
pub mod saved;
/// So many streams of sound, whoever speaks.
mod stage;
/// What is published.
mod tracks;
/// What others see.
mod view;

pub use deliver::Delivery;
pub use effect::Effect;
pub use input::{Cap, Description, Input, Join, Play, Publish, Settings, Wish};
pub use view::is_about;

use crate::limits;
use crate::record::Kind;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{
    LayerInfo, ParticipantId, ParticipantKind, ParticipantState, Permissions, Quality, Source,
    SubscriptionBounds, SubscriptionRule,
};
use ion_api::token::TokenRef;
use ion_sdp::TrackCodec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// A participant, inside this process and in the store; its session has the same.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Key(pub u64);

impl From<Key> for ParticipantId {
    fn from(key: Key) -> Self {
        Self(key.0)
    }
}

impl From<ParticipantId> for Key {
    fn from(id: ParticipantId) -> Self {
        Self(id.0)
    }
}

/// An m-section that receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Audio or video.
    pub kind: Kind,
    /// Its MID.
    pub mid: String,
    /// Codecs that it takes.
    pub accepts: Vec<TrackCodec>,
    /// The publication that an offer gave it (the SDK).
    pub assigned: Option<PublicationId>,
}

/// Why what was asked for is not done; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such participant, publication or room.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The participant may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It contradicts what is.
    #[error("{0}")]
    Conflict(String),
    /// Something is too large or too many.
    #[error("{0}")]
    TooLarge(&'static str),
    /// There is no room for it.
    #[error(transparent)]
    Full(#[from] Full),
}

/// Why nobody more may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There are too many rooms.
    #[error("the server has as many rooms as it can have")]
    Rooms,
    /// The room has too many sessions.
    #[error("the room is full")]
    Room,
    /// The room has too many publishers.
    #[error("the room has as many publishers as it can have")]
    Publishers,
}

/// How many may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Rooms.
    pub rooms: usize,
    /// Participants in one room, of all kinds.
    pub sessions: usize,
    /// Publishing participants in one room.
    pub publishers: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            rooms: limits::ROOMS,
            sessions: limits::SESSIONS_PER_ROOM,
            publishers: limits::PUBLISHERS_PER_ROOM,
        }
    }
}

#[derive(Debug, Default)]
struct Room {
    settings: Settings,
    version: u32,
    created_at_s: u64,
    members: BTreeSet<Key>,
    /// Publications of other rooms that are forwarded into this one too.
    guests: BTreeSet<PublicationId>,
    /// Who speaks, and how loud.
    speakers: BTreeMap<Key, u8>,
    /// Its stage.
    seats: Vec<PublicationId>,
}

impl Room {
    fn is_made_by(&self, key: &str) -> bool {
        self.settings.maker.as_deref() == Some(key)
    }
}

/// A participant.
#[derive(Debug)]
struct Participant {
    room: RoomName,
    identity: Identity,
    name: String,
    metadata: String,
    attributes: BTreeMap<String, String>,
    version: u32,
    kind: ParticipantKind,
    state: ParticipantState,
    permissions: Permissions,
    joined_at_s: u64,
    token: Option<TokenRef>,
    play: Play,
    /// Place in the order in which publishers became live; `None` while no media can flow.
    live: Option<u64>,
    /// Its place from when it was live before.
    place: Option<u64>,
    gone_since: Option<Instant>,
    quality: Quality,
    publications: Vec<PublicationId>,
    slots: Vec<Slot>,
    bound: Vec<Option<PublicationId>>,
    wishes: BTreeMap<PublicationId, Settled>,
    subscribed: Vec<PublicationId>,
}

/// What was settled about a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Settled {
    subscribed: Option<bool>,
    bounds: SubscriptionBounds,
    rule: SubscriptionRule,
}

#[derive(Debug)]
struct Publication {
    owner: Key,
    cid: String,
    kind: Kind,
    codec: TrackCodec,
    source: Source,
    name: String,
    stream: String,
    layers: Vec<LayerInfo>,
    scalability_mode: String,
    encrypted: bool,
    muted: bool,
    /// A moderator muted it: nothing is forwarded, whatever its publisher sends.
    silenced: bool,
    paused: bool,
    cap: Cap,
    version: u32,
    level: Option<u8>,
    attached: BTreeSet<RoomName>,
    /// Who is sent it: participant and place of the slot.
    players: BTreeSet<(Key, usize)>,
}

/// All rooms.
#[derive(Debug, Default)]
pub struct Rooms {
    capacity: Capacity,
    rooms: HashMap<RoomName, Room>,
    participants: BTreeMap<Key, Participant>,
    publications: BTreeMap<PublicationId, Publication>,
    /// Those of all rooms; they are subscribed to as publications are.
    seats: BTreeMap<PublicationId, stage::Seat>,
    next_live: u64,
}

impl Participant {
    /// Whether others see it.
    fn is_shown(&self) -> bool {
        let is_kind = match self.kind {
            ParticipantKind::Sdk => true,
            ParticipantKind::Whip => self.live.is_some(),
            ParticipantKind::Whep | ParticipantKind::Guest => false,
        };
        is_kind && !self.permissions.hidden && self.state != ParticipantState::Lobby
    }

    /// Whether it is told what happens in its room.
    fn listens(&self) -> bool {
        self.kind == ParticipantKind::Sdk && self.state != ParticipantState::Lobby
    }

    fn is_publisher(&self) -> bool {
        self.kind == ParticipantKind::Whip || !self.publications.is_empty()
    }
}

impl Rooms {
    /// No room yet.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Takes in what happened, or does what is asked for.
    ///
    /// # Errors
    /// [`Refused`], and then nothing has changed.
    pub fn handle(&mut self, input: Input, now: Instant) -> Result<Vec<Effect>, Refused> {
        let mut fx = Vec::new();
        match input {
            Input::Join(join) => self.join(*join, &mut fx)?,
            Input::Live(key) => self.live(key, &mut fx),
            Input::Down(key) => self.down(key, &mut fx),
            Input::Presence { key, is_connected } => {
                self.presence(key, is_connected, now, &mut fx);
            }
            Input::Leave { key, reason } => self.remove(key, reason, &mut fx),
            Input::Describe {
                key,
                changes,
                is_own,
            } => self.describe(key, changes, is_own, &mut fx)?,
            Input::Publish(publish) => self.publish(*publish, &mut fx)?,
            Input::Unpublish(id) => self.unpublish(id, &mut fx)?,
            Input::Redescribe {
                publication,
                key,
                muted,
                name,
                layers,
            } => self.redescribe(publication, key, muted, name, layers, &mut fx)?,
            Input::Slots { key, slots } => self.set_slots(key, slots, &mut fx)?,
            Input::Subscribe { key, auto, changes } => {
                self.subscribe(key, auto, &changes, &mut fx)?;
            }
            Input::Speaking { publication, level } => self.speaking(publication, level, &mut fx),
            Input::Stage { room, seats } => self.set_stage(&room, seats, &mut fx),
            Input::Seated { seat, source } => self.seated(seat, source, &mut fx),
            Input::Quality { key, quality } => self.set_quality(key, quality, &mut fx),
            Input::Watched {
                publication,
                watched,
            } => self.watched(publication, watched, &mut fx),
            Input::Tick => self.tick(now, &mut fx),
            other => self.govern(other, &mut fx)?,
        }
        Ok(fx)
    }

    fn person(&self, key: Key) -> Result<&Participant, Refused> {
        let found = self.participants.get(&key);
        found.ok_or(Refused::NotFound("participant"))
    }

    fn person_mut(&mut self, key: Key) -> Result<&mut Participant, Refused> {
        let found = self.participants.get_mut(&key);
        found.ok_or(Refused::NotFound("participant"))
    }

    fn publication(&self, id: PublicationId) -> Result<&Publication, Refused> {
        let found = self.publications.get(&id);
        found.ok_or(Refused::NotFound("publication"))
    }

    fn publication_mut(&mut self, id: PublicationId) -> Result<&mut Publication, Refused> {
        let found = self.publications.get_mut(&id);
        found.ok_or(Refused::NotFound("publication"))
    }

    /// The participants of a room, in order of arrival.
    fn members<'a>(
        &'a self,
        room: &RoomName,
    ) -> impl Iterator<Item = (Key, &'a Participant)> + use<'a> {
        let room = self.rooms.get(room);
        let keys = room.into_iter().flat_map(|room| &room.members);
        keys.filter_map(|key| Some((*key, self.participants.get(key)?)))
    }

    /// Forgets a room that nothing keeps.
    fn drop_if_empty(&mut self, name: &RoomName, fx: &mut Vec<Effect>) {
        let is_empty = |room: &Room| {
            room.members.is_empty() && room.guests.is_empty() && !room.settings.is_kept
        };
        if self.rooms.get(name).is_some_and(is_empty) {
            let room = self.rooms.remove(name).unwrap_or_default();
            room.seats.iter().for_each(|id| drop(self.seats.remove(id)));
            fx.push(Effect::RoomChanged(name.clone()));
        }
    }

    /// Whether one more participant may enter, beside those that were promised a place.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(&self, room: &RoomName, is_publisher: bool, promised: usize) -> Result<(), Full> {
        let Some(found) = self.rooms.get(room) else {
            return match self.rooms.len() >= self.capacity.rooms {
                true => Err(Full::Rooms),
                false => Ok(()),
            };
        };
        let own = usize::try_from(found.settings.max_participants).unwrap_or(usize::MAX);
        let most = match own {
            0 => self.capacity.sessions,
            own => own.min(self.capacity.sessions),
        };
        if found.members.len() + promised >= most {
            return Err(Full::Room);
        }
        if is_publisher && self.publishers(room) >= self.capacity.publishers {
            return Err(Full::Publishers);
        }
        Ok(())
    }

    fn publishers(&self, room: &RoomName) -> usize {
        self.members(room).filter(|(_, p)| p.is_publisher()).count()
    }
}

#[cfg(test)]
mod tests;
