use anyhow::{Context, bail};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::fd::AsRawFd;
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// What the socket may hold.
const BUFFER_BYTES: usize = 64 << 20;
/// Datagrams of which nothing is drained any more are held to this.
pub const MAX_UNDER_WAY: u64 = 24_000;
const DATAGRAM: usize = 2_048;
/// Where datagrams are only counted, so much of each is read, as `ion-loadtest raw` does for all but a sample.
const GLANCE: usize = 64;
/// Turns of doing nothing when a batch was not full: some tens of microseconds.
const PAUSE: u32 = 1_000;

/// A socket for all addresses of 127.0.0.0/8 at once, without GRO, so that the kernel segments what is
/// sent to it as it would for a network device.
pub struct Sink {
    socket: UdpSocket,
    state: UdpSocketState,
    memory: Vec<Vec<u8>>,
}

impl Sink {
    /// Opens one at a port that the kernel chooses; datagrams are read whole.
    ///
    /// # Errors
    /// When there is no socket to be had, or no large enough buffer.
    pub fn open() -> anyhow::Result<Self> {
        Self::reading(DATAGRAM)
    }

    /// As [`open`](Self::open), but no more than so many bytes of each datagram are read.
    fn reading(bytes: usize) -> anyhow::Result<Self> {
        use rustix::net::sockopt;
        let socket = UdpSocket::bind("0.0.0.0:0").context("a socket")?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES))
            .context("the sink's receive buffer")?;
        refuse_gro(&socket)?;
        Ok(Self {
            socket,
            state,
            memory: vec![vec![0; bytes]; BATCH_SIZE],
        })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Gives one batch of what has come to `f`; returns how many datagrams.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn drain(&mut self, mut f: impl FnMut(&[u8])) -> anyhow::Result<u64> {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut memory = self.memory.iter_mut();
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            IoSliceMut::new(memory.next().map_or(&mut [], Vec::as_mut_slice))
        });
        let messages = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut meta)
        {
            Ok(messages) => messages,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("the sink's socket"),
        };
        for (memory, meta) in self.memory.iter().zip(&meta[..messages]) {
            f(&memory[..meta.len.min(memory.len())]);
        }
        Ok(messages as u64)
    }
}

/// A sink that a thread of its own drains.
pub struct Drained {
    port: u16,
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Drained {
    /// Opens a sink and starts its thread, on the first core that is allowed.
    ///
    /// # Errors
    /// As [`Sink::open`].
    pub fn start() -> anyhow::Result<Self> {
        let mut sink = Sink::reading(GLANCE)?;
        let port = sink.port();
        let received = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, end) = (Arc::clone(&received), Arc::clone(&stop));
        let core = ion_io::affinity::allowed_cores()?[0];
        let thread = std::thread::spawn(move || {
            // Where pinning is refused it runs where it may.
            let _ = ion_io::affinity::pin(core);
            while !end.load(Ordering::Relaxed) {
                let packets = sink.drain(|_| {})?;
                count.fetch_add(packets, Ordering::Relaxed);
                if packets < BATCH_SIZE as u64 {
                    // Asking all the time would take the socket's lock from those who send.
                    (0..PAUSE).for_each(|_| std::hint::spin_loop());
                }
            }
            Ok(())
        });
        Ok(Self {
            port,
            received,
            stop,
            thread: Some(thread),
        })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Datagrams so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its failure has shown as packets that did not arrive.
            let _ = thread.join();
        }
    }
}

/// Has the kernel hand over datagrams as they are, which `UdpSocketState` has just told it not to.
fn refuse_gro(socket: &UdpSocket) -> anyhow::Result<()> {
    let off: libc::c_int = 0;
    let len = libc::socklen_t::try_from(size_of_val(&off))?;
    // SAFETY: `off` is a C int that lives until the call returns, and `len` is its size; the kernel
    // only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const off).cast(),
            len,
        )
    };
    if result != 0 {
        bail!("switching UDP GRO off: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
