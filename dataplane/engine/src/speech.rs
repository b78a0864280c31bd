//! Who speaks, by the levels that publishers say in each packet (RFC 6464).
//!
//! Per source: which one of a room counts as its speaker is for the control plane to say, which knows rooms.

use crate::limits::{
    SPEECH_GOES_ON, SPEECH_QUIET_WINDOWS, SPEECH_SHARE, SPEECH_STARTS, SPEECH_WINDOW_US,
};
use crate::time::Micros;

/// Level of silence, -dBov.
const SILENCE: u8 = 127;

/// What a source has begun or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Speech begins; the mean level, -dBov.
    Started(u8),
    Ended,
}

/// Follows the level of one source, a window of time after the other. It takes louder packets to begin speech than to
/// go on with it, and some windows without to end it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speech {
    began: Option<Micros>,
    packets: u32,
    loud: u32,
    sum: u32,
    quiet_windows: u8,
    speaking: bool,
    level: u8,
}

impl Speech {
    pub(crate) fn new() -> Self {
        Self {
            began: None,
            packets: 0,
            loud: 0,
            sum: 0,
            quiet_windows: 0,
            speaking: false,
            level: SILENCE,
        }
    }

    /// Mean level of the last window that had packets, -dBov; 127 is silence.
    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    /// A packet came with a level in -dBov.
    pub(crate) fn heard(&mut self, now: Micros, level: u8) -> Option<Change> {
        let change = self.tick(now);
        self.began = self.began.or(Some(now));
        let threshold = if self.speaking {
            SPEECH_GOES_ON
        } else {
            SPEECH_STARTS
        };
        self.packets += 1;
        self.sum += u32::from(level.min(SILENCE));
        self.loud += u32::from(level <= threshold);
        change
    }

    /// Ends the window if it is time. To be called now and then when nothing comes, too: senders say nothing in
    /// silence.
    pub(crate) fn tick(&mut self, now: Micros) -> Option<Change> {
        let began = self.began?;
        let windows = now.since(began) / SPEECH_WINDOW_US;
        if windows == 0 {
            return None;
        }
        let active =
            self.packets > 0 && self.loud * SPEECH_SHARE.1 >= self.packets * SPEECH_SHARE.0;
        self.level = match self.sum.checked_div(self.packets) {
            Some(mean) => u8::try_from(mean).unwrap_or(SILENCE),
            None => SILENCE,
        };
        // Of several windows that passed, all but the first were empty.
        let quiet = windows - u64::from(active);
        self.quiet_windows = match (active, quiet) {
            (true, 0) => 0,
            (true, quiet) => u8::try_from(quiet).unwrap_or(u8::MAX),
            (false, quiet) => {
                let quiet = u8::try_from(quiet).unwrap_or(u8::MAX);
                self.quiet_windows.saturating_add(quiet)
            }
        };
        (self.packets, self.loud, self.sum) = (0, 0, 0);
        self.began = Some(began + windows * SPEECH_WINDOW_US);
        let ended = self.quiet_windows >= SPEECH_QUIET_WINDOWS;
        if self.speaking && ended {
            self.speaking = false;
            self.level = SILENCE;
            return Some(Change::Ended);
        }
        if !self.speaking && active && !ended {
            self.speaking = true;
            return Some(Change::Started(self.level));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 20 ms at one level; what changed, and when, milliseconds.
    fn run(speech: &mut Speech, from_ms: u64, packets: u64, level: u8) -> Vec<(u64, Change)> {
        let times = (0..packets).map(|at| from_ms + 20 * at);
        times
            .filter_map(|ms| Some((ms, speech.heard(Micros(1_000 * ms), level)?)))
            .collect()
    }

    #[test]
    fn speech_is_told_once_and_ends_after_a_pause() {
        let mut speech = Speech::new();
        assert_eq!(run(&mut speech, 0, 50, SPEECH_STARTS + 1), []);
        let started = run(&mut speech, 1_000, 100, 20);
        assert_eq!(started.len(), 1);
        assert!(
            matches!(started[0], (ms, Change::Started(20..=45)) if ms <= 1_400),
            "{started:?}"
        );
        // Quieter, and still speech; a short pause is none.
        assert_eq!(run(&mut speech, 3_000, 50, SPEECH_GOES_ON), []);
        assert_eq!(run(&mut speech, 4_000, 15, SILENCE), []);
        assert_eq!(run(&mut speech, 4_300, 50, 30), []);
        let ended = run(&mut speech, 5_300, 100, SILENCE);
        assert!(
            matches!(ended[..], [(ms, Change::Ended)] if ms <= 6_300),
            "{ended:?}"
        );
        assert_eq!(speech.level(), SILENCE);
    }

    #[test]
    fn a_sender_that_says_nothing_in_silence_ends_too() {
        let mut speech = Speech::new();
        assert_eq!(run(&mut speech, 0, 50, 10).len(), 1);
        assert_eq!(speech.tick(Micros(1_200_000)), None);
        assert_eq!(speech.tick(Micros(2_000_000)), Some(Change::Ended));
        assert_eq!(speech.tick(Micros(9_000_000)), None);
        assert_eq!(run(&mut speech, 9_000, 50, 10).len(), 1, "and begins again");
    }

    #[test]
    fn a_click_is_not_speech() {
        let mut speech = Speech::new();
        for at in 0..10 {
            assert_eq!(run(&mut speech, at * 200, 9, 100), []);
            assert_eq!(run(&mut speech, at * 200 + 180, 1, 0), []);
        }
    }
}
