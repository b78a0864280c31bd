use crate::doorbell::Doorbell;
use crate::reuseport::MediaSocket;
use crate::socket::{SocketArrivals, SocketSender, Sockets};
use crate::uring::{Uring, UringArrivals, UringConfig, UringSender};
use crate::xdp::{Frame, Xdp, XdpArrivals, XdpConfig, XdpRefused, XdpSender};
pub use ion_engine::Received;
use ion_engine::transmit::TransmitBatch;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Which way packets go in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoMode {
    /// io_uring where the kernel allows it, else plain sockets.
    Uring,
    /// Plain sockets.
    Socket,
}

/// Why io_uring is not used although it was asked for. Its text names cause and remedy.
#[derive(Debug)]
pub struct Fallback(pub(crate) io::Error);

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .is_ok_and(|value| value.trim() != "0");
        let remedy = match self.0.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) if disabled => {
                "it is switched off on this host: sysctl kernel.io_uring_disabled=0"
            }
            Some(libc::EPERM | libc::EACCES) => {
                "a container's seccomp profile or a security module forbids it: allow \
                 io_uring_setup, io_uring_enter and io_uring_register"
            }
            Some(libc::ENOSYS) => {
                "this kernel is built without it, or a seccomp profile hides it: allow \
                 io_uring_setup, io_uring_enter and io_uring_register"
            }
            Some(libc::ENOMEM | libc::ENOBUFS) => {
                "too little memory may be locked: raise `ulimit -l`, or LimitMEMLOCK= of the unit"
            }
            Some(libc::EINVAL | libc::EOPNOTSUPP) => "it needs Linux 6.1 or newer",
            _ => "see the kernel's log",
        };
        write!(
            f,
            "io_uring is refused ({}), plain sockets are used, at more CPU per packet: {remedy}",
            self.0
        )
    }
}

/// What waiting found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polled {
    /// The doorbell was rung.
    pub rung: bool,
    /// System calls made.
    pub syscalls: u64,
}

/// What a batch held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiveReport {
    /// Datagrams given to the caller.
    pub datagrams: u64,
    /// Payload bytes of those.
    pub bytes: u64,
    /// Datagrams longer than a receive buffer, or without a usable source: not given.
    pub truncated: u64,
    /// Of the datagrams, those that came by an AF_XDP ring.
    pub ring: u64,
}

impl std::ops::AddAssign for ReceiveReport {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.truncated += other.truncated;
        self.ring += other.ring;
    }
}

/// What became of a batch of sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Sends that the kernel took; a GSO send of ten datagrams counts once. By an AF_XDP
    /// ring each datagram is one.
    pub sends: u64,
    /// Datagrams in those.
    pub datagrams: u64,
    /// Payload bytes of those.
    pub bytes: u64,
    /// Datagrams given up because the socket or the device was full.
    pub full: u64,
    /// Datagrams that the kernel refused.
    pub failed: u64,
    /// System calls made.
    pub syscalls: u64,
    /// Of the datagrams, those that were put into an AF_XDP ring.
    pub ring: u64,
    /// Of those given up, those that found no room in it.
    pub ring_full: u64,
    /// Of the system calls, those that had the kernel look at it.
    pub kicks: u64,
}

impl std::ops::AddAssign for SendReport {
    fn add_assign(&mut self, other: Self) {
        self.sends += other.sends;
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.full += other.full;
        self.failed += other.failed;
        self.syscalls += other.syscalls;
        self.ring += other.ring;
        self.ring_full += other.ring_full;
        self.kicks += other.kicks;
    }
}

/// The sockets of one worker and the way it reads and writes them. Made on, and
/// never leaves, the worker's thread.
pub enum Backend {
    /// io_uring.
    Uring(Box<Uring>),
    /// Plain sockets.
    Socket(Box<Sockets>),
    /// AF_XDP, and plain sockets beside it.
    Xdp(Box<Xdp>),
}

impl Backend {
    /// Opens the backend. If io_uring is asked for and refused, plain sockets are
    /// opened and the reason is given with them.
    ///
    /// # Errors
    /// When plain sockets cannot be used either.
    pub fn open(
        mode: IoMode,
        config: &UringConfig,
        sockets: Vec<MediaSocket>,
        doorbell: Arc<Doorbell>,
    ) -> io::Result<(Self, Option<Fallback>)> {
        let (sockets, doorbell, fallback) = match mode {
            IoMode::Socket => (sockets, doorbell, None),
            IoMode::Uring => match Uring::open(config, sockets, doorbell) {
                Ok(uring) => return Ok((Self::Uring(Box::new(uring)), None)),
                Err(refused) => (
                    refused.sockets,
                    refused.doorbell,
                    Some(Fallback(refused.error)),
                ),
            },
        };
        let sockets = Sockets::open(sockets, doorbell)?;
        Ok((Self::Socket(Box::new(sockets)), fallback))
    }

    /// Opens AF_XDP, with plain sockets beside it.
    ///
    /// # Errors
    /// The reason, with the sockets and the doorbell for [`open`](Self::open).
    pub fn open_xdp(
        config: XdpConfig,
        sockets: Vec<MediaSocket>,
        doorbell: Arc<Doorbell>,
    ) -> Result<Self, Box<XdpRefused>> {
        Ok(Self::Xdp(Box::new(Xdp::open(config, sockets, doorbell)?)))
    }

    /// The memory to seal datagrams into: of at most `bytes` bytes in at most `sends` sends,
    /// or, for AF_XDP, of as many frames as its configuration says. Those suffice for one
    /// batch at a time: another one, made meanwhile, goes by the sockets.
    pub fn batch(&mut self, bytes: usize, sends: usize) -> TransmitBatch<Frame> {
        let framed = match self {
            Self::Xdp(xdp) => xdp.batch(),
            Self::Uring(_) | Self::Socket(_) => None,
        };
        framed.unwrap_or_else(|| TransmitBatch::new(bytes, sends))
    }

    /// AF_XDP, if that is what it is: its state and where its frames are.
    pub fn xdp(&self) -> Option<&Xdp> {
        match self {
            Self::Xdp(xdp) => Some(xdp),
            Self::Uring(_) | Self::Socket(_) => None,
        }
    }

    /// Its name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uring(_) => "io_uring",
            Self::Socket(_) => "sockets",
            Self::Xdp(_) => "AF_XDP",
        }
    }

    /// Ends the last batch and waits for the next one: until something arrives, the
    /// doorbell rings or `timeout` passes (`None` is never, zero does not wait).
    ///
    /// # Errors
    /// When the sockets cannot be read any more: nothing is left to do then.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        match self {
            Self::Uring(uring) => uring.poll(timeout),
            Self::Socket(sockets) => sockets.poll(timeout),
            Self::Xdp(xdp) => xdp.poll(timeout),
        }
    }

    /// The batch that the last [`poll`](Self::poll) found, and the way out.
    pub fn split(&mut self) -> (Arrivals<'_>, Sender<'_>) {
        match self {
            Self::Uring(uring) => {
                let (arrivals, sender) = uring.split();
                (Arrivals::Uring(arrivals), Sender::Uring(sender))
            }
            Self::Socket(sockets) => {
                let (arrivals, sender) = sockets.split();
                (Arrivals::Socket(arrivals), Sender::Socket(sender))
            }
            Self::Xdp(xdp) => {
                let (arrivals, sender) = xdp.split();
                (Arrivals::Xdp(arrivals), Sender::Xdp(sender))
            }
        }
    }
}

/// Datagrams that have arrived and are still in receive memory.
pub enum Arrivals<'a> {
    /// In provided buffers.
    Uring(UringArrivals<'a>),
    /// In the buffers of `recvmmsg`.
    Socket(SocketArrivals<'a>),
    /// In frames, and the sockets' in the buffers of `recvmmsg`.
    Xdp(XdpArrivals<'a>),
}

impl Arrivals<'_> {
    /// Gives each datagram to `f`, in order of arrival.
    pub fn for_each(&self, f: impl FnMut(Received<'_>)) -> ReceiveReport {
        match self {
            Self::Uring(arrivals) => arrivals.for_each(f),
            Self::Socket(arrivals) => arrivals.for_each(f),
            Self::Xdp(arrivals) => arrivals.for_each(f),
        }
    }
}

/// The way out.
pub enum Sender<'a> {
    /// Batches of SENDMSG.
    Uring(UringSender<'a>),
    /// `sendmsg`, one after the other.
    Socket(SocketSender<'a>),
    /// The TX ring, or `sendmsg`.
    Xdp(XdpSender<'a>),
}

impl Sender<'_> {
    /// Hands the sends of the batch to the kernel. The batch may be reused when this returns.
    /// It must be one of this backend's [`batch`](Backend::batch)es, or a contiguous one.
    ///
    /// # Errors
    /// When the ring itself fails: nothing is left to do then.
    pub fn send(&mut self, batch: &mut TransmitBatch<Frame>) -> io::Result<SendReport> {
        match self {
            Self::Uring(sender) => sender.send(batch),
            Self::Socket(sender) => Ok(sender.send(batch)),
            Self::Xdp(sender) => Ok(sender.send(batch)),
        }
    }
}

/// The socket that a datagram from `local` to `remote` leaves by: the one bound to
/// that address, else the family's first.
pub(crate) fn socket_for(
    sockets: &[MediaSocket],
    remote: SocketAddr,
    local: IpAddr,
) -> Option<usize> {
    let family = |s: &MediaSocket| s.local().is_ipv4() == remote.is_ipv4();
    let exact = sockets
        .iter()
        .position(|s| s.local().ip() == local && family(s));
    exact.or_else(|| sockets.iter().position(family))
}
