//! The bodies of `/v1/keys`, `/v1/users`, `/v1/tokens` and `/v1/revocations`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::accounts::{
    KeyChange, KeyInfo, KeyLimits, KeySecret, NewKey, RevocationInfo, UserChange, UserInfo,
};
use crate::names::{Identity, RoomName};
use crate::token::Grants;

/// A page of API keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyList {
    /// The keys, in order.
    pub keys: Vec<KeyInfo>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the sessions of a key take now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyUsage {
    /// Participants, publishers and viewers.
    pub participants: u32,
    /// Rooms that they are in, or that were made with the key.
    pub rooms: u32,
    /// Bits per second that they publish together, over the last seconds.
    pub published_bitrate_bps: u64,
}

/// How to replace a secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rotation {
    /// For how long the secret before is still accepted.
    #[schema(maximum = 2_592_000, default = 0)]
    pub grace_s: u64,
}

/// A page of users.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserList {
    /// The users, in order of their identities.
    pub users: Vec<UserInfo>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A token to be issued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Who will hold it. For a user of this server, what is absent below is taken from the user.
    #[schema(value_type = String, pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1, max_length = 128)]
    pub identity: Identity,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub name: Option<String>,
    /// Text that goes with the participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub metadata: Option<String>,
    /// Named texts that go with the participant; at most 32, together at most 4096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// What it allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
    /// How long it admits, seconds; an hour where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31_622_400)]
    pub ttl_s: Option<u64>,
    /// For how long its holder may have it refreshed, seconds; not at all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31_622_400)]
    pub refresh_for_s: Option<u64>,
}

/// A token that was issued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// To be sent as `Authorization: Bearer`.
    pub token: String,
    /// Its `jti`, by which it can be revoked.
    pub id: String,
    /// Not valid after.
    pub expires_at_s: u64,
    /// Until when its holder may have it refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_until_s: Option<u64>,
}

/// The token that is asked about (RFC 7662 §2.1).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IntrospectionRequest {
    /// The token.
    pub token: String,
}

/// What is known of a token (RFC 7662 §2.2). Of one that is not active, nothing more is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Introspection {
    /// Whether it admits its holder now.
    pub active: bool,
    /// Grants that are set, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The API key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Not valid after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Not valid before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Identity of the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The API key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The grants in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<Grants>,
}

/// Whose tokens to revoke: `token` alone, `room`, `identity`, or both of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewRevocation {
    /// The `jti` of one token.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Identity>,
    /// All of a user's tokens; with `room`, only those for it.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// All tokens for a room.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Why, for people.
    #[schema(max_length = 256)]
    pub reason: String,
}

/// A page of revocations.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationList {
    /// The revocations, in order of their ids.
    pub revocations: Vec<RevocationInfo>,
    /// Cursor of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
