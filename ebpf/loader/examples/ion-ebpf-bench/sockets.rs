use anyhow::{Result, bail};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const BATCH: u32 = 64;
const BUFFER_BYTES: usize = 2_048;

/// Buffers and what the kernel wants to be told of them.
struct Batch {
    buffers: Vec<[u8; BUFFER_BYTES]>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new() -> Self {
        let mut buffers = vec![[0; BUFFER_BYTES]; BATCH as usize];
        let mut vectors: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: BUFFER_BYTES,
            })
            .collect();
        let messages = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all bytes zero are a valid `mmsghdr`.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Self {
            buffers,
            vectors,
            messages,
        }
    }

    /// Waits for datagrams; none if the socket's patience ends.
    fn receive(&mut self, socket: &UdpSocket) -> Result<u32> {
        for vector in &mut self.vectors {
            vector.iov_len = BUFFER_BYTES;
        }
        let (messages, flags) = (self.messages.as_mut_ptr(), libc::MSG_WAITFORONE);
        // SAFETY: the messages point at vectors and those at buffers which live in `self`, neither moved.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages,
                BATCH,
                flags,
                std::ptr::null_mut(),
            )
        };
        match u32::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => bail!(io::Error::last_os_error()),
        }
    }

    /// Sends the first `count` on, to where the socket is connected; what finds no room is lost.
    fn send(&mut self, socket: &UdpSocket, count: u32) {
        for (vector, message) in self
            .vectors
            .iter_mut()
            .zip(&self.messages)
            .take(count as usize)
        {
            vector.iov_len = message.msg_len as usize;
        }
        // SAFETY: as in `receive`.
        unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
            )
        };
    }
}

fn open(local: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
    rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, 8 << 20)?;
    Ok(socket)
}

fn own_cpu_time_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Sends on what comes, as the XDP program does: to its source, from a connected socket, which is cheaper
/// than one that must look up its route each time.
pub(crate) fn relay(
    local: SocketAddr,
    to: SocketAddr,
    stop: &AtomicBool,
    handled: &AtomicU64,
    cpu_ns: &AtomicU64,
) -> Result<()> {
    let socket = open(local)?;
    socket.connect(to)?;
    let mut batch = Batch::new();
    while !stop.load(Relaxed) {
        let count = batch.receive(&socket)?;
        batch.send(&socket, count);
        handled.fetch_add(u64::from(count), Relaxed);
        cpu_ns.store(own_cpu_time_ns(), Relaxed);
    }
    Ok(())
}

/// Reads what comes and forgets it after a look at its first byte.
pub(crate) fn discard(
    local: SocketAddr,
    stop: &AtomicBool,
    handled: &AtomicU64,
    cpu_ns: &AtomicU64,
) -> Result<()> {
    let socket = open(local)?;
    let mut batch = Batch::new();
    while !stop.load(Relaxed) {
        let count = batch.receive(&socket)?;
        let junk = batch
            .buffers
            .iter()
            .take(count as usize)
            .filter(|buffer| buffer[0] > 191);
        handled.fetch_add(junk.count() as u64, Relaxed);
        cpu_ns.store(own_cpu_time_ns(), Relaxed);
    }
    Ok(())
}
