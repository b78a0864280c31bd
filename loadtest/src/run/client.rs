//! One session: a str0m engine, its socket, and what it sends or measures.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, UdpSocketState};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::histogram::Histogram;
use super::meter::Origin;
use super::publisher::{Sending, Track};
use super::viewer::Viewer;
use crate::media::clip::Codec;

/// Receive buffers of a socket: the burst of a keyframe must fit while other sockets are served.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
/// Feedback statistics (NACK counts) are taken this often.
const STATS_INTERVAL: Duration = Duration::from_millis(900);
/// A viewer that leaves is not waited for any longer.
const LONGEST_GRACE_NS: u64 = 8_000_000_000;
/// An engine that never runs dry must not hold the thread.
const MAX_OUTPUTS: usize = 10_000;
/// Datagrams, or runs of datagrams, taken from a socket at once.
pub(crate) const BATCH: usize = 4;
/// What the kernel may hand over as one run (UDP GRO).
const RUN_BYTES: usize = 65_536;

/// Memory into which datagrams are received, shared by all clients of a thread.
pub(crate) struct ReceiveBuffer {
    bytes: Box<[u8]>,
    meta: [RecvMeta; BATCH],
}

impl ReceiveBuffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * RUN_BYTES].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH],
        }
    }
}

/// What a thread counts over all its clients.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    pub(crate) not_decrypted: u64,
    pub(crate) send_errors: u64,
    /// Latencies of the current second.
    pub(crate) second: Histogram,
    /// From the kernel's stamp to our receive.
    pub(crate) socket_wait: Histogram,
    /// The longest of those in the current second.
    pub(crate) longest_wait_ns: u64,
}

impl Counts {
    fn waited(&mut self, ns: u64) {
        self.socket_wait.record(ns);
        self.longest_wait_ns = self.longest_wait_ns.max(ns);
    }
}

/// The present, on both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Nanoseconds of the Unix epoch.
    pub(crate) wall_ns: u64,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall_ns: super::clock::wall_ns(),
        }
    }

    /// The wall time of an earlier instant.
    pub(crate) fn wall_ns_of(self, instant: Instant) -> u64 {
        let ago = self.instant.saturating_duration_since(instant).as_nanos();
        self.wall_ns.saturating_sub(u64::try_from(ago).unwrap_or(0))
    }

    /// The instant of an earlier wall time: strictly before now, and not absurdly long ago.
    fn instant_of(self, wall_ns: u64) -> Instant {
        let ago = self.wall_ns.saturating_sub(wall_ns).clamp(1, 1_000_000_000);
        self.instant
            .checked_sub(Duration::from_nanos(ago))
            .unwrap_or(self.instant)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The offer is with the server.
    Posting,
    /// ICE and DTLS.
    Connecting,
    /// Connected; viewers wait for media.
    Connected,
    /// Media flows.
    Live,
    /// It leaves: packets that are still on their way arrive.
    Leaving { marked_ns: u64 },
    /// Its figures are taken.
    Over,
}

pub(crate) struct Client {
    rtc: Rtc,
    pub(crate) socket: UdpSocket,
    udp: UdpSocketState,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    pub(crate) state: State,
    /// What it publishes.
    pub(crate) sending: Vec<Sending>,
    /// What it plays, if it does.
    pub(crate) viewer: Option<Box<Viewer>>,
    /// When the engine wants to be called next.
    pub(crate) timeout: Instant,
    /// When it was made.
    pub(crate) opened: Instant,
    /// When its socket was last seen empty, in nanoseconds of the Unix epoch.
    emptied_ns: u64,
    /// When it first asked the server, in nanoseconds of the Unix epoch.
    pub(crate) posted_ns: u64,
    /// When it became live.
    pub(crate) live_ns: Option<u64>,
    pub(crate) resource: Option<String>,
    pub(crate) error: Option<String>,
    /// Its session ended although nobody asked for it.
    pub(crate) disconnected: bool,
    /// NACKs sent, or for publishers received, by track.
    nacks: BTreeMap<Mid, u64>,
    pub(crate) keyframe_requests: u64,
}

/// What a client sends or plays from now on.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) send: Vec<Track>,
    pub(crate) play: Vec<Origin>,
    /// Sections in which nothing comes any more.
    pub(crate) stop: Vec<Mid>,
}

/// An offer, and which of its sections are for what was wished for, in that order.
pub(crate) struct Offered {
    pub(crate) sdp: String,
    pub(crate) sent: Vec<Mid>,
    pub(crate) played: Vec<Mid>,
}

/// Where in its loop a publisher begins, and with which numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beginning {
    /// From 0 to 1.
    pub(crate) stagger: f64,
    pub(crate) seed: u64,
}

impl Client {
    /// A client that has nothing to offer yet. `viewer` says whether it plays, and if so, whether its media is counted.
    pub(crate) fn new(
        codecs: &[Codec],
        viewer: Option<bool>,
        bind: IpAddr,
        now: Now,
    ) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((bind, 0))?;
        let udp = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        let local = socket.local_addr()?;

        let mut config = Rtc::builder()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_stats_interval(Some(STATS_INTERVAL));
        for codec in codecs {
            config = match codec {
                Codec::Opus => config.enable_opus(true, false),
                Codec::Vp8 => config.enable_vp8(true),
                Codec::H264 => config.enable_h264(true),
            };
        }
        let mut rtc = config.build(now.instant);
        let candidate = Candidate::host(local, "udp")?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            socket,
            udp,
            local,
            pending: None,
            state: State::Posting,
            sending: Vec::new(),
            viewer: viewer.map(|sampled| Box::new(Viewer::new(sampled))),
            timeout: now.instant,
            opened: now.instant,
            emptied_ns: now.wall_ns,
            posted_ns: now.wall_ns,
            live_ns: None,
            resource: None,
            error: None,
            disconnected: false,
            nacks: BTreeMap::new(),
            keyframe_requests: 0,
        })
    }

    /// Whether an offer is with the server.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Offers all that was wished for before, and this.
    pub(crate) fn offer(&mut self, wish: Wish, beginning: Beginning) -> anyhow::Result<Offered> {
        let mut changes = self.rtc.sdp_api();
        let mut add = |video: bool, direction| {
            let kind = if video {
                MediaKind::Video
            } else {
                MediaKind::Audio
            };
            changes.add_media(kind, direction, None, None, None)
        };
        let (mut sent, mut played) = (Vec::new(), Vec::new());
        let mut seed = beginning.seed;
        for track in wish.send {
            let mid = add(!track.clip.codec.is_audio(), Direction::SendOnly);
            self.sending
                .push(Sending::new(&track, mid, beginning.stagger, seed));
            seed = seed.rotate_left(17);
            sent.push(mid);
        }
        for origin in wish.play {
            let mid = add(origin.is_video(), Direction::RecvOnly);
            if let Some(viewer) = &mut self.viewer {
                viewer.play(mid, origin);
            }
            played.push(mid);
        }
        for mid in wish.stop {
            changes.set_direction(mid, Direction::Inactive);
        }
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| anyhow::anyhow!("there is nothing to offer"))?;
        self.pending = Some(pending);
        Ok(Offered {
            sdp: offer.to_sdp_string(),
            sent,
            played,
        })
    }

    /// The server's answer has come.
    pub(crate) fn answered(
        &mut self,
        sdp: &str,
        now: Now,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let pending = self.pending.take().ok_or("a second answer")?;
        let answer = SdpAnswer::from_sdp_string(sdp)
            .map_err(|error| format!("the answer is no SDP: {error}"))?;
        let wrong = |error: str0m::RtcError| format!("the answer does not fit: {error}");
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .map_err(wrong)?;
        for track in &mut self.sending {
            track.negotiated(&mut self.rtc)?;
        }
        if self.state == State::Posting {
            self.state = State::Connecting;
        }
        self.on_timeout(now, counts);
        Ok(())
    }

    /// Takes what the socket has, at most [`BATCH`] runs of datagrams.
    pub(crate) fn receive(&mut self, buffer: &mut ReceiveBuffer, now: Now, counts: &mut Counts) {
        let ReceiveBuffer { bytes, meta } = buffer;
        let received = {
            let mut chunks = bytes.chunks_mut(RUN_BYTES).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            match self.udp.recv((&self.socket).into(), &mut slices, meta) {
                Ok(received) => received,
                // Nothing there, or an ICMP message about something sent before.
                Err(_) => {
                    self.emptied_ns = now.wall_ns;
                    return;
                }
            }
        };
        if received < BATCH {
            self.emptied_ns = now.wall_ns;
        }
        // The engine's time goes to now first: packets stamped earlier then cost no pass over all its timers each.
        self.input(Input::Timeout(now.instant));
        let mut control = false;
        for (run, meta) in bytes.chunks(RUN_BYTES).zip(meta.iter()).take(received) {
            let stamp = meta
                .timestamp
                .and_then(|stamp| u64::try_from(stamp.as_nanos()).ok());
            let arrival_ns = stamp.unwrap_or(now.wall_ns).min(now.wall_ns);
            counts.waited(now.wall_ns - arrival_ns);
            let run = &run[..meta.len.min(RUN_BYTES)];
            for datagram in run.chunks(meta.stride.max(1)) {
                counts.datagrams += 1;
                counts.bytes += u64::try_from(datagram.len()).unwrap_or(0);
                control |= self.datagram(datagram, meta.addr, arrival_ns, now, counts);
            }
        }
        if control {
            self.input(Input::Timeout(now.instant));
        }
        self.drain(now, counts);
    }

    /// One datagram. Returns whether it was something else than media.
    fn datagram(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        now: Now,
        counts: &mut Counts,
    ) -> bool {
        let media = is_rtp(datagram);
        if media && self.viewer.as_ref().is_some_and(|viewer| !viewer.sampled) {
            counts.not_decrypted += 1;
            return false;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, datagram) else {
            return false;
        };
        self.input(Input::Receive(now.instant_of(arrival_ns), receive));
        if !media {
            return true;
        }
        // The engine holds one media packet at a time: it has to be taken before the next goes in. Most often it is the
        // first output; the rest can wait until all of the batch is in.
        for _ in 0..MAX_OUTPUTS {
            let Ok(output) = self.rtc.poll_output() else {
                break;
            };
            let taken = matches!(
                output,
                Output::Timeout(_) | Output::Event(Event::RtpPacket(_))
            );
            self.output(output, arrival_ns, now, counts);
            if taken {
                break;
            }
        }
        false
    }

    /// The engine's timer.
    pub(crate) fn on_timeout(&mut self, now: Now, counts: &mut Counts) {
        self.input(Input::Timeout(now.instant));
        self.drain(now, counts);
    }

    fn input(&mut self, input: Input<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            self.fail(format!("{error}"));
        }
    }

    fn drain(&mut self, now: Now, counts: &mut Counts) {
        for _ in 0..MAX_OUTPUTS {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(output) => self.output(output, now.wall_ns, now, counts),
                Err(error) => {
                    self.fail(format!("{error}"));
                    return;
                }
            }
        }
    }

    fn output(&mut self, output: Output, arrival_ns: u64, now: Now, counts: &mut Counts) {
        match output {
            Output::Timeout(_) => {}
            Output::Transmit(transmit) => {
                for track in &self.sending {
                    track.transmitting(&transmit.contents);
                }
                if self
                    .socket
                    .send_to(&transmit.contents, transmit.destination)
                    .is_err()
                {
                    counts.send_errors += 1;
                }
            }
            Output::Event(Event::RtpPacket(packet)) => {
                if let Some(viewer) = &mut self.viewer {
                    viewer.packet(&packet, arrival_ns, &mut self.rtc, &mut counts.second);
                    if viewer.first_packet_ns.is_some() && self.state == State::Connected {
                        self.live(now);
                    }
                }
            }
            Output::Event(event) => self.event(&event, now),
        }
    }

    fn event(&mut self, event: &Event, now: Now) {
        match event {
            Event::Connected => {
                if self.state == State::Connecting {
                    self.state = State::Connected;
                    // Who publishes is there now; who only plays, when something has come.
                    let counts = self.viewer.as_ref().is_some_and(|viewer| viewer.sampled);
                    if !counts || !self.sending.is_empty() {
                        self.live(now);
                    }
                }
                for track in &mut self.sending {
                    track.start(now.wall_ns);
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.fail("the server no longer answers".into());
            }
            Event::Closed => self.fail("the server closed the session".into()),
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                let asked = self.sending.iter_mut();
                asked
                    .filter(|track| track.mid == request.mid)
                    .for_each(Sending::keyframe_requested);
            }
            Event::MediaIngressStats(stats) => {
                self.nacks.insert(stats.mid, stats.nacks);
            }
            Event::MediaEgressStats(stats) => {
                self.nacks.insert(stats.mid, stats.nacks);
            }
            _ => {}
        }
    }

    fn live(&mut self, now: Now) {
        self.state = State::Live;
        self.live_ns.get_or_insert(now.wall_ns);
    }

    /// The session is lost, unless it is over anyway.
    pub(crate) fn fail(&mut self, error: String) {
        match self.state {
            State::Over | State::Leaving { .. } => return,
            State::Live => self.disconnected = true,
            State::Posting | State::Connecting | State::Connected => {}
        }
        self.error.get_or_insert(error);
        self.rtc.disconnect();
    }

    /// Sends all frames that are due. Returns when the next is.
    pub(crate) fn publish(&mut self, now: Now, counts: &mut Counts) -> Option<u64> {
        let mut next: Option<u64> = None;
        for at in 0..self.sending.len() {
            let due = self.sending[at].due_ns();
            if due.is_some_and(|due| due <= now.wall_ns) {
                self.sending[at].write(&mut self.rtc, now.instant, now.wall_ns);
                self.on_timeout(now, counts);
                self.sending[at].written();
            }
            next = next.into_iter().chain(self.sending[at].due_ns()).min();
        }
        next
    }

    /// Asks for a keyframe when a picture has waited too long for one.
    pub(crate) fn repair(&mut self, now: Now) {
        if self.state == State::Live
            && let Some(viewer) = &mut self.viewer
            && viewer.repair(&mut self.rtc, now)
        {
            self.timeout = now.instant;
        }
    }

    /// Whether it leaves and all that arrived until `grace_ns` after it decided to has been taken from its socket.
    pub(crate) fn has_all(&self, grace_ns: u64, now: Now) -> bool {
        let State::Leaving { marked_ns } = self.state else {
            return false;
        };
        self.emptied_ns > marked_ns + grace_ns || now.wall_ns > marked_ns + LONGEST_GRACE_NS
    }

    /// Says goodbye by RTCP BYE and DTLS close_notify.
    pub(crate) fn say_goodbye(&mut self, now: Now, counts: &mut Counts) {
        self.state = match self.state {
            State::Leaving { marked_ns } => State::Leaving { marked_ns },
            // It was never live, or is not any more: there may be nobody to say it to.
            _ => return,
        };
        if self.rtc.close().is_ok() {
            self.drain(now, counts);
        }
    }

    /// Received for what it publishes.
    pub(crate) fn nacks_of(&self, mid: Mid) -> u64 {
        self.nacks.get(&mid).copied().unwrap_or(0)
    }

    /// Sent for what it plays.
    pub(crate) fn nacks_sent(&self) -> u64 {
        let published = |mid: &Mid| self.sending.iter().any(|track| track.mid == *mid);
        let played = self.nacks.iter().filter(|(mid, _)| !published(mid));
        played.map(|(_, nacks)| nacks).sum()
    }
}

/// RTP, and not RTCP, STUN or DTLS (RFC 7983, RFC 5761 §4).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, second, ..] if !(64..96).contains(&(second & 0x7f)))
}

/// Asks for a large receive buffer; without the privilege it stays at what the system allows.
fn enlarge(socket: &UdpSocket) {
    use rustix::net::sockopt;
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
}
