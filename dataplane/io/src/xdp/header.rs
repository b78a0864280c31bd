//! What is written before a payload: Ethernet, IP and UDP, ready but for lengths and checksum.

use super::umem::{CHUNK, HEADROOM};
use ion_engine::congestion::Ecn;
use ion_wire::frame::checksum::{Sum, udp as never_zero};
use ion_wire::frame::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, FrameHeaders, IPV4_LEN, IPV6_LEN,
    MAX_HEADERS_LEN, MAX_VLAN_TAGS, PROTOCOL_UDP, UDP_LEN, VLAN_TAG_LEN,
};
use std::net::SocketAddr;

/// Room for the headers in a template: a whole number of vector registers.
const ROOM: usize = 80;
/// Bytes of `struct xsk_tx_metadata` with a checksum request.
pub(crate) const METADATA_LEN: usize = 16;
const _: () = assert!(MAX_HEADERS_LEN <= ROOM && ROOM + METADATA_LEN <= HEADROOM);
/// `XDP_TXMD_FLAGS_CHECKSUM`.
const METADATA_CHECKSUM: u64 = 1 << 1;
/// Where headers have their checksums.
const IPV4_CHECKSUM_AT: usize = 10;
const UDP_CHECKSUM_AT: usize = 6;
/// Bytes of an Ethernet header with its tags at most.
const LINK_LEN: usize = ETHERNET_LEN + MAX_VLAN_TAGS * VLAN_TAG_LEN;
/// The VLAN's number in a tag; the rest is priority, which is not ours to echo.
const VLAN_ID: u16 = 0x0fff;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// Who computes the UDP checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// We do.
    Software,
    /// The device, or the kernel for it, asked by TX metadata.
    Metadata,
}

/// An Ethernet header with its VLAN tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkHeader {
    bytes: [u8; LINK_LEN],
    len: usize,
}

impl LinkHeader {
    /// From us to a next hop.
    pub(crate) fn new(to: Mac, from: Mac, vlan: Option<u16>, v4: bool) -> Self {
        let mut header = Self {
            bytes: [0; LINK_LEN],
            len: 0,
        };
        header.push(&to);
        header.push(&from);
        if let Some(id) = vlan {
            header.push(&ETHERTYPE_VLAN.to_be_bytes());
            header.push(&(id & VLAN_ID).to_be_bytes());
        }
        let kind = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        header.push(&kind.to_be_bytes());
        header
    }

    /// The way back of a frame whose IP header is at `network`: to where it came from, with
    /// its VLAN tags. `None` if it was not sent by and to one station each.
    pub(crate) fn answering(frame: &[u8], network: usize) -> Option<Self> {
        let (ours, rest): (&Mac, _) = frame.get(..network)?.split_first_chunk()?;
        let (theirs, kinds): (&Mac, _) = rest.split_first_chunk()?;
        let group = |mac: &Mac| mac[0] & 1 != 0;
        if network > LINK_LEN || group(theirs) || group(ours) || *theirs == [0; 6] {
            return None;
        }
        let mut header = Self {
            bytes: [0; LINK_LEN],
            len: 0,
        };
        header.push(theirs);
        header.push(ours);
        header.push(kinds);
        // Kinds of what follows, and a tag's two bytes after each but the last.
        for tag in header.bytes[ETHERNET_LEN..network].chunks_exact_mut(VLAN_TAG_LEN) {
            let id = u16::from_be_bytes([tag[0], tag[1]]) & VLAN_ID;
            tag[..2].copy_from_slice(&id.to_be_bytes());
        }
        Some(header)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What all datagrams of a worker have in their IP headers: what its sockets would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpFields {
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// DSCP and ECN.
    pub(crate) class: u8,
}

/// The headers of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Template {
    /// The headers, at its end. Lengths and checksums are zero.
    bytes: [u8; ROOM],
    link: LinkHeader,
    v4: bool,
    /// Sums of what does not change: of the IPv4 header, of the pseudo header, and of that
    /// with the UDP header.
    ip_sum: Sum,
    pseudo_sum: Sum,
    udp_sum: Sum,
    /// Bytes of UDP payload at most.
    max_payload: usize,
}

impl Template {
    /// Headers from `local` to `remote`, with IP packets of `mtu` bytes at most. `None` if
    /// those are not of one family.
    pub(crate) fn new(
        link: &LinkHeader,
        local: SocketAddr,
        remote: SocketAddr,
        fields: IpFields,
        mtu: usize,
    ) -> Option<Self> {
        let headers = FrameHeaders {
            to: [0; 6],
            from: [0; 6],
            vlans: &[],
            source: local,
            destination: remote,
            // The ECN bits are each packet's own.
            traffic_class: fields.class & !3,
            hop_limit: fields.hops,
        };
        let mut frame = [0; MAX_HEADERS_LEN];
        let len = headers.write(&[], &mut frame).ok()?;
        let v4 = remote.is_ipv4();
        let (ip_len, addresses_at, lengths): (_, _, &[usize]) = if v4 {
            (IPV4_LEN, 12, &[2, IPV4_CHECKSUM_AT])
        } else {
            (IPV6_LEN, 8, &[4])
        };
        let headers = &mut frame[ETHERNET_LEN..len];
        let (ip, udp) = headers.split_at_mut(ip_len);
        for &at in lengths {
            ip[at..at + 2].fill(0);
        }
        udp[4..].fill(0);
        let pseudo_sum = Sum::default()
            .with(&ip[addresses_at..])
            .with(&[0, PROTOCOL_UDP]);
        let mut template = Self {
            bytes: [0; ROOM],
            link: *link,
            v4,
            ip_sum: Sum::default().with(ip),
            pseudo_sum,
            udp_sum: pseudo_sum.with(udp),
            max_payload: mtu.saturating_sub(headers.len()).min(CHUNK - HEADROOM),
        };
        let (rest, end) = template.bytes.split_at_mut(ROOM - headers.len());
        end.copy_from_slice(headers);
        let (_, place) = rest.split_at_mut(rest.len() - link.len);
        place.copy_from_slice(link.as_bytes());
        Some(template)
    }

    /// Bytes of UDP payload that fit the interface's MTU.
    pub(crate) fn max_payload(&self) -> usize {
        self.max_payload
    }

    pub(crate) fn link(&self) -> &LinkHeader {
        &self.link
    }

    /// Writes the headers before the payload of `len` bytes that a frame has at [`HEADROOM`].
    /// `len` is at most [`max_payload`](Self::max_payload). Returns where the packet begins.
    pub(crate) fn write(
        &self,
        chunk: &mut [u8; CHUNK],
        len: usize,
        ecn: Ecn,
        checksum: Checksum,
    ) -> usize {
        const UDP: usize = HEADROOM - UDP_LEN;
        let [udp_len, v4_len] = [len + UDP_LEN, len + UDP_LEN + IPV4_LEN].map(be16);
        chunk[HEADROOM - ROOM..HEADROOM].copy_from_slice(&self.bytes);
        chunk[UDP + 4..UDP + 6].copy_from_slice(&udp_len);
        let network = if self.v4 {
            let ip = UDP - IPV4_LEN;
            chunk[ip + 2..ip + 4].copy_from_slice(&v4_len);
            chunk[ip + 1] |= ecn as u8;
            let check = self.ip_sum.with(&v4_len).with(&[0, ecn as u8]).finish();
            let at = ip + IPV4_CHECKSUM_AT;
            chunk[at..at + 2].copy_from_slice(&check);
            ip
        } else {
            let ip = UDP - IPV6_LEN;
            chunk[ip + 4..ip + 6].copy_from_slice(&udp_len);
            // Of the traffic class, the lower half begins the second byte.
            chunk[ip + 1] |= (ecn as u8) << 4;
            ip
        };
        let start = network - self.link.len;
        let check = match checksum {
            Checksum::Software => {
                // The length is in the pseudo header and in the UDP header.
                let headers = self.udp_sum.with(&udp_len).with(&udp_len);
                let payload = &chunk[HEADROOM..HEADROOM + len];
                never_zero(headers.with(payload).finish())
            }
            Checksum::Metadata => {
                // The device sums from the UDP header on, with this in its checksum's place.
                request_checksum(chunk, start, UDP - start);
                self.pseudo_sum.with(&udp_len).finish().map(|byte| !byte)
            }
        };
        chunk[UDP + UDP_CHECKSUM_AT..HEADROOM].copy_from_slice(&check);
        start
    }
}

/// Writes TX metadata before the packet that begins at `start`: the UDP header, `udp` bytes
/// from there, is to be summed (`struct xsk_tx_metadata`, Linux 6.8).
fn request_checksum(chunk: &mut [u8; CHUNK], start: usize, udp: usize) {
    let metadata = &mut chunk[start - METADATA_LEN..start];
    metadata[..8].copy_from_slice(&METADATA_CHECKSUM.to_ne_bytes());
    for (at, number) in [(8, udp), (10, UDP_CHECKSUM_AT)] {
        let number = u16::from_be_bytes(be16(number));
        metadata[at..at + 2].copy_from_slice(&number.to_ne_bytes());
    }
    metadata[12..].fill(0);
}

/// A length inside a frame, as headers have it.
#[expect(clippy::cast_possible_truncation, reason = "less than a frame")]
fn be16(len: usize) -> [u8; 2] {
    debug_assert!(len <= CHUNK);
    (len as u16).to_be_bytes()
}

#[cfg(test)]
mod tests;
