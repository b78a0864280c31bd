use super::Options;
use super::feedback::Feedback;
use super::rooms::{Rooms, VIEWED_SSRC, Way, master_key};
use super::traffic::{STAMP_BYTES, now_ns};
use anyhow::{Context, bail};
use ion_srtp::{Opener, RxIndex};
use ion_wire::rtp::RtpHeader;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::fd::AsRawFd;
use std::io::{ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

/// What the socket may hold: all that may be under way, with what the kernel adds to each packet. The kernel doubles it.
const BUFFER_BYTES: usize = 280 << 20;
/// Room for one datagram, or for what GRO makes of many.
const PLAIN_BYTES: usize = 2_048;
const GRO_BYTES: usize = 65_536;
/// One batch in so many is read whole, and each packet of it opened: checked, and its age taken down.
const SAMPLE: u64 = 37;
/// Of the other batches only so much of each packet is read: its header. Reading all of it would fetch every cache line
/// from the core that wrote it, and on two cores that share nothing else it is the dataplane that waits for them to come back.
const GLANCE_BYTES: usize = 64;

/// One socket that all viewers' addresses lead to.
pub(super) struct Sink {
    socket: UdpSocket,
    state: UdpSocketState,
    memory: Vec<Vec<u8>>,
    /// Whether GRO is on, so that what is received must be read whole to be counted.
    gro: bool,
    /// Batches received.
    batches: u64,
    viewers: Viewers,
}

/// What has arrived, viewer by viewer.
struct Viewers {
    /// By subscription: keys of its client, packets, and the newest index opened.
    openers: Vec<(Opener, RxIndex)>,
    packets: Vec<u64>,
    received: u64,
    foreign: u64,
    rtcp: u64,
    opened: u64,
    refused: u64,
    /// Ages of opened packets, nanoseconds.
    ages_ns: Vec<u64>,
    /// What viewers say of their packets, if they do.
    feedback: Option<Feedback>,
}

/// What a sink saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) received: u64,
    pub(super) rtcp: u64,
    /// Transport-wide feedback sent.
    pub(super) feedback: u64,
    pub(super) foreign: u64,
    pub(super) opened: u64,
    pub(super) refused: u64,
    /// Packets of the viewer that got fewest and of the one that got most.
    pub(super) fewest: u64,
    pub(super) most: u64,
    /// Sorted.
    pub(super) ages_ns: Vec<u64>,
}

impl Sink {
    pub(super) fn open(options: &Options) -> anyhow::Result<Self> {
        let (socket, state) = udp_socket()?;
        if !options.gro {
            refuse_gro(&socket)?;
        }
        let bytes = if options.gro { GRO_BYTES } else { PLAIN_BYTES };
        Ok(Self {
            socket,
            state,
            memory: vec![vec![0; bytes]; BATCH_SIZE],
            gro: options.gro,
            batches: 0,
            viewers: Viewers {
                openers: Vec::new(),
                packets: Vec::new(),
                received: 0,
                foreign: 0,
                rtcp: 0,
                opened: 0,
                refused: 0,
                ages_ns: Vec::with_capacity(1 << 20),
                feedback: None,
            },
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Learns the keys of the viewers, and where their feedback goes if they give any.
    pub(super) fn expect(&mut self, rooms: &Rooms, feedback: Option<SocketAddr>) {
        self.viewers.feedback = feedback.map(|media| Feedback::new(rooms, media));
        self.viewers.openers = rooms
            .subscriptions
            .iter()
            .filter_map(|sent| master_key(rooms.profile, sent.client, Way::Out).ok())
            .map(|key| (Opener::new(rooms.profile, &key), RxIndex::new()))
            .collect();
        self.viewers.packets = vec![0; rooms.subscriptions.len()];
    }

    /// Media packets so far.
    pub(super) fn received(&self) -> u64 {
        self.viewers.received
    }

    /// Counts anew.
    pub(super) fn begin(&mut self) {
        let viewers = &mut self.viewers;
        (
            viewers.rtcp,
            viewers.foreign,
            viewers.opened,
            viewers.refused,
        ) = (0, 0, 0, 0);
        viewers.packets.fill(0);
        viewers.ages_ns.clear();
        if let Some(feedback) = &mut viewers.feedback {
            feedback.take_sent();
        }
    }

    /// What came since `begin`.
    pub(super) fn end(&mut self) -> Seen {
        let viewers = &mut self.viewers;
        let mut ages_ns = std::mem::take(&mut viewers.ages_ns);
        ages_ns.sort_unstable();
        Seen {
            received: viewers.packets.iter().sum(),
            rtcp: viewers.rtcp,
            feedback: viewers.feedback.as_mut().map_or(0, Feedback::take_sent),
            foreign: viewers.foreign,
            opened: viewers.opened,
            refused: viewers.refused,
            fewest: viewers.packets.iter().copied().min().unwrap_or(0),
            most: viewers.packets.iter().copied().max().unwrap_or(0),
            ages_ns,
        }
    }

    /// Takes one batch of what has come, and sends the feedback that is due. Returns how many packets.
    pub(super) fn drain(&mut self) -> anyhow::Result<usize> {
        if let Some(feedback) = &mut self.viewers.feedback {
            feedback.send_due(&self.socket, &self.state);
        }
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let whole = self.batches.is_multiple_of(SAMPLE);
        let len = if whole || self.gro {
            usize::MAX
        } else {
            GLANCE_BYTES
        };
        let slices = self.memory.iter_mut().map(|m| {
            let len = len.min(m.len());
            IoSliceMut::new(&mut m[..len])
        });
        let mut slices: Vec<_> = slices.collect();
        let messages = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut meta)
        {
            Ok(messages) => messages,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("the sink's socket"),
        };
        drop(slices);
        self.batches += 1;
        let now_ns = now_ns();
        let mut packets = 0;
        for (memory, meta) in self.memory.iter().zip(&meta[..messages]) {
            for datagram in memory[..meta.len].chunks(meta.stride.max(1)) {
                self.viewers.take(datagram, whole, now_ns);
                packets += 1;
            }
        }
        Ok(packets)
    }
}

impl Viewers {
    /// Counts a packet, of which only the start may be there unless it is `whole`: then it is opened.
    fn take(&mut self, datagram: &[u8], whole: bool, now_ns: u64) {
        // RFC 5761, section 4.
        if datagram
            .get(1)
            .is_some_and(|kind| (192..=223).contains(kind))
        {
            self.rtcp += 1;
            return;
        }
        let ssrc = datagram.get(8..12).and_then(|ssrc| ssrc.try_into().ok());
        let number = ssrc
            .map_or(u32::MAX, u32::from_be_bytes)
            .wrapping_sub(VIEWED_SSRC) as usize;
        let Some(packets) = self.packets.get_mut(number) else {
            self.foreign += 1;
            return;
        };
        *packets += 1;
        self.received += 1;
        if let Some(feedback) = &mut self.feedback {
            feedback.note(number, datagram, now_ns / 1_000);
        }
        if whole {
            match self.open(number, datagram) {
                Some(sent_ns) if self.ages_ns.len() < self.ages_ns.capacity() => {
                    self.opened += 1;
                    self.ages_ns.push(now_ns.saturating_sub(sent_ns));
                }
                Some(_) => self.opened += 1,
                None => self.refused += 1,
            }
        }
    }

    /// Opens a packet and gives the time stamped into it.
    fn open(&mut self, number: usize, datagram: &[u8]) -> Option<u64> {
        let header = RtpHeader::parse(datagram).ok()?;
        let (opener, rx) = self.openers.get_mut(number)?;
        let mut plain = [0; PLAIN_BYTES];
        let len = opener
            .open_rtp(
                usize::from(header.header_len),
                header.ssrc,
                header.sequence,
                datagram,
                rx,
                &mut plain,
            )
            .ok()?;
        let stamp = plain[..len].last_chunk::<STAMP_BYTES>()?;
        Some(u64::from_be_bytes(*stamp))
    }
}

/// A socket for all addresses of 127.0.0.0/8 at once, at a port that the kernel chooses.
pub(super) fn udp_socket() -> anyhow::Result<(UdpSocket, UdpSocketState)> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("a socket")?;
    socket.set_nonblocking(true)?;
    let state = UdpSocketState::new((&socket).into())?;
    use rustix::net::sockopt;
    let forced = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES));
    forced.context("the socket's receive buffer")?;
    sockopt::set_socket_send_buffer_size(&socket, BUFFER_BYTES)?;
    Ok((socket, state))
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
