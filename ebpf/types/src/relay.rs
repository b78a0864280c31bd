use crate::{Endpoint, Ip, Verdict};
use core::net::SocketAddr;
use ion_wire::frame::checksum::{self, Sum};
use ion_wire::frame::{IpVersion, PacketMut, UdpFrame};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The next hop of a relayed flow. VLAN tags stay as they came.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Relay {
    /// Index of the interface that the packets leave by.
    pub interface: u32,
    /// Ethernet addresses of the next hop and of that interface, as words.
    ethernet: [[u8; 4]; 3],
    source: Endpoint,
    destination: Endpoint,
}

/// A relay's two ends are not of one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixedVersions;

impl Relay {
    /// Sends on from `source` to `destination` by `interface`, from its Ethernet address `own` to `next_hop`.
    ///
    /// # Errors
    /// Addresses of two IP versions.
    pub fn new(
        interface: u32,
        own: [u8; 6],
        next_hop: [u8; 6],
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Self, MixedVersions> {
        let (source, destination) = (Endpoint::from(source), Endpoint::from(destination));
        if source.ip.is_v4() != destination.ip.is_v4() {
            return Err(MixedVersions);
        }
        Ok(Self {
            interface,
            ethernet: zerocopy::transmute!([next_hop, own]),
            source,
            destination,
        })
    }

    /// Readdresses a datagram to the next hop: Ethernet, IP and UDP headers, the hop limit less one. The
    /// checksums are amended, not made anew, so that a damaged packet stays one; a UDP checksum that is
    /// none stays none.
    ///
    /// # Errors
    /// Why it cannot be sent on. The frame may then be half rewritten.
    #[inline(always)]
    pub fn readdress<P: PacketMut + ?Sized>(
        &self,
        frame: &mut P,
        udp: &UdpFrame,
    ) -> Result<(), Verdict> {
        if self.destination.ip.is_v4() != (udp.version == IpVersion::V4) {
            return Err(Verdict::DropRelay);
        }
        let sums = match udp.version {
            IpVersion::V4 => self.ipv4(frame, udp.network),
            IpVersion::V6 => self.ipv6(frame, udp.network),
        };
        let addresses = sums.ok_or(Verdict::DropHopLimit)?;
        self.udp_and_ethernet(frame, udp.transport, addresses)
            .ok_or(Verdict::DropRelay)
    }

    /// Returns what the addresses changed in checksums.
    #[inline(always)]
    fn ipv4<P: PacketMut + ?Sized>(&self, frame: &mut P, at: usize) -> Option<Sum> {
        let [ttl, protocol, check @ ..] = frame.array::<4>(at + 8)?;
        if ttl <= 1 {
            return None;
        }
        let [.., source] = self.source.ip.words();
        let [.., destination] = self.destination.ip.words();
        let addresses = readdress_word(frame, at + 12, source, Sum::default())?;
        let addresses = readdress_word(frame, at + 16, destination, addresses)?;
        let [x, y] = addresses
            .replace([ttl, protocol, 0, 0], [ttl - 1, protocol, 0, 0])
            .amend(check);
        frame.put(at + 8, [ttl - 1, protocol, x, y])?;
        Some(addresses)
    }

    /// Returns what the addresses changed in checksums.
    #[inline(always)]
    fn ipv6<P: PacketMut + ?Sized>(&self, frame: &mut P, at: usize) -> Option<Sum> {
        let [hops] = frame.array::<1>(at + 7)?;
        if hops <= 1 {
            return None;
        }
        frame.put(at + 7, [hops - 1])?;
        let sum = readdress_v6(frame, at + 8, self.source.ip, Sum::default())?;
        readdress_v6(frame, at + 24, self.destination.ip, sum)
    }

    #[inline(always)]
    fn udp_and_ethernet<P: PacketMut + ?Sized>(
        &self,
        frame: &mut P,
        at: usize,
        addresses: Sum,
    ) -> Option<()> {
        let [a, b] = self.source.port().to_be_bytes();
        let [c, d] = self.destination.port().to_be_bytes();
        let sum = readdress_word(frame, at, [a, b, c, d], addresses)?;
        let check = frame.array::<2>(at + 6)?;
        if check != [0, 0] {
            frame.put(at + 6, checksum::udp(sum.amend(check)))?;
        }
        let [a, b, c] = self.ethernet;
        let start = frame.start();
        frame.put(start, a)?;
        frame.put(start + 4, b)?;
        frame.put(start + 8, c)
    }
}

#[inline(always)]
fn readdress_v6<P: PacketMut + ?Sized>(frame: &mut P, at: usize, ip: Ip, sum: Sum) -> Option<Sum> {
    let [a, b, c, d] = ip.words();
    let sum = readdress_word(frame, at, a, sum)?;
    let sum = readdress_word(frame, at + 4, b, sum)?;
    let sum = readdress_word(frame, at + 8, c, sum)?;
    readdress_word(frame, at + 12, d, sum)
}

#[inline(always)]
fn readdress_word<P: PacketMut + ?Sized>(
    frame: &mut P,
    at: usize,
    new: [u8; 4],
    sum: Sum,
) -> Option<Sum> {
    let old = frame.array(at)?;
    frame.put(at, new)?;
    Some(sum.replace(old, new))
}

const _: () = assert!(size_of::<Relay>() == 56 && align_of::<Relay>() == 4);
