//! A publisher whose encoder makes pictures of layers, and knows what each frame depends on.

use crate::harness::*;
use ion_tables::{EncodingConfig, ExtensionKind};
use ion_wire::CodecKind;
use ion_wire::dependency::{self, Indication, Mandatory, Structure, Template};
use std::collections::BTreeMap;

/// How layers depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Spatial layers are predicted from those below with every picture.
    Full,
    /// With keyframes only (`_KEY`).
    Key,
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub codec: CodecKind,
    pub spatial: u8,
    pub temporal: u8,
    pub mode: Mode,
}

pub const fn shape(codec: CodecKind, spatial: u8, temporal: u8, mode: Mode) -> Shape {
    Shape {
        codec,
        spatial,
        temporal,
        mode,
    }
}

/// A frame as it was made: one spatial layer of a picture.
#[derive(Debug, Clone)]
pub struct Made {
    pub picture: u64,
    pub spatial: u8,
    pub temporal: u8,
    pub key: bool,
    /// Frames that it is predicted from, by number.
    pub references: Vec<u64>,
    /// Sequence numbers, extended.
    pub packets: std::ops::Range<u64>,
}

pub struct Encoder {
    pub shape: Shape,
    pub ssrc: u32,
    pub next_index: u64,
    pub made: Vec<Made>,
    /// Requests for keyframes that it has answered.
    pub answered: usize,
    /// Spatial layers that it says there are.
    pub announced: u8,
    /// Pictures before the first one, so that ids wrap.
    first_picture: u64,
    picture: u64,
    since_key: u64,
    tl0: u8,
    keyidx: u8,
    /// Whether temporal layers begin anew in this cycle.
    sync: bool,
    last: BTreeMap<(u8, u8), u64>,
    /// Newest frame of each chain.
    chains: BTreeMap<u8, u64>,
    /// Chain differences of the frame that is being written.
    described: [u8; dependency::MAX_TARGETS],
}

pub const TICKS: u32 = 3_000;

impl Encoder {
    pub fn new(shape: Shape, ssrc: u32, next_index: u64, first_picture: u64) -> Self {
        Self {
            shape,
            ssrc,
            next_index,
            made: Vec::new(),
            answered: 0,
            announced: shape.spatial,
            first_picture,
            picture: 0,
            since_key: 0,
            tl0: 250,
            keyidx: 30,
            sync: true,
            last: BTreeMap::new(),
            chains: BTreeMap::new(),
            described: [0; dependency::MAX_TARGETS],
        }
    }

    /// The row of an encoding of this shape.
    pub fn configure(&self, config: &mut EncodingConfig) {
        config.codec = self.shape.codec.into();
        config.ssrc = self.ssrc;
    }

    pub fn timestamp(&self, picture: u64) -> u32 {
        u32::MAX
            .wrapping_sub(40 * TICKS)
            .wrapping_add(picture as u32 * TICKS)
    }

    fn temporal_of(&self) -> u8 {
        match (self.shape.temporal, self.since_key % 4) {
            (1, _) | (_, 0) => 0,
            (2, n) => (n % 2) as u8,
            (_, 2) => 1,
            _ => 2,
        }
    }

    /// The packets of the next picture. `sync`: temporal layers do not reach back behind this base layer picture.
    pub fn picture(&mut self, key: bool, sync: bool, parts: u64) -> Vec<Rtp> {
        let key = key || self.picture == 0;
        if key {
            self.since_key = 0;
            self.last.clear();
            self.keyidx = (self.keyidx + 1) % 32;
        }
        let temporal = self.temporal_of();
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
            self.sync = sync || key;
        }
        let mut packets = Vec::new();
        for spatial in 0..self.shape.spatial {
            let number = self.made.len() as u64;
            let references = self.references(spatial, temporal, key, number);
            let frame = Made {
                picture: self.picture,
                spatial,
                temporal,
                key,
                references,
                packets: self.next_index..self.next_index + parts,
            };
            self.write(&frame, number, &mut packets);
            self.next_index += parts;
            self.made.push(frame);
            self.last.insert((spatial, temporal), number);
        }
        if let Some(last) = packets.last_mut() {
            last.marker = true;
        }
        self.picture += 1;
        self.since_key += 1;
        packets
    }

    fn references(&self, spatial: u8, temporal: u8, key: bool, number: u64) -> Vec<u64> {
        let mut references = Vec::new();
        if spatial > 0 && (key || self.shape.mode == Mode::Full) {
            references.push(number - 1);
        }
        if key {
            return references;
        }
        let of = |temporal| self.last.get(&(spatial, temporal)).copied();
        // T0 after T0; T1 after T0; T2 after the newest below it.
        let below = (0..temporal).filter_map(of).max();
        references.extend(if temporal == 0 { of(0) } else { below });
        if temporal > 0 && !self.sync {
            // And after the one before it in its own layer.
            references.extend(of(temporal));
        }
        references
    }

    /// Whether a temporal layer may be joined at this frame by who has the one below.
    fn joins(&self, frame: &Made) -> bool {
        let second = frame.temporal == 2 && self.since_key % 4 == 3;
        self.sync && !second
    }

    fn write(&mut self, frame: &Made, number: u64, packets: &mut Vec<Rtp>) {
        let parts = frame.packets.end - frame.packets.start;
        let mut descriptor = Vec::new();
        if self.shape.codec == CodecKind::Av1 {
            descriptor = self.describe(frame, number);
        }
        for (part, index) in frame.packets.clone().enumerate() {
            let (first, last) = (part == 0, part as u64 + 1 == parts);
            let mut payload = match self.shape.codec {
                CodecKind::Vp8 => self.vp8(frame, first),
                CodecKind::Vp9 => self.vp9(frame, first, last),
                _ => vec![
                    if first && frame.key && frame.spatial == 0 {
                        0x18
                    } else {
                        0x10
                    },
                    0x30,
                ],
            };
            payload.extend(number.to_be_bytes());
            payload.push(part as u8);
            let timestamp = self.timestamp(frame.picture);
            let mut packet =
                Rtp::new(self.ssrc, VP8, index, timestamp, &payload).with(ExtensionKind::Mid, b"1");
            if !descriptor.is_empty() {
                let mut value = if first {
                    descriptor.clone()
                } else {
                    self.descriptor(frame, number, self.described, false)
                };
                value[0] = (value[0] & 0x3f) | u8::from(first) << 7 | u8::from(last) << 6;
                packet = packet.with(ExtensionKind::DependencyDescriptor, &value);
            }
            packets.push(packet);
        }
    }

    fn id(&self, frame: &Made) -> [u8; 2] {
        let id = ((self.first_picture + frame.picture) % (1 << 15)) as u16;
        (id | 0x8000).to_be_bytes()
    }

    fn vp8(&self, frame: &Made, first: bool) -> Vec<u8> {
        let [high, low] = self.id(frame);
        let joins = frame.temporal > 0 && self.joins(frame);
        let layers = frame.temporal << 6 | u8::from(joins) << 5 | self.keyidx;
        vec![
            0x80 | u8::from(first) << 4,
            0xf0,
            high,
            low,
            self.tl0,
            layers,
            u8::from(!frame.key),
        ]
    }

    fn vp9(&self, frame: &Made, first: bool, last: bool) -> Vec<u8> {
        let [high, low] = self.id(frame);
        let (full, top) = (
            self.shape.mode == Mode::Full,
            frame.spatial + 1 == self.shape.spatial,
        );
        let upper = top || !(full || frame.key);
        let structure = frame.key && frame.spatial == 0 && first;
        let flags = 0xa0
            | u8::from(!frame.key) << 6
            | u8::from(first) << 3
            | u8::from(last) << 2
            | u8::from(structure) << 1
            | u8::from(upper);
        // Set where it is predicted from lower layers only, as browsers do; by some also on the base layer, where
        // nothing after it reaches back behind it.
        let up = self.sync && (frame.temporal > 0 || full);
        let inter = frame.spatial > 0 && (full || frame.key);
        let layers = frame.temporal << 5 | u8::from(up) << 4 | frame.spatial << 1 | u8::from(inter);
        let mut payload = vec![flags, high, low, layers, self.tl0];
        if structure {
            payload.push((self.announced - 1) << 5);
        }
        payload.push(0);
        payload
    }

    /// Decode targets: spatial times temporal, in order.
    fn structure(&self) -> Structure {
        let mut templates = Vec::new();
        for spatial in 0..self.announced {
            for temporal in 0..self.shape.temporal {
                let mut template = Template {
                    spatial,
                    temporal,
                    ..Template::default()
                };
                // Which targets a layer can be part of; each frame says what it is itself.
                for target in 0..self.targets() {
                    let (s, t) = (target / self.shape.temporal, target % self.shape.temporal);
                    if s >= spatial && t >= temporal {
                        template
                            .indications
                            .set(target.into(), Indication::Required);
                    }
                }
                templates.push(template);
            }
        }
        let mut protected = [0; dependency::MAX_TARGETS];
        for target in 0..self.targets() {
            protected[usize::from(target)] = target / self.shape.temporal;
        }
        Structure::new(60, self.targets(), self.announced, protected, &templates).unwrap()
    }

    fn targets(&self) -> u8 {
        self.announced * self.shape.temporal
    }

    fn number(&self, number: u64) -> u16 {
        (65_500 + number) as u16
    }

    fn describe(&mut self, frame: &Made, number: u64) -> Vec<u8> {
        let chains = self.chain_differences(frame, number);
        let written = self.descriptor(frame, number, chains, true);
        // The frame is now the newest of the chains that it is of.
        for spatial in 0..self.announced {
            let below = frame.spatial < spatial && (frame.key || self.shape.mode == Mode::Full);
            if frame.temporal == 0 && (frame.spatial == spatial || below) {
                self.chains.insert(spatial, number);
            }
        }
        self.described = chains;
        written
    }

    fn chain_differences(&self, frame: &Made, number: u64) -> [u8; dependency::MAX_TARGETS] {
        let mut chains = [0; dependency::MAX_TARGETS];
        for spatial in 0..self.announced {
            let begins = frame.key && frame.spatial == 0;
            if let Some(last) = self.chains.get(&spatial).filter(|_| !begins) {
                chains[usize::from(spatial)] = u8::try_from(number - last).unwrap();
            }
        }
        chains
    }

    fn descriptor(&self, frame: &Made, number: u64, chains: [u8; 32], first: bool) -> Vec<u8> {
        let structure = self.structure();
        let mut indications = dependency::Indications::default();
        for target in 0..self.targets() {
            let (s, t) = (target / self.shape.temporal, target % self.shape.temporal);
            indications.set(target.into(), self.indication(frame, s, t));
        }
        let mut references = dependency::References::default();
        for reference in &frame.references {
            references
                .push(u16::try_from(number - reference).unwrap())
                .unwrap();
        }
        let place = frame.spatial * self.shape.temporal + frame.temporal;
        let written = dependency::Frame {
            mandatory: Mandatory {
                start_of_frame: first,
                end_of_frame: false,
                template: (60 + place) % 64,
                frame_number: self.number(number),
            },
            has_structure: first && frame.key && frame.spatial == 0,
            active_targets: None,
            spatial: frame.spatial,
            temporal: frame.temporal,
            indications,
            references,
            chains,
        };
        let mut buf = [0; 255];
        let len = written.write(&structure, &mut buf).unwrap();
        buf[..len].to_vec()
    }

    fn indication(&self, frame: &Made, s: u8, t: u8) -> Indication {
        let apart = self.shape.mode == Mode::Key && !frame.key;
        if s < frame.spatial || t < frame.temporal || (apart && s != frame.spatial) {
            Indication::NotPresent
        } else if frame.key || (s == frame.spatial && frame.temporal == 0 && (t == 0 || self.sync))
        {
            Indication::Switch
        } else {
            Indication::Required
        }
    }
}

/// Which frame a payload is of, and which part.
pub fn tag(payload: &[u8]) -> Option<(u64, u8)> {
    let (rest, part) = payload.split_at_checked(payload.len().checked_sub(1)?)?;
    let number = rest.last_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), part[0]))
}
