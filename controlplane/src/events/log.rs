//! The log: events and deliveries in SQLite, and what waits in memory.

use super::outbox::{Attempt, Next, Outbox, Outcome};
use crate::documents::{self, OpenError};
use crate::limits;
use ion_api::documents::DocumentError;
use ion_api::events::{
    Deliveries, EventLog, FailedDelivery, History, Kept, RoomEvent, STOPPING, What,
};
use ion_api::names::RoomName;
use ion_api::webhooks::Webhooks;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params, params_from_iter};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::{Notify, watch};

/// File name in the state directory.
pub const FILE: &str = "events.db";

const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, room TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE TABLE deliveries (
        webhook TEXT NOT NULL, event INTEGER NOT NULL, is_failed INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (webhook, is_failed, event)
    ) WITHOUT ROWID;
    CREATE INDEX deliveries_of_event ON deliveries (event);
    CREATE TABLE cut (until INTEGER NOT NULL);
    INSERT INTO cut VALUES (0);
"];

/// After how many events the history is cut to its length.
const CUT_EVERY: u64 = 256;

/// The log.
pub struct Log {
    state: Mutex<State>,
    webhooks: Arc<Webhooks>,
    newest: watch::Sender<u64>,
    /// Something waits that did not before.
    pub(super) more: Notify,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

struct State {
    db: Connection,
    outbox: Outbox,
    /// What went wrong last, by webhook.
    errors: HashMap<String, String>,
    /// Nobody is told anything any more.
    is_closed: bool,
}

/// What is to be sent.
pub(super) struct Message {
    pub(super) attempt: Attempt,
    pub(super) at_ms: u64,
    pub(super) body: String,
}

fn failed(error: rusqlite::Error) -> DocumentError {
    tracing::error!(%error, "the store {FILE} does not work");
    DocumentError::Failed
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn id(value: i64) -> u64 {
    value.cast_unsigned()
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Kept>> {
    let room: String = row.get(1)?;
    Ok(RoomName::parse(&room).ok().map(|room| Kept {
        id: row.get::<_, i64>(0).map(id).unwrap_or_default(),
        room,
        body: row.get(2).unwrap_or_default(),
    }))
}

impl Log {
    /// The log of this folder, with what was not delivered yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, webhooks: Arc<Webhooks>) -> Result<Self, OpenError> {
        let db = documents::open(&dir.join(FILE), &MIGRATIONS)?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        let newest = db
            .query_row(
                "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
                [],
                |row| row.get::<_, i64>(0),
            )
            .optional()?;
        let mut outbox = Outbox::default();
        {
            let mut waiting = db.prepare(
                "SELECT d.webhook, e.room, e.id FROM deliveries d JOIN events e ON e.id = d.event
                 WHERE d.is_failed = 0 ORDER BY e.id",
            )?;
            let mut rows = waiting.query([])?;
            while let Some(row) = rows.next()? {
                let (webhook, room): (String, String) = (row.get(0)?, row.get(1)?);
                if let Ok(room) = RoomName::parse(&room) {
                    outbox.push(&webhook, &room, id(row.get(2)?));
                }
            }
        }
        let state = State {
            db,
            outbox,
            errors: HashMap::new(),
            is_closed: false,
        };
        Ok(Self {
            state: Mutex::new(state),
            webhooks,
            newest: watch::Sender::new(newest.map_or(0, id)),
            more: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot have left a transaction open: they end when they are dropped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the streams of those who follow.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.newest.send_replace(STOPPING);
    }

    /// Keeps what happened, and lines it up for the webhooks that want it. When the call returns, it
    /// is kept; what cannot be kept is logged and lost.
    pub fn append(&self, room: &RoomName, what: What) {
        let Some(kind) = what.kind() else { return };
        let targets = self.webhooks.targets();
        let wanted: Vec<&str> = targets
            .iter()
            .filter(|target| target.wants(room, kind))
            .map(|target| target.info.id.as_str())
            .collect();
        let mut state = self.state();
        match state.append(room, what, &wanted) {
            Ok(event) => {
                if !state.is_closed {
                    self.newest.send_replace(event);
                }
                drop(state);
                self.more.notify_one();
            }
            Err(error) => {
                let _ = failed(error);
            }
        }
    }

    /// What is to be sent next, if anything is due; what is gone meanwhile is passed over.
    pub(super) fn take(&self, now_ms: u64) -> Option<Message> {
        let mut state = self.state();
        while let Some(attempt) = state.outbox.take(now_ms) {
            match state.message(&attempt) {
                Ok(Some((at_ms, body))) => {
                    return Some(Message {
                        attempt,
                        at_ms,
                        body,
                    });
                }
                Ok(None) => {
                    state.outbox.done(now_ms, &attempt, Outcome::Taken, 0);
                }
                Err(error) => {
                    let _ = failed(error);
                    state.outbox.done(now_ms, &attempt, Outcome::Unreachable, 0);
                }
            }
        }
        None
    }

    /// When there will be something to send.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.state().outbox.wake_ms()
    }

    /// What became of an attempt; `error` says what went wrong.
    pub(super) fn done(&self, message: &Message, outcome: Outcome, error: &str) {
        let now_ms = now_ms();
        let attempt = &message.attempt;
        let mut state = self.state();
        let age_ms = now_ms.saturating_sub(message.at_ms);
        let next = state.outbox.done(now_ms, attempt, outcome, age_ms);
        match outcome {
            Outcome::Taken => state.errors.remove(&attempt.webhook),
            _ => state
                .errors
                .insert(attempt.webhook.clone(), error.to_owned()),
        };
        let written = match next {
            Next::Forget => state.delete(attempt),
            Next::Again => Ok(()),
            Next::GiveUp { attempts } => state.give_up(attempt, attempts, error),
        };
        if let Err(error) = written {
            let _ = failed(error);
        }
    }
}

impl State {
    fn append(&mut self, room: &RoomName, what: What, wanted: &[&str]) -> rusqlite::Result<u64> {
        let change = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next: i64 = change.query_row(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1",
            [],
            |row| row.get(0),
        )?;
        let event = RoomEvent {
            id: id(next),
            at_ms: now_ms(),
            room: room.as_str().to_owned(),
            event: what,
        };
        let body = serde_json::to_string(&event).unwrap_or_default();
        change
            .prepare_cached("INSERT INTO events (id, at_ms, room, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                next,
                event.at_ms.cast_signed(),
                room.as_str(),
                body
            ])?;
        for webhook in wanted {
            change
                .prepare_cached("INSERT INTO deliveries (webhook, event) VALUES (?1, ?2)")?
                .execute(params![webhook, next])?;
        }
        change.commit()?;
        for webhook in wanted {
            self.outbox.push(webhook, room, event.id);
        }
        if event.id.is_multiple_of(CUT_EVERY) {
            self.cut(event.id)?;
        }
        Ok(event.id)
    }

    /// Keeps the history, and what waits, within their limits. What waited longest is given up first.
    fn cut(&mut self, newest: u64) -> rusqlite::Result<()> {
        let webhooks: Vec<String> = self
            .db
            .prepare_cached("SELECT DISTINCT webhook FROM deliveries")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for webhook in webhooks {
            for (is_failed, limit) in [(false, limits::PENDING), (true, limits::FAILED)] {
                self.cut_deliveries(&webhook, is_failed, limit)?;
            }
        }
        let oldest = newest.saturating_sub(limits::HISTORY);
        self.db
            .prepare_cached(
                "DELETE FROM events WHERE id <= ?1 AND id NOT IN (SELECT event FROM deliveries)",
            )?
            .execute(params![oldest.cast_signed()])?;
        self.db
            .prepare_cached("UPDATE cut SET until = ?1")?
            .execute(params![oldest.cast_signed()])?;
        Ok(())
    }

    fn cut_deliveries(
        &mut self,
        webhook: &str,
        is_failed: bool,
        limit: u32,
    ) -> rusqlite::Result<()> {
        let until: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT event FROM deliveries WHERE webhook = ?1 AND is_failed = ?2
                 ORDER BY event DESC LIMIT 1 OFFSET ?3",
            )?
            .query_row(params![webhook, is_failed, limit], |row| row.get(0))
            .optional()?;
        let Some(until) = until else { return Ok(()) };
        let dropped = self
            .db
            .prepare_cached(
                "DELETE FROM deliveries WHERE webhook = ?1 AND is_failed = ?2 AND event <= ?3",
            )?
            .execute(params![webhook, is_failed, until])?;
        if !is_failed {
            self.outbox.cut(webhook, id(until));
        }
        tracing::error!(
            webhook,
            dropped,
            "too many events wait: the oldest are lost"
        );
        Ok(())
    }

    /// Time and body of an event that waits; `None` when it does not any more.
    fn message(&self, attempt: &Attempt) -> rusqlite::Result<Option<(u64, String)>> {
        self.db
            .prepare_cached(
                "SELECT e.at_ms, e.body FROM events e JOIN deliveries d ON d.event = e.id
                 WHERE d.webhook = ?1 AND d.is_failed = 0 AND d.event = ?2",
            )?
            .query_row(
                params![attempt.webhook, attempt.event.cast_signed()],
                |row| Ok((id(row.get(0)?), row.get(1)?)),
            )
            .optional()
    }

    fn delete(&self, attempt: &Attempt) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM deliveries WHERE webhook = ?1 AND is_failed = 0 AND event = ?2",
            )?
            .execute(params![attempt.webhook, attempt.event.cast_signed()])
            .map(|_| ())
    }

    fn give_up(&self, attempt: &Attempt, attempts: u32, error: &str) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE deliveries SET is_failed = 1, attempts = ?3, error = ?4
                 WHERE webhook = ?1 AND is_failed = 0 AND event = ?2",
            )?
            .execute(params![
                attempt.webhook,
                attempt.event.cast_signed(),
                attempts,
                error
            ])
            .map(|_| ())
    }

    fn after(
        &self,
        after: u64,
        room: Option<&RoomName>,
        limit: usize,
    ) -> rusqlite::Result<History> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let room = room.map_or("", RoomName::as_str);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let events: Vec<Option<Kept>> = self
            .db
            .prepare_cached(
                "SELECT id, room, body FROM events WHERE id > ?1 AND (?2 = '' OR room = ?2)
                 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![after, room, limit], kept)?
            .collect::<Result<_, _>>()?;
        let (newest, cut): (i64, i64) = self.db.query_row(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
                    (SELECT until FROM cut)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(History {
            events: events.into_iter().flatten().collect(),
            // From the future means that the store was begun anew.
            is_cut: after < cut || after > newest,
        })
    }

    fn failed(
        &self,
        webhook: &str,
        after: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<FailedDelivery>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.db
            .prepare_cached(
                "SELECT e.id, e.room, d.attempts, d.error, e.body
                 FROM deliveries d JOIN events e ON e.id = d.event
                 WHERE d.webhook = ?1 AND d.is_failed = 1 AND d.event > ?2 ORDER BY d.event LIMIT ?3",
            )?
            .query_map(params![webhook, after, limit], |row| {
                Ok(FailedDelivery {
                    event: id(row.get(0)?),
                    room: row.get(1)?,
                    attempts: row.get(2)?,
                    error: row.get(3)?,
                    body: serde_json::from_str(&row.get::<_, String>(4)?).unwrap_or_default(),
                })
            })?
            .collect()
    }

    fn redeliver(&mut self, webhook: &str, events: Option<&[u64]>) -> rusqlite::Result<u64> {
        let change = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Those that were asked for, else all; by their own statement, so that a list may be long.
        let ids: Vec<i64> = match events {
            Some(events) => events.iter().map(|event| event.cast_signed()).collect(),
            None => change
                .prepare("SELECT event FROM deliveries WHERE webhook = ?1 AND is_failed = 1")?
                .query_map(params![webhook], |row| row.get(0))?
                .collect::<Result<_, _>>()?,
        };
        let mut waiting: Vec<(RoomName, u64)> = Vec::new();
        for event in ids {
            let revived = change
                .prepare_cached(
                    "UPDATE deliveries SET is_failed = 0
                     WHERE webhook = ?1 AND is_failed = 1 AND event = ?2",
                )?
                .execute(params![webhook, event])?;
            // From now on it has a day again.
            let room: Option<String> = change
                .prepare_cached("UPDATE events SET at_ms = ?2 WHERE id = ?1 RETURNING room")?
                .query_row(params![event, now_ms().cast_signed()], |row| row.get(0))
                .optional()?;
            if revived > 0
                && let Some(room) = room.and_then(|room| RoomName::parse(&room).ok())
            {
                waiting.push((room, id(event)));
            }
        }
        change.commit()?;
        for (room, event) in &waiting {
            self.outbox.push(webhook, room, *event);
        }
        Ok(u64::try_from(waiting.len()).unwrap_or(u64::MAX))
    }
}

impl EventLog for Log {
    fn after(
        &self,
        id: u64,
        room: Option<&RoomName>,
        limit: usize,
    ) -> Result<History, DocumentError> {
        self.state().after(id, room, limit).map_err(failed)
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn deliveries(&self, webhook: &str) -> Result<Deliveries, DocumentError> {
        let state = self.state();
        let failed_count: i64 = state
            .db
            .query_row(
                "SELECT count(*) FROM deliveries WHERE webhook = ?1 AND is_failed = 1",
                params![webhook],
                |row| row.get(0),
            )
            .map_err(failed)?;
        Ok(Deliveries {
            pending: u64::try_from(state.outbox.waiting(webhook)).unwrap_or(u64::MAX),
            failed: failed_count.cast_unsigned(),
            last_error: state.errors.get(webhook).cloned(),
        })
    }

    fn failed(
        &self,
        webhook: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<FailedDelivery>, DocumentError> {
        self.state().failed(webhook, after, limit).map_err(failed)
    }

    fn redeliver(&self, webhook: &str, events: Option<&[u64]>) -> Result<u64, DocumentError> {
        let count = self.state().redeliver(webhook, events).map_err(failed)?;
        self.more.notify_one();
        Ok(count)
    }

    fn forget(&self, webhook: &str) -> Result<(), DocumentError> {
        let mut state = self.state();
        state.outbox.forget(webhook);
        state.errors.remove(webhook);
        state
            .db
            .execute(
                "DELETE FROM deliveries WHERE webhook = ?1",
                params_from_iter([webhook]),
            )
            .map(|_| ())
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests;
