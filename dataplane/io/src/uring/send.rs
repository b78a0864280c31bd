use super::receive::Inbox;
use super::{GETEVENTS, Tag, passing};
use crate::backend::{SendReport, socket_for};
use crate::buffers::BufferRing;
use crate::reuseport::MediaSocket;
use crate::single::{Failure, Message, send_one_by_one};
use crate::xdp::Frame;
use io_uring::types::Fixed;
use io_uring::{IoUring, opcode};
use ion_engine::transmit::{Payload, Transmit, TransmitBatch};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::io;

/// A send in flight.
pub(super) struct Slot {
    pub(super) message: Message,
    pub(super) result: i32,
}

/// Sends by SENDMSG requests, as many as fit in one submission.
pub struct UringSender<'a> {
    pub(super) ring: &'a mut IoUring,
    pub(super) buffers: &'a BufferRing,
    pub(super) slots: &'a mut [Slot],
    pub(super) inbox: &'a mut Inbox,
    pub(super) sockets: &'a [MediaSocket],
}

impl UringSender<'_> {
    pub(crate) fn send(&mut self, batch: &TransmitBatch<Frame>) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        for sends in batch.sends().chunks(self.slots.len()) {
            let submitted = self.queue(batch, sends);
            self.submit(submitted, &mut report)?;
            for (number, send) in sends.iter().enumerate() {
                self.account(number, batch, send, &mut report);
            }
        }
        Ok(report)
    }

    /// Queues a request for each send; `slots[n]` belongs to `sends[n]`.
    fn queue(&mut self, batch: &TransmitBatch<Frame>, sends: &[Transmit]) -> usize {
        let mut queue = self.ring.submission();
        let mut submitted = 0;
        for (number, (slot, send)) in self.slots.iter_mut().zip(sends).enumerate() {
            let path = &send.path;
            slot.result = -libc::EAFNOSUPPORT;
            let Some(socket) = socket_for(self.sockets, path.remote, path.local) else {
                continue;
            };
            let segment = (send.count > 1)
                .then_some(send.segment)
                .and_then(|segment| u16::try_from(segment).ok());
            // The frames of a framed batch are made for a ring of another kind.
            let Payload::Contiguous(bytes) = batch.payload(send) else {
                continue;
            };
            let header = slot.message.set((path, send.ecn), segment, bytes);
            let request = opcode::SendMsg::new(Fixed(u32::try_from(socket).unwrap_or(0)), header)
                .flags(libc::MSG_DONTWAIT.cast_unsigned())
                .build()
                .user_data(Tag::Send(number).pack());
            // SAFETY: the header points into the slot and the batch. `send` borrows both and
            // returns, or reuses the slots, only when the request is reaped.
            let pushed = unsafe { queue.push(&request) };
            submitted += usize::from(pushed.is_ok());
        }
        submitted
    }

    /// Submits, and reaps until all `sends` have their results. Datagrams that came
    /// meanwhile are kept for the next poll, which then needs no system call.
    fn submit(&mut self, mut sends: usize, report: &mut SendReport) -> io::Result<()> {
        let mut wait_for = 0;
        while sends > 0 {
            let queued = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
            let submitter = self.ring.submitter();
            // SAFETY: no argument is given; the queue holds `queued` entries.
            let entered =
                unsafe { submitter.enter::<libc::sigset_t>(queued, wait_for, GETEVENTS, None) };
            report.syscalls += 1;
            passing(entered)?;
            sends -= self
                .inbox
                .reap(self.ring, self.buffers, Some(self.slots))
                .min(sends);
            // A send that may not block completes while it is submitted.
            wait_for = 1;
        }
        Ok(())
    }

    fn account(
        &self,
        number: usize,
        batch: &TransmitBatch<Frame>,
        send: &Transmit,
        report: &mut SendReport,
    ) {
        let result = self.slots[number].result;
        if result >= 0 {
            report.sends += 1;
            report.datagrams += send.count as u64;
            report.bytes += send.len as u64;
            return;
        }
        let path = &send.path;
        match Failure::of(Errno::from_raw_os_error(-result), send.count) {
            Failure::Full => report.full += send.count as u64,
            Failure::Refused => report.failed += send.count as u64,
            Failure::Segmentation => {
                let Some(socket) = socket_for(self.sockets, path.remote, path.local) else {
                    report.failed += send.count as u64;
                    return;
                };
                let Payload::Contiguous(bytes) = batch.payload(send) else {
                    return;
                };
                let fd = self.sockets[socket].as_fd();
                send_one_by_one(
                    fd,
                    (path, send.ecn),
                    bytes.chunks(send.segment.max(1)),
                    report,
                );
            }
        }
    }
}
