//! Receive state of a stream: the 48-bit packet index and the replay window (RFC 3711 §3.3).

use crate::SrtpError;

/// Indices remembered of each RTP stream. RFC 3711 §3.3.2 asks for at least 64; a burst after an outage or a
/// retransmission may arrive hundreds of packets late.
pub const RTP_WINDOW: u64 = 1024;

/// Indices remembered of each RTCP sender.
pub const RTCP_WINDOW: u64 = 128;

/// Highest 48-bit index.
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Bit map of the `64 * WORDS` indices up to the highest one accepted.
///
/// Index `i` has bit `i % (64 * WORDS)`, so moving the window is clearing the bits that come into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window<const WORDS: usize> {
    /// One more than the highest index accepted; 0 before the first. Plain zeros are a valid start.
    next: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    const fn new() -> Self {
        Self {
            next: 0,
            seen: [0; WORDS],
        }
    }

    fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    fn word(&mut self, index: u64) -> Option<(&mut u64, u64)> {
        let bit = index % Self::SIZE;
        let word = self.seen.get_mut(usize::try_from(bit / 64).ok()?)?;
        Some((word, 1 << (bit % 64)))
    }

    fn check(&mut self, index: u64) -> Result<(), SrtpError> {
        if index >= self.next {
            return Ok(());
        }
        if self.next - index > Self::SIZE {
            return Err(SrtpError::TooOld);
        }
        match self.word(index) {
            Some((word, mask)) if *word & mask == 0 => Ok(()),
            _ => Err(SrtpError::Replayed),
        }
    }

    /// Remembers an index that [`Self::check`] has let pass and whose packet is authentic.
    fn accept(&mut self, index: u64) {
        if index >= self.next {
            if index - self.next >= Self::SIZE {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.next..index {
                    if let Some((word, mask)) = self.word(skipped) {
                        *word &= !mask;
                    }
                }
            }
            self.next = index + 1;
        }
        if let Some((word, mask)) = self.word(index) {
            *word |= mask;
        }
    }
}

/// Receive state of one RTP stream (SSRC) under one key: rollover counter, highest sequence number and replay
/// window. Plain data; it changes only when a packet has been authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RxIndex {
    window: Window<16>,
}

const _: () = assert!(Window::<16>::SIZE == RTP_WINDOW);
const _: () = assert!(Window::<2>::SIZE == RTCP_WINDOW);

impl Default for RxIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl RxIndex {
    /// State of a stream of which nothing was received: the rollover counter of the first packet is taken
    /// to be 0 (RFC 3711 §3.3.1).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window: Window::new(),
        }
    }

    /// State restored from the highest index of a saved one. All earlier packets count as received:
    /// the window itself is not needed for safety, at the price of the stragglers.
    #[must_use]
    pub fn restore(highest: Option<u64>) -> Self {
        match highest {
            None => Self::new(),
            Some(highest) => Self {
                window: Window {
                    next: highest.min(MAX_RTP_INDEX) + 1,
                    seen: [u64::MAX; 16],
                },
            },
        }
    }

    /// Highest index accepted (rollover counter * 2^16 + sequence number); `None` before the first packet.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// Rollover counter of the highest index; 0 before the first packet.
    #[must_use]
    pub fn roc(&self) -> u32 {
        u32::try_from(self.highest().unwrap_or(0) >> 16).unwrap_or(u32::MAX)
    }

    /// The index a packet most likely has: the one nearest to the highest (RFC 3711 §3.3.1, appendix A).
    ///
    /// Where the nearest would lie before zero it is the one with rollover counter 0. The state is not
    /// changed.
    ///
    /// # Errors
    /// [`SrtpError::IndexExhausted`]: it would exceed 48 bits.
    pub fn estimate(&self, sequence: u16) -> Result<u64, SrtpError> {
        let Some(highest) = self.highest() else {
            return Ok(u64::from(sequence));
        };
        let roc = highest >> 16;
        let last = highest & 0xffff;
        let sequence = u64::from(sequence);
        let roc = if last < 0x8000 {
            if sequence > last + 0x8000 {
                roc.saturating_sub(1)
            } else {
                roc
            }
        } else if last - 0x8000 > sequence {
            roc + 1
        } else {
            roc
        };
        let index = (roc << 16) | sequence;
        if index > MAX_RTP_INDEX {
            Err(SrtpError::IndexExhausted)
        } else {
            Ok(index)
        }
    }

    pub(crate) fn check(&mut self, index: u64) -> Result<(), SrtpError> {
        self.window.check(index)
    }

    pub(crate) fn accept(&mut self, index: u64) {
        self.window.accept(index);
    }
}

/// Receive state of one RTCP sender (SSRC) under one key: the replay window on the SRTCP index, which packets
/// carry. Plain data; it changes only when a packet has been authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpRx {
    window: Window<2>,
}

impl Default for RtcpRx {
    fn default() -> Self {
        Self::new()
    }
}

impl RtcpRx {
    /// State of a sender of which nothing was received.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window: Window::new(),
        }
    }

    /// As [`RxIndex::restore`].
    #[must_use]
    pub fn restore(highest: Option<u32>) -> Self {
        match highest {
            None => Self::new(),
            Some(highest) => Self {
                window: Window {
                    next: u64::from(highest) + 1,
                    seen: [u64::MAX; 2],
                },
            },
        }
    }

    /// Highest index accepted, 31 bits; `None` before the first packet.
    #[must_use]
    pub fn highest(&self) -> Option<u32> {
        self.window
            .highest()
            .map(|highest| u32::try_from(highest).unwrap_or(u32::MAX))
    }

    pub(crate) fn check(&mut self, index: u32) -> Result<(), SrtpError> {
        self.window.check(u64::from(index))
    }

    pub(crate) fn accept(&mut self, index: u32) {
        self.window.accept(u64::from(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn estimate_follows_rfc_3711_appendix_a() {
        let at = |highest: u64| RxIndex::restore(Some(highest));
        assert_eq!(RxIndex::new().estimate(0xfff0), Ok(0xfff0));
        assert_eq!(at(0xffff).estimate(0), Ok(0x1_0000));
        assert_eq!(at(0x1_0000).estimate(0xffff), Ok(0xffff));
        assert_eq!(
            at(0x1_7fff).estimate(0xffff),
            Ok(0x1_ffff),
            "32,768 ahead is ahead"
        );
        assert_eq!(at(0x1_7fff - 1).estimate(0xffff), Ok(0xffff));
        assert_eq!(at(0x1_8001).estimate(0), Ok(0x2_0000));
        assert_eq!(at(0x1_8000).estimate(0), Ok(0x1_0000));
        assert_eq!(at(5).estimate(0xfff0), Ok(0xfff0), "no index before zero");
        assert_eq!(
            at(MAX_RTP_INDEX).estimate(0),
            Err(SrtpError::IndexExhausted)
        );
        assert_eq!(at(MAX_RTP_INDEX).estimate(0xfffe), Ok(MAX_RTP_INDEX - 1));
    }

    #[test]
    fn restored_state_knows_all_before() {
        let mut rx = RxIndex::restore(Some(70_000));
        assert_eq!((rx.highest(), rx.roc()), (Some(70_000), 1));
        assert_eq!(rx.check(70_000), Err(SrtpError::Replayed));
        assert_eq!(rx.check(70_000 - 1023), Err(SrtpError::Replayed));
        assert_eq!(rx.check(70_000 - 1024), Err(SrtpError::TooOld));
        assert_eq!(rx.check(70_001), Ok(()));
        assert_eq!(RxIndex::restore(None), RxIndex::new());
        assert_eq!(RtcpRx::restore(Some(7)).highest(), Some(7));
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        /// Against a set of all that was accepted.
        #[test]
        fn window_is_a_set_of_the_last(steps in prop::collection::vec(-1500i64..1500, 1..400), start in 0u64..3000) {
            let mut window = Window::<16>::new();
            let mut accepted = BTreeSet::new();
            let mut at = start;
            for step in steps {
                at = at.saturating_add_signed(step);
                let highest = accepted.last().copied();
                let want = match highest {
                    Some(highest) if highest >= 1024 && at <= highest - 1024 => {
                        Err(SrtpError::TooOld)
                    }
                    _ if accepted.contains(&at) => Err(SrtpError::Replayed),
                    _ => Ok(()),
                };
                prop_assert_eq!(window.check(at), want, "index {} after {:?}", at, highest);
                if want.is_ok() {
                    window.accept(at);
                    accepted.insert(at);
                }
                prop_assert_eq!(window.highest(), accepted.last().copied());
            }
        }
    }
}
