use crate::WireError;
use crate::bytes::{u8_at, u16_at};

/// Picture id of VP8 or VP9: 7 or 15 bits, the sender's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// Value.
    pub value: u16,
    /// Whether it has 15 bits and takes two bytes, else 7 bits and one.
    pub long: bool,
    /// Offset in bytes of its (first) byte in the payload.
    pub at: u8,
}

impl PictureId {
    /// Reads the id at `at`; returns it and the offset behind it.
    pub(super) fn parse(payload: &[u8], at: usize) -> Result<(Self, usize), WireError> {
        let first = u8_at(payload, at).ok_or(WireError::TooShort)?;
        let offset = u8::try_from(at).map_err(|_| WireError::BadLength)?;
        if first & 0x80 == 0 {
            return Ok((
                Self {
                    value: u16::from(first),
                    long: false,
                    at: offset,
                },
                at + 1,
            ));
        }
        let value = u16_at(payload, at).ok_or(WireError::TooShort)? & 0x7fff;
        Ok((
            Self {
                value,
                long: true,
                at: offset,
            },
            at + 2,
        ))
    }

    /// Overwrites the id in a copy of the payload with `value`, of which as many bits count as the id has.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`]: `payload` ends before the id.
    pub fn rewrite(&self, payload: &mut [u8], value: u16) -> Result<(), WireError> {
        let at = usize::from(self.at);
        let [high, low] = value.to_be_bytes();
        if self.long {
            let target = payload
                .get_mut(at..at + 2)
                .ok_or(WireError::BufferTooSmall)?;
            target.copy_from_slice(&[high | 0x80, low]);
        } else {
            *payload.get_mut(at).ok_or(WireError::BufferTooSmall)? = low & 0x7f;
        }
        Ok(())
    }
}

/// VP8 payload descriptor (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// N: the frame may be dropped without harm to others.
    pub non_reference: bool,
    /// S: the payload begins a partition.
    pub start_of_partition: bool,
    /// PID: number of the partition, 0..=7.
    pub partition: u8,
    /// I: picture id.
    pub picture_id: Option<PictureId>,
    /// L: TL0PICIDX, running number of base layer frames.
    pub tl0_picidx: Option<u8>,
    /// Offset in bytes of TL0PICIDX in the payload; 0 where there is none.
    pub tl0_picidx_at: u8,
    /// T: temporal layer, 0..=3.
    pub tid: Option<u8>,
    /// Y: the frame depends on the base layer only, so its layer may be joined here. False without T.
    pub layer_sync: bool,
    /// K: KEYIDX, running number of keyframes modulo 32.
    pub keyidx: Option<u8>,
    /// Offset in bytes of TID, Y and KEYIDX in the payload; 0 where there are none.
    pub layers_at: u8,
    /// Length in bytes of the descriptor.
    pub len: u8,
}

/// The running numbers in a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Picture id, of which as many bits count as the descriptor has.
    pub picture_id: u16,
    /// TL0PICIDX.
    pub tl0_picidx: u8,
    /// KEYIDX, modulo 32; VP9 has none.
    pub keyidx: u8,
}

impl Descriptor {
    /// Reads the descriptor at the start of an RTP payload.
    ///
    /// # Errors
    /// [`WireError::TooShort`]: the payload ends within the descriptor or with it.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let byte = |at| u8_at(payload, at).ok_or(WireError::TooShort);
        let first = byte(0)?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            start_of_partition: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id: None,
            tl0_picidx: None,
            tl0_picidx_at: 0,
            tid: None,
            layer_sync: false,
            keyidx: None,
            layers_at: 0,
            len: 0,
        };
        let mut at = 1;
        if first & 0x80 != 0 {
            let extension = byte(at)?;
            at += 1;
            if extension & 0x80 != 0 {
                let (picture_id, after) = PictureId::parse(payload, at)?;
                descriptor.picture_id = Some(picture_id);
                at = after;
            }
            if extension & 0x40 != 0 {
                descriptor.tl0_picidx = Some(byte(at)?);
                descriptor.tl0_picidx_at = u8::try_from(at).map_err(|_| WireError::BadLength)?;
                at += 1;
            }
            if extension & 0x30 != 0 {
                let layers = byte(at)?;
                descriptor.layers_at = u8::try_from(at).map_err(|_| WireError::BadLength)?;
                at += 1;
                if extension & 0x20 != 0 {
                    descriptor.tid = Some(layers >> 6);
                    descriptor.layer_sync = layers & 0x20 != 0;
                }
                if extension & 0x10 != 0 {
                    descriptor.keyidx = Some(layers & 0x1f);
                }
            }
        }
        if at >= payload.len() {
            return Err(WireError::TooShort);
        }
        descriptor.len = u8::try_from(at).map_err(|_| WireError::BadLength)?;
        Ok(descriptor)
    }

    /// Overwrites the running numbers that the descriptor has, in a copy of the payload or of its first
    /// [`len`](Self::len) bytes.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`]: `payload` ends before the last of them.
    pub fn rewrite(&self, payload: &mut [u8], numbers: &Numbers) -> Result<(), WireError> {
        if let Some(id) = self.picture_id {
            id.rewrite(payload, numbers.picture_id)?;
        }
        if self.tl0_picidx.is_some() {
            *byte_of(payload, self.tl0_picidx_at)? = numbers.tl0_picidx;
        }
        if self.keyidx.is_some() {
            let layers = byte_of(payload, self.layers_at)?;
            *layers = (*layers & 0xe0) | (numbers.keyidx & 0x1f);
        }
        Ok(())
    }

    /// Whether the payload begins a frame: the start of partition 0.
    #[must_use]
    pub fn starts_frame(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }
}

pub(super) fn byte_of(payload: &mut [u8], at: u8) -> Result<&mut u8, WireError> {
    payload
        .get_mut(usize::from(at))
        .ok_or(WireError::BufferTooSmall)
}

/// Start of a frame whose payload header has a clear P bit ("inverse key frame flag", RFC 7741 §4.3).
#[must_use]
pub fn keyframe(payload: &[u8]) -> bool {
    let Ok(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    let header = u8_at(payload, usize::from(descriptor.len));
    descriptor.starts_frame() && header.is_some_and(|byte| byte & 0x01 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_descriptor() {
        // X S | I L T K | M, 15-bit id | TL0PICIDX | TID 2, Y, KEYIDX 9 | keyframe header
        let payload = [0x90, 0xf0, 0x92, 0x34, 0x56, 0xa9, 0x00];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor.picture_id,
            Some(PictureId {
                value: 0x1234,
                long: true,
                at: 2
            })
        );
        assert_eq!(
            (descriptor.tl0_picidx, descriptor.tl0_picidx_at),
            (Some(0x56), 4)
        );
        assert_eq!((descriptor.tid, descriptor.layer_sync), (Some(2), true));
        assert_eq!((descriptor.keyidx, descriptor.len), (Some(9), 6));
        assert!(keyframe(&payload));
        for len in 0..payload.len() {
            assert_eq!(
                Descriptor::parse(&payload[..len]),
                Err(WireError::TooShort),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_keyframe_starts_with_the_start_of_partition_0_and_a_clear_p_bit() {
        assert!(keyframe(&[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a]));
        assert!(!keyframe(&[0x10, 0x11]), "interframe");
        assert!(!keyframe(&[0x00, 0x10]), "continuation");
        assert!(!keyframe(&[0x11, 0x10]), "partition 1");
        assert!(!keyframe(&[0x10]), "no payload");
        assert!(!keyframe(&[]));
    }

    #[test]
    fn running_numbers_are_rewritten_and_nothing_else() {
        let payload = [0x90, 0xf0, 0x92, 0x34, 0x56, 0xa9, 0x00];
        let descriptor = Descriptor::parse(&payload).unwrap();
        let mut copy = payload;
        let numbers = Numbers {
            picture_id: 0x7fff,
            tl0_picidx: 0xfe,
            keyidx: 0x3f,
        };
        descriptor.rewrite(&mut copy, &numbers).unwrap();
        assert_eq!(copy, [0x90, 0xf0, 0xff, 0xff, 0xfe, 0xbf, 0x00]);
        let short = descriptor.rewrite(&mut copy[..5], &numbers);
        assert_eq!(short, Err(WireError::BufferTooSmall));
        let plain = Descriptor::parse(&[0x10, 0x00]).unwrap();
        assert_eq!(plain.rewrite(&mut [], &numbers), Ok(()), "it has none");
    }

    #[test]
    fn picture_id_is_rewritten_in_its_own_width() {
        let mut payload = [0x90, 0x80, 0x81, 0x02, 0x00];
        let id = Descriptor::parse(&payload).unwrap().picture_id.unwrap();
        id.rewrite(&mut payload, 0xffff).unwrap();
        assert_eq!(payload, [0x90, 0x80, 0xff, 0xff, 0x00]);
        let mut payload = [0x90, 0x80, 0x01, 0x00];
        let id = Descriptor::parse(&payload).unwrap().picture_id.unwrap();
        id.rewrite(&mut payload, 0xffff).unwrap();
        assert_eq!(payload, [0x90, 0x80, 0x7f, 0x00]);
        assert_eq!(
            id.rewrite(&mut payload[..2], 0),
            Err(WireError::BufferTooSmall)
        );
    }
}
