use super::checksum::{self, Sum};
use super::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, IPV4_LEN, MAX_VLAN_TAGS,
    PROTOCOL_UDP, UDP_LEN,
};
use crate::WireError;
use crate::bytes::Cursor;
use core::net::SocketAddr;

/// All that is before a UDP payload in its frame, lengths and checksums apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeaders<'a> {
    /// Ethernet address of the next hop.
    pub to: [u8; 6],
    /// Ethernet address of the interface.
    pub from: [u8; 6],
    /// VLAN tags (PCP, DEI, VID) from the outermost, [`MAX_VLAN_TAGS`] at most. Of two, the outer one is
    /// a provider's.
    pub vlans: &'a [u16],
    /// Where the datagram comes from.
    pub source: SocketAddr,
    /// Where it goes; of the same IP version.
    pub destination: SocketAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
}

impl FrameHeaders<'_> {
    /// Writes the frame of a datagram with `payload`, checksums included; returns its length. Nothing
    /// pads it to Ethernet's minimum: drivers do.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`]; [`WireError::BadValue`] if the addresses are of two IP versions;
    /// [`WireError::TooMany`] for too many VLAN tags; [`WireError::BadLength`] for a payload that UDP
    /// cannot carry.
    pub fn write(&self, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
        if self.vlans.len() > MAX_VLAN_TAGS {
            return Err(WireError::TooMany);
        }
        let mut out = Cursor::new(out);
        out.put(&self.to)?;
        out.put(&self.from)?;
        for (n, &tag) in self.vlans.iter().enumerate() {
            let outer_of_two = n + 1 < self.vlans.len();
            out.put_u16(if outer_of_two {
                ETHERTYPE_QINQ
            } else {
                ETHERTYPE_VLAN
            })?;
            out.put_u16(tag)?;
        }
        let udp_len = u16::try_from(payload.len() + UDP_LEN).map_err(|_| WireError::BadLength)?;
        let addresses = match (self.source, self.destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                let (source, destination) = (source.ip().octets(), destination.ip().octets());
                out.put_u16(ETHERTYPE_IPV4)?;
                out.put(&self.ipv4(source, destination, udp_len)?)?;
                Sum::default().with(&source).with(&destination)
            }
            (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
                let (source, destination) = (source.ip().octets(), destination.ip().octets());
                out.put_u16(ETHERTYPE_IPV6)?;
                let [class, flow] = (0x6000 | u16::from(self.traffic_class) << 4).to_be_bytes();
                let [l, m] = udp_len.to_be_bytes();
                out.put(&[class, flow, 0, 0, l, m, PROTOCOL_UDP, self.hop_limit])?;
                out.put(&source)?;
                out.put(&destination)?;
                Sum::default().with(&source).with(&destination)
            }
            _ => return Err(WireError::BadValue),
        };
        let [s, t] = self.source.port().to_be_bytes();
        let [d, e] = self.destination.port().to_be_bytes();
        let [l, m] = udp_len.to_be_bytes();
        // The pseudo-header (RFC 768; RFC 8200 §8.1) has the length once more.
        let sum = addresses
            .with(&[0, PROTOCOL_UDP, l, m])
            .with(&[s, t, d, e, l, m]);
        out.put(&[s, t, d, e, l, m])?;
        out.put(&checksum::udp(sum.with(payload).finish()))?;
        out.put(payload)?;
        Ok(out.len())
    }

    fn ipv4(
        &self,
        [a, b, c, d]: [u8; 4],
        [e, f, g, h]: [u8; 4],
        udp_len: u16,
    ) -> Result<[u8; IPV4_LEN], WireError> {
        /// Don't fragment; the identification may then be zero (RFC 6864 §4.1).
        const DF: u8 = 0x40;
        let total =
            u16::try_from(usize::from(udp_len) + IPV4_LEN).map_err(|_| WireError::BadLength)?;
        let [l, m] = total.to_be_bytes();
        let (class, hops) = (self.traffic_class, self.hop_limit);
        let header = |x, y| {
            [
                0x45,
                class,
                l,
                m,
                0,
                0,
                DF,
                0,
                hops,
                PROTOCOL_UDP,
                x,
                y,
                a,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
            ]
        };
        let [x, y] = Sum::default().with(&header(0, 0)).finish();
        Ok(header(x, y))
    }
}
