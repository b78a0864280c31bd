//! Sequence numbers that wrap: 16-bit RTP numbers compared and extended to 64 bits.

/// Whether `a` comes after `b`, the distance being less than half the number space. At exactly half
/// the space neither is newer.
#[inline]
#[must_use]
pub const fn newer(a: u16, b: u16) -> bool {
    let distance = a.wrapping_sub(b);
    distance != 0 && distance < 0x8000
}

/// Whether RTP timestamp `a` comes after `b`; as [`newer`], on 32 bits.
#[inline]
#[must_use]
pub const fn newer_timestamp(a: u32, b: u32) -> bool {
    let distance = a.wrapping_sub(b);
    distance != 0 && distance < 0x8000_0000
}

/// The 64-bit number nearest to `reference` whose low 16 bits are `seq`.
///
/// On a tie (half the space away) the later one is taken, and so it is where the earlier one would lie
/// before zero.
#[inline]
#[must_use]
pub const fn extend(seq: u16, reference: u64) -> u64 {
    nearest(seq as u64, reference, 1 << 16)
}

/// The 64-bit timestamp nearest to `reference` whose low 32 bits are `timestamp`; as [`extend`].
#[inline]
#[must_use]
pub const fn extend_timestamp(timestamp: u32, reference: u64) -> u64 {
    nearest(timestamp as u64, reference, 1 << 32)
}

/// `low` is less than `space`, a power of two.
const fn nearest(low: u64, reference: u64, space: u64) -> u64 {
    let candidate = (reference & !(space - 1)) | low;
    let half = space / 2;
    if candidate > reference && candidate - reference > half && candidate >= space {
        candidate - space
    } else if candidate < reference && reference - candidate >= half {
        // At the very end of the 64-bit space there is no later one.
        match candidate.checked_add(space) {
            Some(later) => later,
            None => candidate,
        }
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_the_space_away_is_newer_in_neither_direction() {
        assert!(!newer(0x8000, 0));
        assert!(!newer(0, 0x8000));
        assert!(newer(0x7fff, 0));
        assert!(newer(0, 0xffff));
        assert!(!newer_timestamp(0x8000_0000, 0));
        assert!(newer_timestamp(5, 0xffff_fff0));
    }

    #[test]
    fn extend_crosses_both_edges() {
        assert_eq!(extend(2, 0xffff), 0x1_0002);
        assert_eq!(extend(0xffff, 0x1_0002), 0xffff);
        assert_eq!(extend(0xffff, 3), 0xffff, "no number before zero");
        assert_eq!(extend(0, u64::MAX), !0xffff, "none after the last");
        assert_eq!(extend_timestamp(1, 0xffff_ffff), 0x1_0000_0001);
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn extend_undoes_truncation(reference in 0x8000u64..u64::MAX - 0x8000, step in -0x7fffi64..=0x8000) {
            let value = reference.wrapping_add_signed(step);
            #[expect(clippy::cast_possible_truncation, reason = "truncation is the point")]
            let low = value as u16;
            prop_assert_eq!(extend(low, reference), value);
        }
    }
}
