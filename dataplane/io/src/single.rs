use crate::backend::SendReport;
use crate::cmsg::SendControl;
use crate::sockaddr::SockAddr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr};

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
            payload: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            name: SockAddr::NONE,
            control: SendControl::NONE,
        }
    }

    /// Fills in the message and gives the header to hand to the kernel. It is valid
    /// until `self` moves or `payload` ends, and nobody checks that.
    pub(crate) fn set(
        &mut self,
        remote: SocketAddr,
        source: IpAddr,
        segment: Option<u16>,
        payload: &[u8],
    ) -> *const libc::msghdr {
        self.name = SockAddr::new(remote);
        self.control = SendControl::new(source, segment);
        self.payload.iov_base = payload.as_ptr().cast_mut().cast();
        self.payload.iov_len = payload.len();
        self.header.msg_name = self.name.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.name.len();
        self.header.msg_iov = &raw mut self.payload;
        self.header.msg_iovlen = 1;
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

/// Sends the datagrams of one refused GSO send one by one. Stops at the first that
/// is refused too: then it was not the segmentation.
pub(crate) fn send_one_by_one(
    fd: BorrowedFd<'_>,
    remote: SocketAddr,
    source: IpAddr,
    payload: &[u8],
    segment: usize,
    report: &mut SendReport,
) {
    let mut message = Message::empty();
    let mut left = payload.len().div_ceil(segment.max(1)) as u64;
    for datagram in payload.chunks(segment.max(1)) {
        let header = message.set(remote, source, None, datagram);
        // SAFETY: `header` points into `message` and `datagram`, which both stay put and live
        // until the call returns; the kernel only reads what it points to.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), header, libc::MSG_DONTWAIT) };
        report.syscalls += 1;
        if sent < 0 {
            let error = std::io::Error::last_os_error();
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
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
