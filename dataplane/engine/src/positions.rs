use crate::limits::SKIPPED;

/// Turns sequence numbers of a publisher (extended) into positions in the
/// encoding's stream, which viewers' sequence numbers are made from.
///
/// Positions run on over changes of SSRC, and leave out padding-only packets, so
/// that a viewer sees a gap only where something is missing.
#[derive(Debug, Clone)]
pub(crate) struct Positions {
    /// Position less index, for indices above all that were skipped.
    offset: i64,
    /// Indices skipped, in order.
    skipped: [u64; SKIPPED],
    len: usize,
    /// Indices below this one cannot be told any more.
    floor: u64,
}

impl Positions {
    pub(crate) fn new(offset: i64) -> Self {
        Self {
            offset,
            skipped: [0; SKIPPED],
            len: 0,
            floor: 0,
        }
    }

    /// Position less index of what comes next.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// Leaves out an index, which must be above all that were skipped or placed.
    pub(crate) fn skip(&mut self, index: u64) {
        if self.len == SKIPPED {
            self.floor = self.skipped[0] + 1;
            self.skipped.copy_within(1.., 0);
            self.len -= 1;
        }
        self.skipped[self.len] = index;
        self.len += 1;
        self.offset -= 1;
    }

    /// The position of an index; `None` if it was skipped or is too old to tell.
    pub(crate) fn of(&self, index: u64) -> Option<u64> {
        if index < self.floor {
            return None;
        }
        let mut offset = self.offset;
        for &skipped in self.skipped[..self.len].iter().rev() {
            if skipped < index {
                break;
            }
            if skipped == index {
                return None;
            }
            offset += 1;
        }
        index.checked_add_signed(offset)
    }

    /// Another stream begins with `index`; its position shall be `position`.
    pub(crate) fn restart(&mut self, index: u64, position: u64) {
        *self = Self::new(position.wrapping_sub(index).cast_signed());
        self.floor = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn skipped_indices_leave_no_gap() {
        let mut positions = Positions::new(1_000);
        assert_eq!(positions.of(5), Some(1_005));
        positions.skip(6);
        positions.skip(8);
        assert_eq!(positions.of(9), Some(1_007));
        assert_eq!(positions.of(8), None);
        assert_eq!(positions.of(7), Some(1_006), "late, between the two");
        assert_eq!(positions.of(5), Some(1_005));
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn positions_are_dense_and_stay(skips in prop::collection::vec(any::<bool>(), 1..500)) {
            let mut positions = Positions::new(0);
            let mut placed = Vec::new();
            for (index, &skip) in skips.iter().enumerate() {
                let index = index as u64;
                if skip {
                    positions.skip(index);
                } else {
                    prop_assert_eq!(positions.of(index), Some(placed.len() as u64));
                    placed.push(index);
                }
                for (position, &index) in placed.iter().enumerate().rev().take(70) {
                    let now = positions.of(index);
                    prop_assert!(now == Some(position as u64) || (now.is_none() && index < positions.floor));
                }
            }
        }
    }
}
