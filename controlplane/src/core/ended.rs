//! Sessions that ended lately, with the reason: shown in the API for a while.

use crate::limits;
use crate::session::{EndCause, Session};
use ion_api::model::Role;
use ion_api::names::{Identity, RoomName};
use std::collections::VecDeque;
use std::time::Instant;

/// A session that is no more.
#[derive(Debug, Clone)]
pub struct EndedSession {
    /// Its room.
    pub room: RoomName,
    /// Who it was.
    pub identity: Identity,
    /// Display name.
    pub name: String,
    /// Publisher or viewer.
    pub role: Role,
    /// When it began, seconds since the UNIX epoch.
    pub joined_at_s: u64,
    /// When it ended.
    pub ended_at: Instant,
    /// Why.
    pub cause: EndCause,
}

/// The list, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended(VecDeque<EndedSession>);

impl Ended {
    pub(super) fn push(&mut self, now: Instant, session: &Session, cause: &EndCause) {
        let record = &session.record;
        if record.hidden {
            return;
        }
        if self.of(now, &record.room).count() >= limits::ENDED_PER_ROOM
            && let Some(oldest) = self.0.iter().position(|ended| ended.room == record.room)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= limits::ENDED {
            self.0.pop_front();
        }
        self.0.push_back(EndedSession {
            room: record.room.clone(),
            identity: record.identity.clone(),
            name: record.name.clone(),
            role: record.role(),
            joined_at_s: record.joined_at_s,
            ended_at: now,
            cause: cause.clone(),
        });
    }

    /// Those of a room.
    pub(super) fn of<'a>(
        &'a self,
        now: Instant,
        room: &'a RoomName,
    ) -> impl Iterator<Item = &'a EndedSession> {
        let fresh = move |ended: &&EndedSession| {
            ended.room == *room && now.saturating_duration_since(ended.ended_at) < limits::ENDED_FOR
        };
        self.0.iter().filter(fresh)
    }

    /// Drops those whose time is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        let old = |ended: &EndedSession| {
            now.saturating_duration_since(ended.ended_at) >= limits::ENDED_FOR
        };
        while self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
    }
}
