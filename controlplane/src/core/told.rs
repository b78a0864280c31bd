//! What the application's server is told: events that are the rooms', and their beginning and end.

use super::Core;
use crate::rooms::Effect;
use ion_api::events::{Life, What};
use ion_api::names::RoomName;
use std::collections::BTreeSet;

/// Of which rooms it was said that they are there.
#[derive(Default)]
pub(super) struct Told {
    rooms: BTreeSet<RoomName>,
}

impl Core {
    /// Takes note of the rooms that were there before this process.
    pub(super) fn told_rooms(&mut self) {
        self.told.rooms = self.rooms.names().into_iter().collect();
    }

    /// Writes down what is public of these effects. Before anybody is answered.
    pub(super) fn tell_public(&mut self, effects: &[Effect]) {
        let mut touched = BTreeSet::new();
        for effect in effects {
            let room = match effect {
                Effect::Tell { room, .. } | Effect::RoomChanged(room) => Some(room),
                Effect::Ended { room, .. } => Some(room),
                Effect::Changed(key) => self.rooms.room_of(*key),
                Effect::Bind { .. } | Effect::Unpublished { .. } | Effect::Resubscribed(_) => None,
            };
            let Some(room) = room.cloned() else { continue };
            if !touched.contains(&room) {
                self.tell_opened(&room);
                touched.insert(room.clone());
            }
            if let Effect::Tell {
                event,
                is_public: true,
                ..
            } = effect
            {
                self.tell_log(&room, What::Event(Box::new(event.clone())));
            }
        }
        for room in touched {
            if self.rooms.settings(&room).is_none() && self.told.rooms.remove(&room) {
                self.tell_log(&room, What::Life(Life::RoomClosed));
            }
        }
    }

    fn tell_opened(&mut self, room: &RoomName) {
        let is_there = self.rooms.settings(room).is_some();
        if is_there && self.told.rooms.insert(room.clone()) {
            self.tell_log(room, What::Life(Life::RoomOpened));
        }
    }

    fn tell_log(&self, room: &RoomName, what: What) {
        if let Some(log) = &self.config.log {
            log.append(room, what);
        }
    }
}
