use crate::bytes::u8_at;

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const FU_A: u8 = 28;
const FU_B: u8 = 29;

fn starts_keyframe(nal_type: u8) -> bool {
    matches!(nal_type, IDR | SPS)
}

/// An IDR slice or a sequence parameter set: as a single NAL unit, in an aggregation packet, or at the
/// start of a fragmented unit (RFC 6184 §5.2).
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
        // A decoding order number comes first.
        STAP_B => aggregated(rest.get(2..).unwrap_or_default()),
        FU_A | FU_B => {
            u8_at(rest, 0).is_some_and(|fu| fu & 0x80 != 0 && starts_keyframe(fu & 0x1f))
        }
        nal_type => starts_keyframe(nal_type),
    }
}

/// NAL units, each behind its 16-bit size (RFC 6184 §5.7.1).
fn aggregated(mut rest: &[u8]) -> bool {
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((unit, after)) = after.split_at_checked(size) else {
            return false;
        };
        if u8_at(unit, 0).is_some_and(|header| starts_keyframe(header & 0x1f)) {
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
        assert!(keyframe(&[0x67, 0x42]), "SPS");
        assert!(!keyframe(&[0x68, 0xce]), "PPS alone decodes nothing");
        assert!(!keyframe(&[0x41, 0x9a]), "non-IDR slice");
        assert!(!keyframe(&[]));
    }

    #[test]
    fn aggregation_is_searched_up_to_its_damage() {
        assert!(
            keyframe(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42]),
            "delimiter, then SPS"
        );
        assert!(!keyframe(&[0x78, 0, 1, 0x09, 0, 2, 0x41, 0x9a]));
        assert!(!keyframe(&[0x78, 0, 9, 0x67]), "unit overruns the packet");
        assert!(!keyframe(&[0x78, 0, 0, 0]), "empty unit");
        assert!(keyframe(&[0x79, 0, 0, 0, 1, 0x65]), "STAP-B");
    }

    #[test]
    fn only_the_first_fragment_counts() {
        assert!(keyframe(&[0x7c, 0x85, 0]), "start of an IDR slice");
        assert!(!keyframe(&[0x7c, 0x05, 0]), "middle");
        assert!(!keyframe(&[0x7c, 0x45, 0]), "end");
        assert!(!keyframe(&[0x7c, 0x81, 0]), "start of a non-IDR slice");
        assert!(!keyframe(&[0x7c]));
    }
}
