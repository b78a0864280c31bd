//! Carrying sessions to a new dataplane when the old one has died.

use super::Core;
use super::run::Dataplane;
use super::start::{META_EPOCH, StartError, readers};
use crate::programmer::Programmer;
use crate::rooms::Key;
use crate::session::{EndCause, Session};
use ion_tables::attach::Attached;
use ion_tables::{Encoding, Row, RowLink, SeqCell, Subscription, Tables, Track, Transport};
use std::sync::Arc;
use std::time::Instant;

impl Core {
    /// Carries every session to the tables of a new dataplane, at the same row numbers:
    /// config, secrets, and the state the old workers left behind. Media goes on where
    /// it stopped; SRTP indices go on beyond what was used.
    pub(super) fn carry_to(&mut self, attached: Attached) -> Result<(), StartError> {
        let now = Instant::now();
        let Attached {
            tables,
            event_doorbell,
            worker_doorbells,
            sockets,
            link,
        } = attached;
        let dataplane = Dataplane::new(sockets, event_doorbell, link)?;
        let old = Arc::clone(self.programmer.tables());
        let fresh = Arc::new(tables);
        let epoch = fresh.header().epoch();
        self.programmer = Programmer::new(Arc::clone(&fresh), worker_doorbells);
        self.media = dataplane.locals();
        self.candidates = Self::candidates_of(&self.config, &self.media);
        self.events = readers(&fresh);
        self.dataplane = Some(dataplane);
        self.masks.clear();
        if epoch != self.epoch {
            let moved = self.store.move_epoch(self.epoch, epoch);
            self.stored(now, moved);
            let kept = self.store.put_meta(META_EPOCH, &epoch.to_le_bytes());
            self.stored(now, kept);
            self.epoch = epoch;
        }
        self.metrics.set_tables(Some(Arc::clone(&fresh)));
        self.carry_stages();
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        let mut lost = Vec::new();
        for key in keys {
            if !self.carry_session(now, key, &old, &fresh) {
                lost.push(key);
            }
        }
        for key in lost {
            self.end(now, key, &EndCause::RowsLost);
        }
        self.refresh_masks();
        self.programmer.sweep();
        // The new workers have given nobody a seat yet.
        self.settle_stages(now);
        self.store_stages();
        self.programmer.ask_rescan();
        self.opened();
        tracing::info!(
            sessions = self.sessions.len(),
            "sessions carried to a new dataplane"
        );
        Ok(())
    }

    fn carry_session(&mut self, now: Instant, key: Key, old: &Tables, fresh: &Tables) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else {
            return false;
        };
        let workers = u16::try_from(fresh.workers()).unwrap_or(u16::MAX).max(1);
        session.worker %= workers;
        session.renew(now, self.config.ice);
        let (worker, record) = (session.worker, session.record.clone());
        if !self.adopt(&record) {
            return false;
        }
        let row = RowLink::from(record.row);
        let secrets = old.secrets(row.row).map(SeqCell::read).and_then(Result::ok);
        let config = old.follow::<Transport>(row);
        let (Some(mut secrets), Some(mut config)) = (secrets, config) else {
            return false;
        };
        config.worker = worker;
        copy_state::<Transport>(row.row, old, fresh);
        for track in record.published() {
            copy_state::<Track>(track.row.row, old, fresh);
            for encoding in &track.encodings {
                copy_state::<Encoding>(encoding.row.row, old, fresh);
            }
        }
        self.programmer.write_secrets(row, &mut secrets);
        self.programmer.write::<Transport>(row, &mut config);
        for slot in record.played() {
            copy_state::<Subscription>(slot.row.row, old, fresh);
            // One that waits for its next track stays, for the sake of its SRTP index.
            if let Some(mut config) = old.follow::<Subscription>(slot.row.into()) {
                config.worker = worker;
                self.programmer
                    .write::<Subscription>(slot.row.into(), &mut config);
            }
        }
        if self.sessions.get(&key).is_some_and(Session::is_connected) {
            self.write_media(key);
        }
        true
    }
}

/// The workers have not seen the row yet, so that its state has no other writer. What the
/// old worker was writing when it died counts too: without its SRTP indices, the new one
/// would use some for a second time.
fn copy_state<R: Row>(row: u32, old: &Tables, fresh: &Tables) {
    let state = old.state::<R>(row).map(SeqCell::read_abandoned);
    if let (Some(state), Some(cell)) = (state, fresh.state::<R>(row)) {
        cell.write(&state);
    }
}
