//! The stages of rooms: their seats' rows, and what workers say of them.

use super::Core;
use crate::record::{Kind, Link};
use crate::rooms::{Input, Key};
use crate::rows;
use ion_api::names::RoomName;
use ion_api::signal::PublicationId;
use ion_tables::{Event, EventKind, RowKind, RowLink, SeqCell, Track};
use std::time::Instant;

/// The seats of a room, and their rows.
#[derive(Debug, Default, Clone)]
pub(super) struct Stage {
    pub(super) seats: Vec<(PublicationId, Link)>,
}

impl Stage {
    fn ids(&self) -> Vec<PublicationId> {
        self.seats.iter().map(|(id, _)| *id).collect()
    }

    /// What the stage is called in rows: its first seat.
    fn link(&self) -> RowLink {
        let first = self.seats.first();
        first.map_or_else(RowLink::default, |(_, row)| RowLink::from(*row))
    }
}

impl Core {
    /// Makes or frees seats, so that a room has as many as it is to have.
    pub(super) fn arrange_stage(&mut self, now: Instant, room: &RoomName) {
        let wanted = self.rooms.seats_wanted(room);
        let mut stage = self.stages.remove(room).unwrap_or_default();
        let before = stage.seats.len();
        while stage.seats.len() < wanted {
            let Ok(row) = self.programmer.reserve::<Track>() else {
                tracing::warn!(%room, "there are no rows left for its audio slots");
                break;
            };
            let id = self.publication_id();
            stage.seats.push((id, row.into()));
        }
        let ended = stage.seats.split_off(wanted.min(stage.seats.len()));
        if !stage.seats.is_empty() {
            self.stages.insert(room.clone(), stage.clone());
        }
        // A room that ended and came to be again knows nothing of its seats.
        let known = self.rooms.audio_slots(room).len();
        if (before, known) == (stage.seats.len(), stage.seats.len()) {
            return;
        }
        self.write_seats(room);
        let (name, seats) = (room.clone(), stage.ids());
        self.happen(now, Input::Stage { room: name, seats });
        for key in self.rooms.sessions(room) {
            self.restage(key);
        }
        for (_, row) in ended {
            self.masks.remove(&row.row);
            self.programmer.release::<Track>(row.into());
        }
    }

    /// Does what follows for stages from what has changed of rooms and participants.
    pub(super) fn arrange_stages(&mut self) {
        let (rooms, participants) = self.signalling.touched();
        for room in rooms {
            self.arrange_stage(Instant::now(), &room);
        }
        for key in participants {
            self.restage(key);
        }
    }

    /// Writes the rows of a room's seats.
    pub(super) fn write_seats(&mut self, room: &RoomName) {
        let Some(stage) = self.stages.get(room) else {
            return;
        };
        let workers = u32::try_from(self.programmer.tables().workers()).unwrap_or(1);
        let link = stage.link();
        let worker = u16::try_from(link.row % workers.max(1)).unwrap_or(0);
        for (place, (_, row)) in (1..).zip(&stage.seats) {
            let mask = self.masks.get(&row.row).copied().unwrap_or(0);
            let mut config = rows::seat(link, place, worker, mask);
            self.programmer.write::<Track>((*row).into(), &mut config);
        }
    }

    /// The row of a seat.
    pub(super) fn seat_row(&self, id: PublicationId) -> Option<Link> {
        let stage = self.stages.get(self.rooms.room_of_seat(id)?)?;
        let seat = stage.seats.iter().find(|(known, _)| *known == id)?;
        Some(seat.1)
    }

    /// The stage that a publication may come onto, as rows name it.
    pub(super) fn stage_link(&self, id: PublicationId) -> RowLink {
        let first = self.rooms.stage_of(id);
        let row = first.and_then(|first| self.seat_row(first));
        row.map_or_else(RowLink::default, RowLink::from)
    }

    /// What a participant publishes may come onto another stage, or none.
    pub(super) fn restage(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let published = session.record.published().iter();
        let sound = published.filter(|track| track.kind == Kind::Audio);
        for id in sound.map(|track| track.id).collect::<Vec<_>>() {
            self.write_published(key, id);
        }
    }

    /// Takes in who has a seat.
    pub(super) fn seat_taken(&mut self, now: Instant, event: &Event) {
        if event.kind != EventKind::SeatTaken || event.table != RowKind::Track {
            return;
        }
        let row = Link::from(event.row);
        let mut seats = self.stages.values().flat_map(|stage| &stage.seats);
        let Some(seat) = seats.find(|(_, known)| *known == row).map(|(id, _)| *id) else {
            return;
        };
        let source = self.publication_of(RowLink::unpack(event.value).into());
        self.happen(now, Input::Seated { seat, source });
    }

    /// Takes up the stages of an earlier life of this process; what cannot be taken up is made anew.
    pub(super) fn restore_stage(
        &mut self,
        now: Instant,
        room: &RoomName,
        seats: Vec<(PublicationId, Link)>,
    ) {
        let tables = self.programmer.tables();
        let is_seat = |row: &Link| {
            let config = tables.follow::<Track>((*row).into());
            config.is_some_and(|config| config.seat > 0)
        };
        let rows: Vec<_> = seats
            .iter()
            .map(|(_, row)| (RowKind::Track, row.row))
            .collect();
        if seats.iter().any(|(_, row)| !is_seat(row)) || !self.programmer.adopt(&rows) {
            return;
        }
        let last = seats.iter().map(|(id, _)| id.0).max().unwrap_or(0);
        self.next_key = self.next_key.max(last + 1);
        let stage = Stage { seats };
        let (name, seats) = (room.clone(), stage.ids());
        self.stages.insert(room.clone(), stage);
        // Nobody is there yet who could be told.
        let _ = self.rooms.handle(Input::Stage { room: name, seats }, now);
    }

    /// Has all stages that rooms want, once these are all there, and finds out who is on them.
    pub(super) fn settle_stages(&mut self, now: Instant) {
        for room in self.rooms.names() {
            self.arrange_stage(now, &room);
        }
        let seats = self.stages.values().flat_map(|stage| stage.seats.clone());
        for (seat, row) in seats.collect::<Vec<_>>() {
            let state = self.programmer.tables().state::<Track>(row.row);
            let state = state.map(SeqCell::read).and_then(Result::ok);
            let state = state.filter(|state| state.generation == row.generation);
            let source = state.and_then(|state| self.publication_of(state.source.into()));
            self.happen(now, Input::Seated { seat, source });
        }
    }

    /// Stores of all rooms which rows their seats have, in the tables of this dataplane.
    pub(super) fn store_stages(&mut self) {
        for room in self.stages.keys().cloned().collect::<Vec<_>>() {
            self.store_room(&room);
        }
    }

    /// Takes the same rows in the tables of a new dataplane; before its sessions are carried there.
    pub(super) fn carry_stages(&mut self) {
        for room in self.stages.keys().cloned().collect::<Vec<_>>() {
            let seats = self.stages.get(&room).map(|stage| stage.seats.clone());
            let rows = seats.into_iter().flatten();
            let rows: Vec<_> = rows.map(|(_, row)| (RowKind::Track, row.row)).collect();
            if self.programmer.adopt(&rows) {
                self.write_seats(&room);
            } else {
                self.stages.remove(&room);
            }
        }
    }
}
