use std::fmt;
use std::str::FromStr;

use boring::hash::{MessageDigest, hash};
use boring::x509::X509Ref;
use thiserror::Error;

use crate::error::DtlsError;

/// Hash functions accepted for fingerprints: RFC 8122 §5 without those that are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, what everyone sends.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// The name in SDP (RFC 8122 §5).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Length of the hash in bytes.
    #[must_use]
    pub const fn byte_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// The hash of a certificate, as in `a=fingerprint:sha-256 AB:CD:…` (RFC 8122 §5).
///
/// [`FromStr`] and [`fmt::Display`] speak the part after the colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    algorithm: HashAlgorithm,
    bytes: Vec<u8>,
}

/// Why a fingerprint was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FingerprintError {
    /// Not of the form `hash AB:CD:…`.
    #[error("a fingerprint is a hash name and hex bytes with colons between")]
    Syntax,
    /// A hash function that is unknown or too weak.
    #[error("fingerprint hash must be sha-256, sha-384 or sha-512")]
    Algorithm,
    /// More or fewer bytes than the hash function gives.
    #[error("the fingerprint's length does not fit its hash")]
    Length,
}

impl Fingerprint {
    /// Takes a fingerprint by its parts.
    ///
    /// # Errors
    /// When the number of bytes is not that of the hash.
    pub fn new(algorithm: HashAlgorithm, bytes: &[u8]) -> Result<Self, FingerprintError> {
        if bytes.len() != algorithm.byte_len() {
            return Err(FingerprintError::Length);
        }
        Ok(Self {
            algorithm,
            bytes: bytes.to_vec(),
        })
    }

    /// The hash function.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The fingerprint of a certificate in DER.
    pub(crate) fn of_der(algorithm: HashAlgorithm, der: &[u8]) -> Result<Self, DtlsError> {
        let bytes = hash(algorithm.digest(), der)?.to_vec();
        Ok(Self { algorithm, bytes })
    }

    /// True when `certificate` hashes to this.
    pub(crate) fn matches(&self, certificate: &X509Ref) -> bool {
        let Ok(found) = certificate.digest(self.algorithm.digest()) else {
            return false;
        };
        // Both sides are public: no constant time needed.
        *found == *self.bytes
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        for (i, byte) in self.bytes.iter().enumerate() {
            let separator = if i == 0 { ' ' } else { ':' };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, hex) = text
            .trim()
            .split_once(' ')
            .ok_or(FingerprintError::Syntax)?;
        let algorithm = [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
        .ok_or(FingerprintError::Algorithm)?;
        let hex = hex.trim();
        if hex.len() > 3 * algorithm.byte_len() {
            return Err(FingerprintError::Length);
        }
        let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
        let bytes = hex
            .split(':')
            .map(|byte| {
                Some(byte)
                    .filter(is_byte)
                    .and_then(|b| u8::from_str_radix(b, 16).ok())
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or(FingerprintError::Syntax)?;
        Self::new(algorithm, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let bytes: Vec<u8> = (0..48).map(|i| i * 5).collect();
        let made = Fingerprint::new(HashAlgorithm::Sha384, &bytes).unwrap();
        let text = made.to_string();
        assert!(text.starts_with("sha-384 00:05:0A:"), "{text}");
        assert_eq!(text.parse(), Ok(made.clone()));
        assert_eq!(text.to_lowercase().replace("sha", "SHA").parse(), Ok(made));
    }

    #[test]
    fn refusals() {
        let parse = |text: &str| text.parse::<Fingerprint>().unwrap_err();
        assert_eq!(parse("sha-256"), FingerprintError::Syntax);
        assert_eq!(parse("sha-1 00:11"), FingerprintError::Algorithm);
        assert_eq!(parse("sha-256 00:11"), FingerprintError::Length);
        assert_eq!(
            parse(&format!("sha-256 {}", "00:".repeat(32))),
            FingerprintError::Syntax
        );
        assert_eq!(
            parse(&format!("sha-256 +1{}", ":00".repeat(31))),
            FingerprintError::Syntax
        );
        assert_eq!(
            parse(&format!("sha-256 {}", "00:".repeat(100_000))),
            FingerprintError::Length
        );
    }
}
