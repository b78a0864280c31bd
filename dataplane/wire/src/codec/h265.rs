use crate::bytes::u8_at;

/// Length in bytes of a NAL unit header.
const NAL_HEADER_LEN: usize = 2;
const VPS: u8 = 32;
const SPS: u8 = 33;
const AP: u8 = 48;
const FU: u8 = 49;

/// `slice` is the first byte behind the NAL unit header: its first bit is
/// `first_slice_segment_in_pic_flag` (ITU-T H.265 §7.3.6.1). Later segments of the picture start nothing.
///
/// IRAP pictures are types 16 to 23 (§7.4.2.2); 22 and 23 are reserved.
fn starts_keyframe(nal_type: u8, slice: Option<u8>) -> bool {
    match nal_type {
        VPS | SPS => true,
        16..=21 => slice.is_some_and(|byte| byte & 0x80 != 0),
        _ => false,
    }
}

fn nal_type(header: u8) -> u8 {
    (header >> 1) & 0x3f
}

/// The first slice segment of an IRAP picture, a video or a sequence parameter set: as a single NAL unit, in
/// an aggregation packet, or at the start of a fragmented unit (RFC 7798 §4.4). Without decoding
/// order numbers, which WebRTC does not negotiate (`sprop-max-don-diff` is 0).
#[must_use]
pub fn keyframe(payload: &[u8]) -> bool {
    let Some((header, rest)) = payload.split_first_chunk::<NAL_HEADER_LEN>() else {
        return false;
    };
    let [first, _] = *header;
    match nal_type(first) {
        AP => aggregated(rest),
        FU => u8_at(rest, 0)
            .is_some_and(|fu| fu & 0x80 != 0 && starts_keyframe(fu & 0x3f, u8_at(rest, 1))),
        single => starts_keyframe(single, u8_at(rest, 0)),
    }
}

/// Where a payload stands among temporal layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemporalLayer {
    /// Temporal layer, 0..=6.
    pub tid: u8,
    /// A TSA or STSA picture: its layer may be joined here by who has those below (ITU-T H.265 §7.4.2.2).
    pub switching_up: bool,
}

/// The temporal layer of a payload's NAL units; `None` without a whole header, or where `nuh_temporal_id_plus1` is 0.
#[must_use]
pub fn temporal_layer(payload: &[u8]) -> Option<TemporalLayer> {
    let (&[first, second], rest) = payload.split_first_chunk::<NAL_HEADER_LEN>()?;
    let unit_type = match nal_type(first) {
        AP => nal_type(u8_at(rest, 2)?),
        FU => u8_at(rest, 0)? & 0x3f,
        single => single,
    };
    Some(TemporalLayer {
        tid: (second & 0x07).checked_sub(1)?,
        switching_up: (2..=5).contains(&unit_type),
    })
}

/// NAL units, each behind its 16-bit size (RFC 7798 §4.4.2).
fn aggregated(mut rest: &[u8]) -> bool {
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((unit, after)) = after.split_at_checked(size) else {
            return false;
        };
        let slice = u8_at(unit, NAL_HEADER_LEN);
        if u8_at(unit, 0).is_some_and(|header| starts_keyframe(nal_type(header), slice)) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_units() {
        for (nal_type, want) in [
            (1, false),
            (15, false),
            (16, true),
            (19, true),
            (21, true),
            (22, false),
            (33, true),
        ] {
            assert_eq!(keyframe(&[nal_type << 1, 1, 0x80]), want, "type {nal_type}");
        }
        assert!(keyframe(&[VPS << 1, 1]));
        assert!(!keyframe(&[34 << 1, 1, 0x80]), "PPS alone decodes nothing");
        assert!(!keyframe(&[19 << 1, 1, 0x40]), "later segment");
        assert!(!keyframe(&[19 << 1]), "no full header");
    }

    #[test]
    fn temporal_layers() {
        let layer = |tid, switching_up| Some(TemporalLayer { tid, switching_up });
        assert_eq!(temporal_layer(&[1 << 1, 1, 0x80]), layer(0, false));
        assert_eq!(temporal_layer(&[2 << 1, 3, 0x80]), layer(2, true), "TSA_N");
        assert_eq!(
            temporal_layer(&[FU << 1, 2, 0x80 | 5]),
            layer(1, true),
            "STSA_R"
        );
        assert_eq!(
            temporal_layer(&[AP << 1, 2, 0, 3, 3 << 1, 2, 0]),
            layer(1, true),
            "TSA_R"
        );
        assert_eq!(temporal_layer(&[1 << 1, 0]), None, "no such layer");
        assert_eq!(temporal_layer(&[1 << 1]), None);
    }

    #[test]
    fn aggregated_and_fragmented() {
        assert!(keyframe(&[
            AP << 1,
            1,
            0,
            2,
            34 << 1,
            1,
            0,
            3,
            20 << 1,
            1,
            0x80
        ]));
        assert!(
            !keyframe(&[AP << 1, 1, 0, 2, 20 << 1, 1, 0x80]),
            "the segment is another unit's"
        );
        assert!(!keyframe(&[AP << 1, 1, 0, 3, 1 << 1, 1, 0x80]));
        assert!(
            !keyframe(&[AP << 1, 1, 0, 9, 20 << 1, 1, 0x80]),
            "unit overruns the packet"
        );
        assert!(keyframe(&[FU << 1, 1, 0x80 | 19, 0x80]), "start");
        assert!(
            !keyframe(&[FU << 1, 1, 0x80 | 19, 0x40]),
            "start of a later segment"
        );
        assert!(!keyframe(&[FU << 1, 1, 19, 0x80]), "middle");
        assert!(!keyframe(&[FU << 1, 1]));
    }
}
