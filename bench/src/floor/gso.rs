use rustix::fd::{AsRawFd, OwnedFd};
use std::io;
use std::net::{SocketAddrV4, UdpSocket};

/// One control message that holds a `u16`, as `CMSG_SPACE` and `CMSG_DATA` lay it out.
#[repr(C, align(8))]
struct SegmentSize {
    header: libc::cmsghdr,
    bytes: u16,
    unused: [u8; 6],
}

/// The address family, in the width that the kernel's addresses have it.
#[expect(clippy::cast_possible_truncation, reason = "the constant is 2")]
const FAMILY: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
/// Bytes of an address.
#[expect(clippy::cast_possible_truncation, reason = "an address is 16 bytes")]
const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
/// `CMSG_LEN` of a `u16`.
const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<u16>();

const _: () = assert!(size_of::<SegmentSize>() == size_of::<libc::cmsghdr>() + 8);

/// A socket that sends runs of equal datagrams by one `sendmsg`, and says nothing to the kernel but what
/// it must know: address, bytes, segment size.
#[derive(Debug)]
pub struct GsoSocket(OwnedFd);

impl GsoSocket {
    /// A socket at a port that the kernel chooses.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn open() -> io::Result<Self> {
        Ok(Self(UdpSocket::bind("0.0.0.0:0")?.into()))
    }

    /// Sends `bytes` as datagrams of `segment` bytes, the last of which may be shorter.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when the socket's buffer is full.
    pub fn send(&self, to: SocketAddrV4, bytes: &[u8], segment: usize) -> io::Result<()> {
        let mut name = libc::sockaddr_in {
            sin_family: FAMILY,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(to.ip().octets()),
            },
            sin_zero: [0; 8],
        };
        let mut payload = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut control = SegmentSize {
            header: libc::cmsghdr {
                cmsg_len: CONTROL_LEN,
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            },
            bytes: u16::try_from(segment).map_err(|_| io::ErrorKind::InvalidInput)?,
            unused: [0; 6],
        };
        // SAFETY: a C struct of integers and pointers, for which zero is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = NAME_LEN;
        message.msg_iov = &raw mut payload;
        message.msg_iovlen = 1;
        if segment < bytes.len() {
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = size_of_val(&control);
        }
        // SAFETY: all that `message` points to lives until the call returns; the kernel only reads it.
        let sent =
            unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_send_is_many_datagrams() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        sink.set_read_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        let std::net::SocketAddr::V4(to) = sink.local_addr().unwrap() else {
            unreachable!("bound to IPv4")
        };
        let socket = GsoSocket::open().unwrap();
        socket.send(to, &[1; 2_500], 1_000).unwrap();
        socket.send(to, &[2; 700], 700).unwrap();
        let mut buffer = [0; 2_048];
        let lens = [0; 4].map(|_: u8| sink.recv(&mut buffer).unwrap());
        assert_eq!(lens, [1_000, 1_000, 500, 700]);
    }
}
