use crate::layers::{Layer, Target};
use crate::limits::ALLOCATION_STEPS;
use crate::rates::Rates;
use crate::time::Micros;
use std::cmp::Reverse;

/// More is given only where so much would be left over, as a fraction.
pub const MARGIN: (u64, u64) = (23, 20);

/// What is sent goes on with this share of what it takes, as a fraction: an estimate made of what was just delivered
/// is never more than that.
pub const KEPT: (u64, u64) = (12, 13);

/// A picture that is shown goes on with this share of what its lowest step takes, as a fraction: an
/// estimate errs by as much, and the pacer and the viewer's buffer bridge the rest.
const LEAST: (u64, u64) = (3, 4);

/// Something that a video track may be sent as, and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) target: Target,
    /// Bits per second, with all below.
    pub(crate) bps: u64,
}

/// What a video track may be sent as, lowest first.
///
/// Fewer pictures a second are a step of the lowest picture size alone: of a larger one, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    list: [Step; ALLOCATION_STEPS],
    len: usize,
}

impl Steps {
    pub(crate) const fn new() -> Self {
        let none = Step {
            target: Target::TOP,
            bps: 0,
        };
        Self {
            list: [none; ALLOCATION_STEPS],
            len: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[Step] {
        &self.list[..self.len]
    }

    /// Where there are too many, the last gives way.
    fn push(&mut self, target: Target, bps: u64) {
        let at = self.len.min(ALLOCATION_STEPS - 1);
        self.list[at] = Step { target, bps };
        self.len = at + 1;
    }

    /// Appends an encoding that is live, and what there is inside it up to a bound.
    pub(crate) fn add(&mut self, encoding: u8, rates: &Rates, bound: Layer) {
        let best = |spatial: u8| {
            let of = |temporal| rates.of(Layer { spatial, temporal });
            (0..=bound.temporal).rev().map(of).find(|&bps| bps > 0)
        };
        let top = (0..=bound.spatial).rev().find_map(best);
        let top = top.unwrap_or(rates.bps());
        if top == 0 {
            return;
        }
        let lowest = (0..=bound.spatial).find(|&spatial| best(spatial).is_some());
        if let Some(spatial) = lowest.filter(|_| self.len == 0) {
            for temporal in 0..=bound.temporal {
                let layer = Layer { spatial, temporal };
                self.add_part(Target { encoding, layer }, rates.of(layer), top);
            }
        }
        for spatial in 0..=bound.spatial {
            let temporal = Layer::TOP.temporal;
            let layer = Layer { spatial, temporal };
            self.add_part(Target { encoding, layer }, best(spatial).unwrap_or(0), top);
        }
        let layer = Layer::TOP;
        self.push(Target { encoding, layer }, top);
    }

    /// Counts in what is sent besides: each step takes so much more, as a fraction.
    pub(crate) fn grow(&mut self, (times, of): (u64, u64)) {
        for step in &mut self.list[..self.len] {
            step.bps = step.bps.saturating_mul(times) / of.max(1);
        }
    }

    /// What takes no more than what is below it, or as much as all, is no step.
    fn add_part(&mut self, target: Target, bps: u64, top: u64) {
        let below = self.as_slice().last().map_or(0, |step| step.bps);
        if below < bps && bps < top {
            self.push(target, bps);
        }
    }
}

/// What one video track of a viewer may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Row of the subscription.
    pub(crate) row: u32,
    /// Higher goes first.
    pub(crate) priority: u8,
    /// What is live, and the control plane allows.
    pub(crate) steps: Steps,
    /// What it was given before.
    pub(crate) current: Option<Target>,
    /// It may be given more than before.
    pub(crate) may_rise: bool,
    /// It is given the lowest step, whatever there is room for.
    pub(crate) kept: bool,
    /// So many steps it is given.
    pub(crate) taken: usize,
}

impl Claim {
    /// Most that it would take, bits per second.
    pub(crate) fn most(&self) -> u64 {
        let rates = self.steps.as_slice().iter().map(|step| step.bps);
        rates.max().unwrap_or(0)
    }

    /// What it is given; `None` is nothing.
    ///
    /// All that is live is given: so would be what may yet come. Where nothing is live, what was given
    /// before stays, so that it is there when something comes.
    pub(crate) fn given(&self) -> Option<Target> {
        match self.steps.as_slice() {
            [] => Some(self.current.unwrap_or(Target::TOP)),
            steps if self.taken == steps.len() => Some(Target::TOP),
            steps => Some(steps.get(self.taken.checked_sub(1)?)?.target),
        }
    }

    /// What the next step costs above what is given, if there is one and it fits.
    fn next(&self, left: u64) -> Option<u64> {
        let (cost, needs) = self.need()?;
        (needs <= left).then_some(cost)
    }

    /// What the next step costs above what is given, and what must be left for it: with a margin where it is more
    /// than before. `None` where there is none, or it may not be given yet.
    fn need(&self) -> Option<(u64, u64)> {
        let steps = self.steps.as_slice();
        let step = steps.get(self.taken)?;
        let below = self.given_bps();
        let cost = step.bps.saturating_sub(below);
        if self.current.is_some_and(|current| step.target <= current) {
            let kept = step.bps.saturating_mul(KEPT.0) / KEPT.1;
            return Some((cost, kept.saturating_sub(below)));
        }
        let needs = cost.saturating_mul(MARGIN.0) / MARGIN.1;
        self.may_rise.then_some((cost, needs))
    }

    /// Bits per second of what is given.
    fn given_bps(&self) -> u64 {
        let steps = self.steps.as_slice();
        self.taken.checked_sub(1).map_or(0, |at| steps[at].bps)
    }
}

/// Gives each claim steps: all of them their lowest first, those of high priority before
/// others; then round by round one step more, as long as there is room.
///
/// What is shown is not stopped for a small error: all lowest steps together may take a third more
/// than there is.
pub(crate) fn allocate(budget: u64, claims: &mut [Claim]) {
    claims.sort_unstable_by_key(|claim| (Reverse(claim.priority), claim.row));
    let mut left = budget;
    let mut lenient = budget.saturating_mul(LEAST.1) / LEAST.0;
    for claim in claims.iter_mut() {
        let shown = claim.current.is_some();
        let lowest = claim.steps.as_slice().first().map(|step| step.bps);
        let lowest = lowest.filter(|&bps| claim.kept || (shown && bps <= lenient));
        claim.taken = usize::from(lowest.is_some());
        let cost = lowest.unwrap_or(0);
        (left, lenient) = (left.saturating_sub(cost), lenient.saturating_sub(cost));
    }
    loop {
        let mut raised = false;
        for claim in claims.iter_mut() {
            if let Some(cost) = claim.next(left) {
                left = left.saturating_sub(cost);
                claim.taken += 1;
                raised = true;
            }
        }
        if !raised {
            break;
        }
    }
}

/// The least budget with which one of these claims would have been given a step more; 0 is none.
pub(crate) fn next_bps(claims: &[Claim]) -> u64 {
    let given: u64 = claims.iter().map(Claim::given_bps).sum();
    let needs = claims.iter().filter_map(|claim| Some(claim.need()?.1));
    needs.min().map_or(0, |needs| given + needs)
}

/// How long a viewer must wait for more after it was given less: longer each time that it did
/// not last, microseconds. Public for the simulator, whose viewers wait as real ones do.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    lowered: Option<Micros>,
    raised: Option<Micros>,
    hold_us: u64,
}

/// Least and most to wait, and how long a rise has to last.
const HOLD_US: (u64, u64) = (3_000_000, 24_000_000);
const LASTS_US: u64 = 20_000_000;

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// Nothing happened yet.
    pub const fn new() -> Self {
        Self {
            lowered: None,
            raised: None,
            hold_us: HOLD_US.0,
        }
    }

    /// Whether it has waited long enough.
    pub fn may_rise(&self, now: Micros) -> bool {
        self.lowered.is_none_or(|at| now.since(at) >= self.hold_us)
    }

    /// It was given more.
    pub fn rose(&mut self, now: Micros) {
        self.raised = Some(now);
    }

    /// It was given less.
    pub fn fell(&mut self, now: Micros) {
        let lasted = self.raised.is_none_or(|at| now.since(at) > LASTS_US);
        self.hold_us = if lasted {
            HOLD_US.0
        } else {
            (self.hold_us * 2).min(HOLD_US.1)
        };
        self.lowered = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_besides_counts_in_each_step() {
        let mut steps = Steps::new();
        steps.push(Target::TOP, 300);
        steps.push(Target::TOP, 900);
        steps.grow((4, 3));
        let bps: Vec<_> = steps.as_slice().iter().map(|step| step.bps).collect();
        assert_eq!(bps, [400, 1_200]);
    }
    use proptest::prelude::*;

    /// Steps that are encodings; 0 is not live.
    fn claim(row: u32, priority: u8, rates: &[u64]) -> Claim {
        let mut steps = Steps::new();
        for (encoding, &bps) in (0..).zip(rates).filter(|(_, bps)| **bps > 0) {
            steps.push(whole(encoding), bps);
        }
        Claim {
            row,
            priority,
            steps,
            current: None,
            may_rise: true,
            kept: false,
            taken: 0,
        }
    }

    fn whole(encoding: u8) -> Target {
        Target {
            encoding,
            layer: Layer::TOP,
        }
    }

    const SIMULCAST: [u64; 3] = [150_000, 500_000, 1_700_000];

    #[test]
    fn what_is_kept_gets_its_lowest_step_whatever_there_is() {
        let mut claims = [claim(1, 0, &[300, 900])];
        claims[0].kept = true;
        allocate(100, &mut claims);
        assert_eq!(claims[0].taken, 1);
        allocate(2_000, &mut claims);
        assert_eq!(claims[0].taken, 2);
    }

    #[test]
    fn all_get_something_before_one_gets_more_and_priority_goes_first() {
        let mut claims = [claim(1, 0, &SIMULCAST), claim(2, 9, &SIMULCAST)];
        let given = |claims: &[Claim; 2]| claims.map(|c| (c.row, c.given()));
        allocate(200_000, &mut claims);
        assert_eq!(given(&claims), [(2, Some(whole(0))), (1, None)]);
        allocate(1_000_000, &mut claims);
        assert_eq!(given(&claims), [(2, Some(whole(1))), (1, Some(whole(0)))]);
        allocate(10_000_000, &mut claims);
        assert!(
            claims
                .iter()
                .all(|claim| claim.given() == Some(Target::TOP))
        );
    }

    #[test]
    fn more_needs_a_margin_and_the_same_does_not() {
        let mut claims = [claim(1, 0, &SIMULCAST)];
        allocate(510_000, &mut claims);
        assert_eq!(claims[0].given(), Some(whole(0)));
        assert_eq!(next_bps(&claims), 150_000 + 350_000 * 23 / 20);
        claims[0].current = Some(whole(1));
        allocate(510_000, &mut claims);
        assert_eq!(claims[0].given(), Some(whole(1)));
        assert_eq!(next_bps(&claims), 500_000 + 1_200_000 * 23 / 20);
        // Nor does a bit less than the same, as what was just delivered tells it.
        allocate(465_000, &mut claims);
        assert_eq!(claims[0].given(), Some(whole(1)));
        allocate(455_000, &mut claims);
        assert_eq!(claims[0].given(), Some(whole(0)));
        claims[0].current = Some(whole(1));
        claims[0].may_rise = false;
        allocate(9_000_000, &mut claims);
        assert_eq!(claims[0].given(), Some(whole(1)));
    }

    #[test]
    fn a_picture_that_is_shown_bears_a_small_error_and_one_that_is_not_begins_with_room() {
        let given = |budget: u64, shown: [bool; 2]| {
            let mut claims = [claim(1, 0, &[400_000]), claim(2, 0, &[400_000])];
            for (claim, shown) in claims.iter_mut().zip(shown) {
                claim.current = shown.then(|| whole(0));
            }
            allocate(budget, &mut claims);
            claims.map(|claim| claim.given().is_some())
        };
        assert_eq!(given(610_000, [true; 2]), [true; 2]);
        assert_eq!(given(590_000, [true; 2]), [true, false]);
        assert_eq!(given(290_000, [true; 2]), [false; 2]);
        assert_eq!(given(450_000, [false; 2]), [false; 2]);
        assert_eq!(given(470_000, [false; 2]), [true, false]);
    }

    #[test]
    fn what_is_not_live_keeps_what_it_had() {
        let mut claims = [claim(1, 0, &[]), claim(2, 0, &[])];
        claims[1].current = Some(whole(1));
        allocate(0, &mut claims);
        let given = claims.map(|claim| claim.given());
        assert_eq!(given, [Some(Target::TOP), Some(whole(1))]);
    }

    #[test]
    fn a_rise_that_does_not_last_is_waited_for_longer() {
        let mut patience = Patience::new();
        let at = |seconds: u64| Micros(seconds * 1_000_000);
        patience.fell(at(100));
        assert!(!patience.may_rise(at(102)) && patience.may_rise(at(104)));
        patience.rose(at(104));
        patience.fell(at(106));
        assert!(!patience.may_rise(at(111)) && patience.may_rise(at(113)));
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        /// Never more than there is, and nobody without where the lowest layer of all fits.
        #[test]
        fn keeps_to_the_budget(
            budget in 0_u64..20_000_000,
            list in prop::collection::vec((0_u8..3, prop::array::uniform4(0_u64..4_000_000)), 1..12),
        ) {
            let mut claims: Vec<_> = (0..)
                .zip(&list)
                .map(|(row, (priority, rates))| claim(row, *priority, rates))
                .collect();
            allocate(budget, &mut claims);
            // Of an encoding that takes less than the one below it, nothing comes back.
            let cost = |c: &Claim| {
                let rates = c.steps.as_slice()[..c.taken].iter().map(|step| step.bps);
                rates.fold((0, 0), |(sum, below), bps| (sum + bps.saturating_sub(below), bps)).0
            };
            let total: u64 = claims.iter().map(cost).sum();
            prop_assert!(total <= budget, "{total} of {budget}");
            for claim in claims.iter().filter(|claim| claim.taken == 0) {
                let left = budget - total;
                let lowest = claim.steps.as_slice().first().map_or(u64::MAX, |step| step.bps);
                prop_assert!(lowest.saturating_mul(MARGIN.0) / MARGIN.1 > left, "it had fitted");
            }
        }
    }
}
