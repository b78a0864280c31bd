/// What completions bring, and the datagrams among it.
mod receive;
/// Requests to send.
mod send;

pub use receive::UringArrivals;
pub use send::UringSender;

use crate::backend::Polled;
use crate::buffers::BufferRing;
use crate::cmsg;
use crate::doorbell::Doorbell;
use crate::reuseport::MediaSocket;
use crate::single::Message;
use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use receive::{Arrival, Inbox};
use rustix::fd::{AsFd, AsRawFd};
use send::Slot;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Sizes of one worker's ring.
///
/// UDP_GRO stays off here: it would need buffers of 64 KiB, and an SFU sends many
/// times what it receives, so what it saves on the way in hardly shows.
#[derive(Debug, Clone, Copy)]
pub struct UringConfig {
    /// Receive buffers; a power of two, at most 32,768.
    pub buffers: u16,
    /// UDP payload bytes that one takes; longer datagrams are dropped.
    pub payload: usize,
    /// Sends submitted at once at most.
    pub sends: usize,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            buffers: 1_024,
            payload: 2_048,
            sends: 256,
        }
    }
}

/// Room for a source address in front of each payload, and for control messages.
const NAME_SPACE: usize = 32;
const HEADERS: usize = size_of::<[u32; 4]>() + NAME_SPACE + cmsg::RECEIVE_SPACE;
/// The group number of the receive buffers; there is one.
const GROUP: u16 = 0;
/// `IORING_ENTER_GETEVENTS`: run what completed, also when not waiting for any.
const GETEVENTS: u32 = 1;

/// What a completion belongs to: kind in the upper half, number in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Receive(usize),
    Send(usize),
    Doorbell,
}

impl Tag {
    fn pack(self) -> u64 {
        match self {
            Self::Receive(socket) => 1 << 32 | socket as u64,
            Self::Send(slot) => 2 << 32 | slot as u64,
            Self::Doorbell => 3 << 32,
        }
    }

    fn unpack(data: u64) -> Option<Self> {
        let number = usize::try_from(data & u64::from(u32::MAX)).ok()?;
        match data >> 32 {
            1 => Some(Self::Receive(number)),
            2 => Some(Self::Send(number)),
            3 => Some(Self::Doorbell),
            _ => None,
        }
    }
}

/// One worker's ring.
pub struct Uring {
    // Dropped in this order: the ring is gone before anything that it points into.
    ring: IoUring,
    buffers: BufferRing,
    slots: Box<[Slot]>,
    /// Says how much room a received datagram's address and control messages get.
    header: Box<libc::msghdr>,
    current: Vec<Arrival>,
    inbox: Inbox,
    sockets: Vec<MediaSocket>,
    /// Kept open: it is registered with the ring.
    _doorbell: Arc<Doorbell>,
}

/// Why there is no ring, with what was to be used by it.
pub(crate) struct Refused {
    pub(crate) error: io::Error,
    pub(crate) sockets: Vec<MediaSocket>,
    pub(crate) doorbell: Arc<Doorbell>,
}

impl Uring {
    /// Makes the ring, hands it the receive buffers and arms a receive on each socket.
    pub(crate) fn open(
        config: &UringConfig,
        sockets: Vec<MediaSocket>,
        doorbell: Arc<Doorbell>,
    ) -> Result<Self, Refused> {
        let (ring, buffers) = match build(config, &sockets, &doorbell) {
            Ok(parts) => parts,
            Err(error) => {
                return Err(Refused {
                    error,
                    sockets,
                    doorbell,
                });
            }
        };
        let arrivals = || Vec::with_capacity(usize::from(config.buffers));
        let mut uring = Self {
            ring,
            buffers,
            slots: (0..config.sends)
                .map(|_| Slot {
                    message: Message::empty(),
                    result: 0,
                })
                .collect(),
            header: receive_header(),
            current: arrivals(),
            inbox: Inbox {
                pending: arrivals(),
                unarmed: (1 << sockets.len()) - 1,
                doorbell_unarmed: true,
                rung: false,
                broken: None,
            },
            sockets,
            _doorbell: doorbell,
        };
        // A kernel without multishot receive says so only now.
        match uring.poll(Some(Duration::ZERO)) {
            Ok(_) => Ok(uring),
            Err(error) => {
                let doorbell = Arc::clone(&uring._doorbell);
                let sockets = std::mem::take(&mut uring.sockets);
                Err(Refused {
                    error,
                    sockets,
                    doorbell,
                })
            }
        }
    }

    /// See [`Backend::poll`](crate::Backend::poll).
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        for arrival in self.current.drain(..) {
            self.buffers.give_back(arrival.buffer);
        }
        self.buffers.publish();
        self.arm();
        let mut polled = Polled::default();
        self.inbox.reap(&mut self.ring, &self.buffers, None);
        if self.inbox.pending.is_empty() && !self.inbox.rung {
            self.wait(timeout)?;
            polled.syscalls = 1;
            self.inbox.reap(&mut self.ring, &self.buffers, None);
        }
        if let Some(error) = self.inbox.broken {
            return Err(error.into());
        }
        std::mem::swap(&mut self.current, &mut self.inbox.pending);
        polled.rung = std::mem::take(&mut self.inbox.rung);
        Ok(polled)
    }

    /// Queues a receive for each socket that has none; submitted with the next call.
    fn arm(&mut self) {
        let mut queue = self.ring.submission();
        while self.inbox.unarmed != 0 {
            let socket = self.inbox.unarmed.trailing_zeros();
            let receive = opcode::RecvMsgMulti::new(Fixed(socket), &raw const *self.header, GROUP)
                .build()
                .user_data(Tag::Receive(socket as usize).pack());
            // SAFETY: the header is boxed and lives as long as the ring; the buffers of the
            // group do too.
            if unsafe { queue.push(&receive) }.is_err() {
                return;
            }
            self.inbox.unarmed &= self.inbox.unarmed - 1;
        }
        if self.inbox.doorbell_unarmed {
            // The eventfd is never read: a multishot poll fires at each ring by itself.
            let doorbell = Fixed(u32::try_from(self.sockets.len()).unwrap_or(u32::MAX));
            let events = u32::from(libc::POLLIN.cast_unsigned());
            let poll = opcode::PollAdd::new(doorbell, events)
                .multi(true)
                .build()
                .user_data(Tag::Doorbell.pack());
            // SAFETY: a poll points to no memory.
            self.inbox.doorbell_unarmed = unsafe { queue.push(&poll) }.is_err();
        }
    }

    /// Submits what is queued and sleeps until something completes.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let result = match timeout {
            None => submitter.submit_and_wait(1),
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        passing(result)
    }

    /// See [`Backend::split`](crate::Backend::split).
    pub(crate) fn split(&mut self) -> (UringArrivals<'_>, UringSender<'_>) {
        (
            UringArrivals {
                buffers: &self.buffers,
                list: &self.current,
                header: &self.header,
                sockets: &self.sockets,
            },
            UringSender {
                ring: &mut self.ring,
                buffers: &self.buffers,
                slots: &mut self.slots,
                inbox: &mut self.inbox,
                sockets: &self.sockets,
            },
        )
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel must have let go of the buffers before they are freed.
        let patience = Timespec::from(Duration::from_secs(1));
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(Some(patience), CancelBuilder::any());
    }
}

/// Errors of an enter that only mean "nothing yet": the time is over, a signal came, or
/// the kernel wants its completions taken first.
fn passing(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}

fn build(
    config: &UringConfig,
    sockets: &[MediaSocket],
    doorbell: &Doorbell,
) -> io::Result<(IoUring, BufferRing)> {
    let requests = config.sends + sockets.len() + 1;
    let ring = setup(requests, requests + usize::from(config.buffers))?;
    let buffers = BufferRing::new(config.buffers, HEADERS + config.payload);
    let mut fds: Vec<_> = sockets.iter().map(|s| s.as_fd().as_raw_fd()).collect();
    fds.push(doorbell.as_fd().as_raw_fd());
    ring.submitter().register_files(&fds)?;
    // SAFETY: both go into `Uring`, which drops the ring first (or, below, are returned or
    // dropped without any request having been submitted).
    unsafe { buffers.register(&ring.submitter(), GROUP) }?;
    Ok((ring, buffers))
}

/// The ring with the cheapest set of flags that this kernel takes.
fn setup(submissions: usize, completions: usize) -> io::Result<IoUring> {
    let entries = |n: usize| u32::try_from(n.next_power_of_two()).unwrap_or(u32::MAX);
    let mut error = None;
    for level in 0..3 {
        let mut builder = IoUring::builder();
        builder
            .setup_cqsize(entries(completions))
            .setup_submit_all()
            .setup_coop_taskrun()
            .dontfork();
        if level < 2 {
            // Since 6.1: one thread submits, and completions are worked off in its waits.
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        if level < 1 {
            // Since 6.6: submissions are taken in order.
            builder.setup_no_sqarray();
        }
        match builder.build(entries(submissions)) {
            Ok(ring) => return Ok(ring),
            Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => error = Some(refused),
            Err(refused) => return Err(refused),
        }
    }
    Err(error.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

fn receive_header() -> Box<libc::msghdr> {
    // SAFETY: a plain C struct of integers and pointers, for which zero is valid.
    let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
    header.msg_namelen = u32::try_from(NAME_SPACE).unwrap_or(u32::MAX);
    header.msg_controllen = cmsg::RECEIVE_SPACE;
    header
}
