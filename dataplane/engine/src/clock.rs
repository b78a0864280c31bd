use crate::limits::{CLOCK_SLEW_US, CLOCK_STEP_US};

/// Microseconds as a 32.32 fixed-point number of seconds.
pub(crate) fn us_to_ntp(us: u64) -> u64 {
    let seconds = us / 1_000_000;
    let fraction = ((us % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

fn signed_us_to_ntp(us: i64) -> i64 {
    us * (1 << 32) / 1_000_000
}

/// What turns a publisher's wallclock into ours: one number for all that the
/// publisher sends, so that its audio and video stay together at every viewer,
/// however its clock is off and whatever path each report took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PublisherClock {
    /// Our NTP time less theirs.
    offset: Option<u64>,
}

impl PublisherClock {
    /// Takes in that a report with the time `theirs` came at our time `ours`, both
    /// NTP 32.32. Returns `theirs` in our time.
    ///
    /// The first report sets the offset; later ones move it slowly, so that jitter of
    /// the path does not move audio against video. A leap is followed at once.
    pub(crate) fn observe(&mut self, ours: u64, theirs: u64) -> u64 {
        let seen = ours.wrapping_sub(theirs);
        let offset = match self.offset {
            None => seen,
            Some(offset) => {
                let error = seen.wrapping_sub(offset).cast_signed();
                if error.unsigned_abs() > signed_us_to_ntp(CLOCK_STEP_US).unsigned_abs() {
                    seen
                } else {
                    let slew = signed_us_to_ntp(CLOCK_SLEW_US);
                    offset.wrapping_add_signed(error.clamp(-slew, slew))
                }
            }
        };
        self.offset = Some(offset);
        theirs.wrapping_add(offset)
    }
}

/// A moment on our wallclock and on the RTP clock of one SSRC of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockMapping {
    /// SSRC at the publisher that this holds for.
    pub ssrc: u32,
    /// Our wallclock, NTP 32.32.
    pub ntp: u64,
    /// RTP timestamp of that moment.
    pub rtp: u32,
}

impl ClockMapping {
    /// The RTP timestamp at our NTP time `ntp`.
    pub(crate) fn rtp_at(&self, ntp: u64, clock_rate: u32) -> u32 {
        let elapsed = i128::from(ntp.wrapping_sub(self.ntp).cast_signed());
        let ticks = (elapsed * i128::from(clock_rate)) >> 32;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "timestamps are modulo 2^32"
        )]
        self.rtp.wrapping_add(ticks as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_runs_both_ways_in_time_and_over_the_wrap() {
        let at = |us| us_to_ntp(us);
        let mapping = ClockMapping {
            ssrc: 1,
            ntp: at(10_000_000),
            rtp: u32::MAX,
        };
        assert_eq!(mapping.rtp_at(at(11_000_000), 90_000), 89_999);
        assert_eq!(mapping.rtp_at(at(9_000_000), 90_000), u32::MAX - 90_000);
    }

    #[test]
    fn jitter_moves_it_slowly_and_a_leap_at_once() {
        let mut clock = PublisherClock::default();
        let ms = us_to_ntp(1_000);
        assert_eq!(clock.observe(1_000 * ms, 5), 1_000 * ms);
        // 30 ms late: a millisecond of that is believed.
        let mapped = clock.observe(2_030 * ms, 5 + 1_000 * ms);
        let error = mapped.wrapping_sub(2_000 * ms).cast_signed();
        assert!((error - ms.cast_signed()).abs() < 16, "{error}");
        // The publisher set its clock back by an hour.
        let theirs = 0_u64.wrapping_sub(3_600_000 * ms);
        assert_eq!(clock.observe(3_000 * ms, theirs), 3_000 * ms);
    }
}
