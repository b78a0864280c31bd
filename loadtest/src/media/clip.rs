//! A loop of frames and their packets, each known by a fingerprint.
//!
//! Servers rewrite sequence numbers, timestamps and SSRCs, and the VP8 payload descriptor too; the codec's own bytes
//! they leave alone. So a packet is known by the length and the last bytes of those, which must be
//! unique in the loop: [`Clip::identify`] then says which packet of the publisher has arrived.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{MAX_PAYLOAD, MediaError, annexb, even_parts, h264, ivf, ogg, vp8};

/// What is in a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Vp8,
    H264,
    Opus,
}

impl Codec {
    pub(crate) fn is_audio(self) -> bool {
        self == Self::Opus
    }

    /// RTP clock in Hz.
    pub(crate) fn clock_hz(self) -> u32 {
        if self.is_audio() {
            ogg::CLOCK_HZ
        } else {
            90_000
        }
    }
}

/// One picture, or one packet of sound.
#[derive(Debug)]
pub(crate) struct Frame {
    /// When it is due, in RTP ticks from the beginning of the loop.
    pub(crate) at_ticks: u64,
    /// Whether a decoder can begin here. True for all sound.
    pub(crate) keyframe: bool,
    /// Its packets, as indices into [`Clip::packets`].
    pub(crate) packets: Range<usize>,
}

/// One packet of the loop.
#[derive(Debug)]
pub(crate) struct Packet {
    /// What the codec made: the payload, or for VP8 the payload without its descriptor.
    pub(crate) content: Arc<[u8]>,
    /// Index into [`Clip::frames`].
    pub(crate) frame: usize,
}

/// A loop of encoded media.
pub(crate) struct Clip {
    pub(crate) codec: Codec,
    pub(crate) frames: Vec<Frame>,
    pub(crate) packets: Vec<Packet>,
    /// Length of the loop in RTP ticks.
    pub(crate) loop_ticks: u64,
    /// How many bytes from the end go into a fingerprint.
    tail: usize,
    index: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
}

/// The fingerprints are good hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are written as u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Tails that are tried for fingerprints, shortest first; the last one takes the whole payload.
const TAILS: [usize; 3] = [32, 128, MAX_PAYLOAD];

impl Clip {
    /// Reads `NAME.ivf` (VP8), `NAME.h264` (30 frames a second) or `NAME.ogg` (Opus).
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let about = || format!("the media file {} cannot be used", path.display());
        let file =
            std::fs::read(path).map_err(|error| anyhow::Error::new(error).context(about()))?;
        let clip = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ivf") => Self::vp8(&file),
            Some("h264") => Self::h264(&file),
            Some("ogg") => Self::opus(&file),
            _ => Err(MediaError::NotThisFormat(
                "name that ends in .ivf, .h264 or .ogg",
            )),
        };
        clip.map_err(|error| anyhow::Error::new(error).context(about()))
    }

    /// A loop of VP8 from an IVF file.
    pub(crate) fn vp8(file: &[u8]) -> Result<Self, MediaError> {
        let ivf = ivf::parse(file)?;
        if &ivf.fourcc != b"VP80" {
            return Err(MediaError::Unsupported("its codec is not VP8"));
        }
        let ticks = |frames: usize| {
            let frames = u64::try_from(frames).unwrap_or(u64::MAX);
            frames
                .saturating_mul(90_000)
                .saturating_mul(u64::from(ivf.rate.1))
                / u64::from(ivf.rate.0)
        };
        let mut builder = Builder::default();
        for (at, frame) in ivf.frames.iter().enumerate() {
            let contents = even_parts(frame.len(), MAX_PAYLOAD - vp8::DESCRIPTOR_LEN)
                .map(|part| frame[part].to_vec());
            builder.frame(ticks(at), vp8::is_keyframe(frame), contents);
        }
        builder.finish(Codec::Vp8, ticks(ivf.frames.len()))
    }

    /// A loop of H264 from a byte stream, at 30 frames a second: the stream itself names no times.
    pub(crate) fn h264(file: &[u8]) -> Result<Self, MediaError> {
        const FRAME_TICKS: u64 = 90_000 / 30;
        let mut builder = Builder::default();
        let mut at = 0;
        let mut keyframes = 0_u32;
        for mut unit in annexb::access_units(file)? {
            // The parameter sets before each keyframe are the same every time: an own mark in their packet tells them apart.
            let mark = mark(keyframes);
            if unit.keyframe {
                unit.nals.insert(0, &mark);
                keyframes += 1;
            }
            let payloads = h264::packetise(&unit.nals, MAX_PAYLOAD)?;
            builder.frame(at, unit.keyframe, payloads.into_iter());
            at += FRAME_TICKS;
        }
        builder.finish(Codec::H264, at)
    }

    /// A loop of Opus from an Ogg file.
    pub(crate) fn opus(file: &[u8]) -> Result<Self, MediaError> {
        let mut builder = Builder::default();
        let mut at = 0;
        for packet in ogg::opus_packets(file)? {
            let duration = ogg::duration(&packet)
                .ok_or(MediaError::Unsupported("it has something else than Opus"))?;
            if packet.len() > MAX_PAYLOAD {
                return Err(MediaError::Unsupported(
                    "a packet of it is too large to send",
                ));
            }
            builder.frame(at, true, [packet].into_iter());
            at += u64::from(duration);
        }
        builder.finish(Codec::Opus, at)
    }

    /// Which packet of the loop this is; `None` if none of them.
    pub(crate) fn identify(&self, payload: &[u8]) -> Option<usize> {
        let content = match self.codec {
            Codec::Vp8 => vp8::content(payload)?,
            Codec::H264 | Codec::Opus => payload,
        };
        let index = self.index.get(&fingerprint(content, self.tail))?;
        usize::try_from(*index).ok()
    }

    /// Content bits per second.
    pub(crate) fn bitrate(&self) -> u64 {
        let bytes: usize = self.packets.iter().map(|packet| packet.content.len()).sum();
        u64::try_from(bytes).unwrap_or(0) * 8 * u64::from(self.codec.clock_hz())
            / self.loop_ticks.max(1)
    }
}

#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    packets: Vec<Packet>,
}

impl Builder {
    /// A frame without packets is one that the encoder dropped.
    fn frame(&mut self, at_ticks: u64, keyframe: bool, contents: impl Iterator<Item = Vec<u8>>) {
        let first = self.packets.len();
        let frame = self.frames.len();
        self.packets.extend(contents.map(|content| Packet {
            content: content.into(),
            frame,
        }));
        if self.packets.len() > first {
            self.frames.push(Frame {
                at_ticks,
                keyframe,
                packets: first..self.packets.len(),
            });
        }
    }

    fn finish(self, codec: Codec, loop_ticks: u64) -> Result<Clip, MediaError> {
        let Self { frames, packets } = self;
        if !frames.first().ok_or(MediaError::Empty)?.keyframe {
            return Err(MediaError::Unsupported("it does not begin with a keyframe"));
        }
        let mut fewest = usize::MAX;
        for tail in TAILS {
            let mut index = HashMap::default();
            for (at, packet) in (0_u32..).zip(&packets) {
                index.insert(fingerprint(&packet.content, tail), at);
            }
            let ambiguous = packets.len() - index.len();
            if ambiguous == 0 {
                return Ok(Clip {
                    codec,
                    frames,
                    packets,
                    loop_ticks,
                    tail,
                    index,
                });
            }
            fewest = fewest.min(ambiguous);
        }
        Err(MediaError::Indistinguishable { packets: fewest })
    }
}

/// An SEI unit with a number (ITU-T H.264 D.1.7, user_data_unregistered), which decoders pass over.
fn mark(number: u32) -> Vec<u8> {
    const UUID: &[u8; 16] = b"ion-loadtest-clp";
    let mut nal = vec![annexb::nal_type::SEI, 5, 20];
    nal.extend(UUID);
    // Seven bits each and the eighth set, so that no start code can come about.
    nal.extend((0..4).map(|at| 0x80 | u8::try_from((number >> (7 * at)) & 0x7f).unwrap_or(0)));
    nal.push(0x80);
    nal
}

/// Length and last bytes, mixed into 64 bits. Not for adversaries: both ends are ours.
fn fingerprint(content: &[u8], tail: usize) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let mut mix = |word: u64| {
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
        hash ^= hash >> 29;
    };
    let (words, rest) = content[content.len().saturating_sub(tail)..].as_chunks::<8>();
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opus_clip(packets: &[&[u8]]) -> Result<Clip, MediaError> {
        let mut builder = Builder::default();
        for (at, packet) in (0..).zip(packets) {
            builder.frame(at * 960, true, [packet.to_vec()].into_iter());
        }
        builder.finish(Codec::Opus, 960 * u64::try_from(packets.len()).unwrap())
    }

    #[test]
    fn every_packet_is_known_whatever_its_descriptor() {
        let mut builder = Builder::default();
        let mut frame = vec![0_u8; 3000];
        for (at, byte) in frame.iter_mut().enumerate() {
            *byte = u8::try_from(at * at % 251).unwrap();
        }
        frame[0] = 0;
        builder.frame(
            0,
            true,
            even_parts(frame.len(), MAX_PAYLOAD - 4).map(|part| frame[part].to_vec()),
        );
        let clip = builder.finish(Codec::Vp8, 3000).unwrap();
        assert_eq!(
            (clip.packets.len(), clip.frames[0].packets.clone()),
            (3, 0..3)
        );
        for (at, packet) in clip.packets.iter().enumerate() {
            for descriptor in [
                &vp8::descriptor(at == 0, 5)[..],
                &[0x10],
                &[0x90, 0xe0, 0x81, 1, 2, 3],
            ] {
                let payload = [descriptor, &packet.content].concat();
                assert_eq!(clip.identify(&payload), Some(at));
            }
        }
        assert_eq!(
            clip.identify(&[&vp8::descriptor(false, 5)[..], b"something else"].concat()),
            None
        );
        assert_eq!(clip.identify(&[]), None);
    }

    #[test]
    fn a_longer_tail_is_taken_where_a_short_one_does_not_tell() {
        let mut one = vec![1; 100];
        let two = vec![1; 100];
        one[0] = 2;
        let clip = opus_clip(&[&one, &two]).unwrap();
        assert_eq!(
            (clip.tail, clip.identify(&one), clip.identify(&two)),
            (128, Some(0), Some(1))
        );
        assert_eq!(clip.identify(&[1; 99]), None);
    }

    #[test]
    fn equal_parameter_sets_are_told_apart() {
        let idr = |last: u8| [0, 0, 1, 0x65, 0x88, 0x84, last];
        let sets: &[u8] = &[0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0, 0, 1, 0x68, 0xce, 0x3c];
        let clip = Clip::h264(&[sets, &idr(1), sets, &idr(2)].concat()).unwrap();
        assert_eq!((clip.frames.len(), clip.packets.len()), (2, 4));
        for (at, packet) in clip.packets.iter().enumerate() {
            assert_eq!(clip.identify(&packet.content), Some(at));
        }
    }

    #[test]
    fn equal_packets_are_refused() {
        let error = opus_clip(&[b"same", b"other", b"same"]).err();
        assert_eq!(error, Some(MediaError::Indistinguishable { packets: 1 }));
        assert_eq!(opus_clip(&[]).err(), Some(MediaError::Empty));
    }

    #[test]
    fn zeros_at_the_end_are_told_by_length() {
        let clip = opus_clip(&[b"a", b"a\0", b"a\0\0"]).unwrap();
        assert_eq!(clip.identify(b"a\0"), Some(1));
    }
}
