use super::send::Slot;
use super::{HEADERS, Tag};
use crate::backend::{ReceiveReport, Received};
use crate::buffers::{BufferRing, Filled};
use crate::cmsg::Said;
use crate::reuseport::MediaSocket;
use crate::sockaddr;
use io_uring::types::RecvMsgOut;
use io_uring::{IoUring, cqueue};
use rustix::io::Errno;

/// A datagram in a receive buffer.
pub(super) struct Arrival {
    pub(super) socket: usize,
    pub(super) buffer: Filled,
}

/// What completions have brought and nobody has taken yet.
pub(super) struct Inbox {
    /// Never more than there are buffers, so it never grows.
    pub(super) pending: Vec<Arrival>,
    /// Bit `n` is set when the receive of socket `n` must be armed (again).
    pub(super) unarmed: u32,
    pub(super) doorbell_unarmed: bool,
    pub(super) rung: bool,
    /// A receive failed in a way that another try cannot mend.
    pub(super) broken: Option<Errno>,
}

impl Inbox {
    /// Takes all completions; results of sends go to `slots`. Returns how many sends those were.
    pub(super) fn reap(
        &mut self,
        ring: &mut IoUring,
        buffers: &BufferRing,
        mut slots: Option<&mut [Slot]>,
    ) -> usize {
        let mut sends = 0;
        for completion in ring.completion() {
            let more = cqueue::more(completion.flags());
            match Tag::unpack(completion.user_data()) {
                Some(Tag::Receive(socket)) => {
                    self.received(socket, &completion, buffers);
                    if !more {
                        self.unarmed |= 1 << socket;
                    }
                }
                Some(Tag::Send(number)) => {
                    sends += 1;
                    let slot = slots.as_deref_mut().and_then(|slots| slots.get_mut(number));
                    if let Some(slot) = slot {
                        slot.result = completion.result();
                    }
                }
                Some(Tag::Doorbell) => {
                    self.rung = true;
                    self.doorbell_unarmed = !more;
                }
                None => {}
            }
        }
        sends
    }

    fn received(&mut self, socket: usize, completion: &cqueue::Entry, buffers: &BufferRing) {
        match usize::try_from(completion.result()) {
            Ok(len) => {
                let filled = cqueue::buffer_select(completion.flags())
                    .and_then(|id| buffers.filled(id, len));
                if let Some(buffer) = filled {
                    self.pending.push(Arrival { socket, buffer });
                }
            }
            // Mostly ENOBUFS, no buffer was free: what waits in the socket is received
            // after the re-arm. Only what says that the request itself is wrong is final.
            Err(_) => {
                let error = Errno::from_raw_os_error(-completion.result());
                if let Errno::BADF
                | Errno::INVAL
                | Errno::NOTSOCK
                | Errno::FAULT
                | Errno::OPNOTSUPP = error
                {
                    self.broken = Some(error);
                }
            }
        }
    }
}

/// Datagrams in provided buffers.
pub struct UringArrivals<'a> {
    pub(super) buffers: &'a BufferRing,
    pub(super) list: &'a [Arrival],
    pub(super) header: &'a libc::msghdr,
    pub(super) sockets: &'a [MediaSocket],
}

impl UringArrivals<'_> {
    pub(crate) fn for_each(&self, mut f: impl FnMut(Received<'_>)) -> ReceiveReport {
        let mut report = ReceiveReport::default();
        for arrival in self.list {
            let Some(received) = self.parse(arrival) else {
                report.truncated += 1;
                continue;
            };
            report.datagrams += 1;
            report.bytes += received.data.len() as u64;
            f(received);
        }
        report
    }

    fn parse(&self, arrival: &Arrival) -> Option<Received<'_>> {
        let message = RecvMsgOut::parse(self.buffers.bytes(&arrival.buffer), self.header).ok()?;
        if message.is_payload_truncated() {
            return None;
        }
        // The views of `RecvMsgOut` end with it; the payload is the buffer's tail.
        let bytes = self.buffers.bytes(&arrival.buffer);
        let bound = self.sockets.get(arrival.socket)?.local().ip();
        let said = Said::read(message.control_data());
        Some(Received {
            remote: sockaddr::parse(message.name_data())?,
            local: said.local.unwrap_or(bound),
            ecn: said.ecn,
            data: bytes.get(HEADERS..HEADERS + message.payload_data().len())?,
        })
    }
}
