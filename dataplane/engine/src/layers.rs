use ion_wire::dependency::References;

/// A layer inside an encoding, and all below it that it needs: a target to be sent to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Layer {
    /// Spatial layer, 0..=7.
    pub spatial: u8,
    /// Temporal layer, 0..=7.
    pub temporal: u8,
}

impl Layer {
    /// Above all: everything that there is.
    pub const TOP: Self = Self {
        spatial: 7,
        temporal: 7,
    };

    /// Its place among all, below [`LayerSet::BITS`].
    pub(crate) fn place(self) -> usize {
        self.bit() as usize
    }

    fn bit(self) -> u32 {
        u32::from(self.spatial.min(7)) * 8 + u32::from(self.temporal.min(7))
    }

    fn of_bit(bit: u32) -> Self {
        let bit = u8::try_from(bit & 0x3f).unwrap_or(0);
        Self {
            spatial: bit >> 3,
            temporal: bit & 0x07,
        }
    }

    /// The lower of both, spatially and temporally.
    #[must_use]
    pub fn within(self, bound: Self) -> Self {
        Self {
            spatial: self.spatial.min(bound.spatial),
            temporal: self.temporal.min(bound.temporal),
        }
    }
}

/// What a viewer should get of a track, by what its network carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Place of the encoding in the track's list: the highest that may be sent.
    pub encoding: u8,
    /// The highest layer inside it that may be sent.
    pub layer: Layer,
}

impl Target {
    /// Everything that there is.
    pub const TOP: Self = Self {
        encoding: u8::MAX,
        layer: Layer::TOP,
    };
}

/// A set of layers, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LayerSet(u64);

impl LayerSet {
    pub(crate) const ALL: Self = Self(u64::MAX);
    /// Layers that there can be.
    pub(crate) const BITS: usize = 64;

    /// `layer` and all that lie above it, in both dimensions.
    pub(crate) fn from(layer: Layer) -> Self {
        let temporal = 0xff << layer.temporal.min(7) & 0xff;
        let rows = 0x0101_0101_0101_0101_u64 << (8 * u32::from(layer.spatial.min(7)));
        Self(rows * temporal)
    }

    /// `layer` and all that lie below it.
    pub(crate) fn within(layer: Layer) -> Self {
        let temporal = 0xff >> (7 - layer.temporal.min(7));
        let rows = 0x0101_0101_0101_0101_u64 >> (8 * (7 - u32::from(layer.spatial.min(7))));
        Self(rows * temporal)
    }

    /// All of one spatial layer.
    pub(crate) fn of_spatial(spatial: u8) -> Self {
        Self(0xff << (8 * u32::from(spatial.min(7))))
    }

    pub(crate) fn with(self, layer: Layer) -> Self {
        Self(self.0 | 1 << layer.bit())
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn has(self, layer: Layer) -> bool {
        self.0 >> layer.bit() & 1 != 0
    }

    /// The places of its layers, lowest first.
    pub(crate) fn bits(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (bit < Self::BITS).then_some(bit)
        })
    }

    /// The highest within a bound: spatially first, then temporally.
    pub(crate) fn best(self, bound: Layer) -> Option<Layer> {
        let within = self.and(Self::within(bound)).0;
        within.checked_ilog2().map(Layer::of_bit)
    }
}

/// What a packet says of the frame that it is of: one layer of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Running number in coding order, in the encoding's life under one SSRC.
    pub(crate) number: u64,
    pub(crate) layer: Layer,
    /// Targets that it is part of.
    pub(crate) part_of: LayerSet,
    /// Targets that can be begun with it by who has got what it refers to; all of them with a keyframe.
    pub(crate) begins: LayerSet,
    /// Targets that there are at present.
    pub(crate) active: LayerSet,
    /// Differences to the numbers of the frames that it refers to, as far as `begins` depends on them.
    pub(crate) references: References,
    /// The last packet of the frame.
    pub(crate) ends: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer() -> impl Strategy<Value = Layer> {
        (0_u8..8, 0_u8..8).prop_map(|(spatial, temporal)| Layer { spatial, temporal })
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn sets_are_what_they_say(a in layer(), b in layer()) {
            let below = a.within(b) == a;
            prop_assert_eq!(LayerSet::from(a).has(b), below);
            prop_assert_eq!(LayerSet::within(b).has(a), below);
            prop_assert_eq!(LayerSet::of_spatial(a.spatial).has(b), a.spatial == b.spatial);
            let both = LayerSet::default().with(a).with(b);
            prop_assert_eq!(both.best(Layer::TOP), Some(a.max(b)));
            prop_assert_eq!(both.best(a), Some(if b.within(a) == b { a.max(b) } else { a }));
            prop_assert_eq!(LayerSet::default().best(a), None);
        }
    }
}
