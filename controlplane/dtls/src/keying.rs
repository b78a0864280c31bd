use std::fmt;

use boring::srtp::SrtpProfileId;

use crate::ffi;
use crate::session::Role;

/// SRTP protection profiles offered and accepted (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM`, 0x0007.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`, 0x0008.
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, 0x0001.
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// Our order of preference: the cheapest cipher per packet first.
    pub const PREFERENCE: [Self; 3] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::Aes128CmSha1_80,
    ];

    /// Length of the master key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// The number of the DTLS-SRTP registry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 7,
            Self::AeadAes256Gcm => 8,
            Self::Aes128CmSha1_80 => 1,
        }
    }

    /// The registry's name, for logs and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// The name that BoringSSL's profile list takes.
    pub(crate) const fn engine_name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_SHA1_80",
        }
    }

    pub(crate) fn from_engine(id: SrtpProfileId) -> Option<Self> {
        Self::PREFERENCE
            .into_iter()
            .find(|profile| u64::from(profile.id()) == id.as_raw())
    }
}

/// Two master keys and two master salts exported from the handshake (RFC 5764 §4.2); overwritten when
/// dropped, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyingMaterial {
    bytes: Vec<u8>,
    profile: SrtpProfile,
    role: Role,
}

impl KeyingMaterial {
    /// The exporter's label.
    pub(crate) const LABEL: &'static str = "EXTRACTOR-dtls_srtp";

    /// Room for the export.
    pub(crate) fn zeroed(profile: SrtpProfile, role: Role) -> Self {
        Self {
            bytes: vec![0; 2 * (profile.key_len() + profile.salt_len())],
            profile,
            role,
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// All of it, in the order of RFC 5764 §4.2: client key, server key, client salt, server salt.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Master key and salt of what we send.
    #[must_use]
    pub fn local(&self) -> (&[u8], &[u8]) {
        self.half(self.role)
    }

    /// Master key and salt of what the peer sends.
    #[must_use]
    pub fn remote(&self) -> (&[u8], &[u8]) {
        self.half(self.role.other())
    }

    fn half(&self, role: Role) -> (&[u8], &[u8]) {
        let (key_len, salt_len) = (self.profile.key_len(), self.profile.salt_len());
        let (keys, salts) = self.bytes.split_at(2 * key_len);
        let index = match role {
            Role::Client => 0,
            Role::Server => 1,
        };
        (
            &keys[index * key_len..][..key_len],
            &salts[index * salt_len..][..salt_len],
        )
    }
}

impl Drop for KeyingMaterial {
    fn drop(&mut self) {
        ffi::cleanse(&mut self.bytes);
    }
}

impl fmt::Debug for KeyingMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyingMaterial")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_by_role() {
        let mut keys = KeyingMaterial::zeroed(SrtpProfile::Aes128CmSha1_80, Role::Server);
        for (i, byte) in keys.bytes_mut().iter_mut().enumerate() {
            *byte = u8::try_from(i).unwrap();
        }
        assert_eq!(keys.as_bytes().len(), 60);
        let range = |from: u8, to: u8| (from..to).collect::<Vec<u8>>();
        assert_eq!(keys.remote(), (&*range(0, 16), &*range(32, 46)));
        assert_eq!(keys.local(), (&*range(16, 32), &*range(46, 60)));
    }

    #[test]
    fn debug_hides_keys() {
        let mut keys = KeyingMaterial::zeroed(SrtpProfile::AeadAes128Gcm, Role::Client);
        keys.bytes_mut().fill(0xab);
        let shown = format!("{keys:?}");
        assert!(!shown.contains("171") && !shown.contains("ab,"), "{shown}");
    }
}
