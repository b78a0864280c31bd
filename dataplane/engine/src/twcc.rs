use crate::limits::{TWCC_REPORTED, TWCC_WINDOW};
use crate::time::Micros;
use ion_wire::seq;

const SLOTS: usize = TWCC_WINDOW;
const SPAN: u64 = TWCC_WINDOW as u64;

/// When the packets of one publisher's transport came, by transport-wide sequence
/// number, until they have been reported.
pub(crate) struct TwccReceiver {
    /// Arrival in microseconds plus one; 0 is not yet.
    arrivals: Box<[u64; SLOTS]>,
    /// Next number to report.
    base: u64,
    /// Highest number that came, plus one; 0 before the first.
    next: u64,
}

impl TwccReceiver {
    pub(crate) fn new() -> Self {
        Self {
            arrivals: Box::new([0; SLOTS]),
            base: 0,
            next: 0,
        }
    }

    fn slot(&mut self, number: u64) -> &mut u64 {
        &mut self.arrivals[(number % SPAN) as usize]
    }

    /// Takes in a packet.
    pub(crate) fn received(&mut self, now: Micros, number: u16) {
        if self.next == 0 {
            // Room below, so that reordering at the start does not reach zero.
            self.base = (1 << 16) | u64::from(number);
            self.next = self.base;
        }
        let number = seq::extend(number, self.next - 1);
        if number >= self.next {
            let cleared = (number - self.next).min(SPAN);
            for skipped in number - cleared..number {
                *self.slot(skipped) = 0;
            }
            self.next = number + 1;
            self.base = self.base.max(self.next.saturating_sub(SPAN));
        } else if number + SPAN < self.next {
            return;
        } else {
            // Reported as missing, maybe: reported again from here.
            self.base = self.base.min(number);
        }
        *self.slot(number) = now.0 + 1;
    }

    /// Whether there is something to report.
    pub(crate) fn is_pending(&self) -> bool {
        self.base < self.next
    }

    /// Fills `out` with what is to be reported next. Returns the first number and how
    /// many follow; the first stretch with an arrival in it is taken.
    pub(crate) fn pending(
        &mut self,
        out: &mut [Option<u64>; TWCC_REPORTED],
    ) -> Option<(u16, usize)> {
        while self.is_pending() {
            let count = usize::try_from(self.next - self.base)
                .unwrap_or(TWCC_REPORTED)
                .min(TWCC_REPORTED);
            let mut any = false;
            for (number, arrival) in (self.base..).zip(&mut out[..count]) {
                let slot = *self.slot(number);
                *arrival = slot.checked_sub(1);
                any |= slot != 0;
            }
            if any {
                #[expect(clippy::cast_possible_truncation, reason = "as it is on the wire")]
                return Some((self.base as u16, count));
            }
            self.base += count as u64;
        }
        None
    }

    /// The first `count` of what [`pending`](Self::pending) gave have been reported.
    pub(crate) fn reported(&mut self, count: usize) {
        self.base = (self.base + count as u64).min(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(twcc: &mut TwccReceiver) -> Option<(u16, Vec<Option<u64>>)> {
        let mut out = [None; TWCC_REPORTED];
        let (base, count) = twcc.pending(&mut out)?;
        twcc.reported(count);
        Some((base, out[..count].to_vec()))
    }

    #[test]
    fn reports_each_stretch_once_and_late_ones_again() {
        let mut twcc = TwccReceiver::new();
        for number in [65_534_u16, 65_535, 1] {
            twcc.received(Micros(u64::from(number)), number);
        }
        let (base, arrivals) = report(&mut twcc).unwrap();
        assert_eq!(base, 65_534);
        assert_eq!(arrivals, [Some(65_534), Some(65_535), None, Some(1)]);
        assert_eq!(report(&mut twcc), None);
        twcc.received(Micros(70_000), 0);
        assert_eq!(report(&mut twcc), Some((0, vec![Some(70_000), Some(1)])));
    }

    #[test]
    fn a_leap_is_bounded_work_and_starts_where_something_came() {
        let mut twcc = TwccReceiver::new();
        twcc.received(Micros(5), 0);
        twcc.received(Micros(6), 30_000);
        let mut reports = 0;
        while let Some((_, arrivals)) = report(&mut twcc) {
            assert!(arrivals.iter().any(Option::is_some));
            reports += 1;
        }
        assert_eq!(reports, 1);
    }
}
