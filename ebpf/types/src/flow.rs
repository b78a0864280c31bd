use crate::{Ip, Relay};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An address and a port, byte for byte as they are on the wire, IPv4 mapped.
///
/// Kept in words, for an eBPF program to move them as such.
#[repr(C)]
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Endpoint {
    /// The address.
    pub ip: Ip,
    /// The port's two bytes.
    port: u16,
    reserved: u16,
}

impl Endpoint {
    /// An endpoint from its parts.
    #[inline(always)]
    #[must_use]
    pub const fn new(ip: Ip, port: u16) -> Self {
        Self {
            ip,
            port: port.to_be(),
            reserved: 0,
        }
    }

    /// The port.
    #[inline(always)]
    #[must_use]
    pub const fn port(&self) -> u16 {
        u16::from_be(self.port)
    }

    /// The address as user space has it.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        let ip = IpAddr::V6(Ipv6Addr::from(self.ip.octets())).to_canonical();
        SocketAddr::new(ip, self.port())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self::new(Ip::from_octets(ip.octets()), address.port())
    }
}

/// Says nothing of the address: logs hold none.
impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Endpoint(..)")
    }
}

/// A flow of UDP datagrams towards this host: the key of the flow map.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowKey {
    /// Where its packets come from.
    pub remote: Endpoint,
    /// Where they go: an address of this host and a media port. Never a wildcard.
    pub local: Endpoint,
}

impl FlowKey {
    /// The flow from `remote` to `local`.
    #[must_use]
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote: remote.into(),
            local: local.into(),
        }
    }
}

/// What is known of a flow: the value of the flow map.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Flow {
    /// The worker that owns its transport.
    pub worker: u16,
    /// [`Flow::SOCKET`] and the like.
    pub flags: u16,
    /// Where to send its packets on; of meaning with [`Flow::RELAY`] only.
    pub relay: Relay,
}

impl Flow {
    /// Its packets go through the worker's socket even where its queue has an AF_XDP socket.
    pub const SOCKET: u16 = 1;
    /// Its packets are sent on by the driver and reach no worker.
    pub const RELAY: u16 = 1 << 1;

    /// A flow of a worker's transport.
    #[must_use]
    pub fn of_worker(worker: u16) -> Self {
        Self {
            worker,
            ..Self::default()
        }
    }

    /// The same flow, kept off AF_XDP.
    #[must_use]
    pub fn by_socket(self) -> Self {
        Self {
            flags: self.flags | Self::SOCKET,
            ..self
        }
    }

    /// A flow that is sent on to another node.
    #[must_use]
    pub fn relayed(worker: u16, relay: Relay) -> Self {
        Self {
            worker,
            flags: Self::RELAY,
            relay,
        }
    }
}

const _: () = {
    assert!(size_of::<Endpoint>() == 20 && align_of::<Endpoint>() == 4);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<Flow>() == 60 && align_of::<Flow>() == 4);
};
