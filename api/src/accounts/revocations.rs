//! Tokens that are no good any more, though they verify and have not expired.
//!
//! A revocation names whom it is about and a time: tokens that say they were issued up to then are
//! refused, later ones pass. Whoever is to come back gets a new token. The time is ahead of the
//! server's clock by as much as an issuer's may be, or a token of a fast clock would outlive it;
//! tokens that this server issues meanwhile are dated after it ([`Accounts::issue`]).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Accounts, Live, Page, now_s, read, refused, written};
use crate::documents::{Document, Expected, Kind};
use crate::limits;
use crate::names::{Identity, RoomName};
use crate::problem::Problem;
use crate::token::{Claims, LEEWAY_S};

/// Whose tokens are revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The tokens of one `jti`.
    Token(Identity),
    /// All of a user's.
    User(Identity),
    /// All for a room.
    Room(RoomName),
    /// A user's for one room: whoever is kicked.
    Participant(RoomName, Identity),
}

impl Subject {
    /// How it is called in the store and in paths. A comma stands in no name, so no two subjects
    /// share an id.
    pub fn id(&self) -> String {
        match self {
            Self::Token(jti) => format!("token:{jti}"),
            Self::User(identity) => format!("user:{identity}"),
            Self::Room(room) => format!("room:{room}"),
            Self::Participant(room, identity) => participant_id(room.as_str(), identity.as_str()),
        }
    }
}

fn participant_id(room: &str, identity: &str) -> String {
    format!("participant:{room},{identity}")
}

/// Later than any token is issued, and a number that JavaScript can hold.
const WHENEVER_S: u64 = u32::MAX as u64;

/// A revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RevocationInfo {
    /// What to call it when it is taken back.
    pub id: String,
    /// Tokens issued up to this time are refused: ten seconds ahead, as clocks differ.
    pub issued_until_s: u64,
    /// Why, for people.
    pub reason: String,
}

pub(super) fn until(document: &Document) -> Option<u64> {
    serde_json::from_str::<RevocationInfo>(&document.body)
        .ok()
        .map(|revocation| revocation.issued_until_s)
}

impl Live {
    pub(super) fn is_revoked(&self, claims: &Claims) -> bool {
        let until = self.revoked_until(claims);
        until.is_some_and(|until| claims.issued_at_s() <= until)
    }

    /// Tokens like this one that were issued up to then are refused.
    pub(super) fn revoked_until(&self, claims: &Claims) -> Option<u64> {
        if self.revoked.is_empty() {
            return None;
        }
        let (jti, sub, room) = (&claims.jti, &claims.sub, &claims.video.room);
        let ids = [
            format!("token:{jti}"),
            format!("user:{sub}"),
            format!("room:{room}"),
            participant_id(room, sub),
        ];
        ids.iter()
            .filter_map(|id| self.revoked.get(id))
            .max()
            .copied()
    }
}

impl Accounts {
    /// Revokes tokens from now on. What is revoked already is so up to now.
    ///
    /// # Errors
    /// 409 when there are [`limits::REVOCATIONS`]; 503 when the store fails.
    pub fn revoke(&self, subject: &Subject, reason: &str) -> Result<RevocationInfo, Problem> {
        let _changing = self.changing();
        let id = subject.id();
        let known = self.live().revoked.len();
        if known >= limits::REVOCATIONS && !self.live().revoked.contains_key(&id) {
            return Err(Problem::limit_reached(format!(
                "there are {known} revocations: take back those whose tokens have expired, or \
                 rotate a key"
            )));
        }
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(limits::LABEL_BYTES));
        // A token is revoked as a whole, whenever it was issued.
        let issued_until_s = match subject {
            Subject::Token(_) => WHENEVER_S,
            _ => now_s() + LEEWAY_S - 1,
        };
        let revocation = RevocationInfo {
            id: id.clone(),
            issued_until_s,
            reason,
        };
        let body = written(&revocation)?;
        self.documents
            .put(Kind::Revocation, &id, Expected::Any, &body)
            .map_err(refused)?;
        self.live_mut().revoked.insert(id, issued_until_s);
        Ok(revocation)
    }

    /// Revocations in order of their ids.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub fn revocations(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RevocationInfo>, Problem> {
        let found = self
            .documents
            .list(Kind::Revocation, after, limit.saturating_add(1))
            .map_err(refused)?;
        let all = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(all, limit, |one: &RevocationInfo| one.id.clone()))
    }

    /// Takes a revocation back.
    ///
    /// # Errors
    /// 404; 503 when the store fails.
    pub fn unrevoke(&self, id: &str) -> Result<(), Problem> {
        let _changing = self.changing();
        let found = self
            .documents
            .delete(Kind::Revocation, id, Expected::Any)
            .map_err(refused)?;
        self.live_mut().revoked.remove(id);
        found
            .then_some(())
            .ok_or_else(|| Problem::not_found("there is no such revocation"))
    }
}
