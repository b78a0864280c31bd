//! Master keys (RFC 3711 §3.2.1) and their place in DTLS keying material (RFC 5764 §4.2).

use zeroize::Zeroize;

use crate::{Profile, SrtpError};

/// Room for the longest master key.
pub const MAX_KEY_LEN: usize = 32;
/// Room for the longest master salt.
pub const MAX_SALT_LEN: usize = 14;

/// Master key and salt of one direction. The bytes are those of the profile's lengths, then zeros. They are
/// wiped on drop and never printed.
#[derive(Clone)]
pub struct MasterKey {
    key: [u8; MAX_KEY_LEN],
    salt: [u8; MAX_SALT_LEN],
}

impl MasterKey {
    /// From fixed-size fields, as the rows of the shared memory have them.
    #[must_use]
    pub const fn new(key: [u8; MAX_KEY_LEN], salt: [u8; MAX_SALT_LEN]) -> Self {
        Self { key, salt }
    }

    /// From a key and a salt of exactly the profile's lengths.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] where either has another length.
    pub fn from_slices(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::TooShort);
        }
        let mut master = Self::new([0; MAX_KEY_LEN], [0; MAX_SALT_LEN]);
        for (target, byte) in master.key.iter_mut().zip(key) {
            *target = *byte;
        }
        for (target, byte) in master.salt.iter_mut().zip(salt) {
            *target = *byte;
        }
        Ok(master)
    }

    /// The key, filled up with zeros.
    #[must_use]
    pub fn key(&self) -> &[u8; MAX_KEY_LEN] {
        &self.key
    }

    /// The salt, filled up with zeros.
    #[must_use]
    pub fn salt(&self) -> &[u8; MAX_SALT_LEN] {
        &self.salt
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").finish_non_exhaustive()
    }
}

/// What DTLS exports under the label "EXTRACTOR-dtls_srtp".
#[derive(Debug, Clone, Copy)]
pub struct KeyingMaterial;

impl KeyingMaterial {
    /// Cuts exported keying material into the master keys that the DTLS client and the DTLS server *write*
    /// with, in this order (RFC 5764 §4.2).
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] unless there are exactly [`Profile::keying_material_len`] bytes.
    pub fn split(profile: Profile, exported: &[u8]) -> Result<(MasterKey, MasterKey), SrtpError> {
        if exported.len() != profile.keying_material_len() {
            return Err(SrtpError::TooShort);
        }
        let (keys, salts) = exported.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Ok((
            MasterKey::from_slices(profile, client_key, client_salt)?,
            MasterKey::from_slices(profile, server_key, server_salt)?,
        ))
    }
}
