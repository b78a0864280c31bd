//! Relayed packets: the bytes that the program sends on, against frames made anew.

mod support;

use ion_ebpf::{Flow, FlowKey, Relay, Verdict};
use ion_wire::frame::checksum::Sum;
use ion_wire::frame::{FrameHeaders, IpVersion, PacketMut, UdpFrame};
use proptest::prelude::*;
use std::net::SocketAddr;
use support::*;

const OWN: [u8; 6] = [2, 1, 1, 1, 1, 1];
const NEXT: [u8; 6] = [2, 2, 2, 2, 2, 2];
/// The interface that `BPF_PROG_TEST_RUN` says frames came by.
const SAME: u32 = 1;

/// What the far end of a relay must see.
fn made_anew(from: SocketAddr, to: SocketAddr, vlans: &[u16], hops: u8, payload: &[u8]) -> Vec<u8> {
    let headers = FrameHeaders {
        to: NEXT,
        from: OWN,
        vlans,
        source: from,
        destination: to,
        traffic_class: 0xb8,
        hop_limit: hops,
    };
    let mut out = vec![0; 2_048];
    let len = headers.write(payload, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Verifies checksums the receiver's way: the sum over all, checksum included, is all ones.
fn checksums_hold(frame: &[u8]) -> bool {
    let udp = UdpFrame::parse(frame).unwrap();
    let (network, transport) = (udp.network, udp.transport);
    let end = udp.payload() + udp.payload_len.unwrap();
    let (addresses, header) = match udp.version {
        IpVersion::V4 => (
            network + 12,
            Sum::default().with(&frame[network..transport]),
        ),
        IpVersion::V6 => (network + 8, Sum::default().with(&[0xff, 0xff])),
    };
    let len = u16::try_from(end - transport).unwrap().to_be_bytes();
    let pseudo = Sum::default()
        .with(&frame[addresses..transport])
        .with(&[0, 17, len[0], len[1]]);
    header.finish() == [0, 0] && pseudo.with(&frame[transport..end]).finish() == [0, 0]
}

fn relay_to(from: SocketAddr, to: SocketAddr) -> Flow {
    Flow::relayed(0, Relay::new(SAME, OWN, NEXT, from, to).unwrap())
}

#[test]
fn media_of_a_relayed_flow_leaves_with_new_addresses() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    let nexts = [
        ("198.51.100.1:7882", "203.0.113.5:7882"),
        ("[2001:db8:1::1]:7882", "[2001:db8:2::5]:7882"),
    ];
    for (pair, next) in PAIRS.into_iter().zip(nexts) {
        let key = FlowKey::new(address(pair.0), address(pair.1));
        let (from, to) = (address(next.0), address(next.1));
        kernel.flows.set(key, relay_to(from, to)).unwrap();
        for vlans in [&[][..], &[100], &[200, 100]] {
            for payload in [rtp(), rtcp(), rtp()[..13].to_vec()] {
                let received = frame(pair.0, pair.1, vlans, &payload);
                assert!(checksums_hold(&received));
                let outcome = kernel.run(&received);
                assert_eq!((outcome.verdict, outcome.action), (Verdict::Relayed, TX));
                assert_eq!(outcome.frame, made_anew(from, to, vlans, 63, &payload));
                assert!(checksums_hold(&outcome.frame));
            }
        }
        for payload in [stun(), dtls()] {
            let outcome = kernel.run(&frame(pair.0, pair.1, &[], &payload));
            assert_eq!(outcome.action, PASS, "only media is sent on");
        }
    }
}

#[test]
fn another_interface_must_be_allowed_first() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    let pair = PAIRS[0];
    let key = FlowKey::new(address(pair.0), address(pair.1));
    let relay = Relay::new(77, OWN, NEXT, address(pair.1), address(pair.0)).unwrap();
    kernel.flows.set(key, Flow::relayed(0, relay)).unwrap();
    let outcome = kernel.run(&frame(pair.0, pair.1, &[], &rtp()));
    assert_eq!(
        (outcome.verdict, outcome.action),
        (Verdict::DropRelay, DROP)
    );
}

#[test]
fn a_used_up_hop_limit_is_a_drop() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for (pair, hops_at) in PAIRS.into_iter().zip([14 + 8, 14 + 7]) {
        let key = FlowKey::new(address(pair.0), address(pair.1));
        let back = relay_to(address(pair.1), address(pair.0));
        kernel.flows.set(key, back).unwrap();
        for hops in [0, 1, 2, 255] {
            let mut frame = frame(pair.0, pair.1, &[], &rtp());
            frame[hops_at] = hops;
            let outcome = kernel.run(&frame);
            if hops <= 1 {
                assert_eq!(outcome.verdict, Verdict::DropHopLimit);
                assert_eq!(outcome.action, DROP);
            } else {
                assert_eq!(outcome.action, TX);
                assert_eq!(outcome.frame[hops_at], hops - 1);
            }
        }
    }
}

#[test]
fn no_checksum_stays_none_and_a_wrong_one_stays_wrong() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for (pair, check_at) in PAIRS.into_iter().zip([14 + 20 + 6, 14 + 40 + 6]) {
        let key = FlowKey::new(address(pair.0), address(pair.1));
        let back = relay_to(address(pair.1), address(pair.0));
        kernel.flows.set(key, back).unwrap();
        let mut frame = frame(pair.0, pair.1, &[], &rtp());
        let right = [frame[check_at], frame[check_at + 1]];
        frame[check_at..check_at + 2].fill(0);
        assert_eq!(kernel.run(&frame).frame[check_at..check_at + 2], [0, 0]);
        frame[check_at..check_at + 2].copy_from_slice(&[right[0] ^ 0x55, right[1]]);
        assert!(!checksums_hold(&kernel.run(&frame).frame));
    }
}

fn v4() -> impl Strategy<Value = SocketAddr> {
    any::<([u8; 4], u16)>().prop_map(SocketAddr::from)
}

fn v6() -> impl Strategy<Value = SocketAddr> {
    // Not a mapped IPv4 address: there is none on the wire.
    any::<([u8; 15], u16)>().prop_map(|(rest, port)| {
        let mut ip = [0x20; 16];
        ip[1..].copy_from_slice(&rest);
        SocketAddr::from((ip, port))
    })
}

fn quartet() -> impl Strategy<Value = [SocketAddr; 4]> {
    let v4 = [v4(), v4(), v4(), v4()];
    let v6 = [v6(), v6(), v6(), v6()];
    prop_oneof![v4, v6]
}

proptest! {
    #![proptest_config(seeded())]

    /// Any addresses and payload, by the code that the program is made of: what a sum over all of the new
    /// packet gives is what the amended checksums are. Payloads are bent to give sums around zero too.
    #[test]
    fn amended_checksums_are_those_of_the_whole(
        [source, local, from, to] in quartet(),
        payload in prop::collection::vec(any::<u8>(), 2..80),
        bend in any::<bool>(),
    ) {
        let mut payload = payload;
        let mut received = frame(&source.to_string(), &local.to_string(), &[], &payload);
        if bend {
            // The checksum of this packet, taken into its payload, makes the checksum zero, sent as ones.
            let udp = UdpFrame::parse(&received[..]).unwrap();
            let at = udp.transport + 6;
            let check = u16::from_be_bytes([received[at], received[at + 1]]);
            let first = u16::from_be_bytes([payload[0], payload[1]]);
            let sum = u32::from(first) + u32::from(check);
            let folded = (sum & 0xffff) + (sum >> 16);
            payload[..2].copy_from_slice(&folded.to_be_bytes()[2..]);
            received = frame(&source.to_string(), &local.to_string(), &[], &payload);
            prop_assert_eq!(&received[at..at + 2], [0xff, 0xff]);
        }
        let udp = UdpFrame::parse(&received[..]).unwrap();
        let relay = Relay::new(SAME, OWN, NEXT, from, to).unwrap();
        relay.readdress(&mut received[..], &udp).unwrap();
        prop_assert!(checksums_hold(&received));
        let anew = made_anew(from, to, &[], 63, &payload);
        prop_assert_eq!(received, anew);
    }

    /// And that the program does the same as that code, on the same frames.
    #[test]
    fn the_program_rewrites_as_user_space_does(
        [source, local, from, to] in quartet(),
        payload in prop::collection::vec(any::<u8>(), 12..80),
        damage in prop::option::of(any::<[u8; 3]>()),
    ) {
        let Some(mut kernel) = Kernel::load(&settings()) else {
            return Ok(());
        };
        let local = SocketAddr::new(local.ip(), MEDIA_PORT);
        let mut payload = payload;
        payload[..2].copy_from_slice(&[0x80, 96]);
        let mut received = frame(&source.to_string(), &local.to_string(), &[9], &payload);
        if let Some([a, b, c]) = damage {
            // Traffic class, flow label, identification, checksums: what parsing does not look at.
            let udp = UdpFrame::parse(&received[..]).unwrap();
            received.put(udp.transport + 6, [a, b]).unwrap();
            received.put(udp.network + 1, [c]).unwrap();
        }
        let key = FlowKey::new(source, local);
        let relay = Relay::new(SAME, OWN, NEXT, from, to).unwrap();
        kernel.flows.set(key, Flow::relayed(0, relay)).unwrap();
        let outcome = kernel.run(&received);
        let udp = UdpFrame::parse(&received[..]).unwrap();
        relay.readdress(&mut received[..], &udp).unwrap();
        prop_assert_eq!(outcome.verdict, Verdict::Relayed);
        prop_assert_eq!(outcome.frame, received);
    }
}
