/// Video packets a second, as Table 1 of Scallop (SIGCOMM '25) has them.
pub const PACKETS_PER_S: f64 = 234.8;
/// Frames a second.
pub const FRAMES_PER_S: f64 = 30.0;
/// Payload bytes of a packet at most.
pub const PACKET_BYTES: usize = 1_155;
/// Packets of a frame at most: a keyframe is twice a frame, and that up to 30 % larger.
pub const FRAME_PACKETS: usize = 24;
/// Between two keyframes.
const KEYFRAME_INTERVAL: u64 = 300;

/// The frames of one source: sizes vary as `ion-loadtest raw` has them, the same in every run.
#[derive(Debug, Clone)]
pub struct VideoMix {
    random: u64,
    frame: u64,
}

impl Default for VideoMix {
    fn default() -> Self {
        Self {
            random: 0x9E37_79B9_7F4A_7C15,
            frame: 0,
        }
    }
}

impl VideoMix {
    /// Payload bytes of the packets of the next frame. Encoders split a frame into equal parts; what does
    /// not divide makes the last ones a byte longer.
    pub fn next_frame(&mut self) -> Vec<usize> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand bytes"
        )]
        let mean = (PACKETS_PER_S / FRAMES_PER_S * 1_080.0) as usize;
        let mut bytes = mean * (70 + self.below(61)) / 100;
        if self.frame.is_multiple_of(KEYFRAME_INTERVAL) {
            bytes *= 2;
        }
        self.frame += 1;
        let packets = bytes.div_ceil(PACKET_BYTES);
        let longer = packets - bytes % packets;
        (0..packets)
            .map(|number| bytes / packets + usize::from(number >= longer))
            .collect()
    }

    fn below(&mut self, bound: u64) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound).unwrap_or(0)
    }
}

/// Runs of neighbours that one GSO send takes: equal lengths, of which the last may be shorter. Each is
/// its number of packets.
pub fn runs(lens: &[usize]) -> Vec<usize> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some((&first, rest)) = lens.get(at..).and_then(<[usize]>::split_first) {
        let equal = rest.iter().take_while(|&&len| len == first).count();
        let shorter = rest.get(equal).is_some_and(|&len| len < first);
        let run = 1 + equal + usize::from(shorter);
        runs.push(run);
        at += run;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_mix() {
        let mut mix = VideoMix::default();
        let frames: Vec<_> = (0..3_000).map(|_| mix.next_frame()).collect();
        let packets: usize = frames.iter().map(Vec::len).sum();
        let per_frame = packets as f64 / frames.len() as f64;
        assert!(
            (7.0..9.0).contains(&per_frame),
            "{per_frame} packets a frame"
        );
        for frame in &frames {
            let (low, high) = (frame.iter().min().unwrap(), frame.iter().max().unwrap());
            assert!(high - low <= 1 && *high <= PACKET_BYTES && frame.len() <= FRAME_PACKETS);
        }
    }

    #[test]
    fn runs_are_what_gso_takes() {
        assert_eq!(runs(&[10, 10, 11, 11, 11]), [2, 3]);
        assert_eq!(runs(&[11, 11, 10, 10]), [3, 1]);
        assert_eq!(runs(&[5]), [1]);
        assert!(runs(&[]).is_empty());
    }
}
