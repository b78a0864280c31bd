use super::device::Device;
use super::header::{LinkHeader, Template};
use super::paths::{Origin, Way};
use super::umem::{CHUNK, Frame, Way as Lent};
use crate::backend::{ReceiveReport, Received};
use crate::socket::SocketArrivals;
use ion_engine::congestion::Ecn;
use ion_engine::transmit::Path;
use ion_wire::frame::{IpVersion, Packet, UdpFrame};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Frames taken in at once at most.
pub(crate) const RECEIVE_BATCH: usize = 256;

/// A frame that arrived.
pub(crate) struct Arrival {
    frame: Frame,
    /// Which of the worker's sockets it came by.
    socket: u8,
    /// `None` if it is no datagram that can be given.
    datagram: Option<Datagram>,
}

/// Where in its frame a datagram is, and between whom.
struct Datagram {
    path: Path,
    ecn: Ecn,
    start: usize,
    len: usize,
}

impl Device {
    /// Gives the frames of the last batch back to the kernel.
    pub(crate) fn give_back(&mut self, arrivals: &mut Vec<Arrival>, syscalls: &mut u64) {
        for arrival in arrivals.drain(..) {
            let Some(xsk) = self.xsks.get_mut(usize::from(arrival.socket)) else {
                self.umem.give(arrival.frame);
                continue;
            };
            let addr = arrival.frame.addr();
            // There are never more frames on this way than the ring has entries.
            match xsk.fill.push(addr) {
                Ok(()) => self.umem.lend(arrival.frame, Lent::In(arrival.socket)),
                Err(_) => self.umem.give(arrival.frame),
            }
        }
        for xsk in &mut self.xsks {
            xsk.fill.publish();
            if self.config.busy_poll.is_some() || (xsk.zero_copy && xsk.fill.needs_wakeup()) {
                xsk.wake_receive();
                *syscalls += 1;
            }
        }
    }

    /// Whether frames have come.
    pub(crate) fn has_arrived(&mut self) -> bool {
        self.xsks.iter_mut().any(|xsk| !xsk.rx.is_empty())
    }

    /// Takes in the frames that have come, as many as the list has room for, and what they
    /// tell of their paths.
    pub(crate) fn take_in(&mut self, arrivals: &mut Vec<Arrival>) {
        for number in 0..self.xsks.len() {
            let socket = u8::try_from(number).unwrap_or(u8::MAX);
            while arrivals.len() < arrivals.capacity()
                && let Some(descriptor) = self.xsks[number].rx.pop()
            {
                let way = Lent::In(socket);
                let Some(frame) = self.umem.take_back(descriptor.addr, way) else {
                    continue;
                };
                let start = usize::try_from(descriptor.addr % CHUNK as u64).unwrap_or(CHUNK);
                let len = usize::try_from(descriptor.len).unwrap_or(usize::MAX);
                let packet = start..start.saturating_add(len);
                let bytes = frame.chunk().get(packet).unwrap_or_default();
                let datagram = self.read(bytes).map(|datagram| Datagram {
                    start: start + datagram.start,
                    ..datagram
                });
                arrivals.push(Arrival {
                    frame,
                    socket,
                    datagram,
                });
            }
            self.xsks[number].rx.release();
        }
    }

    /// Finds the datagram in a frame, and learns its path.
    fn read(&mut self, bytes: &[u8]) -> Option<Datagram> {
        let udp = UdpFrame::parse(bytes).ok()?;
        let (source, local) = addresses_of(bytes, &udp)?;
        let path = Path {
            remote: SocketAddr::new(source, udp.source_port),
            local,
        };
        let datagram = Datagram {
            path,
            ecn: ecn_of(bytes, &udp),
            start: udp.payload(),
            len: udp.payload_len?,
        };
        if let Some(link) = LinkHeader::answering(bytes, udp.network)
            && !self.paths.confirm(self.now_ms, &path, &link)
        {
            self.learn(&path, udp.destination_port, &link);
        }
        Some(datagram)
    }

    fn learn(&mut self, path: &Path, port: u16, link: &LinkHeader) {
        let local = SocketAddr::new(path.local, port);
        let fields = self.fields(path.remote.is_ipv4());
        if let Some(template) = Template::new(link, local, path.remote, fields, self.link.mtu) {
            let way = Way::Ring(template);
            self.paths.put(self.now_ms, path, Origin::Frame, way);
        }
    }
}

/// Source and destination in the IP header of a frame.
pub(crate) fn addresses_of(frame: &[u8], udp: &UdpFrame) -> Option<(IpAddr, IpAddr)> {
    let ip = frame.get(udp.network..)?;
    Some(match udp.version {
        IpVersion::V4 => {
            let address = |at| Some(Ipv4Addr::from(ip.array::<4>(at)?).into());
            (address(12)?, address(16)?)
        }
        IpVersion::V6 => {
            let address = |at| Some(Ipv6Addr::from(ip.array::<16>(at)?).into());
            (address(8)?, address(24)?)
        }
    })
}

/// The ECN bits in the IP header of a frame: the last of the second byte in IPv4, of the traffic class in IPv6.
fn ecn_of(frame: &[u8], udp: &UdpFrame) -> Ecn {
    let second = frame.get(udp.network + 1).copied().unwrap_or(0);
    Ecn::from_bits(match udp.version {
        IpVersion::V4 => second,
        IpVersion::V6 => second >> 4,
    })
}

/// Datagrams in frames of the RX rings, then those in the buffers of the sockets.
pub struct XdpArrivals<'a> {
    pub(crate) frames: &'a [Arrival],
    pub(crate) sockets: SocketArrivals<'a>,
}

impl XdpArrivals<'_> {
    pub(crate) fn for_each(&self, mut f: impl FnMut(Received<'_>)) -> ReceiveReport {
        let mut report = ReceiveReport::default();
        for arrival in self.frames {
            let Some(datagram) = &arrival.datagram else {
                report.truncated += 1;
                continue;
            };
            let (start, len) = (datagram.start, datagram.len);
            let data = arrival.frame.chunk().get(start..start + len);
            report.datagrams += 1;
            report.bytes += len as u64;
            f(Received {
                remote: datagram.path.remote,
                local: datagram.path.local,
                ecn: datagram.ecn,
                data: data.unwrap_or_default(),
            });
        }
        report.ring = report.datagrams;
        report += self.sockets.for_each(f);
        report
    }
}
