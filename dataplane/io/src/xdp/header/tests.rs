use super::super::receive::addresses_of;
use super::*;
use crate::seeded;
use ion_wire::frame::checksum::Sum;
use ion_wire::frame::{IpVersion, UdpFrame};
use proptest::prelude::*;

const US: Mac = [2, 0, 0, 0, 0, 1];
const HOP: Mac = [2, 0, 0, 0, 0, 2];
const FIELDS: IpFields = IpFields {
    hops: 61,
    class: 0xb8,
};

fn addresses(v4: bool) -> [SocketAddr; 2] {
    let pair = if v4 {
        ["192.0.2.1:7882", "198.51.100.255:65535"]
    } else {
        ["[2001:db8::1]:7882", "[2001:db8:ffff::9]:1024"]
    };
    pair.map(|address| address.parse().unwrap())
}

/// A frame from the client, as the interface would bring it, with so many tags.
fn arriving(tags: usize, v4: bool) -> Vec<u8> {
    let mut frame = [US, HOP].concat();
    for tag in 0..tags {
        frame.extend([0x81, 0, 0xe0, 7 + u8::try_from(tag).unwrap()]);
    }
    frame.extend(if v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame
}

/// Whether a packet's checksums are right, by the other implementation.
fn verify(packet: &[u8], frame: &UdpFrame) {
    let ip = &packet[frame.network..frame.transport];
    let udp = &packet[frame.transport..];
    let addresses = match frame.version {
        IpVersion::V4 => {
            assert_eq!(Sum::default().with(ip).finish(), [0, 0], "IPv4 header");
            &ip[12..]
        }
        IpVersion::V6 => &ip[8..],
    };
    let len = u16::try_from(udp.len()).unwrap().to_be_bytes();
    let pseudo = [addresses, &len, &[0, PROTOCOL_UDP]].concat();
    assert_eq!(
        Sum::default().with(&pseudo).with(udp).finish(),
        [0, 0],
        "UDP"
    );
    assert_ne!(udp[6..8], [0, 0], "zero means none");
}

proptest! {
    #![proptest_config(seeded())]

    /// What is written is read again by the parser of the XDP program, with right checksums.
    #[test]
    fn headers_are_read_again(
        payload in proptest::collection::vec(any::<u8>(), 0..1_700),
        v4: bool,
        tags in 0_usize..=2,
        ecn in 0_u8..4,
    ) {
        let ecn = Ecn::from_bits(ecn);
        let [local, remote] = addresses(v4);
        let arrived = arriving(tags, v4);
        let link = LinkHeader::answering(&arrived, arrived.len()).unwrap();
        let template = Template::new(&link, local, remote, FIELDS, 9_000).unwrap();
        let mut chunk = [0xaa; CHUNK];
        chunk[HEADROOM..HEADROOM + payload.len()].copy_from_slice(&payload);
        let start = template.write(&mut chunk, payload.len(), ecn, Checksum::Software);
        let packet = &chunk[start..HEADROOM + payload.len()];
        let frame = UdpFrame::parse(packet).unwrap();
        prop_assert_eq!(frame.payload_len, Some(payload.len()));
        prop_assert_eq!(frame.network, 14 + 4 * tags);
        prop_assert_eq!(frame.source_port, local.port());
        prop_assert_eq!(frame.destination_port, remote.port());
        let (from, to) = addresses_of(packet, &frame).unwrap();
        prop_assert_eq!((from, to), (local.ip(), remote.ip()));
        prop_assert_eq!(&packet[frame.payload()..], &payload[..]);
        prop_assert_eq!([&packet[..6], &packet[6..12]], [&HOP[..], &US[..]]);
        let ip = &packet[frame.network..];
        let class = FIELDS.class & !3 | ecn as u8;
        if v4 {
            prop_assert_eq!((ip[1], ip[8], ip[6]), (class, FIELDS.hops, 0x40));
        } else {
            prop_assert_eq!((ip[0] << 4 | ip[1] >> 4, ip[7]), (class, FIELDS.hops));
        }
        verify(packet, &frame);
    }

    /// What a device makes of a request is the checksum that we would write.
    #[test]
    fn metadata_asks_for_the_same_checksum(
        payload in proptest::collection::vec(any::<u8>(), 1..1_400),
        v4: bool,
    ) {
        let [local, remote] = addresses(v4);
        let link = LinkHeader::new(HOP, US, Some(5), v4);
        let template = Template::new(&link, local, remote, FIELDS, 1_500).unwrap();
        let mut chunk = [0; CHUNK];
        chunk[HEADROOM..HEADROOM + payload.len()].copy_from_slice(&payload);
        let start = template.write(&mut chunk, payload.len(), Ecn::Ect1, Checksum::Metadata);
        let metadata = &chunk[start - METADATA_LEN..start];
        prop_assert_eq!(&metadata[..8], &METADATA_CHECKSUM.to_ne_bytes());
        let [at, offset] = [8, 10].map(|n| u16::from_ne_bytes([metadata[n], metadata[n + 1]]));
        let (from, at) = (start + usize::from(at), start + usize::from(at + offset));
        let end = HEADROOM + payload.len();
        let check = never_zero(Sum::default().with(&chunk[from..end]).finish());
        chunk[at..at + 2].copy_from_slice(&check);
        let packet = &chunk[start..end];
        verify(packet, &UdpFrame::parse(packet).unwrap());
    }
}

#[test]
fn a_sum_of_zero_is_sent_as_all_ones() {
    let [local, remote] = addresses(true);
    let link = LinkHeader::new(HOP, US, None, true);
    let template = Template::new(&link, local, remote, FIELDS, 1_500).unwrap();
    let mut chunk = [0; CHUNK];
    // The payload that makes the rest's checksum zero is that checksum.
    let check = |chunk: &mut [u8; CHUNK]| {
        template.write(chunk, 2, Ecn::NotEct, Checksum::Software);
        [chunk[HEADROOM - 2], chunk[HEADROOM - 1]]
    };
    let rest = check(&mut chunk);
    chunk[HEADROOM..HEADROOM + 2].copy_from_slice(&rest);
    assert_eq!(check(&mut chunk), [0xff, 0xff]);
}

#[test]
fn the_payload_keeps_to_mtu_and_frame() {
    let link = LinkHeader::new(HOP, US, None, true);
    let max = |v4: bool, mtu: usize| {
        let [local, remote] = addresses(v4);
        Template::new(&link, local, remote, FIELDS, mtu)
            .unwrap()
            .max_payload()
    };
    assert_eq!(max(true, 1_500), 1_472);
    assert_eq!(max(false, 1_500), 1_452);
    assert_eq!(max(true, 20), 0);
    assert_eq!(max(true, 65_535), CHUNK - HEADROOM);
}

#[test]
fn only_frames_between_two_stations_are_answered() {
    let frame = arriving(0, true);
    assert!(LinkHeader::answering(&frame, 14).is_some());
    assert!(LinkHeader::answering(&frame, 15).is_none(), "cut");
    for (at, byte) in [(0, 0xff), (0, 0x33), (6, 0x01)] {
        let mut bad = frame.clone();
        bad[at] = byte;
        let answer = LinkHeader::answering(&bad, 14);
        assert!(answer.is_none(), "{at}");
    }
    let mut nobody = frame;
    nobody[6..12].fill(0);
    assert!(LinkHeader::answering(&nobody, 14).is_none());
}
