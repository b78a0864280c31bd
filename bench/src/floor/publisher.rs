use crate::mix::VideoMix;
use anyhow::Context;
use ion_srtp::{MasterKey, Opener, Profile, RxIndex, Sealer};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter, RtpHeader};

/// The cipher of both legs.
pub const PROFILE: Profile = Profile::AeadAes128Gcm;
/// Bytes that SRTP adds.
pub const TAG: usize = 16;
/// What the publisher sends under.
const SSRC: u32 = 0x1000_0000;
const VIDEO_PT: u8 = 96;
const MID_ID: u8 = 1;
const TRANSPORT_CC_ID: u8 = 3;
const DATAGRAM: usize = 1_536;

/// A static key; known to everybody, for measurements only.
///
/// # Errors
/// None for the profile used here.
pub fn master_key(client: u32, outward: bool) -> anyhow::Result<MasterKey> {
    let fill = 1 + u8::from(outward);
    let (mut key, mut salt) = ([fill; 32], [fill; 16]);
    key[..4].copy_from_slice(&client.to_be_bytes());
    salt[..4].copy_from_slice(&client.to_be_bytes());
    MasterKey::from_slices(
        PROFILE,
        &key[..PROFILE.key_len()],
        &salt[..PROFILE.salt_len()],
    )
    .context("a static key")
}

/// A published stream: sealed packets, frame by frame, to be run through again and again.
pub struct Stream {
    frames: Vec<Vec<Vec<u8>>>,
}

impl Stream {
    /// Seals so many frames of the video mix as a publisher would.
    ///
    /// # Errors
    /// None for frames of the mix.
    pub fn publish(frames: usize) -> anyhow::Result<Self> {
        let mut sealer = Sealer::new(PROFILE, &master_key(0, false)?);
        let mut mix = VideoMix::default();
        let mut sequence = 0_u16;
        let mut sealed = Vec::with_capacity(frames);
        for frame in 0..frames {
            let lens = mix.next_frame();
            let mut packets = Vec::with_capacity(lens.len());
            for (number, len) in lens.iter().enumerate() {
                let fields = HeaderFields {
                    marker: number + 1 == lens.len(),
                    payload_type: VIDEO_PT,
                    sequence,
                    timestamp: u32::try_from(frame)? * 3_000,
                    ssrc: SSRC,
                };
                let mut packet = vec![0; DATAGRAM];
                let mut writer = HeaderWriter::new(&mut packet, &fields, ExtForm::OneByte)?;
                writer.push_extension(MID_ID, b"1")?;
                writer.push_extension(TRANSPORT_CC_ID, &sequence.to_be_bytes())?;
                let header = writer.finish();
                let payload = vec![0x5a; *len];
                let index = u64::from(sequence);
                let len = sealer.seal_rtp(header, index, SSRC, &payload, &mut packet)?;
                packet.truncate(len);
                packets.push(packet);
                sequence = sequence
                    .checked_add(1)
                    .context("a stream of a few frames")?;
            }
            sealed.push(packets);
        }
        Ok(Self { frames: sealed })
    }

    /// Its frames, each the sealed packets.
    #[must_use]
    pub fn frames(&self) -> &[Vec<Vec<u8>>] {
        &self.frames
    }
}

/// One opened packet.
pub struct Plain {
    /// Header and payload, with room for padding.
    pub bytes: Vec<u8>,
    /// Bytes of the header.
    pub header: usize,
    /// Bytes in all.
    pub len: usize,
}

/// Opens frames of a [`Stream`].
pub struct Receiver {
    opener: Opener,
    rx: RxIndex,
    /// Memory of opened packets, of which the first so many are the frame.
    packets: Vec<Plain>,
}

impl Receiver {
    /// The other end of the publisher.
    ///
    /// # Errors
    /// None.
    pub fn new() -> anyhow::Result<Self> {
        let packets = (0..crate::mix::FRAME_PACKETS).map(|_| Plain {
            bytes: vec![0; DATAGRAM],
            header: 0,
            len: 0,
        });
        Ok(Self {
            opener: Opener::new(PROFILE, &master_key(0, false)?),
            rx: RxIndex::new(),
            packets: packets.collect(),
        })
    }

    /// Begins the stream anew: the same packets are no replays then.
    pub fn rewind(&mut self) {
        self.rx = RxIndex::new();
    }

    /// Opens each packet of a frame once. With `level`, RTP padding (RFC 3550, 5.1) brings all to the
    /// length of the longest.
    ///
    /// # Errors
    /// When the frame is not one of the stream.
    pub fn open(&mut self, frame: &[Vec<u8>], level: bool) -> anyhow::Result<&[Plain]> {
        let plains = self
            .packets
            .get_mut(..frame.len())
            .context("a frame has fewer packets")?;
        let mut longest = 0;
        for (packet, plain) in frame.iter().zip(plains.iter_mut()) {
            let header = RtpHeader::parse(packet)?;
            plain.header = usize::from(header.header_len);
            plain.len = self.opener.open_rtp(
                plain.header,
                header.ssrc,
                header.sequence,
                packet,
                &mut self.rx,
                &mut plain.bytes,
            )?;
            longest = longest.max(plain.len);
        }
        if level {
            for plain in plains.iter_mut() {
                pad(plain, longest)?;
            }
        }
        Ok(plains)
    }
}

/// Makes a packet as long as said.
fn pad(plain: &mut Plain, len: usize) -> anyhow::Result<()> {
    let padding = len.saturating_sub(plain.len);
    if padding > 0 {
        plain.bytes[0] |= 0x20;
        plain.bytes[plain.len..len].fill(0);
        plain.bytes[len - 1] = u8::try_from(padding).context("lengths of a frame are close")?;
        plain.len = len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_opened_again_and_again() {
        let stream = Stream::publish(3).unwrap();
        let mut receiver = Receiver::new().unwrap();
        for _ in 0..2 {
            receiver.rewind();
            for frame in stream.frames() {
                let plain = receiver.open(frame, false).unwrap();
                for (plain, sealed) in plain.iter().zip(frame) {
                    assert_eq!(plain.len + TAG, sealed.len());
                    assert_eq!(plain.bytes[plain.len - 1], 0x5a);
                }
            }
        }
        assert!(
            receiver.open(&stream.frames()[0], false).is_err(),
            "a replay"
        );
    }

    #[test]
    fn levelled_packets_are_valid_and_equally_long() {
        let stream = Stream::publish(30).unwrap();
        let mut receiver = Receiver::new().unwrap();
        let mut padded = 0;
        for frame in stream.frames() {
            let plains = receiver.open(frame, true).unwrap();
            for plain in plains {
                assert_eq!(plain.len, plains[0].len);
                let view = ion_wire::rtp::RtpView::parse(&plain.bytes[..plain.len]).unwrap();
                assert!(view.payload().iter().all(|&byte| byte == 0x5a));
                padded += view.padding_len();
            }
        }
        assert!(padded > 0);
    }
}
