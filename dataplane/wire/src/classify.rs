//! Which protocol a datagram on the one media port belongs to.

use crate::{dtls, rtcp, rtp, stun};

/// What a datagram is, by its first two bytes and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// STUN, first byte 0..=3 (RFC 7983 §7).
    Stun = 0,
    /// DTLS, first byte 20..=63.
    Dtls = 1,
    /// RTP or SRTP, first byte 128..=191.
    Rtp = 2,
    /// RTCP or SRTCP: as RTP, and the second byte is 192..=223 (RFC 5761 §4).
    Rtcp = 3,
    /// None of these, or too short to be what its first byte says.
    Unknown = 4,
}

/// Smallest SRTCP packet prefix that identifies its sender: header and SSRC (RFC 3711 §3.4).
const RTCP_MIN_LEN: usize = rtcp::HEADER_LEN + 4;

/// Sorts a datagram by its first byte (RFC 7983 §7) and, for RTP and RTCP, its second (RFC 5761 §4).
///
/// Only the length of the fixed header is checked beyond that: a kind is a destination, not a
/// verdict.
#[inline]
#[must_use]
pub fn classify(data: &[u8]) -> PacketKind {
    match *data {
        [first, second, ..] => kind_of([first, second], data.len()),
        _ => PacketKind::Unknown,
    }
}

/// As [`classify`], of a datagram of `len` bytes that begins with these two.
#[inline(always)]
#[must_use]
pub const fn kind_of([first, second]: [u8; 2], len: usize) -> PacketKind {
    let (kind, min_len) = match first {
        0..=3 => (PacketKind::Stun, stun::HEADER_LEN),
        20..=31 => (PacketKind::Dtls, dtls::HEADER_LEN),
        32..=63 => (PacketKind::Dtls, dtls::UNIFIED_MIN_LEN),
        128..=191 if second >= 192 && second <= 223 => (PacketKind::Rtcp, RTCP_MIN_LEN),
        128..=191 => (PacketKind::Rtp, rtp::FIXED_HEADER_LEN),
        _ => return PacketKind::Unknown,
    };
    if len < min_len {
        PacketKind::Unknown
    } else {
        kind
    }
}

/// First two bytes of RTCP packets that report on packets one by one, but for the padding bit: transport-wide feedback
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) and RFC 8888 (§3.1). SRTCP leaves them in the clear
/// (RFC 3711 §3.4).
pub const PACKET_REPORTS: [[u8; 2]; 2] = [[0x8f, 205], [0x8b, 205]];
/// All bits of those two bytes but the padding bit.
pub const BUT_PADDING: [u8; 2] = [0xdf, 0xff];

/// Whether a datagram that begins with these two bytes is, or begins with, a report on packets.
#[inline(always)]
#[must_use]
pub const fn is_packet_report([first, second]: [u8; 2]) -> bool {
    let [a, b] = PACKET_REPORTS;
    let first = first & BUT_PADDING[0];
    (first == a[0] && second == a[1]) || (first == b[0] && second == b[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_on_packets_are_told_from_other_feedback() {
        for report in [[0x8f, 205], [0xaf, 205], [0x8b, 205], [0xab, 205]] {
            assert!(is_packet_report(report), "{report:?}");
        }
        // A NACK, a receiver report first of a compound, a PLI; RTP and DTLS that look alike.
        for other in [
            [0x81, 205],
            [0x8f, 201],
            [0x81, 206],
            [0x8f, 96],
            [0x4f, 205],
        ] {
            assert!(!is_packet_report(other), "{other:?}");
        }
    }

    #[test]
    fn first_byte_ranges_follow_rfc_7983() {
        let mut data = [0u8; 64];
        data[1] = 0;
        for first in 0..=255u8 {
            data[0] = first;
            let want = match first {
                0..=3 => PacketKind::Stun,
                20..=63 => PacketKind::Dtls,
                128..=191 => PacketKind::Rtp,
                _ => PacketKind::Unknown,
            };
            assert_eq!(classify(&data), want, "first byte {first}");
        }
    }

    #[test]
    fn second_byte_splits_rtcp_from_rtp() {
        let mut data = [0x80u8; 64];
        for second in 0..=255u8 {
            data[1] = second;
            let want = if (192..=223).contains(&second) {
                PacketKind::Rtcp
            } else {
                PacketKind::Rtp
            };
            assert_eq!(classify(&data), want, "second byte {second}");
        }
    }

    #[test]
    fn one_byte_less_than_a_header_is_unknown() {
        for (first, second, min_len, kind) in [
            (0, 1, 20, PacketKind::Stun),
            (22, 254, 13, PacketKind::Dtls),
            (0x2f, 0, 18, PacketKind::Dtls),
            (0x80, 96, 12, PacketKind::Rtp),
            (0x80, 200, 8, PacketKind::Rtcp),
        ] {
            let mut data = std::vec![0u8; min_len];
            data[0] = first;
            data[1] = second;
            assert_eq!(classify(&data), kind);
            data.pop();
            assert_eq!(classify(&data), PacketKind::Unknown);
        }
        assert_eq!(classify(&[]), PacketKind::Unknown);
        assert_eq!(classify(&[0x80]), PacketKind::Unknown);
    }
}
