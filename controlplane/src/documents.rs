//! What the API keeps ([`ion_api::documents`]) in SQLite: keys, users, settings of rooms, webhooks,
//! revocations. One file, readable by its owner only.
//!
//! Beside the store of sessions, and unlike it: this must outlive the machine, so each write is synced
//! to disk, and a file that is broken is not replaced by an empty one, which would let revoked tokens
//! in again.

use ion_api::documents::{Document, DocumentError, Documents, Expected, Kind};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// File name in the state directory.
pub const FILE: &str = "api.db";

/// File name of the key that secrets are sealed with.
pub const KEY_FILE: &str = "server.key";

/// How long a write waits for another process that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// One after the other: the `user_version` of a file is how many of them it has seen.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE documents (
        kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE versions (last INTEGER NOT NULL);
    INSERT INTO versions VALUES (0);
"];

/// Why there are no documents.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("the store {FILE} cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// SQLite said no.
    #[error(
        "the store {FILE} cannot be used: {0}; it holds keys, users and revoked tokens: bring it back \
         from a copy, or move it away to begin without"
    )]
    Sqlite(#[from] rusqlite::Error),
    /// A later release made it.
    #[error("the store {FILE} was made by a later release of Ion (its version is {0})")]
    Later(i64),
    /// It is not what it was written as.
    #[error("the store {FILE} is damaged; bring it back from a copy, or move it away")]
    Damaged,
}

/// Documents in SQLite.
pub struct Sqlite {
    db: Mutex<Connection>,
}

/// Opens or makes a file that only its owner reads, with a journal that outlives crashes, and brings
/// it to the newest of `migrations`.
pub(crate) fn open(path: &Path, migrations: &[&str]) -> Result<Connection, OpenError> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(OpenError::Damaged);
    }
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen: i64 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(rest) = usize::try_from(seen).ok().and_then(|n| migrations.get(n..)) else {
        return Err(OpenError::Later(seen));
    };
    for migration in rest {
        change.execute_batch(migration)?;
    }
    let newest = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    change.pragma_update(None, "user_version", newest)?;
    change.commit()?;
    Ok(db)
}

impl Sqlite {
    /// The documents of this folder.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let db = open(&dir.join(FILE), &MIGRATIONS)?;
        Ok(Self { db: Mutex::new(db) })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic cannot have left a transaction open: they end when they are dropped.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: rusqlite::Error) -> DocumentError {
    tracing::error!(%error, "the store {FILE} does not work");
    DocumentError::Failed
}

fn document(row: &rusqlite::Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        id: row.get(0)?,
        version: row.get::<_, i64>(1)?.cast_unsigned(),
        body: row.get(2)?,
    })
}

fn version(db: &Connection, kind: Kind, id: &str) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached("SELECT version FROM documents WHERE kind = ?1 AND id = ?2")?
        .query_row(params![kind.as_str(), id], |row| row.get::<_, i64>(0))
        .optional()
        .map(|version| version.map(i64::cast_unsigned))
}

impl Documents for Sqlite {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, DocumentError> {
        let read = |db: &Connection| {
            db.prepare_cached(
                "SELECT id, version, body FROM documents WHERE kind = ?1 AND id = ?2",
            )?
            .query_row(params![kind.as_str(), id], document)
            .optional()
        };
        read(&self.db()).map_err(failed)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, DocumentError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |db: &Connection| {
            db.prepare_cached(
                "SELECT id, version, body FROM documents
                 WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(
                params![kind.as_str(), after.unwrap_or_default(), limit],
                document,
            )?
            .collect::<Result<Vec<_>, _>>()
        };
        read(&self.db()).map_err(failed)
    }

    fn count(&self, kind: Kind) -> Result<usize, DocumentError> {
        let read = |db: &Connection| {
            db.prepare_cached("SELECT count(*) FROM documents WHERE kind = ?1")?
                .query_row(params![kind.as_str()], |row| row.get::<_, i64>(0))
        };
        let count = read(&self.db()).map_err(failed)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Expected,
        body: &str,
    ) -> Result<u64, DocumentError> {
        let write = |db: &mut Connection| {
            let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !expected.met_by(version(&change, kind, id)?) {
                return Ok(None);
            }
            let next: i64 = change.query_row(
                "UPDATE versions SET last = last + 1 RETURNING last",
                [],
                |row| row.get(0),
            )?;
            change
                .prepare_cached(
                    "INSERT OR REPLACE INTO documents (kind, id, version, body)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![kind.as_str(), id, next, body])?;
            change.commit()?;
            Ok(Some(next.cast_unsigned()))
        };
        write(&mut self.db())
            .map_err(failed)?
            .ok_or(DocumentError::Unexpected)
    }

    fn delete(&self, kind: Kind, id: &str, expected: Expected) -> Result<bool, DocumentError> {
        let write = |db: &mut Connection| {
            let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !expected.met_by(version(&change, kind, id)?) {
                return Ok(None);
            }
            let deleted = change
                .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2")?
                .execute(params![kind.as_str(), id])?;
            change.commit()?;
            Ok(Some(deleted > 0))
        };
        write(&mut self.db())
            .map_err(failed)?
            .ok_or(DocumentError::Unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_api::documents::Memory;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ion-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// What a store answers to some calls that touch every case.
    fn answers(store: &dyn Documents) -> Vec<String> {
        let kind = Kind::User;
        let mut seen = Vec::new();
        let mut note = |what: &dyn std::fmt::Debug| seen.push(format!("{what:?}"));
        note(&store.put(kind, "b", Expected::Absent, "1"));
        note(&store.put(kind, "b", Expected::Absent, "2"));
        note(&store.put(kind, "b", Expected::Version(1), "3"));
        note(&store.put(kind, "b", Expected::Version(1), "4"));
        note(&store.put(kind, "a", Expected::Any, "5"));
        note(&store.put(Kind::Key, "c", Expected::Any, "6"));
        note(&store.get(kind, "b"));
        note(&store.get(kind, "c"));
        note(&store.list(kind, None, 10));
        note(&store.list(kind, Some("a"), 10));
        note(&store.list(kind, None, 1));
        note(&store.count(kind));
        note(&store.delete(kind, "b", Expected::Version(1)));
        note(&store.delete(kind, "b", Expected::Version(2)));
        note(&store.delete(kind, "b", Expected::Any));
        // Deleted and made again, it is another version still.
        note(&store.put(kind, "b", Expected::Absent, "7"));
        seen
    }

    #[test]
    fn it_behaves_as_the_one_in_memory_does_and_keeps_what_it_was_given() {
        let dir = folder("documents");
        let store = Sqlite::open(&dir).unwrap();
        assert_eq!(answers(&store), answers(&Memory::default()));
        drop(store);
        let again = Sqlite::open(&dir).unwrap();
        let found = again.get(Kind::User, "b").unwrap().unwrap();
        assert_eq!((found.version, found.body.as_str()), (5, "7"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_of_a_later_release_or_a_damaged_one_is_left_alone() {
        let dir = folder("later");
        let path = dir.join(FILE);
        drop(Sqlite::open(&dir).unwrap());
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        drop(db);
        assert!(matches!(Sqlite::open(&dir), Err(OpenError::Later(99))));
        std::fs::write(&path, b"no database at all, but long enough to be one").unwrap();
        assert!(Sqlite::open(&dir).is_err());
        assert!(std::fs::read(&path).unwrap().starts_with(b"no database"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
