//! The reuseport program on sockets of loopback, against `ion_tables::steer::worker_of`.

mod support;

use ion_ebpf::{Flow, FlowKey, Programs, Settings};
use ion_tables::steer::worker_of;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use support::*;

/// Index of the one socket that has a datagram, after taking it.
fn arrival(sockets: &[UdpSocket]) -> usize {
    let mut fds: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(socket, PollFlags::IN))
        .collect();
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&patience)).unwrap();
    let ready: Vec<_> = (0..fds.len())
        .filter(|&n| !fds[n].revents().is_empty())
        .collect();
    assert_eq!(ready.len(), 1, "one datagram reaches one socket");
    sockets[ready[0]].recv_from(&mut [0; 64]).unwrap();
    ready[0]
}

/// Groups at `media`, all steered by one set of programs.
struct Groups {
    programs: Programs,
    groups: Vec<(Vec<UdpSocket>, SocketAddr)>,
}

impl Groups {
    fn new(media: &[&str], workers: usize) -> Option<Self> {
        let bind = |text: &&str| group(address(text), 2 * workers + 1);
        let groups: Vec<_> = media.iter().map(bind).collect();
        let addresses: Vec<_> = groups.iter().map(|(_, address)| *address).collect();
        let settings = Settings::new(&addresses, workers).unwrap();
        let mut programs = or_skip(Programs::load(&settings))?;
        for (n, (sockets, _)) in groups.iter().enumerate() {
            let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            or_skip(programs.steer(n, &fds))?;
        }
        Some(Self { programs, groups })
    }
}

const LOOPBACK: [(&str, &[&str]); 2] = [
    ("127.0.0.1:0", &["127.0.0.1:0", "127.1.2.3:0"]),
    ("[::1]:0", &["[::1]:0"]),
];

#[test]
fn media_of_unknown_flows_reaches_the_worker_of_its_source() {
    for workers in [1, 2, 3, 5] {
        let Some(steered) = Groups::new(&LOOPBACK.map(|(media, _)| media), workers) else {
            return;
        };
        for ((sockets, target), (_, clients)) in steered.groups.iter().zip(LOOPBACK) {
            let mut seen = vec![0; workers];
            for client in clients.iter().cycle().take(80) {
                let client = UdpSocket::bind(client).unwrap();
                let expected = worker_of(client.local_addr().unwrap(), workers);
                for first in [128, 143, 191] {
                    client.send_to(&[first, 96, 0, 1], target).unwrap();
                    assert_eq!(arrival(sockets), expected);
                }
                for report in [[0x8f, 205], [0xab, 205]] {
                    client.send_to(&report, target).unwrap();
                    assert_eq!(arrival(sockets), workers + 1 + expected, "{report:?}");
                }
                for other in [[0x81, 205], [0x8f, 201], [0x8f, 96]] {
                    client.send_to(&other, target).unwrap();
                    assert_eq!(arrival(sockets), expected, "{other:?}");
                }
                seen[expected] += 1;
            }
            assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
        }
    }
}

#[test]
fn media_of_a_known_flow_reaches_its_worker() {
    let Some(steered) = Groups::new(&["127.0.0.1:0", "[::1]:0"], 3) else {
        return;
    };
    let mut flows = steered.programs.flows().unwrap();
    for ((sockets, target), (_, clients)) in steered.groups.iter().zip(LOOPBACK) {
        let client = UdpSocket::bind(clients[0]).unwrap();
        let key = FlowKey::new(client.local_addr().unwrap(), *target);
        for worker in [2, 0, 1] {
            flows.set(key, Flow::of_worker(worker)).unwrap();
            client.send_to(&[0x80, 96], target).unwrap();
            assert_eq!(arrival(sockets), usize::from(worker));
            client.send_to(&[0x8f, 205], target).unwrap();
            assert_eq!(arrival(sockets), 4 + usize::from(worker), "a report");
            client.send_to(&[22, 254], target).unwrap();
            assert_eq!(arrival(sockets), 3, "DTLS of the flow");
        }
        let by_hash = worker_of(client.local_addr().unwrap(), 3);
        flows.set(key, Flow::of_worker(9)).unwrap();
        client.send_to(&[0x80, 96], target).unwrap();
        assert_eq!(arrival(sockets), by_hash, "no such worker");
        flows.remove(key).unwrap();
        client.send_to(&[0x80, 96], target).unwrap();
        assert_eq!(arrival(sockets), by_hash);
    }
}

#[test]
fn all_that_is_not_media_reaches_the_control_plane() {
    let Some(steered) = Groups::new(&["127.0.0.1:0", "[::1]:0"], 2) else {
        return;
    };
    for ((sockets, target), (_, clients)) in steered.groups.iter().zip(LOOPBACK) {
        let client = UdpSocket::bind(clients[0]).unwrap();
        for first in [0, 3, 20, 63, 64, 79, 127, 192, 255] {
            client.send_to(&[first], target).unwrap();
            assert_eq!(arrival(sockets), 2, "first byte {first}");
        }
        client.send_to(&[], target).unwrap();
        assert_eq!(arrival(sockets), 2, "an empty datagram");
    }
}

/// A wildcard socket is reached at any address of its family, each a flow of its own.
#[test]
fn wildcards_are_groups_too() {
    let Some(steered) = Groups::new(&["0.0.0.0:0", "[::]:0"], 4) else {
        return;
    };
    let mut flows = steered.programs.flows().unwrap();
    let locals = [["127.0.0.1", "127.9.8.7"].as_slice(), &["::1"]];
    for ((sockets, bound), locals) in steered.groups.iter().zip(locals) {
        let client = if bound.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let client = UdpSocket::bind(client).unwrap();
        for (worker, local) in (0..).zip(locals) {
            let local = SocketAddr::new(local.parse().unwrap(), bound.port());
            let key = FlowKey::new(client.local_addr().unwrap(), local);
            flows.set(key, Flow::of_worker(worker)).unwrap();
            client.send_to(&[0x80, 96], local).unwrap();
            assert_eq!(arrival(sockets), usize::from(worker));
        }
    }
}

/// The group lives on in the sockets that are left, for instance the control plane's.
#[test]
fn a_closed_worker_loses_nothing_to_nobody() {
    let Some(mut steered) = Groups::new(&["127.0.0.1:0"], 2) else {
        return;
    };
    let (mut sockets, target) = steered.groups.pop().unwrap();
    drop(sockets.drain(..2));
    sockets.truncate(1);
    drop(steered);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(&[0x80, 96], target).unwrap();
    assert_eq!(arrival(&sockets), 0, "the kernel's own choice among one");
}

#[test]
fn a_group_of_another_size_is_refused() {
    let Some(mut steered) = Groups::new(&["127.0.0.1:0"], 2) else {
        return;
    };
    let fds: Vec<_> = steered.groups[0].0.iter().map(AsFd::as_fd).collect();
    let error = steered.programs.steer(0, &fds[..2]).unwrap_err();
    assert!(matches!(error, ion_ebpf::Error::TooMany { .. }), "{error}");
    let error = steered.programs.steer(16, &fds).unwrap_err();
    assert!(matches!(error, ion_ebpf::Error::TooMany { .. }), "{error}");
}

proptest! {
    #![proptest_config(seeded())]

    /// The program's hash is `worker_of`, for any address.
    #[test]
    fn the_hash_is_that_of_the_tables(ip in any::<[u8; 16]>(), v4 in any::<bool>(), port: u16, workers in 1..64_u32) {
        let remote = if v4 {
            SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port))
        } else {
            SocketAddr::from((ip, port))
        };
        let ours = ion_ebpf_types::steer::worker_of(&remote.into(), workers);
        prop_assert_eq!(ours as usize, worker_of(remote, workers as usize));
    }
}

const _: () = {
    assert!(ion_ebpf_types::MAX_WORKERS as usize == ion_tables::layout::MAX_WORKERS);
    assert!(ion_ebpf_types::settings::MAX_MEDIA as usize == ion_tables::attach::MAX_SOCKETS);
};

/// Several in one send stay joined up to the sockets, and lie in pieces then.
#[test]
fn datagrams_of_one_gso_send_reach_the_worker_of_their_flow() {
    let Some(steered) = Groups::new(&["127.0.0.1:0"], 2) else {
        return;
    };
    let (sockets, target) = &steered.groups[0];
    let mut flows = steered.programs.flows().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = quinn_udp::UdpSocketState::new((&client).into()).unwrap();
    let mut contents = vec![0_u8; 6_000];
    for datagram in contents.chunks_mut(1_000) {
        datagram[..2].copy_from_slice(&[0x80, 96]);
    }
    for worker in [1, 0] {
        let key = FlowKey::new(client.local_addr().unwrap(), *target);
        flows.set(key, Flow::of_worker(worker)).unwrap();
        let transmit = quinn_udp::Transmit {
            destination: *target,
            ecn: None,
            contents: &contents,
            segment_size: Some(1_000),
            src_ip: None,
        };
        state.try_send((&client).into(), &transmit).unwrap();
        for _ in 0..6 {
            assert_eq!(arrival(sockets), usize::from(worker));
        }
    }
}
