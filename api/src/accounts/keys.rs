//! API keys.

use std::num::NonZeroU32;

use governor::DefaultDirectRateLimiter;
use governor::clock::{Clock as _, DefaultClock};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Accounts, Page, Versioned, now_s, refused, written};
use crate::documents::{Document, Expected, Kind};
use crate::limits;
use crate::names;
use crate::problem::Problem;
use crate::token::{self, Claims, Expiry, TokenError};

/// How much the tokens of a key may do. What is absent is not limited beyond the server's own
/// limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KeyLimits {
    /// HTTP requests per second, on average; one more gets a 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub requests_per_second: Option<NonZeroU32>,
    /// HTTP requests at once; as many as per second where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub burst: Option<NonZeroU32>,
    /// Participants, publishers and viewers at once; one more gets a 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub participants: Option<NonZeroU32>,
    /// Rooms at once that they are in or that were made with them; one more gets a 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub rooms: Option<NonZeroU32>,
    /// Bits per second that they publish together, as measured. As long as it is that much, nothing more
    /// is published: 429, or `rateLimited`. What is being published goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub published_bitrate_bps: Option<NonZeroU32>,
}

/// How much the sessions of a key may take at once; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Participants of all kinds.
    pub participants: u32,
    /// Rooms that they are in, or that were made with the key.
    pub rooms: u32,
    /// Bits per second that they publish.
    pub published_bitrate_bps: u32,
}

/// `POST /v1/keys`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewKey {
    /// What it is for, for people; at most 256 bytes.
    #[schema(max_length = 256)]
    pub label: String,
    /// How much its tokens may do.
    pub limits: KeyLimits,
}

/// `PATCH /v1/keys/{key}`: what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KeyChange {
    /// What it is for, for people; at most 256 bytes.
    #[schema(max_length = 256)]
    pub label: Option<String>,
    /// How much its tokens may do; replaces all limits.
    pub limits: Option<KeyLimits>,
}

/// An API key, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// The key: the `iss` of its tokens.
    pub key: String,
    /// What it is for.
    pub label: String,
    /// Whether the settings name it: such a key cannot be changed over HTTP.
    pub fixed: bool,
    /// When it was made; 0 for keys of the settings.
    pub created_at_s: u64,
    /// When its secret was last replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at_s: Option<u64>,
    /// Until when the secret before that is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_until_s: Option<u64>,
    /// How much its tokens may do.
    pub limits: KeyLimits,
}

/// A key with its secret: the answer that makes a secret is the only one that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySecret {
    /// The secret to sign tokens with.
    pub secret: String,
    /// Everything else.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// As it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored {
    label: String,
    created_at_s: u64,
    rotated_at_s: Option<u64>,
    limits: KeyLimits,
    sealed: String,
    previous: Option<Previous>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Previous {
    sealed: String,
    until_s: u64,
}

/// A key as requests need it.
pub(super) struct LiveKey {
    stored: Stored,
    version: u64,
    secret: Zeroizing<String>,
    previous: Option<Zeroizing<String>>,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl LiveKey {
    pub(super) fn verify(&self, token: &str, expiry: Expiry) -> Result<Claims, TokenError> {
        let verified = token::verify_with(token, &self.secret, expiry);
        let until_s = self.stored.previous.as_ref().map_or(0, |p| p.until_s);
        match (&verified, &self.previous) {
            (Err(TokenError::Signature), Some(previous)) if now_s() < until_s => {
                token::verify_with(token, previous, expiry)
            }
            _ => verified,
        }
    }

    pub(super) fn admit(&self) -> Result<(), u32> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let seconds = wait.as_millis().div_ceil(1000);
            u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
        })
    }

    pub(super) fn quota(&self) -> Quota {
        let KeyLimits {
            participants,
            rooms,
            published_bitrate_bps,
            ..
        } = self.stored.limits;
        let most = |limit: Option<NonZeroU32>| limit.map_or(0, NonZeroU32::get);
        Quota {
            participants: most(participants),
            rooms: most(rooms),
            published_bitrate_bps: most(published_bitrate_bps),
        }
    }

    fn info(&self, key: &str) -> Versioned<KeyInfo> {
        let stored = &self.stored;
        let value = KeyInfo {
            key: key.to_owned(),
            label: stored.label.clone(),
            fixed: false,
            created_at_s: stored.created_at_s,
            rotated_at_s: stored.rotated_at_s,
            previous_until_s: stored.previous.as_ref().map(|previous| previous.until_s),
            limits: stored.limits,
        };
        Versioned {
            value,
            version: self.version,
        }
    }
}

fn purpose(key: &str) -> String {
    format!("key:{key}")
}

fn fresh_secret() -> Result<Zeroizing<String>, Problem> {
    names::random_hex::<32>()
        .map(Zeroizing::new)
        .map_err(|_| Problem::internal())
}

fn no_such_key(key: &str) -> Problem {
    Problem::not_found(format!("there is no key called {key}"))
}

fn check_label(label: &str) -> Result<(), Problem> {
    if label.len() > limits::LABEL_BYTES {
        let text = format!("label: at most {} bytes are allowed", limits::LABEL_BYTES);
        return Err(Problem::invalid(text));
    }
    Ok(())
}

impl Accounts {
    /// A stored key as requests need it. One that cannot be opened (the server's key file was
    /// lost) is left out: its tokens are refused.
    pub(super) fn live_key(&self, document: &Document) -> Option<(String, LiveKey)> {
        let found = serde_json::from_str(&document.body)
            .ok()
            .and_then(|stored| self.unsealed(&document.id, document.version, stored));
        if found.is_none() {
            tracing::error!(key = document.id, "a stored key cannot be opened");
        }
        Some((document.id.clone(), found?))
    }

    fn unsealed(&self, key: &str, version: u64, stored: Stored) -> Option<LiveKey> {
        let open = |sealed: &str| self.sealer.unseal(&purpose(key), sealed);
        let limits = stored.limits;
        let limiter = limits.requests_per_second.map(|rate| {
            let burst = limits.burst.unwrap_or(rate);
            DefaultDirectRateLimiter::direct(governor::Quota::per_second(rate).allow_burst(burst))
        });
        Some(LiveKey {
            secret: open(&stored.sealed)?,
            previous: stored.previous.as_ref().and_then(|p| open(&p.sealed)),
            limiter,
            version,
            stored,
        })
    }

    /// Makes a key.
    ///
    /// # Errors
    /// 409 when there are [`limits::KEYS`] already; 422 when the label is too long.
    pub fn create_key(&self, new: NewKey) -> Result<Versioned<KeySecret>, Problem> {
        check_label(&new.label)?;
        let _changing = self.changing();
        if self.documents.count(Kind::Key).map_err(refused)? >= limits::KEYS {
            return Err(Problem::limit_reached(format!(
                "there are {} keys already",
                limits::KEYS
            )));
        }
        let name = names::random_hex::<6>().map_err(|_| Problem::internal())?;
        let key = format!("ion-{name}");
        let secret = fresh_secret()?;
        let stored = Stored {
            label: new.label,
            created_at_s: now_s(),
            rotated_at_s: None,
            limits: new.limits,
            sealed: self.sealed(&key, &secret)?,
            previous: None,
        };
        let info = self.keep_key(&key, Expected::Absent, stored)?;
        Ok(with_secret(info, &secret))
    }

    fn sealed(&self, key: &str, secret: &str) -> Result<String, Problem> {
        self.sealer
            .seal(&purpose(key), secret)
            .map_err(|_| Problem::internal())
    }

    /// Stores a key and takes it into use; the caller holds `changing`.
    fn keep_key(
        &self,
        key: &str,
        expected: Expected,
        stored: Stored,
    ) -> Result<Versioned<KeyInfo>, Problem> {
        let body = written(&stored)?;
        let version = self
            .documents
            .put(Kind::Key, key, expected, &body)
            .map_err(refused)?;
        let live = self
            .unsealed(key, version, stored)
            .ok_or_else(Problem::internal)?;
        let info = live.info(key);
        self.live_mut().keys.insert(key.to_owned(), live);
        Ok(info)
    }

    /// Keys in order, those of the settings among them.
    pub fn keys(&self, after: Option<&str>, limit: usize) -> Page<KeyInfo> {
        let live = self.live();
        let mut all: Vec<KeyInfo> = live
            .keys
            .iter()
            .map(|(key, found)| found.info(key).value)
            .chain(self.fixed.names().map(fixed))
            .filter(|info| after.is_none_or(|after| info.key.as_str() > after))
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Page::of(all, limit, |info| info.key.clone())
    }

    /// One key.
    ///
    /// # Errors
    /// 404.
    pub fn key(&self, key: &str) -> Result<Versioned<KeyInfo>, Problem> {
        if self.fixed.secret(key).is_some() {
            return Ok(Versioned {
                value: fixed(key),
                version: 0,
            });
        }
        let live = self.live();
        let found = live.keys.get(key).ok_or_else(|| no_such_key(key))?;
        Ok(found.info(key))
    }

    /// What is stored of a key that may be changed.
    fn changeable(&self, key: &str, expected: Expected) -> Result<(Stored, u64), Problem> {
        if self.fixed.secret(key).is_some() {
            let text = "the settings name this key: change it there";
            return Err(Problem::conflict(text));
        }
        let live = self.live();
        let found = live.keys.get(key).ok_or_else(|| no_such_key(key))?;
        if !expected.met_by(Some(found.version)) {
            return Err(refused(crate::documents::DocumentError::Unexpected));
        }
        Ok((found.stored.clone(), found.version))
    }

    /// Changes label or limits of a key.
    ///
    /// # Errors
    /// 404; 409 for a key of the settings; 412 when it is not as expected; 422.
    pub fn change_key(
        &self,
        key: &str,
        expected: Expected,
        change: KeyChange,
    ) -> Result<Versioned<KeyInfo>, Problem> {
        let _changing = self.changing();
        let (mut stored, version) = self.changeable(key, expected)?;
        if let Some(label) = change.label {
            check_label(&label)?;
            stored.label = label;
        }
        stored.limits = change.limits.unwrap_or(stored.limits);
        self.keep_key(key, Expected::Version(version), stored)
    }

    /// Gives a key a new secret. The one before is accepted for `grace_s` more seconds.
    ///
    /// # Errors
    /// As [`Accounts::change_key`].
    pub fn rotate_key(
        &self,
        key: &str,
        expected: Expected,
        grace_s: u64,
    ) -> Result<Versioned<KeySecret>, Problem> {
        let _changing = self.changing();
        let (mut stored, version) = self.changeable(key, expected)?;
        let secret = fresh_secret()?;
        let sealed = std::mem::replace(&mut stored.sealed, self.sealed(key, &secret)?);
        let now = now_s();
        stored.rotated_at_s = Some(now);
        stored.previous = (grace_s > 0).then(|| Previous {
            sealed,
            until_s: now.saturating_add(grace_s),
        });
        let info = self.keep_key(key, Expected::Version(version), stored)?;
        Ok(with_secret(info, &secret))
    }

    /// Deletes a key; all its tokens are refused from then on.
    ///
    /// # Errors
    /// As [`Accounts::change_key`].
    pub fn delete_key(&self, key: &str, expected: Expected) -> Result<(), Problem> {
        let _changing = self.changing();
        let (_, version) = self.changeable(key, expected)?;
        self.documents
            .delete(Kind::Key, key, Expected::Version(version))
            .map_err(refused)?;
        self.live_mut().keys.remove(key);
        Ok(())
    }

    /// Signs a token with a key of this server; with the first of the settings where the caller
    /// used none. It is good although others like it were revoked just now.
    ///
    /// # Errors
    /// 409 when there is no such key any more.
    pub fn issue(
        &self,
        key: Option<&str>,
        mut claims: Claims,
        ttl: std::time::Duration,
    ) -> Result<String, Problem> {
        let live = self.live();
        let (key, secret) = match key {
            Some(key) => {
                let secret = self.fixed.secret(key);
                let own = live.keys.get(key).map(|found| found.secret.as_str());
                (key, secret.or(own))
            }
            None => self
                .fixed
                .first()
                .map_or(("", None), |(key, secret)| (key, Some(secret))),
        };
        let secret = secret.ok_or_else(|| Problem::conflict("there is no key to sign with"))?;
        claims.iat = live.revoked_until(&claims).map(|until| until + 1);
        token::mint(key, secret, claims, ttl).map_err(|_| Problem::internal())
    }
}

fn fixed(key: &str) -> KeyInfo {
    KeyInfo {
        key: key.to_owned(),
        fixed: true,
        ..KeyInfo::default()
    }
}

fn with_secret(info: Versioned<KeyInfo>, secret: &str) -> Versioned<KeySecret> {
    Versioned {
        value: KeySecret {
            secret: secret.to_owned(),
            info: info.value,
        },
        version: info.version,
    }
}
