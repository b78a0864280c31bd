use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A socket address, or none. IPv4 is kept as such, not mapped.
#[repr(C)]
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Address {
    ip: [u8; 16],
    port: u16,
    /// 0: none, 4 or 6.
    family: u8,
    reserved: [u8; 5],
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let (family, ip) = match address.ip().to_canonical() {
            IpAddr::V4(v4) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&v4.octets());
                (4, ip)
            }
            IpAddr::V6(v6) => (6, v6.octets()),
        };
        Self {
            ip,
            port: address.port(),
            family,
            reserved: [0; 5],
        }
    }
}

/// Says whether there is an address, never which: logs hold no addresses.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.family == 0 {
            "Address(none)"
        } else {
            "Address(..)"
        })
    }
}

impl Address {
    /// The address, unless it is none (or of no family known).
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let [a, b, c, d, ..] = self.ip;
        let ip = match self.family {
            4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            6 => IpAddr::V6(Ipv6Addr::from(self.ip)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

/// Text of at most `N` bytes (`N` ≤ 255), as rows hold it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self {
            len: 0,
            bytes: [0; N],
        }
    }
}

impl<const N: usize> Text<N> {
    /// The text as a row value, or `None` if it is longer than `N` bytes.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; N];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self {
            len: u8::try_from(text.len()).ok()?,
            bytes,
        })
    }

    /// The bytes; an impossible length from the other side is cut to what there is.
    pub fn as_bytes_of(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(N)]
    }

    /// The text; empty if the other side wrote something that is not UTF-8.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes_of()).unwrap_or_default()
    }

    /// True for the empty text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> std::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// RTP header extensions that the dataplane reads, rewrites or passes on by name.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid = 0,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid = 1,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid = 2,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportCc = 3,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsSendTime = 4,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel = 5,
    /// `urn:3gpp:video-orientation`.
    VideoOrientation = 6,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    PlayoutDelay = 7,
    /// AV1 dependency descriptor.
    DependencyDescriptor = 8,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`.
    VideoLayersAllocation = 9,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/color-space`.
    ColorSpace = 10,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-content-type`.
    ContentType = 11,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-timing`.
    VideoTiming = 12,
    /// `urn:ietf:params:rtp-hdrext:toffset` (RFC 5450).
    TransmissionOffset = 13,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`.
    AbsCaptureTime = 14,
}

/// Number of kinds, and of slots in an [`ExtensionMap`].
pub const EXTENSION_KINDS: usize = 16;

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
}

/// The extension ids that one transport negotiated (RFC 8285: 1–14 in one-byte
/// form, 1–255 in two-byte form). BUNDLE makes them the same for all its media.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ExtensionMap([u8; EXTENSION_KINDS]);

impl ExtensionMap {
    /// The id of a kind, if negotiated.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        Some(self.0[kind as usize]).filter(|&id| id != 0)
    }

    /// The kind of an id on the wire, if negotiated. Linear over sixteen bytes.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        let slot = self.0.iter().position(|&known| known == id && id != 0)?;
        ExtensionKind::ALL.get(slot).copied()
    }

    /// Sets (or with 0 clears) the id of a kind.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) {
        self.0[kind as usize] = id;
    }
}
