use crate::backend::{Polled, ReceiveReport, Received, SendReport, socket_for};
use crate::doorbell::Doorbell;
use crate::reuseport::{MediaSocket, set_option};
use crate::single::{Failure, send_one_by_one};
use ion_engine::transmit::{Transmit, TransmitBatch};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

/// What one receive may take; longer datagrams are cut, and no media.
const BUFFER: usize = 2_048;
/// Media addresses at most (`ion_tables::attach::MAX_SOCKETS`).
const MAX_SOCKETS: usize = ion_tables::attach::MAX_SOCKETS;

/// One socket with its receive memory.
struct Port {
    state: UdpSocketState,
    memory: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
    /// Filled buffers.
    filled: usize,
}

/// One worker's sockets, read by `recvmmsg` and written by `sendmsg`.
pub struct Sockets {
    sockets: Vec<MediaSocket>,
    ports: Vec<Port>,
    doorbell: Arc<Doorbell>,
}

impl Sockets {
    pub(crate) fn open(sockets: Vec<MediaSocket>, doorbell: Arc<Doorbell>) -> io::Result<Self> {
        if sockets.len() > MAX_SOCKETS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ports = sockets
            .iter()
            .map(|socket| {
                let state = UdpSocketState::new((&socket.as_fd()).into())?;
                refuse_gro(socket)?;
                Ok(Port {
                    state,
                    memory: vec![0; BUFFER * BATCH_SIZE].into_boxed_slice(),
                    meta: [RecvMeta::default(); BATCH_SIZE],
                    filled: 0,
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            sockets,
            ports,
            doorbell,
        })
    }

    /// See [`Backend::poll`](crate::Backend::poll).
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        let mut polled = Polled {
            rung: false,
            syscalls: 1,
        };
        let (doorbell, readable) = self.wait(timeout)?;
        if doorbell {
            self.doorbell.clear();
            polled.rung = true;
            polled.syscalls += 1;
        }
        for (n, port) in self.ports.iter_mut().enumerate() {
            port.filled = 0;
            if readable & (1 << n) != 0 {
                port.filled = receive(&self.sockets[n], port)?;
                polled.syscalls += 1;
            }
        }
        Ok(polled)
    }

    /// Whether the doorbell rang, and a bit for each socket that has something.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<(bool, u32)> {
        let doorbell = PollFd::new(&*self.doorbell, PollFlags::IN);
        let mut fds: [PollFd<'_>; MAX_SOCKETS + 1] = std::array::from_fn(|_| doorbell.clone());
        for (fd, socket) in fds[1..].iter_mut().zip(&self.sockets) {
            *fd = PollFd::new(socket, PollFlags::IN);
        }
        let used = &mut fds[..=self.sockets.len()];
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match poll(used, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok((false, 0)),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let mut readable = 0;
        for (n, fd) in used[1..].iter().enumerate() {
            readable |= u32::from(ready(fd)) << n;
        }
        Ok((ready(&used[0]), readable))
    }

    /// See [`Backend::split`](crate::Backend::split).
    pub(crate) fn split(&mut self) -> (SocketArrivals<'_>, SocketSender<'_>) {
        let (sockets, ports) = (&self.sockets, &self.ports);
        (
            SocketArrivals { sockets, ports },
            SocketSender { sockets, ports },
        )
    }
}

/// Takes back the UDP_GRO that `UdpSocketState` asks for. The kernel would join a client's
/// datagrams before it has looked at their first bytes: a STUN check that follows media
/// would come with it, to a worker, and the control plane would miss it.
fn refuse_gro(socket: &MediaSocket) -> io::Result<()> {
    let off: libc::c_int = 0;
    set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, &off)?;
    Ok(())
}

/// Fills the port's buffers; returns how many. A soft error is an empty batch.
fn receive(socket: &MediaSocket, port: &mut Port) -> io::Result<usize> {
    let mut chunks = port.memory.chunks_exact_mut(BUFFER);
    let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
        std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
    let fd = socket.as_fd();
    match port.state.recv((&fd).into(), &mut buffers, &mut port.meta) {
        Ok(filled) => Ok(filled),
        Err(error) => match error.raw_os_error() {
            Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EFAULT) => Err(error),
            _ => Ok(0),
        },
    }
}

/// Datagrams in the buffers of `recvmmsg`.
pub struct SocketArrivals<'a> {
    sockets: &'a [MediaSocket],
    ports: &'a [Port],
}

impl SocketArrivals<'_> {
    pub(crate) fn for_each(&self, mut f: impl FnMut(Received<'_>)) -> ReceiveReport {
        let mut report = ReceiveReport::default();
        for (socket, port) in self.sockets.iter().zip(self.ports) {
            let buffers = port.memory.chunks_exact(BUFFER);
            for (meta, buffer) in port.meta[..port.filled].iter().zip(buffers) {
                let mut remote = meta.addr;
                if let std::net::SocketAddr::V6(v6) = &mut remote {
                    // Rows hold addresses without scope: see `Received`.
                    v6.set_scope_id(0);
                    v6.set_flowinfo(0);
                }
                let local = meta.dst_ip.unwrap_or(socket.local().ip());
                let data = &buffer[..meta.len.min(BUFFER)];
                report.datagrams += 1;
                report.bytes += data.len() as u64;
                f(Received {
                    remote,
                    local,
                    data,
                });
            }
        }
        report
    }
}

/// Sends by one system call each.
pub struct SocketSender<'a> {
    sockets: &'a [MediaSocket],
    ports: &'a [Port],
}

impl SocketSender<'_> {
    pub(crate) fn send(&mut self, batch: &TransmitBatch) -> SendReport {
        let mut report = SendReport::default();
        for send in batch.sends() {
            self.send_one(batch, send, &mut report);
        }
        report
    }

    fn send_one(&self, batch: &TransmitBatch, send: &Transmit, report: &mut SendReport) {
        let path = &send.path;
        let Some(socket) = socket_for(self.sockets, path.remote, path.local) else {
            report.failed += send.count as u64;
            return;
        };
        let bytes = batch.bytes(send);
        let fd = self.sockets[socket].as_fd();
        let transmit = quinn_udp::Transmit {
            destination: path.remote,
            ecn: None,
            contents: bytes,
            segment_size: (send.count > 1).then_some(send.segment),
            src_ip: (!path.local.is_unspecified()).then_some(path.local),
        };
        report.syscalls += 1;
        let Err(error) = self.ports[socket].state.try_send((&fd).into(), &transmit) else {
            report.sends += 1;
            report.datagrams += send.count as u64;
            report.bytes += send.len as u64;
            return;
        };
        let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        match Failure::of(error, send.count) {
            Failure::Full => report.full += send.count as u64,
            Failure::Refused => report.failed += send.count as u64,
            Failure::Segmentation => {
                send_one_by_one(fd, path.remote, path.local, bytes, send.segment, report);
            }
        }
    }
}
