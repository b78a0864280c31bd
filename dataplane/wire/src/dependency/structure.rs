use super::{
    Indication, Indications, MAX_SPATIAL, MAX_TARGETS, MAX_TEMPLATES, MAX_TEMPORAL, References,
};
use crate::WireError;
use crate::bits::{BitReader, BitWriter};

/// What frames of one kind have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Template {
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What such a frame is to each decode target.
    pub indications: Indications,
    /// What it is predicted from; differences of 1 to 16.
    pub references: References,
    /// Difference to the number of the last frame before it in each chain, 0..=15; 0: it begins the chain.
    pub chains: [u8; MAX_TARGETS],
}

/// Template dependency structure (A.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// Id of the first template; the others follow, modulo 64.
    pub first_template: u8,
    /// Decode targets, 1..=32.
    pub target_count: u8,
    /// Chains, at most as many as targets.
    pub chain_count: u8,
    /// The chain that protects each target.
    pub protected_by: [u8; MAX_TARGETS],
    /// Width and height of each spatial layer, where they are said.
    resolutions: Option<[(u16, u16); MAX_SPATIAL]>,
    templates: [Template; MAX_TEMPLATES],
    template_count: u8,
    /// Bits that it takes in a descriptor.
    pub(super) bits: u16,
}

impl Structure {
    /// A structure of these templates, in the order of their ids.
    ///
    /// # Errors
    /// - [`WireError::TooMany`]: more than 64 templates, 32 targets, or chains than targets.
    /// - [`WireError::BadValue`]: no template or target; a layer that cannot be; templates that are not in the order of
    ///   their layers, or a protecting chain that there is not.
    pub fn new(
        first_template: u8,
        target_count: u8,
        chain_count: u8,
        protected_by: [u8; MAX_TARGETS],
        templates: &[Template],
    ) -> Result<Self, WireError> {
        let mut structure = Self::empty(first_template & 0x3f, target_count);
        if usize::from(target_count) > MAX_TARGETS || chain_count > target_count {
            return Err(WireError::TooMany);
        }
        structure.chain_count = chain_count;
        structure.protected_by = protected_by;
        let protected = protected_by.get(..usize::from(target_count));
        let chained = |chains: &[u8]| chains.iter().all(|&chain| chain < chain_count);
        if templates.is_empty()
            || target_count == 0
            || (chain_count > 0 && !protected.is_some_and(chained))
        {
            return Err(WireError::BadValue);
        }
        let mut before = (0, 0);
        for &template in templates {
            next_layer(before, (template.spatial, template.temporal))?;
            before = (template.spatial, template.temporal);
            structure.push(template)?;
        }
        structure.bits = structure.measure()?;
        Ok(structure)
    }

    fn empty(first_template: u8, target_count: u8) -> Self {
        Self {
            first_template,
            target_count,
            chain_count: 0,
            protected_by: [0; MAX_TARGETS],
            resolutions: None,
            templates: [Template::default(); MAX_TEMPLATES],
            template_count: 0,
            bits: 0,
        }
    }

    fn push(&mut self, template: Template) -> Result<(), WireError> {
        let place = usize::from(self.template_count);
        *self.templates.get_mut(place).ok_or(WireError::TooMany)? = template;
        self.template_count += 1;
        Ok(())
    }

    /// The structure in a descriptor, if it has one.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: the descriptor ends within it.
    /// - [`WireError::TooMany`]: more templates or references than can be.
    /// - [`WireError::BadValue`]: a layer that cannot be.
    pub fn parse(descriptor: &[u8]) -> Result<Option<Self>, WireError> {
        let present = descriptor.get(3).is_some_and(|flags| flags & 0x80 != 0);
        if !present {
            return Ok(None);
        }
        let mut reader = BitReader::new(descriptor);
        reader
            .skip(super::frame::FLAGS_END)
            .ok_or(WireError::TooShort)?;
        Self::read(&mut reader).map(Some)
    }

    fn read(reader: &mut BitReader<'_>) -> Result<Self, WireError> {
        let start = reader.position();
        let short = || WireError::TooShort;
        let first_template = reader.byte(6).ok_or_else(short)?;
        let target_count = reader.byte(5).ok_or_else(short)? + 1;
        let mut structure = Self::empty(first_template, target_count);
        structure.read_layers(reader)?;
        structure.read_templates(reader)?;
        structure.read_chains(reader).ok_or_else(short)?;
        if reader.flag().ok_or_else(short)? {
            structure.resolutions = Some(structure.read_resolutions(reader).ok_or_else(short)?);
        }
        let bits = reader.position() - start;
        structure.bits = u16::try_from(bits).map_err(|_| WireError::BadLength)?;
        Ok(structure)
    }

    /// `template_layers()`.
    fn read_layers(&mut self, reader: &mut BitReader<'_>) -> Result<(), WireError> {
        let (mut spatial, mut temporal) = (0_u8, 0_u8);
        loop {
            if usize::from(spatial) >= MAX_SPATIAL || usize::from(temporal) >= MAX_TEMPORAL {
                return Err(WireError::BadValue);
            }
            self.push(Template {
                spatial,
                temporal,
                ..Template::default()
            })?;
            match reader.bits(2).ok_or(WireError::TooShort)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
        }
    }

    /// `template_dtis()` and `template_fdiffs()`.
    fn read_templates(&mut self, reader: &mut BitReader<'_>) -> Result<(), WireError> {
        let (count, targets) = (usize::from(self.template_count), self.target_count);
        let templates = self.templates.get_mut(..count).unwrap_or_default();
        for template in &mut *templates {
            let read = Indications::read(reader, targets);
            template.indications = read.ok_or(WireError::TooShort)?;
        }
        for template in templates {
            while reader.flag().ok_or(WireError::TooShort)? {
                let less_one = reader.bits(4).ok_or(WireError::TooShort)?;
                let difference = u16::try_from(less_one + 1).unwrap_or(u16::MAX);
                template.references.push(difference)?;
            }
        }
        Ok(())
    }

    /// `template_chains()`.
    fn read_chains(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        let targets = self.target_count;
        let chains = reader.below(u32::from(targets) + 1)?;
        self.chain_count = u8::try_from(chains).ok()?;
        if chains == 0 {
            return Some(());
        }
        for target in self.protected_by.get_mut(..usize::from(targets))? {
            *target = u8::try_from(reader.below(chains)?).ok()?;
        }
        let count = usize::from(self.template_count);
        for template in self.templates.get_mut(..count)? {
            for chain in template.chains.get_mut(..usize::from(self.chain_count))? {
                *chain = reader.byte(4)?;
            }
        }
        Some(())
    }

    /// `render_resolutions()`.
    fn read_resolutions(&self, reader: &mut BitReader<'_>) -> Option<[(u16, u16); MAX_SPATIAL]> {
        let mut resolutions = [(0, 0); MAX_SPATIAL];
        for resolution in resolutions.get_mut(..self.spatial_layers())? {
            let mut side = || u16::try_from(reader.bits(16)?.saturating_add(1).min(0xffff)).ok();
            *resolution = (side()?, side()?);
        }
        Some(resolutions)
    }

    /// The templates, in the order of their ids.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        let count = usize::from(self.template_count);
        self.templates.get(..count).unwrap_or_default()
    }

    /// The same with the width and height of each spatial layer, at least 1.
    ///
    /// # Errors
    /// [`WireError::BadLength`]: it becomes too large.
    pub fn with_resolutions(mut self, sizes: [(u16, u16); MAX_SPATIAL]) -> Result<Self, WireError> {
        self.resolutions = Some(sizes);
        self.bits = self.measure()?;
        Ok(self)
    }

    /// Width and height of each spatial layer; none where they are not said.
    pub fn resolutions(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let sizes = self.resolutions.iter().flatten().copied();
        sizes.take(self.spatial_layers())
    }

    /// The template of an id.
    #[must_use]
    pub fn template(&self, id: u8) -> Option<&Template> {
        let place = id.wrapping_sub(self.first_template) & 0x3f;
        self.templates().get(usize::from(place))
    }

    /// Spatial layers, 1..=4.
    #[must_use]
    pub fn spatial_layers(&self) -> usize {
        let last = self.templates().last();
        last.map_or(1, |template| usize::from(template.spatial) + 1)
    }

    /// The layer of a decode target: the highest spatial and the highest temporal one of its frames
    /// (`decode_target_layers()`).
    #[must_use]
    pub fn layer_of(&self, target: usize) -> (u8, u8) {
        let mut layer = (0, 0);
        for template in self.templates() {
            if template.indications.of(target) != Indication::NotPresent {
                layer = (
                    layer.0.max(template.spatial),
                    layer.1.max(template.temporal),
                );
            }
        }
        layer
    }

    /// Writes it as it stands in a descriptor.
    pub(super) fn write(&self, writer: &mut BitWriter<'_>) -> Result<(), WireError> {
        writer.bits(u32::from(self.first_template), 6)?;
        writer.bits(u32::from(self.target_count) - 1, 5)?;
        let mut rest = self.templates().iter();
        let mut before = rest.next().ok_or(WireError::BadValue)?;
        for template in rest {
            let layer = |template: &Template| (template.spatial, template.temporal);
            writer.bits(next_layer(layer(before), layer(template))?, 2)?;
            before = template;
        }
        writer.bits(3, 2)?;
        for template in self.templates() {
            template.indications.write(writer, self.target_count)?;
        }
        for template in self.templates() {
            for &difference in template.references.as_slice() {
                let less_one = difference.checked_sub(1).filter(|&less_one| less_one < 16);
                writer.flag(true)?;
                writer.bits(u32::from(less_one.ok_or(WireError::BadValue)?), 4)?;
            }
            writer.flag(false)?;
        }
        self.write_chains(writer)?;
        writer.flag(self.resolutions.is_some())?;
        for (width, height) in self.resolutions() {
            writer.bits(u32::from(width.saturating_sub(1)), 16)?;
            writer.bits(u32::from(height.saturating_sub(1)), 16)?;
        }
        Ok(())
    }

    fn write_chains(&self, writer: &mut BitWriter<'_>) -> Result<(), WireError> {
        let chains = u32::from(self.chain_count);
        writer.below(chains, u32::from(self.target_count) + 1)?;
        if chains == 0 {
            return Ok(());
        }
        for &chain in self
            .protected_by
            .iter()
            .take(usize::from(self.target_count))
        {
            writer.below(u32::from(chain), chains)?;
        }
        for template in self.templates() {
            for &difference in template.chains.iter().take(usize::from(self.chain_count)) {
                writer.bits(u32::from(difference), 4)?;
            }
        }
        Ok(())
    }

    fn measure(&self) -> Result<u16, WireError> {
        // A descriptor has 255 bytes at most (RFC 8285 §4.3); this one may be larger and is refused when written.
        let mut scratch = [0; 4_096];
        let mut writer = BitWriter::new(&mut scratch);
        self.write(&mut writer)?;
        u16::try_from(writer.position()).map_err(|_| WireError::BadLength)
    }
}

/// `next_layer_idc` from one layer to the next; templates go up by single steps.
fn next_layer(from: (u8, u8), to: (u8, u8)) -> Result<u32, WireError> {
    let within = usize::from(to.0) < MAX_SPATIAL && usize::from(to.1) < MAX_TEMPORAL;
    match to {
        _ if !within => Err(WireError::BadValue),
        _ if to == from => Ok(0),
        (spatial, temporal) if spatial == from.0 && temporal == from.1 + 1 => Ok(1),
        (spatial, 0) if spatial == from.0 + 1 => Ok(2),
        _ => Err(WireError::BadValue),
    }
}
