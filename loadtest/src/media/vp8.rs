//! RTP payloads of VP8 (RFC 7741), with 15-bit picture ids.

/// Length of the payload descriptor that publishers write: X, I and a 15-bit picture id.
pub(crate) const DESCRIPTOR_LEN: usize = 4;

/// The descriptor of a packet (RFC 7741 §4.2).
pub(crate) fn descriptor(starts_frame: bool, picture_id: u16) -> [u8; DESCRIPTOR_LEN] {
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    [0x80 | (u8::from(starts_frame) << 4), 0x80, high, low]
}

/// Whether a frame, without descriptor, is a keyframe: the inverse of its first bit (RFC 6386 §9.1).
pub(crate) fn is_keyframe(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// What comes after the descriptor, whatever fields somebody on the way put into it; `None` if it is cut short.
pub(crate) fn content(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    let mut len = 1;
    if first & 0x80 != 0 {
        let extension = *payload.get(1)?;
        len += 1;
        if extension & 0x80 != 0 {
            len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0);
        len += usize::from(extension & 0x30 != 0);
    }
    payload.get(len..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_descriptor_is_skipped() {
        for (starts, id) in [(true, 0), (false, 0x7fff)] {
            let mut payload = descriptor(starts, id).to_vec();
            payload.extend(b"frame");
            assert_eq!(content(&payload), Some(&b"frame"[..]));
            assert_eq!(payload[0] & 0x10 != 0, starts);
            assert_eq!(u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff, id);
        }
    }

    #[test]
    fn descriptors_of_others_are_skipped() {
        assert_eq!(content(&[0x10, 1, 2]), Some(&[1, 2][..]));
        assert_eq!(content(&[0x90, 0x80, 0x11, 1]), Some(&[1][..]));
        assert_eq!(content(&[0x90, 0xf0, 0x81, 0x11, 3, 4, 1]), Some(&[1][..]));
        assert_eq!(content(&[0x90, 0x20, 4, 1]), Some(&[1][..]));
    }

    #[test]
    fn cut_descriptors_are_none() {
        for cut in [
            &[][..],
            &[0x80],
            &[0x80, 0x80],
            &[0x80, 0x80, 0x81],
            &[0x90, 0xf0, 0x11, 3],
        ] {
            assert_eq!(content(cut), None, "{cut:x?}");
        }
    }
}
