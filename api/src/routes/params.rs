//! Parameters that many operations share, as the OpenAPI document describes them.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::accounts::Page;
use crate::limits;
use crate::problem::Problem;

/// `{room}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct RoomPath {
    /// Name of the room.
    #[param(
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1,
        max_length = 128
    )]
    room: String,
}

/// `{identity}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct IdentityPath {
    /// Identity of the participant or user.
    #[param(
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1,
        max_length = 128
    )]
    identity: String,
}

/// `{participant}` of WHEP.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct PublisherPath {
    /// Identity of the publisher, or `-` for the first.
    #[param(
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1,
        max_length = 128
    )]
    participant: String,
}

/// `{session}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct SessionPath {
    /// Id of the session: whoever knows it may change and end it.
    #[param(pattern = "^[A-Za-z0-9_-]+$", min_length = 1, max_length = 64)]
    session: String,
}

/// Which ICE session a fragment is for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct IceMatchHeader {
    /// The `ETag` of the ICE session, or `*` for a restart; needed with a fragment.
    #[param(rename = "If-Match", example = "*")]
    if_match: Option<String>,
}

/// `{track}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct TrackPath {
    /// Id of the publication.
    #[param(pattern = "^PB_[0-9]{1,19}$", example = "PB_7")]
    track: String,
}

/// `{other}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct OtherPath {
    /// Name of the other room.
    #[param(
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.~@:+=|-]+$",
        min_length = 1,
        max_length = 128
    )]
    other: String,
}

/// `{id}` of a webhook.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct WebhookPath {
    /// Id of the webhook.
    #[param(min_length = 1, max_length = 64)]
    id: String,
}

/// `{key}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct KeyPath {
    /// The API key.
    #[param(min_length = 1, max_length = 128)]
    key: String,
}

/// A change that happens only to the version that the client has seen.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct IfMatchHeader {
    /// The `ETag` of the version that is meant, or `*`; when it is another one by now, the answer is
    /// a 412. Without it the current one is meant, whichever that is.
    #[param(rename = "If-Match", example = "\"17\"")]
    if_match: Option<String>,
}

/// A creation that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes only")]
pub(crate) struct IdempotencyKey {
    /// Any text that is new for each creation. Sent again within a day, by the same caller with the
    /// same body, it is answered with the first answer, and nothing more is created.
    #[param(
        rename = "Idempotency-Key",
        pattern = "^[!-~]+$",
        min_length = 1,
        max_length = 128
    )]
    idempotency_key: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct PageQuery {
    /// Entries at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// `next` of the page before.
    #[param(max_length = 256)]
    cursor: Option<String>,
}

impl PageQuery {
    /// Limit, and the id after which the page begins.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn read(
        query: Result<Query<Self>, QueryRejection>,
    ) -> Result<(usize, Option<String>), Problem> {
        let Query(query) = asked(query)?;
        let limit = usize::from(query.limit.unwrap_or(100));
        if !(1..=limits::PAGE).contains(&limit) {
            return Err(Problem::bad_request(format!(
                "limit: 1 to {} are allowed",
                limits::PAGE
            )));
        }
        let after = query.cursor.as_deref().map(decode).transpose()?;
        Ok((limit, after))
    }
}

/// A query that could be read.
pub(crate) fn asked<T>(query: Result<T, QueryRejection>) -> Result<T, Problem> {
    query.map_err(|error| Problem::bad_request(format!("the query: {}", error.body_text())))
}

fn decode(cursor: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Problem::bad_request("cursor: is none that this server gave"))
}

/// The cursor of the next page.
pub(crate) fn next<T>(page: &Page<T>) -> Option<String> {
    page.next.as_ref().map(|id| URL_SAFE_NO_PAD.encode(id))
}
