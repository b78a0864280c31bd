use crate::session::Direction;

/// An `a=extmap` line (RFC 8285, section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Local identifier, 1–14 in the one-byte form, 1–255 in the two-byte form.
    pub id: u8,
    /// The direction restricted to, if any was given.
    pub direction: Option<Direction>,
    /// What the extension is.
    pub uri: String,
}

impl Extension {
    /// The kind, if Ion knows it.
    pub fn kind(&self) -> Option<ExtensionKind> {
        ExtensionKind::from_uri(&self.uri)
    }
}

/// Header extensions that Ion negotiates. Order and names are those of `ion-tables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExtensionKind {
    /// MID (RFC 9143).
    Mid = 0,
    /// RID (RFC 8852).
    Rid = 1,
    /// RID of the stream that an RTX packet repairs (RFC 8852).
    RepairedRid = 2,
    /// Transport-wide congestion control sequence number.
    TransportCc = 3,
    /// Absolute send time.
    AbsSendTime = 4,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel = 5,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation = 6,
    /// Playout delay.
    PlayoutDelay = 7,
    /// AV1 dependency descriptor.
    DependencyDescriptor = 8,
    /// Video layers allocation.
    VideoLayersAllocation = 9,
    /// Colour space.
    ColorSpace = 10,
    /// Video content type.
    ContentType = 11,
    /// Video timing.
    VideoTiming = 12,
    /// Transmission time offset (RFC 5450).
    TransmissionOffset = 13,
    /// Absolute capture time.
    AbsCaptureTime = 14,
}

impl ExtensionKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportCc,
        Self::AbsSendTime,
        Self::AudioLevel,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::DependencyDescriptor,
        Self::VideoLayersAllocation,
        Self::ColorSpace,
        Self::ContentType,
        Self::VideoTiming,
        Self::TransmissionOffset,
        Self::AbsCaptureTime,
    ];

    /// The URI used in `a=extmap`.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::VideoLayersAllocation => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
            }
            Self::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
            Self::ContentType => "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
            Self::VideoTiming => "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
            Self::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        }
    }

    /// The kind with this URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// The id of each extension on one transport. BUNDLE makes them the same for all its media
/// (RFC 9143, section 9.1): one id has one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionMap([u8; ExtensionKind::ALL.len()]);

impl ExtensionMap {
    /// The id of a kind, if negotiated.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        Some(self.0[kind as usize]).filter(|&id| id != 0)
    }

    /// The kind that has an id, if any.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        self.iter()
            .find(|&(_, known)| known == id)
            .map(|(kind, _)| kind)
    }

    /// The kinds negotiated, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        ExtensionKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.id(kind)?)))
    }

    /// Enters an id, unless kind or id are taken by another; true if the map now says so.
    pub(crate) fn enter(&mut self, kind: ExtensionKind, id: u8) -> bool {
        match (self.id(kind), self.kind(id)) {
            (None, None) => {
                self.0[kind as usize] = id;
                id != 0
            }
            (Some(known), _) => known == id,
            (None, Some(_)) => false,
        }
    }
}
