use super::RingState;
use super::device::Device;
use super::header::{Checksum, LinkHeader, Template};
use super::paths::{Origin, Place, Way};
use super::ring::Descriptor;
use super::socket::{Kicked, Xsk};
use super::umem::{Frame, HEADROOM, Umem, Way as Lent};
use crate::backend::{SendReport, socket_for};
use crate::reuseport::MediaSocket;
use crate::single::send_frames;
use crate::socket::SocketSender;
use ion_engine::congestion::Ecn;
use ion_engine::transmit::{FilledFrame, Path, Transmit, TransmitBatch};
use rustix::fd::AsFd;
use std::net::SocketAddr;

/// Sends by the TX ring what it has headers for, and the rest by the sockets.
pub struct XdpSender<'a> {
    pub(crate) device: &'a mut Device,
    pub(crate) sockets: SocketSender<'a>,
}

impl XdpSender<'_> {
    /// Frames that go by the ring are exchanged for free ones; the others stay.
    pub(crate) fn send(&mut self, batch: &mut TransmitBatch<Frame>) -> SendReport {
        if !batch.is_framed() {
            // Made for sockets.
            return self.sockets.send(batch);
        }
        let mut report = SendReport::default();
        let media = self.sockets.media();
        let (sends, frames) = batch.sends_and_frames();
        self.device.reap();
        for send in sends {
            let frames = &mut frames[send.frames()];
            if !self.device.send_run(media, send, frames, &mut report) {
                by_socket(media, send, frames, &mut report);
            }
        }
        self.device.submit(&mut report);
        report
    }
}

fn by_socket(
    sockets: &[MediaSocket],
    send: &Transmit,
    frames: &[FilledFrame<Frame>],
    report: &mut SendReport,
) {
    match socket_for(sockets, send.path.remote, send.path.local) {
        Some(socket) => send_frames(sockets[socket].as_fd(), send, frames, report),
        None => report.failed += send.count as u64,
    }
}

impl Device {
    /// Puts the datagrams of one path into the TX ring. Returns whether that is their way:
    /// those that find no room are given up and counted.
    fn send_run(
        &mut self,
        sockets: &[MediaSocket],
        send: &Transmit,
        frames: &mut [FilledFrame<Frame>],
        report: &mut SendReport,
    ) -> bool {
        if self.state != RingState::Running {
            return false;
        }
        let path = &send.path;
        // If many are to be asked for at once, what was known of them is good for some batches
        // more; those of which nothing is known go by the socket meanwhile.
        let place = match self.paths.look_up(self.now_ms, path) {
            Some((place, false)) => Some(place),
            Some((place, true)) => self.resolve(sockets, path).or(Some(place)),
            None => self.resolve(sockets, path),
        };
        let Some(place) = place else {
            return false;
        };
        let Way::Ring(template) = self.paths.way(place) else {
            return false;
        };
        // The first of a run is its longest.
        if send.segment > template.max_payload() {
            return false;
        }
        let Some(xsk) = self.xsks.first_mut() else {
            return false;
        };
        let mut way_out = WayOut {
            xsk,
            umem: &mut self.umem,
            limit: self.config.tx_ring as usize,
        };
        let mut left = frames.len();
        for filled in frames {
            // If it is full, what the kernel takes and gives back now may make room.
            let pushed = way_out.push(template, filled, send.ecn)
                || (way_out.make_room(report) && way_out.push(template, filled, send.ecn));
            if !pushed {
                report.full += left as u64;
                report.ring_full += left as u64;
                break;
            }
            left -= 1;
            report.sends += 1;
            report.datagrams += 1;
            report.ring += 1;
            report.bytes += filled.len as u64;
        }
        true
    }

    /// Shows the kernel what was put into the TX ring, and calls it if it sleeps.
    fn submit(&mut self, report: &mut SendReport) {
        if self.state == RingState::Running
            && let Some(xsk) = self.xsks.first_mut()
        {
            match xsk.submit(report) {
                Kicked::Fine => self.accepted(),
                Kicked::Down => self.refused(),
            }
        }
    }

    /// Asks the kernel for the way to a client, and keeps the answer. `None` if it was asked
    /// too often in this turn.
    fn resolve(&mut self, sockets: &[MediaSocket], path: &Path) -> Option<Place> {
        self.lookups_left = self.lookups_left.checked_sub(1)?;
        let way = self.ask(sockets, path).map_or(Way::Socket, Way::Ring);
        Some(self.paths.put(self.now_ms, path, Origin::Kernel, way))
    }

    fn ask(&mut self, sockets: &[MediaSocket], path: &Path) -> Option<Template> {
        let socket = &sockets[socket_for(sockets, path.remote, path.local)?];
        let (to, from) = (path.remote.ip(), path.local);
        let hop = self.netlink.next_hop(&self.link, to, from)?;
        let v4 = path.remote.is_ipv4();
        let header = LinkHeader::new(hop.to, hop.from, hop.vlan, v4);
        let local = SocketAddr::new(hop.source, socket.local().port());
        let mtu = hop.mtu.map_or(self.link.mtu, |mtu| mtu.min(self.link.mtu));
        Template::new(&header, local, path.remote, self.fields(v4), mtu)
    }
}

/// The socket that sends, and its frames.
struct WayOut<'a> {
    xsk: &'a mut Xsk,
    umem: &'a mut Umem,
    /// Frames that may be on their way at once: as many as the completion ring has room for.
    limit: usize,
}

impl WayOut<'_> {
    /// Writes a datagram's headers and puts it into the TX ring; a free frame takes its
    /// place. Returns whether there was room.
    fn push(&mut self, template: &Template, filled: &mut FilledFrame<Frame>, ecn: Ecn) -> bool {
        let Some(out) = &mut self.xsk.out else {
            return false;
        };
        if self.umem.sending() >= self.limit {
            return false;
        }
        let Some(free) = self.umem.take() else {
            return false;
        };
        let start = template.write(filled.frame.chunk_mut(), filled.len, ecn, self.xsk.checksum);
        let len = HEADROOM - start + filled.len;
        let descriptor = Descriptor {
            addr: filled.frame.addr() + start as u64,
            len: u32::try_from(len).unwrap_or(0),
            options: match self.xsk.checksum {
                Checksum::Software => 0,
                Checksum::Metadata => libc::XDP_TX_METADATA,
            },
        };
        if out.tx.push(descriptor).is_err() {
            self.umem.give(free);
            return false;
        }
        let sent = std::mem::replace(&mut filled.frame, free);
        self.umem.lend(sent, Lent::Out);
        true
    }

    /// Has the kernel send, and takes back what it is done with. Returns whether that is
    /// anything.
    fn make_room(&mut self, report: &mut SendReport) -> bool {
        self.xsk.submit(report);
        self.xsk.reap(self.umem)
    }
}

#[cfg(test)]
mod tests;
