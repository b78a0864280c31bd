//! `/v1/tokens` and `/v1/revocations`.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::extract::{Body, Holder, Name, Part, listed};
use super::params::PageQuery;
use super::{Described, resource};
use crate::accounts::{self, Subject};
use crate::auth::Caller;
use crate::backend::Backend;
use crate::exchange::{self, App, Made, State};
use crate::limits;
use crate::model::access::{
    Introspection, IntrospectionRequest, IssuedToken, NewRevocation, NewToken, RevocationInfo,
    RevocationList,
};
use crate::names;
use crate::problem::Problem;
use crate::token::{Claims, Expiry};

pub(super) fn routes<B: Backend>() -> Described<B> {
    OpenApiRouter::new()
        .routes(resource!(issue))
        .routes(resource!(refresh))
        .routes(resource!(introspect))
        .routes(resource!(revocations, revoke))
        .routes(resource!(unrevoke))
}

fn subject(new: &NewRevocation) -> Result<Subject, Problem> {
    match (&new.token, &new.identity, &new.room) {
        (Some(jti), None, None) => Ok(Subject::Token(jti.clone())),
        (None, Some(identity), None) => Ok(Subject::User(identity.clone())),
        (None, None, Some(room)) => Ok(Subject::Room(room.clone())),
        (None, Some(identity), Some(room)) => {
            Ok(Subject::Participant(room.clone(), identity.clone()))
        }
        _ => Err(Problem::invalid(
            "give token alone, or room, identity, or both of these",
        )),
    }
}

/// Issue a token
///
/// Signed with the caller's key. Whoever holds a secret may as well sign tokens without this server.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "issueToken", tag = "tokens",
    request_body = NewToken,
    responses(
        (status = 201, body = IssuedToken, description = "The token"),
        (status = 409, description = "The user is disabled, or there is no key to sign with"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn issue<B: Backend>(
    axum::extract::State(app): State<B>,
    Holder(caller): Holder,
    Body(new): Body<NewToken>,
) -> Result<Response, Problem> {
    let seconds = |value: Option<u64>, what: &str| match value {
        Some(s) if !(1..=limits::TOKEN_TTL_S).contains(&s) => {
            let max = limits::TOKEN_TTL_S;
            Err(Problem::invalid(format!("{what}: 1 to {max} are allowed")))
        }
        value => Ok(value),
    };
    let ttl_s = seconds(new.ttl_s, "ttlS")?.unwrap_or(3600);
    let refresh_for_s = seconds(new.refresh_for_s, "refreshForS")?;
    let identity = new.identity.clone();
    let user = app
        .accounts(move |accounts| accounts.find_user(&identity))
        .await?
        .map(|found| found.value)
        .unwrap_or_default();
    if user.disabled {
        return Err(Problem::conflict("the user is disabled"));
    }
    let claims = Claims {
        sub: new.identity.into(),
        name: names::display_name(&new.name.unwrap_or(user.name)),
        metadata: new.metadata.unwrap_or(user.metadata),
        attributes: new.attributes.unwrap_or(user.attributes),
        refresh_until: refresh_for_s.map(|s| accounts::now_s().saturating_add(s)),
        video: new.grants.unwrap_or(user.grants),
        ..Claims::default()
    };
    accounts::check_claims(&claims)?;
    issued(&app, caller.key(), claims, ttl_s)?.answer()
}

fn issued<B>(
    app: &App<B>,
    key: Option<&str>,
    mut claims: Claims,
    ttl_s: u64,
) -> Result<Made, Problem> {
    claims.jti = names::random_hex::<16>().map_err(|_| Problem::internal())?;
    let (id, refresh_until_s) = (claims.jti.clone(), claims.refresh_until);
    let expires_at_s = accounts::now_s().saturating_add(ttl_s);
    let ttl = Duration::from_secs(ttl_s);
    let token = app.auth.accounts.issue(key, claims, ttl)?;
    Made::new(&IssuedToken {
        token,
        id,
        expires_at_s,
        refresh_until_s,
    })
}

/// Refresh a token
///
/// The token to refresh is the one that the request is made with. The new one allows the same, for
/// as long; the old one stays good until it expires. Only tokens that were issued with
/// `refreshForS` can be refreshed by their holders, and never beyond that time.
#[utoipa::path(post, path = "/v1/tokens/refresh", operation_id = "refreshToken", tag = "tokens",
    responses(
        (status = 201, body = IssuedToken, description = "The new token"),
        (status = 409, description = "Guests have no token to refresh"),
    ))]
async fn refresh<B: Backend>(
    axum::extract::State(app): State<B>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Caller::Token(claims) = app.auth.caller(&headers, Expiry::Enforce)? else {
        return Err(Problem::conflict("a guest has no token to refresh"));
    };
    let now = accounts::now_s();
    let left_s = claims.refresh_until.unwrap_or(0).saturating_sub(now);
    if left_s == 0 {
        return Err(Problem::forbidden(
            "this token was not issued to be refreshed, or its time for that is over",
        ));
    }
    let lifetime_s = claims.exp.saturating_sub(claims.issued_at_s()).max(1);
    let key = claims.iss.clone();
    let ttl_s = lifetime_s.min(left_s).min(limits::TOKEN_TTL_S);
    issued(&app, Some(&key), *claims, ttl_s)?.answer()
}

/// Ask about a token
///
/// As RFC 7662 has it, which sends a form; JSON will do too.
#[utoipa::path(post, path = "/v1/tokens/introspect", operation_id = "introspectToken",
    tag = "tokens",
    request_body(content(
        (IntrospectionRequest = "application/x-www-form-urlencoded"),
        (IntrospectionRequest = "application/json"),
    )),
    responses(
        (status = 200, body = Introspection, description = "What is known of it"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn introspect<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let IntrospectionRequest { token } = match exchange::media_type(&headers).as_str() {
        "application/x-www-form-urlencoded" => exchange::form(&body)?,
        _ => exchange::json(&headers, &body)?,
    };
    let verified = app.auth.accounts.verify(&token, Expiry::Enforce);
    Ok(exchange::fresh(
        verified.map_or_else(|_| Introspection::default(), introspection),
    ))
}

fn introspection(claims: Claims) -> Introspection {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let grants = serde_json::to_value(&claims.video).unwrap_or_default();
    let set = grants.as_object().into_iter().flatten();
    let scope: Vec<&str> = set
        .filter(|(_, value)| **value == serde_json::Value::Bool(true))
        .map(|(name, _)| name.as_str())
        .collect();
    Introspection {
        active: true,
        scope: Some(scope.join(" ")),
        client_id: Some(claims.iss.clone()),
        username: some(claims.name),
        token_type: Some("Bearer".to_owned()),
        exp: Some(claims.exp),
        iat: claims.iat,
        nbf: claims.nbf,
        sub: some(claims.sub),
        iss: Some(claims.iss),
        jti: some(claims.jti),
        video: Some(claims.video),
    }
}

/// List revocations
#[utoipa::path(get, path = "/v1/revocations", operation_id = "listRevocations", tag = "tokens",
    params(PageQuery),
    responses((status = 200, body = RevocationList, description = "A page of revocations")))]
async fn revocations<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Part { limit, after }: Part,
) -> Result<Response, Problem> {
    let page = app
        .accounts(move |accounts| accounts.revocations(after.as_deref(), limit))
        .await?;
    Ok(listed(page, |revocations, next| RevocationList {
        revocations,
        next,
    }))
}

/// Revoke tokens
///
/// They are refused from now on, and the sessions of whom they are about end at once, with the reason
/// `tokenRevoked` (over WHIP and WHEP by DTLS). Tokens that say they were issued in the next ten
/// seconds are refused too, as clocks differ; those that this server issues are good. A token that
/// expires is another thing: it lets nobody in any more, and sessions that run go on.
#[utoipa::path(post, path = "/v1/revocations", operation_id = "revokeTokens", tag = "tokens",
    request_body = NewRevocation,
    responses(
        (status = 201, body = RevocationInfo, description = "The revocation"),
        (status = 409, description = "There are as many as there may be"),
        (status = 422, description = "A value is not allowed"),
    ))]
async fn revoke<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Body(new): Body<NewRevocation>,
) -> Result<Response, Problem> {
    let subject = subject(&new)?;
    let whose = subject.clone();
    let revocation = app
        .accounts(move |accounts| accounts.revoke(&whose, &new.reason))
        .await?;
    app.end_sessions(subject).await?;
    let location = format!("/v1/revocations/{}", exchange::segment(&revocation.id));
    Made::new(&revocation)?.located(location).answer()
}

/// Take a revocation back
#[utoipa::path(delete, path = "/v1/revocations/{id}", operation_id = "unrevokeTokens",
    tag = "tokens", params(("id" = String, Path, description = "Id of the revocation")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such revocation"),
    ))]
async fn unrevoke<B: Backend>(
    axum::extract::State(app): State<B>,
    _: Holder,
    Name(id): Name,
) -> Result<Response, Problem> {
    app.accounts(move |accounts| accounts.unrevoke(&id)).await?;
    Ok(exchange::gone())
}
