use crate::bytes::u8_at;

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// `slice` is the first byte behind the NAL unit header: `first_mb_in_slice`, an Exp-Golomb number, is 0
/// if its first bit is set (ITU-T H.264 §7.3.3). Later slices of the same picture start nothing.
fn starts_keyframe(nal_type: u8, slice: Option<u8>) -> bool {
    match nal_type {
        SPS => true,
        IDR => slice.is_some_and(|byte| byte & 0x80 != 0),
        _ => false,
    }
}

/// The first slice of an IDR picture or a sequence parameter set: as a single NAL unit, in an aggregation
/// packet, or at the start of a fragmented unit (RFC 6184 §5.2). Interleaved mode is not negotiated
/// in WebRTC, so its packet types start nothing.
///
/// An SPS counts because encoders for WebRTC send one with each IDR picture and before it, often in a packet
/// of its own; forwarding must begin there.
#[must_use]
pub fn keyframe(payload: &[u8]) -> bool {
    let Some((first, rest)) = payload.split_first() else {
        return false;
    };
    match first & 0x1f {
        STAP_A => aggregated(rest),
        FU_A => u8_at(rest, 0)
            .is_some_and(|fu| fu & 0x80 != 0 && starts_keyframe(fu & 0x1f, u8_at(rest, 1))),
        nal_type => starts_keyframe(nal_type, u8_at(rest, 0)),
    }
}

/// NAL units, each behind its 16-bit size (RFC 6184 §5.7.1).
fn aggregated(mut rest: &[u8]) -> bool {
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((unit, after)) = after.split_at_checked(size) else {
            return false;
        };
        let nal_type = u8_at(unit, 0).map(|header| header & 0x1f);
        if nal_type.is_some_and(|nal_type| starts_keyframe(nal_type, u8_at(unit, 1))) {
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
        assert!(keyframe(&[0x65, 0x88]), "IDR");
        assert!(!keyframe(&[0x65, 0x40]), "a later slice of it");
        assert!(keyframe(&[0x67, 0x42]), "SPS");
        assert!(!keyframe(&[0x68, 0xce]), "PPS alone decodes nothing");
        assert!(!keyframe(&[0x41, 0x9a]), "non-IDR slice");
        assert!(!keyframe(&[0x65]), "no slice header");
        assert!(!keyframe(&[]));
    }

    #[test]
    fn aggregation_is_searched_up_to_its_damage() {
        assert!(
            keyframe(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42]),
            "delimiter, then SPS"
        );
        assert!(
            keyframe(&[0x78, 0, 1, 0x09, 0, 2, 0x65, 0x88]),
            "delimiter, then IDR"
        );
        assert!(
            !keyframe(&[0x78, 0, 1, 0x65, 0x88, 0x88]),
            "the slice is another unit's"
        );
        assert!(!keyframe(&[0x78, 0, 1, 0x09, 0, 2, 0x41, 0x9a]));
        assert!(!keyframe(&[0x78, 0, 9, 0x67]), "unit overruns the packet");
        assert!(!keyframe(&[0x78, 0, 0, 0]), "empty unit");
    }

    #[test]
    fn only_the_first_fragment_counts() {
        assert!(keyframe(&[0x7c, 0x85, 0x88]), "start of an IDR slice");
        assert!(!keyframe(&[0x7c, 0x85, 0x40]), "start of a later slice");
        assert!(!keyframe(&[0x7c, 0x05, 0x88]), "middle");
        assert!(!keyframe(&[0x7c, 0x45, 0x88]), "end");
        assert!(!keyframe(&[0x7c, 0x81, 0x88]), "start of a non-IDR slice");
        assert!(!keyframe(&[0x7c]));
    }
}
