//! Errors as `application/problem+json` (RFC 9457).
//!
//! The `type` URIs are stable: clients may match on them. `detail` is for people and says what was
//! wrong with *their* request; it never holds paths, addresses, keys or the words of an inner error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::limits;

/// Content type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal: status, stable type, title, and a detail for the person who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status code, 400 or above.
    pub status: StatusCode,
    /// Last part of the `type` URI `urn:ion:problem:…`.
    pub kind: &'static str,
    /// Short, the same for every problem of this type.
    pub title: &'static str,
    /// What was wrong this time; cut to [`limits::DETAIL_BYTES`].
    pub detail: String,
    /// Seconds after which trying again makes sense, for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// Value of `WWW-Authenticate`, for 401.
    pub www_authenticate: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $kind:literal, $title:literal;)*) => {
        /// All kinds: the last parts of the `type` URIs.
        pub(crate) const KINDS: &[&str] = &[
            $($kind,)*
            "not-live",
            "too-many-requests",
            "key-limit",
            "overloaded",
            "internal",
            "token-missing",
            "token-invalid",
            "token-expired",
            "token-revoked",
        ];

        impl Problem {
            $(
                $(#[$doc])*
                pub fn $name(detail: impl Into<String>) -> Self {
                    Self::new(StatusCode::$status, $kind, $title, detail)
                }
            )*
        }
    };
}

problems! {
    /// 400: a path, query or header that cannot be read.
    bad_request = BAD_REQUEST, "bad-request", "The request cannot be understood";
    /// 400: a room name or an identity that is not allowed.
    bad_name = BAD_REQUEST, "bad-name", "A name in the request is not allowed";
    /// 400: SDP or an SDP fragment that does not parse, or asks what WHIP or WHEP forbid.
    malformed_sdp = BAD_REQUEST, "malformed-sdp", "The SDP is not acceptable";
    /// 403: the token is good and does not allow this.
    forbidden = FORBIDDEN, "forbidden", "The token does not allow this";
    /// 403: the room has a lobby, in which this kind of client cannot wait.
    lobby = FORBIDDEN, "lobby", "The room has a lobby";
    /// 404: no such path, room, participant or track.
    not_found = NOT_FOUND, "not-found", "There is no such resource";
    /// 404: the session does not exist, or has ended.
    no_such_session = NOT_FOUND, "no-such-session", "There is no such session";
    /// 405: the path does not take this method.
    method_not_allowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// 408: the body did not arrive in time.
    body_timeout = REQUEST_TIMEOUT, "body-timeout", "The request body did not arrive in time";
    /// 409: the state of the room or session does not allow this.
    conflict = CONFLICT, "conflict", "The state of the resource does not allow this";
    /// 412: `If-Match` names another ICE session than the current one.
    precondition_failed = PRECONDITION_FAILED, "etag-mismatch", "The ICE session is another one by now";
    /// 412: `If-Match` names another version than the current one.
    version_mismatch = PRECONDITION_FAILED, "version-mismatch", "The resource is another one by now";
    /// 413: the body is larger than [`limits::BODY_BYTES`].
    too_large = PAYLOAD_TOO_LARGE, "too-large", "The request body is too large";
    /// 415: the content type is none that this resource takes.
    unsupported_media_type = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not supported";
    /// 422: well-formed SDP that cannot be served: no shared codec, too many tracks.
    unprocessable = UNPROCESSABLE_ENTITY, "unprocessable-sdp", "The SDP cannot be served";
    /// 409: there are as many as there may be.
    limit_reached = CONFLICT, "limit-reached", "There are as many as there may be";
    /// 422: JSON that can be read and asks for what cannot be.
    invalid = UNPROCESSABLE_ENTITY, "invalid", "A value in the request is not allowed";
    /// 428: a PATCH without `If-Match`.
    precondition_required = PRECONDITION_REQUIRED, "etag-required", "If-Match is required";
}

impl Problem {
    /// A problem of an own type. `kind` is the last part of the `type` URI.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(limits::DETAIL_BYTES));
        Self {
            status,
            kind,
            title,
            detail,
            retry_after_s: None,
            www_authenticate: None,
        }
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 409: nobody publishes what the player asks for, yet.
    pub fn not_live(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "not-live",
            "Nobody publishes here yet",
            detail,
        )
        .retry_after(retry_after_s)
    }

    /// 429: this client asks too often.
    pub fn too_many_requests(retry_after_s: u32) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests from this address",
            "slow down, and try again after the time in Retry-After",
        )
        .retry_after(retry_after_s)
    }

    /// 429: the tokens of this key ask too often, or hold all that they may.
    pub fn key_limit(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "key-limit",
            "The API key's limit is reached",
            detail,
        )
        .retry_after(retry_after_s)
    }

    /// 503: a table is full, or the server is stopping or not ready.
    pub fn overloaded(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "The server cannot take this now",
            detail,
        )
        .retry_after(retry_after_s)
    }

    /// 500: our own fault. Says nothing of the cause, which belongs into the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed",
            "the request was not at fault; the server's log has the cause",
        )
    }

    /// The `type` URI.
    pub fn type_uri(&self) -> String {
        format!("urn:ion:problem:{}", self.kind)
    }

    /// The JSON body.
    pub fn to_json(&self) -> String {
        let body = Body {
            kind: self.type_uri(),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            retry_after_s: self.retry_after_s,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.kind, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(value) = self.www_authenticate {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        response
    }
}
