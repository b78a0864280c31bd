use thiserror::Error;

/// Why an endpoint could not be made, or a session failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DtlsError {
    /// The engine refused a setting, a certificate or a key of ours.
    #[error("DTLS engine: {0}")]
    Engine(String),
    /// The peer's certificate is not the one that its SDP announced.
    #[error("the certificate does not match the fingerprint in the SDP")]
    FingerprintMismatch,
    /// The peer's certificate holds a key that is not accepted: RSA below 2048 or above 4096 bits, or
    /// neither RSA nor EC.
    #[error("the key of the peer's certificate is not accepted")]
    UnsupportedKey,
    /// Peer and server have no SRTP protection profile in common.
    #[error("no SRTP protection profile in common")]
    NoSrtpProfile,
    /// The handshake was not finished in time.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer ended the handshake or the session with this alert (RFC 8446 §6).
    #[error("the peer sent alert {0}")]
    PeerAlert(u8),
    /// The handshake failed; the text is the engine's own, and holds nothing of the peer's.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// Application data before the handshake is finished or after the session ended.
    #[error("the session is not connected")]
    NotConnected,
    /// Application data longer than [`crate::session::MAX_APPLICATION_DATA`], or empty.
    #[error("application data is empty or too long")]
    DataLength,
    /// The output queue is full: the caller does not drain it.
    #[error("the output queue is full")]
    QueueFull,
}

impl DtlsError {
    /// A stable name, for metrics labels and the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::UnsupportedKey => "unsupported_key",
            Self::NoSrtpProfile => "no_srtp_profile",
            Self::Timeout => "timeout",
            Self::PeerAlert(_) => "peer_alert",
            Self::Handshake(_) => "handshake",
            Self::NotConnected => "not_connected",
            Self::DataLength => "data_length",
            Self::QueueFull => "queue_full",
        }
    }

    /// Every name that a failed session can have, for metrics that are there from the start.
    pub const SESSION_FAILURES: [&'static str; 7] = [
        "engine",
        "fingerprint_mismatch",
        "unsupported_key",
        "no_srtp_profile",
        "timeout",
        "peer_alert",
        "handshake",
    ];
}

impl From<boring::error::ErrorStack> for DtlsError {
    fn from(errors: boring::error::ErrorStack) -> Self {
        Self::Engine(reason(&errors))
    }
}

/// The engine's own words for the first error of a stack.
pub(crate) fn reason(errors: &boring::error::ErrorStack) -> String {
    let first = errors
        .errors()
        .first()
        .and_then(boring::error::Error::reason);
    first.unwrap_or("unknown").to_owned()
}
