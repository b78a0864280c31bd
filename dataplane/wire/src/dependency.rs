//! Dependency descriptor: what a frame needs and what needs it, for any codec, as an RTP header extension
//! (AV1 RTP specification, appendix A).
//!
//! A publisher sends a [`Structure`] with each keyframe: the templates that its frames are made after, the decode
//! targets (layers, as a receiver can choose them) and the chains that protect them. A [`Frame`] is read against the
//! structure that is in force. [`rewrite`] makes the descriptor for a viewer that gets some of the targets only.

mod frame;
mod structure;
#[cfg(test)]
mod tests;

pub use frame::{Change, Frame, Mandatory, rewrite};
pub use structure::{Structure, Template};

/// Frame templates of one structure: as many as their six-bit ids can tell apart.
pub const MAX_TEMPLATES: usize = 64;
/// Decode targets of one structure: as many as their five-bit count can say.
pub const MAX_TARGETS: usize = 32;
/// Spatial layers (AV1 specification §6.4.1: two bits of `spatial_id`).
pub const MAX_SPATIAL: usize = 4;
/// Temporal layers (three bits of `temporal_id`).
pub const MAX_TEMPORAL: usize = 8;
/// Frames that one frame is predicted from. AV1 has seven reference frames; the format has no bound.
pub const MAX_REFERENCES: usize = 8;

/// What a frame is to a decode target (`DTI`, A.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indication {
    /// Not part of it.
    NotPresent = 0,
    /// Part of it, and no later frame of it needs this one.
    Discardable = 1,
    /// Part of it, and all that follows of it can be decoded if this frame can.
    Switch = 2,
    /// Part of it, and needed.
    Required = 3,
}

/// An [`Indication`] for each decode target, two bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indications(u64);

impl Indications {
    /// The indication for a target; not present for one that there is not.
    #[must_use]
    pub fn of(self, target: usize) -> Indication {
        if target >= MAX_TARGETS {
            return Indication::NotPresent;
        }
        match (self.0 >> (2 * target)) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    /// Sets the indication for a target, if there can be such a target.
    pub fn set(&mut self, target: usize, indication: Indication) {
        if target < MAX_TARGETS {
            let at = 2 * target;
            self.0 = (self.0 & !(3 << at)) | ((indication as u64) << at);
        }
    }

    /// Reads `count` of them.
    fn read(reader: &mut crate::bits::BitReader<'_>, count: u8) -> Option<Self> {
        let mut all = 0;
        for target in 0..count {
            all |= u64::from(reader.bits(2)?) << (2 * target);
        }
        Some(Self(all))
    }

    fn write(
        self,
        writer: &mut crate::bits::BitWriter<'_>,
        count: u8,
    ) -> Result<(), crate::WireError> {
        (0..usize::from(count)).try_for_each(|target| writer.bits(self.of(target) as u32, 2))
    }
}

/// Differences to the numbers of the frames that a frame is predicted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct References {
    list: [u16; MAX_REFERENCES],
    len: u8,
}

impl References {
    /// Adds one.
    ///
    /// # Errors
    /// [`WireError::TooMany`](crate::WireError::TooMany): there are [`MAX_REFERENCES`] already.
    pub fn push(&mut self, difference: u16) -> Result<(), crate::WireError> {
        let slot = self
            .list
            .get_mut(usize::from(self.len))
            .ok_or(crate::WireError::TooMany)?;
        *slot = difference;
        self.len += 1;
        Ok(())
    }

    /// The differences.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.list.get(..usize::from(self.len)).unwrap_or_default()
    }
}
