use crate::time::Micros;
use ion_tables::TrackConfig;
use std::cmp::Reverse;

const LAYERS: usize = TrackConfig::MAX_ENCODINGS;
/// More is given only where so much would be left over, as a fraction.
const MARGIN: (u64, u64) = (23, 20);

/// What one video track of a viewer may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Row of the subscription.
    pub(crate) row: u32,
    /// Higher goes first.
    pub(crate) priority: u8,
    /// Bits per second of each layer, lowest first; 0 is not live.
    pub(crate) rates: [u64; LAYERS],
    /// Highest that the control plane allows.
    pub(crate) top: usize,
    /// What it was given before.
    pub(crate) current: Option<usize>,
    /// It may be given more than before.
    pub(crate) may_rise: bool,
    /// What it is given; `None` is nothing.
    pub(crate) given: Option<usize>,
}

impl Claim {
    /// Most that it would take, bits per second.
    pub(crate) fn most(&self) -> u64 {
        self.rates[..=self.top.min(LAYERS - 1)]
            .iter()
            .max()
            .copied()
            .unwrap_or(0)
    }

    /// The next live layer above what it is given.
    fn next(&self) -> Option<usize> {
        let from = self.given.map_or(0, |given| given + 1);
        (from..=self.top.min(LAYERS - 1)).find(|&layer| self.rates[layer] > 0)
    }

    /// What a layer costs above what is given, for the purpose of deciding: more where it is
    /// more than before.
    fn fits(&self, layer: usize, cost: u64, left: u64) -> bool {
        if self.current.is_some_and(|current| layer <= current) {
            return cost <= left;
        }
        self.may_rise && cost.saturating_mul(MARGIN.0) / MARGIN.1 <= left
    }
}

/// Gives each claim a layer: all of them their lowest first, those of high priority before
/// others; then round by round one layer more, as long as there is room.
///
/// The live layers alone count. Where none is live, what was given before stays, so that it
/// is there when the layer comes.
pub(crate) fn allocate(budget: u64, claims: &mut [Claim]) {
    claims.sort_unstable_by_key(|claim| (Reverse(claim.priority), claim.row));
    let mut left = budget;
    for claim in claims.iter_mut() {
        claim.given = None;
        if claim.most() == 0 {
            claim.given = Some(claim.current.unwrap_or(claim.top));
        }
    }
    loop {
        let mut raised = false;
        for claim in claims.iter_mut().filter(|claim| claim.most() > 0) {
            let Some(layer) = claim.next() else { continue };
            let before = claim.given.map_or(0, |given| claim.rates[given]);
            let cost = claim.rates[layer].saturating_sub(before);
            if claim.fits(layer, cost, left) {
                left -= cost;
                claim.given = Some(layer);
                raised = true;
            }
        }
        if !raised {
            break;
        }
    }
    for claim in claims.iter_mut() {
        // All that is live is given: so would be what may yet come.
        if claim.most() > 0 && claim.next().is_none() {
            claim.given = Some(claim.top);
        }
    }
}

/// How long a viewer must wait for more after it was given less: longer each time that it did
/// not last, microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    lowered: Option<Micros>,
    raised: Option<Micros>,
    hold_us: u64,
}

/// Least and most to wait, and how long a rise has to last.
const HOLD_US: (u64, u64) = (3_000_000, 48_000_000);
const LASTS_US: u64 = 20_000_000;

impl Patience {
    pub(crate) const fn new() -> Self {
        Self {
            lowered: None,
            raised: None,
            hold_us: HOLD_US.0,
        }
    }

    pub(crate) fn may_rise(&self, now: Micros) -> bool {
        self.lowered.is_none_or(|at| now.since(at) >= self.hold_us)
    }

    pub(crate) fn rose(&mut self, now: Micros) {
        self.raised = Some(now);
    }

    pub(crate) fn fell(&mut self, now: Micros) {
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
    use proptest::prelude::*;

    fn claim(row: u32, priority: u8, rates: [u64; LAYERS]) -> Claim {
        Claim {
            row,
            priority,
            rates,
            top: LAYERS - 1,
            current: None,
            may_rise: true,
            given: None,
        }
    }

    const SIMULCAST: [u64; LAYERS] = [150_000, 500_000, 1_700_000, 0];

    #[test]
    fn all_get_something_before_one_gets_more_and_priority_goes_first() {
        let mut claims = [claim(1, 0, SIMULCAST), claim(2, 9, SIMULCAST)];
        allocate(200_000, &mut claims);
        assert_eq!(claims.map(|c| (c.row, c.given)), [(2, Some(0)), (1, None)]);
        allocate(1_000_000, &mut claims);
        assert_eq!(
            claims.map(|c| (c.row, c.given)),
            [(2, Some(1)), (1, Some(0))]
        );
        allocate(10_000_000, &mut claims);
        assert!(claims.iter().all(|claim| claim.given == Some(LAYERS - 1)));
    }

    #[test]
    fn more_needs_a_margin_and_the_same_does_not() {
        let mut claims = [claim(1, 0, SIMULCAST)];
        allocate(510_000, &mut claims);
        assert_eq!(claims[0].given, Some(0));
        claims[0].current = Some(1);
        allocate(510_000, &mut claims);
        assert_eq!(claims[0].given, Some(1));
        claims[0].may_rise = false;
        allocate(9_000_000, &mut claims);
        assert_eq!(claims[0].given, Some(1));
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
            list in prop::collection::vec((0_u8..3, prop::array::uniform4(0_u64..4_000_000), 0_usize..4), 1..12),
        ) {
            let mut claims: Vec<_> = (0..)
                .zip(&list)
                .map(|(row, (priority, rates, top))| Claim { top: *top, ..claim(row, *priority, *rates) })
                .collect();
            allocate(budget, &mut claims);
            let cost = |c: &Claim| c.given.map_or(0, |given| {
                c.rates[..=given].iter().rev().find(|&&r| r > 0).copied().unwrap_or(0)
            });
            let total: u64 = claims.iter().map(cost).sum();
            prop_assert!(total <= budget, "{total} of {budget}");
            for claim in &claims {
                prop_assert!(claim.given.is_none_or(|given| given <= claim.top));
            }
        }
    }
}
