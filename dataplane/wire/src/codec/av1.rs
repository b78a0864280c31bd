use crate::WireError;
use crate::bytes::u8_at;

const OBU_SEQUENCE_HEADER: u8 = 1;

/// Aggregation header, the first byte of every AV1 payload (AV1 RTP specification §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregationHeader {
    /// Z: the first OBU element continues one of the packet before.
    pub continues: bool,
    /// Y: the last OBU element goes on in the next packet.
    pub continued: bool,
    /// W: number of elements, 1..=3, the last of them without a length; 0: all have lengths.
    pub element_count: u8,
    /// N: first packet of a coded video sequence.
    pub new_sequence: bool,
}

impl AggregationHeader {
    /// Reads the header.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: no payload.
    /// - [`WireError::BadValue`]: Z and N together, which cannot be.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let byte = u8_at(payload, 0).ok_or(WireError::TooShort)?;
        let header = Self {
            continues: byte & 0x80 != 0,
            continued: byte & 0x40 != 0,
            element_count: (byte >> 4) & 0x03,
            new_sequence: byte & 0x08 != 0,
        };
        if header.continues && header.new_sequence {
            return Err(WireError::BadValue);
        }
        Ok(header)
    }
}

/// First packet of a coded video sequence (N bit), or one in which a sequence header OBU begins: senders
/// put it before each keyframe, and N has been forgotten by some.
#[must_use]
pub fn keyframe(payload: &[u8]) -> bool {
    let Ok(header) = AggregationHeader::parse(payload) else {
        return false;
    };
    let mut elements = Elements {
        rest: payload.get(1..).unwrap_or_default(),
        left: header.element_count,
        lengths_throughout: header.element_count == 0,
    };
    if header.new_sequence {
        return elements.next().is_some();
    }
    // An element that continues another has no OBU header.
    elements.skip(usize::from(header.continues)).any(|element| {
        u8_at(element, 0).is_some_and(|byte| {
            let forbidden = byte & 0x80 != 0;
            !forbidden && (byte >> 3) & 0x0f == OBU_SEQUENCE_HEADER
        })
    })
}

/// OBU elements of a payload, as long as they are well-formed.
struct Elements<'a> {
    rest: &'a [u8],
    left: u8,
    lengths_throughout: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        if !self.lengths_throughout {
            self.left = self.left.checked_sub(1)?;
            if self.left == 0 {
                return Some(core::mem::take(&mut self.rest));
            }
        }
        let (len, after) = leb128(self.rest)?;
        let (element, after) = after.split_at_checked(len)?;
        self.rest = after;
        Some(element)
    }
}

/// Little-endian base 128, at most three bytes here: more than a datagram holds anyway.
fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in data.iter().take(3).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, data.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE_HEADER: u8 = 1 << 3;
    const FRAME: u8 = 6 << 3;
    const TEMPORAL_DELIMITER: u8 = 2 << 3;

    #[test]
    fn n_bit() {
        assert!(keyframe(&[0x08 | 0x10, FRAME, 0]));
        assert!(!keyframe(&[0x08]), "no element");
        assert!(!keyframe(&[0x88 | 0x10, FRAME]), "N with Z");
        assert!(!keyframe(&[0x10, FRAME, 0]));
        assert!(!keyframe(&[]));
    }

    #[test]
    fn sequence_header_without_n() {
        assert!(keyframe(&[0x10, SEQUENCE_HEADER, 0]), "W = 1");
        assert!(
            keyframe(&[0x20, 1, TEMPORAL_DELIMITER, SEQUENCE_HEADER, 0]),
            "W = 2, second"
        );
        assert!(
            keyframe(&[0x00, 1, FRAME, 2, SEQUENCE_HEADER, 0]),
            "W = 0, second"
        );
        assert!(
            !keyframe(&[0x90, SEQUENCE_HEADER, 0]),
            "continuation, no OBU header"
        );
        assert!(
            keyframe(&[0x80, 1, 0xff, 2, SEQUENCE_HEADER, 0]),
            "behind a continuation"
        );
        assert!(
            !keyframe(&[0x00, 9, SEQUENCE_HEADER]),
            "element overruns the packet"
        );
        assert!(
            !keyframe(&[0x00, 0x80, 0x80, 0x80, 0x00, SEQUENCE_HEADER]),
            "endless length"
        );
        assert!(!keyframe(&[0x10, 0x80 | SEQUENCE_HEADER]), "forbidden bit");
    }

    #[test]
    fn lengths_of_two_bytes() {
        let mut payload = std::vec![0x20, 0x80 | 0x48, 0x01]; // 200
        payload.extend([0; 200]);
        payload.push(SEQUENCE_HEADER);
        assert!(keyframe(&payload));
    }
}
