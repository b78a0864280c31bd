//! AF_XDP: frames go between a worker and the interface's queues past the kernel's
//! network stack.
//!
//! A worker has a socket for each queue that is its own, and one UMEM that they share. No
//! frame ever belongs to another worker, so nothing here is shared between threads. The
//! first socket sends.
//!
//! The plain sockets stay: what the XDP program passes up comes by them, and what the ring
//! cannot send goes by them: where no next hop is known, where a datagram is larger than
//! the interface's MTU, or where the interface is down. See `docs/adr/0008`.

mod device;
mod error;
mod header;
mod interface;
mod netlink;
mod paths;
mod probe;
mod receive;
mod ring;
mod send;
mod socket;
mod umem;

pub use error::XdpError;
pub use probe::{Costs, measure};
pub use receive::XdpArrivals;
pub use send::XdpSender;
pub use umem::{Frame, Pages};

use crate::backend::Polled;
use crate::doorbell::Doorbell;
use crate::reuseport::MediaSocket;
use crate::socket::Sockets;
use device::Device;
use interface::Interface;
use ion_engine::transmit::TransmitBatch;
use receive::{Arrival, RECEIVE_BATCH};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Batches that are taken from full rings before the sockets and the doorbell are looked at.
const BATCHES_UNASKED: u32 = 7;

/// How frames get between the UMEM and the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMode {
    /// Zero-copy where the driver can, else copies.
    Auto,
    /// The kernel copies: any driver.
    Copy,
    /// The device reads and writes the frames itself, or the queue is not opened.
    ZeroCopy,
}

/// Who computes the UDP checksum of what is sent. It is never left out, on IPv4 neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxChecksum {
    /// The device, where the interface has that on, in copy mode, and the kernel knows TX
    /// metadata (Linux 6.11); else we.
    Auto,
    /// We.
    Software,
}

/// Busy polling (`SO_PREFER_BUSY_POLL`, Linux 5.11): the worker's calls run the driver's receive
/// work, in place of interrupts. Wants `napi_defer_hard_irqs` and `gro_flush_timeout` of the
/// interface to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`, microseconds.
    pub microseconds: u16,
    /// `SO_BUSY_POLL_BUDGET`, packets.
    pub budget: u16,
}

/// Tells the XDP program which socket a queue's packets go to: enters it into the `XSKMAP`.
pub type Register = Arc<dyn Fn(u32, BorrowedFd<'_>) -> io::Result<()> + Send + Sync>;

/// What one worker's AF_XDP is made of.
#[derive(Clone)]
pub struct XdpConfig {
    /// The interface's name.
    pub interface: String,
    /// The worker's queues, 1 to 16; each queue serves one worker only. It sends by the first.
    pub queues: Vec<u32>,
    /// How frames get to the device.
    pub mode: CopyMode,
    /// Entries of each queue's fill and RX ring, and frames for it; a power of two.
    pub rx_ring: u32,
    /// Entries of the TX ring, and frames for it; a power of two.
    pub tx_ring: u32,
    /// Frames of the transmit batch: datagrams sealed before they are handed to the kernel.
    pub batch: u32,
    /// Clients to which the way is remembered.
    pub paths: usize,
    /// Who computes checksums.
    pub checksum: TxChecksum,
    /// Busy polling, if wished for.
    pub busy_poll: Option<BusyPoll>,
    /// Called for each queue when its socket is open, and again whenever it had to be opened
    /// anew.
    pub register: Register,
}

impl XdpConfig {
    /// The usual sizes: 9 MiB for a worker with one queue.
    pub fn new(interface: &str, queues: Vec<u32>, register: Register) -> Self {
        Self {
            interface: interface.to_owned(),
            queues,
            mode: CopyMode::Auto,
            rx_ring: 2_048,
            tx_ring: 2_048,
            batch: 256,
            paths: 8_192,
            checksum: TxChecksum::Auto,
            busy_poll: None,
            register,
        }
    }

    fn frames(&self) -> u32 {
        let queues = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        queues * self.rx_ring + self.tx_ring + self.batch
    }
}

impl fmt::Debug for XdpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpConfig({}, queues {:?})", self.interface, self.queues)
    }
}

/// The number of receive queues of an interface.
///
/// # Errors
/// When there is no such interface, or its driver does not say.
pub fn queues(interface: &str) -> Result<u32, Errno> {
    Interface::new(interface)?.queues()
}

/// Why there is no AF_XDP, with what was to be used beside it.
#[derive(Debug)]
pub struct XdpRefused {
    /// Why.
    pub error: XdpError,
    /// The sockets, unused.
    pub sockets: Vec<MediaSocket>,
    /// The doorbell.
    pub doorbell: Arc<Doorbell>,
}

/// Whether the rings are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingState {
    /// They are.
    Running,
    /// The interface is down or does not send: the sockets are used until it does.
    LinkDown,
    /// The interface is gone or has failed: the rings are opened again when it is back.
    Lost,
}

impl fmt::Display for RingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "AF_XDP rings are in use",
            Self::LinkDown => "the interface is down, packets go through sockets meanwhile",
            Self::Lost => "AF_XDP rings are lost, packets go through sockets until they are back",
        })
    }
}

/// Where a worker's frames are. The numbers add up to `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCount {
    /// All frames.
    pub total: usize,
    /// Not in use.
    pub free: usize,
    /// In the fill rings, in the RX rings, and those that are being received into.
    pub receiving: usize,
    /// Arrived, and not yet given back.
    pub reading: usize,
    /// In the transmit batch: as many as it was made with, or something was lost.
    pub batch: usize,
    /// In the TX ring, on their way, and in the completion ring.
    pub sending: usize,
    /// How often the kernel gave back a frame that it did not have.
    pub bogus: u64,
}

impl FrameCount {
    /// Frames under way: zero when nothing is received or sent.
    pub fn outstanding(&self) -> usize {
        self.reading + self.sending
    }
}

/// One worker's queues, and its sockets.
pub struct Xdp {
    // The device first: frames that arrived outlive its sockets.
    device: Device,
    arrivals: Vec<Arrival>,
    sockets: Sockets,
    /// Batches since the sockets were looked at.
    unasked: u32,
}

impl Xdp {
    /// Opens a socket for each queue and registers it with the XDP program, which must be
    /// attached (or be so soon: what it does not redirect comes by the sockets).
    ///
    /// # Errors
    /// [`XdpRefused`], which gives the sockets back for another backend.
    pub(crate) fn open(
        config: XdpConfig,
        sockets: Vec<MediaSocket>,
        doorbell: Arc<Doorbell>,
    ) -> Result<Self, Box<XdpRefused>> {
        let what = "its plain sockets";
        let ports = Sockets::prepare(&sockets).map_err(|error| XdpError::Socket {
            what,
            source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        });
        let opened = ports.and_then(|ports| Ok((Device::open(config, &sockets)?, ports)));
        match opened {
            Ok((device, ports)) => Ok(Self {
                device,
                arrivals: Vec::with_capacity(RECEIVE_BATCH),
                sockets: Sockets::assemble(sockets, ports, doorbell),
                unasked: 0,
            }),
            Err(error) => Err(Box::new(XdpRefused {
                error,
                sockets,
                doorbell,
            })),
        }
    }

    /// See [`Backend::poll`](crate::Backend::poll).
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        let device = &mut self.device;
        let mut syscalls = 0;
        device.give_back(&mut self.arrivals, &mut syscalls);
        let arrived = device.has_arrived();
        let mut polled = Polled::default();
        if arrived && self.unasked < BATCHES_UNASKED {
            self.unasked += 1;
            self.sockets.skip();
        } else {
            self.unasked = 0;
            let timeout = if arrived {
                Some(Duration::ZERO)
            } else {
                device.before_sleep(timeout, &mut syscalls)
            };
            let failed;
            (polled, failed) = self.sockets.poll_with(timeout, device.fds())?;
            if failed {
                device.lose();
            }
        }
        device.tick(&mut syscalls);
        device.take_in(&mut self.arrivals);
        polled.syscalls += syscalls;
        Ok(polled)
    }

    /// See [`Backend::split`](crate::Backend::split).
    pub(crate) fn split(&mut self) -> (XdpArrivals<'_>, XdpSender<'_>) {
        let (arrived, sockets) = self.sockets.split();
        let arrivals = XdpArrivals {
            frames: &self.arrivals,
            sockets: arrived,
        };
        let sender = XdpSender {
            device: &mut self.device,
            sockets,
        };
        (arrivals, sender)
    }

    /// See [`Backend::batch`](crate::Backend::batch).
    pub(crate) fn batch(&mut self) -> Option<TransmitBatch<Frame>> {
        let other = self.device.in_use() > self.arrivals.len();
        (!other).then(|| TransmitBatch::framed(self.device.take_batch()))
    }

    /// Whether frames are copied by the kernel, and how the memory is paged, for the log.
    pub fn describe(&self) -> String {
        let xsk = self.device.xsks.first();
        let mode = match xsk.map(|xsk| xsk.zero_copy) {
            Some(true) => "zero-copy",
            _ => "copy mode",
        };
        let checksums = match xsk.map(|xsk| xsk.checksum) {
            Some(header::Checksum::Metadata) => "by the device",
            _ => "in software",
        };
        let pages = match self.device.pages() {
            Pages::Huge => "huge pages",
            Pages::Transparent => "transparent huge pages",
            Pages::Normal => "normal pages",
        };
        let XdpConfig {
            interface, queues, ..
        } = &self.device.config;
        format!("{mode} on {interface}, queues {queues:?}, {pages}, checksums {checksums}")
    }

    /// Whether the rings are in use.
    pub fn state(&self) -> RingState {
        self.device.state
    }

    /// Packets that came for the rings and that the kernel dropped, because the worker was
    /// not quick enough to take out others. A system call for each queue: for once in a while.
    pub fn dropped(&self) -> u64 {
        self.device.dropped()
    }

    /// Where the frames are.
    pub fn frames(&self) -> FrameCount {
        let umem = &self.device.umem;
        FrameCount {
            total: umem.total(),
            free: umem.free(),
            receiving: umem.receiving(),
            reading: self.arrivals.len(),
            batch: self.device.in_use() - self.arrivals.len(),
            sending: umem.sending(),
            bogus: umem.bogus(),
        }
    }
}
