//! What a viewer's packets say of themselves, where that is not what the publisher's said: running numbers that go on
//! over switches and over pictures left out, and descriptors of what is left.

use crate::layers::{Layer, LayerSet};
use crate::packet::Packet;
use crate::subscription::Numbers;
use ion_tables::ExtensionKind;
use ion_wire::CodecKind;
use ion_wire::codec::vp8;
use ion_wire::codec::vp9;
use ion_wire::dependency::{self, Change, MAX_TARGETS, Mandatory, Structure};

/// Running numbers of a packet, or what to add to those of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Running {
    pub(crate) payload: vp8::Numbers,
    /// Frame number of the dependency descriptor.
    pub(crate) frame: u16,
}

impl Running {
    /// What to add to `first` so that it follows `self`. With a source's first packet, a keyframe, all of them go up by
    /// one.
    pub(crate) fn offset_to(&self, first: &Self) -> Self {
        let vp8::Numbers {
            picture_id,
            tl0_picidx,
            keyidx,
        } = self.payload;
        let of = &first.payload;
        Self {
            payload: vp8::Numbers {
                picture_id: picture_id.wrapping_add(1).wrapping_sub(of.picture_id),
                tl0_picidx: tl0_picidx.wrapping_add(1).wrapping_sub(of.tl0_picidx),
                keyidx: keyidx.wrapping_add(1).wrapping_sub(of.keyidx),
            },
            frame: self.frame.wrapping_add(1).wrapping_sub(first.frame),
        }
    }

    /// With `offset` added, after so many pictures were left out.
    pub(crate) fn plus(&self, offset: &Self, left_out: u16) -> Self {
        let (of, by) = (&self.payload, &offset.payload);
        let picture_id = of.picture_id.wrapping_add(by.picture_id);
        Self {
            payload: vp8::Numbers {
                picture_id: picture_id.wrapping_sub(left_out),
                tl0_picidx: of.tl0_picidx.wrapping_add(by.tl0_picidx),
                keyidx: of.keyidx.wrapping_add(by.keyidx),
            },
            frame: self.frame.wrapping_add(offset.frame),
        }
    }
}

/// Overwrites the running numbers in a copy of a packet's payload.
pub(crate) fn renumber(codec: CodecKind, payload: &mut [u8], numbers: &vp8::Numbers) {
    // It could be read when it came in; what cannot stays as it is.
    let _ = match codec {
        CodecKind::Vp8 => vp8::Descriptor::parse(payload)
            .and_then(|descriptor| descriptor.rewrite(payload, numbers)),
        CodecKind::Vp9 => vp9::Descriptor::parse(payload)
            .and_then(|descriptor| descriptor.rewrite(payload, numbers)),
        _ => Ok(()),
    };
}

/// Bytes of the longest header extension value (RFC 8285, 4.3).
const MAX_VALUE: usize = 255;

/// A dependency descriptor for one viewer.
pub(crate) struct Descriptor {
    bytes: [u8; MAX_VALUE],
    len: usize,
}

impl Descriptor {
    /// The descriptor of a packet that brings a structure, for a viewer that gets a layer of it only: names the decode
    /// targets that are left. `None` if there is nothing to say.
    #[cold]
    fn narrowed(value: &[u8], frame_number: u16, layer: Layer) -> Option<Self> {
        let structure = Structure::parse(value).ok()??;
        let mut targets = 0;
        for target in 0..MAX_TARGETS.min(usize::from(structure.target_count)) {
            let (spatial, temporal) = structure.layer_of(target);
            let within = LayerSet::within(layer).has(Layer { spatial, temporal });
            targets |= u32::from(within) << target;
        }
        let all = u32::MAX >> (MAX_TARGETS - usize::from(structure.target_count));
        let change = Change {
            frame_number,
            targets: Some(targets).filter(|&targets| targets != all),
        };
        let mut bytes = [0; MAX_VALUE];
        let len = dependency::rewrite(value, &structure, &change, &mut bytes).ok()?;
        Some(Self { bytes, len })
    }

    /// The descriptor of a packet for one viewer; `None` if it is the publisher's, or there is none.
    pub(crate) fn of(packet: &Packet, numbers: &Numbers) -> Option<Self> {
        if !packet.codec.is_video() || numbers.manner.blank {
            return None;
        }
        let value = packet.extension(ExtensionKind::DependencyDescriptor)?;
        let (frame_number, layer) = (numbers.running.frame, numbers.manner.layer);
        let brings_structure = value.get(3).is_some_and(|flags| flags & 0x80 != 0);
        if brings_structure && let Some(narrowed) = Self::narrowed(value, frame_number, layer) {
            return Some(narrowed);
        }
        if frame_number == packet.running.frame {
            return None;
        }
        let mut bytes = [0; MAX_VALUE];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        let number = bytes.get_mut(Mandatory::NUMBER_AT)?;
        number.copy_from_slice(&frame_number.to_be_bytes());
        let len = value.len();
        Some(Self { bytes, len })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The frame number in a packet's dependency descriptor; 0 without one.
pub(crate) fn frame_number(packet: &Packet) -> u16 {
    packet
        .extension(ExtensionKind::DependencyDescriptor)
        .and_then(|value| Mandatory::parse(value).ok())
        .map_or(0, |fields| fields.frame_number)
}
