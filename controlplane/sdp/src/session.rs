use crate::codec::Codec;
use crate::error::SdpError;
use crate::extension::Extension;
use crate::limits::MAX_MID_BYTES;
use crate::stream::{GroupSemantics, Msid, Rid, Simulcast, Source, SsrcGroup};
use crate::transport::{Candidate, Fingerprint};
use std::fmt;

/// A session description. Session-level defaults (ICE, DTLS, direction, candidates) are folded
/// into each media section by [`parse`](Self::parse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// The `o=` line.
    pub origin: Origin,
    /// The MIDs of each `a=group:BUNDLE`.
    pub bundles: Vec<Vec<Mid>>,
    /// `a=ice-lite`.
    pub ice_lite: bool,
    /// `a=ice-options`, each word.
    pub ice_options: Vec<String>,
    /// `a=extmap-allow-mixed`, at session level or in every section.
    pub extmap_allow_mixed: bool,
    /// The m-sections, in order.
    pub media: Vec<Media>,
}

impl SessionDescription {
    /// Reads a description.
    ///
    /// # Errors
    /// When a bound of [`limits`](crate::limits) is broken (found before anything is allocated),
    /// or a line or a known attribute is malformed. Unknown attributes are skipped.
    pub fn parse(text: &[u8]) -> Result<Self, SdpError> {
        crate::parse::session(text)
    }

    /// The m-section with this MID.
    pub fn media_with_mid(&self, mid: &Mid) -> Option<&Media> {
        self.media
            .iter()
            .find(|media| media.mid.as_ref() == Some(mid))
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::write::session(self, f)
    }
}

/// The `o=` line, without what is always the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// User name, `-` for none.
    pub username: String,
    /// Session id, digits.
    pub session_id: String,
    /// Version, raised with every description of the session.
    pub version: u64,
    /// Address as written; it has no meaning in WebRTC.
    pub address: String,
}

/// The ICE password and the candidates stay out of logs.
impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("kind", &self.kind)
            .field("mid", &self.mid)
            .field("port", &self.port)
            .field("protocol", &self.protocol)
            .field("direction", &self.direction)
            .field("codecs", &self.codecs)
            .field("extensions", &self.extensions)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// The address stays out of logs, and so does the user name.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("session_id", &self.session_id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Media identification (`a=mid`, RFC 5888): 1–16 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mid(String);

impl Mid {
    /// A MID, if the text can be one.
    pub fn new(text: &str) -> Option<Self> {
        let good = !text.is_empty()
            && text.len() <= MAX_MID_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kind of an m-section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaKind {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// `application`: data channels.
    Application,
    /// Another.
    Other(String),
}

impl MediaKind {
    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "audio" => Self::Audio,
            "video" => Self::Video,
            "application" => Self::Application,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word in the m-line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
            Self::Other(other) => other,
        }
    }
}

/// Who sends, as seen by the writer of the description (RFC 8866, section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// The writer.
    SendOnly,
    /// The reader.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.as_str() == word)
    }

    /// True if the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// True if the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// `a=setup` (RFC 4145, RFC 8842): who starts the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The writer is the client.
    Active,
    /// The writer is the server.
    Passive,
    /// The answerer chooses.
    Actpass,
    /// Nobody, for now.
    Holdconn,
}

impl Setup {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::Actpass, Self::Holdconn]
            .into_iter()
            .find(|setup| setup.as_str() == word)
    }
}

/// An m-section.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// Audio, video, application.
    pub kind: MediaKind,
    /// `a=mid`.
    pub mid: Option<Mid>,
    /// Port of the m-line; 0 rejects the section, unless it is `bundle_only` in an offer.
    pub port: u16,
    /// Protocol of the m-line, such as `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// Direction; `sendrecv` where nothing is said.
    pub direction: Direction,
    /// Payload types in order of preference.
    pub codecs: Vec<Codec>,
    /// Formats of the m-line that no `a=rtpmap` explains, after the others.
    pub other_formats: Vec<String>,
    /// Header extensions.
    pub extensions: Vec<Extension>,
    /// Sources in order of appearance.
    pub sources: Vec<Source>,
    /// Groups of sources.
    pub ssrc_groups: Vec<SsrcGroup>,
    /// Restriction identifiers.
    pub rids: Vec<Rid>,
    /// Simulcast.
    pub simulcast: Option<Simulcast>,
    /// Stream and track.
    pub msid: Option<Msid>,
    /// `a=rtcp-mux`.
    pub rtcp_mux: bool,
    /// `a=rtcp-mux-only` (RFC 8858).
    pub rtcp_mux_only: bool,
    /// `a=rtcp-rsize` (RFC 5506).
    pub rtcp_rsize: bool,
    /// `a=bundle-only` (RFC 9143).
    pub bundle_only: bool,
    /// `a=ice-ufrag`.
    pub ice_ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub ice_pwd: Option<String>,
    /// `a=setup`.
    pub setup: Option<Setup>,
    /// Fingerprints by SHA-256, -384 or -512; others are skipped.
    pub fingerprints: Vec<Fingerprint>,
    /// Candidates; those that make no sense are skipped.
    pub candidates: Vec<Candidate>,
    /// `a=end-of-candidates`.
    pub end_of_candidates: bool,
    /// `a=sctp-port` (RFC 8841).
    pub sctp_port: Option<u16>,
    /// `a=max-message-size` (RFC 8841), bytes.
    pub max_message_size: Option<u32>,
}

impl Media {
    /// An m-section with nothing in it, on port 9.
    pub fn new(kind: MediaKind, protocol: impl Into<String>) -> Self {
        Self {
            kind,
            mid: None,
            port: 9,
            protocol: protocol.into(),
            direction: Direction::SendRecv,
            codecs: Vec::new(),
            other_formats: Vec::new(),
            extensions: Vec::new(),
            sources: Vec::new(),
            ssrc_groups: Vec::new(),
            rids: Vec::new(),
            simulcast: None,
            msid: None,
            rtcp_mux: false,
            rtcp_mux_only: false,
            rtcp_rsize: false,
            bundle_only: false,
            ice_ufrag: None,
            ice_pwd: None,
            setup: None,
            fingerprints: Vec::new(),
            candidates: Vec::new(),
            end_of_candidates: false,
            sctp_port: None,
            max_message_size: None,
        }
    }

    /// True if the writer does not want this section used.
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// The codec with this payload type.
    pub fn codec(&self, pt: u8) -> Option<&Codec> {
        self.codecs.iter().find(|codec| codec.pt == pt)
    }

    /// The RTX payload type that retransmits `pt`.
    pub fn rtx_of(&self, pt: u8) -> Option<u8> {
        self.codecs
            .iter()
            .find(|codec| codec.apt() == Some(pt))
            .map(|codec| codec.pt)
    }

    /// The RTX source paired with `ssrc` by `a=ssrc-group:FID`.
    pub fn rtx_ssrc_of(&self, ssrc: u32) -> Option<u32> {
        self.paired_ssrc(&GroupSemantics::Fid, ssrc)
    }

    /// The source of repair packets for `ssrc`, by `a=ssrc-group:FEC-FR`.
    pub fn fec_ssrc_of(&self, ssrc: u32) -> Option<u32> {
        self.paired_ssrc(&GroupSemantics::FecFr, ssrc)
    }

    fn paired_ssrc(&self, semantics: &GroupSemantics, ssrc: u32) -> Option<u32> {
        self.ssrc_groups
            .iter()
            .filter(|group| group.semantics == *semantics)
            .find_map(|group| match group.ssrcs[..] {
                [primary, paired, ..] if primary == ssrc => Some(paired),
                _ => None,
            })
    }

    /// Stream and track, from `a=msid` or else from the sources.
    pub fn any_msid(&self) -> Option<&Msid> {
        self.msid
            .as_ref()
            .or_else(|| self.sources.iter().find_map(|source| source.msid.as_ref()))
    }
}
