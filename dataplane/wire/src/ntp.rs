//! NTP timestamps: 64-bit (32.32 fixed point seconds since 1900), their middle 32 bits (16.16) as RTCP
//! carries them, and microseconds.

use crate::bytes::low32;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
pub const UNIX_OFFSET_S: u64 = 2_208_988_800;

const US_PER_S: u64 = 1_000_000;

/// NTP timestamp of a time in microseconds since the Unix epoch. Wraps with the NTP era (2036).
#[must_use]
pub const fn from_unix_us(unix_us: u64) -> u64 {
    let seconds = (unix_us / US_PER_S).wrapping_add(UNIX_OFFSET_S);
    let fraction = ((unix_us % US_PER_S) << 32) / US_PER_S;
    (seconds << 32) | fraction
}

/// Microseconds since the Unix epoch of an NTP timestamp, rounded to the nearest.
///
/// A timestamp whose seconds lie before 1970 is taken to be of the next NTP era (from 2036 on,
/// RFC 5905 §6).
#[must_use]
pub const fn to_unix_us(ntp: u64) -> u64 {
    let seconds = ntp >> 32;
    let seconds = if seconds < UNIX_OFFSET_S {
        seconds + (1 << 32)
    } else {
        seconds
    };
    let fraction_us = ((ntp & 0xffff_ffff) * US_PER_S + (1 << 31)) >> 32;
    (seconds - UNIX_OFFSET_S) * US_PER_S + fraction_us
}

/// The middle 32 bits of an NTP timestamp, as in LSR of a report block (RFC 3550 §6.4.1).
#[must_use]
pub fn middle(ntp: u64) -> u32 {
    low32(ntp >> 16)
}

/// Microseconds of a duration in units of 1/65536 s (DLSR, round-trip times), rounded to the nearest.
#[must_use]
pub const fn short_to_us(short: u32) -> u64 {
    (short as u64 * US_PER_S + (1 << 15)) >> 16
}

/// A duration in units of 1/65536 s, rounded to the nearest; saturates after 18 hours.
#[must_use]
pub fn us_to_short(us: u64) -> u32 {
    let short = (u128::from(us) * (1 << 16) + u128::from(US_PER_S / 2)) / u128::from(US_PER_S);
    u32::try_from(short).unwrap_or(u32::MAX)
}

/// Round-trip time in microseconds from a report block: arrival of the report as the middle 32 bits of
/// an NTP timestamp, LSR and DLSR (RFC 3550 §6.4.1). `None` when no sender report was seen (LSR 0) or
/// the peer's numbers give a negative time.
#[must_use]
pub const fn round_trip_us(now: u32, last_sr: u32, delay_since_last_sr: u32) -> Option<u64> {
    if last_sr == 0 {
        return None;
    }
    let rtt = now.wrapping_sub(last_sr).wrapping_sub(delay_since_last_sr);
    if rtt & 0x8000_0000 == 0 {
        Some(short_to_us(rtt))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn epoch_and_era() {
        assert_eq!(from_unix_us(0), UNIX_OFFSET_S << 32);
        assert_eq!(to_unix_us(UNIX_OFFSET_S << 32), 0);
        // 2036-02-07 06:28:16 UTC, the first second of NTP era 1.
        let era_1_us = 2_085_978_496 * 1_000_000;
        assert_eq!(from_unix_us(era_1_us), 0);
        assert_eq!(to_unix_us(0), era_1_us);
    }

    #[test]
    fn round_trip_example_of_rfc_3550() {
        // RFC 3550 §6.4.1, figure 2: 0xb710:8000, 0xb705:2000, 0x0005:4000 give 6.125 s.
        assert_eq!(
            round_trip_us(0xb710_8000, 0xb705_2000, 0x0005_4000),
            Some(6_125_000)
        );
        assert_eq!(round_trip_us(0xb710_8000, 0, 0), None);
        assert_eq!(round_trip_us(0xb705_2000, 0xb710_8000, 0), None);
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn microseconds_survive(us in 0u64..4_000_000_000_000_000) {
            prop_assert_eq!(to_unix_us(from_unix_us(us)), us);
        }

        #[test]
        fn short_form_is_good_to_half_a_unit(us in 0u64..60_000_000_000) {
            prop_assert!(short_to_us(us_to_short(us)).abs_diff(us) <= 8);
        }
    }
}
