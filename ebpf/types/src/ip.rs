use ion_wire::frame::{IpVersion, Packet, UdpFrame};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IP address, byte for byte as it is on the wire; IPv4 in its mapped form (RFC 4291 §2.5.5.2).
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Ip(pub(crate) [u32; 4]);

/// The third word of a mapped IPv4 address.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Ip {
    /// The IPv4 address with these four bytes, in wire order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(word: [u8; 4]) -> Self {
        Self([0, 0, MAPPED, u32::from_ne_bytes(word)])
    }

    /// The IPv6 address with these words, in wire order.
    #[inline(always)]
    #[must_use]
    pub const fn v6(words: [[u8; 4]; 4]) -> Self {
        let [a, b, c, d] = words;
        Self([
            u32::from_ne_bytes(a),
            u32::from_ne_bytes(b),
            u32::from_ne_bytes(c),
            u32::from_ne_bytes(d),
        ])
    }

    /// The address from its 16 bytes.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Self {
        zerocopy::transmute!(octets)
    }

    /// The 16 bytes.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }

    /// Its words, in wire order.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [[u8; 4]; 4] {
        let [a, b, c, d] = self.0;
        [
            a.to_ne_bytes(),
            b.to_ne_bytes(),
            c.to_ne_bytes(),
            d.to_ne_bytes(),
        ]
    }

    /// True for a mapped IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        let [a, b, c, _] = self.0;
        a | b == 0 && c == MAPPED
    }

    /// Where a datagram comes from.
    #[inline(always)]
    pub fn source<P: Packet + ?Sized>(frame: &P, udp: &UdpFrame) -> Option<Self> {
        match udp.version {
            IpVersion::V4 => frame.array(udp.network + 12).map(Self::v4),
            IpVersion::V6 => Self::read_v6(frame, udp.network + 8),
        }
    }

    /// Where a datagram goes.
    #[inline(always)]
    pub fn destination<P: Packet + ?Sized>(frame: &P, udp: &UdpFrame) -> Option<Self> {
        match udp.version {
            IpVersion::V4 => frame.array(udp.network + 16).map(Self::v4),
            IpVersion::V6 => Self::read_v6(frame, udp.network + 24),
        }
    }

    #[inline(always)]
    fn read_v6<P: Packet + ?Sized>(frame: &P, at: usize) -> Option<Self> {
        Some(Self::v6([
            frame.array(at)?,
            frame.array(at + 4)?,
            frame.array(at + 8)?,
            frame.array(at + 12)?,
        ]))
    }
}
