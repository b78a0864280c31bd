//! How loud a source is at this moment, and whether it is silent, packet by packet: quicker than [`crate::speech`], which
//! people are told of, since nobody hears a speaker before something has noticed.

use crate::limits::{DTX_BYTES, SILENCE_HANGOVER_US, SILENCE_LEVEL, STAGE_LOUDNESS, STAGE_TELL_US};
use crate::time::Micros;
use ion_wire::ext::AudioLevel;

/// Parts of a decibel that are reckoned with.
const PARTS: u16 = 16;

/// Follows the level of a source: up within a few packets, down over the gaps between words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loudness {
    /// Decibels above silence, in parts.
    parts: u16,
    told: Option<Micros>,
}

impl Loudness {
    /// A packet came; without a level it counts as just loud enough. Returns how loud the source is, in decibels above
    /// silence, if the stage is to be told: at once, and then now and again while it goes on.
    pub(crate) fn heard(&mut self, now: Micros, level: Option<AudioLevel>) -> Option<u8> {
        let decibels = level.map_or(STAGE_LOUDNESS, |level| 127 - level.level.min(127));
        let parts = u16::from(decibels) * PARTS;
        self.parts = if parts > self.parts {
            (self.parts + parts).div_ceil(2)
        } else {
            self.parts - (self.parts - parts) / 16
        };
        let loudness = u8::try_from(self.parts / PARTS).unwrap_or(u8::MAX);
        let due = self
            .told
            .is_none_or(|told| now.since(told) >= STAGE_TELL_US);
        if loudness < STAGE_LOUDNESS || !due {
            return None;
        }
        self.told = Some(now);
        Some(loudness)
    }
}

/// Tells the pauses of a source from its words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pauses {
    last_loud: Micros,
}

impl Pauses {
    /// Whether a packet of Opus is silence: it says so, and has for a while, or it is as short as only the packets are
    /// that a sender in discontinuous transmission keeps its stream alive with (RFC 6716, 2.1.9).
    pub(crate) fn is_silence(&mut self, now: Micros, level: Option<AudioLevel>, len: u16) -> bool {
        if len <= DTX_BYTES {
            return true;
        }
        let Some(level) = level else {
            return false;
        };
        if level.voice || level.level < SILENCE_LEVEL {
            self.last_loud = now;
        }
        now.since(self.last_loud) > SILENCE_HANGOVER_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(level: u8) -> Option<AudioLevel> {
        let voice = false;
        Some(AudioLevel { voice, level })
    }

    #[test]
    fn a_word_is_heard_within_packets_and_a_click_is_not() {
        let mut loudness = Loudness::default();
        let mut at = (0..).map(|n| Micros(20_000 * n));
        let mut heard = |of| loudness.heard(at.next().unwrap(), of);
        assert_eq!(heard(level(0)), None, "one loud packet");
        for _ in 0..50 {
            assert_eq!(heard(level(127)), None);
        }
        let told: Vec<_> = (0..20).filter(|_| heard(level(30)).is_some()).collect();
        assert_eq!(
            told,
            [1, 6, 11, 16],
            "from the second packet, then each 100 ms"
        );
        assert_eq!((0..100).filter_map(|_| heard(level(127))).count(), 1);
        let told: Vec<_> = (0..20).filter_map(|_| heard(None)).collect();
        assert!(told.iter().all(|&loud| loud == STAGE_LOUDNESS) && !told.is_empty());
    }

    #[test]
    fn silence_is_what_says_so_for_a_while_and_comfort_noise() {
        let mut pauses = Pauses::default();
        assert!(!pauses.is_silence(Micros(1_000_000), level(30), 80));
        assert!(!pauses.is_silence(Micros(1_020_000), level(127), 80));
        assert!(pauses.is_silence(Micros(1_040_000), None, DTX_BYTES));
        let later = Micros(1_000_001 + SILENCE_HANGOVER_US);
        assert!(pauses.is_silence(later, level(127), 80));
        assert!(!pauses.is_silence(later, None, 80), "it does not say");
        let voice = AudioLevel {
            voice: true,
            level: 127,
        };
        assert!(!pauses.is_silence(later, Some(voice), 80));
    }
}
