use super::vp8::PictureId;
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
    /// B: the payload begins a (layer) frame.
    pub start_of_frame: bool,
    /// E: the payload ends a (layer) frame.
    pub end_of_frame: bool,
    /// Z: no higher spatial layer is predicted from this one.
    pub not_reference_for_upper: bool,
    /// V: number of spatial layers, 1..=8, where the scalability structure is there.
    pub spatial_layers: Option<u8>,
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
            start_of_frame: flag(0x08),
            end_of_frame: flag(0x04),
            not_reference_for_upper: flag(0x01),
            spatial_layers: None,
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
            at = skip_reference_indices(payload, at)?;
        }
        if flag(0x02) {
            let (spatial_layers, after) = skip_scalability_structure(payload, at)?;
            descriptor.spatial_layers = Some(spatial_layers);
            at = after;
        }
        if at >= payload.len() {
            return Err(WireError::TooShort);
        }
        descriptor.len = u16::try_from(at).map_err(|_| WireError::BadLength)?;
        Ok(descriptor)
    }
}

/// P_DIFF: up to three, each with an N bit that says whether another follows.
fn skip_reference_indices(payload: &[u8], mut at: usize) -> Result<usize, WireError> {
    for _ in 0..3 {
        let index = u8_at(payload, at).ok_or(WireError::TooShort)?;
        at += 1;
        if index & 0x01 == 0 {
            return Ok(at);
        }
    }
    Err(WireError::TooMany)
}

/// SS (RFC 9628 §4.2.1); returns the number of spatial layers and the offset behind it.
fn skip_scalability_structure(payload: &[u8], at: usize) -> Result<(u8, usize), WireError> {
    let byte = |at| u8_at(payload, at).ok_or(WireError::TooShort);
    let head = byte(at)?;
    let mut at = at + 1;
    let spatial_layers = (head >> 5) + 1;
    if head & 0x10 != 0 {
        // Width and height of each layer.
        at += 4 * usize::from(spatial_layers);
    }
    if head & 0x08 != 0 {
        let pictures = byte(at)?;
        at += 1;
        for _ in 0..pictures {
            let references = (byte(at)? >> 2) & 0x03;
            at += 1 + usize::from(references);
        }
    }
    Ok((spatial_layers, at))
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
        assert_eq!(descriptor.len, 5);
        let layers = descriptor.layers.unwrap();
        assert_eq!(
            (layers.tid, layers.sid, layers.inter_layer_predicted),
            (1, 2, true)
        );
        let four = [0xf8, 0x05, 0x25, 0x03, 0x05, 0x07, 0x02, 0x00];
        assert_eq!(Descriptor::parse(&four), Err(WireError::TooMany));
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
