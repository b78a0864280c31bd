use crate::backend::SendReport;
use crate::cmsg::SendControl;
use crate::sockaddr::SockAddr;
use ion_engine::congestion::Ecn;
use ion_engine::transmit::{FilledFrame, MAX_SEGMENTS, Path, Transmit};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ops::DerefMut;

/// Everything that a `sendmsg` of the kernel points to, in one place that must not
/// move while the kernel may read it.
pub(crate) struct Message {
    header: libc::msghdr,
    payload: libc::iovec,
    name: SockAddr,
    control: SendControl,
}

impl Message {
    pub(crate) const fn empty() -> Self {
        // SAFETY: both are plain C structs of integers and pointers, for which zero is valid.
        let header: libc::msghdr = unsafe { std::mem::zeroed() };
        Self {
            header,
            payload: piece(&[]),
            name: SockAddr::NONE,
            control: SendControl::NONE,
        }
    }

    /// Fills in the message and gives the header to hand to the kernel. It is valid
    /// until `self` moves or `payload` ends, and nobody checks that.
    pub(crate) fn set(
        &mut self,
        (path, ecn): (&Path, Ecn),
        segment: Option<u16>,
        payload: &[u8],
    ) -> *const libc::msghdr {
        self.payload = piece(payload);
        self.header.msg_iov = &raw mut self.payload;
        self.header.msg_iovlen = 1;
        self.address(path, segment, ecn)
    }

    /// The same with a payload in pieces, which must live and stay put too.
    fn set_pieces(
        &mut self,
        (path, ecn): (&Path, Ecn),
        segment: Option<u16>,
        pieces: &mut [libc::iovec],
    ) -> *const libc::msghdr {
        self.header.msg_iov = pieces.as_mut_ptr();
        self.header.msg_iovlen = pieces.len();
        self.address(path, segment, ecn)
    }

    fn address(&mut self, path: &Path, segment: Option<u16>, ecn: Ecn) -> *const libc::msghdr {
        self.name = SockAddr::new(path.remote);
        self.control = SendControl::new(path.local, segment, path.remote.is_ipv4(), ecn);
        self.header.msg_name = self.name.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.name.len();
        let len = self.control.len();
        self.header.msg_control = if len == 0 {
            std::ptr::null_mut()
        } else {
            self.control.as_ptr().cast_mut().cast()
        };
        self.header.msg_controllen = len;
        &raw const self.header
    }
}

/// What went wrong with a send, as the counters have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The socket's buffer or the device's queue is full.
    Full,
    /// Segmentation may be what was refused; one by one may do.
    Segmentation,
    /// It cannot be sent.
    Refused,
}

impl Failure {
    pub(crate) fn of(error: Errno, datagrams: usize) -> Self {
        match error {
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR => Self::Full,
            // A device without checksum offload says EIO; a segment beyond the MTU, EINVAL.
            Errno::INVAL | Errno::IO | Errno::OPNOTSUPP | Errno::MSGSIZE if datagrams > 1 => {
                Self::Segmentation
            }
            _ => Self::Refused,
        }
    }
}

const fn piece(payload: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    }
}

/// Sends a message that points to what lives and stays put until this returns.
///
/// # Safety
/// `header` and all that it points to are valid.
unsafe fn send_message(
    fd: BorrowedFd<'_>,
    header: *const libc::msghdr,
    report: &mut SendReport,
) -> Result<(), Errno> {
    report.syscalls += 1;
    // SAFETY: the caller's; the kernel only reads what it points to.
    if unsafe { libc::sendmsg(fd.as_raw_fd(), header, libc::MSG_DONTWAIT) } >= 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Sends the datagrams of one refused GSO send one by one. Stops at the first that
/// is refused too: then it was not the segmentation.
pub(crate) fn send_one_by_one<'a>(
    fd: BorrowedFd<'_>,
    (path, ecn): (&Path, Ecn),
    datagrams: impl ExactSizeIterator<Item = &'a [u8]>,
    report: &mut SendReport,
) {
    let mut message = Message::empty();
    let mut left = datagrams.len() as u64;
    for datagram in datagrams {
        let header = message.set((path, ecn), None, datagram);
        // SAFETY: it points into `message` and `datagram`.
        if let Err(error) = unsafe { send_message(fd, header, report) } {
            match Failure::of(error, 1) {
                Failure::Full => report.full += left,
                Failure::Segmentation | Failure::Refused => report.failed += left,
            }
            return;
        }
        left -= 1;
        report.sends += 1;
        report.datagrams += 1;
        report.bytes += datagram.len() as u64;
    }
}

/// Sends the datagrams of one run of frames, gathered by the kernel into one GSO send.
pub(crate) fn send_frames<F: DerefMut<Target = [u8]>>(
    fd: BorrowedFd<'_>,
    send: &Transmit,
    frames: &[FilledFrame<F>],
    report: &mut SendReport,
) {
    let mut message = Message::empty();
    let mut pieces = [piece(&[]); MAX_SEGMENTS];
    let pieces = &mut pieces[..frames.len().min(MAX_SEGMENTS)];
    for (place, frame) in pieces.iter_mut().zip(frames) {
        *place = piece(frame.datagram());
    }
    let segment = u16::try_from(send.segment)
        .ok()
        .filter(|_| frames.len() > 1);
    let header = message.set_pieces((&send.path, send.ecn), segment, pieces);
    // SAFETY: it points into `message`, `pieces` and the frames.
    let sent = unsafe { send_message(fd, header, report) };
    let count = send.count as u64;
    match sent.map_err(|error| Failure::of(error, send.count)) {
        Ok(()) => {
            report.sends += 1;
            report.datagrams += count;
            report.bytes += send.len as u64;
        }
        Err(Failure::Full) => report.full += count,
        Err(Failure::Refused) => report.failed += count,
        Err(Failure::Segmentation) => {
            let datagrams = frames.iter().map(FilledFrame::datagram);
            send_one_by_one(fd, (&send.path, send.ecn), datagrams, report);
        }
    }
}
