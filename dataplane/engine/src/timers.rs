use crate::limits::{TICK_US, WHEEL_SLOTS};
use crate::time::Micros;

/// What a timer is for. Each row has at most one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerKind {
    /// Sender and receiver reports of a transport.
    Report,
    /// Transport-wide feedback of a transport.
    Feedback,
    /// Missing packets of an encoding.
    Nack,
    /// A keyframe of an encoding that was asked for.
    Keyframe,
    /// A look whether somebody still waits for a keyframe of an encoding.
    KeyframeWait,
    /// Upkeep of an encoding.
    Upkeep,
    /// Estimate and layers of a viewer's transport.
    Bandwidth,
    /// What a viewer's transport is behind with.
    Pacer,
    /// Rows that were torn when they were read; there is one, of row 0.
    TornRows,
}

impl TimerKind {
    const ALL: [Self; 9] = [
        Self::Report,
        Self::Feedback,
        Self::Nack,
        Self::Keyframe,
        Self::KeyframeWait,
        Self::Upkeep,
        Self::Bandwidth,
        Self::Pacer,
        Self::TornRows,
    ];
}

const SLOTS: usize = WHEEL_SLOTS;
const TURN: u64 = WHEEL_SLOTS as u64;
/// End of a list.
const NONE: u32 = u32::MAX;
/// Not in any list.
const IDLE: u32 = u32::MAX - 1;

/// Timing wheel of intrusive lists: arming and firing are a few stores, nothing is
/// ever allocated, and only rows with something due are looked at.
pub(crate) struct Timers {
    heads: [u32; SLOTS],
    /// Bit for each slot that is not empty.
    occupied: [u64; SLOTS / 64],
    /// For each (kind, row): the next in its list, or idle.
    links: Vec<u32>,
    rows: u32,
    /// All ticks below this one have been handled.
    tick: u64,
}

impl Timers {
    /// Timers for rows below `rows`.
    pub(crate) fn new(rows: u32) -> Self {
        Self {
            heads: [NONE; SLOTS],
            occupied: [0; SLOTS / 64],
            links: vec![IDLE; rows as usize * TimerKind::ALL.len()],
            rows,
            tick: 0,
        }
    }

    fn id(&self, kind: TimerKind, row: u32) -> u32 {
        kind as u32 * self.rows + row
    }

    fn slot(tick: u64) -> usize {
        (tick % TURN) as usize
    }

    /// Sets a timer, unless it is set already. It fires at the first tick not before `at`.
    pub(crate) fn arm(&mut self, kind: TimerKind, row: u32, at: Micros) {
        if row >= self.rows {
            return;
        }
        let id = self.id(kind, row);
        if self.links.get(id as usize) != Some(&IDLE) {
            return;
        }
        let tick = at.0.div_ceil(TICK_US);
        // The wheel stands where something was last due. It is turned as far as this needs,
        // past slots that are empty.
        let needed = tick.saturating_sub(TURN - 1);
        if needed > self.tick {
            let free = self.next_tick().map_or(needed, |next| next.min(needed));
            self.tick = self.tick.max(free);
        }
        let tick = tick.clamp(self.tick, self.tick + TURN - 1);
        let slot = Self::slot(tick);
        self.links[id as usize] = self.heads[slot];
        self.heads[slot] = id;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.next_tick().map(|tick| Micros(tick * TICK_US))
    }

    fn next_tick(&self) -> Option<u64> {
        let mut tick = self.tick;
        let end = self.tick + TURN;
        while tick < end {
            let slot = Self::slot(tick);
            let rest = self.occupied[slot / 64] >> (slot % 64);
            if rest != 0 {
                let found = tick + u64::from(rest.trailing_zeros());
                return (found < end).then_some(found);
            }
            tick += 64 - (slot % 64) as u64;
        }
        None
    }

    /// Starts handling what is due at `now`: gives the list of each due slot in turn;
    /// walk it with [`step`](Self::step).
    pub(crate) fn begin(&mut self, now: Micros) -> Option<u32> {
        let due = now.0 / TICK_US;
        if due >= self.tick + TURN {
            // Away for a whole turn: every slot is due once.
            self.tick = due - TURN + 1;
        }
        while self.tick <= due {
            let slot = Self::slot(self.tick);
            self.tick += 1;
            if self.heads[slot] != NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
                return Some(std::mem::replace(&mut self.heads[slot], NONE));
            }
        }
        None
    }

    /// Takes one timer off a list that [`begin`](Self::begin) gave. It can be armed again.
    pub(crate) fn step(&mut self, list: &mut u32) -> Option<(TimerKind, u32)> {
        let id = *list;
        let link = self.links.get_mut(id as usize)?;
        *list = std::mem::replace(link, IDLE);
        let kind = TimerKind::ALL.get((id / self.rows) as usize)?;
        Some((*kind, id % self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fire(timers: &mut Timers, now: u64) -> Vec<(TimerKind, u32)> {
        let mut fired = Vec::new();
        while let Some(mut list) = timers.begin(Micros(now)) {
            while let Some(timer) = timers.step(&mut list) {
                fired.push(timer);
            }
        }
        fired
    }

    #[test]
    fn each_fires_once_at_its_time_and_can_be_armed_again() {
        let mut timers = Timers::new(10);
        assert_eq!(timers.next(), None);
        timers.arm(TimerKind::Nack, 3, Micros(12_000));
        timers.arm(TimerKind::Nack, 3, Micros(400_000));
        timers.arm(TimerKind::Report, 9, Micros(1_000_000));
        timers.arm(TimerKind::Report, 10, Micros(0));
        assert_eq!(timers.next(), Some(Micros(15_000)));
        assert_eq!(fire(&mut timers, 14_999), []);
        assert_eq!(fire(&mut timers, 15_000), [(TimerKind::Nack, 3)]);
        assert_eq!(timers.next(), Some(Micros(1_000_000)));
        timers.arm(TimerKind::Nack, 3, Micros(20_000));
        assert_eq!(
            fire(&mut timers, 900_000),
            [(TimerKind::Nack, 3)],
            "late is not lost"
        );
        assert_eq!(fire(&mut timers, 60_000_000), [(TimerKind::Report, 9)]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn none_fires_early_because_the_wheel_stood_still() {
        let mut timers = Timers::new(2);
        // Armed for a turn ahead when the wheel last moved 0.9 s ago.
        timers.arm(TimerKind::Report, 0, Micros(1_000_000));
        timers.arm(TimerKind::Report, 1, Micros(1_900_000));
        assert_eq!(fire(&mut timers, 1_000_000), [(TimerKind::Report, 0)]);
        assert_eq!(timers.next(), Some(Micros(1_900_000)));
        assert_eq!(fire(&mut timers, 1_899_999), []);
        assert_eq!(fire(&mut timers, 1_900_000), [(TimerKind::Report, 1)]);
    }

    #[test]
    fn one_armed_while_firing_waits_for_the_next_tick() {
        let mut timers = Timers::new(1);
        timers.arm(TimerKind::Upkeep, 0, Micros(5_000));
        let mut list = timers.begin(Micros(5_000)).unwrap();
        assert!(timers.step(&mut list).is_some());
        timers.arm(TimerKind::Upkeep, 0, Micros(0));
        assert!(timers.step(&mut list).is_none());
        assert!(timers.begin(Micros(5_000)).is_none());
        assert_eq!(fire(&mut timers, 10_000).len(), 1);
    }
}
