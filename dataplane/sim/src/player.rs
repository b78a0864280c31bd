use crate::link::Piece;
use ion_engine::Micros;
use std::collections::BTreeMap;

/// A gap between two shown pictures is a freeze from here on, microseconds.
pub const FREEZE_US: u64 = 300_000;
/// A player that cannot go on asks for a keyframe after this long, microseconds.
const ASK_US: u64 = 250_000;
/// Pictures held at most.
const HELD: usize = 128;

#[derive(Debug)]
struct Held {
    parts: Vec<bool>,
    key: bool,
    captured: Micros,
}

impl Held {
    fn is_whole(&self) -> bool {
        self.parts.iter().all(|&part| part)
    }
}

/// A player with a jitter buffer that shows what is decodable as soon as it is: a
/// picture that is whole and is a keyframe, or follows one that was shown.
#[derive(Debug)]
pub struct Player {
    held: BTreeMap<u64, Held>,
    /// Picture that is to be shown next; `None` is any keyframe.
    next: Option<u64>,
    last_shown: Option<Micros>,
    asked: Micros,
    /// Pictures shown.
    pub shown: u64,
    /// Freezes, and how long they were together, microseconds.
    pub freezes: (u64, u64),
    /// From the camera to the screen, microseconds, of each.
    pub delays_us: Vec<u32>,
}

impl Player {
    pub(crate) fn new() -> Self {
        Self {
            held: BTreeMap::new(),
            next: None,
            last_shown: None,
            asked: Micros(0),
            shown: 0,
            freezes: (0, 0),
            delays_us: Vec::new(),
        }
    }

    pub(crate) fn arrived(&mut self, at: Micros, piece: &Piece) {
        if self.next.is_some_and(|next| piece.frame < next) {
            return;
        }
        let held = self.held.entry(piece.frame).or_insert_with(|| Held {
            parts: vec![false; usize::from(piece.parts)],
            key: piece.key,
            captured: piece.captured,
        });
        held.parts[usize::from(piece.part)] = true;
        self.show(at);
        while self.held.len() > HELD {
            self.held.pop_first();
        }
    }

    fn show(&mut self, at: Micros) {
        loop {
            let key = self
                .held
                .iter()
                .find(|(_, held)| held.key && held.is_whole())
                .map(|(&frame, _)| frame);
            let following = self
                .next
                .filter(|next| self.held.get(next).is_some_and(Held::is_whole));
            let Some(frame) = following.or(key) else {
                return;
            };
            let Some(held) = self.held.remove(&frame) else {
                return;
            };
            self.held = self.held.split_off(&frame);
            self.next = Some(frame + 1);
            self.shown += 1;
            self.delays_us
                .push(u32::try_from(at.since(held.captured)).unwrap_or(u32::MAX));
            if let Some(last) = self.last_shown
                && at.since(last) > FREEZE_US
            {
                self.freezes.0 += 1;
                self.freezes.1 += at.since(last);
            }
            self.last_shown = Some(at);
        }
    }

    /// The source pauses: that nothing comes is no freeze.
    pub(crate) fn pause(&mut self) {
        self.last_shown = None;
    }

    /// Whether it asks for a keyframe now.
    pub(crate) fn asks(&mut self, now: Micros) -> bool {
        let stuck =
            self.last_shown.is_none_or(|at| now.since(at) > ASK_US) && !self.held.is_empty();
        let asks = stuck && now.since(self.asked) > 2 * ASK_US;
        if asks {
            self.asked = now;
        }
        asks
    }
}
