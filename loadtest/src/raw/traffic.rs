use super::rooms::{
    AUDIO_PT, LEVEL_ID, MID_ID, PUBLISHED_SSRC, Rooms, Source, TRANSPORT_CC_ID, VIDEO_PT, Way,
    master_key,
};
use super::{Options, sink};
use anyhow::Context;
use ion_srtp::{Profile, Sealer};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::time::{ClockId, clock_gettime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

/// The time of sending ends each payload, nanoseconds of the monotonic clock.
pub(super) const STAMP_BYTES: usize = 8;
/// Payload bytes of a packet at most, as the notes' traffic mix has it.
const VIDEO_BYTES: u64 = 1_155;
/// Video packets a second, and frames.
const VIDEO_PACKETS_PER_S: f64 = 234.8;
const FRAMES_PER_S: f64 = 30.0;
const AUDIO_BYTES: u64 = 129;
const AUDIO_PACKETS_PER_S: f64 = 49.5;
/// Its level: voice, at -30 dBov (RFC 6464).
const SPEECH: u8 = 0x80 | 30;
/// What an encoding takes of the highest one's bitrate, itself first: as browsers share it among three.
const LAYER_PERCENT: [u64; 3] = [100, 30, 8];
/// Between two keyframes.
const KEYFRAME_INTERVAL: u64 = 300;
/// Frames of each source under way at most, so that those of one source do not melt together.
const FRAMES_UNDER_WAY: u64 = 2;
/// Frames under way at most: what the dataplane's receive buffer holds.
const ALL_FRAMES_UNDER_WAY: u64 = 64;
/// Bytes of the payload descriptor of VP8 with a 15-bit picture id (RFC 7741, 4.2), and of what
/// follows in a frame's first packet.
const DESCRIPTOR_BYTES: usize = 4;

/// Nanoseconds of the monotonic clock.
pub(super) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// What a call has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SentBatch {
    pub(super) packets: u64,
    /// Packets that viewers should get for these.
    pub(super) expected: u64,
}

/// All publishers, behind one socket: each has an address of its own.
pub(super) struct Publishers {
    socket: UdpSocket,
    state: UdpSocketState,
    media: SocketAddr,
    burst: usize,
    sources: Vec<Publisher>,
    /// What is due next, nanoseconds since `begin`.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    started: Option<(Instant, f64)>,
    /// Packets of a frame that are still to be sent.
    outgoing: Outgoing,
    scratch: Vec<u8>,
    random: Random,
    /// By client: the next transport-wide number.
    numbers: Vec<u16>,
}

/// One source.
struct Publisher {
    address: SocketAddr,
    client: u32,
    audio: bool,
    ssrc: u32,
    viewers: u64,
    /// Its frames have this share of the mix's bytes, percent.
    percent: u64,
    sealer: Sealer,
    index: u64,
    timestamp: u32,
    frame: u64,
}

/// Where a frame is made.
struct Workshop<'a> {
    out: &'a mut Outgoing,
    scratch: &'a mut [u8],
    random: &'a mut Random,
    /// The client's next transport-wide number.
    number: &'a mut u16,
}

/// A frame that is sealed, in one piece.
#[derive(Default)]
struct Outgoing {
    source: usize,
    memory: Vec<u8>,
    /// Lengths of its packets.
    packets: Vec<usize>,
    /// The next packet to send, and where it begins.
    next: usize,
    at: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.next == self.packets.len()
    }
}

impl Publishers {
    pub(super) fn open(options: &Options) -> anyhow::Result<Self> {
        let (socket, state) = sink::udp_socket()?;
        Ok(Self {
            socket,
            state,
            media: SocketAddr::from(([127, 0, 0, 1], 9)),
            burst: usize::from(options.burst),
            sources: Vec::new(),
            due: BinaryHeap::new(),
            started: None,
            outgoing: Outgoing::default(),
            scratch: vec![0; 2_048],
            random: Random(0x9E37_79B9_7F4A_7C15),
            numbers: Vec::new(),
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Learns who publishes, and where to.
    pub(super) fn join(&mut self, rooms: &Rooms, media: SocketAddr) {
        self.media = media;
        self.numbers = vec![0; rooms.clients.len()];
        self.sources = rooms
            .sources
            .iter()
            .flat_map(|source| {
                let address = rooms.clients[source.client as usize].address;
                (0..source.layers)
                    .filter_map(move |layer| Publisher::new(rooms.profile, source, layer, address))
            })
            .collect();
    }

    /// Encodings that are published.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Deliveries that the largest frame makes.
    pub(super) fn largest(&self) -> u64 {
        let of = |source: &Publisher| source.viewers * if source.audio { 1 } else { 24 };
        self.sources.iter().map(of).max().unwrap_or(0)
    }

    /// Deliveries that may be under way before another frame follows.
    pub(super) fn window(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "eight"
        )]
        let video = (VIDEO_PACKETS_PER_S / FRAMES_PER_S) as u64 + 1;
        let of = |source: &Publisher| source.viewers * if source.audio { 1 } else { video };
        let count = self.sources.len() as u64;
        let all: u64 = self.sources.iter().map(of).sum();
        let frames = (FRAMES_UNDER_WAY * count).min(ALL_FRAMES_UNDER_WAY);
        (all * frames / count.max(1)).max(1)
    }

    /// Begins to keep time: `speed` times real time, or with 0 none at all.
    pub(super) fn begin(&mut self, now: Instant, speed: f64) {
        self.started = Some((now, speed));
        self.due.clear();
        let count = self.sources.len() as u64;
        for (source, number) in self.sources.iter().zip(0_u32..) {
            // Spread over the first interval.
            let offset = source.interval_ns() * u64::from(number) / count.max(1);
            self.due.push(Reverse((offset, number)));
        }
    }

    /// Sends the next frame, or the next packets of one, if it is due.
    pub(super) fn send_due(&mut self, now: Instant) -> anyhow::Result<SentBatch> {
        if self.outgoing.is_empty() {
            let (Some((started, speed)), Some(&Reverse((due, number)))) =
                (self.started, self.due.peek())
            else {
                return Ok(SentBatch::default());
            };
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of at most an hour")]
            let is_due =
                speed == 0.0 || now.duration_since(started).as_nanos() as f64 * speed >= due as f64;
            if !is_due {
                return Ok(SentBatch::default());
            }
            self.due.pop();
            let source = &mut self.sources[number as usize];
            self.due.push(Reverse((due + source.interval_ns(), number)));
            self.outgoing.source = number as usize;
            source.make_frame(&mut Workshop {
                out: &mut self.outgoing,
                scratch: &mut self.scratch,
                random: &mut self.random,
                number: &mut self.numbers[source.client as usize],
            })?;
        }
        self.send_burst()
    }

    fn send_burst(&mut self) -> anyhow::Result<SentBatch> {
        let source = &self.sources[self.outgoing.source];
        let mut sent = SentBatch::default();
        while !self.outgoing.is_empty() {
            let outgoing = &mut self.outgoing;
            let left = &outgoing.packets[outgoing.next..];
            let limit = if self.burst == 0 {
                usize::MAX
            } else {
                self.burst.saturating_sub(usize::try_from(sent.packets)?)
            };
            let first = left[0];
            let run = left
                .iter()
                .take(limit)
                .take_while(|&&len| len == first)
                .count();
            if run == 0 {
                break;
            }
            let contents = &outgoing.memory[outgoing.at..outgoing.at + first * run];
            let transmit = Transmit {
                destination: self.media,
                ecn: None,
                contents,
                segment_size: (run > 1).then_some(first),
                src_ip: Some(source.address.ip()),
            };
            self.state
                .try_send((&self.socket).into(), &transmit)
                .context("publishing")?;
            outgoing.next += run;
            outgoing.at += first * run;
            sent.packets += run as u64;
        }
        sent.expected = sent.packets * source.viewers;
        Ok(sent)
    }

    /// Throws away what came back: feedback and reports.
    pub(super) fn drain(&mut self) {
        let mut memory = [[0; 2_048]; BATCH_SIZE];
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut slices = memory.each_mut().map(|m| IoSliceMut::new(m));
        // Nothing there is the usual case; any other trouble shows when sending.
        let _ = self
            .state
            .recv((&self.socket).into(), &mut slices, &mut meta);
    }
}

impl Publisher {
    /// Sends one encoding of a source.
    fn new(profile: Profile, source: &Source, layer: u8, address: SocketAddr) -> Option<Self> {
        let key = master_key(profile, source.client, Way::In).ok()?;
        let below_top = source.layers - 1 - layer;
        Some(Self {
            address,
            client: source.client,
            audio: source.audio,
            ssrc: PUBLISHED_SSRC + source.encoding + u32::from(layer),
            // Viewers have room for the highest.
            viewers: if below_top == 0 {
                u64::from(source.viewers)
            } else {
                0
            },
            percent: LAYER_PERCENT[usize::from(below_top)],
            sealer: Sealer::new(profile, &key),
            index: 0,
            timestamp: 0,
            frame: 0,
        })
    }

    fn interval_ns(&self) -> u64 {
        let per_s = if self.audio {
            AUDIO_PACKETS_PER_S
        } else {
            FRAMES_PER_S
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a second"
        )]
        let ns = (1e9 / per_s) as u64;
        ns
    }

    /// Makes and seals the next frame.
    fn make_frame(&mut self, shop: &mut Workshop<'_>) -> anyhow::Result<()> {
        (shop.out.next, shop.out.at) = (0, 0);
        shop.out.packets.clear();
        shop.out.memory.clear();
        let keyframe = self.frame.is_multiple_of(KEYFRAME_INTERVAL);
        let (bytes, limit) = if self.audio {
            (AUDIO_BYTES, AUDIO_BYTES)
        } else {
            let bytes = frame_bytes(shop.random, keyframe);
            (bytes * self.percent / 100, VIDEO_BYTES)
        };
        let packets = bytes.div_ceil(limit);
        for number in 0..packets {
            // Browsers split a frame into equal parts; what does not divide goes into the last ones.
            let longer = u64::from(number >= packets - bytes % packets);
            let len = usize::try_from(bytes / packets + longer)?;
            self.write_payload(&mut shop.scratch[..len], keyframe, number == 0);
            self.seal(len, number + 1 == packets, shop)?;
        }
        let clock = if self.audio {
            48_000.0 / AUDIO_PACKETS_PER_S
        } else {
            90_000.0 / FRAMES_PER_S
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand ticks"
        )]
        let ticks = clock as u32;
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.frame += 1;
        Ok(())
    }

    fn write_payload(&self, payload: &mut [u8], keyframe: bool, first: bool) {
        payload.fill(0x5a);
        if !self.audio {
            let [high, low] = u16::try_from(self.frame & 0x7fff)
                .unwrap_or(0)
                .to_be_bytes();
            let start = if first { 0x90 } else { 0x80 };
            payload[..DESCRIPTOR_BYTES].copy_from_slice(&[start, 0x80, 0x80 | high, low]);
            if first {
                // The frame tag's lowest bit: 0 is a keyframe (RFC 6386, 9.1).
                payload[DESCRIPTOR_BYTES] = u8::from(!keyframe);
            }
        }
        let end = payload.len() - STAMP_BYTES;
        payload[end..].copy_from_slice(&now_ns().to_be_bytes());
    }

    fn seal(&mut self, len: usize, last: bool, shop: &mut Workshop<'_>) -> anyhow::Result<()> {
        let (out, payload) = (&mut *shop.out, &shop.scratch[..len]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "sequence numbers are the low half of indices"
        )]
        let sequence = self.index as u16;
        let fields = HeaderFields {
            marker: last,
            payload_type: if self.audio { AUDIO_PT } else { VIDEO_PT },
            sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let at = out.memory.len();
        out.memory.resize(at + payload.len() + 128, 0);
        let space = &mut out.memory[at..];
        let mut writer = HeaderWriter::new(space, &fields, ExtForm::OneByte)?;
        writer.push_extension(MID_ID, if self.audio { b"0" } else { b"1" })?;
        writer.push_extension(TRANSPORT_CC_ID, &shop.number.to_be_bytes())?;
        if self.audio {
            writer.push_extension(LEVEL_ID, &[SPEECH])?;
        }
        let header = writer.finish();
        let len = self
            .sealer
            .seal_rtp(header, self.index, self.ssrc, payload, space)?;
        out.memory.truncate(at + len);
        out.packets.push(len);
        self.index += 1;
        *shop.number = shop.number.wrapping_add(1);
        Ok(())
    }
}

/// Bytes of a frame: around the mean of the mix, keyframes twice that.
fn frame_bytes(random: &mut Random, keyframe: bool) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand bytes"
    )]
    let mean = (VIDEO_PACKETS_PER_S / FRAMES_PER_S * 1_080.0) as u64;
    let bytes = mean * (70 + random.below(61)) / 100;
    if keyframe { bytes * 2 } else { bytes }
}

/// A small generator, the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_wire::codec::{CodecKind, keyframe};

    fn publisher(layers: u8, layer: u8) -> Publisher {
        let source = Source {
            client: 0,
            audio: false,
            encoding: 0,
            layers,
            viewers: 1,
            workers: 1,
            stage: None,
        };
        let address = ([127, 16, 0, 1], 1).into();
        Publisher::new(Profile::AeadAes128Gcm, &source, layer, address).unwrap()
    }

    #[test]
    fn viewers_get_the_highest_encoding_and_the_others_are_smaller() {
        let all = [0, 1, 2].map(|layer| publisher(3, layer));
        assert_eq!(all.each_ref().map(|one| one.viewers), [0, 0, 1]);
        assert!(all.is_sorted_by_key(|one| one.percent));
        assert!(all.is_sorted_by_key(|one| one.ssrc));
        assert_eq!(publisher(1, 0).percent, 100);
    }

    #[test]
    fn frames_are_split_as_browsers_do_and_make_the_rate_of_the_mix() {
        let (mut publisher, mut out) = (publisher(1, 0), Outgoing::default());
        let (mut random, mut number) = (Random(7), 0);
        let mut packets = 0;
        for _ in 0..300 {
            let mut shop = Workshop {
                out: &mut out,
                scratch: &mut [0; 2_048],
                random: &mut random,
                number: &mut number,
            };
            publisher.make_frame(&mut shop).unwrap();
            let lens = &out.packets;
            assert!(
                lens.is_sorted() && lens[lens.len() - 1] - lens[0] <= 1,
                "{lens:?}"
            );
            assert_eq!(lens.iter().sum::<usize>(), out.memory.len());
            packets += lens.len();
        }
        // 300 frames are ten seconds of 234.8 packets, the first one a keyframe.
        assert!((2_250..2_450).contains(&packets), "{packets}");
        assert_eq!(publisher.index, packets as u64);
    }

    #[test]
    fn a_first_packet_is_a_keyframes_and_ends_in_the_time() {
        let publisher = publisher(1, 0);
        let mut payload = [0; 100];
        let before = now_ns();
        publisher.write_payload(&mut payload, true, true);
        assert!(keyframe(CodecKind::Vp8, &payload));
        let stamp = u64::from_be_bytes(*payload.last_chunk().unwrap());
        assert!((before..=now_ns()).contains(&stamp));
        publisher.write_payload(&mut payload, false, true);
        assert!(!keyframe(CodecKind::Vp8, &payload));
    }
}
