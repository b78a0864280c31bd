//! Users: what tokens issued to an identity hold, and whether it may come in at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Accounts, Page, Versioned, now_s, read, refused, written};
use crate::documents::{Document, DocumentError, Expected, Kind};
use crate::limits;
use crate::names::{self, Identity};
use crate::problem::Problem;
use crate::token::Grants;

/// A user. Nobody needs to be one: tokens may be issued to any identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserInfo {
    /// The `sub` of the user's tokens.
    pub identity: String,
    /// Display name in tokens that are issued without one.
    pub name: String,
    /// Metadata in tokens that are issued without any.
    pub metadata: String,
    /// Attributes in tokens that are issued without any.
    pub attributes: BTreeMap<String, String>,
    /// Grants in tokens that are issued without any.
    pub grants: Grants,
    /// Whether the user's tokens are refused and none are issued.
    pub disabled: bool,
    /// When it was made.
    pub created_at_s: u64,
    /// When it was last changed.
    pub updated_at_s: u64,
}

/// `POST /v1/users` and `PATCH /v1/users/{identity}`: what is absent stays, or is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UserChange {
    /// The `sub` of the user's tokens: needed by POST, and not to be changed.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Display name; at most 256 bytes.
    #[schema(max_length = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free text; at most 4096 bytes.
    #[schema(max_length = 4096)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Named texts; at most 32, together at most 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
    /// Whether the user's tokens are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

impl UserChange {
    fn apply(self, user: &mut UserInfo) -> Result<(), Problem> {
        if let Some(name) = self.name {
            user.name = names::display_name(&name);
        }
        if let Some(metadata) = self.metadata {
            check_metadata(&metadata)?;
            user.metadata = metadata;
        }
        if let Some(attributes) = self.attributes {
            check_attributes(&attributes)?;
            user.attributes = attributes;
        }
        user.grants = self
            .grants
            .unwrap_or_else(|| std::mem::take(&mut user.grants));
        check_grants(&user.grants)?;
        user.disabled = self.disabled.unwrap_or(user.disabled);
        user.updated_at_s = now_s();
        Ok(())
    }
}

/// 422 for metadata that is too long.
pub(crate) fn check_metadata(metadata: &str) -> Result<(), Problem> {
    if metadata.len() > limits::METADATA_BYTES {
        let max = limits::METADATA_BYTES;
        return Err(Problem::invalid(format!(
            "metadata: at most {max} bytes are allowed"
        )));
    }
    Ok(())
}

/// 422 for attributes that are too many or too long.
pub(crate) fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), Problem> {
    let bytes: usize = attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    if attributes.len() > limits::ATTRIBUTES || bytes > limits::METADATA_BYTES {
        return Err(Problem::invalid(format!(
            "attributes: at most {} of together {} bytes are allowed",
            limits::ATTRIBUTES,
            limits::METADATA_BYTES
        )));
    }
    Ok(())
}

/// 422 for grants that no token could hold.
pub(crate) fn check_grants(grants: &Grants) -> Result<(), Problem> {
    let rooms = [
        ("room", &grants.room),
        ("destinationRoom", &grants.destination_room),
    ];
    for (name, room) in rooms.iter().filter(|(_, room)| !room.is_empty()) {
        names::RoomName::parse(room)
            .map_err(|error| Problem::invalid(format!("grants.{name} {error}")))?;
    }
    let sources = &grants.can_publish_sources;
    if sources.len() > limits::SOURCES || sources.iter().any(|s| s.len() > limits::SOURCE_BYTES) {
        return Err(Problem::invalid("grants.canPublishSources: too many"));
    }
    Ok(())
}

/// Whether a stored user may not come in. One that cannot be read may not.
pub(super) fn is_disabled(document: &Document) -> bool {
    serde_json::from_str::<UserInfo>(&document.body).map_or(true, |user| user.disabled)
}

fn no_such_user(identity: &Identity) -> Problem {
    Problem::not_found(format!("there is no user called {identity}"))
}

impl Accounts {
    /// Makes a user.
    ///
    /// # Errors
    /// 409 when there is one of this identity, or too many; 422 for texts that are too long.
    pub fn create_user(&self, mut new: UserChange) -> Result<Versioned<UserInfo>, Problem> {
        let identity = new
            .identity
            .take()
            .ok_or_else(|| Problem::invalid("identity: is needed"))?;
        let mut user = UserInfo {
            identity: identity.as_str().to_owned(),
            created_at_s: now_s(),
            ..UserInfo::default()
        };
        new.apply(&mut user)?;
        let _changing = self.changing();
        if self.documents.count(Kind::User).map_err(refused)? >= limits::USERS {
            let text = format!("there are {} users already", limits::USERS);
            return Err(Problem::limit_reached(text));
        }
        self.keep_user(user, Expected::Absent)
    }

    fn keep_user(
        &self,
        user: UserInfo,
        expected: Expected,
    ) -> Result<Versioned<UserInfo>, Problem> {
        let body = written(&user)?;
        let result = self
            .documents
            .put(Kind::User, &user.identity, expected, &body);
        let version = result.map_err(|error| match (error, expected) {
            (DocumentError::Unexpected, Expected::Absent) => {
                Problem::conflict(format!("there is a user called {}", user.identity))
            }
            _ => refused(error),
        })?;
        let mut live = self.live_mut();
        match user.disabled {
            true => live.disabled.insert(user.identity.clone()),
            false => live.disabled.remove(&user.identity),
        };
        Ok(Versioned {
            value: user,
            version,
        })
    }

    /// Users in order of their identities.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub fn users(&self, after: Option<&str>, limit: usize) -> Result<Page<UserInfo>, Problem> {
        let found = self
            .documents
            .list(Kind::User, after, limit.saturating_add(1))
            .map_err(refused)?;
        let users = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(users, limit, |user: &UserInfo| {
            user.identity.clone()
        }))
    }

    /// One user, `None` when there is none.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub fn find_user(&self, identity: &Identity) -> Result<Option<Versioned<UserInfo>>, Problem> {
        let found = self
            .documents
            .get(Kind::User, identity.as_str())
            .map_err(refused)?;
        found
            .map(|document| {
                Ok(Versioned {
                    value: read(&document)?,
                    version: document.version,
                })
            })
            .transpose()
    }

    /// One user.
    ///
    /// # Errors
    /// 404.
    pub fn user(&self, identity: &Identity) -> Result<Versioned<UserInfo>, Problem> {
        self.find_user(identity)?
            .ok_or_else(|| no_such_user(identity))
    }

    /// Changes a user; what it may do in rooms changes with its next token.
    ///
    /// # Errors
    /// 404; 412 when it is not as expected; 422.
    pub fn change_user(
        &self,
        identity: &Identity,
        expected: Expected,
        change: UserChange,
    ) -> Result<Versioned<UserInfo>, Problem> {
        if change.identity.as_ref().is_some_and(|new| new != identity) {
            return Err(Problem::invalid("identity: cannot be changed"));
        }
        let _changing = self.changing();
        let mut found = self.user(identity)?;
        if !expected.met_by(Some(found.version)) {
            return Err(refused(DocumentError::Unexpected));
        }
        change.apply(&mut found.value)?;
        self.keep_user(found.value, Expected::Version(found.version))
    }

    /// Deletes a user, whose tokens are revoked, lest they outlive it.
    ///
    /// # Errors
    /// 404; 412 when it is not as expected.
    pub fn delete_user(&self, identity: &Identity, expected: Expected) -> Result<(), Problem> {
        let found = self.user(identity)?;
        if !expected.met_by(Some(found.version)) {
            return Err(refused(DocumentError::Unexpected));
        }
        self.revoke(&super::Subject::User(identity.clone()), "user deleted")?;
        let _changing = self.changing();
        let deleted = self
            .documents
            .delete(Kind::User, identity.as_str(), expected)
            .map_err(refused)?;
        self.live_mut().disabled.remove(identity.as_str());
        deleted.then_some(()).ok_or_else(|| no_such_user(identity))
    }
}
