use super::{Indications, MAX_TARGETS, References, Structure};
use crate::WireError;
use crate::bits::{BitReader, BitWriter};
use crate::bytes::u16_at;

/// Bits of the mandatory fields.
const MANDATORY_BITS: usize = 24;
/// Bits of those and of the flags behind them.
pub(super) const FLAGS_END: usize = MANDATORY_BITS + 5;

/// The fields that every descriptor has (`mandatory_descriptor_fields()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandatory {
    /// First packet of the frame.
    pub start_of_frame: bool,
    /// Last packet of the frame.
    pub end_of_frame: bool,
    /// Template that the frame is made after, 0..=63.
    pub template: u8,
    /// Running number of frames in decoding order, modulo 2^16.
    pub frame_number: u16,
}

impl Mandatory {
    /// Where the frame number stands: these two bytes of a descriptor, big-endian.
    pub const NUMBER_AT: core::ops::Range<usize> = 1..3;

    /// Reads the first three bytes.
    ///
    /// # Errors
    /// [`WireError::TooShort`]: there are fewer.
    pub fn parse(descriptor: &[u8]) -> Result<Self, WireError> {
        let first = *descriptor.first().ok_or(WireError::TooShort)?;
        Ok(Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template: first & 0x3f,
            frame_number: u16_at(descriptor, 1).ok_or(WireError::TooShort)?,
        })
    }
}

/// Flags of the extended fields; all clear in a descriptor of three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flags {
    structure: bool,
    active_targets: bool,
    custom_indications: bool,
    custom_references: bool,
    custom_chains: bool,
}

impl Flags {
    fn parse(descriptor: &[u8]) -> Self {
        let byte = descriptor.get(3).copied().unwrap_or(0);
        Self {
            structure: byte & 0x80 != 0,
            active_targets: byte & 0x40 != 0,
            custom_indications: byte & 0x20 != 0,
            custom_references: byte & 0x10 != 0,
            custom_chains: byte & 0x08 != 0,
        }
    }

    fn write(self, writer: &mut BitWriter<'_>) -> Result<(), WireError> {
        writer.flag(self.structure)?;
        writer.flag(self.active_targets)?;
        writer.flag(self.custom_indications)?;
        writer.flag(self.custom_references)?;
        writer.flag(self.custom_chains)
    }
}

/// What a descriptor says of its frame, with what it leaves to the template filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The fields that every descriptor has.
    pub mandatory: Mandatory,
    /// The descriptor brings the structure that is in force from this frame on.
    pub has_structure: bool,
    /// Decode targets that the publisher goes on with, a bit each, where the descriptor says; a new structure without
    /// says all.
    pub active_targets: Option<u32>,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What the frame is to each decode target.
    pub indications: Indications,
    /// What it is predicted from; differences of 1 to 4,096.
    pub references: References,
    /// Difference to the number of the last frame before it in each chain; 0: it begins the chain.
    pub chains: [u8; MAX_TARGETS],
}

fn all_targets(count: u8) -> u32 {
    1_u32
        .checked_shl(u32::from(count))
        .map_or(u32::MAX, |bit| bit - 1)
}

impl Frame {
    /// Reads a descriptor: the value of the header extension. `structure` is the one that is in force: the descriptor's
    /// own, if it has one ([`Structure::parse`]).
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: it ends within a field.
    /// - [`WireError::BadValue`]: a template that the structure has not.
    /// - [`WireError::TooMany`]: more references than can be.
    pub fn parse(descriptor: &[u8], structure: &Structure) -> Result<Self, WireError> {
        Self::read(descriptor, structure).map(|(frame, _)| frame)
    }

    /// As [`parse`](Self::parse), and where the fields end: the structure, the active targets, all, in bits.
    fn read(descriptor: &[u8], structure: &Structure) -> Result<(Self, Ends), WireError> {
        let mandatory = Mandatory::parse(descriptor)?;
        let flags = Flags::parse(descriptor);
        let template = structure.template(mandatory.template);
        let template = template.ok_or(WireError::BadValue)?;
        let mut frame = Self {
            mandatory,
            has_structure: flags.structure,
            active_targets: flags.structure.then(|| all_targets(structure.target_count)),
            spatial: template.spatial,
            temporal: template.temporal,
            indications: template.indications,
            references: template.references,
            chains: template.chains,
        };
        let mut reader = BitReader::new(descriptor);
        if descriptor.len() == MANDATORY_BITS / 8 {
            return Ok((frame, Ends::default()));
        }
        let short = || WireError::TooShort;
        let structure_bits = if flags.structure { structure.bits } else { 0 };
        let head = FLAGS_END + usize::from(structure_bits);
        reader.skip(head).ok_or_else(short)?;
        if flags.active_targets {
            let targets = reader.bits(u32::from(structure.target_count));
            frame.active_targets = Some(targets.ok_or_else(short)?);
        }
        let active = reader.position();
        if flags.custom_indications {
            let read = Indications::read(&mut reader, structure.target_count);
            frame.indications = read.ok_or_else(short)?;
        }
        if flags.custom_references {
            frame.references = read_references(&mut reader)?;
        }
        if flags.custom_chains {
            let chains = frame.chains.iter_mut();
            for chain in chains.take(usize::from(structure.chain_count)) {
                *chain = reader.byte(8).ok_or_else(short)?;
            }
        }
        let ends = Ends {
            structure: head,
            active,
            all: reader.position(),
        };
        Ok((frame, ends))
    }

    /// Writes the descriptor: with the structure if the frame brings one, with custom fields where it differs from its
    /// template. Returns the length.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`]; [`WireError::BadValue`]: an unknown template, or what a field cannot hold.
    pub fn write(&self, structure: &Structure, out: &mut [u8]) -> Result<usize, WireError> {
        let template = structure.template(self.mandatory.template);
        let template = template.ok_or(WireError::BadValue)?;
        let implied = self
            .has_structure
            .then(|| all_targets(structure.target_count));
        let flags = Flags {
            structure: self.has_structure,
            active_targets: self.active_targets.is_some() && self.active_targets != implied,
            custom_indications: self.indications != template.indications,
            custom_references: self.references != template.references,
            custom_chains: self.chains != template.chains,
        };
        let mut writer = BitWriter::new(out);
        write_mandatory(&mut writer, &self.mandatory)?;
        if flags == Flags::default() {
            return Ok(writer.len());
        }
        flags.write(&mut writer)?;
        if flags.structure {
            structure.write(&mut writer)?;
        }
        if let Some(targets) = self.active_targets.filter(|_| flags.active_targets) {
            writer.bits(targets, u32::from(structure.target_count))?;
        }
        if flags.custom_indications {
            self.indications
                .write(&mut writer, structure.target_count)?;
        }
        if flags.custom_references {
            write_references(&mut writer, &self.references)?;
        }
        if flags.custom_chains {
            let chains = self.chains.iter().take(usize::from(structure.chain_count));
            for &chain in chains {
                writer.bits(u32::from(chain), 8)?;
            }
        }
        Ok(writer.len())
    }
}

/// Where the parts of a descriptor end, in bits; all zero where there are mandatory fields only.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    structure: usize,
    active: usize,
    all: usize,
}

/// `frame_fdiffs()`.
fn read_references(reader: &mut BitReader<'_>) -> Result<References, WireError> {
    let mut references = References::default();
    loop {
        let nibbles = reader.bits(2).ok_or(WireError::TooShort)?;
        if nibbles == 0 {
            return Ok(references);
        }
        let less_one = reader.bits(4 * nibbles).ok_or(WireError::TooShort)?;
        references.push(u16::try_from(less_one + 1).map_err(|_| WireError::BadValue)?)?;
    }
}

fn write_references(writer: &mut BitWriter<'_>, references: &References) -> Result<(), WireError> {
    for &difference in references.as_slice() {
        let less_one = u32::from(difference.checked_sub(1).ok_or(WireError::BadValue)?);
        let nibbles = match less_one {
            0..=0xf => 1,
            0x10..=0xff => 2,
            0x100..=0xfff => 3,
            _ => return Err(WireError::BadValue),
        };
        writer.bits(nibbles, 2)?;
        writer.bits(less_one, 4 * nibbles)?;
    }
    writer.bits(0, 2)
}

fn write_mandatory(writer: &mut BitWriter<'_>, fields: &Mandatory) -> Result<(), WireError> {
    writer.flag(fields.start_of_frame)?;
    writer.flag(fields.end_of_frame)?;
    writer.bits(u32::from(fields.template), 6)?;
    writer.bits(u32::from(fields.frame_number), 16)
}

/// What is to be different in the descriptor for a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The frame's number.
    pub frame_number: u16,
    /// Decode targets that the viewer gets, if it is to be told; others are cleared from those that the publisher
    /// goes on with.
    pub targets: Option<u32>,
}

/// Writes a descriptor as a viewer is to get it. Returns the length, which is at most four more than it was, or five
/// where there were mandatory fields only.
///
/// `structure` is the one in force, as for [`Frame::parse`].
///
/// # Errors
/// As [`Frame::parse`], and [`WireError::BufferTooSmall`].
pub fn rewrite(
    descriptor: &[u8],
    structure: &Structure,
    change: &Change,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let (frame, ends) = Frame::read(descriptor, structure)?;
    let mandatory = Mandatory {
        frame_number: change.frame_number,
        ..frame.mandatory
    };
    let mut writer = BitWriter::new(out);
    write_mandatory(&mut writer, &mandatory)?;
    let told = frame.active_targets;
    let targets = match (told, change.targets) {
        (told, None) => told.filter(|_| Flags::parse(descriptor).active_targets),
        (told, Some(targets)) => Some(told.unwrap_or(u32::MAX) & targets),
    };
    let flags = Flags {
        active_targets: targets.is_some(),
        ..Flags::parse(descriptor)
    };
    if flags == Flags::default() && ends.all == 0 {
        return Ok(writer.len());
    }
    flags.write(&mut writer)?;
    let mut reader = BitReader::new(descriptor);
    if ends.all > 0 {
        reader.skip(FLAGS_END).ok_or(WireError::TooShort)?;
        writer.copy(&mut reader, ends.structure - FLAGS_END)?;
        reader
            .skip(ends.active - ends.structure)
            .ok_or(WireError::TooShort)?;
    }
    if let Some(targets) = targets {
        writer.bits(targets, u32::from(structure.target_count))?;
    }
    writer.copy(&mut reader, ends.all - ends.active)?;
    Ok(writer.len())
}
