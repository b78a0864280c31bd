//! Both backends over loopback, and the fallback from one to the other.
#![expect(
    clippy::cast_possible_truncation,
    reason = "patterns of bytes, and constants of the kernel's interface"
)]

use ion_engine::Path;
use ion_engine::congestion::Ecn;
use ion_io::uring::UringConfig;
use ion_io::{Backend, Doorbell, IoMode, MediaPort, SendReport};
use rustix::fd::{AsFd, AsRawFd};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

struct Setup {
    backend: Backend,
    doorbell: Arc<Doorbell>,
    media: SocketAddr,
    /// Keeps the group's numbering.
    port: MediaPort,
}

/// One worker on one address, or on several that a comma divides.
fn setup_with(mode: IoMode, media: &str, config: &UringConfig, prepare: fn(&MediaPort)) -> Setup {
    let media: Vec<_> = media.split(',').map(|a| a.parse().unwrap()).collect();
    let mut port = MediaPort::bind(&media, 1).unwrap();
    prepare(&port);
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let sockets = std::mem::take(&mut port.workers[0]);
    let media = sockets[0].local();
    let (backend, fallback) = Backend::open(mode, config, sockets, Arc::clone(&doorbell)).unwrap();
    if let Some(fallback) = fallback {
        panic!("this machine is to have io_uring: {fallback}");
    }
    Setup {
        backend,
        doorbell,
        media,
        port,
    }
}

fn setup(mode: IoMode, media: &str) -> Setup {
    setup_with(mode, media, &UringConfig::default(), |_| {})
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A datagram that is media by its first byte, recognisable by the rest.
fn datagram(number: usize, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|n| (n * 7 + number * 13) as u8).collect();
    bytes[0] = 0x80;
    bytes
}

type Owned = (SocketAddr, IpAddr, Vec<u8>);

/// Polls until `count` datagrams have come. Also gives the largest batch.
fn receive(backend: &mut Backend, count: usize) -> (Vec<Owned>, u64) {
    let mut got = Vec::new();
    let mut largest = 0;
    while got.len() < count {
        backend.poll(Some(PATIENCE)).unwrap();
        let (arrivals, _) = backend.split();
        let report = arrivals.for_each(|r| got.push((r.remote, r.local, r.data.to_vec())));
        assert!(report.datagrams > 0, "{} of {count} came", got.len());
        assert_eq!(report.truncated, 0);
        largest = largest.max(report.datagrams);
    }
    assert_eq!(got.len(), count);
    (got, largest)
}

fn send(backend: &mut Backend, packets: &[(Path, Vec<u8>)]) -> SendReport {
    let mut batch = backend.batch(1 << 20, 1_000);
    for (path, bytes) in packets {
        batch.space(bytes.len()).unwrap()[..bytes.len()].copy_from_slice(bytes);
        batch.commit(path, bytes.len());
    }
    let (_, mut sender) = backend.split();
    sender.send(&mut batch).unwrap()
}

fn echo_packets(got: &[Owned]) -> Vec<(Path, Vec<u8>)> {
    got.iter()
        .map(|(remote, local, data)| {
            let path = Path {
                remote: *remote,
                local: *local,
            };
            (path, data.clone())
        })
        .collect()
}

const MODES: [IoMode; 2] = [IoMode::Uring, IoMode::Socket];

#[test]
fn mixed_sizes_are_echoed_intact_and_runs_go_as_one_send() {
    for mode in MODES {
        for media in ["127.0.0.1:0", "[::1]:0"] {
            let mut setup = setup(mode, media);
            let client = client(media);
            let sizes = [
                2, 40, 40, 1_200, 1_200, 1_200, 1_200, 300, 1_452, 2_000, 2_000, 7,
            ];
            let sent: Vec<_> = (0..60)
                .map(|n| datagram(n, sizes[n % sizes.len()]))
                .collect();
            for bytes in &sent {
                client.send_to(bytes, setup.media).unwrap();
            }
            let (got, _) = receive(&mut setup.backend, sent.len());
            for ((remote, local, data), expected) in got.iter().zip(&sent) {
                assert_eq!(*remote, client.local_addr().unwrap());
                assert_eq!(*local, setup.media.ip());
                assert_eq!(data, expected);
            }
            let report = send(&mut setup.backend, &echo_packets(&got));
            assert_eq!(report.datagrams, 60, "{mode:?} {report:?}");
            // 2 · 40 40 · 1200×4 300 · 1452 · 2000×2 7 make five sends of twelve.
            assert_eq!(report.sends, 25, "{mode:?}");
            assert_eq!(
                report.bytes,
                sent.iter().map(|b| b.len() as u64).sum::<u64>()
            );
            let mut buffer = [0; 4_096];
            for expected in &sent {
                let (len, from) = client.recv_from(&mut buffer).unwrap();
                assert_eq!(from, setup.media);
                assert_eq!(&buffer[..len], expected);
            }
        }
    }
}

#[test]
fn ecn_bits_go_out_as_asked_with_segments_and_without() {
    for mode in MODES {
        for media in ["127.0.0.1:0", "[::1]:0"] {
            let mut setup = setup(mode, media);
            let client = client(media);
            let state = quinn_udp::UdpSocketState::new((&client).into()).unwrap();
            // Beside the messages of joined datagrams it has no room for the bits.
            set(&client, libc::SOL_UDP, libc::UDP_GRO, 0);
            let path = Path {
                remote: client.local_addr().unwrap(),
                local: setup.media.ip(),
            };
            let asked = [(Ecn::Ect1, 3), (Ecn::NotEct, 2), (Ecn::Ect1, 1)];
            let mut batch = setup.backend.batch(1 << 16, 16);
            for (number, ecn) in asked.iter().flat_map(|(ecn, n)| vec![*ecn; *n]).enumerate() {
                batch.space(500).unwrap()[..500].copy_from_slice(&datagram(number, 500));
                batch.commit_ecn(&path, 500, ecn);
            }
            let (_, mut sender) = setup.backend.split();
            let report = sender.send(&mut batch).unwrap();
            assert_eq!((report.sends, report.datagrams), (3, 6), "{mode:?}");
            let mut seen = Vec::new();
            while seen.len() < 6 {
                let mut buffers = [[0; 2_048]; 8];
                let mut slices = buffers.each_mut().map(|b| std::io::IoSliceMut::new(b));
                let mut meta = [quinn_udp::RecvMeta::default(); 8];
                client.peek(&mut [0; 1]).unwrap();
                let count = state
                    .recv((&client).into(), &mut slices, &mut meta)
                    .unwrap();
                for meta in &meta[..count] {
                    seen.push(meta.ecn.map_or(0, |ecn| ecn as u8));
                }
            }
            assert_eq!(seen, [1, 1, 1, 0, 0, 1], "{mode:?} {media}");
        }
    }
}

#[test]
fn ecn_bits_come_in_as_they_were_sent() {
    for mode in MODES {
        for media in ["127.0.0.1:0", "[::1]:0"] {
            let mut setup = setup(mode, media);
            let client = client(media);
            let (level, option) = match setup.media {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            };
            // The six bits beside them are DSCP, and none of ours.
            let sent = [0, 1, 2, 3, 0xb8 | 1, 0xb8 | 3];
            for (number, class) in sent.into_iter().enumerate() {
                set(&client, level, option, class);
                client.send_to(&datagram(number, 100), setup.media).unwrap();
            }
            let mut seen = Vec::new();
            while seen.len() < sent.len() {
                setup.backend.poll(Some(PATIENCE)).unwrap();
                let (arrivals, _) = setup.backend.split();
                arrivals.for_each(|r| {
                    assert_eq!(r.local, setup.media.ip());
                    seen.push(r.ecn);
                });
            }
            let (mark, able) = (Ecn::Ce, Ecn::Ect1);
            assert_eq!(
                seen,
                [Ecn::NotEct, able, Ecn::Ect0, mark, able, mark],
                "{mode:?} {media}"
            );
        }
    }
}

#[test]
fn both_families_share_one_backend() {
    for mode in MODES {
        let mut setup = setup(mode, "127.0.0.1:0,[::1]:0");
        let v6 = setup.port.control[1].local();
        let clients = [client("127.0.0.1:0"), client("[::1]:0")];
        for round in 0..20 {
            for (client, media) in clients.iter().zip([setup.media, v6]) {
                client.send_to(&datagram(round, 700), media).unwrap();
            }
            let (got, _) = receive(&mut setup.backend, 2);
            let report = send(&mut setup.backend, &echo_packets(&got));
            assert_eq!((report.datagrams, report.failed), (2, 0), "{mode:?}");
            for (client, media) in clients.iter().zip([setup.media, v6]) {
                let mut buffer = [0; 800];
                let (len, from) = client.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], from), (&datagram(round, 700)[..], media));
            }
        }
    }
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    for mode in MODES {
        let mut setup = setup(mode, "0.0.0.0:0");
        let client = client("127.0.0.1:0");
        for asked in ["127.0.0.2", "127.0.0.1", "127.9.9.9"] {
            let asked: SocketAddr = (asked.parse::<IpAddr>().unwrap(), setup.media.port()).into();
            client.send_to(&datagram(1, 100), asked).unwrap();
            let (got, _) = receive(&mut setup.backend, 1);
            assert_eq!(got[0].1, asked.ip());
            send(&mut setup.backend, &echo_packets(&got));
            let (_, from) = client.recv_from(&mut [0; 200]).unwrap();
            assert_eq!(from, asked, "{mode:?}");
        }
    }
}

#[test]
fn a_burst_beyond_the_receive_buffers_is_received_whole() {
    let config = UringConfig {
        buffers: 8,
        ..UringConfig::default()
    };
    let mut setup = setup_with(IoMode::Uring, "127.0.0.1:0", &config, |_| {});
    let client = client("127.0.0.1:0");
    for round in 0..5 {
        let sent: Vec<_> = (0..100).map(|n| datagram(round + n, 50 + n)).collect();
        for bytes in &sent {
            client.send_to(bytes, setup.media).unwrap();
        }
        let (got, largest) = receive(&mut setup.backend, sent.len());
        assert!(largest <= 8, "there are eight buffers");
        for ((_, _, data), expected) in got.iter().zip(&sent) {
            assert_eq!(data, expected);
        }
    }
}

/// Buffers that arrive while sends are reaped belong to the next batch.
#[test]
fn what_arrives_during_a_send_is_not_lost() {
    let config = UringConfig {
        buffers: 16,
        sends: 4,
        ..UringConfig::default()
    };
    let mut setup = setup_with(IoMode::Uring, "127.0.0.1:0", &config, |_| {});
    let client = client("127.0.0.1:0");
    let mut expected = 0;
    let mut echoed = 0;
    let mut seen = Vec::new();
    for round in 0..200 {
        for n in 0..7 {
            client
                .send_to(&datagram(round * 7 + n, 60 + n), setup.media)
                .unwrap();
            expected += 1;
        }
        setup.backend.poll(Some(Duration::ZERO)).unwrap();
        let mut packets = Vec::new();
        let (arrivals, _) = setup.backend.split();
        arrivals.for_each(|r| packets.push((r.remote, r.local, r.data.to_vec())));
        echoed += send(&mut setup.backend, &echo_packets(&packets)).datagrams;
        seen.extend(packets);
    }
    while seen.len() < expected {
        let (rest, _) = receive(&mut setup.backend, expected - seen.len());
        echoed += send(&mut setup.backend, &echo_packets(&rest)).datagrams;
        seen.extend(rest);
    }
    assert_eq!(echoed, expected as u64);
    for (number, (_, _, data)) in seen.iter().enumerate() {
        assert_eq!(*data, datagram(number, 60 + number % 7));
    }
}

#[test]
fn a_datagram_beyond_a_buffer_is_counted_and_the_next_one_comes() {
    let mut setup = setup(IoMode::Uring, "127.0.0.1:0");
    let client = client("127.0.0.1:0");
    client.send_to(&datagram(1, 3_000), setup.media).unwrap();
    client.send_to(&datagram(2, 2_048), setup.media).unwrap();
    let (mut whole, mut cut) = (0, 0);
    while whole + cut < 2 {
        setup.backend.poll(Some(PATIENCE)).unwrap();
        let report = setup
            .backend
            .split()
            .0
            .for_each(|r| assert_eq!(r.data, datagram(2, 2_048)));
        whole += report.datagrams;
        cut += report.truncated;
    }
    assert_eq!((whole, cut), (1, 1));
}

/// Joined by the kernel, a STUN check behind media would not reach the control plane.
#[test]
fn the_kernel_joins_no_datagrams() {
    for mode in MODES {
        let mut setup = setup(mode, "127.0.0.1:0");
        let client = client("127.0.0.1:0");
        let state = quinn_udp::UdpSocketState::new((&client).into()).unwrap();
        let contents = [datagram(1, 500), datagram(1, 500), datagram(1, 200)].concat();
        let transmit = quinn_udp::Transmit {
            destination: setup.media,
            ecn: None,
            contents: &contents,
            segment_size: Some(500),
            src_ip: None,
        };
        state.try_send((&client).into(), &transmit).unwrap();
        let (got, _) = receive(&mut setup.backend, 3);
        let lens: Vec<_> = got.iter().map(|(_, _, data)| data.len()).collect();
        assert_eq!(lens, [500, 500, 200], "{mode:?}");
    }
}

#[test]
fn the_doorbell_wakes_each_time_and_time_passes() {
    for mode in MODES {
        let mut setup = setup(mode, "127.0.0.1:0");
        let idle = setup.backend.poll(Some(Duration::from_millis(1))).unwrap();
        assert!(!idle.rung);
        for _ in 0..3 {
            let doorbell = Arc::clone(&setup.doorbell);
            let ringer = std::thread::spawn(move || doorbell.ring());
            assert!(setup.backend.poll(None).unwrap().rung, "{mode:?}");
            ringer.join().unwrap();
        }
        let idle = setup.backend.poll(Some(Duration::ZERO)).unwrap();
        assert!(!idle.rung, "{mode:?}: one ring wakes once");
    }
}

#[test]
fn a_refused_send_is_counted_and_the_others_go() {
    for mode in MODES {
        let mut setup = setup(mode, "127.0.0.1:0");
        let client = client("127.0.0.1:0");
        let to = |remote: SocketAddr, local: &str| Path {
            remote,
            local: local.parse().unwrap(),
        };
        let good = to(client.local_addr().unwrap(), "127.0.0.1");
        let port_zero = to(([127, 0, 0, 1], 0).into(), "127.0.0.1");
        let other_family = to(([0, 0, 0, 0, 0, 0, 0, 1], 9).into(), "::1");
        let packets: Vec<_> = [good, port_zero, other_family, good]
            .into_iter()
            .flat_map(|path| (0..3).map(move |n| (path, datagram(n, 500))))
            .collect();
        let report = send(&mut setup.backend, &packets);
        assert_eq!(
            (report.datagrams, report.failed, report.full),
            (6, 6, 0),
            "{mode:?}"
        );
        for n in 0..6 {
            let mut buffer = [0; 600];
            let len = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], datagram(n % 3, 500));
        }
    }
}

/// A socket that sends without checksums may not use GSO: the kernel says EINVAL,
/// as it does for devices without the offload.
fn without_checksums(port: &MediaPort) {
    set(&port.workers[0][0], libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
}

fn set(socket: &impl AsFd, level: i32, option: i32, value: i32) {
    // SAFETY: the value outlives the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn where_segmentation_is_refused_datagrams_go_one_by_one() {
    for mode in MODES {
        let config = UringConfig::default();
        let mut setup = setup_with(mode, "127.0.0.1:0", &config, without_checksums);
        let client = client("127.0.0.1:0");
        let path = Path {
            remote: client.local_addr().unwrap(),
            local: [127, 0, 0, 1].into(),
        };
        let packets: Vec<_> = [800, 800, 800, 90]
            .into_iter()
            .enumerate()
            .map(|(n, len)| (path, datagram(n, len)))
            .collect();
        let report = send(&mut setup.backend, &packets);
        assert_eq!(
            (report.datagrams, report.sends, report.failed),
            (4, 4, 0),
            "{mode:?}"
        );
        for (_, expected) in &packets {
            let mut buffer = [0; 1_000];
            let len = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }
}

/// Makes `io_uring_setup` fail with EPERM for this thread, as a container's profile does.
fn forbid_io_uring() {
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_io_uring_setup as u32,
            0,
            1,
        ),
        op(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
            0,
        ),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes plain numbers; this thread gains no privileges any more.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0);
    // SAFETY: the filter and its program outlive the call, which copies them.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(set, 0);
}

#[test]
fn a_host_without_io_uring_gets_sockets_and_a_reason() {
    // A seccomp filter binds the thread that sets it, and no other.
    std::thread::spawn(|| {
        forbid_io_uring();
        let mut port = MediaPort::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
        let sockets = std::mem::take(&mut port.workers[0]);
        let media = sockets[0].local();
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let (mut backend, fallback) =
            Backend::open(IoMode::Uring, &UringConfig::default(), sockets, doorbell).unwrap();
        let reason = fallback.expect("a reason").to_string();
        assert!(
            reason.contains("refused") && reason.contains("io_uring_setup"),
            "{reason}"
        );
        assert_eq!(backend.name(), "sockets");
        client("127.0.0.1:0")
            .send_to(&datagram(1, 50), media)
            .unwrap();
        receive(&mut backend, 1);
    })
    .join()
    .unwrap();
}
