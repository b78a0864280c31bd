use std::fmt;

use stun_types::message::{IntegrityKey, ShortTermCredentials};
use thiserror::Error;

/// A username fragment and a password (RFC 8445 §5.3).
///
/// `Debug` shows the username fragment only: the password is the key of every connectivity check.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    pwd: String,
}

/// Why a username fragment or password was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// RFC 8839 §5.4: 4 to 256 characters.
    #[error("ice-ufrag must be 4 to 256 characters long")]
    UfragLength,
    /// RFC 8839 §5.4: 22 to 256 characters.
    #[error("ice-pwd must be 22 to 256 characters long")]
    PwdLength,
    /// A character that is no ice-char: letters, digits, `+` and `/`.
    #[error("ICE credentials may hold letters, digits, '+' and '/' only")]
    Character,
}

/// The 64 ice-chars, so that six random bits make one without bias.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const UFRAG_CHARS: usize = 8;
const PWD_CHARS: usize = 24;

impl Credentials {
    /// Random bytes that [`Credentials::from_random`] takes.
    pub const RANDOM_BYTES: usize = UFRAG_CHARS + PWD_CHARS;

    /// Takes credentials as found in SDP.
    ///
    /// # Errors
    /// When a length or a character is outside RFC 8839 §5.4.
    pub fn new(ufrag: impl Into<String>, pwd: impl Into<String>) -> Result<Self, CredentialsError> {
        let (ufrag, pwd) = (ufrag.into(), pwd.into());
        if !(4..=256).contains(&ufrag.len()) {
            return Err(CredentialsError::UfragLength);
        }
        if !(22..=256).contains(&pwd.len()) {
            return Err(CredentialsError::PwdLength);
        }
        let is_ice_char = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        if !ufrag.bytes().chain(pwd.bytes()).all(is_ice_char) {
            return Err(CredentialsError::Character);
        }
        Ok(Self { ufrag, pwd })
    }

    /// Makes credentials from cryptographically random bytes: 8 characters (48 bits) of username
    /// fragment, 24 characters (144 bits) of password.
    #[must_use]
    pub fn from_random(random: &[u8; Self::RANDOM_BYTES]) -> Self {
        let pick = |bytes: &[u8]| -> String {
            bytes
                .iter()
                .map(|b| char::from(ICE_CHARS[usize::from(b & 63)]))
                .collect()
        };
        Self {
            ufrag: pick(&random[..UFRAG_CHARS]),
            pwd: pick(&random[UFRAG_CHARS..]),
        }
    }

    /// The username fragment, for `a=ice-ufrag`.
    #[must_use]
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The password, for `a=ice-pwd`.
    #[must_use]
    pub fn pwd(&self) -> &str {
        &self.pwd
    }

    /// The short-term key (RFC 8489 §9.1.1): the password itself, with its HMAC state kept for reuse.
    pub(crate) fn key(&self) -> IntegrityKey {
        ShortTermCredentials::new(self.pwd.clone()).make_key()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_credentials_pass_their_own_check() {
        let random: [u8; Credentials::RANDOM_BYTES] =
            std::array::from_fn(|i| u8::try_from(i * 8 + 7).unwrap());
        let made = Credentials::from_random(&random);
        assert_eq!((made.ufrag().len(), made.pwd().len()), (8, 24));
        assert_eq!(Credentials::new(made.ufrag(), made.pwd()), Ok(made));
    }

    #[test]
    fn bounds_and_characters() {
        let pwd = "p".repeat(22);
        assert_eq!(
            Credentials::new("abc", &pwd),
            Err(CredentialsError::UfragLength)
        );
        assert_eq!(
            Credentials::new("a".repeat(257), &pwd),
            Err(CredentialsError::UfragLength)
        );
        assert_eq!(
            Credentials::new("abcd", &pwd[1..]),
            Err(CredentialsError::PwdLength)
        );
        assert_eq!(
            Credentials::new("ab:d", &pwd),
            Err(CredentialsError::Character)
        );
        assert_eq!(
            Credentials::new("abéd", &pwd),
            Err(CredentialsError::Character)
        );
        assert!(Credentials::new("ab+/", &pwd).is_ok());
    }

    #[test]
    fn debug_hides_the_password() {
        let shown = format!("{:?}", Credentials::new("abcd", "s".repeat(22)).unwrap());
        assert!(shown.contains("abcd") && !shown.contains("sss"), "{shown}");
    }
}
