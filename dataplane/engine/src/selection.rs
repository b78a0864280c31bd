use crate::layers::{Frame, Layer, LayerSet};
use crate::limits::{SENT_FRAMES, TURNS};
use crate::subscription::Manner;
use crate::window::Window;

/// From a frame on: the layer that is sent.
#[derive(Debug, Clone, Copy)]
struct Turn {
    from: u64,
    layer: Layer,
}

/// Which frames of an encoding with layers go to one viewer.
///
/// It goes up only where the publisher says that this can be decoded by who has got what was sent so far, and down where
/// what was sent allows. A frame is judged by the turn in force at its place in coding order, however late it comes.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The highest that may be sent.
    pub(crate) wish: Layer,
    /// The newest is the last; empty before the first frame of a source.
    turns: [Option<Turn>; TURNS],
    /// Number of the newest frame.
    newest: u64,
    /// RTP timestamp of its picture.
    picture: u32,
    /// Frames that were sent.
    sent: Window<{ SENT_FRAMES / 64 }>,
    /// The highest layers of the source that came.
    highest: Layer,
    /// Targets that there were with the newest frame.
    pub(crate) active: LayerSet,
    /// What it wants, and cannot get without a keyframe.
    pub(crate) lacks: Option<Layer>,
    /// Layer changes made.
    pub(crate) switches: u64,
}

impl Selection {
    pub(crate) fn new() -> Self {
        Self {
            wish: Layer::TOP,
            turns: [None; TURNS],
            newest: 0,
            picture: 0,
            sent: Window::from(0),
            highest: Layer::default(),
            active: LayerSet::default(),
            lacks: None,
            switches: 0,
        }
    }

    /// Another source begins; `layer` is what was sent of it before a restart.
    pub(crate) fn begin(&mut self, layer: Option<Layer>) {
        self.turns = [None; TURNS];
        self.turns[TURNS - 1] = layer.map(|layer| Turn { from: 0, layer });
        self.newest = 0;
        self.sent = Window::from(0);
        self.highest = Layer::default();
        self.active = LayerSet::default();
        self.lacks = None;
    }

    /// The layer that is sent now; `None` if nothing was said of layers.
    pub(crate) fn layer(&self) -> Option<Layer> {
        self.turns[TURNS - 1].map(|turn| turn.layer)
    }

    /// The layer that is sent now, and the one that is wanted, as far as there are any.
    pub(crate) fn in_use(&self) -> (Layer, Layer) {
        let now = self.layer().unwrap_or_default();
        let wanted = self.lacks.unwrap_or(now);
        (now.within(self.highest), wanted.within(self.highest))
    }

    /// The layer in force at a frame.
    fn at(&self, number: u64) -> Option<Layer> {
        let turns = self.turns.iter().rev().flatten();
        let turn = turns.into_iter().find(|turn| turn.from <= number);
        turn.map(|turn| turn.layer)
    }

    /// Judges a frame by a packet of it: whether it is to be sent.
    pub(crate) fn judge(&mut self, frame: &Frame, timestamp: u32) -> bool {
        let first = self.layer().is_none();
        if first || frame.number > self.newest {
            self.turn(frame, first || timestamp != self.picture);
            (self.newest, self.active) = (frame.number, frame.active);
            let Layer { spatial, temporal } = frame.layer;
            self.highest = Layer {
                spatial: self.highest.spatial.max(spatial),
                temporal: self.highest.temporal.max(temporal),
            };
            self.picture = timestamp;
        }
        let layer = self.at(frame.number);
        let takes = layer.is_some_and(|layer| frame.part_of.has(layer));
        if takes {
            self.sent.insert(frame.number);
        }
        takes
    }

    /// How a packet of a frame goes out; `marker` is the publisher's.
    pub(crate) fn manner(&self, frame: &Frame, marker: bool) -> Manner {
        let layer = self.at(frame.number);
        let blank = !layer.is_some_and(|layer| frame.part_of.has(layer));
        let ends = frame.ends && layer.is_some_and(|layer| layer.spatial == frame.layer.spatial);
        Manner {
            layer: layer.unwrap_or_default(),
            marker: !blank && (marker || ends),
            blank,
        }
    }

    /// Changes the layer with this frame, if it should be changed and can be.
    fn turn(&mut self, frame: &Frame, starts_picture: bool) {
        let want = frame.active.best(self.wish).unwrap_or_default();
        let Some(now) = self.layer() else {
            return self.push(frame.number, want);
        };
        let next = if want == now {
            now
        } else if starts_picture && frame.begins == LayerSet::ALL {
            want
        } else {
            self.step(frame, now, want, starts_picture)
        };
        if next != now {
            self.switches += 1;
            self.push(frame.number, next);
        }
        // A lower spatial layer may be joined with its own next frame, if what came before it was sent.
        let missed = frame.layer.spatial == want.spatial && frame.layer.temporal == 0;
        self.lacks = match next.spatial.cmp(&want.spatial) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(want),
            std::cmp::Ordering::Greater if missed => Some(want),
            std::cmp::Ordering::Greater => self.lacks.map(|_| want),
        };
    }

    fn push(&mut self, from: u64, layer: Layer) {
        self.turns.rotate_left(1);
        self.turns[TURNS - 1] = Some(Turn { from, layer });
    }

    /// One step from a layer towards another, without a keyframe.
    fn step(&self, frame: &Frame, now: Layer, want: Layer, starts_picture: bool) -> Layer {
        // Fewer pictures can be sent at any time.
        let mut now = now;
        if starts_picture && want.temporal < now.temporal {
            let bound = Layer {
                spatial: now.spatial,
                temporal: want.temporal,
            };
            let fewer = frame.active.best(bound);
            now = fewer
                .filter(|layer| layer.spatial == now.spatial)
                .unwrap_or(now);
        }
        let decodable = || {
            let mut references = frame.references.as_slice().iter();
            references.all(|&difference| {
                let number = frame.number.checked_sub(u64::from(difference));
                number.is_some_and(|number| self.sent.contains(number))
            })
        };
        let begun = frame.begins.and(frame.active).best(want).filter(|next| {
            if next.spatial > now.spatial {
                starts_picture
            } else if next.spatial == now.spatial {
                next.temporal > now.temporal
            } else {
                // The packet that ends it will get the marker.
                want.spatial < now.spatial && next.spatial == frame.layer.spatial
            }
        });
        if let Some(next) = begun.filter(|_| decodable()) {
            return next;
        }
        let joins = want.spatial < now.spatial
            && frame.layer.spatial == want.spatial
            && frame.layer.temporal == 0;
        // What was sent so far has its higher temporal layers too, or only this one.
        let temporal = if frame.part_of.has(now) {
            now.temporal
        } else {
            0
        };
        let lower = frame.active.best(want.within(Layer { temporal, ..now }));
        lower
            .filter(|lower| joins && lower.spatial == want.spatial && decodable())
            .unwrap_or(now)
    }
}
