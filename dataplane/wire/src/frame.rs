//! Where the UDP datagram is in an Ethernet frame, and Internet checksums.
//!
//! The XDP program, the AF_XDP backend and the tests read frames by this code. It therefore asks
//! for bytes through [`Packet`], which the program implements on bounds that the kernel's verifier
//! accepts, for one, two or four of them at a time, the machine's words. It reads at few and small
//! offsets: frames that would need a loop (options, extension headers) are not read but named, as an
//! [`Unread`].

use crate::bytes;

/// Internet checksums, whole and by difference (RFC 1071, RFC 1624).
pub mod checksum;
mod write;

pub use write::FrameHeaders;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of a VLAN tag (IEEE 802.1Q §9.6).
pub const VLAN_TAG_LEN: usize = 4;
/// VLAN tags that are read; one for a customer's network inside a provider's.
pub const MAX_VLAN_TAGS: usize = 2;
/// Bytes of an IPv4 header without options (RFC 791 §3.1).
pub const IPV4_LEN: usize = 20;
/// Bytes of the fixed IPv6 header (RFC 8200 §3).
pub const IPV6_LEN: usize = 40;
/// Bytes of a UDP header (RFC 768).
pub const UDP_LEN: usize = 8;
/// Bytes of headers that a datagram can have before it at most.
pub const MAX_HEADERS_LEN: usize = ETHERNET_LEN + MAX_VLAN_TAGS * VLAN_TAG_LEN + IPV6_LEN + UDP_LEN;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of a customer's VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of a provider's VLAN tag (IEEE 802.1ad).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Bytes of a frame, as far as they can be read in one piece.
///
/// A position in it is a number that comes from [`Packet::start`] and [`Packet::skip`] and to which
/// constants are added. For a slice it is an offset, for the XDP program an address.
pub trait Packet {
    /// The position of the first byte.
    fn start(&self) -> usize;

    /// The position `N` bytes behind another.
    #[inline(always)]
    fn skip<const N: usize>(&self, at: usize) -> usize {
        at + N
    }

    /// The `N` bytes at a position, or `None` if the frame ends before.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Length of the whole frame, bytes.
    fn frame_len(&self) -> usize;
}

/// A frame that can be changed in place.
pub trait PacketMut: Packet {
    /// Overwrites the bytes at a position, or does nothing and returns `None` if the frame ends before.
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;
}

impl Packet for [u8] {
    #[inline]
    fn start(&self) -> usize {
        0
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        bytes::array_at(self, at)
    }

    #[inline]
    fn frame_len(&self) -> usize {
        self.len()
    }
}

impl PacketMut for [u8] {
    #[inline]
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        *self.get_mut(at..)?.first_chunk_mut::<N>()? = bytes;
        Some(())
    }
}

/// Why a frame was not read as far as a UDP header. None of these is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Unread {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but not UDP.
    NotUdp,
    /// More than [`MAX_VLAN_TAGS`] tags.
    VlanTags,
    /// IPv4 with options.
    Options,
    /// IPv6 with extension headers.
    ExtensionHeaders,
    /// Part of a fragmented IPv4 packet; in IPv6, fragments are [`Unread::ExtensionHeaders`].
    Fragment,
    /// The frame ends inside a header.
    Truncated,
}

/// Which IP a datagram came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

impl IpVersion {
    /// Bytes of the IP header as this module reads it: without options or extensions.
    #[inline]
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::V4 => IPV4_LEN,
            Self::V6 => IPV6_LEN,
        }
    }
}

/// The headers of an unfragmented UDP datagram: where they are, and what they say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpFrame {
    /// Position of the IP header.
    pub network: usize,
    /// Position of the UDP header.
    pub transport: usize,
    /// Which IP.
    pub version: IpVersion,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
    /// Bytes of headers, from the frame's first to the payload.
    pub headers_len: usize,
    /// Length of the UDP payload, or `None` if the lengths that UDP, IP and the frame name contradict
    /// each other. Bytes behind it in the frame are Ethernet's padding.
    pub payload_len: Option<usize>,
}

impl UdpFrame {
    /// Finds the datagram in a frame. Checksums are not looked at.
    ///
    /// # Errors
    /// Why there is none that this code reads.
    #[inline(always)]
    pub fn parse<P: Packet + ?Sized>(frame: &P) -> Result<Self, Unread> {
        let (ethertype, network, network_len) = network_header(frame)?;
        let (version, ip_payload_len, transport) = match ethertype {
            ETHERTYPE_IPV4 => {
                let transport = frame.skip::<IPV4_LEN>(network);
                (IpVersion::V4, ipv4(frame, network)?, transport)
            }
            ETHERTYPE_IPV6 => {
                let transport = frame.skip::<IPV6_LEN>(network);
                (IpVersion::V6, ipv6(frame, network)?, transport)
            }
            _ => return Err(Unread::NotIp),
        };
        let [s, t, d, e] = frame.array(transport).ok_or(Unread::Truncated)?;
        let [l, m, _, _] = frame.array(transport + 4).ok_or(Unread::Truncated)?;
        let udp_len = usize::from(u16::from_be_bytes([l, m]));
        let transport_len = network_len + version.header_len();
        let fits = udp_len >= UDP_LEN
            && udp_len <= ip_payload_len
            && transport_len + ip_payload_len <= frame.frame_len();
        Ok(Self {
            network,
            transport,
            version,
            source_port: u16::from_be_bytes([s, t]),
            destination_port: u16::from_be_bytes([d, e]),
            headers_len: transport_len + UDP_LEN,
            payload_len: if fits { Some(udp_len - UDP_LEN) } else { None },
        })
    }

    /// Position of the UDP payload.
    #[inline(always)]
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.transport + UDP_LEN
    }
}

/// EtherType of what is behind the VLAN tags, its position, and the bytes before it.
#[inline(always)]
fn network_header<P: Packet + ?Sized>(frame: &P) -> Result<(u16, usize, usize), Unread> {
    const TAGGED_LEN: usize = ETHERNET_LEN + VLAN_TAG_LEN;
    const TWICE_TAGGED_LEN: usize = TAGGED_LEN + VLAN_TAG_LEN;
    let start = frame.start();
    let ethertype_before = |at: usize| {
        let bytes = frame.array(at - 2).ok_or(Unread::Truncated)?;
        Ok(u16::from_be_bytes(bytes))
    };
    let is_tag = |kind| kind == ETHERTYPE_VLAN || kind == ETHERTYPE_QINQ;
    let kind = ethertype_before(start + ETHERNET_LEN)?;
    if !is_tag(kind) {
        return Ok((kind, frame.skip::<ETHERNET_LEN>(start), ETHERNET_LEN));
    }
    let kind = ethertype_before(start + TAGGED_LEN)?;
    if !is_tag(kind) {
        return Ok((kind, frame.skip::<TAGGED_LEN>(start), TAGGED_LEN));
    }
    let kind = ethertype_before(start + TWICE_TAGGED_LEN)?;
    if !is_tag(kind) {
        let at = frame.skip::<TWICE_TAGGED_LEN>(start);
        return Ok((kind, at, TWICE_TAGGED_LEN));
    }
    Err(Unread::VlanTags)
}

/// Length of the payload of an IPv4 packet that holds a whole UDP datagram.
#[inline(always)]
fn ipv4<P: Packet + ?Sized>(frame: &P, at: usize) -> Result<usize, Unread> {
    let word = |at| frame.array::<4>(at).ok_or(Unread::Truncated);
    let [version_len, _, l, m] = word(at)?;
    let [_, _, f, g] = word(at + 4)?;
    let [_, protocol, _, _] = word(at + 8)?;
    if version_len >> 4 != 4 || version_len & 15 < 5 {
        return Err(Unread::NotIp);
    }
    // More fragments, or an offset; "don't fragment" alone is no fragment.
    if u16::from_be_bytes([f, g]) & 0x3fff != 0 {
        return Err(Unread::Fragment);
    }
    if protocol != PROTOCOL_UDP {
        return Err(Unread::NotUdp);
    }
    if version_len & 15 != 5 {
        return Err(Unread::Options);
    }
    Ok(usize::from(u16::from_be_bytes([l, m])).saturating_sub(IPV4_LEN))
}

/// Length of the payload of an IPv6 packet that holds a UDP datagram and nothing before it.
#[inline(always)]
fn ipv6<P: Packet + ?Sized>(frame: &P, at: usize) -> Result<usize, Unread> {
    let [version] = frame.array(at).ok_or(Unread::Truncated)?;
    let [l, m, next, _] = frame.array(at + 4).ok_or(Unread::Truncated)?;
    if version >> 4 != 6 {
        return Err(Unread::NotIp);
    }
    if next == PROTOCOL_UDP {
        return Ok(usize::from(u16::from_be_bytes([l, m])));
    }
    Err(if is_extension_header(next) {
        Unread::ExtensionHeaders
    } else {
        Unread::NotUdp
    })
}

/// Hop-by-hop options, routing, fragment, ESP, authentication, destination options, mobility, HIP
/// and shim6 (IANA, IPv6 Extension Header Types).
#[inline(always)]
const fn is_extension_header(next: u8) -> bool {
    matches!(next, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140)
}

#[cfg(test)]
mod tests;
