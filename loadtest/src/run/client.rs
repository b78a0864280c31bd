//! One session: a str0m engine, its socket, and what it sends or measures.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, UdpSocketState};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::histogram::Histogram;
use super::meter::{Latencies, Meter, Origin};
use super::publisher::{Sending, Track};
use crate::media::clip::Codec;

/// Receive buffers of a socket: the burst of a keyframe must fit while other sockets are served.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
/// Feedback statistics (NACK counts) are taken this often.
const STATS_INTERVAL: Duration = Duration::from_millis(900);
/// A player that misses a frame asks for a keyframe after this time, and again after the second one.
const PLI_AFTER_NS: u64 = 300_000_000;
const PLI_EVERY_NS: u64 = 1_000_000_000;
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

/// Who the client is.
pub(crate) enum Role {
    Publisher(Vec<Sending>),
    Viewer(Box<Viewer>),
}

pub(crate) struct Viewer {
    /// By kind of media: audio, video.
    meters: [Option<Meter>; 2],
    /// Whether media is decrypted and counted.
    pub(crate) sampled: bool,
    video_mid: Option<Mid>,
    opus: Vec<Pt>,
    pub(crate) latency: Histogram,
    pub(crate) first_packet_ns: Option<u64>,
    pub(crate) first_frame_ns: Option<u64>,
    last_pli_ns: u64,
    pub(crate) plis_sent: u64,
}

impl Viewer {
    pub(crate) fn new(audio: Option<Origin>, video: Option<Origin>, sampled: bool) -> Self {
        Self {
            meters: [audio.map(Meter::new), video.map(Meter::new)],
            sampled,
            video_mid: None,
            opus: Vec::new(),
            latency: Histogram::default(),
            first_packet_ns: None,
            first_frame_ns: None,
            last_pli_ns: 0,
            plis_sent: 0,
        }
    }

    pub(crate) fn meters(&mut self) -> impl Iterator<Item = &mut Meter> {
        self.meters.iter_mut().flatten()
    }

    fn packet(&mut self, packet: &RtpPacket, arrival_ns: u64, second: &mut Histogram) {
        let kind = usize::from(!self.opus.contains(&packet.header.payload_type));
        let Some(meter) = &mut self.meters[kind] else {
            return;
        };
        let seen = meter.packet(packet, arrival_ns);
        if let Some(ns) = seen.latency_ns {
            Latencies {
                viewer: &mut self.latency,
                second,
            }
            .record(ns);
        }
        if seen.keyframe {
            self.first_frame_ns.get_or_insert(arrival_ns);
        }
        if meter.has_received() {
            self.first_packet_ns.get_or_insert(arrival_ns);
        }
    }
}

pub(crate) struct Client {
    rtc: Rtc,
    pub(crate) socket: UdpSocket,
    udp: UdpSocketState,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    pub(crate) state: State,
    pub(crate) role: Role,
    /// When the engine wants to be called next.
    pub(crate) timeout: Instant,
    /// When it was made.
    pub(crate) opened: Instant,
    /// When its socket was last seen empty, in nanoseconds of the Unix epoch.
    emptied_ns: u64,
    /// When its offer was posted, in nanoseconds of the Unix epoch.
    pub(crate) posted_ns: u64,
    pub(crate) resource: Option<String>,
    pub(crate) error: Option<String>,
    /// Its session ended although nobody asked for it.
    pub(crate) disconnected: bool,
    /// NACKs sent, or for publishers received, by track.
    nacks: BTreeMap<Mid, u64>,
    pub(crate) keyframe_requests: u64,
}

/// What a client wants to send or play.
pub(crate) enum Wish {
    Publish {
        audio: Option<Track>,
        video: Option<Track>,
        stagger: f64,
        seed: u64,
    },
    Play {
        audio: Option<Origin>,
        video: Option<Origin>,
        codec: Codec,
        sampled: bool,
    },
}

impl Client {
    /// A client and its offer.
    pub(crate) fn new(wish: Wish, bind: IpAddr, now: Now) -> anyhow::Result<(Self, String)> {
        let socket = UdpSocket::bind((bind, 0))?;
        let udp = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        let local = socket.local_addr()?;

        let mut config = Rtc::builder()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_stats_interval(Some(STATS_INTERVAL));
        let (audio, video) = match &wish {
            Wish::Publish { audio, video, .. } => (
                audio.is_some(),
                video.as_ref().map(|track| track.clip.codec),
            ),
            Wish::Play {
                audio,
                video,
                codec,
                ..
            } => (audio.is_some(), video.as_ref().map(|_| *codec)),
        };
        config = config.enable_opus(audio, false);
        config = match video {
            Some(Codec::H264) => config.enable_h264(true),
            Some(_) => config.enable_vp8(true),
            None => config,
        };
        let mut rtc = config.build(now.instant);
        let candidate = Candidate::host(local, "udp")?;
        rtc.add_local_candidate(candidate);

        let mut changes = rtc.sdp_api();
        let role = match wish {
            Wish::Publish {
                audio,
                video,
                stagger,
                seed,
            } => {
                let mut add = |kind, track: Option<Track>, seed| {
                    let mid = track
                        .as_ref()
                        .map(|_| changes.add_media(kind, Direction::SendOnly, None, None, None));
                    track
                        .zip(mid)
                        .map(|(track, mid)| Sending::new(&track, mid, stagger, seed))
                };
                let sending = [
                    add(MediaKind::Audio, audio, seed),
                    add(MediaKind::Video, video, seed.rotate_left(17)),
                ];
                Role::Publisher(sending.into_iter().flatten().collect())
            }
            Wish::Play {
                audio,
                video,
                sampled,
                ..
            } => {
                let mut add = |kind| changes.add_media(kind, Direction::RecvOnly, None, None, None);
                if audio.is_some() {
                    add(MediaKind::Audio);
                }
                let video_mid = video.as_ref().map(|_| add(MediaKind::Video));
                let mut viewer = Viewer::new(audio, video, sampled);
                viewer.video_mid = video_mid;
                Role::Viewer(Box::new(viewer))
            }
        };
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| anyhow::anyhow!("there is nothing to offer"))?;
        let offer = offer.to_sdp_string();
        let client = Self {
            rtc,
            socket,
            udp,
            local,
            pending: Some(pending),
            state: State::Posting,
            role,
            timeout: now.instant,
            opened: now.instant,
            emptied_ns: now.wall_ns,
            posted_ns: now.wall_ns,
            resource: None,
            error: None,
            disconnected: false,
            nacks: BTreeMap::new(),
            keyframe_requests: 0,
        };
        Ok((client, offer))
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
        match &mut self.role {
            Role::Publisher(tracks) => {
                for track in tracks {
                    track.negotiated(&mut self.rtc)?;
                }
            }
            Role::Viewer(viewer) => {
                let params = self.rtc.codec_config().params().iter();
                let opus =
                    params.filter(|params| params.spec().codec == str0m::format::Codec::Opus);
                viewer.opus = opus.map(str0m::format::PayloadParams::pt).collect();
            }
        }
        self.state = State::Connecting;
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
        if media
            && let Role::Viewer(viewer) = &mut self.role
            && !viewer.sampled
        {
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
                if let Role::Publisher(tracks) = &self.role {
                    tracks
                        .iter()
                        .for_each(|track| track.transmitting(&transmit.contents));
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
                if let Role::Viewer(viewer) = &mut self.role {
                    viewer.packet(&packet, arrival_ns, &mut counts.second);
                    if viewer.first_packet_ns.is_some() && self.state == State::Connected {
                        self.state = State::Live;
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
                    let unsampled = matches!(&self.role, Role::Viewer(viewer) if !viewer.sampled);
                    let publisher = matches!(self.role, Role::Publisher(_));
                    self.state = if unsampled || publisher {
                        State::Live
                    } else {
                        State::Connected
                    };
                }
                if let Role::Publisher(tracks) = &mut self.role {
                    tracks.iter_mut().for_each(|track| track.start(now.wall_ns));
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.fail("the server no longer answers".into());
            }
            Event::Closed => self.fail("the server closed the session".into()),
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                if let Role::Publisher(tracks) = &mut self.role {
                    let asked = tracks.iter_mut().filter(|track| track.mid == request.mid);
                    asked.for_each(|track| track.keyframe_requested());
                }
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

    /// The session is lost, unless it is over anyway.
    fn fail(&mut self, error: String) {
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
        let tracks = if let Role::Publisher(tracks) = &self.role {
            tracks.len()
        } else {
            0
        };
        for at in 0..tracks {
            let Role::Publisher(tracks) = &mut self.role else {
                break;
            };
            let due = tracks[at].due_ns();
            if due.is_some_and(|due| due <= now.wall_ns) {
                tracks[at].write(&mut self.rtc, now.instant, now.wall_ns);
                self.on_timeout(now, counts);
            }
            let Role::Publisher(tracks) = &mut self.role else {
                break;
            };
            if due.is_some_and(|due| due <= now.wall_ns) {
                tracks[at].written();
            }
            next = next.into_iter().chain(tracks[at].due_ns()).min();
        }
        next
    }

    /// Asks for a keyframe when the picture has waited too long for one.
    pub(crate) fn repair(&mut self, now: Now) {
        let Role::Viewer(viewer) = &mut self.role else {
            return;
        };
        let Some(mid) = viewer.video_mid else { return };
        let waiting = viewer
            .meters
            .iter()
            .flatten()
            .any(|meter| meter.waiting_ns(now.wall_ns) > PLI_AFTER_NS);
        if !waiting
            || now.wall_ns.saturating_sub(viewer.last_pli_ns) < PLI_EVERY_NS
            || self.state != State::Live
        {
            return;
        }
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            viewer.last_pli_ns = now.wall_ns;
            viewer.plis_sent += 1;
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

    pub(crate) fn nacks(&self) -> u64 {
        self.nacks.values().sum()
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
