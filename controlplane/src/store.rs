//! What outlives this process: the sessions' records, and the DTLS certificate, of one
//! epoch of the dataplane. SQLite, one file, readable by its owner only.
//!
//! Writes are inline and not synced to disk: they survive the death of this process,
//! which is what they are for. If the machine dies, the dataplane's memory dies with
//! it, and the records are of no use.

use crate::record::Record;
use crate::rooms::Key;
use crate::rooms::saved::{SavedParticipant, SavedRoom};
use ion_api::names::RoomName;
use rusqlite::{Connection, OptionalExtension, ffi, params};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// File name in the state directory.
pub const FILE: &str = "ion.db";

/// How long a write waits for another process that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_millis(50);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, record TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS participants (
        key INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, secret TEXT NOT NULL, record TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rooms (
        name TEXT PRIMARY KEY, record TEXT NOT NULL
    ) WITHOUT ROWID;
";

/// Why the store does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("the store {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The operating system said no.
    #[error("the store {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

/// The store.
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the store in this folder, making it if there is none. A file that is not
    /// a database any more is moved aside; it is told apart by `true`.
    ///
    /// # Errors
    /// When it can be neither opened nor made.
    pub fn open(dir: &Path) -> Result<(Self, bool), StoreError> {
        let path = dir.join(FILE);
        match Self::open_file(&path) {
            Err(StoreError::Sqlite { source, .. }) if is_corrupt(&source) => {
                for suffix in ["", "-wal", "-shm"] {
                    let from = dir.join(format!("{FILE}{suffix}"));
                    let to = dir.join(format!("{FILE}.broken{suffix}"));
                    if let Err(source) = std::fs::rename(&from, &to)
                        && source.kind() != std::io::ErrorKind::NotFound
                    {
                        return Err(StoreError::Io { path, source });
                    }
                }
                Ok((Self::open_file(&path)?, true))
            }
            other => Ok((other?, false)),
        }
    }

    fn open_file(path: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io {
            path: path.to_owned(),
            source,
        };
        // Made by us first, so that nobody else can read it for a moment.
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(io)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        let sqlite = |source| StoreError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let db = Connection::open(path).map_err(sqlite)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(sqlite)?;
        db.pragma_update(None, "synchronous", "OFF")
            .map_err(sqlite)?;
        db.execute_batch(SCHEMA).map_err(sqlite)?;
        // The header says nothing about the pages behind it.
        let found: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(sqlite)?;
        if found != "ok" {
            let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
            return Err(sqlite(rusqlite::Error::SqliteFailure(code, Some(found))));
        }
        // Whoever else has it open must not hold up media for longer.
        db.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Sqlite {
            path: path.clone(),
            source,
        }
    }

    /// Keeps a session's record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, epoch: u64, record: &Record) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).unwrap_or_default();
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO sessions (id, epoch, record) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut put| put.execute(params![record.id, epoch.cast_signed(), text]))
            .map(|_| ())
            .map_err(self.error())
    }

    /// Forgets a session.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn delete(&self, id: &str) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM sessions WHERE id = ?1")
            .and_then(|mut delete| delete.execute(params![id]))
            .map(|_| ())
            .map_err(self.error())
    }

    /// The records of an epoch, in order of arrival. Those that cannot be read (another
    /// release wrote them) are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sessions(&self, epoch: u64) -> Result<Vec<Record>, StoreError> {
        let read = || {
            let mut select = self
                .db
                .prepare("SELECT record FROM sessions WHERE epoch = ?1")?;
            // As bytes: one record that is no text must not cost the others.
            let rows = select.query_map(params![epoch.cast_signed()], |row| {
                let record = row.get_ref(0)?.as_bytes();
                Ok(record.map(<[u8]>::to_vec).unwrap_or_default())
            })?;
            rows.collect::<Result<Vec<Vec<u8>>, _>>()
        };
        let texts = read().map_err(self.error())?;
        let mut records: Vec<Record> = texts
            .iter()
            .filter_map(|text| serde_json::from_slice(text).ok())
            .collect();
        records.sort_by_key(|record| record.ordinal);
        Ok(records)
    }

    /// Keeps a participant, with the secret of its signalling session.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_participant(
        &self,
        epoch: u64,
        secret: &str,
        saved: &SavedParticipant,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(saved).unwrap_or_default();
        let key = saved.join.key.0.cast_signed();
        let values = params![key, epoch.cast_signed(), secret, text];
        self.run(
            "INSERT OR REPLACE INTO participants (key, epoch, secret, record) \
             VALUES (?1, ?2, ?3, ?4)",
            values,
        )
    }

    /// Forgets a participant.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn delete_participant(&self, key: Key) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM participants WHERE key = ?1",
            params![key.0.cast_signed()],
        )
    }

    /// The participants of an epoch with their secrets, in order of arrival. Those that cannot be
    /// read are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn participants(&self, epoch: u64) -> Result<Vec<(String, SavedParticipant)>, StoreError> {
        let sql = "SELECT secret, record FROM participants WHERE epoch = ?1 ORDER BY key";
        let read = || {
            let mut select = self.db.prepare(sql)?;
            let rows = select.query_map(params![epoch.cast_signed()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let rows = read().map_err(self.error())?;
        let parsed = rows
            .into_iter()
            .filter_map(|(secret, text)| Some((secret, serde_json::from_str(&text).ok()?)));
        Ok(parsed.collect())
    }

    /// Keeps a room. Rooms outlive the dataplane.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_room(&self, saved: &SavedRoom) -> Result<(), StoreError> {
        let text = serde_json::to_string(saved).unwrap_or_default();
        let values = params![saved.name.as_str(), text];
        self.run(
            "INSERT OR REPLACE INTO rooms (name, record) VALUES (?1, ?2)",
            values,
        )
    }

    /// Forgets a room.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn delete_room(&self, name: &RoomName) -> Result<(), StoreError> {
        self.run("DELETE FROM rooms WHERE name = ?1", params![name.as_str()])
    }

    /// The rooms. Those that cannot be read are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rooms(&self) -> Result<Vec<SavedRoom>, StoreError> {
        let read = || {
            let mut select = self.db.prepare("SELECT record FROM rooms")?;
            let rows = select.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let texts = read().map_err(self.error())?;
        Ok(texts
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect())
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map(|_| ())
            .map_err(self.error())
    }

    /// Forgets all sessions of other epochs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_only(&self, epoch: u64) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM sessions WHERE epoch <> ?1",
            params![epoch.cast_signed()],
        )?;
        self.run(
            "DELETE FROM participants WHERE epoch <> ?1",
            params![epoch.cast_signed()],
        )
    }

    /// Moves all sessions to another epoch: a new dataplane has taken them over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn move_epoch(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let values = params![to.cast_signed(), from.cast_signed()];
        self.run("UPDATE sessions SET epoch = ?1 WHERE epoch = ?2", values)?;
        self.run(
            "UPDATE participants SET epoch = ?1 WHERE epoch = ?2",
            values,
        )
    }

    /// A value kept under a name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .query_row(
                "SELECT value FROM meta WHERE key = ?1",
                params![key],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.error())
    }

    /// Keeps a value under a name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.db
            .execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
                params![key, value],
            )
            .map(|_| ())
            .map_err(self.error())
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn a_file_with_broken_pages_is_moved_aside() {
        let dir = std::env::temp_dir().join(format!("ion-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (store, was_broken) = Store::open(&dir).unwrap();
        assert!(!was_broken);
        store.put_meta("certificate", &[7; 20_000]).unwrap();
        let (id, text) = ("id", "{}");
        store
            .db
            .execute(
                "INSERT INTO sessions (id, epoch, record) VALUES (?1, 1, ?2)",
                params![id, text],
            )
            .unwrap();
        store
            .db
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")
            .unwrap();
        drop(store);
        let path = dir.join(FILE);
        let length = std::fs::metadata(&path).unwrap().len();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // The first page holds header and schema; it stays.
        file.seek(SeekFrom::Start(4_096)).unwrap();
        let rest = usize::try_from(length - 4_096).unwrap();
        file.write_all(&vec![0x5a; rest]).unwrap();
        drop(file);
        let (store, was_broken) = Store::open(&dir).unwrap();
        assert!(was_broken);
        store.keep_only(1).unwrap();
        assert_eq!(store.sessions(1).unwrap(), []);
        assert!(dir.join(format!("{FILE}.broken")).exists());
        drop(store);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
