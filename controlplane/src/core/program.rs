//! From sessions and rooms to rows.

use super::Core;
use crate::record::{Published, Record};
use crate::rooms::{Effect, Input, Key};
use crate::rows;
use crate::session::Session;
use ion_api::signal::PublicationId;
use ion_api::signal::server::Reason;
use ion_dtls::Connected;
use ion_sdp::{CodecKind, Fmtp, TrackCodec};
use ion_tables::{
    Encoding, RowKind, RowLink, SeqCell, Subscription, Track, Transport, TransportSecrets, steer,
};
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

    /// Writes a transport after negotiation; where its media goes stays.
    pub(super) fn write_transport(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let row = RowLink::from(session.record.row);
        if let Some(present) = self.programmer.tables().follow::<Transport>(row) {
            let mut config = rows::transport(&session.record);
            config.remote = present.remote;
            config.local = present.local;
            config.worker = present.worker;
            config.srtp_profile = present.srtp_profile;
            self.programmer.write::<Transport>(row, &mut config);
        }
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
        self.happen(now, Input::Live(key));
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
        let published: Vec<PublicationId> = session
            .record
            .published()
            .iter()
            .map(|track| track.id)
            .collect();
        for id in published {
            self.write_published(key, id);
        }
        let slots = self
            .sessions
            .get(&key)
            .map_or(0, |s| s.record.played().len());
        for slot in 0..slots {
            self.write_subscription(key, slot);
        }
        self.stale_masks
            .extend(self.rooms.bound(key).iter().flatten());
    }

    /// Writes the track of a connected session, and its encodings.
    pub(super) fn write_published(&mut self, key: Key, id: PublicationId) {
        let Some(session) = self.sessions.get(&key).filter(|s| s.is_connected()) else {
            return;
        };
        let (worker, row) = (session.worker, RowLink::from(session.record.row));
        let Some(track) = session
            .record
            .published()
            .iter()
            .find(|track| track.id == id)
        else {
            return;
        };
        self.stale_masks.insert(id);
        let mask = self.masks.get(&track.row.row).copied().unwrap_or(0);
        let mut config = rows::track(track, row, worker, mask);
        config.stage = self.stage_link(id);
        self.programmer
            .write::<Track>(track.row.into(), &mut config);
        for (layer, encoding) in track.encodings.iter().enumerate() {
            let mut config = rows::encoding(track, encoding, layer, row, worker);
            self.programmer
                .write::<Encoding>(encoding.row.into(), &mut config);
        }
    }

    /// A published track, and the session that publishes it.
    pub(super) fn published(&self, id: PublicationId) -> Option<(&Session, &Published)> {
        let session = self.sessions.get(&self.rooms.owner(id)?)?;
        let track = session
            .record
            .published()
            .iter()
            .find(|track| track.id == id)?;
        Some((session, track))
    }

    /// The row and the codec of what a slot can be sent: a publication, or a seat.
    fn source_of(&self, id: PublicationId) -> Option<(RowLink, TrackCodec)> {
        if let Some(row) = self.seat_row(id) {
            let opus = TrackCodec {
                kind: CodecKind::Opus,
                fmtp: Fmtp::default(),
            };
            return Some((row.into(), opus));
        }
        let (_, track) = self.published(id)?;
        Some((track.row.into(), track.codec.0.clone()))
    }

    pub(super) fn write_subscription(&mut self, viewer: Key, slot: usize) {
        let Some(session) = self.sessions.get(&viewer).filter(|s| s.is_connected()) else {
            return;
        };
        let Some(played) = session.record.played().get(slot) else {
            return;
        };
        let delivery = self.rooms.delivery(viewer, slot);
        let source = delivery.and_then(|delivery| self.source_of(delivery.publication));
        let payload = source.as_ref().and_then(|(_, codec)| played.payload(codec));
        let source = source.zip(payload.as_ref());
        let source = source.map(|((row, codec), payload)| (row, payload, codec.kind.clock_rate()));
        let row = played.row.into();
        // What has never played has no row to keep; it gets one with its first track.
        if source.is_none() && !self.programmer.is_live::<Subscription>(row) {
            return;
        }
        let transport = session.record.row.into();
        let mut config = rows::subscription(played, source, transport, session.worker);
        rows::set_delivery(&mut config, delivery);
        rows::set_bounds(&mut config, &played.bounds);
        self.programmer.write::<Subscription>(row, &mut config);
    }

    /// Brings what rooms decided into the tables.
    pub(super) fn apply(&mut self, now: Instant, effects: Vec<Effect>) {
        self.tell_public(&effects);
        for effect in effects {
            match effect {
                Effect::Bind {
                    viewer,
                    slot,
                    from,
                    to,
                } => {
                    self.write_subscription(viewer, slot);
                    self.stale_masks.extend(from.into_iter().chain(to));
                }
                Effect::Unpublished { owner, publication } => {
                    self.drop_published(owner, publication)
                }
                Effect::Ended { key, reason, .. } => self.participant_ended(now, key, reason),
                Effect::Tell { to, event, .. } => self.tell(&to, &event),
                Effect::Resubscribed(key) => self.signalling.resubscribed(key),
                Effect::Changed(key) => self.signalling.changed(key),
                Effect::RoomChanged(room) => self.signalling.room_changed(room),
            }
        }
    }

    /// Hands an input to the rooms that they do not refuse, and does what follows.
    pub(super) fn happen(&mut self, now: Instant, input: Input) {
        match self.rooms.handle(input, now) {
            Ok(effects) => self.apply(now, effects),
            Err(refused) => tracing::debug!(%refused, "rooms refused what has happened"),
        }
    }

    /// Frees the rows of a publication that ended before its session.
    pub(super) fn drop_published(&mut self, owner: Key, id: PublicationId) {
        let Some(session) = self.sessions.get_mut(&owner) else {
            return;
        };
        if let Some(track) = session.record.withdraw(id) {
            self.release_track(&track);
            self.put_stored(Instant::now(), owner);
        }
    }

    /// Takes a session out of its room.
    pub(super) fn forget_in_room(&mut self, now: Instant, key: Key) {
        // `key` is no session any more, so that this cannot come back to it.
        self.happen(
            now,
            Input::Leave {
                key,
                reason: Reason::Left,
            },
        );
    }

    /// Announces all that was written, when it fits together.
    pub(super) fn flush(&mut self) {
        self.arrange_stages();
        self.refresh_masks();
        self.programmer.flush();
        self.flush_signals();
    }

    /// Finds out which workers own connected viewers of each stale publication, looking once at
    /// each of its viewers, however many came or went.
    pub(super) fn refresh_masks(&mut self) {
        for id in std::mem::take(&mut self.stale_masks) {
            let seat = self.seat_row(id);
            let published = self.published(id).filter(|(s, _)| s.is_connected());
            if published.is_none() && seat.is_none() {
                continue;
            }
            let session = published.map(|(session, _)| session);
            let worker = session.map_or(0, |session| session.worker);
            let row = session.map_or_else(RowLink::default, |session| session.record.row.into());
            let (mut mask, mut visited) = (0, 0);
            for (viewer, _) in self.rooms.players(id) {
                visited += 1;
                if let Some(viewer) = self.sessions.get(&viewer).filter(|v| v.is_connected()) {
                    mask |= 1_u64.checked_shl(u32::from(viewer.worker)).unwrap_or(0);
                }
            }
            self.bindings_visited += visited;
            if let Some(seat) = seat {
                if self.masks.insert(seat.row, mask) != Some(mask)
                    && let Some(room) = self.rooms.room_of_seat(id).cloned()
                {
                    self.write_seats(&room);
                }
                continue;
            }
            let Some((_, track)) = self.published(id) else {
                continue;
            };
            let (track_row, mut config) = (track.row, rows::track(track, row, worker, mask));
            config.stage = self.stage_link(id);
            if self.masks.insert(track_row.row, mask) != Some(mask) {
                self.live.look();
                self.programmer
                    .write::<Track>(track_row.into(), &mut config);
            }
        }
    }

    fn release_track(&mut self, track: &Published) {
        for encoding in &track.encodings {
            self.programmer.release::<Encoding>(encoding.row.into());
            self.rates.forget(RowKind::Encoding, encoding.row.row);
        }
        self.programmer.release::<Track>(track.row.into());
        self.masks.remove(&track.row.row);
        self.live.forget(track.row);
    }

    /// Frees all rows of a record, those first that refer to others.
    pub(super) fn release_rows(&mut self, record: &Record) {
        for slot in record.played() {
            self.programmer.release::<Subscription>(slot.row.into());
            self.rates.forget(RowKind::Subscription, slot.row.row);
        }
        for track in record.published() {
            self.release_track(track);
        }
        self.programmer.release::<Transport>(record.row.into());
        self.rates.forget(RowKind::Transport, record.row.row);
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
