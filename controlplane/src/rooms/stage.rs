//! A room's stage: so many streams of sound for its SDK participants, whoever speaks. Each is a *seat*, that the
//! dataplane gives to the loudest, by turns; a participant is subscribed to the seats instead of to everybody's sound.
//!
//! Whoever chooses for himself, or for whom a moderator has forbidden something, gets publications one by one as ever:
//! a seat is for all the same. So are publications that a seat cannot carry: end-to-end encrypted ones, other codecs,
//! and those of other rooms.

use super::people::tell;
use super::{Effect, Key, Participant, Publication, Refused, Rooms, Slot};
use crate::limits;
use crate::record::Kind;
use ion_api::govern::AudioSettings;
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_api::signal::model::{AudioSlot, ParticipantState, SubscriptionRule};
use ion_api::signal::server::{AudioSlots, Event};
use ion_sdp::CodecKind;
use std::collections::BTreeSet;

/// One stream of a room's sound.
#[derive(Debug)]
pub(super) struct Seat {
    room: RoomName,
    /// Who has it, as far as is known.
    pub(super) source: Option<PublicationId>,
    /// Who is sent it: participant and place of the slot.
    pub(super) players: BTreeSet<(Key, usize)>,
}

/// # Errors
/// Too many streams are asked for.
pub(super) fn check(audio: &AudioSettings) -> Result<(), Refused> {
    if audio.slots > limits::AUDIO_SLOTS {
        return Err(Refused::TooLarge("a room can have 16 audio slots at most"));
    }
    Ok(())
}

/// Whether an m-section takes what a seat is sent.
pub(super) fn takes(slot: &Slot) -> bool {
    let is_opus = |codec: &ion_sdp::TrackCodec| codec.kind == CodecKind::Opus;
    slot.kind == Kind::Audio && slot.accepts.iter().any(is_opus)
}

impl Rooms {
    /// How many seats a room is to have.
    pub fn seats_wanted(&self, room: &RoomName) -> usize {
        let settings = self.settings(room);
        settings.map_or(0, |settings| usize::from(settings.audio.slots))
    }

    /// Whether silence is sent to those in a room.
    pub(super) fn drops_silence(&self, room: &RoomName) -> bool {
        let silence = self.settings(room).map(|settings| settings.audio.silence);
        silence == Some(ion_api::govern::Silence::Drop)
    }

    /// A room has these seats from now on.
    pub(super) fn set_stage(
        &mut self,
        name: &RoomName,
        seats: Vec<PublicationId>,
        fx: &mut Vec<Effect>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        let before = std::mem::replace(&mut room.seats, seats.clone());
        for id in &before {
            if !seats.contains(id) {
                let players = self.seats.get(id).map(|seat| seat.players.clone());
                for (viewer, slot) in players.into_iter().flatten() {
                    self.set_bound(viewer, slot, None, fx);
                }
                self.seats.remove(id);
            }
        }
        for id in seats {
            self.seats.entry(id).or_insert_with(|| Seat {
                room: name.clone(),
                source: None,
                players: BTreeSet::new(),
            });
        }
        self.tell_seats(name, fx);
        self.refresh_room(name, fx);
    }

    /// A seat went to somebody, or nobody has it.
    pub(super) fn seated(
        &mut self,
        id: PublicationId,
        source: Option<PublicationId>,
        fx: &mut Vec<Effect>,
    ) {
        let Some(seat) = self.seats.get(&id) else {
            return;
        };
        let (room, before) = (seat.room.clone(), seat.source);
        // It may be in another room by now.
        let is_here = |source: &PublicationId| {
            let owner = self.owner(*source);
            owner.and_then(|owner| self.room_of(owner)) == Some(&room)
        };
        let source = source.filter(is_here);
        if source == before {
            return;
        }
        if let Some(source) = source {
            // Whether or not it was heard of that it has left another seat.
            self.unseat(source, fx);
        }
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.source = source;
        }
        self.tell_seats(&room, fx);
    }

    /// A publication has no seat.
    pub(super) fn unseat(&mut self, id: PublicationId, fx: &mut Vec<Effect>) {
        let has_it = self.seats.iter().find(|(_, seat)| seat.source == Some(id));
        if let Some(seat) = has_it.map(|(seat, _)| *seat) {
            self.seated(seat, None, fx);
        }
    }

    fn tell_seats(&self, room: &RoomName, fx: &mut Vec<Effect>) {
        let slots = self.audio_slots(room);
        let event = Event::AudioSlots(AudioSlots { slots });
        tell(fx, room, self.listeners(room, None), event, false);
    }

    /// The room that a seat is of.
    pub fn room_of_seat(&self, id: PublicationId) -> Option<&RoomName> {
        self.seats.get(&id).map(|seat| &seat.room)
    }

    /// The seats of a room, and who has them.
    pub fn audio_slots(&self, room: &RoomName) -> Vec<AudioSlot> {
        let seats = self.rooms.get(room).map(|room| room.seats.iter());
        let slot = |id: &PublicationId| AudioSlot {
            publication: *id,
            source: self.seats.get(id).and_then(|seat| seat.source),
        };
        seats.into_iter().flatten().map(slot).collect()
    }

    /// The first seat of the stage that a publication may come onto.
    pub fn stage_of(&self, id: PublicationId) -> Option<PublicationId> {
        let publication = self.publications.get(&id)?;
        let owner = self.participants.get(&publication.owner)?;
        let seats = &self.rooms.get(&owner.room)?.seats;
        let is_heard = !publication.silenced && !publication.paused;
        let first = seats.first().copied();
        first.filter(|_| is_heard && is_carried(publication, owner))
    }

    /// The seats that a participant is sent, unless it chooses for itself.
    pub(super) fn seats_for(&self, p: &Participant, auto: bool) -> Vec<PublicationId> {
        let is_audio = |id: &PublicationId| {
            let publication = self.publications.get(id);
            publication.is_some_and(|publication| publication.kind == Kind::Audio)
        };
        let mut wishes = p.wishes.iter();
        let forbidden = wishes.any(|(id, w)| w.rule == SubscriptionRule::Forbidden && is_audio(id));
        let seats = self.rooms.get(&p.room).map(|room| room.seats.clone());
        seats.filter(|_| auto && !forbidden).unwrap_or_default()
    }

    /// Whether a publication is heard by the seats of a room. One that is paused or muted would be: nobody needs an
    /// m-section of its own for it meanwhile.
    pub(super) fn is_staged_in(&self, room: &RoomName, id: PublicationId) -> bool {
        let publication = self.publications.get(&id);
        publication.is_some_and(|publication| {
            let owner = self.participants.get(&publication.owner);
            owner.is_some_and(|owner| owner.room == *room && is_carried(publication, owner))
        })
    }

    /// What is sent of a room's sound may be more, or less.
    pub(super) fn rewrite_audio(&self, room: &RoomName, fx: &mut Vec<Effect>) {
        for (viewer, p) in self.members(room) {
            for (slot, (bound, of)) in p.bound.iter().zip(&p.slots).enumerate() {
                if bound.is_some() && of.kind == Kind::Audio {
                    fx.push(Effect::Bind {
                        viewer,
                        slot,
                        from: *bound,
                        to: *bound,
                    });
                }
            }
        }
    }
}

/// Whether a seat can carry it.
fn is_carried(publication: &Publication, owner: &Participant) -> bool {
    publication.kind == Kind::Audio
        && publication.codec.kind == CodecKind::Opus
        && !publication.encrypted
        && owner.is_shown()
        && owner.state != ParticipantState::Lobby
}
