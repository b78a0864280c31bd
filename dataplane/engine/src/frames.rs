//! Reads what packets of an encoding say of layers, whatever way the codec says it, into one form: [`Frame`].
//!
//! Done once, where the packet comes in; all viewers' selections are made from the result.

use crate::layers::{Frame, Layer, LayerSet};
use crate::limits::LAYER_SILENT_US;
use crate::packet::Packet;
use crate::time::Micros;
use dependency_reader::DependencyReader;
use ion_tables::ExtensionKind;
use ion_wire::codec::vp8::Numbers;
use ion_wire::codec::{self, h265, vp8, vp9};
use ion_wire::dependency::References;
use ion_wire::{CodecKind, WireError, seq};

mod dependency_reader;

/// A frame number never gets below this: differences can be taken without fear.
const FIRST_NUMBER: u64 = 1 << 20;
const SPATIAL: usize = 8;
const TEMPORAL: usize = 8;

/// What a packet is, besides its place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Said {
    /// `None`: it says nothing of layers.
    pub(crate) frame: Option<Frame>,
    /// A keyframe begins here.
    pub(crate) keyframe: bool,
    /// Running numbers of its payload descriptor, zero where there are none.
    pub(crate) numbers: Numbers,
}

/// When a frame of each spatial layer last came.
#[derive(Debug, Clone, Copy, Default)]
struct SpatialLayers([Option<Micros>; SPATIAL]);

impl SpatialLayers {
    fn came(&mut self, now: Micros, spatial: u8) {
        if let Some(seen) = self.0.get_mut(usize::from(spatial)) {
            *seen = Some(now);
        }
    }

    /// Whether a layer comes, measured by those that do: a publisher that pauses has lost none.
    fn is_live(&self, spatial: u8) -> bool {
        let newest = self.0.iter().flatten().max();
        let seen = self.0.get(usize::from(spatial)).copied().flatten();
        let since = newest.zip(seen).map(|(newest, seen)| newest.since(seen));
        since.is_some_and(|since| since <= LAYER_SILENT_US)
    }

    /// With a keyframe come so many layers, or all that came before. One that had fallen silent must come first.
    fn keyframe(&mut self, now: Micros, announced: Option<usize>) {
        let before = *self;
        for (spatial, seen) in (0_u8..).zip(&mut self.0) {
            let there = announced.map_or(seen.is_some(), |count| usize::from(spatial) < count);
            if !there {
                *seen = None;
            } else if seen.is_none() || before.is_live(spatial) {
                *seen = Some(now);
            }
        }
    }

    /// The highest that is live.
    fn top(&self) -> u8 {
        (0..8)
            .rev()
            .find(|&spatial| self.is_live(spatial))
            .unwrap_or(0)
    }
}

/// What one encoding's frames were like.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// Number of the newest picture, extended; 0 before the first.
    picture: u64,
    /// Numbers of the newest frame of each spatial and temporal layer since the keyframe; 0 is none.
    last: [[u64; TEMPORAL]; SPATIAL],
    seen: SpatialLayers,
    /// Timestamps of recent pictures, for codecs that do not number them.
    pictures: [(u32, u64); 8],
    /// H.265 has said that there are temporal layers.
    temporal: bool,
    dependency: Option<Box<DependencyReader>>,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            picture: 0,
            last: [[0; TEMPORAL]; SPATIAL],
            seen: SpatialLayers::default(),
            pictures: [(0, 0); 8],
            temporal: false,
            dependency: None,
        }
    }

    /// Dependency descriptors are to be expected. Allocates.
    pub(crate) fn expect_dependency(&mut self) {
        self.dependency
            .get_or_insert_with(|| Box::new(DependencyReader::new()));
    }

    /// Another stream begins under the same encoding: what comes has nothing to do with what was before.
    pub(crate) fn restart(&mut self) {
        self.picture = 0;
        self.last = [[0; TEMPORAL]; SPATIAL];
        self.seen = SpatialLayers::default();
        self.pictures = [(0, 0); 8];
        self.temporal = false;
        if let Some(dependency) = &mut self.dependency {
            dependency.restart();
        }
    }

    /// Reads a packet of video.
    ///
    /// # Errors
    /// A descriptor that cannot be read or contradicts what came before.
    pub(crate) fn read(&mut self, codec: CodecKind, packet: &Packet) -> Result<Said, WireError> {
        let (now, payload) = (packet.arrival, packet.payload());
        let keyframe = codec::keyframe(codec, payload);
        let said = Said {
            keyframe,
            ..Said::default()
        };
        match codec {
            CodecKind::Vp8 => self.vp8(payload, said),
            CodecKind::Vp9 => self.vp9(now, payload, said),
            _ => {
                let descriptor = packet.extension(ExtensionKind::DependencyDescriptor);
                let frame = match self.dependency.as_deref_mut().zip(descriptor) {
                    Some((reader, descriptor)) => reader.read(now, descriptor)?,
                    None if codec == CodecKind::H265 => {
                        self.h265(payload, keyframe, packet.timestamp)
                    }
                    None => None,
                };
                Ok(Said { frame, ..said })
            }
        }
    }

    /// The number of the picture with an id of `bits` bits.
    fn number_of(&mut self, id: u16, long: bool) -> u64 {
        let space = if long { 1 << 15 } else { 1 << 7 };
        let number = if self.picture == 0 {
            FIRST_NUMBER + u64::from(id)
        } else {
            // The nearest to the newest, before or behind it.
            let behind = u64::from(id).wrapping_sub(self.picture) & (space - 1);
            let number = self.picture + behind;
            if behind > space / 2 {
                number - space
            } else {
                number
            }
        };
        self.picture = self.picture.max(number);
        number
    }

    fn vp8(&mut self, payload: &[u8], said: Said) -> Result<Said, WireError> {
        let descriptor = vp8::Descriptor::parse(payload)?;
        let numbers = Numbers {
            picture_id: descriptor.picture_id.map_or(0, |id| id.value),
            tl0_picidx: descriptor.tl0_picidx.unwrap_or(0),
            keyidx: descriptor.keyidx.unwrap_or(0),
        };
        let (Some(id), Some(tid)) = (descriptor.picture_id, descriptor.tid) else {
            return Ok(Said { numbers, ..said });
        };
        let layer = Layer {
            spatial: 0,
            temporal: tid,
        };
        let number = self.number_of(id.value, id.long);
        let mut frame = Frame {
            number,
            layer,
            part_of: LayerSet::from(layer),
            begins: LayerSet::default(),
            active: LayerSet::of_spatial(0),
            references: References::default(),
            ends: false,
        };
        let [temporals, ..] = &mut self.last;
        if said.keyframe {
            frame.begins = LayerSet::ALL;
            *temporals = [0; TEMPORAL];
        } else if descriptor.layer_sync && tid > 0 {
            // It depends on the base layer only; those between are joined one after the other.
            frame.begins = frame.begins.with(layer);
            let below = usize::from(tid) - 1;
            for &last in [temporals[0], temporals[below]]
                .iter()
                .filter(|&&last| last > 0)
            {
                refer(&mut frame.references, number, last)?;
            }
        }
        let newest = &mut temporals[usize::from(tid)];
        *newest = (*newest).max(number);
        Ok(Said {
            frame: Some(frame),
            numbers,
            ..said
        })
    }

    fn vp9(&mut self, now: Micros, payload: &[u8], said: Said) -> Result<Said, WireError> {
        let descriptor = vp9::Descriptor::parse(payload)?;
        let numbers = Numbers {
            picture_id: descriptor.picture_id.map_or(0, |id| id.value),
            tl0_picidx: descriptor.tl0_picidx.unwrap_or(0),
            keyidx: 0,
        };
        let (Some(id), Some(layers)) = (descriptor.picture_id, descriptor.layers) else {
            return Ok(Said { numbers, ..said });
        };
        if descriptor
            .spatial_layers
            .is_some_and(|count| count <= layers.sid)
        {
            return Err(WireError::BadValue);
        }
        let key_picture = !descriptor.inter_picture_predicted && layers.sid == 0;
        let number = self.number_of(id.value, id.long) * SPATIAL as u64 + u64::from(layers.sid);
        if key_picture && self.last[0][0] < number {
            self.last = [[0; TEMPORAL]; SPATIAL];
            let announced = descriptor.spatial_layers.map(usize::from);
            self.seen.keyframe(now, announced);
        }
        let layer = Layer {
            spatial: layers.sid,
            temporal: layers.tid,
        };
        self.seen.came(now, layers.sid);
        let part_of = LayerSet::from(layer);
        let of_spatial = LayerSet::of_spatial(layers.sid);
        let mut frame = Frame {
            number,
            layer,
            part_of: if descriptor.not_reference_for_upper {
                part_of.and(of_spatial)
            } else {
                part_of
            },
            begins: LayerSet::default(),
            active: LayerSet::within(Layer {
                spatial: self.seen.top(),
                ..Layer::TOP
            }),
            references: References::default(),
            ends: descriptor.end_of_frame,
        };
        if key_picture {
            frame.begins = LayerSet::ALL;
        } else {
            self.vp9_references(&descriptor, layers, number, &mut frame.references)?;
            let below = usize::from(layers.tid).checked_sub(1);
            if !descriptor.inter_picture_predicted || (layers.switching_up && below.is_none()) {
                frame.begins = part_of.and(of_spatial);
            } else if let Some(below) = below.filter(|_| layers.switching_up) {
                // Senders set U on what is predicted from lower layers only: it is joined by who has those.
                frame.begins = frame.begins.with(layer);
                let last = self.last[usize::from(layers.sid)][below];
                if last > 0 {
                    refer(&mut frame.references, number, last)?;
                }
            }
        }
        let newest = &mut self.last[usize::from(layers.sid)][usize::from(layers.tid)];
        *newest = (*newest).max(number);
        Ok(Said {
            frame: Some(frame),
            numbers,
            ..said
        })
    }

    /// What a VP9 frame is predicted from: as it says, or else the newest that it can be predicted from.
    fn vp9_references(
        &self,
        descriptor: &vp9::Descriptor,
        layers: vp9::LayerIndices,
        number: u64,
        references: &mut References,
    ) -> Result<(), WireError> {
        if layers.inter_layer_predicted && layers.sid > 0 {
            references.push(1)?;
        }
        if !descriptor.inter_picture_predicted {
            return Ok(());
        }
        if descriptor.flexible {
            let differences = descriptor.references.iter().filter(|&&d| d > 0);
            return differences
                .map(|&difference| u16::from(difference) << SPATIAL.ilog2())
                .try_for_each(|difference| references.push(difference));
        }
        let below = self.last[usize::from(layers.sid)].iter();
        let before = below
            .take(usize::from(layers.tid) + 1)
            .filter(|&&last| last < number)
            .max();
        match before {
            Some(&last) if last > 0 => refer(references, number, last),
            // Of what it is predicted from, nothing has been seen.
            _ => references.push(u16::MAX),
        }
    }

    fn h265(&mut self, payload: &[u8], keyframe: bool, timestamp: u32) -> Option<Frame> {
        let said = h265::temporal_layer(payload)?;
        self.temporal |= said.tid > 0;
        let number = self.number_at(timestamp);
        if !self.temporal {
            return None;
        }
        let layer = Layer {
            spatial: 0,
            temporal: said.tid,
        };
        let mut references = References::default();
        let begins = if keyframe {
            LayerSet::ALL
        } else if said.switching_up && said.tid > 0 {
            // By who has the layer below.
            let [temporals, ..] = &self.last;
            let below = temporals[usize::from(said.tid) - 1];
            if below > 0 {
                refer(&mut references, number, below).ok()?;
            }
            LayerSet::default().with(layer)
        } else {
            LayerSet::default()
        };
        let newest = &mut self.last[0][usize::from(said.tid)];
        *newest = (*newest).max(number);
        Some(Frame {
            number,
            layer,
            part_of: LayerSet::from(layer),
            begins,
            active: LayerSet::of_spatial(0),
            references,
            ends: false,
        })
    }

    /// The number of the picture with a timestamp; one too old to be known counts as just as old.
    fn number_at(&mut self, timestamp: u32) -> u64 {
        let known = self
            .pictures
            .iter()
            .find(|(at, number)| *number > 0 && *at == timestamp);
        if let Some(&(_, number)) = known {
            return number;
        }
        let newest = self.pictures[self.pictures.len() - 1];
        if newest.1 > 0 && !seq::newer_timestamp(timestamp, newest.0) {
            return newest.1 - 8;
        }
        let number = newest.1.max(FIRST_NUMBER) + 1;
        self.pictures.rotate_left(1);
        self.pictures[7] = (timestamp, number);
        number
    }
}

/// Adds a reference to a frame that came before; one too far away to be told of is none that anybody has.
fn refer(references: &mut References, number: u64, before: u64) -> Result<(), WireError> {
    let difference = number.saturating_sub(before);
    references.push(u16::try_from(difference).unwrap_or(u16::MAX).max(1))
}
