//! Slots, and what they are sent: subscriptions of the SDK, publishers that WHEP viewers follow.

use super::{
    Effect, Key, Participant, Play, Publication, Refused, Rooms, Settled, Slot, Wish, stage,
};
use crate::limits;
use crate::record::Kind;
use ion_api::names::{Identity, RoomName};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{ParticipantKind, ParticipantState, SubscriptionRule};
use std::collections::{BTreeMap, BTreeSet};

/// What a slot is sent, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// What.
    pub publication: PublicationId,
    /// Nothing, for now.
    pub is_paused: bool,
    /// Highest simulcast layer.
    pub max_layer: u8,
    /// Spatial layers inside an encoding; 0: all.
    pub spatial_layers: u8,
    /// Temporal layers; 0: all.
    pub temporal_layers: u8,
    /// Higher goes first.
    pub priority: u8,
    /// Silence is not sent.
    pub drops_silence: bool,
}

/// Priority of a subscription of which nothing is said.
const PRIORITY: u8 = 128;

/// A publisher that viewers can play in a room, and its tracks there.
pub(super) struct Playable {
    owner: Key,
    live: u64,
    identity: Identity,
    tracks: Vec<PublicationId>,
}

#[cfg(test)]
impl Playable {
    pub(super) fn owner(&self) -> Key {
        self.owner
    }

    pub(super) fn is(&self, identity: &Identity) -> bool {
        self.identity == *identity
    }

    pub(super) fn tracks(&self) -> &[PublicationId] {
        &self.tracks
    }
}

impl Rooms {
    pub(super) fn set_slots(
        &mut self,
        key: Key,
        slots: Vec<Slot>,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let p = self.person_mut(key)?;
        for slot in slots.len()..p.slots.len() {
            self.set_bound(key, slot, None, fx);
        }
        let p = self.person_mut(key)?;
        p.bound.resize(slots.len(), None);
        p.slots = slots;
        self.refresh(key, fx);
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        key: Key,
        auto: Option<bool>,
        changes: &[Wish],
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let room = self.person(key)?.room.clone();
        let visible: BTreeSet<PublicationId> = self.visible(&room).into_iter().collect();
        let p = self.person_mut(key)?;
        if let (Some(auto), Play::Subscribe { auto: present }) = (auto, &mut p.play) {
            *present = auto;
        }
        let mut bounded = BTreeSet::new();
        for wish in changes.iter().filter(|w| visible.contains(&w.publication)) {
            let settled = p.wishes.entry(wish.publication).or_default();
            settled.subscribed = wish.subscribed.or(settled.subscribed);
            if let Some(bounds) = wish.bounds
                && bounds != settled.bounds
            {
                settled.bounds = bounds;
                bounded.insert(wish.publication);
            }
        }
        self.refresh(key, fx);
        self.rewrite_slots(key, &bounded, fx);
        fx.push(Effect::Changed(key));
        Ok(())
    }

    /// The slots of a participant that are sent one of these are sent another part of it.
    fn rewrite_slots(&self, key: Key, of: &BTreeSet<PublicationId>, fx: &mut Vec<Effect>) {
        let bound = self.participants.get(&key).map(|p| &p.bound);
        for (slot, id) in bound.into_iter().flatten().enumerate() {
            if id.is_some_and(|id| of.contains(&id)) {
                fx.push(Effect::Bind {
                    viewer: key,
                    slot,
                    from: *id,
                    to: *id,
                });
            }
        }
    }

    pub(super) fn rule(
        &mut self,
        key: Key,
        id: PublicationId,
        rule: SubscriptionRule,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        if !self.visible(&self.person(key)?.room).contains(&id) {
            return Err(Refused::NotFound("publication in the participant's room"));
        }
        let p = self.person_mut(key)?;
        p.wishes.entry(id).or_default().rule = rule;
        self.refresh(key, fx);
        fx.push(Effect::Changed(key));
        Ok(())
    }

    /// Everything that can be seen in a room, sound first, then in order of publishing.
    pub(super) fn visible(&self, room: &RoomName) -> Vec<PublicationId> {
        let own = self.members(room).filter(|(_, p)| p.is_shown());
        let own = own.flat_map(|(_, p)| p.publications.iter().copied());
        let guests = self
            .rooms
            .get(room)
            .into_iter()
            .flat_map(|r| r.guests.iter().copied());
        let mut all: Vec<PublicationId> = own.chain(guests).collect();
        let rank = |id: &PublicationId| {
            let kind = self.publications.get(id).map(|p| p.kind);
            (kind != Some(Kind::Audio), *id)
        };
        all.sort_by_key(rank);
        all
    }

    /// Finds out anew what everybody in a room is sent.
    pub(super) fn refresh_room(&mut self, room: &RoomName, fx: &mut Vec<Effect>) {
        let (visible, playable) = (self.visible(room), self.playables(room));
        let members: Vec<Key> = self.members(room).map(|(key, _)| key).collect();
        for key in members {
            self.refresh_one(key, &visible, &playable, fx);
        }
    }

    /// In all rooms where publications of a participant can be seen.
    pub(super) fn refresh_reach(&mut self, owner: Key, fx: &mut Vec<Effect>) {
        let Some(p) = self.participants.get(&owner) else {
            return;
        };
        let mut rooms = BTreeSet::from([p.room.clone()]);
        let published = p
            .publications
            .iter()
            .filter_map(|id| self.publications.get(id));
        rooms.extend(published.flat_map(|publication| publication.attached.clone()));
        for room in rooms {
            self.refresh_room(&room, fx);
        }
    }

    /// Of one participant.
    pub(super) fn refresh(&mut self, key: Key, fx: &mut Vec<Effect>) {
        let Some(room) = self.participants.get(&key).map(|p| p.room.clone()) else {
            return;
        };
        let (visible, playable) = (self.visible(&room), self.playables(&room));
        self.refresh_one(key, &visible, &playable, fx);
    }

    fn refresh_one(
        &mut self,
        key: Key,
        visible: &[PublicationId],
        playable: &[Playable],
        fx: &mut Vec<Effect>,
    ) {
        match self.participants.get(&key).map(|p| &p.play) {
            Some(Play::Subscribe { auto }) => {
                let auto = *auto;
                self.resubscribe(key, auto, visible, fx);
            }
            Some(Play::Follow { wanted, current }) => {
                let source = source(playable, wanted.as_ref(), *current);
                self.follow(key, source, fx);
            }
            Some(Play::Nothing) | None => {}
        }
    }

    fn resubscribe(
        &mut self,
        key: Key,
        auto: bool,
        visible: &[PublicationId],
        fx: &mut Vec<Effect>,
    ) {
        let Some(p) = self.participants.get(&key) else {
            return;
        };
        let may = p.permissions.can_subscribe && p.state != ParticipantState::Lobby;
        let seats = self.seats_for(p, auto && may);
        let staged = |id| !seats.is_empty() && self.is_staged_in(&p.room, id);
        let rule_of =
            |id: &PublicationId| p.wishes.get(id).map_or(SubscriptionRule::Free, |w| w.rule);
        let wants = |id: &&PublicationId| {
            let settled = p.wishes.get(*id).copied().unwrap_or_default();
            match settled.rule {
                SubscriptionRule::Forced => true,
                SubscriptionRule::Forbidden => false,
                SubscriptionRule::Free => settled.subscribed.unwrap_or(auto && !staged(**id)),
            }
        };
        let is_own = |id: &PublicationId| self.publications.get(id).is_some_and(|p| p.owner == key);
        let wanted = visible.iter().filter(|id| may && !is_own(id)).filter(wants);
        let mut list: Vec<PublicationId> = seats.iter().chain(wanted).copied().collect();
        list.sort_by_key(|id| rule_of(id) != SubscriptionRule::Forced);
        list.truncate(limits::SUBSCRIPTIONS);
        let assigned = self.assignments(p, &list);
        if p.subscribed != list {
            fx.push(Effect::Resubscribed(key));
            if let Some(p) = self.participants.get_mut(&key) {
                p.subscribed = list;
            }
        }
        for (slot, to) in assigned.into_iter().enumerate() {
            self.set_bound(key, slot, to, fx);
        }
    }

    /// What each slot of an SDK participant is sent, if it is subscribed to these.
    fn assignments(&self, p: &Participant, list: &[PublicationId]) -> Vec<Option<PublicationId>> {
        let mut taken = BTreeSet::new();
        let sent = |slot: &Slot| {
            let id = slot.assigned.filter(|id| list.contains(id))?;
            if self.seats.contains_key(&id) {
                return (stage::takes(slot) && taken.insert(id)).then_some(id);
            }
            let publication = self.publications.get(&id)?;
            let is_live = self.participants.get(&publication.owner)?.live.is_some();
            (is_live && fits(publication, slot) && taken.insert(id)).then_some(id)
        };
        p.slots.iter().map(sent).collect()
    }

    /// The publishers that can be played in a room.
    pub(super) fn playables(&self, room: &RoomName) -> Vec<Playable> {
        let of = |owner: Key, p: &Participant, tracks: Vec<PublicationId>| {
            // Who is hidden is not to be found out about by asking for him either.
            let is_shown = p.state != ParticipantState::Lobby && !p.permissions.hidden;
            let is_one = !tracks.is_empty() && is_shown;
            let live = p.live.filter(|_| is_one)?;
            Some(Playable {
                owner,
                live,
                identity: p.identity.clone(),
                tracks,
            })
        };
        let own = self
            .members(room)
            .filter(|(_, p)| p.kind != ParticipantKind::Whep);
        let own = own.filter_map(|(key, p)| of(key, p, p.publications.clone()));
        let mut guests: BTreeMap<Key, Vec<PublicationId>> = BTreeMap::new();
        for id in self
            .rooms
            .get(room)
            .into_iter()
            .flat_map(|room| &room.guests)
        {
            if let Some(publication) = self.publications.get(id) {
                guests.entry(publication.owner).or_default().push(*id);
            }
        }
        let guests = guests.into_iter().filter_map(|(key, tracks)| {
            let p = self.participants.get(&key)?;
            of(key, p, tracks)
        });
        own.chain(guests).collect()
    }

    /// Gives a WHEP viewer what it should play now.
    fn follow(&mut self, key: Key, source: Option<&Playable>, fx: &mut Vec<Effect>) {
        let Some(p) = self.participants.get_mut(&key) else {
            return;
        };
        if let (Some(source), Play::Follow { current, .. }) = (source, &mut p.play) {
            *current = Some(source.owner);
        }
        let tracks = source.map_or(&[][..], |source| &source.tracks);
        let mut taken = BTreeSet::new();
        let mut sent = |slot: &Slot| {
            let fits = |id: &&PublicationId| {
                let publication = self.publications.get(id);
                publication.is_some_and(|publication| fits(publication, slot))
            };
            let found = tracks.iter().find(|id| !taken.contains(*id) && fits(id))?;
            taken.insert(*found);
            Some(*found)
        };
        let slots = self.participants.get(&key).map(|p| p.slots.iter());
        let bound: Vec<_> = slots.into_iter().flatten().map(&mut sent).collect();
        for (slot, to) in bound.into_iter().enumerate() {
            self.set_bound(key, slot, to, fx);
        }
    }

    /// Sends something else to a slot.
    pub(super) fn set_bound(
        &mut self,
        viewer: Key,
        slot: usize,
        to: Option<PublicationId>,
        fx: &mut Vec<Effect>,
    ) {
        let bound = self
            .participants
            .get_mut(&viewer)
            .and_then(|p| p.bound.get_mut(slot));
        let Some(bound) = bound else { return };
        let from = std::mem::replace(bound, to);
        if from == to {
            return;
        }
        if let Some(players) = from.and_then(|id| self.players_mut(id)) {
            players.remove(&(viewer, slot));
        }
        if let Some(players) = to.and_then(|id| self.players_mut(id)) {
            players.insert((viewer, slot));
        }
        fx.push(Effect::Bind {
            viewer,
            slot,
            from,
            to,
        });
    }

    /// Who is sent a publication, or what a seat is given to.
    fn players_mut(&mut self, id: PublicationId) -> Option<&mut BTreeSet<(Key, usize)>> {
        let of_publication = self.publications.get_mut(&id).map(|p| &mut p.players);
        of_publication.or_else(|| self.seats.get_mut(&id).map(|seat| &mut seat.players))
    }

    /// What a slot is sent now, and how much of it.
    pub fn delivery(&self, viewer: Key, slot: usize) -> Option<Delivery> {
        let p = self.participants.get(&viewer)?;
        let id = (*p.bound.get(slot)?)?;
        let is_audio = p
            .slots
            .get(slot)
            .is_some_and(|slot| slot.kind == Kind::Audio);
        let drops_silence = is_audio && self.drops_silence(&p.room);
        if self.seats.contains_key(&id) {
            return Some(Delivery {
                drops_silence,
                ..of_seat(id)
            });
        }
        let publication = self.publications.get(&id)?;
        let settled = p.wishes.get(&id).copied().unwrap_or_default();
        Some(Delivery {
            drops_silence,
            ..delivery(id, publication, &settled)
        })
    }

    /// What each slot of a participant is sent.
    pub fn bound(&self, viewer: Key) -> &[Option<PublicationId>] {
        self.participants.get(&viewer).map_or(&[], |p| &p.bound)
    }

    /// Who is sent a publication: participant and place of its slot.
    pub fn players(&self, id: PublicationId) -> impl Iterator<Item = (Key, usize)> + '_ {
        let players = self.publications.get(&id).map(|p| &p.players);
        let players = players.or_else(|| self.seats.get(&id).map(|seat| &seat.players));
        players.into_iter().flatten().copied()
    }

    /// The live publisher that a player would get now, and its tracks in that room.
    pub fn source(
        &self,
        room: &RoomName,
        wanted: Option<&Identity>,
    ) -> Option<(Key, Vec<PublicationId>)> {
        let playable = self.playables(room);
        let found = source(&playable, wanted, None)?;
        Some((found.owner, found.tracks.clone()))
    }
}

fn fits(publication: &Publication, slot: &Slot) -> bool {
    let takes = |codec| publication.codec.fits(codec);
    publication.kind == slot.kind && slot.accepts.iter().any(takes)
}

fn source<'a>(
    playable: &'a [Playable],
    wanted: Option<&Identity>,
    current: Option<Key>,
) -> Option<&'a Playable> {
    if let Some(identity) = wanted {
        return playable.iter().find(|one| one.identity == *identity);
    }
    let present = playable.iter().find(|one| Some(one.owner) == current);
    present.or_else(|| playable.iter().min_by_key(|one| (one.live, one.owner)))
}

fn of_seat(id: PublicationId) -> Delivery {
    Delivery {
        publication: id,
        is_paused: false,
        max_layer: MAX_LAYER,
        spatial_layers: 0,
        temporal_layers: 0,
        priority: PRIORITY,
        drops_silence: false,
    }
}

fn delivery(id: PublicationId, publication: &Publication, settled: &Settled) -> Delivery {
    let (cap, bounds) = (&publication.cap, &settled.bounds);
    let top = layers_top(publication);
    let by_size = top.filter(|_| bounds.width.is_some() || bounds.height.is_some());
    let by_size = by_size.map(|top| {
        let (width, height) = (bounds.width.unwrap_or(0), bounds.height.unwrap_or(0));
        let fills = |layer: &u8| {
            let (w, h) = layer_size(publication, *layer, top);
            // Portrait or not: the publisher's camera may have turned.
            (w >= width && h >= height) || (w >= height && h >= width)
        };
        (0..=top).find(fills).unwrap_or(top)
    });
    let by_rate = cap.max_bitrate_bps.map(|most| {
        let takes = |layer: &LayerRate| layer.1 > 0 && layer.1 <= most;
        let rates = publication.layers.iter().map(|layer| layer.max_bitrate_bps);
        (0..=u8::MAX)
            .zip(rates)
            .filter(takes)
            .map(|(layer, _)| layer)
            .max()
            .unwrap_or(0)
    });
    let spatial = [cap.max_spatial, bounds.max_spatial, by_size, by_rate];
    let spatial = spatial.into_iter().flatten().min();
    let temporal = [cap.max_temporal, bounds.max_temporal]
        .into_iter()
        .flatten()
        .min();
    let is_simulcast = publication.layers.len() > 1;
    let inside = spatial.filter(|_| !is_simulcast);
    Delivery {
        publication: id,
        is_paused: bounds.paused || publication.paused || publication.silenced,
        max_layer: spatial
            .filter(|_| is_simulcast)
            .unwrap_or(MAX_LAYER)
            .min(MAX_LAYER),
        spatial_layers: inside.map_or(0, |layer| layer.saturating_add(1)),
        temporal_layers: temporal.map_or(0, |layer| layer.saturating_add(1)),
        priority: bounds.priority.unwrap_or(PRIORITY),
        drops_silence: false,
    }
}

type LayerRate = (u8, u32);

#[expect(clippy::cast_possible_truncation, reason = "four layers")]
const MAX_LAYER: u8 = ion_tables::TrackConfig::MAX_ENCODINGS as u8 - 1;

/// The highest layer of a publication whose sizes are known.
fn layers_top(publication: &Publication) -> Option<u8> {
    let layers = &publication.layers;
    if layers
        .iter()
        .any(|layer| layer.width == 0 || layer.height == 0)
    {
        return None;
    }
    match layers.len() {
        0 => None,
        // `L3T3` and the like: spatial layers inside one stream (W3C webrtc-svc).
        1 => {
            let digit = publication.scalability_mode.as_bytes().get(1);
            let digit = digit.copied().filter(u8::is_ascii_digit).unwrap_or(b'1');
            Some(digit.saturating_sub(b'1'))
        }
        count => u8::try_from(count - 1).ok(),
    }
}

/// Width and height of a layer; inside one stream each is half of the next.
fn layer_size(publication: &Publication, layer: u8, top: u8) -> (u32, u32) {
    match &publication.layers[..] {
        [one] => {
            let halvings = u32::from(top.saturating_sub(layer)).min(8);
            (one.width >> halvings, one.height >> halvings)
        }
        many => many
            .get(usize::from(layer))
            .map_or((0, 0), |l| (l.width, l.height)),
    }
}
