use ion_engine::Micros;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds from the NTP epoch (1900) to the UNIX epoch (RFC 5905, figure 4).
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// The dataplane's clock: monotonic, zero at the start of the process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
    zero_unix: Duration,
}

impl Clock {
    /// A clock that is zero now.
    pub fn start() -> Self {
        Self {
            zero: Instant::now(),
            zero_unix: unix_now(),
        }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        Micros(micros(self.zero.elapsed()))
    }

    /// UNIX time, microseconds, at zero.
    pub fn zero_unix_us(&self) -> u64 {
        micros(self.zero_unix)
    }

    /// NTP time, 32.32, at zero (RFC 3550, section 4), modulo 2^64.
    pub fn zero_ntp(&self) -> u64 {
        let seconds = self.zero_unix.as_secs().wrapping_add(NTP_UNIX_OFFSET);
        let fraction = (u64::from(self.zero_unix.subsec_nanos()) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }
}

/// UNIX time, microseconds.
pub fn unix_us() -> u64 {
    micros(unix_now())
}

fn unix_now() -> Duration {
    // A host whose clock is before 1970 gets 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_is_seconds_since_1900_and_a_binary_fraction() {
        let clock = Clock {
            zero: Instant::now(),
            zero_unix: Duration::new(1, 750_000_000),
        };
        assert_eq!(clock.zero_ntp() >> 32, NTP_UNIX_OFFSET + 1);
        assert_eq!(clock.zero_ntp() & 0xffff_ffff, 0xc000_0000);
        assert_eq!(clock.zero_unix_us(), 1_750_000);
    }
}
