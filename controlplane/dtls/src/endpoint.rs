use std::sync::Arc;
use std::time::{Duration, Instant};

use boring::ssl::{
    SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};

use crate::boring_session::Session;
use crate::error::DtlsError;
use crate::ffi;
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::keying::SrtpProfile;
use crate::session::{DtlsVersion, Role};

/// Certificate messages of peers beyond this many bytes end the handshake.
const MAX_CERTIFICATE_LEN: usize = 16 * 1024;
/// Cipher suites for DTLS 1.2: ephemeral keys and AEAD only; for 1.3 all are. RSA for servers that we
/// meet as client.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
/// Groups for a server, which answers with the client's choice of share where it can.
const SERVER_GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
/// Groups for a client: with an ML-KEM share the hello would take several datagrams, and not every peer
/// puts them together.
const CLIENT_GROUPS: &str = "X25519:P-256:P-384";

/// Settings of an [`Endpoint`].
#[derive(Clone, Debug)]
pub struct Config {
    /// From the start of a session to its end if not connected. Default 15 s.
    pub handshake_timeout: Duration,
    /// SRTP profiles in order of preference, not empty. Default [`SrtpProfile::PREFERENCE`].
    pub srtp_profiles: Vec<SrtpProfile>,
    /// Lowest version spoken. Default 1.2.
    pub min_version: DtlsVersion,
    /// Highest version spoken. Default 1.3.
    pub max_version: DtlsVersion,
    /// Longest datagram of a handshake, in bytes of UDP payload. Default 1200.
    pub mtu: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(15),
            srtp_profiles: SrtpProfile::PREFERENCE.to_vec(),
            min_version: DtlsVersion::V1_2,
            max_version: DtlsVersion::V1_3,
            mtu: 1200,
        }
    }
}

/// What all sessions share. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) context: SslContext,
    pub(crate) config: Config,
    identity: Identity,
}

impl Endpoint {
    /// Makes an endpoint.
    ///
    /// # Errors
    /// When the engine refuses the certificate or a setting.
    pub fn new(identity: Identity, config: Config) -> Result<Self, DtlsError> {
        let mut builder = SslContext::builder(SslMethod::dtls())?;
        builder.set_min_proto_version(Some(engine_version(config.min_version)))?;
        builder.set_max_proto_version(Some(engine_version(config.max_version)))?;
        builder.set_certificate(identity.certificate())?;
        builder.set_private_key(identity.key())?;
        builder.set_strict_cipher_list(CIPHERS)?;
        let profiles: Vec<_> = config
            .srtp_profiles
            .iter()
            .map(|p| p.engine_name())
            .collect();
        builder.set_tlsext_use_srtp(&profiles.join(":"))?;
        builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_QUERY_MTU);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        // Each session brings its own callback; without one, nobody is trusted.
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        ffi::use_own_clock(&mut builder);
        ffi::set_max_certificate_len(&mut builder, MAX_CERTIFICATE_LEN);
        let shared = Shared {
            context: builder.build(),
            config,
            identity,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The certificate's fingerprint for the SDP.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        self.shared.identity.fingerprint()
    }

    /// The certificate and key, for keeping.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Starts a session that waits for the peer's ClientHello. The peer's certificate must match one of
    /// `expected`; none in there, none will. The handshake's time runs from `now`, so make it when ICE
    /// has validated its first pair.
    ///
    /// # Errors
    /// When the engine is out of memory.
    pub fn accept(&self, now: Instant, expected: &[Fingerprint]) -> Result<Session, DtlsError> {
        Session::new(Arc::clone(&self.shared), Role::Server, now, expected)
    }

    /// Starts a session that sends a ClientHello, which is there to be polled at once.
    ///
    /// # Errors
    /// When the engine is out of memory.
    pub fn connect(&self, now: Instant, expected: &[Fingerprint]) -> Result<Session, DtlsError> {
        Session::new(Arc::clone(&self.shared), Role::Client, now, expected)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("identity", &self.shared.identity)
            .finish_non_exhaustive()
    }
}

pub(crate) const fn groups(role: Role) -> &'static str {
    match role {
        Role::Server => SERVER_GROUPS,
        Role::Client => CLIENT_GROUPS,
    }
}

const fn engine_version(version: DtlsVersion) -> SslVersion {
    match version {
        DtlsVersion::V1_2 => SslVersion::DTLS1_2,
        DtlsVersion::V1_3 => SslVersion::DTLS1_3,
    }
}
