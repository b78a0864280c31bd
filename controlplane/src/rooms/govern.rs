//! Moderation: what the management API asks for.

use super::people::{check_size, tell};
use super::{Effect, Full, Input, Key, Participant, Play, Refused, Room, Rooms, Settings};
use crate::limits;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{ParticipantKind, ParticipantState, Permissions};
use ion_api::signal::server::{
    Event, ParticipantChanged, ParticipantLeft, PermissionsChanged, PublicationChanged, Reason,
    RoomCause, RoomChanged, RoomUpdated,
};
use std::collections::BTreeSet;

impl Rooms {
    pub(super) fn govern(&mut self, input: Input, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        match input {
            Input::Permit { key, permissions } => self.permit(key, permissions, fx),
            Input::Admit(key) => self.let_in(key, fx),
            Input::Kick(key) => {
                self.person(key)?;
                self.remove(key, Reason::Kicked, fx);
                Ok(())
            }
            Input::Mute(id) => {
                let publication = self.publication_mut(id)?;
                (publication.muted, publication.silenced) = (true, true);
                self.changed_by_moderator(id, fx);
                Ok(())
            }
            Input::Pause {
                publication: id,
                is_paused,
            } => {
                self.publication_mut(id)?.paused = is_paused;
                self.changed_by_moderator(id, fx);
                Ok(())
            }
            Input::Throttle {
                publication: id,
                cap,
            } => {
                self.publication_mut(id)?.cap = cap;
                self.rewrite_players(id, fx);
                fx.push(Effect::Changed(self.publication(id)?.owner));
                Ok(())
            }
            Input::Rule {
                key,
                publication,
                rule,
            } => self.rule(key, publication, rule, fx),
            Input::Move { keys, to } => self.shift(&keys, &to, fx),
            Input::Merge { from, into } => {
                let keys: Vec<Key> = self.members(&from).map(|(key, _)| key).collect();
                if !self.rooms.contains_key(&from) {
                    return Err(Refused::NotFound("room"));
                }
                self.shift(&keys, &into, fx)
            }
            Input::Attach { publication, room } => self.attach(publication, &room, fx),
            Input::Detach { publication, room } => {
                if !self.publication(publication)?.attached.contains(&room) {
                    return Err(Refused::NotFound(
                        "room that the publication is attached to",
                    ));
                }
                self.detach(publication, &room, Reason::Detached, fx);
                fx.push(Effect::Changed(self.publication(publication)?.owner));
                Ok(())
            }
            Input::Configure { room, settings } => self.configure(&room, settings, fx),
            Input::Close(room) => self.close(&room, fx),
            // All others are taken by `handle`.
            _ => Ok(()),
        }
    }

    fn changed_by_moderator(&mut self, id: PublicationId, fx: &mut Vec<Effect>) {
        self.tell_publication(id, true, fx);
        self.rewrite_players(id, fx);
        fx.extend(self.publications.get(&id).map(|p| Effect::Changed(p.owner)));
    }

    fn permit(
        &mut self,
        key: Key,
        permissions: Permissions,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let p = self.person_mut(key)?;
        if p.permissions == permissions {
            return Ok(());
        }
        let was_shown = p.is_shown();
        let was_hidden = std::mem::replace(&mut p.permissions, permissions.clone()).hidden;
        let (room, published) = (p.room.clone(), p.publications.clone());
        let is_whip = p.kind == ParticipantKind::Whip;
        let event = Event::PermissionsChanged(PermissionsChanged {
            permissions: permissions.clone(),
        });
        tell(fx, &room, vec![key], event, false);
        for id in published {
            let source = self.publication(id)?.source;
            // Of a WHIP publisher no source is known; its grants spoke of kinds.
            let may = match is_whip {
                true => permissions.can_publish,
                false => permissions.may_publish(source),
            };
            if !may {
                self.unpublish(id, fx)?;
            }
        }
        if was_shown && permissions.hidden {
            let event = Event::ParticipantLeft(ParticipantLeft {
                participant: key.into(),
                reason: Reason::Left,
            });
            tell(fx, &room, self.listeners(&room, Some(key)), event, true);
            self.tell_silent(&room, key, fx);
        } else if was_hidden && !permissions.hidden {
            self.tell_joined(key, fx);
        }
        self.tell_updated(key, fx);
        self.refresh_reach(key, fx);
        Ok(())
    }

    fn let_in(&mut self, key: Key, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        let p = self.person_mut(key)?;
        if p.state != ParticipantState::Lobby {
            return Err(Refused::Conflict(
                "it does not wait in the lobby".to_owned(),
            ));
        }
        p.state = match p.gone_since {
            Some(_) => ParticipantState::Disconnected,
            None => ParticipantState::Active,
        };
        self.tell_joined(key, fx);
        self.refresh_reach(key, fx);
        self.tell_anew(key, RoomCause::Admitted, fx);
        fx.push(Effect::Changed(key));
        Ok(())
    }

    /// Tells a participant everything.
    pub(super) fn tell_anew(&self, key: Key, cause: RoomCause, fx: &mut Vec<Effect>) {
        let Some(p) = self
            .participants
            .get(&key)
            .filter(|p| p.kind == ParticipantKind::Sdk)
        else {
            return;
        };
        // The snapshot has them.
        fx.retain(|effect| *effect != Effect::Resubscribed(key));
        if let Some(snapshot) = self.snapshot(key) {
            let event = Event::Room(Box::new(RoomChanged { cause, snapshot }));
            tell(fx, &p.room, vec![key], event, false);
        }
    }

    /// Moves participants of one room to another: all or none.
    fn shift(&mut self, keys: &[Key], to: &RoomName, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        let keys: BTreeSet<Key> = keys.iter().copied().collect();
        let mut comers = Vec::new();
        for key in &keys {
            let p = self.person(*key)?;
            if p.room != *to {
                comers.push((*key, p));
            }
        }
        let there = self.members(to).filter_map(|(_, p)| unique(p));
        let mut names: BTreeSet<_> = there.collect();
        for name in comers.iter().filter_map(|(_, p)| unique(p)) {
            let text = format!("{} would be in the room twice", name.1);
            if !names.insert(name) {
                return Err(Refused::Conflict(text));
            }
        }
        if comers.is_empty() {
            return Ok(());
        }
        self.admit(to, false, comers.len() - 1)?;
        let publishers = comers.iter().filter(|(_, p)| p.is_publisher()).count();
        if self.publishers(to) + publishers > self.capacity.publishers {
            return Err(Full::Publishers.into());
        }
        let comers: BTreeSet<Key> = comers.into_iter().map(|(key, _)| key).collect();
        self.shift_all(&comers, to, fx);
        Ok(())
    }

    /// Moves them together, so that what they send each other goes on.
    fn shift_all(&mut self, comers: &BTreeSet<Key>, to: &RoomName, fx: &mut Vec<Effect>) {
        let mut left = BTreeSet::new();
        for key in comers {
            left.extend(self.change_room(*key, comers, to, fx));
        }
        for key in comers {
            self.forget_unseen(*key, to);
        }
        let brought = comers.iter().flat_map(|key| self.publications(*key));
        let brought: Vec<PublicationId> = brought.copied().collect();
        for from in &left {
            for id in &brought {
                self.forget_wishes(from, *id);
            }
            self.refresh_room(from, fx);
        }
        for key in comers {
            self.tell_joined_to(*key, |other| !comers.contains(&other), fx);
        }
        self.refresh_room(to, fx);
        for key in comers {
            self.tell_anew(*key, RoomCause::Moved, fx);
            fx.push(Effect::Changed(*key));
        }
        for from in &left {
            self.drop_if_empty(from, fx);
        }
    }

    /// Takes one of the comers out of its room, which is told, and puts it into the other.
    fn change_room(
        &mut self,
        key: Key,
        comers: &BTreeSet<Key>,
        to: &RoomName,
        fx: &mut Vec<Effect>,
    ) -> Option<RoomName> {
        let p = self.participants.get(&key)?;
        let (from, was_shown, published) = (p.room.clone(), p.is_shown(), p.publications.clone());
        let joined_at_s = p.joined_at_s;
        for id in &published {
            self.detach(*id, to, Reason::Moved, fx);
            self.unseat(*id, fx);
        }
        let event = Event::ParticipantLeft(ParticipantLeft {
            participant: key.into(),
            reason: Reason::Moved,
        });
        let mut told = self.listeners(&from, Some(key));
        told.retain(|other| !comers.contains(other));
        if was_shown {
            tell(fx, &from, told, event, true);
        }
        self.tell_silent(&from, key, fx);
        let fresh = || Room {
            created_at_s: joined_at_s,
            ..Room::default()
        };
        let room = self.rooms.entry(to.clone()).or_insert_with(fresh);
        room.members.insert(key);
        if let Some(room) = self.rooms.get_mut(&from) {
            room.members.remove(&key);
        }
        let p = self.participants.get_mut(&key)?;
        p.room = to.clone();
        if p.state == ParticipantState::Lobby {
            p.state = match p.gone_since {
                Some(_) => ParticipantState::Disconnected,
                None => ParticipantState::Active,
            };
        }
        if let Play::Follow { current, .. } = &mut p.play {
            *current = None;
        }
        Some(from)
    }

    /// Forgets what a participant wished and was given of publications that it does not see here.
    fn forget_unseen(&mut self, key: Key, room: &RoomName) {
        let visible = self.visible(room);
        if let Some(p) = self.participants.get_mut(&key) {
            p.wishes.retain(|id, _| visible.contains(id));
            for slot in &mut p.slots {
                slot.assigned = slot.assigned.filter(|id| visible.contains(id));
            }
        }
    }

    fn attach(
        &mut self,
        id: PublicationId,
        to: &RoomName,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let publication = self.publication(id)?;
        let (owner, room) = (publication.owner, &self.person(publication.owner)?.room);
        if room == to {
            return Err(Refused::Conflict(
                "the publication is in that room already".to_owned(),
            ));
        }
        if publication.attached.contains(to) {
            return Ok(());
        }
        if publication.attached.len() >= limits::ATTACHED {
            return Err(Refused::TooLarge("the publication is in too many rooms"));
        }
        if !self.rooms.contains_key(to) {
            self.admit(to, false, 0)?;
        }
        let is_first = self.guests_of(to, owner).next().is_none();
        self.publication_mut(id)?.attached.insert(to.clone());
        self.rooms.entry(to.clone()).or_default().guests.insert(id);
        let joined = || self.guest_info(to, owner);
        let event = match is_first {
            true => joined()
                .map(|participant| Event::ParticipantJoined(ParticipantChanged { participant })),
            false => self
                .publication_info(id, false)
                .map(|publication| Event::Published(PublicationChanged { publication })),
        };
        if let Some(event) = event {
            tell(fx, to, self.listeners(to, None), event, true);
        }
        fx.push(Effect::Changed(owner));
        self.refresh_room(to, fx);
        Ok(())
    }

    fn configure(
        &mut self,
        name: &RoomName,
        settings: Settings,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        check_size(&settings.metadata, &settings.attributes)?;
        super::stage::check(&settings.audio)?;
        if !self.rooms.contains_key(name) {
            self.admit(name, false, 0)?;
        }
        let room = self.rooms.entry(name.clone()).or_default();
        let before = std::mem::replace(&mut room.settings, settings);
        if room.version > 0 {
            room.settings.maker.clone_from(&before.maker);
        }
        let had_lobby = before.lobby;
        let has_silence = before.audio.silence == room.settings.audio.silence;
        room.version += 1;
        let opens = had_lobby && !room.settings.lobby;
        if let Some(room) = self.room_state(name) {
            let event = Event::RoomUpdated(RoomUpdated { room });
            tell(fx, name, self.listeners(name, None), event, true);
        }
        fx.push(Effect::RoomChanged(name.clone()));
        if !has_silence {
            self.rewrite_audio(name, fx);
        }
        if opens {
            let waits = |p: &Participant| p.state == ParticipantState::Lobby;
            let waiting = self.members(name).filter(|(_, p)| waits(p));
            for key in waiting.map(|(key, _)| key).collect::<Vec<_>>() {
                self.let_in(key, fx)?;
            }
        }
        self.drop_if_empty(name, fx);
        Ok(())
    }

    fn close(&mut self, name: &RoomName, fx: &mut Vec<Effect>) -> Result<(), Refused> {
        let room = self.rooms.get_mut(name).ok_or(Refused::NotFound("room"))?;
        room.settings.is_kept = false;
        let (members, guests) = (room.members.clone(), room.guests.clone());
        for id in guests {
            self.detach(id, name, Reason::RoomClosed, fx);
        }
        for key in members {
            self.remove(key, Reason::RoomClosed, fx);
        }
        self.drop_if_empty(name, fx);
        Ok(())
    }
}

/// What there may be only one of in a room.
fn unique(p: &Participant) -> Option<(bool, &Identity)> {
    match p.kind {
        ParticipantKind::Sdk => Some((true, &p.identity)),
        ParticipantKind::Whip if p.live.is_some() => Some((false, &p.identity)),
        _ => None,
    }
}
