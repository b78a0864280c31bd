use std::fmt;

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, PKeyRef, Private};
use boring::x509::{X509, X509NameBuilder, X509Ref};

use crate::error::DtlsError;
use crate::ffi;
use crate::fingerprint::{Fingerprint, HashAlgorithm};

/// Days a generated certificate is valid: longer than a process lives. Peers check the fingerprint and
/// not the dates.
const VALID_DAYS: u32 = 3650;

/// The certificate and private key that a server shows to its peers.
#[derive(Clone)]
pub struct Identity {
    certificate: X509,
    key: PKey<Private>,
    fingerprint: Fingerprint,
}

/// A private key in DER, overwritten when dropped, hidden from `Debug`.
pub struct KeyDer(Vec<u8>);

impl KeyDer {
    /// The PKCS #8 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for KeyDer {
    fn drop(&mut self) {
        ffi::cleanse(&mut self.0);
    }
}

impl fmt::Debug for KeyDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDer(…)")
    }
}

impl Identity {
    /// Makes a new P-256 key and a self-signed certificate for it.
    ///
    /// # Errors
    /// When the engine fails, which means that the machine has no randomness or memory.
    pub fn generate() -> Result<Self, DtlsError> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let certificate = self_signed(&key)?;
        Self::new(certificate, key)
    }

    /// Takes back what [`Identity::to_der`] gave, so that a restarted process keeps its fingerprint. RSA
    /// keys are taken too.
    ///
    /// # Errors
    /// When either is malformed, or they do not belong together.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Self, DtlsError> {
        let certificate = X509::from_der(certificate)?;
        let key = PKey::private_key_from_pkcs8(key)?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(DtlsError::Engine(
                "certificate and key do not belong together".into(),
            ));
        }
        Self::new(certificate, key)
    }

    /// The certificate, and the private key as PKCS #8, in DER.
    ///
    /// # Errors
    /// When the engine fails for want of memory.
    pub fn to_der(&self) -> Result<(Vec<u8>, KeyDer), DtlsError> {
        Ok((
            self.certificate.to_der()?,
            KeyDer(self.key.private_key_to_der_pkcs8()?),
        ))
    }

    /// The SHA-256 fingerprint for the SDP.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(crate) fn certificate(&self) -> &X509Ref {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }

    fn new(certificate: X509, key: PKey<Private>) -> Result<Self, DtlsError> {
        let fingerprint = Fingerprint::of_der(HashAlgorithm::Sha256, &certificate.to_der()?)?;
        Ok(Self {
            certificate,
            key,
            fingerprint,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity")
            .field(&self.fingerprint.to_string())
            .finish()
    }
}

fn self_signed(key: &PKeyRef<Private>) -> Result<X509, DtlsError> {
    let mut name = X509NameBuilder::new()?;
    // The same for every server: the certificate tells nothing but its key.
    name.append_entry_by_text("CN", "WebRTC")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    // A day back, for peers whose clock is slow.
    let yesterday = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().saturating_sub(86_400));
    let not_before = Asn1Time::from_unix(i64::try_from(yesterday).unwrap_or(0))?;
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&*Asn1Time::days_from_now(VALID_DAYS)?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
