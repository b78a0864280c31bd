//! What the API keeps: small JSON documents, each under a kind and an id, with a version.
//!
//! The one trait behind keys, users, settings of rooms, webhooks and revocations. It asks for no
//! more than a key-value store with compare-and-set has, so that an embedded file and a replicated
//! bucket can both stand behind it. Calls may block; the API makes them off its own threads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// What a document is about. The words are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An API key, its secret sealed.
    Key,
    /// A user.
    User,
    /// Settings of a room.
    Room,
    /// A webhook, its secret sealed.
    Webhook,
    /// Tokens that are no good any more.
    Revocation,
    /// An answer to a request with an `Idempotency-Key`, sealed.
    Answer,
}

impl Kind {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Room => "room",
            Self::Webhook => "webhook",
            Self::Revocation => "revocation",
            Self::Answer => "answer",
        }
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Unique among its kind.
    pub id: String,
    /// Grows with every change of any document, so no two states of one id ever share it.
    pub version: u64,
    /// JSON.
    pub body: String,
}

/// What must be so for a change to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// There is no such document.
    Absent,
    /// It has this version.
    Version(u64),
}

impl Expected {
    /// Whether a document of this version, or none, is what was expected.
    pub fn met_by(self, current: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Version(version) => current == Some(version),
        }
    }
}

/// Why a document was not changed or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is not as expected.
    #[error("the document is not as expected")]
    Unexpected,
    /// The store does not work; it has logged why.
    #[error("the store does not work")]
    Failed,
}

/// A store of documents.
pub trait Documents: Send + Sync + 'static {
    /// One document.
    ///
    /// # Errors
    /// [`DocumentError::Failed`].
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, DocumentError>;

    /// Documents with ids greater than `after`, in order of their ids.
    ///
    /// # Errors
    /// [`DocumentError::Failed`].
    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, DocumentError>;

    /// How many there are.
    ///
    /// # Errors
    /// [`DocumentError::Failed`].
    fn count(&self, kind: Kind) -> Result<usize, DocumentError>;

    /// Writes a document and returns its new version. When the call returns, it is kept.
    ///
    /// # Errors
    /// When it is not as expected, or the store fails.
    fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Expected,
        body: &str,
    ) -> Result<u64, DocumentError>;

    /// Deletes a document; `false` when there was none and any state was expected.
    ///
    /// # Errors
    /// When it is not as expected, or the store fails.
    fn delete(&self, kind: Kind, id: &str, expected: Expected) -> Result<bool, DocumentError>;
}

type All = BTreeMap<(Kind, String), Document>;

/// Documents in memory: for tests, and for a server that is to keep nothing.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<(u64, All)>,
}

impl Memory {
    fn locked<T>(&self, act: impl FnOnce(&mut u64, &mut All) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, documents) = &mut *state;
        act(version, documents)
    }
}

impl Documents for Memory {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, DocumentError> {
        Ok(self.locked(|_, all| all.get(&(kind, id.to_owned())).cloned()))
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, DocumentError> {
        let from = (kind, after.unwrap_or_default().to_owned());
        Ok(self.locked(|_, all| {
            all.range((Bound::Excluded(from), Bound::Unbounded))
                .take_while(|((k, _), _)| *k == kind)
                .take(limit)
                .map(|(_, document)| document.clone())
                .collect()
        }))
    }

    fn count(&self, kind: Kind) -> Result<usize, DocumentError> {
        Ok(self.locked(|_, all| all.keys().filter(|(k, _)| *k == kind).count()))
    }

    fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Expected,
        body: &str,
    ) -> Result<u64, DocumentError> {
        let key = (kind, id.to_owned());
        self.locked(|last, all| {
            if !expected.met_by(all.get(&key).map(|found| found.version)) {
                return Err(DocumentError::Unexpected);
            }
            *last += 1;
            let document = Document {
                id: id.to_owned(),
                version: *last,
                body: body.to_owned(),
            };
            all.insert(key, document);
            Ok(*last)
        })
    }

    fn delete(&self, kind: Kind, id: &str, expected: Expected) -> Result<bool, DocumentError> {
        let key = (kind, id.to_owned());
        self.locked(|_, all| {
            if !expected.met_by(all.get(&key).map(|found| found.version)) {
                return Err(DocumentError::Unexpected);
            }
            Ok(all.remove(&key).is_some())
        })
    }
}
