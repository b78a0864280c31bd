use super::{FIRST_NUMBER, SpatialLayers};
use crate::layers::{Frame, Layer, LayerSet};
use crate::limits::SENT_FRAMES;
use crate::time::Micros;
use crate::window::Window;
use ion_wire::dependency::{self, Indication, MAX_TARGETS, Mandatory, Structure};
use ion_wire::{WireError, seq};

/// A structure, and the frames that are read against it.
#[derive(Debug)]
struct InForce {
    structure: Structure,
    /// Number of the frame that brought it.
    since: u64,
    /// Layers of the decode targets.
    targets: [Layer; MAX_TARGETS],
}

/// Reads dependency descriptors of one stream.
#[derive(Debug)]
pub(super) struct DependencyReader {
    newest_structure: Option<InForce>,
    /// The one before it, for frames that come late.
    structure_before: Option<InForce>,
    /// Targets that the publisher goes on with, a bit each.
    active: u32,
    /// Number of the newest frame; 0 before the first.
    newest: u64,
    received: Window<{ SENT_FRAMES / 64 }>,
    /// For each chain, the frame that is missing from it; 0 is none.
    missing: [u64; MAX_TARGETS],
    seen: SpatialLayers,
}

impl DependencyReader {
    pub(super) fn new() -> Self {
        Self {
            newest_structure: None,
            structure_before: None,
            active: 0,
            newest: 0,
            received: Window::from(0),
            missing: [0; MAX_TARGETS],
            seen: SpatialLayers::default(),
        }
    }

    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }

    /// Reads a descriptor; `None` while no structure has come.
    pub(super) fn read(
        &mut self,
        now: Micros,
        descriptor: &[u8],
    ) -> Result<Option<Frame>, WireError> {
        let Mandatory {
            template,
            frame_number,
            ..
        } = Mandatory::parse(descriptor)?;
        let number = match self.newest {
            0 => FIRST_NUMBER + u64::from(frame_number),
            newest => seq::extend(frame_number, newest),
        };
        let since = self.newest_structure.as_ref().map_or(0, |s| s.since);
        if let Some(structure) = Structure::parse(descriptor)?
            && number >= since
        {
            self.begin(now, number, structure);
        }
        let Some(InForce { structure, .. }) = self.in_force(number) else {
            return Ok(None);
        };
        if structure.template(template).is_none() && number > self.newest {
            // The packet that brings the structure is late or lost: a keyframe, that everybody needs.
            return Ok(None);
        }
        let frame = dependency::Frame::parse(descriptor, structure)?;
        if number > self.newest {
            self.newest = number;
            self.active = frame.active_targets.unwrap_or(self.active);
            self.follow_chains(&frame, number);
        }
        self.received.insert(number);
        self.seen.came(now, frame.spatial);
        let in_force = self.in_force(number);
        Ok(in_force.map(|in_force| self.judge(in_force, &frame, number)))
    }

    fn begin(&mut self, now: Micros, since: u64, structure: Structure) {
        self.missing = [0; MAX_TARGETS];
        self.seen.keyframe(now, Some(structure.spatial_layers()));
        let targets = std::array::from_fn(|target| {
            let (spatial, temporal) = structure.layer_of(target);
            Layer { spatial, temporal }
        });
        let begun = InForce {
            structure,
            since,
            targets,
        };
        let before = self.newest_structure.replace(begun);
        // Packets of one frame may all bring it.
        if before.as_ref().is_some_and(|before| before.since < since) {
            self.structure_before = before;
        }
    }

    /// The structure that a frame is read against.
    fn in_force(&self, number: u64) -> Option<&InForce> {
        let both = self.newest_structure.iter().chain(&self.structure_before);
        both.into_iter().find(|in_force| in_force.since <= number)
    }

    /// Notes which chains have lost a frame, and which have got it after all.
    fn follow_chains(&mut self, frame: &dependency::Frame, number: u64) {
        let chains = self.in_force(number).map_or(0, |s| s.structure.chain_count);
        let all = self.missing.iter_mut().zip(frame.chains);
        for (missing, difference) in all.take(usize::from(chains)) {
            if difference == 0 || self.received.contains(*missing) {
                *missing = 0;
            }
            let before = number.saturating_sub(u64::from(difference));
            if *missing == 0 && difference > 0 && !self.received.contains(before) {
                *missing = before;
            }
        }
    }

    fn judge(&self, in_force: &InForce, frame: &dependency::Frame, number: u64) -> Frame {
        let (mut part_of, mut begins, mut active) = (
            LayerSet::default(),
            LayerSet::default(),
            LayerSet::default(),
        );
        let InForce {
            structure, targets, ..
        } = in_force;
        let targets = targets.iter().zip(structure.protected_by).enumerate();
        for (target, (&layer, chain)) in targets.take(usize::from(structure.target_count)) {
            if self.active >> target & 1 != 0 && self.seen.is_live(layer.spatial) {
                active = active.with(layer);
            }
            let intact =
                structure.chain_count == 0 || self.missing.get(usize::from(chain)) == Some(&0);
            match frame.indications.of(target) {
                Indication::NotPresent => continue,
                Indication::Switch if intact => begins = begins.with(layer),
                _ => {}
            }
            part_of = part_of.with(layer);
        }
        // Everything begins anew with the first frame of a structure.
        if frame.has_structure && frame.references.as_slice().is_empty() {
            begins = LayerSet::ALL;
        }
        Frame {
            number,
            layer: Layer {
                spatial: frame.spatial,
                temporal: frame.temporal,
            },
            part_of,
            begins,
            active,
            references: frame.references,
            ends: frame.mandatory.end_of_frame,
        }
    }
}
