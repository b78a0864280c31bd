//! Which packets of a numbered series have arrived: a window of bits over the newest, counts of all before.

/// Packets that the window holds: more than two seconds of any stream that is sent here.
const WINDOW: u64 = 4096;
const WORDS: usize = 64;
const _: () = assert!(WINDOW == 64 * WORDS as u64);

/// Counts arrivals by number, whatever their order.
///
/// Numbers below `settled` are decided: each was received or lost. Everything counts from the first that arrived.
#[derive(Default)]
pub(crate) struct Arrivals {
    first: Option<u64>,
    settled: u64,
    /// One past the highest that arrived.
    end: u64,
    bits: Bits,
    received: u64,
    lost: u64,
    late: u64,
    duplicates: u64,
}

struct Bits([u64; WORDS]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Bits {
    fn place(number: u64) -> (usize, u64) {
        let at = number % WINDOW;
        (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.0[word] & bit != 0
    }

    fn set(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        self.0[word] |= bit;
    }

    fn take(&mut self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        let had = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        had
    }
}

/// Packets whose fate is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) received: u64,
    pub(crate) lost: u64,
}

impl std::ops::AddAssign for Decided {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.lost += other.lost;
    }
}

/// What an arrival was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// It had arrived before.
    Duplicate,
    /// It was given up before, or was sent before the first that arrived.
    Late,
}

impl Arrivals {
    /// Notes an arrival.
    pub(crate) fn arrive(&mut self, number: u64) -> Arrival {
        if self.first.is_none() {
            self.first = Some(number);
            self.settled = number;
            self.end = number;
        }
        if number < self.settled {
            self.late += 1;
            return Arrival::Late;
        }
        // What falls out of the window is decided by that.
        if number >= self.settled + WINDOW {
            self.settle(number - WINDOW + 1);
        }
        if self.bits.has(number) {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.bits.set(number);
        self.end = self.end.max(number + 1);
        Arrival::New
    }

    /// Decides all numbers below `to`: what has not arrived is lost. Returns what was decided by that.
    pub(crate) fn settle(&mut self, to: u64) -> Decided {
        if self.first.is_none() || to <= self.settled {
            return Decided::default();
        }
        let before = Decided {
            received: self.received,
            lost: self.lost,
        };
        let in_window = to.min(self.settled + WINDOW);
        for number in self.settled..in_window {
            if self.bits.take(number) {
                self.received += 1;
            } else {
                self.lost += 1;
            }
        }
        self.lost += to - in_window;
        self.settled = to;
        self.end = self.end.max(to);
        Decided {
            received: self.received - before.received,
            lost: self.lost - before.lost,
        }
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        number >= self.settled && number < self.end && self.bits.has(number)
    }

    /// The first that arrived.
    pub(crate) fn first(&self) -> Option<u64> {
        self.first
    }

    /// One past the highest that arrived.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Of those that are decided.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Of those that are decided.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(crate) fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_duplicates_do_not_count() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.settle(100), Decided::default());
        for number in [10, 12, 11, 11, 14, 9] {
            arrivals.arrive(number);
        }
        assert_eq!((arrivals.duplicates(), arrivals.late()), (1, 1));
        assert_eq!(
            arrivals.settle(15),
            Decided {
                received: 4,
                lost: 1
            }
        );
        assert_eq!(arrivals.settle(15), Decided::default());
        assert_eq!(arrivals.arrive(13), Arrival::Late);
        assert_eq!((arrivals.received(), arrivals.lost()), (4, 1));
    }

    #[test]
    fn nothing_after_the_first_is_all_lost() {
        let mut arrivals = Arrivals::default();
        arrivals.arrive(5);
        assert_eq!(arrivals.settle(5 + 3 * WINDOW).lost, 3 * WINDOW - 1);
        assert_eq!(
            (arrivals.received(), arrivals.arrive(5 + 3 * WINDOW)),
            (1, Arrival::New)
        );
    }

    #[test]
    fn a_jump_settles_what_leaves_the_window() {
        let mut arrivals = Arrivals::default();
        for number in 0..10 {
            arrivals.arrive(number);
        }
        assert_eq!(arrivals.arrive(WINDOW + 4), Arrival::New);
        assert_eq!(
            (
                arrivals.received(),
                arrivals.lost(),
                arrivals.has(7),
                arrivals.has(2)
            ),
            (5, 0, true, false)
        );
        arrivals.arrive(1 << 39);
        arrivals.settle((1 << 39) + 1);
        assert_eq!(
            (arrivals.received(), arrivals.lost()),
            (12, (1 << 39) + 1 - 12)
        );
    }
}
