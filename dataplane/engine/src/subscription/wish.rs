//! What a viewer's network carries of a track, and what it asks of the network.

use super::Subscriber;
use crate::allocate::{Claim, Steps};
use crate::layers::{Layer, Target};
use crate::protection::Protection;
use crate::rates::Rates;
use crate::time::Micros;
use ion_tables::{Limit, RowLink, TrackConfig};

impl Subscriber {
    /// Takes in what the network carries.
    pub(crate) fn set_wish(&mut self, wish: Target) {
        self.wish = wish;
        self.bound_selection();
    }

    /// The highest encoding that may be sent.
    pub(crate) fn max_encoding(&self) -> u8 {
        self.wish.encoding.min(self.config.max_layer)
    }

    /// The highest layer that the row allows, and the viewer can take.
    fn layer_bound(&self) -> Layer {
        // Zero is no bound, and so is more than there can be.
        let bound = |count: u8| count.wrapping_sub(1).min(7);
        let allowed = Layer {
            spatial: bound(self.config.spatial_layers),
            temporal: bound(self.config.temporal_layers),
        };
        Layer {
            spatial: if self.flat { 0 } else { allowed.spatial },
            ..allowed
        }
    }

    /// Takes in whether the viewer can make out one spatial layer of an encoding only.
    pub(crate) fn set_flat(&mut self, flat: bool) {
        self.flat = flat;
        self.bound_selection();
    }

    pub(super) fn bound_selection(&mut self) {
        self.selection.wish = self.wish.layer.within(self.layer_bound());
    }

    /// What it asks of the viewer's network; `rates` are those of the track's encodings that are live.
    pub(crate) fn claim(&self, now: Micros, rates: &[Option<&Rates>]) -> Claim {
        let mut steps = Steps::new();
        for (encoding, rates) in (0..=self.config.max_layer).zip(rates) {
            if let Some(rates) = rates {
                steps.add(encoding, rates, self.layer_bound());
            }
        }
        let protection = self.protection.as_deref();
        steps.grow(protection.map_or((1, 1), Protection::growth));
        Claim {
            row: self.link.row,
            priority: self.config.priority,
            steps,
            current: (!self.starved).then_some(self.wish),
            may_rise: self.patience.may_rise(now),
            kept: false,
            taken: 0,
        }
    }

    /// The network carries nothing of it.
    pub(crate) fn starve(&mut self, now: Micros) {
        self.starved = true;
        self.waiting = None;
        self.patience.fell(now);
        self.stop();
    }

    /// Nothing is known of the network: everything is sent.
    pub(crate) fn unlimit(&mut self) {
        self.set_wish(Target::TOP);
        self.starved = false;
        self.short_since = None;
    }

    /// The network carries a target. Returns whether it carried nothing before, and whether the
    /// target is another one.
    pub(crate) fn allow(&mut self, now: Micros, target: Target) -> (bool, bool) {
        let before = self.wish;
        let fed = std::mem::replace(&mut self.starved, false);
        match target.cmp(&before) {
            std::cmp::Ordering::Less => self.patience.fell(now),
            std::cmp::Ordering::Greater => self.patience.rose(now),
            std::cmp::Ordering::Equal => {}
        }
        self.set_wish(target);
        (fed, target != before)
    }

    /// Why it is not sent the best of `top + 1` encodings, and of their layers.
    pub(crate) fn limit(&self, top: u8, target: Option<u8>) -> Limit {
        let bound = self.layer_bound();
        let there = |bound: Layer| self.selection.active.best(bound);
        if self.is_switched_off() {
            Limit::Paused
        } else if self.starved || self.wish < Target::TOP {
            Limit::Bandwidth
        } else if self.flat && there(Layer::TOP).is_some_and(|layer| layer.spatial > 0) {
            Limit::Viewer
        } else if self.config.max_layer < top || there(bound) != there(Layer::TOP) {
            Limit::Requested
        } else if target.is_none_or(|target| target < top) {
            Limit::Publisher
        } else {
            Limit::None
        }
    }

    /// Whether it is sent an encoding, or would be if packets of it came.
    pub(crate) fn would_take(
        &self,
        link: RowLink,
        layer: usize,
        links: &[RowLink; TrackConfig::MAX_ENCODINGS],
    ) -> bool {
        if self.is_switched_off() {
            return false;
        }
        let sent = self.source.is_some_and(|source| source.encoding == link);
        let target = self
            .target
            .and_then(|target| links.iter().position(|&l| l == target));
        if self.starved {
            // Of what comes nothing fits; the lowest may.
            return layer == 0;
        }
        let allowed = usize::from(self.max_encoding());
        sent || self.target == Some(link) || (layer <= allowed && target.is_none_or(|t| layer > t))
    }
}
