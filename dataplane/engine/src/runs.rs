/// From a position in a source's stream on: the index that it goes out with. Positions after it follow one by one, up
/// to where the next run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Run {
    position: u64,
    index: u64,
    /// Pictures left out of the source so far, modulo 2^16.
    pictures: u16,
}

/// Where a packet goes in a viewer's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u64,
    /// Pictures left out before it.
    pub(crate) pictures: u16,
}

/// Gives the packets that a viewer gets indices without gaps, whatever is left out between them, and tells which
/// packet an index was given to.
///
/// A packet that is left out when it is the newest takes no index. One that comes late has had an index kept for it,
/// as nobody knew what it would be: something must be sent there. What was decided stays, as far as it is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    list: Box<[Run]>,
    /// Place of the newest.
    newest: usize,
    /// Index at which the source began; runs before it are of others.
    start: u64,
    /// Position behind the newest that was placed or left out.
    next: u64,
}

impl Runs {
    /// Remembers so many runs.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            list: vec![Run::default(); count].into_boxed_slice(),
            newest: 0,
            start: u64::MAX,
            next: 0,
        }
    }

    /// Another source begins: its `position` goes out as `index`.
    pub(crate) fn begin(&mut self, position: u64, index: u64) {
        self.start = index;
        self.next = position;
        self.push(Run {
            position,
            index,
            pictures: 0,
        });
    }

    /// A run that nothing was placed in gives way to the one after it.
    fn push(&mut self, run: Run) {
        let last = &mut self.list[self.newest];
        if last.index < run.index || *last == Run::default() {
            self.newest = (self.newest + 1) % self.list.len();
        }
        self.list[self.newest] = run;
    }

    /// Outgoing index less position, of what comes next.
    pub(crate) fn offset(&self) -> i64 {
        let last = &self.list[self.newest];
        last.index.wrapping_sub(last.position).cast_signed()
    }

    /// Pictures left out of the source so far, modulo 2^16.
    pub(crate) fn left_out(&self) -> u16 {
        self.list[self.newest].pictures
    }

    /// Runs from the newest on, each with the index at which it ends.
    fn backward(&self) -> impl Iterator<Item = (&Run, u64)> {
        let mut end = u64::MAX;
        let count = self.list.len();
        (0..count).map(move |back| {
            let run = &self.list[(self.newest + count - back) % count];
            (run, std::mem::replace(&mut end, run.index))
        })
    }

    /// The place of a packet that is to be sent; `None` if it was left out, or is too old to tell.
    pub(crate) fn place(&mut self, position: u64) -> Option<Place> {
        let place = self.of(position)?;
        self.next = self.next.max(position + 1);
        Some(place)
    }

    /// Leaves a packet out; `new_picture` says whether it is the first of a picture that goes with it. If it comes
    /// late, the place that was kept for it.
    pub(crate) fn leave_out(&mut self, position: u64, new_picture: bool) -> Option<Place> {
        if position < self.next {
            return self.of(position);
        }
        let Run {
            position: first,
            index,
            pictures,
        } = self.list[self.newest];
        self.push(Run {
            position: position + 1,
            index: index + (position - first),
            pictures: pictures.wrapping_add(u16::from(new_picture)),
        });
        self.next = position + 1;
        None
    }

    fn of(&self, position: u64) -> Option<Place> {
        let (run, end) = self
            .backward()
            .take_while(|(run, _)| run.index >= self.start)
            .find(|(run, _)| run.position <= position)?;
        let index = run.index.checked_add(position - run.position)?;
        (index < end).then_some(Place {
            index,
            pictures: run.pictures,
        })
    }

    /// The position that an index was given to, in the source that was being sent then.
    pub(crate) fn position_of(&self, index: u64) -> Option<(u64, u16)> {
        let found = self.backward().find(|(run, _)| run.index <= index);
        let (run, _) = found.filter(|(run, _)| **run != Run::default())?;
        Some((run.position.checked_add(index - run.index)?, run.pictures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RUNS;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_left_out_in_order_leaves_no_gap_and_what_comes_late_has_a_place() {
        let mut runs = Runs::new(RUNS);
        runs.begin(10, 100);
        assert_eq!(runs.place(10).map(|p| p.index), Some(100));
        assert_eq!(runs.leave_out(11, true), None);
        assert_eq!(runs.leave_out(12, false), None);
        assert_eq!(
            runs.place(14),
            Some(Place {
                index: 102,
                pictures: 1
            })
        );
        assert_eq!(runs.leave_out(13, true).map(|p| p.index), Some(101), "late");
        assert_eq!(runs.place(11), None, "it was left out");
        assert_eq!(runs.position_of(101), Some((13, 1)));
        assert_eq!(runs.position_of(100), Some((10, 0)));
        assert_eq!(runs.position_of(99), None);
        assert_eq!(runs.offset(), 88);
        // Another source, after a packet that was left out last.
        assert_eq!(runs.leave_out(15, true), None);
        runs.begin(7, 103);
        assert_eq!(
            runs.place(7),
            Some(Place {
                index: 103,
                pictures: 0
            })
        );
        assert_eq!(runs.position_of(102), Some((14, 1)));
        assert_eq!(runs.place(6), None, "before it began");
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        /// Packets come in any order within bounds, some never, and some are left out.
        #[test]
        fn indices_are_dense_but_for_what_never_came(
            fates in prop::collection::vec((any::<bool>(), 0_u8..10, 0_u64..6), 1..400),
        ) {
            let mut arrivals: Vec<(u64, u64, bool)> = fates
                .iter()
                .enumerate()
                .filter(|(_, (_, fate, _))| *fate > 0)
                .map(|(position, (out, _, late))| (position as u64 + late, position as u64, *out))
                .collect();
            arrivals.sort_unstable();
            let mut runs = Runs::new(RUNS);
            runs.begin(0, 1_000);
            let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
            for &(_, position, out) in &arrivals {
                let place = if out { runs.leave_out(position, false) } else { runs.place(position) };
                prop_assert!(out || place.is_some());
                if let Some(place) = place {
                    prop_assert_eq!(sent.insert(place.index, position), None, "one index, one packet");
                }
                for (&index, &position) in sent.iter().rev().take(20) {
                    prop_assert_eq!(runs.position_of(index).map(|(at, _)| at), Some(position));
                }
            }
            let never: Vec<u64> = (0..).zip(&fates).filter(|(_, fate)| fate.1 == 0).map(|(p, _)| p).collect();
            // Order is kept, and a gap lies only where something never came.
            let pairs: Vec<_> = sent.into_iter().collect();
            for pair in pairs.windows(2) {
                let [(low, before), (high, after)] = pair else { unreachable!() };
                prop_assert!(before < after);
                let lost = (before + 1..*after).filter(|p| never.contains(p)).count() as u64;
                prop_assert!(high - low - 1 <= lost, "{} missing between, {lost} lost", high - low - 1);
            }
        }
    }
}
