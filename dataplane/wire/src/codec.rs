//! Codec kinds and what forwarding must know of their payloads: where a keyframe begins, and the
//! descriptors of the codecs that carry layers.

/// AV1 aggregation header and OBUs (AV1 RTP specification v1.0).
pub mod av1;
/// H.264 NAL units (RFC 6184).
pub mod h264;
/// H.265 NAL units (RFC 7798).
pub mod h265;
/// VP8 payload descriptor (RFC 7741).
pub mod vp8;
/// VP9 payload descriptor (RFC 9628).
pub mod vp9;

use crate::WireError;

/// What a payload type carries. The numbers are those of rows in shared memory: never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum CodecKind {
    /// Forwarded blindly; no packet counts as a keyframe.
    #[default]
    Unknown = 0,
    /// Opus (RFC 7587).
    Opus = 1,
    /// VP8 (RFC 7741).
    Vp8 = 2,
    /// VP9 (RFC 9628).
    Vp9 = 3,
    /// H.264 (RFC 6184).
    H264 = 4,
    /// H.265 (RFC 7798).
    H265 = 5,
    /// AV1.
    Av1 = 6,
    /// Redundant audio (RFC 2198).
    Red = 7,
    /// G.711 µ-law.
    Pcmu = 8,
    /// G.711 A-law.
    Pcma = 9,
    /// G.722.
    G722 = 10,
}

impl CodecKind {
    /// Whether it is a video codec, one that has keyframes.
    #[must_use]
    pub const fn is_video(self) -> bool {
        matches!(
            self,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1
        )
    }
}

impl From<CodecKind> for u8 {
    fn from(kind: CodecKind) -> Self {
        kind as u8
    }
}

impl TryFrom<u8> for CodecKind {
    type Error = WireError;

    fn try_from(value: u8) -> Result<Self, WireError> {
        Ok(match value {
            0 => Self::Unknown,
            1 => Self::Opus,
            2 => Self::Vp8,
            3 => Self::Vp9,
            4 => Self::H264,
            5 => Self::H265,
            6 => Self::Av1,
            7 => Self::Red,
            8 => Self::Pcmu,
            9 => Self::Pcma,
            10 => Self::G722,
            _ => return Err(WireError::BadValue),
        })
    }
}

/// Whether this payload (decrypted, without padding) holds the start of a keyframe: a decoder that begins
/// with this packet can show what follows. Damaged or empty payloads, audio and unknown codecs: no.
#[inline]
#[must_use]
pub fn keyframe(codec: CodecKind, payload: &[u8]) -> bool {
    match codec {
        CodecKind::Vp8 => vp8::keyframe(payload),
        CodecKind::Vp9 => vp9::keyframe(payload),
        CodecKind::H264 => h264::keyframe(payload),
        CodecKind::H265 => h265::keyframe(payload),
        CodecKind::Av1 => av1::keyframe(payload),
        CodecKind::Unknown
        | CodecKind::Opus
        | CodecKind::Red
        | CodecKind::Pcmu
        | CodecKind::Pcma
        | CodecKind::G722 => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_survive_and_others_are_refused() {
        for value in 0..=255 {
            match CodecKind::try_from(value) {
                Ok(kind) => assert_eq!(u8::from(kind), value),
                Err(_) => assert!(value > 10),
            }
        }
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn any_bytes(kind in 0u8..=10, payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let kind = CodecKind::try_from(kind).unwrap();
            let found = keyframe(kind, &payload);
            prop_assert!(!found || (kind.is_video() && !payload.is_empty()));
            let _ = (vp8::Descriptor::parse(&payload), vp9::Descriptor::parse(&payload));
        }
    }
}
