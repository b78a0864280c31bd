use crate::counting::allocations;
use crate::net::{Cable, PATIENCE, THEIRS, checksum_offload, ip, with_pair};
use crate::rig::{Rig, config, copy_mode_in_software, datagram, expect, plain};
use ion_engine::Path;
use ion_io::xdp::{self, BusyPoll, CopyMode, XdpConfig};
use ion_io::{Backend, Doorbell};
use ion_wire::frame::FrameHeaders;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Sizes up to the MTU, for IPv6, and enough of them to go round the rings.
fn round_trips(rig: &mut Rig, clients: &[UdpSocket]) {
    let sizes = [12, 13, 100, 1_200, 1_200, 1_200, 1_452];
    for (client, media) in clients.iter().zip(rig.media.clone()) {
        rig.knows(client, media);
        for round in 0..30 {
            let sent: Vec<_> = (0..21).map(|n| datagram(round + n, sizes[n % 7])).collect();
            for bytes in &sent {
                client.send_to(bytes, media).unwrap();
            }
            let before = rig.received;
            let got = rig.receive(sent.len());
            assert_eq!(rig.received.ring - before.ring, 21, "came by the ring");
            for ((remote, local, data), expected) in got.iter().zip(&sent) {
                assert_eq!(*remote, client.local_addr().unwrap());
                assert_eq!(*local, media.ip());
                assert_eq!(data, expected);
            }
            let report = rig.echo(&got);
            let bytes = sent.iter().map(|b| b.len() as u64).sum::<u64>();
            assert_eq!((report.ring, report.datagrams), (21, 21), "{report:?}");
            assert_eq!((report.bytes, report.full, report.failed), (bytes, 0, 0));
            for expected in &sent {
                assert_eq!(expect(client, media), *expected);
            }
        }
    }
}

#[test]
fn datagrams_come_and_go_by_the_ring() {
    with_pair(1, |far| {
        // The client's kernel then looks at every checksum.
        checksum_offload("ion0", false);
        let mut rig = Rig::new(1, copy_mode_in_software);
        round_trips(&mut rig, &THEIRS.map(|address| far.socket(address)));
    });
}

/// Asked by TX metadata, the kernel computes checksums for a device that does not.
#[test]
fn checksums_can_be_left_to_the_device() {
    with_pair(1, |far| {
        checksum_offload("ion0", true);
        let mut rig = Rig::new(1, plain);
        let description = rig.backend.xdp().unwrap().describe();
        if !description.contains("by the device") {
            eprintln!("skipped: this kernel has no TX metadata (Linux 6.11): {description}");
            return;
        }
        // From here on it must fill them in itself, and the client's kernel looks.
        checksum_offload("ion0", false);
        round_trips(&mut rig, &THEIRS.map(|address| far.socket(address)));
    });
}

#[test]
fn all_queues_of_a_worker_are_served() {
    with_pair(4, |far| {
        assert_eq!(xdp::queues("ion0"), Ok(4));
        let mut rig = Rig::new(4, plain);
        let media = rig.media[0];
        for _ in 0..40 {
            let client = far.socket(THEIRS[0]);
            rig.knows(&client, media);
            rig.round_trip(&client, media);
        }
    });
}

/// Two workers on one interface share nothing but the program.
#[test]
fn each_worker_serves_its_own_queues() {
    with_pair(4, |far| {
        let mut rig = Rig::new(2, plain);
        let second = config(&rig.attachment, vec![2, 3]);
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let mut second = Backend::open_xdp(second, Vec::new(), doorbell)
            .unwrap_or_else(|refused| panic!("{}", refused.error));
        let media = rig.media[0];
        let clients: Vec<_> = (0..40).map(|_| far.socket(THEIRS[0])).collect();
        for client in &clients {
            rig.knows(client, media);
            client.send_to(&datagram(1, 200), media).unwrap();
        }
        let mut came = [0, 0];
        rig.wait_for("all have come", |rig| {
            second.poll(Some(Duration::ZERO)).unwrap();
            let (arrivals, _) = second.split();
            came[1] += arrivals.for_each(|r| assert_eq!(r.local, media.ip())).ring;
            came[0] = rig.received.ring;
            came[0] + came[1] == 40
        });
        assert!(came.iter().all(|&count| count > 0), "{came:?}");
        second.poll(Some(Duration::ZERO)).unwrap();
        let count = second.xdp().unwrap().frames();
        assert_eq!((count.outstanding(), count.batch, count.bogus), (0, 0, 0));
    });
}

#[test]
fn what_finds_no_room_in_the_ring_is_counted() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        let media = rig.media[0];
        let client = far.socket(THEIRS[0]);
        rig.knows(&client, media);
        rig.round_trip(&client, media);
        for n in 0..600 {
            client.send_to(&datagram(n, 100), media).unwrap();
        }
        let came = |rig: &Rig| rig.received.ring - 1;
        rig.wait_for("all are accounted for", |rig| {
            came(rig) + rig.backend.xdp().unwrap().dropped() == 600
        });
        assert_eq!(came(&rig), 255, "all frames but the one being read");
        // It goes on after that.
        rig.round_trip(&client, media);
    });
}

/// Without the right to lock memory beyond the limit; both are this thread's, or do not
/// touch those that have the right.
#[test]
fn a_limit_on_locked_memory_is_named() {
    with_pair(1, |_| {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::IPC_LOCK);
        rustix::thread::set_capabilities(None, sets).unwrap();
        let limit = Rlimit {
            current: Some(64 << 10),
            ..getrlimit(Resource::Memlock)
        };
        setrlimit(Resource::Memlock, limit).unwrap();
        let text = refused(|_| {});
        assert!(text.contains("LimitMEMLOCK="), "{text}");
    });
}

#[test]
fn busy_polling_is_taken() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, |config| {
            config.busy_poll = Some(BusyPoll {
                microseconds: 20,
                budget: 64,
            });
        });
        round_trips(&mut rig, &THEIRS.map(|address| far.socket(address)));
    });
}

/// Frames as they are on a cable: tags and all.
#[test]
fn vlan_tags_are_kept() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, copy_mode_in_software);
        for media in rig.media.clone() {
            let v4 = media.is_ipv4();
            let client: SocketAddr =
                (THEIRS[usize::from(!v4)].parse::<IpAddr>().unwrap(), 6_000).into();
            rig.attachment.lock().unwrap().flow(client, media);
            for tags in [&[7_u16][..], &[100, 4_094]] {
                let cable = Cable::new(far, "far0");
                let headers = FrameHeaders {
                    to: [2, 0, 0, 0, 0, 1],
                    from: [2, 0, 0, 0, 0, 2],
                    vlans: tags,
                    source: client,
                    destination: media,
                    traffic_class: 0,
                    hop_limit: 9,
                };
                let mut frame = [0; 1_600];
                let len = headers.write(&datagram(1, 800), &mut frame).unwrap();
                cable.send(&frame[..len]);
                let got = rig.receive(1);
                assert_eq!(got, [(client, media.ip(), datagram(1, 800))]);
                let report = rig.echo(&got);
                assert_eq!((report.ring, report.datagrams), (1, 1), "{report:?}");
                // As it is written, but the other way round and with the usual hops.
                let answer = FrameHeaders {
                    to: headers.from,
                    from: headers.to,
                    source: media,
                    destination: client,
                    hop_limit: 64,
                    ..headers
                };
                let len = answer.write(&datagram(1, 800), &mut frame).unwrap();
                assert_eq!(cable.receive(), frame[..len], "{tags:?}");
            }
        }
    });
}

/// Nothing has come from the client: the kernel's tables tell where it is.
#[test]
fn the_kernel_is_asked_for_what_no_frame_has_told() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        for (address, media) in THEIRS.into_iter().zip(rig.media.clone()) {
            let client = far.socket(address);
            let unspecified: IpAddr = if media.is_ipv4() {
                [0, 0, 0, 0].into()
            } else {
                [0_u16; 8].into()
            };
            for local in [media.ip(), unspecified] {
                let path = Path {
                    remote: client.local_addr().unwrap(),
                    local,
                };
                let packet = [(path, datagram(1, 700))];
                // The neighbour is not known yet: the first goes by the socket, and the
                // kernel finds out.
                let mut sent = 0;
                rig.wait_for("the neighbour is known", |rig| {
                    sent += 1;
                    let report = rig.send(&packet);
                    assert_eq!(report.datagrams, 1, "{report:?}");
                    report.ring == 1
                });
                for _ in 0..sent {
                    assert_eq!(expect(&client, media), datagram(1, 700));
                }
            }
        }
    });
}

#[test]
fn frames_that_no_ring_can_send_go_as_gso_by_the_socket() {
    with_pair(1, |_| {
        let mut rig = Rig::new(1, plain);
        for media in rig.media.clone() {
            // Clients on this host itself: there is no frame to them.
            let clients = [(); 2].map(|()| UdpSocket::bind((media.ip(), 0)).unwrap());
            let sizes = [1_000, 1_000, 1_000, 400, 300, 300];
            let packets: Vec<_> = clients
                .iter()
                .flat_map(|client| {
                    let remote = client.local_addr().unwrap();
                    let local = media.ip();
                    let path = Path { remote, local };
                    let datagram = move |(n, &len)| (path, datagram(n, len));
                    sizes.iter().enumerate().map(datagram)
                })
                .collect();
            let report = rig.send(&packets);
            assert_eq!((report.ring, report.datagrams), (0, 12), "{report:?}");
            // 1000×3 400 · 300×2, for each of them.
            assert_eq!((report.sends, report.failed), (4, 0));
            assert_eq!(report.bytes, 2 * sizes.iter().sum::<usize>() as u64);
            for client in &clients {
                for (n, &len) in sizes.iter().enumerate() {
                    assert_eq!(expect(client, media), datagram(n, len));
                }
            }
        }
    });
}

#[test]
fn what_is_beyond_the_mtu_is_left_to_the_socket() {
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
        let report = rig.send(&[(path, datagram(1, 1_472))]);
        assert_eq!(report.ring, 1);
        expect(&client, media);
        // The socket does not fragment either.
        let report = rig.send(&[(path, datagram(1, 1_473))]);
        assert_eq!((report.ring, report.failed), (0, 1), "{report:?}");
        // It may change while it runs.
        ip("link set ion0 mtu 1000");
        let mut report = None;
        rig.wait_for("the new MTU is seen", |rig| {
            let now = rig.send(&[(path, datagram(1, 1_000))]);
            report = Some(now);
            now.ring == 0
        });
        assert_eq!(report.unwrap().failed, 1);
        let report = rig.send(&[(path, datagram(1, 972))]);
        assert_eq!(report.ring, 1, "{report:?}");
    });
}

#[test]
fn a_batch_beyond_the_rings_goes_through_them() {
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
        // All of them fit the client's buffer.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&client, 4 << 20).unwrap();
        let packets: Vec<_> = (0..400).map(|n| (path, datagram(n, 100))).collect();
        let report = rig.send(&packets);
        assert_eq!((report.ring, report.full), (400, 0), "{report:?}");
        assert!(report.kicks >= 400 / 64, "{report:?}");
        for (_, expected) in &packets {
            assert_eq!(expect(&client, media), *expected);
        }
    });
}

#[test]
fn receiving_and_sending_do_not_allocate() {
    with_pair(1, |far| {
        let mut rig = Rig::new(1, plain);
        let media = rig.media[0];
        let client = far.socket(THEIRS[0]);
        rig.knows(&client, media);
        let mut allocated = None;
        for round in 0..20 {
            // More than the rings have, in all.
            for n in 0..50 {
                client.send_to(&datagram(n, 100 + n / 10), media).unwrap();
            }
            let before = allocations();
            let mut left = 50;
            while left > 0 {
                let Rig { backend, batch, .. } = &mut rig;
                backend.poll(Some(PATIENCE)).unwrap();
                let (arrivals, mut sender) = backend.split();
                left -= arrivals
                    .for_each(|received| {
                        let len = received.data.len();
                        batch.space(len).unwrap().copy_from_slice(received.data);
                        let path = Path {
                            remote: received.remote,
                            local: received.local,
                        };
                        batch.commit(&path, len);
                    })
                    .ring;
                sender.send(batch).unwrap();
                batch.clear();
            }
            // The first round is for what a library sets up once.
            if round > 0 {
                *allocated.get_or_insert(0) += allocations() - before;
            }
            for n in 0..50 {
                assert_eq!(expect(&client, media), datagram(n, 100 + n / 10));
            }
        }
        assert_eq!(allocated, Some(0));
    });
}

#[test]
fn a_batch_can_be_made_again_when_the_last_one_is_gone() {
    with_pair(1, |_| {
        let config = XdpConfig::new("ion0", vec![0], Arc::new(|_, _| Ok(())));
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let mut backend = Backend::open_xdp(config, Vec::new(), doorbell)
            .unwrap_or_else(|refused| panic!("{}", refused.error));
        for _ in 0..20 {
            let batch = backend.batch(1_000, 10);
            assert!(batch.is_framed());
            assert!(!backend.batch(1_000, 10).is_framed(), "there is one");
            assert_eq!(backend.xdp().unwrap().frames().batch, 256);
        }
        assert_eq!(backend.xdp().unwrap().frames().batch, 0);
    });
}

/// `io = auto` measures so; it leaves nothing behind.
#[test]
fn both_ways_are_measured_by_what_they_are() {
    with_pair(1, |_| {
        let costs = xdp::measure("ion0", CopyMode::Auto).unwrap();
        assert!(costs.ring_ns > 0 && costs.socket_ns > 0, "{costs:?}");
        let left = ip("route show") + &ip("neighbour show");
        assert!(!left.contains("198.18"), "{left}");
        ip("link set ion0 down");
        let error = xdp::measure("ion0", CopyMode::Auto).unwrap_err();
        assert!(!error.to_string().is_empty());
    });
}

fn refused(adjust: impl FnOnce(&mut XdpConfig)) -> String {
    let mut config = XdpConfig::new("ion0", vec![0], Arc::new(|_, _| Ok(())));
    adjust(&mut config);
    let doorbell = Arc::new(Doorbell::new().unwrap());
    match Backend::open_xdp(config, Vec::new(), doorbell) {
        Ok(_) => panic!("it was opened"),
        Err(refused) => refused.error.to_string(),
    }
}

#[test]
fn refusals_name_cause_and_remedy() {
    with_pair(1, |_| {
        let text = refused(|config| config.interface = "eth7".into());
        assert!(text.contains("eth7") && text.contains("ip link"), "{text}");
        let text = refused(|config| config.queues = vec![0, 0]);
        assert!(text.contains("different"), "{text}");
        let text = refused(|config| config.queues = vec![5]);
        assert!(text.contains("no such queue"), "{text}");
        let text = refused(|config| config.mode = CopyMode::ZeroCopy);
        assert!(text.contains("copy mode"), "{text}");
        let _taken = Rig::new(1, plain);
        let text = refused(|_| {});
        assert!(text.contains("another AF_XDP socket"), "{text}");
    });
}

#[test]
fn the_doorbell_and_time_end_a_sleep() {
    with_pair(1, |_| {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let config = XdpConfig::new("ion0", vec![0], Arc::new(|_, _| Ok(())));
        let opened = Backend::open_xdp(config, Vec::new(), Arc::clone(&doorbell));
        let mut backend = opened.unwrap_or_else(|refused| panic!("{}", refused.error));
        assert!(!backend.poll(Some(Duration::from_millis(1))).unwrap().rung);
        doorbell.ring();
        assert!(backend.poll(None).unwrap().rung);
        assert!(!backend.poll(Some(Duration::ZERO)).unwrap().rung);
    });
}
