use crate::backend::{Polled, ReceiveReport, Received, SendReport, socket_for};
use crate::doorbell::Doorbell;
use crate::reuseport::{MediaSocket, set_option};
use crate::single::{Failure, send_frames, send_one_by_one};
use crate::xdp::Frame;
use ion_engine::congestion::Ecn;
use ion_engine::transmit::{Payload, Transmit, TransmitBatch};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

/// What one receive may take; longer datagrams are cut, and no media.
const BUFFER: usize = 2_048;
/// Media addresses at most (`ion_tables::attach::MAX_SOCKETS`).
const MAX_SOCKETS: usize = ion_tables::attach::MAX_SOCKETS;

/// Other file descriptors that may be waited for.
pub(crate) const MAX_OTHERS: usize = 16;
/// File descriptors waited for, the doorbell among them.
const FDS: usize = 1 + MAX_SOCKETS + MAX_OTHERS;

/// Batches of one socket that [`Aside::drain`] takes at once.
const ASIDE_ROUNDS: usize = 64;

/// What waiting found.
#[derive(Default)]
struct Ready {
    doorbell: bool,
    /// A bit for each socket that has something.
    sockets: u32,
    /// Another one has failed.
    failed: bool,
}

/// One socket with its receive memory.
pub(crate) struct Port {
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
        let ports = Self::prepare(&sockets)?;
        Ok(Self::assemble(sockets, ports, doorbell))
    }

    /// Everything about opening that can fail.
    pub(crate) fn prepare(sockets: &[MediaSocket]) -> io::Result<Vec<Port>> {
        if sockets.len() > MAX_SOCKETS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sockets
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
            .collect()
    }

    /// With what [`prepare`](Self::prepare) made of these sockets.
    pub(crate) fn assemble(
        sockets: Vec<MediaSocket>,
        ports: Vec<Port>,
        doorbell: Arc<Doorbell>,
    ) -> Self {
        Self {
            sockets,
            ports,
            doorbell,
        }
    }

    /// See [`Backend::poll`](crate::Backend::poll).
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<Polled> {
        let (polled, _) = self.poll_with(timeout, std::iter::empty())?;
        Ok(polled)
    }

    /// The same, and also waits for these, [`MAX_OTHERS`] at most. Also says whether one of
    /// them has failed.
    pub(crate) fn poll_with<'f>(
        &mut self,
        timeout: Option<Duration>,
        others: impl Iterator<Item = BorrowedFd<'f>>,
    ) -> io::Result<(Polled, bool)> {
        let mut polled = Polled {
            rung: false,
            syscalls: 1,
        };
        let ready = self.wait(timeout, others)?;
        if ready.doorbell {
            self.doorbell.clear();
            polled.rung = true;
            polled.syscalls += 1;
        }
        for (n, port) in self.ports.iter_mut().enumerate() {
            port.filled = 0;
            if ready.sockets & (1 << n) != 0 {
                port.filled = receive(&self.sockets[n], port)?;
                polled.syscalls += 1;
            }
        }
        Ok((polled, ready.failed))
    }

    fn wait<'f>(
        &self,
        timeout: Option<Duration>,
        others: impl Iterator<Item = BorrowedFd<'f>>,
    ) -> io::Result<Ready> {
        let doorbell = PollFd::new(&*self.doorbell, PollFlags::IN);
        let mut fds: [PollFd<'_>; FDS] = std::array::from_fn(|_| doorbell.clone());
        let mut used = 1;
        for socket in &self.sockets {
            fds[used] = PollFd::new(socket, PollFlags::IN);
            used += 1;
        }
        for fd in others.take(MAX_OTHERS) {
            fds[used] = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            used += 1;
        }
        let used = &mut fds[..used];
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match poll(used, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let (sockets, others) = used[1..].split_at(self.sockets.len());
        let wrong = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        let mut found = Ready {
            doorbell: !used[0].revents().is_empty(),
            sockets: 0,
            failed: others.iter().any(|fd| fd.revents().intersects(wrong)),
        };
        for (n, fd) in sockets.iter().enumerate() {
            found.sockets |= u32::from(!fd.revents().is_empty()) << n;
        }
        Ok(found)
    }

    /// Gives up what the last batch held, without looking for more.
    pub(crate) fn skip(&mut self) {
        for port in &mut self.ports {
            port.filled = 0;
        }
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

/// Sockets that nobody waits for: what comes to them lies there until it is asked for.
pub struct Aside {
    sockets: Vec<MediaSocket>,
    ports: Vec<Port>,
}

impl Aside {
    /// # Errors
    /// When the sockets are too many, or cannot be set up.
    pub fn open(sockets: Vec<MediaSocket>) -> io::Result<Self> {
        let ports = Sockets::prepare(&sockets)?;
        Ok(Self { sockets, ports })
    }

    /// Gives what has come to `f`, in order of arrival at each socket: [`ASIDE_ROUNDS`] full batches of each at most, so that
    /// a flood holds nobody up. Returns also how many system calls it took.
    ///
    /// # Errors
    /// When a socket cannot be read any more.
    pub fn drain(&mut self, mut f: impl FnMut(Received<'_>)) -> io::Result<(ReceiveReport, u64)> {
        let (mut report, mut syscalls) = (ReceiveReport::default(), 0);
        for (socket, port) in self.sockets.iter().zip(&mut self.ports) {
            for _ in 0..ASIDE_ROUNDS {
                port.filled = receive(socket, port)?;
                syscalls += 1;
                let arrivals = SocketArrivals {
                    sockets: std::slice::from_ref(socket),
                    ports: std::slice::from_ref(port),
                };
                report += arrivals.for_each(&mut f);
                if port.filled < BATCH_SIZE {
                    break;
                }
            }
        }
        Ok((report, syscalls))
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
                    ecn: meta
                        .ecn
                        .map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8)),
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

impl<'a> SocketSender<'a> {
    /// The sockets.
    pub(crate) fn media(&self) -> &'a [MediaSocket] {
        self.sockets
    }

    pub(crate) fn send(&mut self, batch: &TransmitBatch<Frame>) -> SendReport {
        let mut report = SendReport::default();
        for send in batch.sends() {
            self.send_one(batch, send, &mut report);
        }
        report
    }

    fn send_one(&self, batch: &TransmitBatch<Frame>, send: &Transmit, report: &mut SendReport) {
        let path = &send.path;
        let Some(socket) = socket_for(self.sockets, path.remote, path.local) else {
            report.failed += send.count as u64;
            return;
        };
        let fd = self.sockets[socket].as_fd();
        let bytes = match batch.payload(send) {
            Payload::Contiguous(bytes) => bytes,
            Payload::Framed(frames) => return send_frames(fd, send, frames, report),
        };
        let transmit = quinn_udp::Transmit {
            destination: path.remote,
            ecn: EcnCodepoint::from_bits(send.ecn as u8),
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
