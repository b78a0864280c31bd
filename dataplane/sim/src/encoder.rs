use crate::random::Random;
use ion_engine::Micros;
use ion_engine::allocate::{KEPT, MARGIN, Patience};

/// A picture as it leaves the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Bytes.
    pub bytes: u32,
    /// Needs no other picture.
    pub key: bool,
    /// When it was taken.
    pub captured: Micros,
}

/// What an encoder makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Any rate between these, bit/s: an encoder that follows its target.
    Adaptive {
        /// Least rate.
        min_bps: u64,
        /// Most.
        max_bps: u64,
    },
    /// One of these rates, bit/s: layers of simulcast or SVC, of which an SFU chooses.
    Layers {
        /// Rate up to each layer, lowest first.
        bps: Vec<u64>,
        /// Only at a keyframe can another be chosen: simulcast; else at any picture: SVC.
        at_key: bool,
    },
}

/// How much a picture's size wavers (RFC 8593, 6: a scale of 0.1).
const WAVER: f64 = 0.1;
/// A keyframe is so many pictures long.
const KEY: f64 = 4.0;
/// Least time between two keyframes, microseconds.
const KEY_LEAST_US: u64 = 500_000;

/// Model of an encoder, or of the layers of a publisher as an SFU forwards them.
#[derive(Debug)]
pub struct Encoder {
    source: Source,
    frame_us: u64,
    next: Micros,
    random: Random,
    key_wanted: bool,
    last_key: Option<Micros>,
    /// Layer sent now, and wished.
    layer: usize,
    wished: usize,
    /// How long it must wait for a higher one.
    patience: Patience,
    /// Changes of layer.
    pub switches: u32,
}

impl Encoder {
    /// An encoder at so many pictures a second, from `start` on.
    pub fn new(source: Source, fps: u64, start: Micros, seed: u64) -> Self {
        Self {
            source,
            frame_us: 1_000_000 / fps,
            next: start,
            random: Random::new(seed),
            key_wanted: true,
            last_key: None,
            layer: 0,
            wished: 0,
            patience: Patience::new(),
            switches: 0,
        }
    }

    /// The most that it would send, bit/s.
    pub fn max_bps(&self) -> u64 {
        match &self.source {
            Source::Adaptive { max_bps, .. } => *max_bps,
            Source::Layers { bps, .. } => bps.last().copied().unwrap_or(0),
        }
    }

    /// Whether it has no rate of its own, but layers to choose from.
    pub fn has_layers(&self) -> bool {
        matches!(self.source, Source::Layers { .. })
    }

    /// What has to be carried for the next layer to be sent, bit/s; 0 is none.
    pub fn next_bps(&self, now: Micros) -> u64 {
        let Source::Layers { bps, .. } = &self.source else {
            return 0;
        };
        let next = bps.get(self.wished + 1);
        let next = next.filter(|_| self.patience.may_rise(now));
        next.map_or(0, |rate| rate * MARGIN.0 / MARGIN.1)
    }

    /// The player needs a keyframe.
    pub fn want_key(&mut self) {
        self.key_wanted = true;
    }

    /// Starts anew after a pause.
    pub fn resume(&mut self, now: Micros) {
        self.next = now;
        self.key_wanted = true;
    }

    fn rate(&mut self, now: Micros, target: u64) -> u64 {
        let Source::Layers { bps, .. } = &self.source else {
            let Source::Adaptive { min_bps, max_bps } = self.source else {
                return 0;
            };
            return target.clamp(min_bps, max_bps);
        };
        let kept = bps[self.wished] * KEPT.0 / KEPT.1 <= target;
        let lower = bps.iter().rposition(|&rate| rate <= target).unwrap_or(0);
        let fitting = if kept { self.wished } else { lower };
        let up = bps
            .get(self.wished + 1)
            .is_some_and(|&rate| rate * MARGIN.0 / MARGIN.1 <= target);
        if fitting < self.wished {
            self.wished = fitting;
            self.patience.fell(now);
        } else if up && self.patience.may_rise(now) {
            self.wished += 1;
            self.patience.rose(now);
        }
        if self.wished != self.layer {
            self.switch();
        }
        let Source::Layers { bps, .. } = &self.source else {
            return 0;
        };
        bps[self.layer]
    }

    fn switch(&mut self) {
        if matches!(self.source, Source::Layers { at_key: true, .. }) {
            // Simulcast: the other layer begins at its keyframe.
            self.key_wanted = true;
        }
        self.layer = self.wished;
        self.switches += 1;
    }

    /// The next picture, if it is time for it.
    pub fn picture(&mut self, now: Micros, target_bps: u64) -> Option<Picture> {
        if now < self.next {
            return None;
        }
        let captured = self.next;
        self.next = self.next + self.frame_us;
        let rate = self.rate(now, target_bps);
        let key_due = self.last_key.is_none_or(|at| now.since(at) >= KEY_LEAST_US);
        let key = self.key_wanted && key_due;
        let mut bytes = rate as f64 * self.frame_us as f64 / 8e6;
        bytes *= (1.0 + WAVER * self.random.normal()).max(0.3);
        if key {
            self.key_wanted = false;
            self.last_key = Some(now);
            bytes *= KEY;
        }
        Some(Picture {
            bytes: bytes.max(100.0) as u32,
            key,
            captured,
        })
    }
}
