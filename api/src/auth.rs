//! Who is asking, and whether they may.
//!
//! 401 says that the token is missing or no good, 403 that it is good and does not allow this. With
//! `dev`, a bearer that is no JWT, or none, is a guest who may do everything; a JWT is verified all
//! the same, so that a program under development meets the refusals it will meet later.

use axum::http::{HeaderMap, StatusCode, header};

use std::sync::Arc;

use crate::accounts::{Accounts, Quota};
use crate::backend::{Participant, Sources};
use crate::names::{self, Identity, RoomName};
use crate::problem::Problem;
use crate::token::{self, Claims, Expiry, TokenError};

const CHALLENGE: &str = "Bearer realm=\"ion\"";
const INVALID_TOKEN: &str = "Bearer realm=\"ion\", error=\"invalid_token\"";
const INVALID_REQUEST: &str = "Bearer realm=\"ion\", error=\"invalid_request\"";
const INSUFFICIENT_SCOPE: &str = "Bearer realm=\"ion\", error=\"insufficient_scope\"";

/// Decides on requests by their `Authorization` header.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Keys that tokens may be signed with, and what was revoked.
    pub accounts: Arc<Accounts>,
    /// Whether guests may come in.
    pub dev: bool,
}

/// Who asks.
pub(crate) enum Caller {
    Guest(Option<String>),
    Token(Box<Claims>),
}

impl Caller {
    /// The key that its token was signed with.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Guest(_) => None,
            Self::Token(claims) => Some(&claims.iss),
        }
    }
}

impl Auth {
    /// May the caller publish to `room`, as whom, and what?
    ///
    /// # Errors
    /// 401 or 403, as for all methods here.
    pub fn publisher(
        &self,
        headers: &HeaderMap,
        room: &RoomName,
    ) -> Result<(Participant, Sources), Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(bearer) => Ok((
                guest(bearer)?,
                Sources {
                    video: true,
                    audio: true,
                },
            )),
            Caller::Token(claims) => {
                joins(&claims, room)?;
                if claims.video.can_publish == Some(false) {
                    return Err(lacking("`canPublish`"));
                }
                Ok((
                    self.participant(&claims)?,
                    sources(&claims.video.can_publish_sources),
                ))
            }
        }
    }

    /// May the caller play from `room`, and as whom?
    ///
    /// # Errors
    /// 401 or 403.
    pub fn player(&self, headers: &HeaderMap, room: &RoomName) -> Result<Participant, Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(bearer) => guest(bearer),
            Caller::Token(claims) => {
                joins(&claims, room)?;
                if claims.video.can_subscribe == Some(false) {
                    return Err(lacking("`canSubscribe`"));
                }
                self.participant(&claims)
            }
        }
    }

    /// A participant as its token describes it.
    ///
    /// # Errors
    /// 401 where `sub` is no identity.
    pub(crate) fn participant(&self, claims: &Claims) -> Result<Participant, Problem> {
        let identity = Identity::parse(&claims.sub)
            .map_err(|e| invalid(&format!("the token's `sub` {e}"), INVALID_TOKEN))?;
        Ok(Participant {
            identity,
            name: names::display_name(&claims.name),
            hidden: claims.video.hidden,
            passes_lobby: claims.video.room_admin,
            token: Some(claims.token_ref()),
            quota: self.accounts.quota(&claims.iss),
        })
    }

    /// May the caller change or end a session of `room`? The unguessable session id is the
    /// permission; a token, where one is shown, must be genuine and for the same room. It may have
    /// expired since: tokens admit, and a long stream must still be able to end in order.
    ///
    /// # Errors
    /// 401 or 403.
    pub fn session(&self, headers: &HeaderMap, room: &RoomName) -> Result<(), Problem> {
        if bearer(headers)?.is_none() {
            return Ok(());
        }
        match self.caller(headers, Expiry::Ignore)? {
            Caller::Guest(_) => Ok(()),
            Caller::Token(claims) if governs(&claims, room) => Ok(()),
            Caller::Token(claims) => joins(&claims, room),
        }
    }

    /// May the caller list rooms and see the server's status?
    ///
    /// # Errors
    /// 401 or 403.
    pub fn lister(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(_) => Ok(()),
            Caller::Token(claims) if lists(&claims) => Ok(()),
            Caller::Token(_) => Err(lacking("`roomList`")),
        }
    }

    /// May the caller see into `room`?
    ///
    /// # Errors
    /// 401 or 403.
    pub fn inspector(&self, headers: &HeaderMap, room: &RoomName) -> Result<(), Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(_) => Ok(()),
            Caller::Token(claims) if lists(&claims) || governs(&claims, room) => Ok(()),
            Caller::Token(_) => Err(lacking("`roomAdmin` for this room, or `roomList`")),
        }
    }

    /// May the caller create rooms?
    ///
    /// # Errors
    /// 401 or 403.
    pub(crate) fn creator(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = self.caller(headers, Expiry::Enforce)?;
        match &caller {
            Caller::Token(claims) if !creates(claims) => Err(lacking("`roomCreate`")),
            _ => Ok(caller),
        }
    }

    /// May the caller bring participants or publications into `room`, which may not be there yet? To
    /// make rooms is another matter: it gives no say in those of others.
    ///
    /// # Errors
    /// 401 or 403.
    pub fn opener(&self, headers: &HeaderMap, room: &RoomName) -> Result<(), Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(_) => Ok(()),
            Caller::Token(claims) if claims.video.destination_room == room.as_str() => Ok(()),
            Caller::Token(claims) if governs(&claims, room) => Ok(()),
            Caller::Token(_) => Err(lacking("`destinationRoom` that is the other room")),
        }
    }

    /// May the caller govern `room`?
    ///
    /// # Errors
    /// 401 or 403.
    pub fn governor(&self, headers: &HeaderMap, room: &RoomName) -> Result<(), Problem> {
        match self.caller(headers, Expiry::Enforce)? {
            Caller::Guest(_) => Ok(()),
            Caller::Token(claims) if governs(&claims, room) => Ok(()),
            Caller::Token(_) => Err(lacking("`roomAdmin` for this room")),
        }
    }

    /// May the caller do what only the holder of a key may?
    ///
    /// # Errors
    /// 401 or 403.
    pub(crate) fn key_holder(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = self.caller(headers, Expiry::Enforce)?;
        match &caller {
            Caller::Token(claims) if !claims.video.server_admin => {
                Err(lacking("`serverAdmin`, which only the holder of a key has"))
            }
            _ => Ok(caller),
        }
    }

    /// Who is asking?
    ///
    /// # Errors
    /// 401; 429 when the key's rate is used up.
    pub(crate) fn caller(&self, headers: &HeaderMap, expiry: Expiry) -> Result<Caller, Problem> {
        let bearer = bearer(headers)?;
        match bearer {
            Some(token) if !self.dev || token::looks_like_jwt(token) => {
                let claims = self.accounts.verify(token, expiry).map_err(refused)?;
                self.accounts.admit(&claims.iss).map_err(|seconds| {
                    let text = "the tokens of this key ask too often";
                    Problem::key_limit(text, seconds)
                })?;
                Ok(Caller::Token(Box::new(claims)))
            }
            None if !self.dev => Err(missing()),
            guest => Ok(Caller::Guest(guest.map(str::to_owned))),
        }
    }
}

/// The bearer token of a request; `None` without one, with an empty one, or with another scheme.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(
            "there is more than one Authorization header",
            INVALID_REQUEST,
        ));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("the Authorization header is no ASCII text", INVALID_REQUEST))?;
    let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let token = token.trim();
    Ok((scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token))
}

fn missing() -> Problem {
    let mut problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "token-missing",
        "A token is needed",
        "send `Authorization: Bearer <token>`; `ion token create` makes one",
    );
    // RFC 6750 §3.1: no error code when no token was sent.
    problem.www_authenticate = Some(CHALLENGE);
    problem
}

fn invalid(detail: &str, challenge: &'static str) -> Problem {
    let mut problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "token-invalid",
        "The token is not accepted",
        detail,
    );
    problem.www_authenticate = Some(challenge);
    problem
}

fn refused(error: TokenError) -> Problem {
    let mut problem = invalid(&error.to_string(), INVALID_TOKEN);
    match error {
        TokenError::Expired => {
            problem.kind = "token-expired";
            problem.title = "The token has expired";
        }
        TokenError::Revoked => {
            problem.kind = "token-revoked";
            problem.title = "The token was revoked";
        }
        _ => {}
    }
    problem
}

fn lacking(grant: &str) -> Problem {
    let mut problem = Problem::forbidden(format!("the token lacks the grant {grant}"));
    problem.www_authenticate = Some(INSUFFICIENT_SCOPE);
    problem
}

fn governs(claims: &Claims, room: &RoomName) -> bool {
    let video = &claims.video;
    video.server_admin || (video.room_admin && video.room == room.as_str())
}

fn creates(claims: &Claims) -> bool {
    claims.video.room_create || claims.video.server_admin
}

fn lists(claims: &Claims) -> bool {
    claims.video.room_list || claims.video.server_admin
}

pub(crate) fn joins(claims: &Claims, room: &RoomName) -> Result<(), Problem> {
    if !claims.video.room_join {
        return Err(lacking("`roomJoin`"));
    }
    if claims.video.room != room.as_str() {
        let mut problem = Problem::forbidden("the token is for another room");
        problem.www_authenticate = Some(INSUFFICIENT_SCOPE);
        return Err(problem);
    }
    Ok(())
}

/// A guest is called by its bearer where that is a name, else by a random one.
pub(crate) fn guest(bearer: Option<String>) -> Result<Participant, Problem> {
    let named = bearer
        .as_deref()
        .and_then(|bearer| Identity::parse(bearer).ok());
    let identity = match named {
        Some(identity) => identity,
        None => {
            let mut bytes = [0u8; 4];
            getrandom::fill(&mut bytes).map_err(|_| Problem::internal())?;
            let name = format!("guest-{}", names::hex(&bytes));
            Identity::parse(&name).map_err(|_| Problem::internal())?
        }
    };
    let name = identity.as_str().to_owned();
    Ok(Participant {
        identity,
        name,
        hidden: false,
        passes_lobby: true,
        token: None,
        quota: Quota::default(),
    })
}

fn sources(list: &[String]) -> Sources {
    let any = |names: &[&str]| {
        list.is_empty()
            || list
                .iter()
                .any(|s| names.iter().any(|n| s.eq_ignore_ascii_case(n)))
    };
    Sources {
        video: any(&["camera", "screen_share"]),
        audio: any(&["microphone", "screen_share_audio"]),
    }
}

#[cfg(test)]
mod tests;
