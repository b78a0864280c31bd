//! Who may come in, and who has to go.

use super::Core;
use super::rates::Flow;
use crate::limits;
use crate::record::Record;
use crate::rooms::{Full, Input, Key, is_about};
use crate::session::{EndCause, Session};
use ion_api::accounts::{Quota, Subject};
use ion_api::backend::Participant;
use ion_api::model::access::KeyUsage;
use ion_api::names::RoomName;
use ion_api::problem::Problem;
use ion_api::signal::server::Reason;
use ion_tables::RowKind;
use std::time::Instant;

impl Core {
    /// Whether there is a dataplane to take sessions.
    pub(super) fn attached(&self) -> Result<(), Problem> {
        let text = "the forwarding process is being restarted";
        match self.dataplane {
            Some(_) => Ok(()),
            None => Err(Problem::overloaded(text, 1)),
        }
    }

    /// Whether this participant may have one more session now.
    pub(super) fn admit(
        &self,
        room: &RoomName,
        participant: &Participant,
        is_publisher: bool,
    ) -> Result<(), Problem> {
        self.attached()?;
        let settings = self.rooms.settings(room);
        if settings.is_some_and(|settings| settings.lobby) && !participant.passes_lobby {
            return Err(Problem::lobby(
                "WHIP and WHEP clients cannot wait in it: they need a token with `roomAdmin`",
            ));
        }
        self.within_quota(room, participant)?;
        // They are in no room yet, and keep their place in it all the same.
        let is_offered = |session: &&Session| session.is_offered() && session.record.room == *room;
        let offered = self.sessions.values().filter(is_offered).count();
        self.rooms
            .admit(room, is_publisher, offered)
            .map_err(|full| {
                let (reason, text) = match full {
                    Full::Rooms => ("rooms", "the server has as many rooms as it can have"),
                    Full::Room => ("room", "the room is full"),
                    Full::Publishers => (
                        "publishers",
                        "the room has as many publishers as it can have",
                    ),
                };
                self.metrics.refused(reason);
                Problem::overloaded(text, limits::FULL_RETRY_S)
            })
    }

    /// Whether the key of its token may have one more participant there. One that takes the place of
    /// its like is none more.
    pub(super) fn within_quota(
        &self,
        room: &RoomName,
        participant: &Participant,
    ) -> Result<(), Problem> {
        let (Some(token), quota) = (&participant.token, participant.quota) else {
            return Ok(());
        };
        if quota == Quota::default() || !self.rooms.named(room, &participant.identity).is_empty() {
            return Ok(());
        }
        if is_over(self.rooms.of_key(&token.key).len(), quota.participants) {
            let text = format!("its tokens may hold {} participants", quota.participants);
            return Err(self.over_quota(text));
        }
        self.may_have_room(room, &token.key, quota)
    }

    /// Whether a key may be in this room, or make it.
    pub(super) fn may_have_room(
        &self,
        room: &RoomName,
        key: &str,
        quota: Quota,
    ) -> Result<(), Problem> {
        match is_over(self.rooms.rooms_of(key), quota.rooms) && !self.rooms.has_key(room, key) {
            true => Err(self.over_quota(format!("it may have {} rooms", quota.rooms))),
            false => Ok(()),
        }
    }

    /// Remembers how much the key of a newcomer's token may publish: it is asked again when one of
    /// its participants publishes something more.
    pub(super) fn learn_quota(&mut self, participant: &Participant) {
        let Some(token) = &participant.token else {
            return;
        };
        match participant.quota.published_bitrate_bps {
            0 => self.publish_limits.remove(&token.key),
            most => self.publish_limits.insert(token.key.clone(), most),
        };
    }

    /// Whether a key's participants may publish something more.
    pub(super) fn may_publish_more(&self, key: &str) -> Result<(), Problem> {
        let Some(most) = self.publish_limits.get(key) else {
            return Ok(());
        };
        match self.published_bps(key) >= u64::from(*most) {
            true => Err(self.over_quota(format!("its tokens may publish {most} bits per second"))),
            false => Ok(()),
        }
    }

    /// Bits per second that a key's participants publish.
    fn published_bps(&self, key: &str) -> u64 {
        let own = self.rooms.of_key(key);
        let records = own.iter().filter_map(|key| self.sessions.get(key));
        let tracks = records.flat_map(|session| session.record.published());
        let rows = tracks.flat_map(|track| track.encodings.iter().map(|one| one.row.row));
        rows.map(|row| self.rates.bps(RowKind::Encoding, row, Flow::Received))
            .sum()
    }

    /// What a key takes.
    pub(super) fn usage(&self, key: &str) -> KeyUsage {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        KeyUsage {
            participants: number(self.rooms.of_key(key).len()),
            rooms: number(self.rooms.rooms_of(key)),
            published_bitrate_bps: self.published_bps(key),
        }
    }

    fn over_quota(&self, text: String) -> Problem {
        self.metrics.refused("key");
        Problem::key_limit(text, limits::FULL_RETRY_S)
    }

    /// Ends the sessions of tokens that were revoked.
    pub(super) fn revoke(&mut self, now: Instant, subject: &Subject) {
        for key in self.rooms.whose(subject) {
            let reason = Reason::TokenRevoked;
            self.happen(now, Input::Leave { key, reason });
        }
        // They are in no room yet.
        let offered = self.sessions.iter().filter(|(_, session)| {
            let Record {
                room,
                identity,
                token,
                ..
            } = &session.record;
            session.is_offered() && is_about(subject, room, identity, token.as_ref())
        });
        let offered: Vec<Key> = offered.map(|(key, _)| *key).collect();
        for key in offered {
            self.end(now, key, &EndCause::Revoked);
        }
    }
}

/// Whether no more fits; 0 is no limit.
fn is_over(taken: usize, most: u32) -> bool {
    most > 0 && taken >= usize::try_from(most).unwrap_or(usize::MAX)
}
