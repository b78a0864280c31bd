//! Frames as a player would show them: complete, after all that they build on, each for as long as until the next.

use std::collections::VecDeque;

/// Frames that may be under way together.
const WINDOW: u64 = 128;
const SLOTS: usize = 128;
/// Frame durations that are averaged (W3C webrtc-stats, `freezeCount`).
const AVERAGED: usize = 30;
const FREEZE_EXTRA_NS: u64 = 150_000_000;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// One more than the frame's ordinal; 0 for none.
    tag: u64,
    packets: u32,
    complete: bool,
}

/// Follows one video stream.
///
/// A frame is shown once all its packets are there and the frame before it was shown, or it is a keyframe.
pub(crate) struct Player {
    slots: Box<[Slot; SLOTS]>,
    /// The frame to be shown next; `None` before the first keyframe.
    next: Option<u64>,
    /// Since when a later frame than `next` is complete.
    waiting_since_ns: Option<u64>,
    first_frame: Option<u64>,
    complete: u64,
    shown: u64,
    skipped: u64,
    freezes: Freezes,
}

impl Default for Player {
    fn default() -> Self {
        Self {
            slots: Box::new([Slot::default(); SLOTS]),
            next: None,
            waiting_since_ns: None,
            first_frame: None,
            complete: 0,
            shown: 0,
            skipped: 0,
            freezes: Freezes::default(),
        }
    }
}

/// Which frame a packet is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameOf {
    pub(crate) ordinal: u64,
    /// Packets that the frame has.
    pub(crate) packets: u32,
    pub(crate) keyframe: bool,
    /// Whether this is its first packet.
    pub(crate) first: bool,
}

impl Player {
    /// A packet that was not there before. Returns whether a keyframe became complete by it.
    pub(crate) fn packet(&mut self, frame: FrameOf, now_ns: u64) -> bool {
        let first = *self.first_frame.get_or_insert(if frame.first {
            frame.ordinal
        } else {
            frame.ordinal + 1
        });
        let slot = self.slot(frame.ordinal);
        if slot.tag > frame.ordinal + 1 {
            return false;
        }
        if slot.tag <= frame.ordinal {
            *slot = Slot {
                tag: frame.ordinal + 1,
                packets: 0,
                complete: false,
            };
        }
        slot.packets += 1;
        if slot.complete || slot.packets < frame.packets {
            return false;
        }
        slot.complete = true;
        self.complete += u64::from(frame.ordinal >= first);
        self.completed(frame, now_ns);
        frame.keyframe
    }

    fn slot(&mut self, ordinal: u64) -> &mut Slot {
        &mut self.slots[usize::try_from(ordinal % WINDOW).unwrap_or(0)]
    }

    fn completed(&mut self, frame: FrameOf, now_ns: u64) {
        match self.next {
            None if !frame.keyframe => {
                self.waiting_since_ns.get_or_insert(now_ns);
                return;
            }
            Some(next) if frame.ordinal < next => return,
            Some(next) if frame.ordinal > next && !frame.keyframe => {
                self.waiting_since_ns.get_or_insert(now_ns);
                return;
            }
            // A keyframe needs nothing before it: what is missing is skipped.
            next => self.skipped += next.map_or(0, |next| frame.ordinal - next),
        }
        let mut next = frame.ordinal;
        self.waiting_since_ns = None;
        // Whatever waited for this one is shown with it.
        while self.slot(next).tag == next + 1 && self.slot(next).complete {
            self.shown += 1;
            self.freezes.shown(now_ns);
            next += 1;
        }
        self.next = Some(next);
    }

    /// For how long complete frames have waited for one that is missing, or for a first keyframe, in nanoseconds.
    pub(crate) fn waiting_ns(&self, now_ns: u64) -> u64 {
        self.waiting_since_ns
            .map_or(0, |since| now_ns.saturating_sub(since))
    }

    /// The stream is over, or the viewer leaves: a picture that still stands may have frozen.
    pub(crate) fn finish(&mut self, now_ns: u64) {
        self.freezes.finish(now_ns);
    }

    pub(crate) fn frames_complete(&self) -> u64 {
        self.complete
    }

    pub(crate) fn frames_shown(&self) -> u64 {
        self.shown
    }

    /// Frames that can no longer be shown, since a later keyframe was.
    pub(crate) fn frames_skipped(&self) -> u64 {
        self.skipped
    }

    /// Of `sent` frames, those that this viewer should have from its first on.
    pub(crate) fn frames_expected(&self, sent: u64) -> u64 {
        self.first_frame
            .map_or(0, |first| sent.saturating_sub(first))
    }

    pub(crate) fn freezes(&self) -> u64 {
        self.freezes.count
    }

    /// Time that the picture stood still in freezes, in nanoseconds.
    pub(crate) fn frozen_ns(&self) -> u64 {
        self.freezes.frozen_ns
    }
}

/// The W3C rule: a frame that stands for at least three times the average of the last thirty, and for at least 150 ms more
/// than that average, was a freeze.
#[derive(Default)]
pub(crate) struct Freezes {
    last_ns: Option<u64>,
    durations: VecDeque<u64>,
    sum_ns: u64,
    pub(crate) count: u64,
    pub(crate) frozen_ns: u64,
}

impl Freezes {
    /// A frame is shown.
    pub(crate) fn shown(&mut self, now_ns: u64) {
        if let Some(last) = self.last_ns {
            let duration = now_ns.saturating_sub(last);
            self.judge(duration);
            if self.durations.len() == AVERAGED {
                self.sum_ns -= self.durations.pop_front().unwrap_or(0);
            }
            self.durations.push_back(duration);
            self.sum_ns += duration;
        }
        self.last_ns = Some(now_ns);
    }

    /// No more frames come.
    pub(crate) fn finish(&mut self, now_ns: u64) {
        if let Some(last) = self.last_ns.take() {
            self.judge(now_ns.saturating_sub(last));
        }
    }

    fn judge(&mut self, duration: u64) {
        let Some(average) = self
            .sum_ns
            .checked_div(u64::try_from(self.durations.len()).unwrap_or(0))
        else {
            return;
        };
        if duration >= (3 * average).max(average + FREEZE_EXTRA_NS) {
            self.count += 1;
            self.frozen_ns += duration;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn frame(ordinal: u64, keyframe: bool) -> FrameOf {
        FrameOf {
            ordinal,
            packets: 1,
            keyframe,
            first: true,
        }
    }

    #[test]
    fn a_freeze_is_three_averages_and_150_ms_more() {
        let mut freezes = Freezes::default();
        let mut now = 0;
        let mut after = |ms: u64| {
            now += ms * MS;
            freezes.shown(now);
            freezes.count
        };
        for _ in 0..40 {
            assert_eq!(after(33), 0);
        }
        // 33 + 150 is more than 3 × 33.
        assert_eq!(after(182), 0);
        for _ in 0..30 {
            after(33);
        }
        assert_eq!(after(183), 1);
        for _ in 0..30 {
            after(100);
        }
        // At an average of 100, 3 × 100 is more.
        assert_eq!((after(299), after(330)), (1, 2));
    }

    #[test]
    fn the_last_picture_may_freeze_too() {
        let mut freezes = Freezes::default();
        freezes.finish(1000 * MS);
        for at in 0..10 {
            freezes.shown(at * 33 * MS);
        }
        freezes.finish(400 * MS);
        assert_eq!(freezes.count, 0);
        freezes.shown(500 * MS);
        freezes.finish(2000 * MS);
        assert_eq!((freezes.count, freezes.frozen_ns), (1, 1500 * MS));
    }

    #[test]
    fn frames_wait_for_those_before_them() {
        let mut player = Player::default();
        assert!(!player.packet(frame(4, false), 0));
        assert_eq!((player.frames_shown(), player.waiting_ns(3)), (0, 3));
        assert!(player.packet(frame(5, true), 10));
        assert_eq!((player.frames_shown(), player.waiting_ns(20)), (1, 0));
        player.packet(frame(7, false), 30);
        player.packet(frame(8, false), 40);
        assert_eq!((player.frames_shown(), player.waiting_ns(50)), (1, 20));
        player.packet(frame(6, false), 60);
        assert_eq!(
            (
                player.frames_shown(),
                player.frames_skipped(),
                player.waiting_ns(99)
            ),
            (4, 0, 0)
        );
        assert_eq!(
            (player.frames_complete(), player.frames_expected(9)),
            (5, 5)
        );
    }

    #[test]
    fn a_keyframe_skips_what_is_missing() {
        let mut player = Player::default();
        player.packet(frame(0, true), 0);
        player.packet(frame(2, false), 0);
        player.packet(frame(5, true), 0);
        assert_eq!((player.frames_shown(), player.frames_skipped()), (2, 4));
        player.packet(frame(3, false), 0);
        player.packet(frame(6, false), 0);
        assert_eq!(
            (
                player.frames_shown(),
                player.frames_complete(),
                player.frames_expected(7)
            ),
            (3, 5, 7)
        );
    }

    #[test]
    fn frames_of_several_packets_need_all_of_them() {
        let mut player = Player::default();
        let part = |first| FrameOf {
            ordinal: 3,
            packets: 3,
            keyframe: true,
            first,
        };
        assert!(!player.packet(part(false), 0));
        assert!(!player.packet(part(false), 0));
        assert!(player.packet(part(true), 0));
        // Its beginning came late, so it counts from the next frame on.
        assert_eq!(
            (
                player.frames_complete(),
                player.frames_shown(),
                player.frames_expected(5)
            ),
            (0, 1, 1)
        );
    }

    #[test]
    fn a_frame_from_long_ago_does_not_disturb_a_new_one() {
        let mut player = Player::default();
        player.packet(frame(WINDOW + 1, true), 0);
        assert!(!player.packet(frame(1, true), 0));
        assert_eq!((player.frames_complete(), player.frames_shown()), (1, 1));
    }
}
