use core::fmt;

/// Why a packet could not be opened or sealed. Fieldless, so that it can index a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SrtpError {
    /// Shorter than its header, tag and index together, or than the key material asked for.
    TooShort = 0,
    /// The authentication tag is wrong: forged, damaged, or sealed under another key or rollover counter.
    AuthFailed = 1,
    /// A packet of this index has been accepted before.
    Replayed = 2,
    /// The index lies before the replay window.
    TooOld = 3,
    /// The output buffer is too small.
    BufferTooSmall = 4,
    /// SRTCP without encryption, which is not accepted.
    NotEncrypted = 5,
    /// All indices of this key are used up: 2^48 for RTP, 2^31 for RTCP (RFC 3711 §9.2).
    IndexExhausted = 6,
}

impl fmt::Display for SrtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than its header, tag and index",
            Self::AuthFailed => "wrong authentication tag",
            Self::Replayed => "index accepted before",
            Self::TooOld => "index before the replay window",
            Self::BufferTooSmall => "output buffer too small",
            Self::NotEncrypted => "unencrypted SRTCP",
            Self::IndexExhausted => "packet indices of this key are used up",
        })
    }
}

impl std::error::Error for SrtpError {}
