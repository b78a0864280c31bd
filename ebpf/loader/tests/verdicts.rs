//! Every verdict of the XDP program, by frames of which it is known.

mod support;

use ion_ebpf::{Flow, FlowKey, Rate, Relay, Verdict};
use rustix::net::{AddressFamily, SocketType};
use std::os::fd::AsRawFd;
use support::*;

fn key((source, destination): (&str, &str)) -> FlowKey {
    FlowKey::new(address(source), address(destination))
}

#[test]
fn media_goes_by_its_flow_and_all_else_by_its_first_byte() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for pair in PAIRS {
        for vlans in [&[][..], &[100], &[200, 100]] {
            let mut judge = |payload: &[u8]| {
                let frame = frame(pair.0, pair.1, vlans, payload);
                let outcome = kernel.run(&frame);
                assert_eq!(outcome.frame, frame, "not a byte is changed");
                assert_eq!(outcome.verdict.is_drop(), outcome.action == DROP);
                (outcome.verdict, outcome.action)
            };
            for media in [rtp(), rtcp()] {
                assert_eq!(judge(&media), (Verdict::DropUnknownFlow, DROP));
            }
            assert_eq!(judge(&stun()), (Verdict::PassStun, PASS));
            assert_eq!(judge(&dtls()), (Verdict::PassDtls, PASS));
            for first in (4..20).chain(64..128).chain(192..=255) {
                let mut junk = rtp();
                junk[0] = first;
                assert_eq!(judge(&junk), (Verdict::DropJunk, DROP), "{first}");
            }
            for short in [&rtp()[..11], &rtcp()[..7], &stun()[..19], &dtls()[..12]] {
                assert_eq!(judge(short), (Verdict::DropJunk, DROP));
            }
            assert_eq!(judge(&[]), (Verdict::DropJunk, DROP), "no payload at all");
            assert_eq!(judge(&[0x80]), (Verdict::DropJunk, DROP), "one byte");
        }
    }
}

#[test]
fn known_flows_are_passed_or_redirected() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for pair in PAIRS {
        let frame = frame(pair.0, pair.1, &[], &rtp());
        kernel.flows.set(key(pair), Flow::of_worker(1)).unwrap();
        let outcome = kernel.run(&frame);
        assert_eq!(outcome.verdict, Verdict::PassMedia, "no AF_XDP socket yet");
        assert_eq!(outcome.action, PASS);
    }
    // An AF_XDP socket in the map is enough to be chosen; what is not bound drops later.
    let Ok(socket) = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None) else {
        return skip(&"AF_XDP sockets need CAP_NET_RAW");
    };
    let mut sockets = kernel.programs.xsk_map().unwrap();
    sockets.set(0, socket.as_raw_fd(), 0).unwrap();
    for pair in PAIRS {
        for media in [rtp(), rtcp()] {
            let frame = frame(pair.0, pair.1, &[7], &media);
            let outcome = kernel.run(&frame);
            assert_eq!(outcome.verdict, Verdict::Redirected);
            assert_eq!(outcome.action, REDIRECT);
            assert_eq!(outcome.frame, frame);
        }
        // STUN and DTLS of the same flow still pass.
        for (payload, verdict) in [(stun(), Verdict::PassStun), (dtls(), Verdict::PassDtls)] {
            let outcome = kernel.run(&frame(pair.0, pair.1, &[], &payload));
            assert_eq!(outcome.verdict, verdict);
        }
        let by_socket = Flow::of_worker(1).by_socket();
        kernel.flows.set(key(pair), by_socket).unwrap();
        let outcome = kernel.run(&frame(pair.0, pair.1, &[], &rtp()));
        assert_eq!(outcome.verdict, Verdict::PassMedia);
        assert_eq!(kernel.flows.get(key(pair)).unwrap(), Some(by_socket));
        kernel.flows.remove(key(pair)).unwrap();
        kernel.flows.remove(key(pair)).unwrap();
        assert_eq!(kernel.flows.get(key(pair)).unwrap(), None);
        let outcome = kernel.run(&frame(pair.0, pair.1, &[], &rtp()));
        assert_eq!(outcome.verdict, Verdict::DropUnknownFlow);
    }
}

/// A frame larger than a page lies in pieces, which AF_XDP sockets do not take.
#[test]
fn media_in_a_jumbo_frame_is_passed() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    let Ok(socket) = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None) else {
        return skip(&"AF_XDP sockets need CAP_NET_RAW");
    };
    let mut sockets = kernel.programs.xsk_map().unwrap();
    sockets.set(0, socket.as_raw_fd(), 0).unwrap();
    for pair in PAIRS {
        let jumbo = [rtp(), vec![7; 8_000]].concat();
        let mut verdict = |payload: &[u8]| {
            let frame = frame(pair.0, pair.1, &[], payload);
            let outcome = kernel.run(&frame);
            assert_eq!(outcome.frame, frame);
            outcome.verdict
        };
        assert_eq!(verdict(&jumbo), Verdict::DropUnknownFlow);
        kernel.flows.set(key(pair), Flow::of_worker(0)).unwrap();
        let mut verdict = |payload: &[u8]| kernel.run(&frame(pair.0, pair.1, &[], payload)).verdict;
        assert_eq!(verdict(&jumbo), Verdict::PassMedia);
        assert_eq!(verdict(&rtp()), Verdict::Redirected);
    }
}

#[test]
fn other_ports_and_addresses_are_left_alone() {
    let one_address = ion_ebpf::Settings::new(&[address("198.51.100.1:7882")], 1).unwrap();
    let Some(mut kernel) = Kernel::load(&one_address) else {
        return;
    };
    let mut verdict = |source, destination, payload: &[u8]| {
        kernel
            .run(&frame(source, destination, &[], payload))
            .verdict
    };
    let client = "192.0.2.7:40000";
    for payload in [rtp(), stun(), dtls(), vec![255; 40], vec![]] {
        let other = verdict(client, "198.51.100.1:7881", &payload);
        assert_eq!(other, Verdict::PassOtherPort);
        let other = verdict(client, "198.51.100.2:7882", &payload);
        assert_eq!(other, Verdict::PassOtherPort, "another address");
        let from_our_port = verdict("192.0.2.7:7882", "198.51.100.1:53", &payload);
        assert_eq!(from_our_port, Verdict::PassOtherPort);
        let other = verdict("[2001:db8::7]:1", "[2001:db8::1]:7882", &payload);
        assert_eq!(other, Verdict::PassOtherPort, "no IPv6 media here");
    }
    let media = verdict(client, "198.51.100.1:7882", &rtp());
    assert_eq!(media, Verdict::DropUnknownFlow);
}

#[test]
fn what_is_not_read_is_passed() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    let [v4, v6] = PAIRS.map(|pair| frame(pair.0, pair.1, &[], &rtp()));
    let mut expect = |frame: &[u8], verdict, why: &str| {
        let outcome = kernel.run(frame);
        assert_eq!((outcome.verdict, outcome.action), (verdict, PASS), "{why}");
    };
    let changed = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    let tag = |frame: &[u8]| {
        let tag = [0x81, 0, 0, 5];
        [&frame[..12], &tag, &frame[12..]].concat()
    };
    let unread = Verdict::PassUnread;
    for frame in [&v4, &v6] {
        let triple = tag(&tag(&tag(frame)));
        expect(&triple, unread, "three VLAN tags");
    }
    for ihl in 6..16 {
        expect(&changed(&v4, 14, 0x40 | ihl), unread, "IPv4 options");
    }
    for (at, byte) in [(20, 0x20), (20, 0x60), (20, 0x01), (21, 0x01)] {
        expect(&changed(&v4, at, byte), unread, "IPv4 fragment");
    }
    for next in [0, 43, 44, 50, 51, 60, 135, 139, 140] {
        expect(&changed(&v6, 20, next), unread, "IPv6 extension header");
    }
    let other = Verdict::PassOther;
    expect(&changed(&v4, 13, 6), other, "ARP");
    expect(&changed(&v4, 23, 6), other, "TCP");
    expect(&changed(&v6, 20, 58), other, "ICMPv6");
    expect(
        &changed(&v4, 14, 0x65),
        other,
        "IPv6 behind IPv4's EtherType",
    );
    expect(&changed(&v4, 14, 0x44), other, "an IPv4 header of 16 bytes");
    expect(
        &changed(&v6, 14, 0x40),
        other,
        "IPv4 behind IPv6's EtherType",
    );
}

#[test]
fn a_frame_cut_anywhere_reaches_no_socket_as_media() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for pair in PAIRS {
        kernel.flows.set(key(pair), Flow::of_worker(0)).unwrap();
        for vlans in [&[][..], &[1], &[1, 2]] {
            let whole = frame(pair.0, pair.1, vlans, &rtp());
            let headers = whole.len() - rtp().len();
            for len in 14..whole.len() {
                let outcome = kernel.run(&whole[..len]);
                let expected = if len < headers {
                    Verdict::PassUnread
                } else {
                    Verdict::DropMalformed
                };
                assert_eq!(outcome.verdict, expected, "{len} of {}", whole.len());
            }
            assert_eq!(kernel.run(&whole).verdict, Verdict::PassMedia);
            let padded = [&whole[..], &[0; 30]].concat();
            let verdict = kernel.run(&padded).verdict;
            assert_eq!(verdict, Verdict::PassMedia, "Ethernet's padding");
        }
    }
}

#[test]
fn lengths_that_contradict_each_other_are_dropped() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for (pair, udp_len_at, ip_len_at, ip_len) in [
        (PAIRS[0], 14 + 20 + 4, 14 + 2, 28 + rtp().len()),
        (PAIRS[1], 14 + 40 + 4, 14 + 4, 8 + rtp().len()),
    ] {
        let good = frame(pair.0, pair.1, &[], &rtp());
        let udp_len = 8 + rtp().len();
        let mut with = |at: usize, len: usize| {
            let mut frame = good.clone();
            let len = u16::try_from(len).unwrap();
            frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
            kernel.run(&frame).verdict
        };
        for len in [0, 7, udp_len + 1, 65_535] {
            assert_eq!(with(udp_len_at, len), Verdict::DropMalformed, "UDP {len}");
        }
        for len in [0, ip_len - 1, ip_len + 1, 65_535] {
            assert_eq!(with(ip_len_at, len), Verdict::DropMalformed, "IP {len}");
        }
        // UDP may be shorter than IP says; what is behind it is not its.
        assert_eq!(with(udp_len_at, 8 + 12), Verdict::DropUnknownFlow);
        assert_eq!(with(udp_len_at, 8 + 11), Verdict::DropJunk);
    }
}

#[test]
fn stun_and_dtls_pass_at_the_rate_of_their_source_and_in_all() {
    let mut settings = settings();
    // So slow that nothing comes back while the test runs.
    (settings.source, settings.flow) = (Rate::new(1, 10), Rate::new(1, 3));
    settings.total = Rate::new(1, 25);
    let Some(mut kernel) = Kernel::load(&settings) else {
        return;
    };
    let known = FlowKey::new(address("192.0.2.9:5"), address(PAIRS[0].1));
    kernel.flows.set(known, Flow::of_worker(0)).unwrap();
    let mut passed = |source: &str, local: &str, payload: &[u8]| {
        let outcomes = (0..30).map(|_| kernel.run(&frame(source, local, &[], payload)).verdict);
        let verdicts: Vec<_> = outcomes.collect();
        let passed = verdicts.iter().take_while(|verdict| !verdict.is_drop());
        let passed = passed.count();
        (passed, verdicts[passed])
    };
    let local = PAIRS[0].1;
    let source_rate = Verdict::DropSourceRate;
    assert_eq!(passed("192.0.2.7:4000", local, &stun()), (10, source_rate));
    let neighbour = passed("192.0.2.8:4001", local, &dtls());
    assert_eq!(neighbour, (0, source_rate), "its network's bucket is empty");
    assert_eq!(passed("192.0.3.7:4000", local, &dtls()), (10, source_rate));
    let v6 = passed(PAIRS[1].0, PAIRS[1].1, &stun());
    assert_eq!(v6, (5, Verdict::DropTotalRate), "the last of all");
    let known = passed("192.0.2.9:5", local, &stun());
    assert_eq!(known, (3, source_rate), "a known flow has its own");
}

#[test]
fn dropped_packets_are_sampled_within_a_rate() {
    let mut settings = settings();
    settings.samples = Rate::new(1, 2);
    let Some(mut kernel) = Kernel::load(&settings) else {
        return;
    };
    let pair = PAIRS[1];
    // The bucket is each CPU's own, and the kernel may move us between them.
    let cpus = std::thread::available_parallelism().unwrap().get();
    for _ in 0..50 {
        kernel.run(&frame(pair.0, pair.1, &[3], &rtp()));
    }
    let samples: Vec<_> = kernel.programs.samples().collect();
    assert!((2..=2 * cpus).contains(&samples.len()), "{}", samples.len());
    for sample in &samples {
        assert_eq!(sample.verdict(), Some(Verdict::DropUnknownFlow));
        assert_eq!(sample.key, key(pair));
        assert_eq!(usize::from(sample.payload_len), rtp().len());
        assert_eq!(sample.payload_copied, 12);
        assert_eq!(sample.payload[..], rtp()[..12]);
        assert!(sample.at_ns > 0);
    }
}

#[test]
fn a_sample_of_a_short_packet_holds_what_there_is() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    for payload in [&[200, 9, 8][..], &[]] {
        kernel.run(&frame(PAIRS[0].0, PAIRS[0].1, &[], payload));
        let samples: Vec<_> = kernel.programs.samples().collect();
        let [sample] = samples[..] else {
            panic!("{} samples", samples.len());
        };
        assert_eq!(sample.verdict(), Some(Verdict::DropJunk));
        assert_eq!(sample.key, key(PAIRS[0]));
        assert_eq!(usize::from(sample.payload_len), payload.len());
        assert_eq!(usize::from(sample.payload_copied), payload.len());
        assert_eq!(sample.payload[..payload.len()], *payload);
        assert!(
            sample.payload[payload.len()..]
                .iter()
                .all(|byte| *byte == 0)
        );
    }
}

#[test]
fn a_relay_of_the_other_ip_version_is_dropped() {
    let Some(mut kernel) = Kernel::load(&settings()) else {
        return;
    };
    let [(v4_source, v4_local), (v6_source, v6_local)] = PAIRS;
    let relay = |source, destination| {
        Relay::new(
            1,
            LOCAL_MAC,
            REMOTE_MAC,
            address(source),
            address(destination),
        )
    };
    assert!(relay(v4_local, v6_source).is_err());
    let relay = relay(v6_local, v6_source).unwrap();
    let key = FlowKey::new(address(v4_source), address(v4_local));
    kernel.flows.set(key, Flow::relayed(0, relay)).unwrap();
    let outcome = kernel.run(&frame(v4_source, v4_local, &[], &rtp()));
    assert_eq!(
        (outcome.verdict, outcome.action),
        (Verdict::DropRelay, DROP)
    );
}
