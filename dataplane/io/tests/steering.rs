//! The classic BPF program against `worker_of`, in the running kernel.

use ion_io::{BindError, MediaPort, MediaSocket};
use ion_tables::steer::worker_of;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use std::net::{SocketAddr, UdpSocket};

/// Index of the socket that has a datagram, after taking it: workers first, then control, then the workers' for reports.
fn arrival(sockets: &[&MediaSocket]) -> usize {
    let mut fds: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(*socket, PollFlags::IN))
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
    let mut byte = [0_u8; 16];
    let (_, len) = rustix::net::recv(sockets[ready[0]], &mut byte, RecvFlags::empty()).unwrap();
    assert!(len <= 16);
    ready[0]
}

fn all(port: &MediaPort) -> Vec<&MediaSocket> {
    let workers = port.workers.iter().map(|sockets| &sockets[0]);
    let reports = port.reports.iter().map(|sockets| &sockets[0]);
    workers.chain([&port.control[0]]).chain(reports).collect()
}

fn media_reaches_the_worker_of_its_source(media: &str, clients: &[&str]) {
    for workers in [1, 2, 3, 5] {
        let port = MediaPort::bind(&[media.parse().unwrap()], workers).unwrap();
        let sockets = all(&port);
        let target = sockets[0].local();
        let mut seen = vec![0; workers];
        for client in clients {
            for _ in 0..40 {
                let client = UdpSocket::bind((*client, 0)).unwrap();
                let expected = worker_of(client.local_addr().unwrap(), workers);
                for first in [128, 143, 191] {
                    client.send_to(&[first, 96, 0, 1], target).unwrap();
                    assert_eq!(arrival(&sockets), expected);
                }
                // Transport-wide feedback and RFC 8888, padded or not, by their first two bytes.
                for report in [[0x8f, 205], [0x8b, 205], [0xaf, 205], [0xab, 205]] {
                    client.send_to(&report, target).unwrap();
                    assert_eq!(arrival(&sockets), workers + 1 + expected, "{report:?}");
                }
                // A NACK, a PLI, a receiver report; RTP that looks alike.
                for other in [
                    [0x81, 205],
                    [0x81, 206],
                    [0x8f, 201],
                    [0x8f, 96],
                    [0x80, 205],
                ] {
                    client.send_to(&other, target).unwrap();
                    assert_eq!(arrival(&sockets), expected, "{other:?}");
                }
                seen[expected] += 1;
            }
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }
}

#[test]
fn ipv4_media_reaches_the_worker_of_its_source() {
    media_reaches_the_worker_of_its_source("127.0.0.1:0", &["127.0.0.1", "127.1.2.3"]);
}

#[test]
fn ipv6_media_reaches_the_worker_of_its_source() {
    media_reaches_the_worker_of_its_source("[::1]:0", &["::1"]);
}

#[test]
fn all_that_is_not_media_reaches_the_control_plane() {
    for (media, client) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
        let port = MediaPort::bind(&[media.parse().unwrap()], 2).unwrap();
        let sockets = all(&port);
        let client = UdpSocket::bind(client).unwrap();
        for first in [0, 3, 20, 63, 64, 79, 127, 192, 255] {
            client.send_to(&[first], sockets[0].local()).unwrap();
            assert_eq!(arrival(&sockets), 2, "first byte {first}");
        }
        for short in [&[][..], &[0x8f]] {
            client.send_to(short, sockets[0].local()).unwrap();
            assert_eq!(arrival(&sockets), 2, "{short:?} is too short to be media");
        }
    }
}

#[test]
fn a_port_that_somebody_has_is_refused_even_if_they_would_share_it() {
    let first = MediaPort::bind(&["127.0.0.1:0".parse().unwrap()], 2).unwrap();
    let address = first.control[0].local();
    let error = MediaPort::bind(&[address], 2).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("ss -lunp"));
    // A dual-stack or wildcard holder counts too.
    let wildcard: SocketAddr = ([0, 0, 0, 0], address.port()).into();
    assert!(matches!(
        MediaPort::bind(&[wildcard], 1),
        Err(BindError::InUse { .. })
    ));
    drop(first);
    MediaPort::bind(&[address], 2).unwrap();
}

#[test]
fn addresses_that_cannot_be_are_told_apart() {
    let bind = |addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        MediaPort::bind(&addresses, 1)
    };
    assert!(matches!(
        bind(&["192.0.2.1:0"]),
        Err(BindError::NoSuchAddress { .. })
    ));
    for overlap in [
        ["0.0.0.0:0", "127.0.0.1:0"],
        ["127.0.0.1:0", "127.0.0.1:1"],
        ["[::]:0", "[::1]:0"],
    ] {
        assert!(matches!(bind(&overlap), Err(BindError::Overlap { .. })));
    }
    // The families do not overlap, and IPv6 leaves IPv4 alone.
    let both = bind(&["0.0.0.0:0", "[::]:0"]).unwrap();
    assert_eq!(both.control.len(), 2);
    let port = both.control[1].local().port();
    UdpSocket::bind(("127.0.0.1", port)).unwrap();
}
