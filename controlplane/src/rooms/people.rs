//! Who comes and goes.

use super::{Description, Effect, Join, Key, Participant, Play, Refused, Room, Rooms};
use crate::limits;
use ion_api::names::RoomName;
use ion_api::signal::model::{ParticipantKind, ParticipantState, Quality};
use ion_api::signal::server::{
    Event, ParticipantChanged, ParticipantLeft, ParticipantQuality, QualityChanged, Reason,
};
use std::collections::BTreeMap;
use std::time::Instant;

impl Rooms {
    pub(super) fn join(&mut self, join: Join, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        if self.participants.contains_key(&join.key) {
            return Err(Refused::Conflict("it is in a room already".to_owned()));
        }
        let is_sdk = join.kind == ParticipantKind::Sdk;
        let is_same = |p: &Participant| p.kind == join.kind && p.identity == join.identity;
        let double: Vec<Key> = self
            .members(&join.room)
            .filter(|(_, p)| is_sdk && is_same(p))
            .map(|(key, _)| key)
            .collect();
        if !join.is_admitted && double.is_empty() {
            self.admit(&join.room, join.kind == ParticipantKind::Whip, 0)?;
        }
        // Before they make way, so that a room does not end in between.
        let has_lobby = self.rooms.get(&join.room).is_some_and(|r| r.settings.lobby);
        let waits = is_sdk && has_lobby && !join.is_admitted && !join.permissions.room_admin;
        let (key, room) = (join.key, join.room.clone());
        let fresh = || Room {
            created_at_s: join.joined_at_s,
            ..Room::default()
        };
        let entry = self.rooms.entry(room.clone()).or_insert_with(fresh);
        entry.members.insert(key);
        self.participants.insert(key, participant(join, waits));
        for other in double {
            self.remove(other, Reason::DuplicateIdentity, fx);
        }
        if is_sdk {
            self.tell_joined(key, fx);
        }
        self.refresh(key, fx);
        Ok(())
    }

    /// Tells the others that somebody is there, or admins that somebody waits.
    pub(super) fn tell_joined(&self, key: Key, fx: &mut Vec<Effect>) {
        self.tell_joined_to(key, |_| true, fx);
    }

    /// Tells these of the others.
    pub(super) fn tell_joined_to(
        &self,
        key: Key,
        whom: impl Fn(Key) -> bool,
        fx: &mut Vec<Effect>,
    ) {
        let (Some(p), Some(participant)) =
            (self.participants.get(&key), self.participant_info(key))
        else {
            return;
        };
        let mut to = self.onlookers(key, p);
        to.retain(|other| whom(*other));
        let event = Event::ParticipantJoined(ParticipantChanged { participant });
        tell_of(p, to, event, fx);
    }

    /// Who is told of a participant: those of its room, or while it waits its admins.
    fn onlookers(&self, key: Key, p: &Participant) -> Vec<Key> {
        let waits = p.state == ParticipantState::Lobby;
        if !waits && !p.is_shown() {
            return Vec::new();
        }
        self.members(&p.room)
            .filter(|(other, o)| *other != key && o.listens())
            .filter(|(_, o)| !waits || o.permissions.room_admin)
            .map(|(other, _)| other)
            .collect()
    }

    /// Those of a room that are told what happens in it, without one of them.
    pub(super) fn listeners(&self, room: &RoomName, except: Option<Key>) -> Vec<Key> {
        self.members(room)
            .filter(|(key, p)| Some(*key) != except && p.listens())
            .map(|(key, _)| key)
            .collect()
    }

    /// Tells the others what somebody is like now.
    pub(super) fn tell_updated(&mut self, key: Key, fx: &mut Vec<Effect>) {
        if let Some(p) = self.participants.get_mut(&key) {
            p.version += 1;
        }
        let (Some(p), Some(participant)) =
            (self.participants.get(&key), self.participant_info(key))
        else {
            return;
        };
        let to = self.onlookers(key, p);
        let event = Event::ParticipantUpdated(ParticipantChanged { participant });
        tell_of(p, to, event, fx);
        fx.push(Effect::Changed(key));
    }

    pub(super) fn live(&mut self, key: Key, fx: &mut Vec<Effect>) {
        let Some(p) = self.participants.get_mut(&key) else {
            return;
        };
        let was_live = p.live.is_some();
        let mut place = p.live.or(p.place);
        let (is_whip, room, identity) = (
            p.kind == ParticipantKind::Whip,
            p.room.clone(),
            p.identity.clone(),
        );
        // A WHIP publisher's other sessions make way; viewers of theirs follow to this one.
        let is_other = |p: &Participant| p.kind == ParticipantKind::Whip && p.identity == identity;
        let others: Vec<(Key, Option<u64>)> = self
            .members(&room)
            .filter(|(other, p)| is_whip && *other != key && is_other(p))
            .map(|(other, p)| (other, p.live))
            .collect();
        // Who comes back keeps its place in the order.
        place = place.or(others.iter().filter_map(|(_, live)| *live).min());
        let next = self.next_live;
        self.next_live += 1;
        if let Some(p) = self.participants.get_mut(&key) {
            p.live = Some(place.unwrap_or(next));
            p.place = p.live;
        }
        for (other, _) in others {
            self.follow_instead(&room, other, key);
            self.remove(other, Reason::DuplicateIdentity, fx);
        }
        if is_whip && !was_live {
            self.tell_joined(key, fx);
        }
        self.refresh_reach(key, fx);
    }

    /// Viewers that play one publisher play another from now on.
    fn follow_instead(&mut self, room: &RoomName, old: Key, new: Key) {
        let viewers: Vec<Key> = self.members(room).map(|(key, _)| key).collect();
        for viewer in viewers {
            if let Some(p) = self.participants.get_mut(&viewer)
                && let Play::Follow { current, .. } = &mut p.play
                && *current == Some(old)
            {
                *current = Some(new);
            }
        }
    }

    pub(super) fn down(&mut self, key: Key, fx: &mut Vec<Effect>) {
        if let Some(p) = self.participants.get_mut(&key)
            && p.live.take().is_some()
        {
            self.refresh_reach(key, fx);
        }
    }

    pub(super) fn presence(
        &mut self,
        key: Key,
        is_connected: bool,
        now: Instant,
        fx: &mut Vec<Effect>,
    ) {
        let Some(p) = self.participants.get_mut(&key) else {
            return;
        };
        if is_connected == p.gone_since.is_none() {
            return;
        }
        p.gone_since = (!is_connected).then_some(now);
        let state = match (is_connected, p.state) {
            (_, ParticipantState::Lobby) => ParticipantState::Lobby,
            (true, _) => ParticipantState::Active,
            (false, _) => ParticipantState::Disconnected,
        };
        if std::mem::replace(&mut p.state, state) != state {
            self.tell_updated(key, fx);
        }
    }

    /// Takes a participant out, with all that is its own; its viewers go on to others.
    pub(super) fn remove(&mut self, key: Key, reason: Reason, fx: &mut Vec<Effect>) {
        let Some(p) = self.participants.get(&key) else {
            return;
        };
        let (room, to) = (p.room.clone(), self.onlookers(key, p));
        let event = Event::ParticipantLeft(ParticipantLeft {
            participant: key.into(),
            reason,
        });
        tell_of(p, to, event, fx);
        for slot in 0..p.slots.len() {
            self.set_bound(key, slot, None, fx);
        }
        let publications = self.participants.get(&key).map(|p| p.publications.clone());
        let publications = publications.unwrap_or_default();
        for id in &publications {
            self.withdraw(*id, reason, fx);
        }
        if self.participants.remove(&key).is_none() {
            return;
        }
        if let Some(found) = self.rooms.get_mut(&room) {
            found.members.remove(&key);
        }
        self.tell_silent(&room, key, fx);
        fx.push(Effect::Ended {
            key,
            reason,
            room: room.clone(),
        });
        if !publications.is_empty() {
            self.refresh_room(&room, fx);
        }
        self.drop_if_empty(&room, fx);
    }

    pub(super) fn describe(
        &mut self,
        key: Key,
        changes: Description,
        is_own: bool,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let p = self.person_mut(key)?;
        if is_own && !p.permissions.can_update_own_metadata {
            return Err(Refused::Forbidden(
                "the token lacks the grant `canUpdateOwnMetadata`",
            ));
        }
        let mut attributes = p.attributes.clone();
        merge(&mut attributes, changes.attributes);
        let metadata = changes.metadata.as_ref().unwrap_or(&p.metadata);
        check_size(metadata, &attributes)?;
        p.attributes = attributes;
        if let Some(metadata) = changes.metadata {
            p.metadata = metadata;
        }
        if let Some(name) = changes.name {
            p.name = ion_api::names::display_name(&name);
        }
        self.tell_updated(key, fx);
        Ok(())
    }

    pub(super) fn set_quality(&mut self, key: Key, quality: Quality, fx: &mut Vec<Effect>) {
        let Some(p) = self.participants.get_mut(&key) else {
            return;
        };
        if std::mem::replace(&mut p.quality, quality) == quality || !p.is_shown() {
            return;
        }
        let room = p.room.clone();
        let qualities = vec![ParticipantQuality {
            participant: key.into(),
            quality,
        }];
        let to = self.listeners(&room, None);
        let event = Event::QualityChanged(QualityChanged { qualities });
        tell(fx, &room, to, event, true);
    }

    pub(super) fn tick(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        let is_over = |p: &Participant| {
            let gone = |since| now.saturating_duration_since(since) >= limits::RESUME_WITHIN;
            p.gone_since.is_some_and(gone)
        };
        let gone = self.participants.iter().filter(|(_, p)| is_over(p));
        let gone: Vec<Key> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.remove(key, Reason::TimedOut, fx);
        }
    }
}

fn participant(join: Join, waits: bool) -> Participant {
    let mut attributes = BTreeMap::new();
    merge(&mut attributes, join.description.attributes);
    Participant {
        room: join.room,
        identity: join.identity,
        name: join.description.name.unwrap_or_default(),
        metadata: join.description.metadata.unwrap_or_default(),
        attributes,
        version: 1,
        kind: join.kind,
        state: match waits {
            true => ParticipantState::Lobby,
            false => ParticipantState::Active,
        },
        permissions: join.permissions,
        joined_at_s: join.joined_at_s,
        token: join.token,
        play: join.play,
        live: None,
        place: None,
        gone_since: None,
        quality: Quality::Unknown,
        publications: Vec::new(),
        slots: Vec::new(),
        bound: Vec::new(),
        wishes: BTreeMap::new(),
        subscribed: Vec::new(),
    }
}

/// Tells of a participant; of one that is not shown nobody outside hears.
fn tell_of(p: &Participant, to: Vec<Key>, event: Event, fx: &mut Vec<Effect>) {
    let is_public = p.is_shown() || p.state == ParticipantState::Lobby;
    tell(fx, &p.room, to, event, is_public);
}

pub(super) fn tell(
    fx: &mut Vec<Effect>,
    room: &RoomName,
    to: Vec<Key>,
    event: Event,
    is_public: bool,
) {
    if is_public || !to.is_empty() {
        fx.push(Effect::Tell {
            room: room.clone(),
            to,
            event,
            is_public,
        });
    }
}

/// Sets attributes; an empty value removes.
pub(super) fn merge(attributes: &mut BTreeMap<String, String>, changes: BTreeMap<String, String>) {
    for (name, value) in changes {
        match value.is_empty() {
            true => attributes.remove(&name),
            false => attributes.insert(name, value),
        };
    }
}

pub(super) fn check_size(
    metadata: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Refused> {
    let bytes: usize = attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    match metadata.len().max(bytes) <= limits::METADATA_BYTES {
        true => Ok(()),
        false => Err(Refused::TooLarge("metadata or attributes are too large")),
    }
}
