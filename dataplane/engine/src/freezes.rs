//! Where a viewer must have seen its picture stand still, as far as the sender can know: from the gaps between pictures
//! that it was sent.

use crate::time::Micros;

/// The least that a gap exceeds the usual one by to be a freeze, microseconds, and the least times the usual one: as W3C
/// webrtc-stats defines `freezeCount`.
const LEAST_US: u64 = 150_000;
const LEAST_TIMES: u64 = 3;
/// Pictures that the usual gap is a mean of.
const WEIGHT: u64 = 30;

/// Follows the pictures sent to one viewer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freezes {
    last: Option<Micros>,
    /// The usual time between two pictures; 0 is not known.
    usual_us: u64,
}

impl Freezes {
    /// So many pictures went out, at least one. Returns how long the viewer must have waited for the first, if that
    /// was a freeze, microseconds.
    pub(crate) fn sent(&mut self, now: Micros, pictures: u64) -> Option<u64> {
        let gap = now.since(self.last.replace(now)?);
        let usual = self.usual_us;
        if usual > 0 && gap >= (LEAST_TIMES * usual).max(usual + LEAST_US) {
            return Some(gap);
        }
        let each = gap / pictures.max(1);
        self.usual_us = match usual {
            0 => each,
            usual => (usual * (WEIGHT - 1) + each) / WEIGHT,
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_far_beyond_the_usual_one_is_a_freeze() {
        let mut freezes = Freezes::default();
        let mut now = Micros(1_000_000);
        let mut after = |ms: u64, pictures| {
            now = now + ms * 1_000;
            freezes.sent(now, pictures)
        };
        assert_eq!(after(5_000, 1), None, "the first");
        assert!((0..60).all(|_| after(33, 1).is_none()));
        assert_eq!(after(99, 3), None, "three that waited for each other");
        assert_eq!(after(170, 1), None, "late, and yet no freeze");
        assert_eq!(after(400, 1), Some(400_000));
        assert_eq!(after(33, 1), None);
    }
}
