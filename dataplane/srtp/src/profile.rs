//! SRTP protection profiles (RFC 5764 §4.1.2, RFC 7714 §14.2).

/// The profiles Ion negotiates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 with a tag of 80 bits.
    Aes128CmSha1_80 = 0x0001,
    /// AES-128 in Galois/counter mode.
    AeadAes128Gcm = 0x0007,
    /// AES-256 in Galois/counter mode.
    AeadAes256Gcm = 0x0008,
}

/// The number is that of no profile Ion knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownProfile(
    /// The number.
    pub u16,
);

impl std::fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown SRTP protection profile {:#06x}", self.0)
    }
}

impl std::error::Error for UnknownProfile {}

impl TryFrom<u16> for Profile {
    type Error = UnknownProfile;

    fn try_from(id: u16) -> Result<Self, UnknownProfile> {
        match id {
            0x0001 => Ok(Self::Aes128CmSha1_80),
            0x0007 => Ok(Self::AeadAes128Gcm),
            0x0008 => Ok(Self::AeadAes256Gcm),
            other => Err(UnknownProfile(other)),
        }
    }
}

impl From<Profile> for u16 {
    fn from(profile: Profile) -> Self {
        profile as u16
    }
}

impl Profile {
    /// IANA number of the DTLS-SRTP protection profile.
    #[must_use]
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// Length in bytes of master and session encryption keys.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length in bytes of master and session salts.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Length in bytes of the authentication tag.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes by which an SRTP packet is longer than its RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes by which an SRTCP packet is longer than its RTCP packet: tag, E bit and index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + crate::RTCP_INDEX_LEN
    }

    /// Bytes to export from DTLS: two keys, two salts (RFC 5764 §4.2).
    #[must_use]
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}
