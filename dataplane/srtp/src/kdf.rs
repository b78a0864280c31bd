//! Key derivation (RFC 3711 §4.3) with a derivation rate of zero: once per master key.

use zeroize::Zeroizing;

use crate::cipher::ctr_key;
use crate::keys::{MAX_KEY_LEN, MAX_SALT_LEN};
use crate::{MasterKey, Profile, cipher};

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
        // Each is the head of its own key stream, so the longest length will do for all profiles; what
        // is beyond the profile's is cut off by the ciphers.
        derive(profile, master, encryption, keys.key.as_mut_slice());
        derive(profile, master, authentication, keys.auth.as_mut_slice());
        derive(profile, master, salt, keys.salt.as_mut_slice());
        keys
    }
}

/// AES-CM pseudo-random function (RFC 3711 §4.3.3) with the master key's own length, for AES-256 as for
/// AES-128 (RFC 6188 §2, RFC 7714 §11).
///
/// `out` is all zeros. The salt is padded to 14 bytes with zeros at its end where the profile has 12.
fn derive(profile: Profile, master: &MasterKey, label: Label, out: &mut [u8]) {
    let key = ctr_key(master.key().get(..profile.key_len()).unwrap_or_default());
    // x = (label || r) XOR master salt, r being 48 zero bits; the counter block is x * 2^16.
    let mut block = [0; 16];
    for (target, byte) in block.iter_mut().zip(master.salt()) {
        *target = *byte;
    }
    if let Some(byte) = block.get_mut(7) {
        *byte ^= label as u8;
    }
    cipher::apply_keystream(&key, block, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn aes_128_session_keys() {
        let master = MasterKey::from_slices(
            Profile::Aes128CmSha1_80,
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        let keys = SessionKeys::rtp(Profile::Aes128CmSha1_80, &master);
        assert_eq!(keys.key[..16], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            keys.auth[..],
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    /// RFC 3711 appendix B.2: the AES-CM key stream under a given session key and salt.
    #[test]
    fn counter_mode_key_stream() {
        let key = ctr_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C"));
        let mut block = [0; 16];
        block[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let mut stream = vec![0; 0xff02 * 16];
        cipher::apply_keystream(&key, block, &mut stream);
        for (at, want) in [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            assert_eq!(stream[at * 16..][..16], hex(want), "block {at:#x}");
        }
    }
}
