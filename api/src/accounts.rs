//! Who may use this server: API keys, users, and the tokens that are no good any more.
//!
//! Kept as [`Documents`], and held in memory as far as every request needs it, so that verifying a
//! token reads no disk. Keys that the settings name are known too, and cannot be changed here.
//!
//! Invariants:
//! - *A secret is shown once*, when it is made; it is kept sealed ([`Sealer`]).
//! - *What is refused once is refused from then on*: memory is changed after the store, under one
//!   lock, and the call returns after both.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::documents::{Document, DocumentError, Documents, Kind};
use crate::problem::Problem;
use crate::seal::Sealer;
pub(crate) use crate::token::now_s;
use crate::token::{self, Claims, Expiry, Keys, TokenError};

mod keys;
mod revocations;
#[cfg(test)]
mod tests;
mod users;

pub use keys::{KeyChange, KeyInfo, KeyLimits, KeySecret, NewKey, Quota};
pub use revocations::{RevocationInfo, Subject};
pub use users::{UserChange, UserInfo};

use keys::LiveKey;
use revocations::Revoked;

/// Keys, users and revocations.
pub struct Accounts {
    documents: Arc<dyn Documents>,
    sealer: Sealer,
    fixed: Keys,
    live: RwLock<Live>,
    /// Held over a change of the store and of `live`, so that both see changes in one order.
    changing: Mutex<()>,
}

/// What every request needs.
#[derive(Default)]
struct Live {
    keys: HashMap<String, LiveKey>,
    /// Users who may not come in.
    disabled: HashSet<String>,
    /// By id, as [`Subject::id`] makes it.
    revoked: HashMap<String, Revoked>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts")
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

/// A document with its version, for an entity tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// What was read or written.
    pub value: T,
    /// Its version.
    pub version: u64,
}

/// A part of a list, and where the next begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// In order of their ids.
    pub items: Vec<T>,
    /// Id of the last, if more may follow.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of `limit` out of a list that was asked for one more.
    pub(crate) fn of(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map(id)
        });
        Self {
            items,
            next: next.flatten(),
        }
    }
}

impl Accounts {
    /// Accounts kept in these documents, beside the keys of the settings.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub fn open(
        documents: Arc<dyn Documents>,
        sealer: Sealer,
        fixed: Keys,
    ) -> Result<Self, DocumentError> {
        let accounts = Self {
            documents,
            sealer,
            fixed,
            live: RwLock::default(),
            changing: Mutex::default(),
        };
        let mut live = Live::default();
        accounts.for_each(Kind::Key, |document| {
            if let Some((key, found)) = accounts.live_key(document) {
                live.keys.insert(key, found);
            }
        })?;
        accounts.for_each(Kind::User, |document| {
            if users::is_disabled(document) {
                live.disabled.insert(document.id.clone());
            }
        })?;
        accounts.for_each(Kind::Revocation, |document| {
            if let Some(revoked) = revocations::revoked(document) {
                live.revoked.insert(document.id.clone(), revoked);
            }
        })?;
        *accounts.live_mut() = live;
        accounts.forget().map_err(|_| DocumentError::Failed)?;
        Ok(accounts)
    }

    /// Accounts in memory only, with these keys.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn ephemeral(keys: Keys) -> Result<Self, crate::seal::SealError> {
        let documents = Arc::new(crate::documents::Memory::default());
        let accounts = Self::open(documents, Sealer::ephemeral()?, keys);
        accounts.map_err(|_| crate::seal::SealError::Malformed)
    }

    /// Where other things may be kept beside the accounts.
    pub fn documents(&self) -> &Arc<dyn Documents> {
        &self.documents
    }

    /// Seals other secrets of the server.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Verifies a token: signed by a key of this server, in its time, and not revoked.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, expiry: Expiry) -> Result<Claims, TokenError> {
        let issuer = token::issuer(token)?;
        let live = self.live();
        let claims = match (self.fixed.secret(&issuer), live.keys.get(&issuer)) {
            (Some(secret), _) => token::verify_with(token, secret, expiry)?,
            (None, Some(key)) => key.verify(token, expiry)?,
            (None, None) => return Err(TokenError::ForeignKey),
        };
        match live.disabled.contains(&claims.sub) || live.is_revoked(&claims) {
            true => Err(TokenError::Revoked),
            false => Ok(claims),
        }
    }

    /// Counts a request by a key's tokens.
    ///
    /// # Errors
    /// When the key's rate is used up: the seconds to wait.
    pub fn admit(&self, key: &str) -> Result<(), u32> {
        match self.live().keys.get(key) {
            Some(key) => key.admit(),
            None => Ok(()),
        }
    }

    /// How much the sessions of a key may take.
    pub fn quota(&self, key: &str) -> Quota {
        let live = self.live();
        live.keys
            .get(key)
            .map(|key| key.quota())
            .unwrap_or_default()
    }

    fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All documents of a kind, some at a time.
    pub(crate) fn for_each(
        &self,
        kind: Kind,
        mut act: impl FnMut(&Document),
    ) -> Result<(), DocumentError> {
        const BATCH: usize = 512;
        let mut after: Option<String> = None;
        loop {
            let batch = self.documents.list(kind, after.as_deref(), BATCH)?;
            batch.iter().for_each(&mut act);
            if batch.len() < BATCH {
                return Ok(());
            }
            after = batch.last().map(|document| document.id.clone());
        }
    }
}

/// 422 for metadata or attributes that are too long or too many.
pub(crate) fn check_texts(
    metadata: &str,
    attributes: &std::collections::BTreeMap<String, String>,
) -> Result<(), Problem> {
    users::check_metadata(metadata)?;
    users::check_attributes(attributes)
}

/// 422 for claims that no token of this server may hold.
pub(crate) fn check_claims(claims: &Claims) -> Result<(), Problem> {
    users::check_metadata(&claims.metadata)?;
    users::check_attributes(&claims.attributes)?;
    users::check_grants(&claims.video)
}

/// Reads a stored body.
pub(crate) fn read<T: DeserializeOwned>(document: &Document) -> Result<T, Problem> {
    serde_json::from_str(&document.body).map_err(|error| {
        tracing::error!(id = document.id, %error, "a stored document cannot be read");
        Problem::internal()
    })
}

/// Writes a body to store.
pub(crate) fn written(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|_| Problem::internal())
}

/// What a client is told when a document is not as expected, or the store fails.
pub(crate) fn refused(error: DocumentError) -> Problem {
    match error {
        DocumentError::Unexpected => {
            Problem::version_mismatch("it was changed meanwhile: read it again")
        }
        DocumentError::Failed => Problem::overloaded("the server's store cannot be used", 10),
    }
}
