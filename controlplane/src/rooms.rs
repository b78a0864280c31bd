//! Rooms as a pure state machine: who publishes, who plays, and which m-section of
//! which viewer plays which track. Inputs go in, [`Effect`]s come out; no I/O, no clock.
//!
//! Invariants (each checked by the property test):
//! - an m-section plays a track of a *live* publisher of its room, of its kind, in a
//!   codec that its viewer takes, and no two m-sections of a viewer play the same track;
//! - a viewer plays one publisher: the identity it asked for, or without one the
//!   publisher it has, and when that is gone the room's first live one;
//! - if such a publisher is live, its viewers play it: nobody is forgotten;
//! - there is at most one live publisher for each identity in a room;
//! - a room without sessions does not exist.

/// What follows.
pub mod effect;
/// What can happen to rooms.
pub mod input;

use crate::limits;
use crate::record::Kind;
use ion_api::names::{Identity, RoomName};
use ion_sdp::TrackCodec;
use std::collections::{BTreeMap, HashMap};

/// A session, inside this process.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Key(pub u64);

/// A track that may be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Audio or video.
    pub kind: Kind,
    /// Codec.
    pub codec: TrackCodec,
}

/// An m-section of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Audio or video.
    pub kind: Kind,
    /// Codecs that the viewer takes here.
    pub accepts: Vec<TrackCodec>,
}

/// A track of a publisher, by its place in the publisher's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrackRef {
    /// The publisher.
    pub publisher: Key,
    /// Place in the list.
    pub track: usize,
}

/// What happens to rooms.
#[derive(Debug, Clone)]
pub enum Input {
    /// A publisher has negotiated; it is not live yet.
    Publish {
        /// Its session.
        key: Key,
        /// Its room.
        room: RoomName,
        /// Who it is.
        identity: Identity,
        /// What it will send.
        tracks: Vec<Track>,
    },
    /// A publisher's media can flow.
    Live(Key),
    /// A viewer has negotiated.
    Play {
        /// Its session.
        key: Key,
        /// Its room.
        room: RoomName,
        /// Whom to play; `None` is the room's first publisher.
        wanted: Option<Identity>,
        /// Whom it plays already (a viewer that is taken up after a restart), or
        /// whose tracks it was answered with.
        current: Option<Key>,
        /// Its m-sections.
        slots: Vec<Slot>,
    },
    /// A session ended.
    Ended(Key),
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// An m-section plays another track, or none.
    Bind {
        /// The viewer.
        viewer: Key,
        /// Index of its m-section.
        slot: usize,
        /// What it plays now.
        track: Option<TrackRef>,
    },
    /// Another session of the same publisher took this one's place: end it.
    Replaced(Key),
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
    #[error("{0}")]
    Full(Full),
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

#[derive(Debug)]
struct Publisher {
    identity: Identity,
    tracks: Vec<Track>,
    /// Place in the order in which publishers became live; `None` before.
    live: Option<u64>,
}

#[derive(Debug)]
struct Viewer {
    wanted: Option<Identity>,
    current: Option<Key>,
    slots: Vec<Slot>,
    bound: Vec<Option<TrackRef>>,
}

#[derive(Debug, Default)]
struct Room {
    publishers: BTreeMap<Key, Publisher>,
    viewers: BTreeMap<Key, Viewer>,
}

/// How many may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Rooms.
    pub rooms: usize,
    /// Sessions in one room, publishers and viewers together.
    pub sessions: usize,
    /// Publishing sessions in one room.
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

/// All rooms.
#[derive(Debug, Default)]
pub struct Rooms {
    capacity: Capacity,
    rooms: HashMap<RoomName, Room>,
    of: HashMap<Key, RoomName>,
    next_live: u64,
}

impl Room {
    fn sessions(&self) -> usize {
        self.publishers.len() + self.viewers.len()
    }

    /// The live publisher that a viewer plays.
    fn source(&self, wanted: Option<&Identity>, current: Option<Key>) -> Option<Key> {
        let live = |key: &Key| self.publishers.get(key).is_some_and(|p| p.live.is_some());
        match wanted {
            Some(identity) => {
                let is_it = |p: &Publisher| p.live.is_some() && p.identity == *identity;
                self.publishers
                    .iter()
                    .find(|(_, p)| is_it(p))
                    .map(|(key, _)| *key)
            }
            None => current.filter(live).or_else(|| {
                let first = |(key, p): (&Key, &Publisher)| Some((p.live?, *key));
                self.publishers
                    .iter()
                    .filter_map(first)
                    .min()
                    .map(|(_, key)| key)
            }),
        }
    }

    /// Gives every viewer what it should play now, and says what changed.
    fn bind(&mut self, effects: &mut Vec<Effect>) {
        let mut viewers = std::mem::take(&mut self.viewers);
        for (key, viewer) in &mut viewers {
            self.bind_viewer(*key, viewer, effects);
        }
        self.viewers = viewers;
    }

    fn bind_viewer(&self, key: Key, viewer: &mut Viewer, effects: &mut Vec<Effect>) {
        let source = self.source(viewer.wanted.as_ref(), viewer.current);
        if source.is_some() {
            viewer.current = source;
        }
        let tracks = source
            .and_then(|s| self.publishers.get(&s))
            .map_or(&[][..], |p| &p.tracks);
        let mut taken = vec![false; tracks.len()];
        for (index, slot) in viewer.slots.iter().enumerate() {
            let fits = |track: &Track| {
                track.kind == slot.kind && slot.accepts.iter().any(|codec| track.codec.fits(codec))
            };
            let found = (0..tracks.len()).find(|&n| !taken[n] && fits(&tracks[n]));
            if let Some(n) = found {
                taken[n] = true;
            }
            let track = source
                .zip(found)
                .map(|(publisher, track)| TrackRef { publisher, track });
            if viewer.bound[index] != track {
                viewer.bound[index] = track;
                effects.push(Effect::Bind {
                    viewer: key,
                    slot: index,
                    track,
                });
            }
        }
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

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Publish {
                key,
                room,
                identity,
                tracks,
            } => {
                let publisher = Publisher {
                    identity,
                    tracks,
                    live: None,
                };
                self.of.insert(key, room.clone());
                self.rooms
                    .entry(room)
                    .or_default()
                    .publishers
                    .insert(key, publisher);
            }
            Input::Live(key) => self.live(key, &mut effects),
            Input::Play {
                key,
                room,
                wanted,
                current,
                slots,
            } => {
                let bound = vec![None; slots.len()];
                let mut viewer = Viewer {
                    wanted,
                    current,
                    slots,
                    bound,
                };
                self.of.insert(key, room.clone());
                let room = self.rooms.entry(room).or_default();
                room.bind_viewer(key, &mut viewer, &mut effects);
                room.viewers.insert(key, viewer);
            }
            Input::Ended(key) => self.ended(key, &mut effects),
        }
        effects
    }

    fn live(&mut self, key: Key, effects: &mut Vec<Effect>) {
        let Some(room) = self.of.get(&key).and_then(|name| self.rooms.get_mut(name)) else {
            return;
        };
        let Some(identity) = room.publishers.get(&key).map(|p| p.identity.clone()) else {
            return;
        };
        // The publisher's other sessions make way; viewers of theirs follow to this one.
        let others: Vec<Key> = room
            .publishers
            .iter()
            .filter(|(other, p)| **other != key && p.identity == identity)
            .map(|(other, _)| *other)
            .collect();
        let mut place = None;
        for other in others {
            place = place.or(room.publishers.remove(&other).and_then(|p| p.live));
            self.of.remove(&other);
            for viewer in room
                .viewers
                .values_mut()
                .filter(|v| v.current == Some(other))
            {
                viewer.current = Some(key);
            }
            effects.push(Effect::Replaced(other));
        }
        // Who comes back keeps its place in the order.
        let next = self.next_live;
        self.next_live += 1;
        if let Some(publisher) = room.publishers.get_mut(&key)
            && publisher.live.is_none()
        {
            publisher.live = Some(place.unwrap_or(next));
        }
        room.bind(effects);
    }

    fn ended(&mut self, key: Key, effects: &mut Vec<Effect>) {
        let Some(name) = self.of.remove(&key) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(&name) else {
            return;
        };
        room.viewers.remove(&key);
        if room.publishers.remove(&key).is_some() {
            room.bind(effects);
        }
        if room.sessions() == 0 {
            self.rooms.remove(&name);
        }
    }

    /// Whether one more session may enter, beside those that were promised a place.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(&self, room: &RoomName, is_publisher: bool, promised: usize) -> Result<(), Full> {
        match self.rooms.get(room) {
            None if self.rooms.len() >= self.capacity.rooms => Err(Full::Rooms),
            None => Ok(()),
            Some(room) if room.sessions() + promised >= self.capacity.sessions => Err(Full::Room),
            Some(room) if is_publisher && room.publishers.len() >= self.capacity.publishers => {
                Err(Full::Publishers)
            }
            Some(_) => Ok(()),
        }
    }

    /// The live publisher that a player would get now.
    pub fn source(&self, room: &RoomName, wanted: Option<&Identity>) -> Option<Key> {
        self.rooms.get(room)?.source(wanted, None)
    }

    /// Sessions of this identity that have negotiated and are not live yet.
    pub fn waiting(&self, room: &RoomName, identity: &Identity) -> Vec<Key> {
        let publishers = self
            .rooms
            .get(room)
            .into_iter()
            .flat_map(|room| &room.publishers);
        publishers
            .filter(|(_, p)| p.live.is_none() && p.identity == *identity)
            .map(|(key, _)| *key)
            .collect()
    }

    /// What each m-section of a viewer plays.
    pub fn bound(&self, viewer: Key) -> &[Option<TrackRef>] {
        let room = self.of.get(&viewer).and_then(|name| self.rooms.get(name));
        room.and_then(|room| room.viewers.get(&viewer))
            .map_or(&[], |viewer| &viewer.bound)
    }

    /// Who plays a track: viewer and index of its m-section.
    pub fn players(&self, track: TrackRef) -> impl Iterator<Item = (Key, usize)> + '_ {
        let room = self
            .of
            .get(&track.publisher)
            .and_then(|name| self.rooms.get(name));
        room.into_iter()
            .flat_map(|room| &room.viewers)
            .flat_map(move |(key, viewer)| {
                let plays = move |(slot, bound): (usize, &Option<TrackRef>)| {
                    (*bound == Some(track)).then_some((*key, slot))
                };
                viewer.bound.iter().enumerate().filter_map(plays)
            })
    }

    /// Every track that is played in a room, with the viewer.
    pub fn bindings(&self, room: &RoomName) -> impl Iterator<Item = (Key, TrackRef)> + '_ {
        let viewers = self.rooms.get(room).into_iter().flat_map(|r| &r.viewers);
        viewers.flat_map(|(key, viewer)| viewer.bound.iter().flatten().map(|track| (*key, *track)))
    }

    /// All sessions of a room, publishers first, in order of arrival.
    pub fn sessions(&self, room: &RoomName) -> Vec<Key> {
        let room = self.rooms.get(room);
        room.map(|room| {
            room.publishers
                .keys()
                .chain(room.viewers.keys())
                .copied()
                .collect()
        })
        .unwrap_or_default()
    }

    /// The names of all rooms, sorted.
    pub fn names(&self) -> Vec<RoomName> {
        let mut names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        names.sort();
        names
    }

    /// Number of rooms.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

#[cfg(test)]
mod tests;
