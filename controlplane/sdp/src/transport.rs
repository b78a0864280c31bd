use crate::error::{SdpError, excerpt};
use crate::limits::{MAX_ICE_CREDENTIAL_BYTES, MIN_PWD_BYTES, MIN_UFRAG_BYTES};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// ICE username fragment and password (RFC 8839, section 5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`, 4–255 bytes.
    pub ufrag: String,
    /// `a=ice-pwd`, 22–255 bytes.
    pub pwd: String,
}

/// The password stays out of logs.
impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Checks length and alphabet. Clients write more than the RFC's letters, digits, `+` and `/`
/// (base64 padding, `-`, `_`), so anything printable without spaces passes; but a colon in a
/// username fragment would make the STUN username ambiguous.
pub(crate) fn check_ufrag(value: &str) -> Result<String, SdpError> {
    check_credential("ice-ufrag", value, MIN_UFRAG_BYTES)?;
    if value.contains(':') {
        return Err(SdpError::attribute(
            "ice-ufrag",
            "a colon is not allowed in it",
        ));
    }
    Ok(value.to_owned())
}

pub(crate) fn check_pwd(value: &str) -> Result<String, SdpError> {
    check_credential("ice-pwd", value, MIN_PWD_BYTES)?;
    Ok(value.to_owned())
}

fn check_credential(name: &'static str, value: &str, min: usize) -> Result<(), SdpError> {
    let max = MAX_ICE_CREDENTIAL_BYTES;
    let printable = value.bytes().all(|b| b.is_ascii_graphic());
    if printable && (min..=max).contains(&value.len()) {
        return Ok(());
    }
    Err(SdpError::attribute(
        name,
        format!("it has to be {min} to {max} printable characters"),
    ))
}

/// Hash functions accepted for certificates (RFC 8122).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// `sha-256`.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl HashAlgorithm {
    /// Bytes of a digest.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Name in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

/// Hash of a DTLS certificate in DER form (`a=fingerprint`, RFC 8122).
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash function.
    pub algorithm: HashAlgorithm,
    /// The digest, as long as the algorithm says.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    /// A SHA-256 fingerprint.
    pub fn sha256(digest: [u8; 32]) -> Self {
        Self {
            algorithm: HashAlgorithm::Sha256,
            digest: digest.to_vec(),
        }
    }

    /// Reads `sha-256 AB:CD:…`; `Ok(None)` for a hash function that is not accepted.
    pub(crate) fn parse(value: &str) -> Result<Option<Self>, SdpError> {
        let wrong = |reason: &str| SdpError::attribute("fingerprint", reason);
        let (name, hex) = value
            .split_once(' ')
            .ok_or_else(|| wrong("expected a hash function, a space and hexadecimal pairs"))?;
        let algorithms = [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ];
        let Some(algorithm) = algorithms
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
        else {
            return Ok(None);
        };
        let pair = |pair: &str| {
            let plain = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        let digest = hex
            .trim()
            .split(':')
            .map(pair)
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| wrong("the digest is hexadecimal pairs joined by colons"))?;
        if digest.len() != algorithm.len_bytes() {
            let name = algorithm.as_str();
            return Err(wrong(&format!(
                "{name} has {} pairs",
                algorithm.len_bytes()
            )));
        }
        Ok(Some(Self { algorithm, digest }))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.algorithm.as_str())?;
        for (index, byte) in self.digest.iter().enumerate() {
            let colon = if index > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Where a candidate can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateAddress {
    /// An address.
    Ip(IpAddr),
    /// A name: the `.local` names of browsers that hide their addresses. Ion does not look
    /// names up; such a peer is found by its own checks.
    Name(String),
}

impl fmt::Display for CandidateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Transport of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544), with its `tcptype`.
    Tcp(Option<String>),
}

/// Kind of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// `host`.
    Host,
    /// `srflx`.
    ServerReflexive,
    /// `prflx`.
    PeerReflexive,
    /// `relay`.
    Relay,
}

impl CandidateKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// An ICE candidate (`a=candidate`, RFC 8839, section 5.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Groups candidates that behave alike.
    pub foundation: String,
    /// 1, or 2 for RTCP of its own, which Firefox offers and nobody uses.
    pub component: u16,
    /// UDP or TCP.
    pub transport: CandidateTransport,
    /// Priority (RFC 8445, section 5.1.2).
    pub priority: u32,
    /// Address or name.
    pub address: CandidateAddress,
    /// Port.
    pub port: u16,
    /// Kind.
    pub kind: CandidateKind,
    /// `raddr` and `rport`, as written.
    pub related: Option<(String, u16)>,
    /// Further pairs of name and value, such as `generation 0`.
    pub extensions: Vec<(String, String)>,
}

/// Addresses stay out of logs.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("component", &self.component)
            .field("transport", &self.transport)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// A host candidate over UDP. `rank` 0 is the most preferred; it also is the foundation,
    /// so each address needs a rank of its own.
    pub fn host(address: SocketAddr, rank: u16) -> Self {
        // RFC 8445, section 5.1.2.1: type preference 126, component 1.
        let priority = (126 << 24) | (u32::from(u16::MAX - rank) << 8) | 255;
        Self {
            foundation: (u32::from(rank) + 1).to_string(),
            component: 1,
            transport: CandidateTransport::Udp,
            priority,
            address: CandidateAddress::Ip(address.ip()),
            port: address.port(),
            kind: CandidateKind::Host,
            related: None,
            extensions: Vec::new(),
        }
    }

    /// Where to send to, if this is a UDP candidate of component 1 with an address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match (&self.address, &self.transport) {
            (CandidateAddress::Ip(ip), CandidateTransport::Udp)
                if self.component == 1 && self.port != 0 && !ip.is_unspecified() =>
            {
                Some(SocketAddr::new(*ip, self.port))
            }
            _ => None,
        }
    }
}

impl FromStr for Candidate {
    type Err = SdpError;

    /// Reads `candidate:…`, with or without `a=` before it and `candidate:` itself.
    fn from_str(text: &str) -> Result<Self, SdpError> {
        let value = text.strip_prefix("a=").unwrap_or(text);
        Self::parse_value(value.strip_prefix("candidate:").unwrap_or(value))
    }
}

impl Candidate {
    /// Reads the value of `a=candidate`.
    pub(crate) fn parse_value(value: &str) -> Result<Self, SdpError> {
        let wrong =
            || SdpError::attribute("candidate", format!("not a candidate: {}", excerpt(value)));
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(wrong);
        let foundation = word()?.to_owned();
        let component = word()?.parse().map_err(|_| wrong())?;
        let transport = word()?;
        let priority = word()?.parse().map_err(|_| wrong())?;
        let address = word()?;
        let address = match address.parse() {
            Ok(ip) => CandidateAddress::Ip(ip),
            Err(_) => CandidateAddress::Name(address.to_owned()),
        };
        let port = word()?.parse().map_err(|_| wrong())?;
        if word()? != "typ" {
            return Err(wrong());
        }
        let kind = match word()? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relay,
            _ => return Err(wrong()),
        };
        let (mut raddr, mut rport, mut tcp_type) = (None, None, None);
        let mut extensions = Vec::new();
        while let Some(name) = words.next() {
            let Some(value) = words.next() else { break };
            match name {
                "raddr" => raddr = Some(value.to_owned()),
                "rport" => rport = Some(value.parse().map_err(|_| wrong())?),
                "tcptype" => tcp_type = Some(value.to_owned()),
                _ => extensions.push((name.to_owned(), value.to_owned())),
            }
        }
        let transport = match transport.to_ascii_lowercase().as_str() {
            "udp" => CandidateTransport::Udp,
            "tcp" => CandidateTransport::Tcp(tcp_type),
            _ => return Err(wrong()),
        };
        let related = raddr.map(|raddr| (raddr, rport.unwrap_or(0)));
        Ok(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions,
        })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            CandidateTransport::Udp => "udp",
            CandidateTransport::Tcp(_) => "tcp",
        };
        let Self {
            foundation,
            component,
            priority,
            address,
            port,
            ..
        } = self;
        let kind = self.kind.as_str();
        write!(
            f,
            "{foundation} {component} {transport} {priority} {address} {port} typ {kind}"
        )?;
        if let Some((raddr, rport)) = &self.related {
            write!(f, " raddr {raddr} rport {rport}")?;
        }
        if let CandidateTransport::Tcp(Some(tcp_type)) = &self.transport {
            write!(f, " tcptype {tcp_type}")?;
        }
        self.extensions
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}
