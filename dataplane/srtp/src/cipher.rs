//! The two families of transforms: AES-CM with HMAC-SHA1 (RFC 3711 §4) and AES-GCM (RFC 7714), for RTP or for
//! RTCP. Nonces are formed here, state is kept elsewhere.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

use crate::kdf::SessionKeys;
use crate::keys::MAX_SALT_LEN;
use crate::{Profile, SrtpError};

const GCM_NONCE_LEN: usize = 12;
const GCM_TAG_LEN: usize = 16;
const CM_TAG_LEN: usize = 10;

/// AES in counter mode under a key of 16 or 32 bytes.
pub(crate) fn ctr_key(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .expect("an AES key has 16 or 32 bytes")
}

/// XORs `in_out` with the key stream that starts at counter block `iv`. The context handed to the library is
/// on the stack: nothing is allocated.
pub(crate) fn apply_keystream(key: &EncryptingKey, iv: [u8; 16], in_out: &mut [u8]) {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(in_out, context)
        .expect("counter mode takes any length");
}

/// Session cipher of one direction, for RTP or for RTCP.
pub(crate) enum Cipher {
    /// Boxed: three hash contexts and two key schedules would make every cipher as large.
    Cm(Box<CmCipher>),
    Gcm(GcmCipher),
}

impl Cipher {
    pub(crate) fn new(profile: Profile, keys: &SessionKeys) -> Self {
        let key = keys.key.get(..profile.key_len()).unwrap_or_default();
        let algorithm = match profile {
            Profile::Aes128CmSha1_80 => {
                return Self::Cm(Box::new(CmCipher {
                    key: ctr_key(key),
                    auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, keys.auth.as_slice()),
                    salt: *keys.salt,
                }));
            }
            Profile::AeadAes128Gcm => &AES_128_GCM,
            Profile::AeadAes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("the key has the profile's length");
        let mut salt = [0; GCM_NONCE_LEN];
        for (target, byte) in salt.iter_mut().zip(keys.salt.iter()) {
            *target = *byte;
        }
        Self::Gcm(GcmCipher {
            key: LessSafeKey::new(key),
            salt,
        })
    }
}

/// AES-CM and HMAC-SHA1-80. The tag covers header, ciphertext and a trailer: the rollover counter, which
/// is not sent, or the SRTCP index word, which is.
pub(crate) struct CmCipher {
    key: EncryptingKey,
    auth: hmac::Key,
    salt: [u8; MAX_SALT_LEN],
}

impl CmCipher {
    /// IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16) (RFC 3711 §4.1.1).
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let ssrc_and_index = (u128::from(ssrc) << 64) | (u128::from(index) << 16);
        let mut iv = ssrc_and_index.to_be_bytes();
        for (target, byte) in iv.iter_mut().zip(&self.salt) {
            *target ^= *byte;
        }
        iv
    }

    /// XORs the payload with the key stream of a packet; encryption and decryption are the same.
    pub(crate) fn apply(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        apply_keystream(&self.key, self.iv(ssrc, index), payload);
    }

    pub(crate) fn tag(&self, authenticated: &[u8], trailer: &[u8]) -> [u8; CM_TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(authenticated);
        context.update(trailer);
        let digest = context.sign();
        let mut tag = [0; CM_TAG_LEN];
        for (target, byte) in tag.iter_mut().zip(digest.as_ref()) {
            *target = *byte;
        }
        tag
    }

    /// Compares in constant time.
    pub(crate) fn verify(
        &self,
        authenticated: &[u8],
        trailer: &[u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        constant_time::verify_slices_are_equal(&self.tag(authenticated, trailer), tag)
            .map_err(|_| SrtpError::AuthFailed)
    }
}

/// AES-GCM, 128 or 256 bits.
pub(crate) struct GcmCipher {
    key: LessSafeKey,
    salt: [u8; GCM_NONCE_LEN],
}

impl GcmCipher {
    /// Nonce of an RTP packet: 16 zero bits, SSRC, rollover counter and sequence number, XOR salt
    /// (RFC 7714 §8.1). An SRTCP index, 31 bits behind 17 zero bits, lies where the 48-bit index
    /// does, so it is the nonce of an RTCP packet too (§9.1).
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let ssrc_and_index = (u128::from(ssrc) << 48) | u128::from(index);
        let [_, _, _, _, nonce @ ..] = ssrc_and_index.to_be_bytes();
        let mut nonce: [u8; GCM_NONCE_LEN] = nonce;
        for (target, byte) in nonce.iter_mut().zip(&self.salt) {
            *target ^= *byte;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// `ciphertext` into `plaintext`, of equal length.
    pub(crate) fn open(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), SrtpError> {
        self.key
            .open_separate_gather(
                self.nonce(ssrc, index),
                Aad::from(aad),
                ciphertext,
                tag,
                plaintext,
            )
            .map_err(|_| SrtpError::AuthFailed)
    }

    /// `plaintext` into `ciphertext`, of equal length, and `tag`, of 16 bytes.
    pub(crate) fn seal(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8],
    ) {
        debug_assert_eq!(tag.len(), GCM_TAG_LEN);
        self.key
            .seal_out_of_place_scatter(
                self.nonce(ssrc, index),
                Aad::from(aad),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("lengths agree and a datagram is far below the cipher's limit");
    }

    /// As [`Self::seal`], the ciphertext taking the plaintext's place.
    pub(crate) fn seal_in_place(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        in_out: &mut [u8],
        tag: &mut [u8],
    ) {
        debug_assert_eq!(tag.len(), GCM_TAG_LEN);
        self.key
            .seal_in_place_scatter(self.nonce(ssrc, index), Aad::from(aad), in_out, &[], tag)
            .expect("lengths agree and a datagram is far below the cipher's limit");
    }
}
