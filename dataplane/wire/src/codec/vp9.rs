use super::vp8::{Numbers, PictureId, byte_of};
use crate::WireError;
use crate::bytes::u8_at;

/// Layer indices of a VP9 payload (RFC 9628 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerIndices {
    /// TID: temporal layer.
    pub tid: u8,
    /// U: switching up point; from here on higher temporal layers may be joined.
    pub switching_up: bool,
    /// SID: spatial layer.
    pub sid: u8,
    /// D: predicted from the spatial layer below, of the same picture.
    pub inter_layer_predicted: bool,
}

/// Pictures that a frame is predicted from in flexible mode, at most.
pub const MAX_REFERENCES: usize = 3;
/// Spatial layers that a scalability structure can have.
pub const MAX_SPATIAL: usize = 8;

/// VP9 payload descriptor (RFC 9628 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// I: picture id.
    pub picture_id: Option<PictureId>,
    /// P: the frame is predicted from earlier pictures.
    pub inter_picture_predicted: bool,
    /// L: layer indices.
    pub layers: Option<LayerIndices>,
    /// TL0PICIDX, with L in non-flexible mode.
    pub tl0_picidx: Option<u8>,
    /// Offset in bytes of TL0PICIDX in the payload; 0 where there is none.
    pub tl0_picidx_at: u8,
    /// F: flexible mode.
    pub flexible: bool,
    /// P_DIFF, in flexible mode: differences to the ids of the pictures that the frame is predicted from, 1..=127;
    /// 0 behind the last.
    pub references: [u8; MAX_REFERENCES],
    /// B: the payload begins a (layer) frame.
    pub start_of_frame: bool,
    /// E: the payload ends a (layer) frame.
    pub end_of_frame: bool,
    /// Z: no higher spatial layer is predicted from this one.
    pub not_reference_for_upper: bool,
    /// V: number of spatial layers, 1..=8, where the scalability structure is there.
    pub spatial_layers: Option<u8>,
    /// Offset in bytes of the scalability structure; 0 where there is none.
    structure_at: u16,
    /// Length in bytes of the descriptor. The structure alone may take 1,300.
    pub len: u16,
}

impl Descriptor {
    /// Reads the descriptor at the start of an RTP payload.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: the payload ends within the descriptor or with it.
    /// - [`WireError::TooMany`]: more than three reference indices.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let byte = |at| u8_at(payload, at).ok_or(WireError::TooShort);
        let first = byte(0)?;
        let flag = |mask: u8| first & mask != 0;
        let mut descriptor = Self {
            picture_id: None,
            inter_picture_predicted: flag(0x40),
            layers: None,
            tl0_picidx: None,
            tl0_picidx_at: 0,
            flexible: flag(0x10),
            references: [0; MAX_REFERENCES],
            start_of_frame: flag(0x08),
            end_of_frame: flag(0x04),
            not_reference_for_upper: flag(0x01),
            spatial_layers: None,
            structure_at: 0,
            len: 0,
        };
        let mut at = 1;
        if flag(0x80) {
            let (picture_id, after) = PictureId::parse(payload, at)?;
            descriptor.picture_id = Some(picture_id);
            at = after;
        }
        if flag(0x20) {
            let layers = byte(at)?;
            at += 1;
            descriptor.layers = Some(LayerIndices {
                tid: layers >> 5,
                switching_up: layers & 0x10 != 0,
                sid: (layers >> 1) & 0x07,
                inter_layer_predicted: layers & 0x01 != 0,
            });
            if !descriptor.flexible {
                descriptor.tl0_picidx = Some(byte(at)?);
                descriptor.tl0_picidx_at = u8::try_from(at).map_err(|_| WireError::BadLength)?;
                at += 1;
            }
        }
        if descriptor.flexible && descriptor.inter_picture_predicted {
            at = descriptor.read_references(payload, at)?;
        }
        if flag(0x02) {
            descriptor.structure_at = u16::try_from(at).map_err(|_| WireError::BadLength)?;
            let (structure, after) = ScalabilityStructure::read(payload, at)?;
            descriptor.spatial_layers = Some(structure.spatial_layers);
            at = after;
        }
        if at >= payload.len() {
            return Err(WireError::TooShort);
        }
        descriptor.len = u16::try_from(at).map_err(|_| WireError::BadLength)?;
        Ok(descriptor)
    }

    /// P_DIFF: up to three, each with an N bit that says whether another follows.
    fn read_references(&mut self, payload: &[u8], mut at: usize) -> Result<usize, WireError> {
        for reference in &mut self.references {
            let index = u8_at(payload, at).ok_or(WireError::TooShort)?;
            *reference = index >> 1;
            at += 1;
            if index & 0x01 == 0 {
                return Ok(at);
            }
        }
        Err(WireError::TooMany)
    }

    /// The scalability structure, if the payload that the descriptor was read from has one.
    #[must_use]
    pub fn scalability_structure<'a>(&self, payload: &'a [u8]) -> Option<ScalabilityStructure<'a>> {
        self.spatial_layers?;
        let read = ScalabilityStructure::read(payload, usize::from(self.structure_at));
        read.ok().map(|(structure, _)| structure)
    }

    /// Overwrites the picture id and TL0PICIDX, where the descriptor has them, in a copy of the payload or of its first
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
        Ok(())
    }
}

/// Scalability structure (SS, RFC 9628 §4.2.1): what the publisher sends, said with keyframes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalabilityStructure<'a> {
    /// N_S: number of spatial layers, 1..=8.
    pub spatial_layers: u8,
    /// Y: widths and heights, four bytes a layer; empty where they are not said.
    sizes: &'a [u8],
    /// G: the pictures of a group.
    pictures: &'a [u8],
}

/// One picture of a group of pictures (RFC 9628 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPicture<'a> {
    /// TID: temporal layer.
    pub tid: u8,
    /// U: switching up point.
    pub switching_up: bool,
    /// P_DIFF: differences to the ids of the pictures that it is predicted from, at most three.
    pub references: &'a [u8],
}

impl<'a> ScalabilityStructure<'a> {
    /// Reads the structure at `at`; returns it and the offset behind it.
    fn read(payload: &'a [u8], at: usize) -> Result<(Self, usize), WireError> {
        let byte = |at| u8_at(payload, at).ok_or(WireError::TooShort);
        let slice = |from: usize, to: usize| payload.get(from..to).ok_or(WireError::TooShort);
        let head = byte(at)?;
        let start = at + 1;
        let spatial_layers = (head >> 5) + 1;
        let sizes_len = if head & 0x10 != 0 {
            4 * usize::from(spatial_layers)
        } else {
            0
        };
        let sizes = slice(start, start + sizes_len)?;
        let mut at = start + sizes_len;
        let mut pictures: &[u8] = &[];
        if head & 0x08 != 0 {
            let count = byte(at)?;
            at += 1;
            let first = at;
            for _ in 0..count {
                let references = (byte(at)? >> 2) & 0x03;
                at += 1 + usize::from(references);
            }
            pictures = slice(first, at)?;
        }
        let structure = Self {
            spatial_layers,
            sizes,
            pictures,
        };
        Ok((structure, at))
    }

    /// Width and height of each spatial layer; none where they are not said.
    pub fn sizes(&self) -> impl Iterator<Item = (u16, u16)> + 'a {
        self.sizes.chunks_exact(4).filter_map(|size| {
            let [w0, w1, h0, h1] = *size.first_chunk::<4>()?;
            Some((u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])))
        })
    }

    /// The pictures of a group, in order; none where they are not said.
    pub fn pictures(&self) -> impl Iterator<Item = GroupPicture<'a>> + 'a {
        let mut rest = self.pictures;
        core::iter::from_fn(move || {
            let (&head, after) = rest.split_first()?;
            let (references, after) = after.split_at_checked(usize::from((head >> 2) & 0x03))?;
            rest = after;
            Some(GroupPicture {
                tid: head >> 5,
                switching_up: head & 0x10 != 0,
                references,
            })
        })
    }
}

/// Start of a frame of the lowest spatial layer that uses no earlier picture.
#[must_use]
pub fn keyframe(payload: &[u8]) -> bool {
    let Ok(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    descriptor.start_of_frame
        && !descriptor.inter_picture_predicted
        && descriptor.layers.is_none_or(|layers| layers.sid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_flexible_keyframe_with_scalability_structure() {
        // I L B V | 15-bit id | TID 0, U, SID 0 | TL0PICIDX | two layers with sizes and one picture
        let mut payload = std::vec![0xaa, 0x81, 0x02, 0x10, 0x07];
        payload.extend([0x38, 2, 128, 1, 104, 5, 0, 2, 208, 1, 0x04, 0x01]);
        payload.push(0x82);
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor.picture_id,
            Some(PictureId {
                value: 0x102,
                long: true,
                at: 1
            })
        );
        assert_eq!(
            (descriptor.tl0_picidx, descriptor.tl0_picidx_at),
            (Some(7), 4)
        );
        assert_eq!(descriptor.spatial_layers, Some(2));
        assert!(descriptor.layers.unwrap().switching_up);
        assert_eq!(usize::from(descriptor.len), payload.len() - 1);
        let structure = descriptor.scalability_structure(&payload).unwrap();
        assert!(structure.sizes().eq([(640, 360), (1_280, 720)]));
        let pictures: std::vec::Vec<_> = structure.pictures().collect();
        let picture = GroupPicture {
            tid: 0,
            switching_up: false,
            references: &[1],
        };
        assert_eq!(pictures, [picture]);
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
    fn flexible_mode_has_reference_indices_and_no_tl0picidx() {
        // I P L F B | 7-bit id | TID 1, SID 2, D | two indices | payload
        let payload = [0xf8, 0x05, 0x25, 0x03, 0x04, 0x00];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.tl0_picidx, None);
        assert_eq!((descriptor.len, descriptor.references), (5, [1, 2, 0]));
        assert!(descriptor.scalability_structure(&payload).is_none());
        let layers = descriptor.layers.unwrap();
        assert_eq!(
            (layers.tid, layers.sid, layers.inter_layer_predicted),
            (1, 2, true)
        );
        let four = [0xf8, 0x05, 0x25, 0x03, 0x05, 0x07, 0x02, 0x00];
        assert_eq!(Descriptor::parse(&four), Err(WireError::TooMany));
    }

    #[test]
    fn picture_id_and_tl0picidx_are_rewritten() {
        let mut payload = [0xa8, 0x81, 0x02, 0x10, 0x07, 0x82];
        let descriptor = Descriptor::parse(&payload).unwrap();
        let numbers = Numbers {
            picture_id: 0x7ffe,
            tl0_picidx: 9,
            keyidx: 0,
        };
        descriptor.rewrite(&mut payload, &numbers).unwrap();
        assert_eq!(payload, [0xa8, 0xff, 0xfe, 0x10, 0x09, 0x82]);
    }

    #[test]
    fn only_the_start_of_an_unpredicted_lowest_layer_is_a_keyframe() {
        assert!(keyframe(&[0x08, 0x00]), "B alone");
        assert!(!keyframe(&[0x00, 0x00]), "continuation");
        assert!(!keyframe(&[0x48, 0x00]), "inter-picture predicted");
        assert!(keyframe(&[0x28, 0x00, 0x00, 0x00]), "SID 0");
        assert!(!keyframe(&[0x28, 0x02, 0x00, 0x00]), "SID 1");
        assert!(!keyframe(&[]));
    }
}
