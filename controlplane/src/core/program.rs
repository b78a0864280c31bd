//! From sessions and rooms to rows.

use super::Core;
use crate::record::{Media, Record};
use crate::rooms::{Effect, Input, Key, TrackRef};
use crate::rows;
use crate::session::{EndCause, Session};
use ion_api::names::RoomName;
use ion_dtls::Connected;
use ion_tables::{
    Encoding, RowLink, SeqCell, Subscription, Track, Transport, TransportSecrets, steer,
};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

impl Core {
    fn secrets_of(&self, row: RowLink) -> TransportSecrets {
        let secrets = self.programmer.tables().secrets(row.row).map(SeqCell::read);
        let ours = |secrets: &TransportSecrets| secrets.generation == row.generation;
        secrets
            .and_then(Result::ok)
            .filter(ours)
            .unwrap_or_default()
    }

    /// Writes the rows of a session that waits for DTLS: its transport, so that the ICE
    /// credentials survive this process.
    pub(super) fn write_waiting(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let row = session.record.row.into();
        let mut secrets = TransportSecrets::default();
        rows::set_ice(&mut secrets, session);
        let mut config = rows::transport(&session.record);
        self.programmer.write_secrets(row, &mut secrets);
        self.programmer.write::<Transport>(row, &mut config);
    }

    /// Writes the ICE credentials after a restart.
    pub(super) fn write_ice(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let row = session.record.row.into();
        let mut secrets = self.secrets_of(row);
        rows::set_ice(&mut secrets, session);
        self.programmer.write_secrets(row, &mut secrets);
        wipe(&mut secrets);
    }

    /// Writes the selected pair, now or when it may change again; the owning worker stays,
    /// others hand packets over to it.
    pub(super) fn write_path(&mut self, now: Instant, key: Key) {
        self.moving.remove(&key);
        let session = self.sessions.get_mut(&key);
        let Some(session) = session.filter(|session| session.is_connected()) else {
            return;
        };
        let Some(pair) = session.path() else { return };
        if !session.may_move(now, pair) {
            self.moving.insert(key);
            return;
        }
        let row = RowLink::from(session.record.row);
        if let Some(mut config) = self.programmer.tables().follow::<Transport>(row) {
            rows::set_path(&mut config, pair);
            self.programmer.write::<Transport>(row, &mut config);
        }
    }

    /// DTLS is done: media may flow.
    pub(super) fn keyed(&mut self, now: Instant, key: Key, connected: &Connected) {
        let workers = self.programmer.tables().workers();
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let Some(pair) = session.path() else { return };
        let worker = u16::try_from(steer::worker_of(pair.remote, workers)).unwrap_or(0);
        session.worker = worker;
        session.record.dtls_version = Some(connected.version.name().to_owned());
        let row = session.record.row.into();
        let mut config = rows::transport(&session.record);
        rows::set_path(&mut config, pair);
        config.worker = worker;
        config.srtp_profile = connected.profile.id();
        let mut secrets = self.secrets_of(row);
        rows::set_keys(&mut secrets, connected);
        self.programmer.write_secrets(row, &mut secrets);
        wipe(&mut secrets);
        self.programmer.write::<Transport>(row, &mut config);
        self.metrics
            .handshake(connected.version.name(), connected.profile.name());
        self.write_media(key);
        self.put_stored(now, key);
        let effects = self.rooms.handle(Input::Live(key));
        self.apply(now, effects);
        if let Some(session) = self.sessions.get(&key)
            && let Some(hidden) = self.throttles.sessions.allow(now)
        {
            tracing::info!(
                session = ?session.id,
                version = connected.version.name(),
                profile = connected.profile.name(),
                worker,
                hidden,
                "session connected"
            );
        }
    }

    /// Writes the tracks, encodings and subscriptions of a connected session.
    pub(super) fn write_media(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let (worker, row) = (session.worker, RowLink::from(session.record.row));
        match session.record.media.clone() {
            Media::Publish(tracks) => {
                self.stale_masks.insert(key);
                for track in &tracks {
                    let mask = self.masks.get(&track.row.row).copied().unwrap_or(0);
                    let mut config = rows::track(track, row, worker, mask);
                    self.programmer
                        .write::<Track>(track.row.into(), &mut config);
                    for (layer, encoding) in track.encodings.iter().enumerate() {
                        let mut config = rows::encoding(track, encoding, layer, row, worker);
                        self.programmer
                            .write::<Encoding>(encoding.row.into(), &mut config);
                    }
                }
            }
            Media::Play(slots) => {
                for slot in 0..slots.len() {
                    self.write_subscription(key, slot);
                }
                self.stale_masks.extend(self.sources(key));
            }
            Media::Offered { .. } => {}
        }
    }

    pub(super) fn write_subscription(&mut self, viewer: Key, slot: usize) {
        let Some(session) = self.sessions.get(&viewer).filter(|s| s.is_connected()) else {
            return;
        };
        let Some(played) = session.record.played().get(slot) else {
            return;
        };
        let bound = self.rooms.bound(viewer).get(slot).copied().flatten();
        let published = bound.and_then(|bound| {
            self.sessions
                .get(&bound.publisher)?
                .record
                .published()
                .get(bound.track)
        });
        let payload = published.and_then(|track| played.payload(&track.codec.0));
        let source = published.zip(payload.as_ref()).map(|(track, payload)| {
            (
                RowLink::from(track.row),
                payload,
                track.codec.0.kind.clock_rate(),
            )
        });
        let row = played.row.into();
        // What has never played has no row to keep; it gets one with its first track.
        if source.is_none() && !self.programmer.is_live::<Subscription>(row) {
            return;
        }
        let transport = session.record.row.into();
        let mut config = rows::subscription(played, source, transport, session.worker);
        rows::set_bounds(&mut config, &played.bounds);
        self.programmer.write::<Subscription>(row, &mut config);
    }

    /// Brings what rooms decided into the tables.
    pub(super) fn apply(&mut self, now: Instant, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Bind {
                    viewer,
                    slot,
                    track,
                } => {
                    self.write_subscription(viewer, slot);
                    self.stale_masks.extend(track.map(|track| track.publisher));
                }
                Effect::Replaced(key) => self.end(now, key, &EndCause::Replaced),
            }
        }
    }

    /// Takes a session out of its room.
    pub(super) fn forget_in_room(&mut self, key: Key) {
        self.stale_masks.extend(self.sources(key));
        let effects = self.rooms.handle(Input::Ended(key));
        // `key` is no session any more, so that this cannot come back to it.
        self.apply(Instant::now(), effects);
    }

    fn sources(&self, viewer: Key) -> Vec<Key> {
        let bound = self.rooms.bound(viewer).iter().flatten();
        let mut sources: Vec<Key> = bound.map(|track| track.publisher).collect();
        sources.dedup();
        sources
    }

    /// Announces all that was written, when it fits together.
    pub(super) fn flush(&mut self) {
        self.refresh_masks();
        self.programmer.flush();
    }

    /// Finds out which workers own connected viewers of each stale track, looking once at
    /// each binding of the rooms concerned, however many viewers came or went.
    pub(super) fn refresh_masks(&mut self) {
        let mut stale = std::mem::take(&mut self.stale_masks);
        stale.retain(|key| self.sessions.get(key).is_some_and(Session::is_connected));
        let rooms: BTreeSet<&RoomName> = stale
            .iter()
            .filter_map(|key| Some(&self.sessions.get(key)?.record.room))
            .collect();
        let mut masks: HashMap<TrackRef, u64> = HashMap::new();
        for (viewer, track) in rooms.into_iter().flat_map(|room| self.rooms.bindings(room)) {
            self.bindings_visited += 1;
            let viewer = self.sessions.get(&viewer).filter(|v| v.is_connected());
            if let Some(viewer) = viewer {
                let bit = 1_u64.checked_shl(u32::from(viewer.worker)).unwrap_or(0);
                *masks.entry(track).or_default() |= bit;
            }
        }
        for publisher in stale {
            self.write_masks(publisher, &masks);
        }
    }

    fn write_masks(&mut self, publisher: Key, masks: &HashMap<TrackRef, u64>) {
        let Some(session) = self.sessions.get(&publisher) else {
            return;
        };
        let (worker, row) = (session.worker, RowLink::from(session.record.row));
        for (index, track) in session.record.published().iter().enumerate() {
            let played = TrackRef {
                publisher,
                track: index,
            };
            let mask = masks.get(&played).copied().unwrap_or(0);
            if self.masks.insert(track.row.row, mask) != Some(mask) {
                self.live.look();
                let mut config = rows::track(track, row, worker, mask);
                self.programmer
                    .write::<Track>(track.row.into(), &mut config);
            }
        }
    }

    /// Frees all rows of a record, those first that refer to others.
    pub(super) fn release_rows(&mut self, record: &Record) {
        let programmer = &mut self.programmer;
        for slot in record.played() {
            programmer.release::<Subscription>(slot.row.into());
            self.rates
                .forget(ion_tables::RowKind::Subscription, slot.row.row);
        }
        for track in record.published() {
            for encoding in &track.encodings {
                programmer.release::<Encoding>(encoding.row.into());
                self.rates
                    .forget(ion_tables::RowKind::Encoding, encoding.row.row);
            }
            programmer.release::<Track>(track.row.into());
            self.masks.remove(&track.row.row);
            self.live.forget(track.row);
        }
        programmer.release::<Transport>(record.row.into());
        self.rates
            .forget(ion_tables::RowKind::Transport, record.row.row);
    }

    /// A connected session by its transport row, for the API.
    pub(super) fn profile_name(&self, session: &Session) -> Option<String> {
        let row = session.record.row.into();
        let id = self
            .programmer
            .tables()
            .follow::<Transport>(row)?
            .srtp_profile;
        let profiles = ion_dtls::SrtpProfile::PREFERENCE;
        profiles
            .into_iter()
            .find(|p| p.id() == id)
            .map(|p| p.name().to_owned())
    }
}

/// Overwrites keys on the stack.
fn wipe(secrets: &mut TransportSecrets) {
    *secrets = TransportSecrets::default();
    std::hint::black_box(secrets);
}
