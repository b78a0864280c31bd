//! What publishers send: encoded frames from files, and the RTP payloads made of them.
//!
//! Containers ([`ivf`], [`ogg`], [`annexb`]) yield frames, packetisers ([`vp8`], [`h264`]) split them into
//! payloads, and a [`clip`] is a loop of those, each known by a fingerprint of its own.

/// H264 byte streams into access units (ITU-T H.264 Annex B).
pub(crate) mod annexb;
/// A loop of packets, each with a fingerprint that survives an SFU.
pub(crate) mod clip;
/// RTP payloads of H264 (RFC 6184).
pub(crate) mod h264;
/// IVF files into frames.
pub(crate) mod ivf;
/// Opus packets out of Ogg files (RFC 3533, RFC 7845).
pub(crate) mod ogg;
/// RTP payloads of VP8 (RFC 7741).
pub(crate) mod vp8;

/// Largest RTP payload sent, in bytes: what meetings were found to use, and small enough for any path.
pub(crate) const MAX_PAYLOAD: usize = 1155;

/// Why a media file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MediaError {
    /// The file does not begin as its format says.
    NotThisFormat(&'static str),
    /// The file ends in the middle of a unit, or a length in it points outside.
    Truncated,
    /// A unit of the file is of a kind that is not sent.
    Unsupported(&'static str),
    /// There is nothing to send in it.
    Empty,
    /// Two packets of the loop have the same content, so that neither can be told from the other.
    Indistinguishable { packets: usize },
}

impl std::fmt::Display for MediaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotThisFormat(expected) => write!(f, "this is no {expected}"),
            Self::Truncated => write!(
                f,
                "it ends in the middle of a frame, or a length in it is wrong"
            ),
            Self::Unsupported(what) => write!(f, "{what}"),
            Self::Empty => write!(f, "there is no frame in it"),
            Self::Indistinguishable { packets } => write!(
                f,
                "{packets} packets of it have the same content as another, so that their loss could not be told: \
                 take moving pictures and changing sound"
            ),
        }
    }
}

impl std::error::Error for MediaError {}

/// Splits `len` bytes into as few parts of at most `max` as possible, all about equally long: an SFU
/// can then send a frame as one run of equal datagrams.
pub(crate) fn even_parts(len: usize, max: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let parts = len.div_ceil(max.max(1));
    // Without parts there is nothing to divide.
    let (base, longer) = (len / parts.max(1), len % parts.max(1));
    (0..parts).scan(0, move |at, part| {
        let start = *at;
        *at += base + usize::from(part < longer);
        Some(start..*at)
    })
}

#[cfg(test)]
mod tests {
    use super::even_parts;

    #[test]
    fn parts_are_even_and_cover_everything() {
        for len in 0..4000 {
            let parts: Vec<_> = even_parts(len, 1155).collect();
            assert_eq!(parts.len(), len.div_ceil(1155));
            let mut at = 0;
            for part in &parts {
                assert_eq!(part.start, at);
                at = part.end;
                assert!(part.len() <= 1155 && part.len() + 1 >= parts[0].len());
            }
            assert_eq!(at, len);
        }
    }
}
