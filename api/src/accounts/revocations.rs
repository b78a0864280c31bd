//! Tokens that are no good any more, though they verify and have not expired.
//!
//! A revocation names whom it is about and a time: tokens that say they were issued up to then are
//! refused, later ones pass. Whoever is to come back gets a new token. The time is ahead of the
//! server's clock by as much as an issuer's may be, or a token of a fast clock would outlive it;
//! tokens that this server issues meanwhile are dated after it ([`Accounts::issue`]).
//!
//! No token is good for longer than [`limits::TOKEN_TTL_S`], so that a revocation can be forgotten when
//! the last token that it is about has expired.

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
    /// When it is forgotten, as all these tokens have expired.
    pub forgotten_at_s: u64,
    /// Why, for people.
    pub reason: String,
}

/// A revocation as requests need it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revoked {
    until_s: u64,
    forgotten_at_s: u64,
}

impl Revoked {
    fn is_forgotten(self, now_s: u64) -> bool {
        self.forgotten_at_s < now_s
    }

    #[cfg(test)]
    pub(super) fn expire(&mut self) {
        self.forgotten_at_s = 0;
    }
}

pub(super) fn revoked(document: &Document) -> Option<Revoked> {
    let found: RevocationInfo = serde_json::from_str(&document.body).ok()?;
    Some(Revoked {
        until_s: found.issued_until_s,
        forgotten_at_s: found.forgotten_at_s,
    })
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
            .map(|revoked| revoked.until_s)
            .max()
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
        if self.live().revoked.len() >= limits::REVOCATIONS {
            self.forget()?;
        }
        let known = self.live().revoked.len();
        if known >= limits::REVOCATIONS && !self.live().revoked.contains_key(&id) {
            return Err(Problem::limit_reached(format!(
                "there are {known} revocations: take some back, or rotate a key"
            )));
        }
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(limits::LABEL_BYTES));
        let now = now_s();
        let (issued_until_s, begins_at_s) = match subject {
            // A token is revoked as a whole, whenever it was issued, be it one that begins in a year.
            Subject::Token(_) => (WHENEVER_S, now + limits::TOKEN_TTL_S),
            _ => (now + LEEWAY_S - 1, now + LEEWAY_S),
        };
        let revocation = RevocationInfo {
            id: id.clone(),
            issued_until_s,
            forgotten_at_s: begins_at_s + limits::TOKEN_TTL_S + LEEWAY_S,
            reason,
        };
        let body = written(&revocation)?;
        self.documents
            .put(Kind::Revocation, &id, Expected::Any, &body)
            .map_err(refused)?;
        let revoked = Revoked {
            until_s: issued_until_s,
            forgotten_at_s: revocation.forgotten_at_s,
        };
        self.live_mut().revoked.insert(id, revoked);
        Ok(revocation)
    }

    /// Forgets revocations that are about no token any more; the caller holds `changing`, or nobody
    /// else knows of `self` yet.
    pub(super) fn forget(&self) -> Result<(), Problem> {
        let now = now_s();
        let live = self.live();
        let over = live.revoked.iter().filter(|(_, one)| one.is_forgotten(now));
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        drop(live);
        for id in over {
            self.documents
                .delete(Kind::Revocation, &id, Expected::Any)
                .map_err(refused)?;
            self.live_mut().revoked.remove(&id);
        }
        Ok(())
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
