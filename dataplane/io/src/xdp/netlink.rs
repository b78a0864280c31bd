//! The kernel's routes and neighbours (rtnetlink(7)), for clients that no frame has told of.

use super::header::Mac;
use super::interface::Link;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const DEL_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

/// `RT_TABLE_MAIN`, `RTPROT_STATIC` and `RT_SCOPE_LINK`.
const TABLE_MAIN: u8 = 254;
const BY_HAND: u8 = 4;
const SCOPE_LINK: u8 = 253;
/// `NUD_PERMANENT`.
const PERMANENT: u16 = 0x80;

/// `RTN_UNICAST`: neither local nor broadcast, multicast, blackhole, ...
const UNICAST: u8 = 1;
/// `NUD_STALE`: known, but not heard of lately.
const STALE: u16 = 0x04;
/// Neighbour states that have an address (`NUD_VALID`): permanent, no ARP, reachable, probe, stale, delay.
const VALID: u16 = 0x80 | 0x40 | 0x02 | 0x10 | STALE | 0x08;
/// `NTF_USE`: handle the entry as if a packet had just used it.
const USE: u8 = 1;

/// Attributes of routes, of neighbours and of links.
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
/// Flags in an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

const HEADER: usize = 16;
const ROUTE: usize = 12;
const NEIGHBOUR: usize = 12;
const LINK: usize = 16;
const ATTRIBUTE: usize = 4;
/// A message of ours: header, body and two addresses.
const MESSAGE: usize = 96;
/// An answer: a link with everything that the kernel says of one.
const ANSWER: usize = 16 << 10;

/// How a client is reached, as the kernel would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The address that the packet is sent from.
    pub(crate) source: IpAddr,
    /// The interface's own Ethernet address.
    pub(crate) from: Mac,
    /// The neighbour's.
    pub(crate) to: Mac,
    /// The VLAN, if the route is by a VLAN interface on top of ours.
    pub(crate) vlan: Option<u16>,
    /// Bytes of an IP packet at most, where the route or the VLAN interface says so.
    pub(crate) mtu: Option<usize>,
}

/// Where a route leads.
struct Route {
    interface: u32,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    mtu: Option<usize>,
}

/// A socket to ask the kernel by. Each question is two system calls, answered at once.
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    answer: Box<[u8]>,
}

impl Netlink {
    /// # Errors
    /// When no file descriptor is left.
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol is NETLINK_ROUTE.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Self {
            fd,
            sequence: 0,
            answer: vec![0; ANSWER].into_boxed_slice(),
        })
    }

    /// How the kernel would send from `local` (unspecified: any) to `remote`. `None` if not
    /// by this interface, or if it does not know the neighbour (yet).
    pub(crate) fn next_hop(
        &mut self,
        link: &Link,
        remote: IpAddr,
        local: IpAddr,
    ) -> Option<NextHop> {
        let route = self.route(remote, local)?;
        let mut hop = NextHop {
            source: if local.is_unspecified() {
                route.source?
            } else {
                local
            },
            from: link.mac,
            to: [0; 6],
            vlan: None,
            mtu: route.mtu,
        };
        if route.interface != link.index {
            self.vlan(route.interface, link, &mut hop)?;
        }
        hop.to = self.neighbour(route.interface, route.gateway.unwrap_or(remote))?;
        Some(hop)
    }

    fn route(&mut self, remote: IpAddr, local: IpAddr) -> Option<Route> {
        let mut body = [0; ROUTE];
        body[0] = family(remote);
        let (to, to_len) = octets(&remote);
        body[1] = u8::try_from(to_len * 8).ok()?;
        let (from, mut from_len) = octets(&local);
        if local.is_unspecified() {
            from_len = 0;
        }
        body[2] = u8::try_from(from_len * 8).ok()?;
        let attributes = [(RTA_DST, &to[..to_len]), (RTA_SRC, &from[..from_len])];
        let answer = self.ask(GET_ROUTE, NEW_ROUTE, &body, &attributes)?;
        if *answer.get(7)? != UNICAST {
            return None;
        }
        let mut route = Route {
            interface: 0,
            gateway: None,
            source: None,
            mtu: None,
        };
        for (kind, value) in attributes_of(answer.get(ROUTE..)?) {
            match kind {
                RTA_OIF => route.interface = word(value)?,
                RTA_GATEWAY => route.gateway = address(value),
                // The gateway's family comes first.
                RTA_VIA => route.gateway = address(value.get(2..)?),
                RTA_PREFSRC => route.source = address(value),
                RTA_METRICS => {
                    let mtu = attributes_of(value).find(|(kind, _)| *kind == RTAX_MTU);
                    route.mtu = mtu.and_then(|(_, mtu)| usize::try_from(word(mtu)?).ok());
                }
                _ => {}
            }
        }
        Some(route)
    }

    /// Fills in what is different by a VLAN interface, if this is one on top of ours.
    fn vlan(&mut self, interface: u32, link: &Link, hop: &mut NextHop) -> Option<()> {
        let mut body = [0; LINK];
        body[4..8].copy_from_slice(&interface.to_ne_bytes());
        read_vlan(self.ask(GET_LINK, NEW_LINK, &body, &[])?, link, hop)
    }

    fn neighbour(&mut self, interface: u32, ip: IpAddr) -> Option<Mac> {
        let mut body = [0; NEIGHBOUR];
        body[0] = family(ip);
        body[4..8].copy_from_slice(&interface.to_ne_bytes());
        let (bytes, len) = octets(&ip);
        let destination = [(NDA_DST, &bytes[..len])];
        let answer = self.ask(GET_NEIGHBOUR, NEW_NEIGHBOUR, &body, &destination)?;
        let state = u16::from_ne_bytes(*answer.get(8..)?.first_chunk()?);
        let (_, mac) = attributes_of(answer.get(NEIGHBOUR..)?).find(|(k, _)| *k == NDA_LLADDR)?;
        let mac: Mac = mac.try_into().ok()?;
        if state & VALID == 0 || mac[0] & 1 != 0 {
            return None;
        }
        if state & STALE != 0 {
            // Packets by the ring are unseen by the kernel: it is told to make sure that
            // the neighbour is still there, as it would when it sends itself.
            body[10] = USE;
            self.send(NEW_NEIGHBOUR, REQUEST | REPLACE, &body, &destination)?;
        }
        Some(mac)
    }

    /// Adds or takes away a route to one address on the interface's own link.
    ///
    /// # Errors
    /// What the kernel says, `PERM` without CAP_NET_ADMIN.
    pub(crate) fn set_host_route(
        &mut self,
        to: Ipv4Addr,
        interface: u32,
        there: bool,
    ) -> Result<(), Errno> {
        let mut body = [0; ROUTE];
        (body[0], body[1]) = (family(to.into()), 32);
        (body[4], body[5], body[6], body[7]) = (TABLE_MAIN, BY_HAND, SCOPE_LINK, UNICAST);
        let interface = interface.to_ne_bytes();
        let attributes = [(RTA_DST, &to.octets()[..]), (RTA_OIF, &interface[..])];
        let (kind, flags) = if there {
            (NEW_ROUTE, CREATE | REPLACE)
        } else {
            (DEL_ROUTE, 0)
        };
        self.change(kind, flags, &body, &attributes)
    }

    /// Adds a permanent neighbour, or takes it away.
    ///
    /// # Errors
    /// As [`set_host_route`](Self::set_host_route).
    pub(crate) fn set_neighbour(
        &mut self,
        ip: Ipv4Addr,
        interface: u32,
        mac: Option<Mac>,
    ) -> Result<(), Errno> {
        let mut body = [0; NEIGHBOUR];
        body[0] = family(ip.into());
        body[4..8].copy_from_slice(&interface.to_ne_bytes());
        body[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
        let destination = (NDA_DST, &ip.octets()[..]);
        match mac {
            Some(mac) => {
                let attributes = [destination, (NDA_LLADDR, &mac[..])];
                self.change(NEW_NEIGHBOUR, CREATE | REPLACE, &body, &attributes)
            }
            None => self.change(DEL_NEIGHBOUR, 0, &body, &[destination]),
        }
    }

    /// Sends a wish, and takes the kernel's word on it.
    fn change(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        attributes: &[(u16, &[u8])],
    ) -> Result<(), Errno> {
        self.send(kind, REQUEST | ACK | flags, body, attributes)
            .ok_or(Errno::IO)?;
        loop {
            let (len, _) = recv(&self.fd, &mut *self.answer, RecvFlags::empty())?;
            let message = self.answer.get(..len).ok_or(Errno::IO)?;
            let field = |at: usize| message.get(at..).and_then(word).ok_or(Errno::IO);
            if field(8)? != self.sequence {
                continue;
            }
            return match field(HEADER)?.cast_signed() {
                0 => Ok(()),
                error => Err(Errno::from_raw_os_error(-error)),
            };
        }
    }

    /// Sends a question and gives the answer's body.
    fn ask(
        &mut self,
        question: u16,
        answer: u16,
        body: &[u8],
        attributes: &[(u16, &[u8])],
    ) -> Option<&[u8]> {
        self.send(question, REQUEST, body, attributes)?;
        loop {
            // Nothing there means that it was not answered at once: then it is not known.
            let (len, _) = recv(&self.fd, &mut *self.answer, RecvFlags::empty()).ok()?;
            let message = self.answer.get(..len)?;
            let length = usize::try_from(word(message)?).ok()?;
            let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
            let sequence = word(message.get(8..)?)?;
            // What "use" failed with, earlier, is passed over.
            if sequence != self.sequence {
                continue;
            }
            if kind == ERROR || kind != answer {
                return None;
            }
            return self.answer.get(HEADER..length.min(len));
        }
    }

    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        attributes: &[(u16, &[u8])],
    ) -> Option<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = [0; MESSAGE];
        let mut len = HEADER + body.len();
        message.get_mut(HEADER..len)?.copy_from_slice(body);
        for (kind, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            let size = ATTRIBUTE + value.len();
            let place = message.get_mut(len..len + size)?;
            place[..2].copy_from_slice(&u16::try_from(size).ok()?.to_ne_bytes());
            place[2..4].copy_from_slice(&kind.to_ne_bytes());
            place[ATTRIBUTE..].copy_from_slice(value);
            len += size.next_multiple_of(4);
        }
        message[..4].copy_from_slice(&u32::try_from(len).ok()?.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, message.get(..len)?, SendFlags::empty(), &kernel).ok()?;
        Some(())
    }
}

/// The same from what the kernel said of the interface.
fn read_vlan(answer: &[u8], link: &Link, hop: &mut NextHop) -> Option<()> {
    let mut lower = None;
    let mut is_vlan = false;
    for (kind, value) in attributes_of(answer.get(LINK..)?) {
        match kind {
            IFLA_ADDRESS => hop.from = *value.first_chunk()?,
            IFLA_MTU => {
                let mtu = usize::try_from(word(value)?).ok();
                hop.mtu = hop.mtu.into_iter().chain(mtu).min();
            }
            IFLA_LINK => lower = word(value),
            IFLA_LINKINFO => {
                for (kind, value) in attributes_of(value) {
                    match kind {
                        IFLA_INFO_KIND => is_vlan = value.starts_with(b"vlan\0"),
                        IFLA_INFO_DATA => hop.vlan = vlan_id(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (is_vlan && hop.vlan.is_some() && lower == Some(link.index)).then_some(())
}

fn vlan_id(data: &[u8]) -> Option<u16> {
    let mut id = None;
    for (kind, value) in attributes_of(data) {
        match kind {
            IFLA_VLAN_ID => id = value.first_chunk().copied().map(u16::from_ne_bytes),
            // 802.1ad alone is nothing that we write.
            IFLA_VLAN_PROTOCOL if value.get(..2)? != [0x81, 0x00] => return None,
            _ => {}
        }
    }
    id
}

/// Attributes, type and value; ends at the first that is cut.
fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk()?).into()),
        _ => None,
    }
}

/// The bytes of an address, and how many they are.
fn octets(ip: &IpAddr) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => {
            bytes[..4].copy_from_slice(&ip.octets());
            (bytes, 4)
        }
        IpAddr::V6(ip) => (ip.octets(), 16),
    }
}

fn family(ip: IpAddr) -> u8 {
    let family = match ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    u8::try_from(family.as_raw()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
