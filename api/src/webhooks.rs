//! Webhooks: where events are sent to, and how they are signed.
//!
//! Signed as the Standard Webhooks specification has it: HMAC-SHA256 over id, time and body, by a
//! secret of the webhook's own. LiveKit signs with an API key instead, as a JWT; a receiver would then
//! hold a secret that mints tokens, and nothing would bind the time of sending.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::accounts::{Accounts, Page, Versioned, now_s, refused, written};
use crate::documents::{Document, DocumentError, Expected, Kind};
use crate::events::EventKind;
use crate::limits;
use crate::names::{self, RoomName};
use crate::problem::Problem;

/// What secrets begin with.
const PREFIX: &str = "whsec_";

/// `POST /v1/webhooks`, and `PATCH /v1/webhooks/{id}`, where what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebhookChange {
    /// Where events are posted to: `http` or `https`, without user information. Needed by POST.
    /// Redirects are not followed. Any address that the server reaches will do, those of its own
    /// networks too: whoever holds a key is trusted with that.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events; empty is all.
    #[schema(max_items = 32)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventKind>>,
    /// Of which rooms; empty is all.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<RoomName>>,
    /// What it is for, for people.
    #[schema(max_length = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A webhook, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookInfo {
    /// Its id.
    pub id: String,
    /// Where events are posted to.
    pub url: String,
    /// Which events; empty is all.
    pub events: Vec<EventKind>,
    /// Of which rooms; empty is all.
    #[schema(value_type = Vec<String>)]
    pub rooms: Vec<RoomName>,
    /// What it is for.
    pub label: String,
    /// When it was made.
    pub created_at_s: u64,
}

/// A webhook with its secret: the answer that makes a secret is the only one that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSecret {
    /// `whsec_` and base64: what to verify signatures with.
    pub secret: String,
    /// Everything else.
    #[serde(flatten)]
    pub info: WebhookInfo,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    sealed: String,
    #[serde(flatten)]
    info: WebhookInfo,
}

/// A webhook as deliveries need it.
pub struct Target {
    /// Everything but the secret.
    pub info: WebhookInfo,
    version: u64,
    sealed: String,
    key: hmac::Key,
}

/// Never the secret.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("id", &self.info.id)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Whether it wants this.
    pub fn wants(&self, room: &RoomName, kind: EventKind) -> bool {
        let WebhookInfo { events, rooms, .. } = &self.info;
        (events.is_empty() || events.contains(&kind)) && (rooms.is_empty() || rooms.contains(room))
    }

    /// The `webhook-signature` of a message.
    pub fn signature(&self, id: &str, timestamp_s: u64, body: &str) -> String {
        let message = format!("{id}.{timestamp_s}.{body}");
        let tag = hmac::sign(&self.key, message.as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

/// All webhooks.
#[derive(Debug)]
pub struct Webhooks {
    accounts: Arc<Accounts>,
    live: RwLock<Arc<[Arc<Target>]>>,
    changing: Mutex<()>,
}

fn purpose(id: &str) -> String {
    format!("webhook:{id}")
}

fn key(secret: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &Zeroizing::new(bytes)))
}

fn fresh_secret() -> Result<Zeroizing<String>, Problem> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| Problem::internal())?;
    Ok(Zeroizing::new(format!(
        "{PREFIX}{}",
        STANDARD.encode(*bytes)
    )))
}

fn no_such_webhook() -> Problem {
    Problem::not_found("there is no such webhook")
}

/// 422 for what events cannot be posted to.
fn check_url(url: &str) -> Result<(), Problem> {
    let bad = |text: String| Err(Problem::invalid(format!("url: {text}")));
    if url.len() > limits::WEBHOOK_URL_BYTES {
        return bad(format!(
            "at most {} bytes are allowed",
            limits::WEBHOOK_URL_BYTES
        ));
    }
    let Ok(uri) = url.parse::<axum::http::Uri>() else {
        return bad("is no URL".to_owned());
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return bad("must begin with http:// or https://".to_owned());
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if uri.host().unwrap_or_default().is_empty() || authority.contains('@') {
        return bad("must name a host, and no user".to_owned());
    }
    Ok(())
}

impl WebhookChange {
    fn apply(self, info: &mut WebhookInfo) -> Result<(), Problem> {
        info.url = self.url.unwrap_or_else(|| std::mem::take(&mut info.url));
        check_url(&info.url)?;
        info.events = self
            .events
            .unwrap_or_else(|| std::mem::take(&mut info.events));
        info.rooms = self
            .rooms
            .unwrap_or_else(|| std::mem::take(&mut info.rooms));
        info.label = self
            .label
            .unwrap_or_else(|| std::mem::take(&mut info.label));
        let too_many = info.events.len() > limits::WEBHOOK_EVENTS
            || info.rooms.len() > limits::WEBHOOK_ROOMS
            || info.label.len() > limits::LABEL_BYTES;
        if too_many {
            let text = "events, rooms or label: there is more than is allowed";
            return Err(Problem::invalid(text));
        }
        Ok(())
    }
}

impl Webhooks {
    /// The webhooks that are kept beside these accounts.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub fn open(accounts: Arc<Accounts>) -> Result<Self, DocumentError> {
        let mut targets = Vec::new();
        accounts.for_each(Kind::Webhook, |document| {
            match target(&accounts, document) {
                Some(found) => targets.push(Arc::new(found)),
                None => tracing::error!(webhook = document.id, "a webhook cannot be opened"),
            }
        })?;
        Ok(Self {
            accounts,
            live: RwLock::new(targets.into()),
            changing: Mutex::default(),
        })
    }

    /// All of them, in order of their ids.
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, id: &str) -> Result<Arc<Target>, Problem> {
        let targets = self.targets();
        let found = targets.iter().find(|target| target.info.id == id);
        found.cloned().ok_or_else(no_such_webhook)
    }

    /// Puts one in place of the one of its id, or takes that out.
    fn replace(&self, id: &str, target: Option<Target>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let others = live.iter().filter(|target| target.info.id != id).cloned();
        let mut all: Vec<Arc<Target>> = others.chain(target.map(Arc::new)).collect();
        all.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        *live = all.into();
    }

    fn keep(
        &self,
        expected: Expected,
        stored: &Stored,
        key: hmac::Key,
    ) -> Result<Versioned<WebhookInfo>, Problem> {
        let id = stored.info.id.clone();
        let version = self
            .accounts
            .documents()
            .put(Kind::Webhook, &id, expected, &written(stored)?)
            .map_err(refused)?;
        let target = Target {
            info: stored.info.clone(),
            version,
            sealed: stored.sealed.clone(),
            key,
        };
        self.replace(&id, Some(target));
        Ok(Versioned {
            value: stored.info.clone(),
            version,
        })
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// 409 when there are [`limits::WEBHOOKS`] already; 422.
    pub fn create(&self, new: WebhookChange) -> Result<Versioned<WebhookSecret>, Problem> {
        let _changing = self.changing.lock();
        if self.targets().len() >= limits::WEBHOOKS {
            let text = format!("there are {} webhooks already", limits::WEBHOOKS);
            return Err(Problem::limit_reached(text));
        }
        let name = names::random_hex::<6>().map_err(|_| Problem::internal())?;
        let mut info = WebhookInfo {
            id: format!("wh-{name}"),
            created_at_s: now_s(),
            ..WebhookInfo::default()
        };
        new.apply(&mut info)?;
        self.with_secret(Expected::Absent, info)
    }

    /// Keeps a webhook with a new secret.
    fn with_secret(
        &self,
        expected: Expected,
        info: WebhookInfo,
    ) -> Result<Versioned<WebhookSecret>, Problem> {
        let secret = fresh_secret()?;
        let key = key(&secret).ok_or_else(Problem::internal)?;
        let sealed = self.accounts.sealer().seal(&purpose(&info.id), &secret);
        let stored = Stored {
            sealed: sealed.map_err(|_| Problem::internal())?,
            info,
        };
        let kept = self.keep(expected, &stored, key)?;
        Ok(Versioned {
            value: WebhookSecret {
                secret: secret.as_str().to_owned(),
                info: kept.value,
            },
            version: kept.version,
        })
    }

    /// Webhooks in order of their ids.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Page<WebhookInfo> {
        let targets = self.targets();
        let rest = targets
            .iter()
            .map(|target| target.info.clone())
            .filter(|info| after.is_none_or(|after| info.id.as_str() > after));
        Page::of(rest.collect(), limit, |info| info.id.clone())
    }

    /// One webhook.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, id: &str) -> Result<Versioned<WebhookInfo>, Problem> {
        let found = self.find(id)?;
        Ok(Versioned {
            value: found.info.clone(),
            version: found.version,
        })
    }

    fn expected(&self, id: &str, expected: Expected) -> Result<Arc<Target>, Problem> {
        let found = self.find(id)?;
        match expected.met_by(Some(found.version)) {
            true => Ok(found),
            false => Err(refused(DocumentError::Unexpected)),
        }
    }

    /// Changes a webhook.
    ///
    /// # Errors
    /// 404; 412 when it is not as expected; 422.
    pub fn change(
        &self,
        id: &str,
        expected: Expected,
        change: WebhookChange,
    ) -> Result<Versioned<WebhookInfo>, Problem> {
        let _changing = self.changing.lock();
        let found = self.expected(id, expected)?;
        let mut info = found.info.clone();
        change.apply(&mut info)?;
        let stored = Stored {
            sealed: found.sealed.clone(),
            info,
        };
        self.keep(Expected::Version(found.version), &stored, found.key.clone())
    }

    /// Gives a webhook a new secret, and forgets the one before.
    ///
    /// # Errors
    /// 404; 412 when it is not as expected.
    pub fn rotate(
        &self,
        id: &str,
        expected: Expected,
    ) -> Result<Versioned<WebhookSecret>, Problem> {
        let _changing = self.changing.lock();
        let found = self.expected(id, expected)?;
        self.with_secret(Expected::Version(found.version), found.info.clone())
    }

    /// Deletes a webhook.
    ///
    /// # Errors
    /// 404; 412 when it is not as expected.
    pub fn delete(&self, id: &str, expected: Expected) -> Result<(), Problem> {
        let _changing = self.changing.lock();
        let found = self.expected(id, expected)?;
        self.accounts
            .documents()
            .delete(Kind::Webhook, id, Expected::Version(found.version))
            .map_err(refused)?;
        self.replace(id, None);
        Ok(())
    }
}

fn target(accounts: &Accounts, document: &Document) -> Option<Target> {
    let stored: Stored = serde_json::from_str(&document.body).ok()?;
    let secret = accounts
        .sealer()
        .unseal(&purpose(&document.id), &stored.sealed)?;
    Some(Target {
        key: key(&secret)?,
        info: stored.info,
        sealed: stored.sealed,
        version: document.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Keys;

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let target = Target {
            info: WebhookInfo::default(),
            version: 0,
            sealed: String::new(),
            key: key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
        };
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}");
        assert_eq!(
            target.signature(id, 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn only_http_urls_without_users_pass() {
        for good in ["http://127.0.0.1:9/x", "https://example.org/hook?a=b"] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        let long = format!("http://example.org/{}", "x".repeat(3000));
        for bad in [
            "",
            "/hook",
            "example.org",
            "ftp://example.org",
            "file:///etc/passwd",
            "http://",
            "http://user@example.org/",
            "http://user:pass@example.org/",
            "javascript:alert(1)",
            &long,
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn webhooks_and_their_secrets_outlive_the_process() {
        let accounts = Arc::new(Accounts::ephemeral(Keys::default()).unwrap());
        let webhooks = Webhooks::open(Arc::clone(&accounts)).unwrap();
        let new = WebhookChange {
            url: Some("http://127.0.0.1:9/".to_owned()),
            events: Some(vec![EventKind::Published]),
            ..WebhookChange::default()
        };
        let made = webhooks.create(new).unwrap();
        let again = Webhooks::open(accounts).unwrap();
        let sign = |webhooks: &Webhooks| webhooks.targets()[0].signature("a", 1, "b");
        assert_eq!(sign(&webhooks), sign(&again));
        let room = RoomName::parse("r").unwrap();
        assert!(again.targets()[0].wants(&room, EventKind::Published));
        assert!(!again.targets()[0].wants(&room, EventKind::Unpublished));
        let id = made.value.info.id;
        let rotated = again.rotate(&id, Expected::Version(made.version)).unwrap();
        assert_ne!(sign(&webhooks), sign(&again));
        let stale = again
            .delete(&id, Expected::Version(made.version))
            .unwrap_err();
        assert_eq!(stale.kind, "version-mismatch");
        again
            .delete(&id, Expected::Version(rotated.version))
            .unwrap();
        assert!(again.targets().is_empty());
    }
}
