//! Taking up the sessions, rooms and participants of an earlier life, from rows and store.

use super::play::room_slot;
use super::start::StartError;
use super::{Core, unix_seconds};
use crate::limits;
use crate::record::{Media, Record};
use crate::rooms::saved::SavedParticipant;
use crate::rooms::{Input, Key, Slot};
use crate::session::{EndCause, Session};
use ion_api::model::Role;
use ion_api::names::SessionId;
use ion_ice::{Agent, Credentials, Pair};
use ion_sdp::IceCredentials;
use ion_tables::{
    RowKind, RowLink, SeqCell, Subscription, Transport, TransportConfig, TransportSecrets,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Core {
    /// Rebuilds the sessions from rows and store; frees what has no other half.
    pub(super) fn restore(&mut self, now: Instant) -> Result<(), StartError> {
        let participants = self.store.participants(self.epoch)?;
        for mut room in self.store.rooms()? {
            let (name, stage) = (room.name.clone(), room.stage.take());
            self.rooms.restore_room(room);
            if let Some((_, seats)) = stage.filter(|(epoch, _)| *epoch == self.epoch) {
                self.restore_stage(now, &name, seats);
            }
        }
        let records = self.store.sessions(self.epoch)?;
        let found = records.len();
        let mut lost = Vec::new();
        for mut record in records {
            let ids = record.published().iter().map(|track| track.id.0);
            let last = ids.chain([record.ordinal]).max().unwrap_or(0);
            self.next_key = self.next_key.max(last + 1);
            // Of a release that gave them no ids.
            for track in record
                .published_mut()
                .iter_mut()
                .filter(|track| track.id.0 == 0)
            {
                track.id = self.publication_id();
            }
            let id = record.id.clone();
            if self.restore_session(now, record).is_none() {
                lost.push(id);
            }
        }
        for id in lost {
            self.delete_stored(&id);
        }
        self.restore_rooms(now, &participants);
        self.settle_stages(now);
        self.refresh_masks();
        let swept = self.programmer.sweep();
        self.metrics
            .rows_swept
            .inc_by(u64::try_from(swept).unwrap_or(0));
        self.programmer.ask_rescan();
        if found > 0 || swept > 0 {
            let sessions = self.sessions.len();
            tracing::info!(
                sessions,
                lost = found - sessions,
                swept,
                "sessions taken up"
            );
        }
        Ok(())
    }

    fn restore_session(&mut self, now: Instant, record: Record) -> Option<()> {
        let id = SessionId::parse(&record.id)?;
        let row = RowLink::from(record.row);
        let tables = Arc::clone(self.programmer.tables());
        let config = tables.follow::<Transport>(row)?;
        if config.session.as_str() != record.id || !self.adopt(&record) {
            return None;
        }
        let secrets = tables.secrets(row.row).map(SeqCell::read)?.ok();
        let secrets = secrets.filter(|secrets| secrets.generation == row.generation);
        let restored =
            secrets.and_then(|secrets| self.session_of(now, id, &record, &config, &secrets));
        let Some(session) = restored else {
            self.release_rows(&record);
            return None;
        };
        let key = Key(record.ordinal);
        self.ids.insert(record.id.clone(), key);
        self.ufrags
            .insert(session.agent().local().ufrag().to_owned(), key);
        if let Some(pair) = session.agent().selected() {
            self.pairs.insert(pair, key);
        }
        self.metrics.session_resumed(record.role());
        self.sessions.insert(key, session);
        Some(())
    }

    /// Takes all rows of a record, or none.
    pub(super) fn adopt(&mut self, record: &Record) -> bool {
        let mut rows = vec![(RowKind::Transport, record.row.row)];
        for track in record.published() {
            rows.push((RowKind::Track, track.row.row));
            rows.extend(
                track
                    .encodings
                    .iter()
                    .map(|e| (RowKind::Encoding, e.row.row)),
            );
        }
        rows.extend(
            record
                .played()
                .iter()
                .map(|slot| (RowKind::Subscription, slot.row.row)),
        );
        self.programmer.adopt(&rows)
    }

    fn session_of(
        &self,
        now: Instant,
        id: SessionId,
        record: &Record,
        config: &TransportConfig,
        secrets: &TransportSecrets,
    ) -> Option<Session> {
        let local =
            Credentials::new(secrets.local_ufrag.as_str(), secrets.local_pwd.as_str()).ok()?;
        let remote_ice = Some(IceCredentials {
            ufrag: secrets.remote_ufrag.as_str().to_owned(),
            pwd: secrets.remote_pwd.as_str().to_owned(),
        })
        .filter(|ice| !ice.ufrag.is_empty() && !ice.pwd.is_empty());
        let is_keyed = secrets.keyed == 1 && config.srtp_profile != 0;
        let pair = config.local.socket_addr().zip(config.remote.socket_addr());
        let timeouts = self.config.ice;
        let session = match pair.filter(|_| is_keyed) {
            Some((near, far)) => {
                let pair = Pair {
                    local: near,
                    remote: far,
                };
                let agent = Agent::resume(local, None, pair, now).with_timeouts(timeouts);
                Session::resume(id, record.clone(), agent, remote_ice, config.worker)
            }
            None => {
                let agent = Agent::new(local, None, now).with_timeouts(timeouts);
                let mut session = Session::new(id, record.clone(), agent, remote_ice);
                if session.is_offered() {
                    let since = unix_seconds().saturating_sub(record.joined_at_s);
                    let left = limits::ANSWER_TIMEOUT.saturating_sub(Duration::from_secs(since));
                    session.wait_for_answer(now + left);
                }
                session
            }
        };
        Some(session)
    }

    /// Fills the rooms in order of arrival, and writes what a dying process left undone.
    fn restore_rooms(&mut self, now: Instant, participants: &[(String, SavedParticipant)]) {
        let mut keys: Vec<Key> = self.sessions.keys().copied().collect();
        keys.sort_unstable();
        let owners: HashMap<RowLink, Key> = keys
            .iter()
            .filter_map(|key| Some((*key, self.sessions.get(key)?)))
            .flat_map(|(key, session)| {
                session
                    .record
                    .published()
                    .iter()
                    .map(move |track| (track.row.into(), key))
            })
            .collect();
        let of_role = |role: Role| -> Vec<Key> {
            let is_one = |key: &&Key| {
                self.sessions
                    .get(key)
                    .is_some_and(|s| s.record.role() == role)
            };
            keys.iter().filter(is_one).copied().collect()
        };
        let (publishers, viewers) = (of_role(Role::Publisher), of_role(Role::Viewer));
        for (secret, saved) in participants.iter().filter(|(secret, _)| !secret.is_empty()) {
            self.restore_participant(now, secret, saved);
        }
        for key in publishers {
            self.restore_publisher(now, key);
        }
        for (_, saved) in participants {
            let effects = self.rooms.settle(saved, now);
            self.apply(now, effects);
            self.restore_slots(now, saved);
        }
        for key in viewers {
            self.restore_viewer(now, key, &owners);
        }
        // Whole before they are written: no viewer is left out for a moment.
        self.refresh_masks();
        // Participants of which nothing is known any more.
        let is_lost = |key: &&Key| self.rooms.room_of(**key).is_none() && !self.is_waiting(**key);
        let lost: Vec<Key> = keys.iter().filter(is_lost).copied().collect();
        for key in lost {
            self.close_session(now, key, &EndCause::RowsLost);
        }
        // All of it again: a torn or half-made row becomes whole, whole ones stay the same.
        for key in keys {
            if self.sessions.get(&key).is_some_and(Session::is_connected) {
                self.write_media(key);
            }
        }
    }

    /// Takes up a participant of the SDK, whose socket will resume.
    fn restore_participant(&mut self, now: Instant, secret: &str, saved: &SavedParticipant) {
        let key = saved.join.key;
        let ids = saved.publications.iter().map(|one| one.publish.id.0);
        let last = ids.chain([key.0]).max().unwrap_or(0);
        self.next_key = self.next_key.max(last + 1);
        self.restore_peer(key, secret.to_owned());
        match self.rooms.restore(saved, now) {
            Ok(effects) => self.apply(now, effects),
            Err(refused) => tracing::warn!(%refused, "a participant cannot be taken up"),
        }
        if self.sessions.get(&key).is_some_and(Session::is_connected) {
            self.happen(now, Input::Live(key));
        }
    }

    /// Whether a session's counter-offer waits for its answer: it is in no room yet.
    fn is_waiting(&self, key: Key) -> bool {
        self.sessions.get(&key).is_some_and(Session::is_offered)
    }

    /// Gives the m-sections of a participant what they had.
    fn restore_slots(&mut self, now: Instant, saved: &SavedParticipant) {
        let key = saved.join.key;
        if let Some(session) = self.sessions.get(&key)
            && session.record.role() == Role::Participant
        {
            let assigned = saved
                .assigned
                .iter()
                .copied()
                .chain(std::iter::repeat(None));
            let slot = |(played, assigned)| Slot {
                assigned,
                ..room_slot(played)
            };
            let slots = session
                .record
                .played()
                .iter()
                .zip(assigned)
                .map(slot)
                .collect();
            self.happen(now, Input::Slots { key, slots });
        }
        self.presence(now, key);
        self.tell_transport(now, key);
    }

    fn restore_publisher(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let is_connected = session.is_connected();
        self.enter_publisher(now, key);
        if is_connected {
            self.happen(now, Input::Live(key));
        }
    }

    fn restore_viewer(&mut self, now: Instant, key: Key, owners: &HashMap<RowLink, Key>) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        if matches!(session.record.media, Media::Offered { .. }) {
            return;
        }
        let tables = self.programmer.tables();
        let current = session.record.played().iter().find_map(|slot| {
            let config = tables.follow::<Subscription>(slot.row.into())?;
            owners.get(&config.track).copied()
        });
        self.enter_viewer(now, key, current);
    }
}
