//! The control's UDP sockets: STUN and DTLS of the media port.

use crate::limits;
use ion_ice::Pair;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::fd::OwnedFd;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Receive slots of one call.
const SLOTS: usize = 8;
/// The kernel may join datagrams of one source up to this size.
const SLOT_BYTES: usize = 65_536;

struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// The sockets, and memory to receive into.
pub(super) struct Sockets {
    list: Vec<Socket>,
    memory: Vec<Vec<u8>>,
}

/// A datagram, where it came from and where it was sent to.
pub(super) struct Received {
    pub(super) pair: Pair,
    pub(super) bytes: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let mut list = Vec::new();
        for fd in fds {
            let socket = std::net::UdpSocket::from(fd);
            socket.set_nonblocking(true)?;
            let local = socket.local_addr()?;
            let io = UdpSocket::from_std(socket)?;
            let state = UdpSocketState::new(UdpSockRef::from(&io))?;
            list.push(Socket { io, state, local });
        }
        Ok(Self {
            list,
            memory: vec![vec![0; SLOT_BYTES]; SLOTS],
        })
    }

    /// Addresses that the sockets are bound to.
    pub(super) fn locals(&self) -> Vec<SocketAddr> {
        self.list.iter().map(|socket| socket.local).collect()
    }

    /// Waits until a socket has something; says which. Waits for ever without sockets.
    pub(super) async fn readable(&self) -> usize {
        std::future::poll_fn(|context| {
            let ready = |(index, socket): (usize, &Socket)| {
                socket
                    .io
                    .poll_recv_ready(context)
                    .is_ready()
                    .then_some(index)
            };
            self.list
                .iter()
                .enumerate()
                .find_map(ready)
                .map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Takes what one socket has, up to a limit; datagrams that are too long are counted
    /// in the second value.
    pub(super) fn receive(&mut self, index: usize) -> (Vec<Received>, usize) {
        let (mut received, mut too_long) = (Vec::new(), 0);
        while received.len() + too_long < limits::DATAGRAMS_PER_TURN {
            let Some(socket) = self.list.get(index) else {
                break;
            };
            let mut metas = [RecvMeta::default(); SLOTS];
            let mut slots = self.memory.iter_mut().map(|slot| IoSliceMut::new(slot));
            let mut slots: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| slots.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let read = || {
                socket
                    .state
                    .recv(UdpSockRef::from(&socket.io), &mut slots, &mut metas)
            };
            let Ok(count) = socket.io.try_io(Interest::READABLE, read) else {
                break;
            };
            let local = socket.local;
            for (meta, slot) in metas.iter().take(count).zip(&self.memory) {
                if meta.len == 0 {
                    // It has no chunks, and is to be counted all the same.
                    received.push(Received {
                        pair: pair(local, meta),
                        bytes: Vec::new(),
                    });
                }
                for bytes in slot[..meta.len.min(SLOT_BYTES)].chunks(meta.stride.max(1)) {
                    if bytes.len() > limits::DATAGRAM_BYTES {
                        too_long += 1;
                        continue;
                    }
                    received.push(Received {
                        pair: pair(local, meta),
                        bytes: bytes.to_vec(),
                    });
                }
            }
        }
        (received, too_long)
    }

    /// Sends from the pair's local address; false if the kernel does not take it.
    pub(super) fn send(&self, pair: Pair, bytes: &[u8]) -> bool {
        let fits = |socket: &&Socket| {
            let ip = socket.local.ip().to_canonical();
            socket.local.is_ipv4() == pair.remote.is_ipv4()
                && (ip.is_unspecified() || ip == pair.local.ip())
        };
        let Some(socket) = self.list.iter().find(fits) else {
            return false;
        };
        let transmit = Transmit {
            destination: pair.remote,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: Some(pair.local.ip()).filter(|ip| !ip.is_unspecified()),
        };
        // Not `send`, which writes addresses to the log.
        let write = || {
            socket
                .state
                .try_send(UdpSockRef::from(&socket.io), &transmit)
        };
        socket.io.try_io(Interest::WRITABLE, write).is_ok()
    }
}

fn pair(bound: SocketAddr, meta: &RecvMeta) -> Pair {
    let ip = meta.dst_ip.unwrap_or(bound.ip()).to_canonical();
    // No destination known and a wildcard socket: the kernel chooses the source again.
    let ip = if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        ip
    };
    let remote = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
    Pair {
        local: SocketAddr::new(ip, bound.port()),
        remote,
    }
}
