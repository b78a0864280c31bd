use crate::limits::{
    MISSING, NACK_GIVE_UP_US, NACK_INTERVAL_MIN_US, NACK_REORDER_PACKETS, NACK_REORDER_US,
    NACK_TRIES, RTT_DEFAULT_US,
};
use crate::time::Micros;

#[derive(Debug, Clone, Copy)]
struct Gap {
    index: u64,
    noticed: Micros,
    asked: Micros,
    tries: u8,
}

impl Gap {
    /// Time to wait after the last request: the round trip, half as long again with
    /// every try.
    fn patience(&self, rtt: u64) -> u64 {
        let base = rtt.max(NACK_INTERVAL_MIN_US);
        (0..self.tries.saturating_sub(1)).fold(base, |t, _| (t + t / 2).min(NACK_GIVE_UP_US))
    }

    fn is_due(&self, now: Micros, newest: u64, rtt: u64) -> bool {
        if self.tries == 0 {
            newest >= self.index + NACK_REORDER_PACKETS
                || now.since(self.noticed) >= NACK_REORDER_US
        } else {
            now.since(self.asked) >= self.patience(rtt)
        }
    }
}

/// What an arriving packet means for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// Nothing new is missing.
    Same,
    /// Packets before this one are missing and will be asked for.
    Opened,
    /// More is missing than can be asked for, or for longer than anybody keeps it: only a keyframe helps.
    TooMany,
}

/// Packets of an encoding that have not come, and when they were asked for.
pub(crate) struct NackGenerator {
    /// In order of index.
    gaps: Vec<Gap>,
    newest: Option<u64>,
    /// When that came, unless to a predecessor.
    came: Option<Micros>,
    rtt: u64,
    rtt_known: bool,
}

impl NackGenerator {
    /// A generator for a stream whose newest packet, if any, was `newest`.
    pub(crate) fn after(newest: Option<u64>) -> Self {
        Self {
            gaps: Vec::with_capacity(MISSING),
            newest,
            came: None,
            rtt: RTT_DEFAULT_US,
            rtt_known: false,
        }
    }

    /// Forgets everything but the round-trip time: another stream begins.
    pub(crate) fn reset(&mut self) {
        self.gaps.clear();
        self.newest = None;
    }

    /// Takes in that a packet came.
    pub(crate) fn received(&mut self, now: Micros, index: u64) -> Gaps {
        self.take(now, index, true)
    }

    /// Takes in that a packet was made from redundancy: that is no answer to a request.
    pub(crate) fn mended(&mut self, now: Micros, index: u64) -> Gaps {
        self.take(now, index, false)
    }

    fn take(&mut self, now: Micros, index: u64, answers: bool) -> Gaps {
        let Some(newest) = self.newest else {
            (self.newest, self.came) = (Some(index), Some(now));
            return Gaps::Same;
        };
        if index <= newest {
            if let Ok(at) = self.gaps.binary_search_by_key(&index, |gap| gap.index) {
                let gap = self.gaps.remove(at);
                if gap.tries == 1 && answers {
                    self.learn_rtt(now.since(gap.asked));
                }
            }
            return Gaps::Same;
        }
        self.newest = Some(index);
        let before = self.came.replace(now);
        let is_old = before.is_some_and(|at| now.since(at) >= NACK_GIVE_UP_US);
        let missing = index - newest - 1;
        if missing == 0 {
            return Gaps::Same;
        }
        if missing > (MISSING - self.gaps.len()) as u64 || is_old {
            self.gaps.clear();
            return Gaps::TooMany;
        }
        self.gaps.extend((newest + 1..index).map(|index| Gap {
            index,
            noticed: now,
            asked: now,
            tries: 0,
        }));
        Gaps::Opened
    }

    fn learn_rtt(&mut self, sample: u64) {
        self.rtt = if self.rtt_known {
            self.rtt - self.rtt / 8 + sample / 8
        } else {
            sample
        };
        self.rtt_known = true;
    }

    /// Gives up what is missing: it cannot be asked for.
    pub(crate) fn forget(&mut self) {
        self.gaps.clear();
    }

    /// The round-trip time that answers to requests have shown, microseconds.
    pub(crate) fn rtt(&self) -> Option<u64> {
        self.rtt_known.then_some(self.rtt)
    }

    /// Whether anything is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Writes the indices to ask for now, in order, and counts them as asked for.
    /// Gaps that are beyond hope are dropped. Returns how many there are, and
    /// whether a gap was given up.
    pub(crate) fn due(&mut self, now: Micros, out: &mut [u64]) -> (usize, bool) {
        let before = self.gaps.len();
        self.gaps
            .retain(|gap| gap.tries < NACK_TRIES && now.since(gap.noticed) < NACK_GIVE_UP_US);
        let given_up = self.gaps.len() < before;
        let newest = self.newest.unwrap_or(0);
        let mut count = 0;
        for gap in &mut self.gaps {
            if count == out.len() {
                break;
            }
            if gap.is_due(now, newest, self.rtt) {
                gap.tries += 1;
                gap.asked = now;
                out[count] = gap.index;
                count += 1;
            }
        }
        (count, given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(nack: &mut NackGenerator, now: u64) -> Vec<u64> {
        let mut out = [0; 64];
        let (count, _) = nack.due(Micros(now), &mut out);
        out[..count].to_vec()
    }

    #[test]
    fn asks_after_reordering_and_then_ever_more_slowly() {
        let mut nack = NackGenerator::after(None);
        nack.received(Micros(0), 10);
        assert_eq!(nack.received(Micros(0), 12), Gaps::Opened);
        assert_eq!(due(&mut nack, 1_000), [], "may be reordering");
        nack.received(Micros(2_000), 13);
        assert_eq!(due(&mut nack, 2_000), [11], "two packets later it is not");
        let mut asked = vec![2_000];
        for ms in 2..1_000 {
            if !due(&mut nack, ms * 1_000).is_empty() {
                asked.push(ms * 1_000);
            }
        }
        let waits: Vec<u64> = asked.windows(2).map(|w| (w[1] - w[0]) / 1_000).collect();
        assert_eq!(waits, [100, 150, 225, 338]);
        assert_eq!(due(&mut nack, 1_100_000), []);
        assert!(nack.is_empty(), "given up after a second");
    }

    #[test]
    fn the_answer_teaches_the_round_trip() {
        let mut nack = NackGenerator::after(None);
        nack.received(Micros(0), 1);
        nack.received(Micros(0), 4);
        assert_eq!(due(&mut nack, 0), [2]);
        nack.received(Micros(30_000), 2);
        assert_eq!(nack.rtt(), Some(30_000));
    }

    #[test]
    fn what_is_missing_since_a_second_is_not_asked_for() {
        let mut nack = NackGenerator::after(None);
        nack.received(Micros(0), 1);
        assert_eq!(nack.received(Micros(900_000), 3), Gaps::Opened);
        // The publisher was away, and has none of it left.
        assert_eq!(nack.received(Micros(1_900_000), 50), Gaps::TooMany);
        assert!(nack.is_empty());
        // A picture each two seconds is no outage.
        assert_eq!(nack.received(Micros(3_900_000), 51), Gaps::Same);
        // A successor does not know when the last one came.
        let mut nack = NackGenerator::after(Some(51));
        assert_eq!(nack.received(Micros(9_000_000), 53), Gaps::Opened);
    }

    #[test]
    fn tries_are_limited_and_so_is_the_list() {
        let mut nack = NackGenerator::after(None);
        nack.learn_rtt(1);
        nack.received(Micros(0), 0);
        assert_eq!(nack.received(Micros(0), 513), Gaps::Opened);
        assert_eq!(nack.received(Micros(0), 515), Gaps::TooMany);
        assert!(nack.is_empty());
        nack.received(Micros(0), 518);
        let mut tries = 0;
        for ms in 0..20_000 {
            tries += due(&mut nack, ms * 1_000)
                .iter()
                .filter(|&&i| i == 516)
                .count();
        }
        assert!((4..=10).contains(&tries), "{tries}");
    }
}
