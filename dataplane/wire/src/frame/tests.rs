use super::checksum::Sum;
use super::*;
use crate::WireError;
use proptest::prelude::*;
use std::vec::Vec;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn headers<'a>(source: &str, destination: &str, vlans: &'a [u16]) -> FrameHeaders<'a> {
    FrameHeaders {
        to: MAC,
        from: MAC,
        vlans,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        traffic_class: 0xb8,
        hop_limit: 64,
    }
}

fn v4(vlans: &[u16]) -> FrameHeaders<'_> {
    headers("192.0.2.1:4000", "198.51.100.2:7882", vlans)
}

fn v6(vlans: &[u16]) -> FrameHeaders<'_> {
    headers("[2001:db8::1]:4000", "[2001:db8::2]:7882", vlans)
}

fn written(headers: &FrameHeaders<'_>, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; 2_000];
    let len = headers.write(payload, &mut out).unwrap();
    out[..len].to_vec()
}

/// Checksums summed by hand, word by word.
#[test]
fn an_ipv4_header_is_written_as_by_hand() {
    let frame = written(&v4(&[]), b"abc");
    // 45b8+001f+4000+4011+c000+0201+c633+6402 = 2b21e, folded b220, complemented 4ddf.
    let header = [
        0x45, 0xb8, 0, 31, 0, 0, 0x40, 0, 64, 17, 0x4d, 0xdf, 192, 0, 2, 1, 198, 51, 100, 2,
    ];
    assert_eq!(frame[14..34], header);
    let udp = [0x0f, 0xa0, 0x1e, 0xca, 0, 11];
    assert_eq!(frame[34..40], udp);
    // 0xc000+0x0201+0xc633+0x6402+17+11 + 0x0fa0+0x1eca+11 + 0x6162+0x6300, folded, complemented.
    let sum: u32 =
        0xc000 + 0x0201 + 0xc633 + 0x6402 + 17 + 11 + 0x0fa0 + 0x1eca + 11 + 0x6162 + 0x6300;
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    assert_eq!(frame[40..42], check.to_be_bytes());
    assert_eq!(&frame[42..], b"abc");
}

#[test]
fn what_is_written_is_parsed_behind_any_tags() {
    for vlans in [&[][..], &[5], &[7, 5]] {
        for (headers, version) in [(v4(vlans), IpVersion::V4), (v6(vlans), IpVersion::V6)] {
            let frame = written(&headers, b"payload");
            let udp = UdpFrame::parse(&frame[..]).unwrap();
            assert_eq!(udp.network, ETHERNET_LEN + vlans.len() * VLAN_TAG_LEN);
            assert_eq!(udp.version, version);
            assert_eq!((udp.source_port, udp.destination_port), (4_000, 7_882));
            assert_eq!(udp.payload_len, Some(7));
            assert_eq!(&frame[udp.payload()..], b"payload");
            assert!(udp.payload() <= MAX_HEADERS_LEN);
            for len in 0..udp.payload() {
                let cut = UdpFrame::parse(&frame[..len]);
                assert_eq!(cut, Err(Unread::Truncated), "{len}");
            }
            for len in udp.payload()..frame.len() {
                let cut = UdpFrame::parse(&frame[..len]).unwrap();
                assert_eq!(cut.payload_len, None, "{len}");
            }
        }
    }
}

#[test]
fn what_would_need_a_loop_is_named() {
    let with = |headers: &FrameHeaders<'_>, at: usize, byte: u8| {
        let mut frame = written(headers, &[0; 20]);
        frame[at] = byte;
        UdpFrame::parse(&frame[..]).map(|_| ())
    };
    assert_eq!(with(&v4(&[]), 14, 0x46), Err(Unread::Options));
    assert_eq!(with(&v4(&[]), 14, 0x44), Err(Unread::NotIp));
    assert_eq!(with(&v4(&[]), 20, 0x20), Err(Unread::Fragment));
    assert_eq!(with(&v4(&[]), 21, 1), Err(Unread::Fragment));
    assert_eq!(with(&v4(&[]), 20, 0), Ok(()), "may be fragmented, is not");
    assert_eq!(with(&v4(&[]), 23, 6), Err(Unread::NotUdp));
    assert_eq!(with(&v6(&[]), 20, 44), Err(Unread::ExtensionHeaders));
    assert_eq!(with(&v6(&[]), 20, 6), Err(Unread::NotUdp));
    assert_eq!(with(&v6(&[]), 14, 0x40), Err(Unread::NotIp));
    assert_eq!(with(&v6(&[]), 12, 0), Err(Unread::NotIp));
    let mut tagged = written(&v4(&[1, 2]), &[]);
    tagged.splice(12..12, [0x88, 0xa8, 0, 3]);
    assert_eq!(UdpFrame::parse(&tagged[..]), Err(Unread::VlanTags));
}

#[test]
fn nothing_is_written_that_cannot_be_sent() {
    let mut out = [0; 100];
    let mixed = headers("192.0.2.1:1", "[2001:db8::1]:2", &[]);
    assert_eq!(mixed.write(&[], &mut out), Err(WireError::BadValue));
    assert_eq!(v4(&[1, 2, 3]).write(&[], &mut out), Err(WireError::TooMany));
    assert_eq!(
        v4(&[]).write(&[0; 59], &mut out),
        Err(WireError::BufferTooSmall)
    );
    assert_eq!(v4(&[]).write(&[0; 58], &mut out), Ok(100));
    let mut huge = std::vec![0; 70_000];
    for (headers, most) in [(v4(&[]), 65_507), (v6(&[]), 65_527)] {
        let payload = std::vec![0; most + 1];
        assert_eq!(
            headers.write(&payload, &mut huge),
            Err(WireError::BadLength)
        );
        assert!(headers.write(&payload[..most], &mut huge).is_ok());
    }
}

/// RFC 1071 in words of two bytes, big-endian, as it is written there.
fn by_the_book(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// Zero has two forms in ones' complement.
fn same(a: [u8; 2], b: [u8; 2]) -> bool {
    a == b || (checksum::udp(a) == checksum::udp(b))
}

#[test]
fn the_example_of_rfc_1071() {
    let sum = Sum::default().with(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.finish(), [!0xdd, !0xf2]);
}

/// RFC 1624 §4: where equation 2 fails, giving 0xffff in place of 0.
#[test]
fn the_example_of_rfc_1624() {
    let sum = Sum::default().replace([0x55, 0x55, 0, 0], [0x32, 0x85, 0, 0]);
    assert_eq!(sum.amend([0xdd, 0x2f]), [0, 0]);
}

proptest! {
    #![proptest_config(crate::seeded())]

    #[test]
    fn sums_are_by_the_book(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        prop_assert_eq!(Sum::default().with(&bytes).finish(), by_the_book(&bytes));
        let (a, b) = bytes.split_at(cut.index(bytes.len() + 1) & !1);
        prop_assert_eq!(Sum::default().with(a).with(b).finish(), by_the_book(&bytes));
    }

    #[test]
    fn amending_is_summing_anew(
        words in prop::collection::vec(any::<[u8; 4]>(), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 4]>()), 0..6),
    ) {
        let mut words = words;
        let check = by_the_book(words.as_flattened());
        let mut sum = Sum::default();
        for (at, new) in changes {
            let word = at.get(&words);
            sum = sum.replace(*word, new);
            let at = at.index(words.len());
            words[at] = new;
        }
        prop_assert!(same(sum.amend(check), by_the_book(words.as_flattened())));
    }

    #[test]
    fn any_bytes_are_parsed_without_panic_and_within_bounds(frame in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(udp) = UdpFrame::parse(&frame[..]) {
            prop_assert!(udp.payload() <= frame.len());
            if let Some(len) = udp.payload_len {
                prop_assert!(udp.payload() + len <= frame.len());
            }
        }
    }

    #[test]
    fn udp_checksums_are_never_zero(payload in prop::collection::vec(any::<u8>(), 2..40), six in any::<bool>()) {
        let headers = if six { v6(&[]) } else { v4(&[]) };
        let frame = written(&headers, &payload);
        let at = UdpFrame::parse(&frame[..]).unwrap().transport + 6;
        let check = u16::from_be_bytes([frame[at], frame[at + 1]]);
        prop_assert_ne!(check, 0);
        // A payload that takes the checksum up has the sum of all ones, whose complement is zero.
        let first = u32::from(u16::from_be_bytes([payload[0], payload[1]])) + u32::from(check);
        let mut bent = payload.clone();
        bent[..2].copy_from_slice(&((first & 0xffff) + (first >> 16)).to_be_bytes()[2..]);
        prop_assert_eq!(&written(&headers, &bent)[at..at + 2], [0xff, 0xff]);
    }
}

#[test]
fn words_are_read_and_written_within_the_frame() {
    let mut bytes = [0; 8];
    let frame = &mut bytes[..];
    assert_eq!(frame.put(3, [1, 2, 3, 4]), Some(()));
    assert_eq!(frame.array(3), Some([1, 2, 3, 4]));
    assert_eq!(frame.put(7, [1, 2]), None);
    assert_eq!(frame.array::<2>(7), None);
    assert_eq!(frame.array::<1>(usize::MAX), None);
    assert_eq!(bytes, [0, 0, 0, 1, 2, 3, 4, 0]);
}
