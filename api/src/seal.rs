//! Secrets at rest: sealed by AES-256-GCM under a key that stands in a file of its own.
//!
//! HS256 is verified with the very secret it was signed with, so a hash of the secret would not do.
//! Sealed, a copy of the database alone (a backup, a disk sold) gives no secret away.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

/// Bytes of the server's key.
const KEY_BYTES: usize = 32;

/// Why there is no key to seal with.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file can be neither read nor made.
    #[error("the server's key file cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// The file holds something else, or the system has no random bytes.
    #[error("the server's key file does not hold a key of 32 bytes")]
    Malformed,
}

/// Seals and opens secrets.
pub struct Sealer(RandomizedNonceKey);

/// Never the key.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// A sealer with a key that nobody else will ever have: what it seals is lost with it.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn ephemeral() -> Result<Self, SealError> {
        Self::of(&*fresh()?)
    }

    /// The sealer whose key stands in this file, which is made, for its owner only, where there is
    /// none.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(path: &Path) -> Result<Self, SealError> {
        match std::fs::read(path) {
            Ok(key) => Self::of(&Zeroizing::new(key)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = fresh()?;
                // Complete under another name first: a key cut short would lose all secrets.
                let draft = path.with_extension("new");
                let _ = std::fs::remove_file(&draft);
                let mut file = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&draft)?;
                file.write_all(&*key)?;
                file.sync_all()?;
                std::fs::rename(&draft, path)?;
                Self::of(&*key)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of(key: &[u8]) -> Result<Self, SealError> {
        if key.len() != KEY_BYTES {
            return Err(SealError::Malformed);
        }
        RandomizedNonceKey::new(&AES_256_GCM, key)
            .map(Self)
            .map_err(|_| SealError::Malformed)
    }

    /// Seals a secret for one `purpose`, such as the id of its key: it opens for no other.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn seal(&self, purpose: &str, secret: &str) -> Result<String, SealError> {
        let mut bytes = secret.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose), &mut bytes)
            .map_err(|_| SealError::Malformed)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    /// Opens what [`Sealer::seal`] made; `None` when another key or purpose sealed it.
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let mut bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, secret) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let secret = self
            .0
            .open_in_place(nonce, Aad::from(purpose), secret)
            .ok()?;
        let text = std::str::from_utf8(secret).ok()?.to_owned();
        Some(Zeroizing::new(text))
    }
}

fn fresh() -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(|_| SealError::Malformed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn sealed_secrets_open_for_their_purpose_and_key_only() {
        let sealer = Sealer::ephemeral().unwrap();
        let sealed = sealer.seal("key:a", "secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_ne!(sealed, sealer.seal("key:a", "secret").unwrap());
        assert_eq!(sealer.unseal("key:a", &sealed).unwrap().as_str(), "secret");
        assert!(sealer.unseal("key:b", &sealed).is_none());
        let other = Sealer::ephemeral().unwrap();
        assert!(other.unseal("key:a", &sealed).is_none());
        for bad in ["", "AA", "no base64!", &sealed[..sealed.len() - 2]] {
            assert!(sealer.unseal("key:a", bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_key_file_is_its_owners_only_and_outlives_the_process() {
        let dir = std::env::temp_dir().join(format!("ion-seal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("server.key");
        let sealed = Sealer::open(&path).unwrap().seal("p", "s").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Sealer::open(&path).unwrap();
        assert_eq!(again.unseal("p", &sealed).unwrap().as_str(), "s");
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(Sealer::open(&path), Err(SealError::Malformed)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
