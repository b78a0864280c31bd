//! Makes neighbours equally long, so that the kernel takes them in one GSO send.
//!
//! Encoders split a frame into packets whose lengths differ by a byte or two. A GSO send
//! takes datagrams of one length, of which only the last may be shorter, so such a frame
//! would be several sends, and a send is what costs. RTP padding (RFC 3550, 5.1) of the
//! shorter ones makes it one; receivers take it off.

use crate::limits::{PADDING_MAX, PENDING};
use crate::packet::Packet;
use std::sync::Arc;

/// What follows a payload in packet memory: its first `n` bytes are a padding of `n`
/// bytes, whose last one must say how many they are.
pub(crate) const RAMP: [u8; PADDING_MAX] = {
    let mut ramp = [0; PADDING_MAX];
    let mut at = 0;
    while at < PADDING_MAX {
        at += 1;
        #[expect(clippy::cast_possible_truncation, reason = "PADDING_MAX is 16")]
        {
            ramp[at - 1] = at as u8;
        }
    }
    ramp
};

/// Bytes that each packet of a batch should grow by.
pub(crate) struct Paddings([u8; PENDING]);

impl Paddings {
    /// Groups neighbours whose lengths differ by no more than the padding that is allowed,
    /// and brings each group to the length of its longest.
    pub(crate) fn of(packets: &[Arc<Packet>]) -> Self {
        let mut paddings = [0; PENDING];
        let mut start = 0;
        let mut bounds: Option<(u16, u16)> = None;
        let lens = packets.iter().map(|packet| packet.payload_len);
        for (at, len) in lens.enumerate().take(PENDING) {
            let (low, high) =
                bounds.map_or((len, len), |(low, high)| (low.min(len), high.max(len)));
            if usize::from(high - low) <= PADDING_MAX {
                bounds = Some((low, high));
            } else {
                level(packets, start..at, &mut paddings);
                start = at;
                bounds = Some((len, len));
            }
        }
        level(packets, start..packets.len().min(PENDING), &mut paddings);
        Self(paddings)
    }

    /// None for any.
    pub(crate) fn none() -> Self {
        Self([0; PENDING])
    }

    /// Bytes for the packet at `at`.
    pub(crate) fn at(&self, at: usize) -> usize {
        self.0.get(at).copied().map_or(0, usize::from)
    }
}

/// Brings a group to the length of its longest.
fn level(packets: &[Arc<Packet>], group: std::ops::Range<usize>, paddings: &mut [u8; PENDING]) {
    let (packets, paddings) = (&packets[group.clone()], &mut paddings[group]);
    let longest = packets
        .iter()
        .map(|packet| packet.payload_len)
        .max()
        .unwrap_or(0);
    for (packet, padding) in packets.iter().zip(paddings) {
        *padding = u8::try_from(longest - packet.payload_len).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paddings(lens: &[u16]) -> Vec<usize> {
        let packet = |&len: &u16| {
            let mut packet = Packet::empty(0, 0);
            packet.payload_len = len;
            Arc::new(packet)
        };
        let packets: Vec<_> = lens.iter().map(packet).collect();
        let paddings = Paddings::of(&packets);
        (0..lens.len()).map(|at| paddings.at(at)).collect()
    }

    #[test]
    fn the_shorter_packets_of_a_frame_are_brought_to_the_longest() {
        assert_eq!(paddings(&[1_000, 1_000, 1_001, 1_001]), [1, 1, 0, 0]);
        assert_eq!(paddings(&[1_001, 1_000, 985]), [0, 1, 16]);
    }

    #[test]
    fn what_differs_more_is_left_alone() {
        assert_eq!(paddings(&[1_000, 1_017]), [0, 0]);
        assert_eq!(paddings(&[1_000, 1_010, 1_017, 300, 301]), [10, 0, 0, 1, 0]);
        assert_eq!(paddings(&[]), []);
        assert_eq!(paddings(&[7]), [0]);
    }

    #[test]
    fn the_ramp_ends_in_its_own_length_wherever_it_is_cut() {
        for len in 1..=PADDING_MAX {
            assert_eq!(usize::from(RAMP[..len][len - 1]), len);
        }
    }
}
