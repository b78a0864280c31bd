//! What is published.

use super::people::tell;
use super::{Cap, Effect, Full, Key, Publication, Publish, Refused, Rooms};
use crate::limits;
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_api::signal::model::{LayerInfo, ParticipantKind};
use ion_api::signal::server::{
    Event, LayersWatched, ParticipantLeft, PublicationChanged, Reason, Speaker, Speakers,
    Unpublished,
};
use std::collections::BTreeSet;

impl Rooms {
    pub(super) fn publish(&mut self, new: Publish, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        let (key, id) = (new.key, new.id);
        self.may_publish(&new)?;
        match self.publications.get_mut(&id) {
            Some(known) => {
                let before = (known.codec.clone(), known.layers.clone());
                known.codec = new.codec.0;
                known.layers = new.layers;
                known.scalability_mode = new.scalability_mode;
                known.encrypted = new.encrypted;
                if before != (known.codec.clone(), known.layers.clone()) {
                    self.tell_publication(id, false, fx);
                    self.rewrite_players(id, fx);
                }
            }
            None => {
                self.publications.insert(id, publication(new));
                let p = self.person_mut(key)?;
                p.publications.push(id);
                let (room, is_shown) = (p.room.clone(), p.is_shown());
                if let Some(publication) = self.publication_info(id, false)
                    && is_shown
                {
                    let to = self.listeners(&room, Some(key));
                    let event = Event::Published(PublicationChanged { publication });
                    tell(fx, &room, to, event, true);
                }
                fx.push(Effect::Changed(key));
            }
        }
        self.refresh_reach(key, fx);
        Ok(())
    }

    fn may_publish(&self, new: &Publish) -> Result<(), Refused> {
        let p = self.person(new.key)?;
        if let Some(known) = self.publications.get(&new.id) {
            return match known.owner == new.key && known.kind == new.kind {
                true => Ok(()),
                false => Err(Refused::Conflict(
                    "the publication is another one's, or of another kind".to_owned(),
                )),
            };
        }
        if p.kind == ParticipantKind::Sdk && !p.permissions.may_publish(new.source) {
            return Err(Refused::Forbidden(
                "the token does not allow to publish this",
            ));
        }
        if p.publications.len() >= limits::PUBLICATIONS {
            return Err(Refused::TooLarge(
                "too many publications of one participant",
            ));
        }
        let is_one_more = !p.is_publisher();
        if is_one_more && self.publishers(&p.room) >= self.capacity.publishers {
            return Err(Full::Publishers.into());
        }
        Ok(())
    }

    pub(super) fn unpublish(
        &mut self,
        id: PublicationId,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let owner = self.publication(id)?.owner;
        let p = self.person(owner)?;
        let event = Event::Unpublished(Unpublished {
            publication: id,
            participant: owner.into(),
        });
        if p.is_shown() {
            // Its publisher too: it may have been a moderator's wish.
            tell(fx, &p.room, self.listeners(&p.room, None), event, true);
        }
        let room = p.room.clone();
        self.withdraw(id, Reason::Detached, fx);
        fx.push(Effect::Changed(owner));
        self.refresh_room(&room, fx);
        Ok(())
    }

    /// Takes a publication out of all rooms. Its own room is told, and refreshed, by the caller.
    pub(super) fn withdraw(&mut self, id: PublicationId, reason: Reason, fx: &mut Vec<Effect>) {
        let Some(publication) = self.publications.get(&id) else {
            return;
        };
        let owner = publication.owner;
        let attached = publication.attached.clone();
        for (viewer, slot) in publication.players.clone() {
            self.set_bound(viewer, slot, None, fx);
        }
        for room in &attached {
            self.detach(id, room, reason, fx);
        }
        self.unseat(id, fx);
        let room = self.participants.get(&owner).map(|p| p.room.clone());
        if let Some(room) = room {
            self.forget_wishes(&room, id);
        }
        if let Some(p) = self.participants.get_mut(&owner) {
            p.publications.retain(|known| *known != id);
        }
        self.publications.remove(&id);
        fx.push(Effect::Unpublished {
            owner,
            publication: id,
        });
    }

    /// Those of a room know nothing of a publication any more.
    pub(super) fn forget_wishes(&mut self, room: &RoomName, id: PublicationId) {
        let members: Vec<Key> = self.members(room).map(|(key, _)| key).collect();
        for key in members {
            let Some(p) = self.participants.get_mut(&key) else {
                continue;
            };
            p.wishes.remove(&id);
            for slot in p.slots.iter_mut().filter(|s| s.assigned == Some(id)) {
                slot.assigned = None;
            }
        }
    }

    /// Takes a publication out of a room that it was attached to.
    pub(super) fn detach(
        &mut self,
        id: PublicationId,
        room: &RoomName,
        reason: Reason,
        fx: &mut Vec<Effect>,
    ) {
        let Some(publication) = self.publications.get_mut(&id) else {
            return;
        };
        if !publication.attached.remove(room) {
            return;
        }
        let owner = publication.owner;
        if let Some(found) = self.rooms.get_mut(room) {
            found.guests.remove(&id);
        }
        let is_gone = self.guests_of(room, owner).next().is_none();
        let event = match is_gone {
            true => Event::ParticipantLeft(ParticipantLeft {
                participant: owner.into(),
                reason,
            }),
            false => Event::Unpublished(Unpublished {
                publication: id,
                participant: owner.into(),
            }),
        };
        tell(fx, room, self.listeners(room, None), event, true);
        self.refresh_room(room, fx);
        self.forget_wishes(room, id);
        self.drop_if_empty(room, fx);
    }

    /// Publications of one participant that are attached to a room.
    pub(super) fn guests_of<'a>(
        &'a self,
        room: &RoomName,
        owner: Key,
    ) -> impl Iterator<Item = PublicationId> + use<'a> {
        let room = self.rooms.get(room);
        let guests = room.into_iter().flat_map(|room| &room.guests).copied();
        guests.filter(move |id| self.publications.get(id).is_some_and(|p| p.owner == owner))
    }

    pub(super) fn redescribe(
        &mut self,
        id: PublicationId,
        key: Key,
        muted: Option<bool>,
        name: Option<String>,
        layers: Option<Vec<LayerInfo>>,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let publication = self.publication_mut(id)?;
        if publication.owner != key {
            return Err(Refused::Forbidden("the publication is another one's"));
        }
        if let Some(muted) = muted {
            publication.muted = muted;
            publication.silenced &= muted;
        }
        if let Some(name) = name {
            publication.name = name;
        }
        if let Some(layers) = layers {
            publication.layers = layers;
        }
        self.tell_publication(id, false, fx);
        self.rewrite_players(id, fx);
        fx.push(Effect::Changed(key));
        Ok(())
    }

    /// Tells everybody who sees a publication what it is like now, and if it was not its own
    /// doing its publisher.
    pub(super) fn tell_publication(
        &mut self,
        id: PublicationId,
        tell_owner: bool,
        fx: &mut Vec<Effect>,
    ) {
        let Some(publication) = self.publications.get_mut(&id) else {
            return;
        };
        publication.version += 1;
        let (owner, attached) = (publication.owner, publication.attached.clone());
        let Some(p) = self.participants.get(&owner) else {
            return;
        };
        let (room, is_shown) = (p.room.clone(), p.is_shown());
        let changed = |is_own| {
            let publication = self.publication_info(id, is_own)?;
            Some(Event::PublicationUpdated(PublicationChanged {
                publication,
            }))
        };
        let rooms = is_shown.then_some(&room).into_iter().chain(&attached);
        for room in rooms {
            if let Some(event) = changed(false) {
                tell(fx, room, self.listeners(room, Some(owner)), event, true);
            }
        }
        if let Some(event) = changed(true).filter(|_| tell_owner) {
            tell(fx, &room, vec![owner], event, false);
        }
    }

    /// What viewers get of a publication may be another part of it now.
    pub(super) fn rewrite_players(&self, id: PublicationId, fx: &mut Vec<Effect>) {
        let players = self.publications.get(&id).map(|p| &p.players);
        fx.extend(
            players
                .into_iter()
                .flatten()
                .map(|&(viewer, slot)| Effect::Bind {
                    viewer,
                    slot,
                    from: Some(id),
                    to: Some(id),
                }),
        );
    }

    pub(super) fn speaking(&mut self, id: PublicationId, level: Option<u8>, fx: &mut Vec<Effect>) {
        let Some(publication) = self.publications.get_mut(&id) else {
            return;
        };
        publication.level = level;
        let owner = publication.owner;
        let Some(p) = self.participants.get(&owner) else {
            return;
        };
        let levels = p
            .publications
            .iter()
            .filter_map(|id| self.publications.get(id)?.level);
        let (loudest, room) = (levels.min(), p.room.clone());
        let Some(found) = self.rooms.get_mut(&room).filter(|_| p.is_shown()) else {
            return;
        };
        let before = match loudest {
            Some(level) => found.speakers.insert(owner, level),
            None => found.speakers.remove(&owner),
        };
        if before != loudest {
            self.tell_speakers(&room, fx);
        }
    }

    pub(super) fn speakers(&self, room: &RoomName) -> Vec<Speaker> {
        let speakers = self.rooms.get(room).map(|room| &room.speakers);
        let mut speakers: Vec<Speaker> = speakers
            .into_iter()
            .flatten()
            .map(|(key, level)| Speaker {
                participant: (*key).into(),
                level: *level,
            })
            .collect();
        speakers.sort_by_key(|speaker| speaker.level);
        speakers
    }

    fn tell_speakers(&self, room: &RoomName, fx: &mut Vec<Effect>) {
        let speakers = self.speakers(room);
        let event = Event::Speakers(Speakers { speakers });
        tell(fx, room, self.listeners(room, None), event, true);
    }

    /// Somebody who left a room speaks there no more.
    pub(super) fn tell_silent(&mut self, room: &RoomName, key: Key, fx: &mut Vec<Effect>) {
        let found = self.rooms.get_mut(room);
        if found.is_some_and(|room| room.speakers.remove(&key).is_some()) {
            self.tell_speakers(room, fx);
        }
    }

    pub(super) fn watched(&self, id: PublicationId, watched: Vec<bool>, fx: &mut Vec<Effect>) {
        let publication = self.publications.get(&id);
        let owner = publication.and_then(|p| Some((p.owner, self.participants.get(&p.owner)?)));
        if let Some((key, p)) = owner.filter(|(_, p)| p.kind == ParticipantKind::Sdk) {
            let event = Event::LayersWatched(LayersWatched {
                publication: id,
                watched,
            });
            tell(fx, &p.room, vec![key], event, false);
        }
    }
}

fn publication(new: Publish) -> Publication {
    Publication {
        owner: new.key,
        cid: new.cid,
        kind: new.kind,
        codec: new.codec.0,
        source: new.source,
        name: new.name,
        stream: new.stream,
        layers: new.layers,
        scalability_mode: new.scalability_mode,
        encrypted: new.encrypted,
        muted: new.muted,
        silenced: false,
        paused: false,
        cap: Cap::default(),
        version: 1,
        level: None,
        attached: BTreeSet::new(),
        players: BTreeSet::new(),
    }
}
