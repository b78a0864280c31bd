use crate::time::Micros;

/// What a receiver report says of one stream (RFC 3550, 6.4.1 and appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) fraction_lost: u8,
    /// Signed 24 bits on the wire.
    pub(crate) cumulative_lost: i32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
}

/// Reception statistics of one SSRC.
#[derive(Debug, Clone)]
pub(crate) struct Reception {
    clock_rate: u32,
    first: u64,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Arrival less timestamp of the last packet, in clock ticks.
    transit: Option<u32>,
    /// Jitter times sixteen.
    jitter: u32,
}

impl Reception {
    /// Statistics that begin with the packet of this index.
    pub(crate) fn new(clock_rate: u32, first: u64) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            first,
            highest: first,
            received: 0,
            expected_before: 0,
            received_before: 0,
            transit: None,
            jitter: 0,
        }
    }

    /// Takes in a packet. `timestamp` is `None` for one that tells nothing of jitter,
    /// because it was sent again.
    pub(crate) fn received(&mut self, now: Micros, index: u64, timestamp: Option<u32>) {
        self.received += 1;
        self.first = self.first.min(index);
        let newest = index >= self.highest;
        self.highest = self.highest.max(index);
        let Some(timestamp) = timestamp.filter(|_| newest) else {
            return;
        };
        let ticks = u128::from(now.0) * u128::from(self.clock_rate) / 1_000_000;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "differences are taken modulo 2^32"
        )]
        let transit = (ticks as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let delta = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A leap of more than ten seconds is another timeline, not jitter.
            if delta < self.clock_rate.saturating_mul(10) {
                let jitter =
                    i64::from(self.jitter) + i64::from(delta) - (i64::from(self.jitter) + 8) / 16;
                self.jitter = u32::try_from(jitter.max(0)).unwrap_or(u32::MAX);
            }
        }
    }

    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// Expected less received; negative with duplicates.
    pub(crate) fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    /// Jitter, microseconds.
    pub(crate) fn jitter_us(&self) -> u64 {
        u64::from(self.jitter / 16) * 1_000_000 / u64::from(self.clock_rate)
    }

    /// The report for the interval since the last one.
    pub(crate) fn report(&mut self) -> Report {
        let expected = self.expected() - self.expected_before.min(self.expected());
        let received = self.received - self.received_before;
        self.expected_before = self.expected();
        self.received_before = self.received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0).min(255);
        let cumulative = self.lost().clamp(-(1 << 23), (1 << 23) - 1);
        Report {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(cumulative).unwrap_or(0),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "cycles are 16 bits on the wire"
            )]
            highest: self.highest as u32,
            jitter: self.jitter / 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_of_the_interval() {
        let mut stats = Reception::new(90_000, 65_530);
        for index in (65_530..65_550).filter(|i| i % 4 != 0) {
            stats.received(Micros(0), index, Some(0));
        }
        let report = stats.report();
        assert_eq!(report.cumulative_lost, 5);
        assert_eq!(report.fraction_lost, 64);
        assert_eq!(report.highest, 65_549);
        for index in 65_550..65_560 {
            stats.received(Micros(0), index, Some(0));
        }
        assert_eq!(stats.report().fraction_lost, 0);
        assert_eq!(
            stats.report().fraction_lost,
            0,
            "nothing came, nothing lost"
        );
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut stats = Reception::new(90_000, 0);
        for i in 0..2_000_u32 {
            // Alternately 2 ms late and on time.
            let at = u64::from(i) * 20_000 + if i % 2 == 0 { 2_000 } else { 0 };
            stats.received(Micros(at), u64::from(i), Some(i * 1_800));
        }
        let jitter = stats.jitter_us();
        assert!((1_800..=2_200).contains(&jitter), "{jitter}");
    }
}
