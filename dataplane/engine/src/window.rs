/// What a [`Window`] says about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not before; it is now.
    New,
    /// Yes.
    Already,
    /// So old that it cannot be told.
    TooOld,
}

/// Remembers which of the last `64 * WORDS` numbers were seen.
#[derive(Debug, Clone)]
pub(crate) struct Window<const WORDS: usize> {
    bits: [u64; WORDS],
    /// Highest number seen, plus one.
    next: u64,
    /// Numbers below this one count as too old.
    floor: u64,
}

impl<const WORDS: usize> Window<WORDS> {
    const SPAN: u64 = 64 * WORDS as u64;

    /// A window that has seen nothing, and takes no number below `floor`.
    pub(crate) fn from(floor: u64) -> Self {
        Self {
            bits: [0; WORDS],
            next: floor,
            floor,
        }
    }

    /// Highest number seen, plus one; at first, the floor.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn place(number: u64) -> (usize, u64) {
        let bit = number % Self::SPAN;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn is_old(&self, number: u64) -> bool {
        number < self.floor || number + Self::SPAN < self.next
    }

    /// Whether a number was seen, and remembers it.
    pub(crate) fn insert(&mut self, number: u64) -> Seen {
        if self.is_old(number) {
            return Seen::TooOld;
        }
        let (word, bit) = Self::place(number);
        if number >= self.next {
            if number - self.next >= Self::SPAN {
                self.bits = [0; WORDS];
            } else {
                for skipped in self.next..=number {
                    let (word, bit) = Self::place(skipped);
                    self.bits[word] &= !bit;
                }
            }
            self.next = number + 1;
            self.floor = self.floor.max(self.next.saturating_sub(Self::SPAN));
        } else if self.bits[word] & bit != 0 {
            return Seen::Already;
        }
        self.bits[word] |= bit;
        Seen::New
    }

    /// Whether a number was seen, as far as is remembered.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        number < self.next && !self.is_old(number) && self.bits[word] & bit != 0
    }

    /// What [`insert`](Self::insert) would say.
    pub(crate) fn look(&self, number: u64) -> Seen {
        if self.is_old(number) {
            Seen::TooOld
        } else if self.contains(number) {
            Seen::Already
        } else {
            Seen::New
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(crate::seeded())]

        /// Against a set: nothing is new twice, and nothing recent is forgotten.
        #[test]
        fn agrees_with_a_set(start in 0_u64..1 << 40, steps in prop::collection::vec(-150_i64..200, 1..400)) {
            let mut window = Window::<2>::from(start);
            let mut set = BTreeSet::new();
            let mut at = start;
            for step in steps {
                at = at.saturating_add_signed(step);
                let highest = set.last().map_or(start, |h: &u64| h + 1);
                let expected = if at < start || at + 128 < highest {
                    Seen::TooOld
                } else if set.contains(&at) {
                    Seen::Already
                } else {
                    Seen::New
                };
                prop_assert_eq!(window.look(at), expected);
                prop_assert_eq!(window.insert(at), expected);
                if expected == Seen::New {
                    set.insert(at);
                }
            }
        }
    }
}
