//! Key derivation (RFC 3711 §4.3) with a derivation rate of zero: once per master key.

use aws_lc_rs::cipher::EncryptingKey;
use zeroize::Zeroizing;

use crate::cipher::{apply_keystream, ctr_key};
use crate::keys::{MAX_KEY_LEN, MAX_SALT_LEN};
use crate::{MasterKey, Profile};

/// Length in bytes of the HMAC-SHA1 key (RFC 3711 §5.2).
pub(crate) const AUTH_KEY_LEN: usize = 20;

/// What a session key is for; the number is its label (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Label {
    RtpEncryption = 0x00,
    RtpAuthentication = 0x01,
    RtpSalt = 0x02,
    RtcpEncryption = 0x03,
    RtcpAuthentication = 0x04,
    RtcpSalt = 0x05,
}

/// Session keys of RTP or of RTCP.
pub(crate) struct SessionKeys {
    pub(crate) key: Zeroizing<[u8; MAX_KEY_LEN]>,
    pub(crate) auth: Zeroizing<[u8; AUTH_KEY_LEN]>,
    pub(crate) salt: Zeroizing<[u8; MAX_SALT_LEN]>,
}

impl SessionKeys {
    pub(crate) fn rtp(profile: Profile, master: &MasterKey) -> Self {
        let labels = [
            Label::RtpEncryption,
            Label::RtpAuthentication,
            Label::RtpSalt,
        ];
        Self::derive(profile, master, labels)
    }

    pub(crate) fn rtcp(profile: Profile, master: &MasterKey) -> Self {
        let labels = [
            Label::RtcpEncryption,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        ];
        Self::derive(profile, master, labels)
    }

    fn derive(
        profile: Profile,
        master: &MasterKey,
        [encryption, authentication, salt]: [Label; 3],
    ) -> Self {
        let mut keys = Self {
            key: Zeroizing::new([0; MAX_KEY_LEN]),
            auth: Zeroizing::new([0; AUTH_KEY_LEN]),
            salt: Zeroizing::new([0; MAX_SALT_LEN]),
        };
        let key = ctr_key(master.key().get(..profile.key_len()).unwrap_or_default());
        let master_salt = master.salt().get(..profile.salt_len()).unwrap_or_default();
        // Each is the head of its own key stream, so the longest length will do for all profiles; what
        // is beyond the profile's is cut off by the ciphers.
        derive(&key, master_salt, encryption, keys.key.as_mut_slice());
        derive(&key, master_salt, authentication, keys.auth.as_mut_slice());
        derive(&key, master_salt, salt, keys.salt.as_mut_slice());
        keys
    }
}

/// AES-CM pseudo-random function (RFC 3711 §4.3.3) with the master key's own length, for AES-256 as for
/// AES-128 (RFC 6188 §2, RFC 7714 §11).
///
/// `out` is all zeros. A master salt of 12 bytes is filled up with zeros at its end.
pub(crate) fn derive(master_key: &EncryptingKey, master_salt: &[u8], label: Label, out: &mut [u8]) {
    // x = (label || r) XOR master salt, r being 48 zero bits; the counter block is x * 2^16.
    let mut block = [0; 16];
    for (target, byte) in block.iter_mut().zip(master_salt) {
        *target = *byte;
    }
    if let Some(byte) = block.get_mut(7) {
        *byte ^= label as u8;
    }
    apply_keystream(master_key, block, out);
}
