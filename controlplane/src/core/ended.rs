//! Sessions that ended lately, with the reason: shown in the API for a while.

use super::unix_seconds;
use crate::limits;
use crate::session::{EndCause, Session};
use ion_api::model::EndedInfo;
use ion_api::names::RoomName;
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug)]
struct EndedSession {
    room: RoomName,
    at: Instant,
    info: EndedInfo,
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
        let info = EndedInfo {
            identity: record.identity.as_str().to_owned(),
            name: record.name.clone(),
            role: record.role(),
            joined_at_s: record.joined_at_s,
            ended_at_s: unix_seconds(),
            cause: cause.name().to_owned(),
            detail: cause.text(),
        };
        self.0.push_back(EndedSession {
            room: record.room.clone(),
            at: now,
            info,
        });
    }

    /// Those of a room.
    pub(super) fn infos(&self, now: Instant, room: &RoomName) -> Vec<EndedInfo> {
        self.of(now, room).map(|ended| ended.info.clone()).collect()
    }

    fn of<'a>(
        &'a self,
        now: Instant,
        room: &'a RoomName,
    ) -> impl Iterator<Item = &'a EndedSession> {
        let fresh = move |ended: &&EndedSession| {
            ended.room == *room && now.saturating_duration_since(ended.at) < limits::ENDED_FOR
        };
        self.0.iter().filter(fresh)
    }

    /// Drops those whose time is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        let old =
            |ended: &EndedSession| now.saturating_duration_since(ended.at) >= limits::ENDED_FOR;
        while self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
    }
}
