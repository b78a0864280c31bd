//! Why sessions end.

use ion_api::signal::server::Reason as LeaveReason;
use ion_dtls::DtlsError;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndCause {
    /// The client said DELETE.
    Deleted,
    /// The same publisher came again.
    Replaced,
    /// No connectivity check came in time.
    IceTimeout,
    /// Checks stopped (RFC 7675).
    ConsentExpired,
    /// The peer closed DTLS.
    DtlsClosed,
    /// DTLS failed.
    Dtls(DtlsError),
    /// Nobody answered the counter-offer.
    AnswerTimeout,
    /// Its rows were lost with a dataplane, or found torn.
    RowsLost,
    /// A moderator removed it.
    Kicked,
    /// Its token was revoked.
    Revoked,
    /// Its room was closed.
    RoomClosed,
    /// Neither socket nor transport came back.
    TimedOut,
}

impl EndCause {
    /// Why a session ends when its participant does.
    pub fn of(reason: LeaveReason) -> Self {
        match reason {
            LeaveReason::DuplicateIdentity => Self::Replaced,
            LeaveReason::Kicked => Self::Kicked,
            LeaveReason::TokenRevoked => Self::Revoked,
            LeaveReason::RoomClosed => Self::RoomClosed,
            LeaveReason::TimedOut => Self::TimedOut,
            _ => Self::Deleted,
        }
    }

    /// Stable name, for the API and as metrics label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Replaced => "replaced",
            Self::IceTimeout => "ice_timeout",
            Self::ConsentExpired => "consent_expired",
            Self::DtlsClosed => "dtls_closed",
            Self::Dtls(error) => match error.name() {
                "fingerprint_mismatch" => "dtls_fingerprint_mismatch",
                "unsupported_key" => "dtls_unsupported_key",
                "no_srtp_profile" => "dtls_no_srtp_profile",
                "timeout" => "dtls_timeout",
                "peer_alert" => "dtls_peer_alert",
                "handshake" => "dtls_handshake",
                _ => "dtls_engine",
            },
            Self::AnswerTimeout => "answer_timeout",
            Self::RowsLost => "rows_lost",
            Self::Kicked => "kicked",
            Self::Revoked => "revoked",
            Self::RoomClosed => "room_closed",
            Self::TimedOut => "timed_out",
        }
    }

    /// Every name.
    pub const NAMES: [&'static str; 18] = [
        "deleted",
        "replaced",
        "ice_timeout",
        "consent_expired",
        "dtls_closed",
        "dtls_fingerprint_mismatch",
        "dtls_unsupported_key",
        "dtls_no_srtp_profile",
        "dtls_timeout",
        "dtls_peer_alert",
        "dtls_handshake",
        "dtls_engine",
        "answer_timeout",
        "rows_lost",
        "kicked",
        "revoked",
        "room_closed",
        "timed_out",
    ];

    /// In words, for people.
    pub fn text(&self) -> String {
        match self {
            Self::Deleted => "ended by the client".to_owned(),
            Self::Replaced => "the same publisher came again".to_owned(),
            Self::IceTimeout => "no connectivity check came in time".to_owned(),
            Self::ConsentExpired => "connectivity checks stopped coming".to_owned(),
            Self::DtlsClosed => "the client closed DTLS".to_owned(),
            Self::Dtls(error) => format!("DTLS: {error}"),
            Self::AnswerTimeout => "the counter-offer was not answered in time".to_owned(),
            Self::RowsLost => "its forwarding state was lost".to_owned(),
            Self::Kicked => "removed by a moderator".to_owned(),
            Self::Revoked => "its token was revoked".to_owned(),
            Self::RoomClosed => "the room was closed".to_owned(),
            Self::TimedOut => "neither signalling nor media came back in time".to_owned(),
        }
    }
}
