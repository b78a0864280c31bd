//! What others see.

use super::{Key, Rooms, Settings};
use crate::record::Kind;
use ion_api::accounts::Subject;
use ion_api::model::MediaKind;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{
    ParticipantInfo, ParticipantKind, ParticipantState, Permissions, PublicationInfo, RoomState,
    Snapshot, SubscriptionInfo,
};
use ion_api::token::TokenRef;
use std::collections::BTreeSet;

/// Whether a revocation is about a session.
pub fn is_about(
    subject: &Subject,
    room: &RoomName,
    identity: &Identity,
    token: Option<&TokenRef>,
) -> bool {
    match subject {
        Subject::Token(jti) => token.is_some_and(|token| token.id == jti.as_str()),
        Subject::User(whose) => identity == whose,
        Subject::Room(which) => room == which,
        Subject::Participant(which, whose) => room == which && identity == whose,
    }
}

impl Rooms {
    /// A participant as others see it, whether or not they do.
    pub fn participant_info(&self, key: Key) -> Option<ParticipantInfo> {
        let p = self.participants.get(&key)?;
        let infos = p.publications.iter();
        Some(ParticipantInfo {
            id: key.into(),
            identity: p.identity.as_str().to_owned(),
            name: p.name.clone(),
            kind: p.kind,
            state: p.state,
            version: p.version,
            metadata: p.metadata.clone(),
            attributes: p.attributes.clone(),
            joined_at_s: p.joined_at_s,
            is_admin: p.permissions.room_admin,
            quality: p.quality,
            publications: infos
                .filter_map(|id| self.publication_info(*id, false))
                .collect(),
        })
    }

    /// A participant as it is seen in a room that only publications of its are attached to.
    pub(super) fn guest_info(&self, room: &RoomName, owner: Key) -> Option<ParticipantInfo> {
        let mut info = self.participant_info(owner)?;
        info.kind = ParticipantKind::Guest;
        info.is_admin = false;
        let guests: Vec<PublicationId> = self.guests_of(room, owner).collect();
        info.publications
            .retain(|publication| guests.contains(&publication.id));
        Some(info)
    }

    /// A publication as others see it, or as its publisher does.
    pub fn publication_info(&self, id: PublicationId, is_own: bool) -> Option<PublicationInfo> {
        let p = self.publications.get(&id)?;
        Some(PublicationInfo {
            id,
            participant: p.owner.into(),
            kind: match p.kind {
                Kind::Audio => MediaKind::Audio,
                Kind::Video => MediaKind::Video,
            },
            source: p.source,
            name: p.name.clone(),
            codec: p.codec.kind.name().to_owned(),
            layers: p.layers.clone(),
            scalability_mode: p.scalability_mode.clone(),
            encrypted: p.encrypted,
            muted: p.muted,
            paused: p.paused,
            stream: p.stream.clone(),
            version: p.version,
            cid: is_own.then(|| p.cid.clone()),
        })
    }

    /// A room's settings as participants see them.
    pub fn room_state(&self, name: &RoomName) -> Option<RoomState> {
        let room = self.rooms.get(name)?;
        Some(RoomState {
            name: name.as_str().to_owned(),
            metadata: room.settings.metadata.clone(),
            attributes: room.settings.attributes.clone(),
            version: room.version,
            lobby: room.settings.lobby,
        })
    }

    /// What a participant receives.
    pub fn subscriptions(&self, key: Key) -> Vec<SubscriptionInfo> {
        let Some(p) = self.participants.get(&key) else {
            return Vec::new();
        };
        let info = |id: &PublicationId| {
            let settled = p.wishes.get(id).copied().unwrap_or_default();
            let slot = p.slots.iter().find(|slot| slot.assigned == Some(*id));
            SubscriptionInfo {
                publication: *id,
                mid: slot.map(|slot| slot.mid.clone()),
                bounds: settled.bounds,
                rule: settled.rule,
            }
        };
        p.subscribed.iter().map(info).collect()
    }

    /// Everything that a participant knows; its transport is the caller's to add.
    pub fn snapshot(&self, key: Key) -> Option<Snapshot> {
        let p = self.participants.get(&key)?;
        let mut me = self.participant_info(key)?;
        for own in &mut me.publications {
            own.cid = self.publications.get(&own.id).map(|p| p.cid.clone());
        }
        let waits = p.state == ParticipantState::Lobby;
        let is_seen = |o: &super::Participant| {
            o.is_shown() || (o.state == ParticipantState::Lobby && p.permissions.room_admin)
        };
        let others = self
            .members(&p.room)
            .filter(|(other, o)| *other != key && is_seen(o));
        let mut participants: Vec<_> = others
            .filter(|_| !waits)
            .filter_map(|(other, _)| self.participant_info(other))
            .collect();
        if !waits {
            participants.extend(self.guest_infos(&p.room));
        }
        Some(Snapshot {
            room: self.room_state(&p.room).unwrap_or_default(),
            me,
            permissions: p.permissions.clone(),
            participants,
            subscriptions: self.subscriptions(key),
            audio_slots: if waits {
                Vec::new()
            } else {
                self.audio_slots(&p.room)
            },
            transport: None,
        })
    }

    fn guest_infos(&self, room: &RoomName) -> Vec<ParticipantInfo> {
        let guests = self
            .rooms
            .get(room)
            .into_iter()
            .flat_map(|room| &room.guests);
        let owners = guests.filter_map(|id| Some(self.publications.get(id)?.owner));
        let owners: std::collections::BTreeSet<Key> = owners.collect();
        owners
            .into_iter()
            .filter_map(|owner| self.guest_info(room, owner))
            .collect()
    }

    /// The settings of a room.
    pub fn settings(&self, name: &RoomName) -> Option<&Settings> {
        self.rooms.get(name).map(|room| &room.settings)
    }

    /// When a room came to be, seconds since the Unix epoch; 0 where it was made without
    /// participants.
    pub fn created_at_s(&self, name: &RoomName) -> Option<u64> {
        self.rooms.get(name).map(|room| room.created_at_s)
    }

    /// The room that a participant is in.
    pub fn room_of(&self, key: Key) -> Option<&RoomName> {
        self.participants.get(&key).map(|p| &p.room)
    }

    /// What a participant may do.
    pub fn permissions(&self, key: Key) -> Option<&Permissions> {
        self.participants.get(&key).map(|p| &p.permissions)
    }

    /// Who a participant is.
    pub fn identity(&self, key: Key) -> Option<&Identity> {
        self.participants.get(&key).map(|p| &p.identity)
    }

    /// Where a participant stands.
    pub fn state(&self, key: Key) -> Option<ParticipantState> {
        self.participants.get(&key).map(|p| p.state)
    }

    /// The publications of a participant, in order.
    pub fn publications(&self, key: Key) -> &[PublicationId] {
        self.participants.get(&key).map_or(&[], |p| &p.publications)
    }

    /// Whether a participant is to receive a publication.
    pub fn is_subscribed(&self, key: Key, id: PublicationId) -> bool {
        self.participants
            .get(&key)
            .is_some_and(|p| p.subscribed.contains(&id))
    }

    /// Whose a publication is.
    pub fn owner(&self, id: PublicationId) -> Option<Key> {
        self.publications.get(&id).map(|p| p.owner)
    }

    /// The publication that a participant calls so.
    pub fn by_cid(&self, key: Key, cid: &str) -> Option<PublicationId> {
        let is_it = |id: &&PublicationId| self.publications.get(id).is_some_and(|p| p.cid == cid);
        self.publications(key).iter().find(is_it).copied()
    }

    /// The publications of other rooms that are forwarded into a room.
    pub fn guests(&self, room: &RoomName) -> Vec<PublicationId> {
        self.rooms
            .get(room)
            .map(|r| r.guests.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The rooms that a publication is attached to.
    pub fn attached(&self, id: PublicationId) -> Vec<RoomName> {
        let publication = self.publications.get(&id);
        publication
            .map(|p| p.attached.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Participants of a room with this identity, in order of arrival.
    pub fn named(&self, room: &RoomName, identity: &Identity) -> Vec<Key> {
        let is_it = |(_, p): &(Key, &super::Participant)| p.identity == *identity;
        self.members(room)
            .filter(is_it)
            .map(|(key, _)| key)
            .collect()
    }

    /// Participants that a revocation is about, in order of arrival.
    pub fn whose(&self, subject: &Subject) -> Vec<Key> {
        let all = self.participants.iter();
        all.filter(|(_, p)| is_about(subject, &p.room, &p.identity, p.token.as_ref()))
            .map(|(key, _)| *key)
            .collect()
    }

    /// The participants with tokens of an API key.
    pub fn of_key(&self, key: &str) -> Vec<Key> {
        let is_own = |p: &super::Participant| p.token.as_ref().is_some_and(|t| t.key == key);
        let own = self.participants.iter().filter(|(_, p)| is_own(p));
        own.map(|(key, _)| *key).collect()
    }

    /// The API key of a participant's token.
    pub fn api_key(&self, key: Key) -> Option<&str> {
        let token = self.participants.get(&key)?.token.as_ref()?;
        Some(&token.key)
    }

    /// The rooms that an API key made, or in which somebody with a token of it is.
    pub fn rooms_of(&self, key: &str) -> usize {
        let made = self.rooms.iter().filter(|(_, room)| room.is_made_by(key));
        let own = self.of_key(key);
        let used = own.iter().filter_map(|key| self.room_of(*key));
        let rooms: BTreeSet<&RoomName> = made.map(|(name, _)| name).chain(used).collect();
        rooms.len()
    }

    /// Whether a room was made with an API key, or anybody with a token of it is there.
    pub fn has_key(&self, room: &RoomName, key: &str) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| room.is_made_by(key))
            || self
                .members(room)
                .any(|(member, _)| self.api_key(member) == Some(key))
    }

    /// WHIP publishers of this identity that have negotiated and are not live yet.
    pub fn waiting(&self, room: &RoomName, identity: &Identity) -> Vec<Key> {
        let waits = |p: &super::Participant| {
            p.kind == ParticipantKind::Whip && p.live.is_none() && p.identity == *identity
        };
        self.members(room)
            .filter(|(_, p)| waits(p))
            .map(|(key, _)| key)
            .collect()
    }

    /// SDK participants that hear of what happens in a room.
    pub fn audience(&self, room: &RoomName, except: Option<Key>) -> Vec<Key> {
        self.listeners(room, except)
    }

    /// All participants of a room, in order of arrival.
    pub fn sessions(&self, room: &RoomName) -> Vec<Key> {
        self.members(room).map(|(key, _)| key).collect()
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
