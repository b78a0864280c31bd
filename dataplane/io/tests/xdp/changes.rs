use crate::net::{THEIRS, ip, make_pair, with_pair};
use crate::rig::{Rig, datagram, expect, plain};
use ion_engine::Path;
use ion_io::xdp::RingState;
use std::time::Duration;

#[test]
fn a_neighbour_with_a_new_address_is_followed() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        for (address, media) in THEIRS.into_iter().zip(rig.media.clone()) {
            let client = far.socket(address);
            rig.knows(&client, media);
            rig.round_trip(&client, media);
            for last in ["0a", "0b"] {
                far.ip(&format!("link set far0 address 02:00:00:00:00:{last}"));
                // The kernel of the client drops what is not for its address.
                rig.round_trip(&client, media);
            }
        }
    });
}

#[test]
fn an_interface_that_goes_down_and_up_is_used_again() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        let media = rig.media[0];
        let client = far.socket(THEIRS[0]);
        rig.knows(&client, media);
        rig.round_trip(&client, media);
        let path = Path {
            remote: client.local_addr().unwrap(),
            local: media.ip(),
        };
        for _ in 0..2 {
            ip("link set ion0 down");
            // Before it is noticed by itself, and after: nothing hangs, all is counted.
            for _ in 0..3 {
                let report = rig.send(&[(path, datagram(1, 100)), (path, datagram(2, 100))]);
                assert_eq!(
                    report.datagrams + report.failed + report.full,
                    2,
                    "{report:?}"
                );
            }
            rig.wait_for("it is seen to be down", |rig| {
                rig.state() == RingState::LinkDown
            });
            let report = rig.send(&[(path, datagram(1, 100))]);
            assert_eq!((report.ring, report.datagrams), (0, 0), "{report:?}");
            ip("link set ion0 up");
            rig.wait_for("it is seen to be up", |rig| {
                rig.state() == RingState::Running
            });
            // What waited in the ring for the interface comes late; then all is as before.
            client.set_nonblocking(true).unwrap();
            while client.recv(&mut [0; 2_000]).is_ok() {}
            client.set_nonblocking(false).unwrap();
            rig.round_trip(&client, media);
        }
    });
}

#[test]
fn what_finds_no_room_in_the_tx_ring_is_given_up_and_counted() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, |config| {
            (config.tx_ring, config.batch) = (64, 512);
        });
        let media = rig.media[0];
        let client = far.socket(THEIRS[0]);
        rig.knows(&client, media);
        rig.round_trip(&client, media);
        let path = Path {
            remote: client.local_addr().unwrap(),
            local: media.ip(),
        };
        // Nothing leaves the ring, and nobody has noticed yet.
        ip("link set ion0 down");
        let packets: Vec<_> = (0..400).map(|n| (path, datagram(n, 100))).collect();
        let report = rig.send(&packets);
        assert_eq!((report.ring, report.ring_full), (64, 336), "{report:?}");
        assert_eq!((report.full, report.failed), (336, 0), "{report:?}");
        ip("link set ion0 up");
        // What is in the ring goes out without another send.
        rig.wait_for("the ring is in use and empty", |rig| {
            let xdp = rig.backend.xdp().unwrap();
            xdp.state() == RingState::Running && xdp.frames().sending == 0
        });
        for (_, expected) in &packets[..64] {
            assert_eq!(expect(&client, media), *expected);
        }
        rig.round_trip(&client, media);
    });
}

#[test]
fn an_interface_that_is_made_anew_gets_new_rings() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        let media = rig.media[0];
        let client = far.socket(THEIRS[0]);
        rig.knows(&client, media);
        rig.round_trip(&client, media);
        ip("link delete ion0");
        rig.wait_for("it is seen to be gone", |rig| {
            rig.state() == RingState::Lost
        });
        let count = rig.backend.xdp().unwrap().frames();
        assert_eq!((count.receiving, count.sending), (0, 0), "{count:?}");
        let path = Path {
            remote: client.local_addr().unwrap(),
            local: media.ip(),
        };
        let report = rig.send(&[(path, datagram(1, 100))]);
        assert_eq!((report.ring, report.failed), (0, 1), "{report:?}");
        make_pair(far, 1);
        rig.wait_for("it is back", |rig| rig.state() == RingState::Running);
        rig.round_trip(&client, media);
    });
}

#[test]
fn without_the_program_media_comes_by_the_sockets_and_with_it_by_the_ring_again() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        for (address, media) in THEIRS.into_iter().zip(rig.media.clone()) {
            let client = far.socket(address);
            rig.knows(&client, media);
            rig.round_trip(&client, media);
            rig.attachment.lock().unwrap().detach();
            for round in 0..5 {
                client.send_to(&datagram(round, 500), media).unwrap();
                let before = rig.received;
                let got = rig.receive(1);
                assert_eq!(rig.received.ring, before.ring, "came by the socket");
                assert_eq!(got[0].2, datagram(round, 500));
                // The way back by the ring is still there.
                let report = rig.echo(&got);
                assert_eq!((report.ring, report.datagrams), (1, 1), "{report:?}");
                assert_eq!(expect(&client, media), datagram(round, 500));
            }
            // The map kept the socket.
            rig.attachment.lock().unwrap().attach();
            rig.round_trip(&client, media);
        }
    });
}

/// Packets of both ways are given in one batch, also while the ring is never empty.
#[test]
fn the_sockets_are_not_starved_by_a_busy_ring() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        let media = rig.media[0];
        let busy = far.socket(THEIRS[0]);
        rig.knows(&busy, media);
        // Of an unlisted address of ours the program knows nothing, and passes it on.
        let local = std::net::UdpSocket::bind((media.ip(), 0)).unwrap();
        let mut seen_in = None;
        for round in 0..50 {
            busy.send_to(&datagram(round, 100), media).unwrap();
            if round == 10 {
                local.send_to(&datagram(99, 100), media).unwrap();
            }
            rig.turn(Duration::ZERO);
            if rig.received.datagrams > rig.received.ring {
                seen_in.get_or_insert(round);
            }
        }
        let seen_in = seen_in.expect("it was received");
        assert!((10..20).contains(&seen_in), "in round {seen_in}");
    });
}
