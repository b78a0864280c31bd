//! Values of the RTP header extensions that Ion reads or writes, and the URIs that name them in SDP.
//!
//! Parsers take an element's data and return `None` where its length or content is not the extension's.

use crate::bytes::{array_at, low24, u24_at};

/// Extension URIs, as in `a=extmap` (RFC 8285 §5).
pub mod uri {
    /// Absolute send time.
    pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    /// Transport-wide sequence number.
    pub const TRANSPORT_CC: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// Audio level, client to mixer (RFC 6464).
    pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    /// Media identification (RFC 9143 §15).
    pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    /// RTP stream id (RFC 8852 §4.1).
    pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    /// Repaired RTP stream id (RFC 8852 §4.2).
    pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    /// Playout delay limits.
    pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    /// Coordination of video orientation (3GPP TS 26.114 §7.4.5).
    pub const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
    /// Transmission time offset (RFC 5450).
    pub const TRANSMISSION_OFFSET: &str = "urn:ietf:params:rtp-hdrext:toffset";
    /// Video content type (screen or camera).
    pub const VIDEO_CONTENT_TYPE: &str =
        "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type";
    /// Video timing.
    pub const VIDEO_TIMING: &str = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing";
    /// Colour space.
    pub const COLOR_SPACE: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";
    /// Dependency descriptor (AV1 RTP specification, appendix A).
    pub const DEPENDENCY_DESCRIPTOR: &str =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    /// Video layers allocation.
    pub const VIDEO_LAYERS_ALLOCATION: &str =
        "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";
}

/// Absolute send time: seconds modulo 64 in 6.18 fixed point, 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// From a time in microseconds, rounded down; any epoch, since 64 seconds wrap.
    #[must_use]
    pub fn from_us(us: u64) -> Self {
        let [.., a, b, c] = ((u128::from(us) << 18) / 1_000_000).to_be_bytes();
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// From the element's data.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        if data.len() != 3 {
            return None;
        }
        u24_at(data, 0).map(Self)
    }

    /// The element's data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        low24(self.0)
    }

    /// The 24-bit value.
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }

    /// Microseconds from `earlier` to `self`, between -32 s and 32 s.
    #[must_use]
    pub fn us_since(self, earlier: Self) -> i64 {
        let ticks = i64::from(self.0.wrapping_sub(earlier.0) & 0x00ff_ffff);
        let ticks = if ticks >= 1 << 23 {
            ticks - (1 << 24)
        } else {
            ticks
        };
        ticks * 1_000_000 / (1 << 18)
    }
}

/// Reads a transport-wide sequence number. The four-byte form (version 2, with a feedback request) is read
/// as far as the number.
#[must_use]
pub fn parse_transport_cc(data: &[u8]) -> Option<u16> {
    if data.len() != 2 && data.len() != 4 {
        return None;
    }
    array_at(data, 0).map(u16::from_be_bytes)
}

/// Data of a transport-wide sequence number.
#[must_use]
pub fn transport_cc_bytes(sequence: u16) -> [u8; 2] {
    sequence.to_be_bytes()
}

/// Audio level (RFC 6464 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// Whether the sender takes it for speech.
    pub voice: bool,
    /// Level in -dBov: 0 is the loudest, 127 is silence.
    pub level: u8,
}

impl AudioLevel {
    /// Nothing at all.
    pub const SILENCE: Self = Self {
        voice: false,
        level: 127,
    };

    /// From the element's data: one byte, or (two-byte form) one byte and a padding zero.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        match *data {
            [byte] | [byte, 0] => Some(Self {
                voice: byte & 0x80 != 0,
                level: byte & 0x7f,
            }),
            _ => None,
        }
    }

    /// The element's data; a level above 127 is written as 127.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [(u8::from(self.voice) << 7) | self.level.min(127)]
    }
}

/// Longest MID, RID or repaired RID that is taken. What browsers make has at most 16 characters.
pub const MAX_SDES_LEN: usize = 64;

/// Reads a MID, RID or repaired RID: printable ASCII without spaces (both are SDP tokens), of at most
/// [`MAX_SDES_LEN`] bytes.
#[must_use]
pub fn parse_sdes(data: &[u8]) -> Option<&str> {
    if data.is_empty() || data.len() > MAX_SDES_LEN || !data.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    core::str::from_utf8(data).ok()
}

/// Playout delay limits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// Least delay.
    pub min_ms: u16,
    /// Greatest delay.
    pub max_ms: u16,
}

impl PlayoutDelay {
    /// Greatest delay that can be said: 12 bits in units of 10 ms.
    pub const LIMIT_MS: u16 = 40_950;

    /// From the element's data; `None` also where the least exceeds the greatest.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let [a, b, c] = *data else { return None };
        let min = u16::from_be_bytes([a, b]) >> 4;
        let max = u16::from_be_bytes([b & 0x0f, c]);
        (min <= max).then_some(Self {
            min_ms: min * 10,
            max_ms: max * 10,
        })
    }

    /// The element's data, rounded down to 10 ms and limited to [`Self::LIMIT_MS`].
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let min = u32::from(self.min_ms.min(Self::LIMIT_MS) / 10);
        let max = u32::from(self.max_ms.min(Self::LIMIT_MS) / 10);
        low24((min << 12) | max)
    }
}

/// Video orientation (3GPP TS 26.114 §7.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Back-facing camera.
    pub back_camera: bool,
    /// Flipped horizontally.
    pub flipped: bool,
    /// Clockwise rotation the receiver applies, in quarter turns, 0..=3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// From the element's data.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let [byte] = *data else { return None };
        Some(Self {
            back_camera: byte & 0x08 != 0,
            flipped: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// The element's data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        let flags = (u8::from(self.back_camera) << 3) | (u8::from(self.flipped) << 2);
        [flags | (self.quarter_turns & 0x03)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn abs_send_time_is_6_18_fixed_point_and_wraps_after_64_s() {
        assert_eq!(AbsSendTime::from_us(1_000_000).raw(), 1 << 18);
        assert_eq!(AbsSendTime::from_us(500_000).to_bytes(), [0x02, 0, 0]);
        assert_eq!(AbsSendTime::from_us(64_000_000).raw(), 0);
        assert_eq!(
            AbsSendTime::parse(&[0x02, 0, 0]),
            Some(AbsSendTime::from_us(500_000))
        );
        assert_eq!(AbsSendTime::parse(&[0, 0]), None);
        let before = AbsSendTime::from_us(63_500_000);
        let after = AbsSendTime::from_us(64_250_000);
        assert_eq!(after.us_since(before), 750_000);
        assert_eq!(before.us_since(after), -750_000);
    }

    #[test]
    fn wrong_lengths_and_contents_are_none() {
        assert_eq!(parse_transport_cc(&[1, 2]), Some(0x0102));
        assert_eq!(parse_transport_cc(&[1, 2, 0, 0]), Some(0x0102));
        assert_eq!(parse_transport_cc(&[1, 2, 3]), None);
        assert_eq!(
            AudioLevel::parse(&[0xff]),
            Some(AudioLevel {
                voice: true,
                level: 127
            })
        );
        assert_eq!(AudioLevel::parse(&[]), None);
        assert_eq!(parse_sdes(b"video0"), Some("video0"));
        for bad in [&b""[..], b"a b", b"a\0", "\u{e9}".as_bytes(), &[b'x'; 65]] {
            assert_eq!(parse_sdes(bad), None);
        }
        assert_eq!(
            PlayoutDelay::parse(&[0x00, 0x20, 0x01]),
            None,
            "least above greatest"
        );
        assert_eq!(VideoOrientation::parse(&[0, 0]), None);
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn values_survive(min in 0u16..4096, max in 0u16..4096, byte: u8) {
            let (min, max) = (min.min(max), min.max(max));
            let delay = PlayoutDelay { min_ms: min * 10, max_ms: max * 10 };
            prop_assert_eq!(PlayoutDelay::parse(&delay.to_bytes()), Some(delay));
            let level = AudioLevel::parse(&[byte]).unwrap();
            prop_assert_eq!(level.to_bytes(), [byte]);
            let orientation = VideoOrientation::parse(&[byte & 0x0f]).unwrap();
            prop_assert_eq!(orientation.to_bytes(), [byte & 0x0f]);
        }
    }
}
