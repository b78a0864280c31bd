//! One AF_XDP socket: a queue of the interface, with its four rings.

use super::error::XdpError;
use super::header::{Checksum, METADATA_LEN};
use super::interface::Link;
use super::ring::{Consumer, Descriptor, Entry, Producer, RingMemory};
use super::umem::{CHUNK, Umem, Way};
use super::{BusyPoll, CopyMode, XdpConfig};
use crate::backend::SendReport;
use crate::reuseport::set_option;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags,
    XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};

/// Entries of the completion ring of a socket that does not send.
const NO_COMPLETIONS: u32 = 2;
/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.18): packets that one call sends in copy mode, 32 if not set.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Bytes of packets in copy mode that may be on their way through the device, counted as
/// the kernel does; its default stops at some ninety.
const SEND_BUFFER: usize = 16 << 20;

/// A bound socket.
pub(crate) struct Xsk {
    // Dropped first: the kernel lets go of the rings.
    fd: OwnedFd,
    pub(crate) rx: Consumer<Descriptor>,
    pub(crate) fill: Producer<u64>,
    /// The socket that sends has these.
    pub(crate) out: Option<Outgoing>,
    pub(crate) zero_copy: bool,
    pub(crate) checksum: Checksum,
}

/// The rings of the way out.
pub(crate) struct Outgoing {
    pub(crate) tx: Producer<Descriptor>,
    pub(crate) completion: Consumer<u64>,
}

/// How a call to the kernel to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kicked {
    /// It took what it could.
    Fine,
    /// The interface is down, or the socket is no longer bound to it.
    Down,
}

impl Xsk {
    /// Opens the socket of one queue. The first of a worker (`first` is `None`) registers the
    /// memory and sends; the others share its memory and receive only.
    ///
    /// # Errors
    /// Any [`XdpError`] but those of memory and interface.
    pub(crate) fn open(
        config: &XdpConfig,
        link: &Link,
        queue: u32,
        umem: &Umem,
        first: Option<&Self>,
        checksum: Checksum,
    ) -> Result<Self, XdpError> {
        let what = |what| move |source| XdpError::Socket { what, source };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)
            .map_err(what("opening"))?;
        let sends = first.is_none();
        let checksum = if sends {
            register(&fd, umem, checksum)?
        } else {
            checksum
        };
        let completions = if sends {
            config.tx_ring
        } else {
            NO_COMPLETIONS
        };
        sockopt::set_xdp_umem_fill_ring_size(&fd, config.rx_ring).map_err(what("fill ring"))?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, completions)
            .map_err(what("completion ring"))?;
        sockopt::set_xdp_rx_ring_size(&fd, config.rx_ring).map_err(what("RX ring"))?;
        if sends {
            sockopt::set_xdp_tx_ring_size(&fd, config.tx_ring).map_err(what("TX ring"))?;
        }
        let mut xsk = Self::map(fd, config, completions, sends).map_err(what("mapping rings"))?;
        xsk.tune(config)?;
        xsk.bind(config, link, queue, first)?;
        let options = sockopt::xdp_options(&xsk.fd).map_err(what("asking for the mode"))?;
        xsk.zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        // In zero-copy mode it is up to the driver to look at metadata, and most do not.
        if !xsk.zero_copy {
            xsk.checksum = checksum;
        }
        Ok(xsk)
    }

    fn map(fd: OwnedFd, config: &XdpConfig, completions: u32, sends: bool) -> Result<Self, Errno> {
        let offsets = sockopt::xdp_mmap_offsets(&fd)?;
        fn ring<T: Entry>(
            fd: &OwnedFd,
            page_offset: u64,
            offsets: &XdpRingOffset,
            size: u32,
        ) -> Result<RingMemory, Errno> {
            RingMemory::map(fd.as_fd(), page_offset, offsets, size, size_of::<T>())
        }
        let (received, sent) = (config.rx_ring, config.tx_ring);
        let rx = ring::<Descriptor>(&fd, XDP_PGOFF_RX_RING, &offsets.rx, received)?;
        let fill = ring::<u64>(&fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, received)?;
        let page = XDP_UMEM_PGOFF_COMPLETION_RING;
        let completion = ring::<u64>(&fd, page, &offsets.cr, completions)?;
        let out = if sends {
            let tx = ring::<Descriptor>(&fd, XDP_PGOFF_TX_RING, &offsets.tx, sent)?;
            Some(Outgoing {
                // SAFETY: a TX ring has descriptors; it was mapped just now, for this one.
                tx: unsafe { Producer::new(tx) },
                // SAFETY: a completion ring has addresses; it was mapped just now, for this one.
                completion: unsafe { Consumer::new(completion) },
            })
        } else {
            None
        };
        Ok(Self {
            // SAFETY: an RX ring has descriptors; it was mapped just now, for this one.
            rx: unsafe { Consumer::new(rx) },
            // SAFETY: a fill ring has addresses; it was mapped just now, for this one.
            fill: unsafe { Producer::new(fill) },
            out,
            zero_copy: false,
            checksum: Checksum::Software,
            fd,
        })
    }

    /// Sets what makes it faster where the kernel knows of it.
    fn tune(&self, config: &XdpConfig) -> Result<(), XdpError> {
        let budget = libc::c_int::try_from(config.tx_ring).unwrap_or(libc::c_int::MAX);
        let _ = set_option(self.fd.as_fd(), libc::SOL_XDP, MAX_TX_SKB_BUDGET, &budget);
        let _ = sockopt::set_socket_send_buffer_size_force(&self.fd, SEND_BUFFER)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&self.fd, SEND_BUFFER));
        let Some(BusyPoll {
            microseconds,
            budget,
        }) = config.busy_poll
        else {
            return Ok(());
        };
        let options = [
            (libc::SO_PREFER_BUSY_POLL, 1),
            (libc::SO_BUSY_POLL, microseconds),
            (libc::SO_BUSY_POLL_BUDGET, budget),
        ];
        for (option, value) in options {
            let value = libc::c_int::from(value);
            set_option(self.fd.as_fd(), libc::SOL_SOCKET, option, &value).map_err(|source| {
                XdpError::Socket {
                    what: "busy polling",
                    source,
                }
            })?;
        }
        Ok(())
    }

    fn bind(
        &self,
        config: &XdpConfig,
        link: &Link,
        queue: u32,
        first: Option<&Self>,
    ) -> Result<(), XdpError> {
        let failed = |source| XdpError::Bind {
            name: config.interface.clone(),
            queue,
            source,
        };
        let to = |flags| SocketAddrXdp::new(flags, link.index, queue);
        if let Some(first) = first {
            // Mode and wakeup are the first one's.
            let addr = to(SocketAddrXdpFlags::XDP_SHARED_UMEM);
            let shared_umem_fd = first.fd.as_fd();
            let address = SocketAddrXdpWithSharedUmem {
                addr,
                shared_umem_fd,
            };
            return bind(&self.fd, &address).map_err(failed);
        }
        let bind_as = |mode| {
            bind(
                &self.fd,
                &to(mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP),
            )
        };
        match config.mode {
            CopyMode::Copy => bind_as(SocketAddrXdpFlags::XDP_COPY),
            CopyMode::ZeroCopy => bind_as(SocketAddrXdpFlags::XDP_ZEROCOPY),
            CopyMode::Auto => bind_as(SocketAddrXdpFlags::XDP_ZEROCOPY)
                .or_else(|_| bind_as(SocketAddrXdpFlags::XDP_COPY)),
        }
        .map_err(failed)
    }

    /// Packets for it that the kernel dropped, for want of frames or room in the RX ring.
    pub(crate) fn dropped(&self) -> u64 {
        let statistics = sockopt::xdp_statistics(&self.fd);
        statistics.map_or(0, |s| s.rx_dropped + s.rx_ring_full.unwrap_or(0))
    }

    /// Has the kernel look at the fill ring; with busy polling, also at the device.
    pub(crate) fn wake_receive(&self) {
        // There is nothing to read by this call, and it says so.
        let _ = recv(&self.fd, &mut [0_u8; 0][..], RecvFlags::DONTWAIT);
    }

    /// Shows the kernel what was put into the TX ring, and calls it if it sleeps.
    pub(crate) fn submit(&mut self, report: &mut SendReport) -> Kicked {
        let Some(out) = &mut self.out else {
            return Kicked::Fine;
        };
        out.tx.publish();
        if !self.wants_kick() {
            return Kicked::Fine;
        }
        let mut kicks = 0;
        let kicked = self.kick(&mut kicks);
        report.kicks += kicks;
        report.syscalls += kicks;
        kicked
    }

    /// Whether there is something to send and the kernel sleeps.
    pub(crate) fn wants_kick(&self) -> bool {
        let tx = self.out.as_ref().map(|out| &out.tx);
        tx.is_some_and(|tx| tx.waiting() > 0 && tx.needs_wakeup())
    }

    /// Takes back the frames that the kernel is done with. Returns whether there were any.
    pub(crate) fn reap(&mut self, umem: &mut Umem) -> bool {
        let Some(out) = &mut self.out else {
            return false;
        };
        let before = umem.sending();
        while let Some(addr) = out.completion.pop() {
            if let Some(frame) = umem.take_back(addr, Way::Out) {
                umem.give(frame);
            }
        }
        out.completion.release();
        umem.sending() < before
    }

    /// Has the kernel send what is in the TX ring. Adds the calls made to `kicks`.
    ///
    /// In copy mode a call takes a limited number of packets, so it is made again as long as
    /// each takes some.
    pub(crate) fn kick(&self, kicks: &mut u64) -> Kicked {
        let Some(out) = &self.out else {
            return Kicked::Fine;
        };
        let mut waiting = out.tx.waiting();
        loop {
            *kicks += 1;
            match send(&self.fd, &[], SendFlags::DONTWAIT) {
                Ok(_) if self.zero_copy => return Kicked::Fine,
                // Busy, or the limit, or the socket's buffer is full.
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => return Kicked::Down,
            }
            let left = out.tx.waiting();
            if left == 0 || left >= waiting {
                return Kicked::Fine;
            }
            waiting = left;
        }
    }
}

impl AsFd for Xsk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Registers the memory. Returns who computes checksums: the kernel may be too old for
/// TX metadata (6.8; 6.11 for the flag that asks for it).
fn register(fd: &OwnedFd, umem: &Umem, checksum: Checksum) -> Result<Checksum, XdpError> {
    let (addr, len) = umem.area();
    let area = XdpUmemReg {
        addr,
        len,
        chunk_size: u32::try_from(CHUNK).unwrap_or(u32::MAX),
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    if checksum == Checksum::Metadata {
        let with_metadata = XdpUmemReg {
            flags: XdpUmemRegFlags::from_bits_retain(libc::XDP_UMEM_TX_METADATA_LEN),
            tx_metadata_len: u32::try_from(METADATA_LEN).unwrap_or(0),
            ..area
        };
        if sockopt::set_xdp_umem_reg(fd, with_metadata).is_ok() {
            return Ok(Checksum::Metadata);
        }
    }
    sockopt::set_xdp_umem_reg(fd, area)
        .map_err(|source| XdpError::Memory { bytes: len, source })?;
    Ok(Checksum::Software)
}

#[cfg(test)]
impl Xsk {
    /// A socket whose rings are given, and that is none: it cannot be kicked.
    pub(crate) fn of_rings(rx: Consumer<Descriptor>, fill: Producer<u64>, out: Outgoing) -> Self {
        let flags = rustix::event::EventfdFlags::empty();
        Self {
            fd: rustix::event::eventfd(0, flags).unwrap(),
            rx,
            fill,
            out: Some(out),
            zero_copy: false,
            checksum: Checksum::Software,
        }
    }
}
