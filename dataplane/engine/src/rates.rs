use crate::bandwidth::OVERHEAD_BYTES;
use crate::layers::{Layer, LayerSet};
use crate::limits::LAYER_RATE_US;
use crate::packet::Packet;
use crate::time::Micros;
use std::sync::Arc;

/// Bytes of the stretch that is being measured, and bits per second of those before.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    bytes: u64,
    bps: u64,
}

impl Rate {
    /// A stretch is over that took so many microseconds.
    fn close(&mut self, passed: u64) {
        let bps = self.bytes.saturating_mul(8_000_000) / passed;
        self.bps = match (self.bps, bps) {
            (0, bps) | (_, bps @ 0) => bps,
            (before, bps) => (before + bps) / 2,
        };
    }
}

/// Bits per second of an encoding and of each target inside it, as a viewer is sent them.
#[derive(Debug)]
pub(crate) struct Rates {
    since: Micros,
    whole: Rate,
    /// By [`LayerSet`]'s bits; none of audio.
    targets: Box<[Rate]>,
}

impl Rates {
    pub(crate) fn new(video: bool) -> Self {
        let count = if video { LayerSet::BITS } else { 0 };
        Self {
            since: Micros(0),
            whole: Rate::default(),
            targets: vec![Rate::default(); count].into_boxed_slice(),
        }
    }

    /// Takes in packets that came together.
    pub(crate) fn add(&mut self, now: Micros, packets: &[Arc<Packet>]) {
        for packet in packets {
            let bytes = u64::from(packet.payload_len) + OVERHEAD_BYTES as u64;
            self.whole.bytes += bytes;
            if let Some(frame) = &packet.frame {
                for bit in frame.part_of.and(frame.active).bits() {
                    if let Some(target) = self.targets.get_mut(bit) {
                        target.bytes += bytes;
                    }
                }
            }
        }
        let passed = now.since(self.since);
        if passed < LAYER_RATE_US {
            return;
        }
        // The first stretch began before the first packet; one with a gap in it says nothing.
        let whole = passed < 2 * LAYER_RATE_US;
        for rate in self.targets.iter_mut().chain([&mut self.whole]) {
            if whole {
                rate.close(passed);
            }
            rate.bytes = 0;
        }
        self.since = now;
    }

    /// Of everything, as far as it is known; 0 is not.
    pub(crate) fn bps(&self) -> u64 {
        self.whole.bps
    }

    /// Of a spatial layer with all that it needs; 0 is none that there is.
    pub(crate) fn of_spatial(&self, spatial: u8) -> u64 {
        let of = |temporal| self.of(Layer { spatial, temporal });
        (0..=Layer::TOP.temporal)
            .rev()
            .map(of)
            .find(|&bps| bps > 0)
            .unwrap_or(0)
    }

    /// Of a target; 0 is none that there is.
    pub(crate) fn of(&self, target: Layer) -> u64 {
        let rate = self.targets.get(target.place());
        rate.map_or(0, |rate| rate.bps)
    }
}
