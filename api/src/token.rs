//! Access tokens: JWT (RFC 7519), HS256 only, with LiveKit's claim names, so that existing token
//! code works. `iss` is the API key, `sub` the identity, `video` holds the grants; claims that are
//! not known are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{limits, names};

/// Clocks of issuer and server may differ by this much, in seconds.
pub(crate) const LEEWAY_S: u64 = 10;

/// What a running session is known by to whoever governs tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenRef {
    /// API key that signed the token.
    pub key: String,
    /// Its `jti`; may be empty.
    pub id: String,
}

/// The claims of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// API key that signed it.
    pub iss: String,
    /// Identity of the holder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// Not valid after, in seconds since the Unix epoch.
    pub exp: u64,
    /// Not valid before, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// When it was issued, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Id of the token, by which it can be revoked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Display name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Text that goes with the participant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// Named texts that go with the participant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Until when the holder may have it refreshed, in seconds since the Unix epoch.
    #[serde(rename = "refreshUntil", skip_serializing_if = "Option::is_none")]
    pub refresh_until: Option<u64>,
    /// The grants.
    pub video: Grants,
}

impl Claims {
    /// When it was issued, as well as it says so; 0 where it does not.
    pub fn issued_at_s(&self) -> u64 {
        self.iat.or(self.nbf).unwrap_or(0)
    }

    /// The token that holds these.
    pub fn token_ref(&self) -> TokenRef {
        TokenRef {
            key: self.iss.clone(),
            id: self.jti.clone(),
        }
    }
}

/// What a token allows. The `can…` grants are allowed when absent; all others are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Grants {
    /// May join `room`.
    #[serde(skip_serializing_if = "is_false")]
    pub room_join: bool,
    /// The room that `room_join` and `room_admin` are about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub room: String,
    /// May publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// May play.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// May send data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// `camera`, `microphone`, `screen_share`, `screen_share_audio`; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub can_publish_sources: Vec<String>,
    /// May change its own metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_update_own_metadata: Option<bool>,
    /// May see and govern `room`.
    #[serde(skip_serializing_if = "is_false")]
    pub room_admin: bool,
    /// The room that what `room_admin` governs may be moved or forwarded to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination_room: String,
    /// May create rooms.
    #[serde(skip_serializing_if = "is_false")]
    pub room_create: bool,
    /// May list rooms and see all of them.
    #[serde(skip_serializing_if = "is_false")]
    pub room_list: bool,
    /// Is not shown to others.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// May do what only the holder of a key may: manage keys, users, tokens and webhooks, and
    /// govern every room. Ion's own.
    #[serde(skip_serializing_if = "is_false")]
    pub server_admin: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Why a token is refused. All of these are 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON inside, or larger than [`limits::TOKEN_BYTES`].
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm other than HS256; `none` and RS256 among them.
    #[error("the token is not signed by HS256")]
    Algorithm,
    /// `iss` is no API key of this server.
    #[error("the token's `iss` is no API key of this server")]
    ForeignKey,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `exp` is more than [`limits::TOKEN_TTL_S`] after it was issued: revocations are not kept for longer.
    #[error("the token is good for more than 366 days")]
    TooLong,
    /// `exp` is missing or no number.
    #[error("the token has no usable `exp`")]
    NoExpiry,
    /// It was revoked, or its holder was kicked or may not come in any more.
    #[error("the token was revoked")]
    Revoked,
}

/// Whether `exp` is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The token must not have expired.
    Enforce,
    /// A token admits its holder; what was begun with it may be ended and repaired later.
    Ignore,
}

/// An API secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The API keys of this server and their secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    secrets: BTreeMap<String, Secret>,
    first: Option<String>,
}

impl Keys {
    /// Adds a key, or replaces its secret.
    pub fn insert(&mut self, key: impl Into<String>, secret: impl Into<String>) {
        let key = key.into();
        self.first.get_or_insert_with(|| key.clone());
        self.secrets.insert(key, Secret(secret.into()));
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// Length of the shortest secret, in bytes.
    pub fn shortest_secret_bytes(&self) -> Option<usize> {
        self.secrets.values().map(|secret| secret.0.len()).min()
    }

    /// The key that was added first, and its secret.
    pub fn first(&self) -> Option<(&str, &str)> {
        let key = self.first.as_deref()?;
        self.secrets.get(key).map(|secret| (key, secret.0.as_str()))
    }

    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// See [`TokenError`]; the signature is checked before the times are.
    pub fn verify(&self, token: &str, expiry: Expiry) -> Result<Claims, TokenError> {
        let issuer = issuer(token)?;
        let secret = self.secret(&issuer).ok_or(TokenError::ForeignKey)?;
        verify_with(token, secret, expiry)
    }

    /// The secret of a key.
    pub(crate) fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(|secret| secret.0.as_str())
    }
}

/// The key that a token says it was signed with. Only to find the secret to verify it by; nothing
/// of it is believed.
pub(crate) fn issuer(token: &str) -> Result<String, TokenError> {
    if token.len() > limits::TOKEN_BYTES || !looks_like_jwt(token) {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Algorithm)?;
    if header.alg != Algorithm::HS256 {
        return Err(TokenError::Algorithm);
    }
    jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map(|unverified: Issuer| unverified.iss)
        .map_err(|_| TokenError::Malformed)
}

/// The claims of a token that was signed with `secret`.
pub(crate) fn verify_with(token: &str, secret: &str, expiry: Expiry) -> Result<Claims, TokenError> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.validate_aud = false;
    validation.validate_exp = expiry == Expiry::Enforce;
    validation.set_required_spec_claims(&["exp"]);
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
        .map(|data| data.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYetValid,
            ErrorKind::MissingRequiredClaim(_) => TokenError::NoExpiry,
            ErrorKind::InvalidClaimFormat(claim) if claim == "exp" => TokenError::NoExpiry,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
    let now = now_s();
    // A token from the future would outlive every revocation until then.
    if claims.iat.is_some_and(|iat| iat > now + LEEWAY_S) {
        return Err(TokenError::NotYetValid);
    }
    // Where it does not say when it was issued, it may have been just now.
    let issued = claims.iat.or(claims.nbf).unwrap_or(now + LEEWAY_S);
    match claims.exp > issued.saturating_add(limits::TOKEN_TTL_S) {
        true => Err(TokenError::TooLong),
        false => Ok(claims),
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now_s() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl<K: Into<String>, S: Into<String>> FromIterator<(K, S)> for Keys {
    fn from_iter<I: IntoIterator<Item = (K, S)>>(pairs: I) -> Self {
        let mut keys = Self::default();
        for (key, secret) in pairs {
            keys.insert(key, secret);
        }
        keys
    }
}

#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: String,
}

/// Whether a bearer is meant to be a JWT: three parts, the first of them a JSON object.
pub fn looks_like_jwt(bearer: &str) -> bool {
    let mut parts = bearer.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(json) = URL_SAFE_NO_PAD.decode(header.trim_end_matches('=')) else {
        return false;
    };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json).is_ok()
}

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed")]
pub struct MintError;

/// Signs a token with `key` and `secret`, valid for `ttl` from now. `iss`, `nbf` and `exp` of
/// `claims` are overwritten, and `iat` where it is not later; without a `jti` it gets one.
///
/// # Errors
/// When the system clock stands before 1970 or the claims cannot be signed.
pub fn mint(
    key: &str,
    secret: &str,
    mut claims: Claims,
    ttl: Duration,
) -> Result<String, MintError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| MintError)?
        .as_secs();
    claims.iss = key.to_owned();
    claims.iat = claims.iat.max(Some(now));
    claims.nbf = Some(now);
    if claims.jti.is_empty() {
        claims.jti = names::random_hex::<16>().map_err(|_| MintError)?;
    }
    claims.exp = now.saturating_add(ttl.as_secs());
    sign(secret, &claims)
}

/// Signs claims as they stand.
///
/// # Errors
/// When the claims cannot be signed.
pub fn sign(secret: &str, claims: &Claims) -> Result<String, MintError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).map_err(|_| MintError)
}
