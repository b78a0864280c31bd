//! The programs under test, the frames they are given, and networks of the test's own.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test takes what it needs of this"
)]

use aya::programs::{TestRun, TestRunOptions};
use ion_ebpf::{Error, Flows, Programs, Settings, Verdict};
use ion_wire::frame::FrameHeaders;
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

pub mod network;

pub const DROP: u32 = 1;
pub const PASS: u32 = 2;
pub const TX: u32 = 3;
pub const REDIRECT: u32 = 4;

pub const MEDIA_PORT: u16 = 7882;
pub const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const REMOTE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Says on stderr, past the test harness, that a test did not run, in the words that scripts/test.sh counts.
pub fn skip(reason: &dyn std::fmt::Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // A property skips each of its cases; it counts as one.
    if !SAID.lock().unwrap().insert(name.to_owned()) {
        return;
    }
    let line = format!("ion-ebpf: 1 skipped: {name}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// What was asked for, or nothing where the machine refuses the privilege.
pub fn or_skip<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error @ Error::Permission { .. }) => {
            skip(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn settings() -> Settings {
    Settings::new(&[address("0.0.0.0:7882"), address("[::]:7882")], 2).unwrap()
}

/// The XDP program, run on frames by `BPF_PROG_TEST_RUN`, as received by interface 1 on queue 0.
pub struct Kernel {
    pub programs: Programs,
    pub flows: Flows,
}

/// What became of a frame.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub action: u32,
    pub frame: Vec<u8>,
}

impl Kernel {
    pub fn load(settings: &Settings) -> Option<Self> {
        let mut programs = or_skip(Programs::load(settings))?;
        or_skip(programs.xdp_program())?;
        let flows = programs.flows().unwrap();
        Some(Self { programs, flows })
    }

    /// At least 14 bytes: the kernel runs nothing on less.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        let before = self.programs.counters().unwrap();
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let program = self.programs.xdp_program().unwrap();
        let result = program.test_run(options).unwrap();
        let after = self.programs.counters().unwrap();
        let counted: Vec<_> = (before.iter().zip(after.iter()))
            .flat_map(|((verdict, before), (_, after))| {
                std::iter::repeat_n(verdict, usize::try_from(after - before).unwrap())
            })
            .collect();
        assert_eq!(counted.len(), 1, "every frame is counted once: {counted:?}");
        let len = result.data_size_out as usize;
        Outcome {
            verdict: counted[0],
            action: result.return_value,
            frame: out[..len].to_vec(),
        }
    }
}

/// A frame from `source` to `destination`.
pub fn frame(source: &str, destination: &str, vlans: &[u16], payload: &[u8]) -> Vec<u8> {
    let headers = FrameHeaders {
        to: LOCAL_MAC,
        from: REMOTE_MAC,
        vlans,
        source: address(source),
        destination: address(destination),
        traffic_class: 0xb8,
        hop_limit: 64,
    };
    let mut out = vec![0; payload.len() + 100];
    let len = headers.write(payload, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Addresses of a client and of this host, in both IP versions.
pub const PAIRS: [(&str, &str); 2] = [
    ("192.0.2.7:40000", "198.51.100.1:7882"),
    ("[2001:db8::7]:40000", "[2001:db8:1::1]:7882"),
];

pub fn rtp() -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(2..160_u8);
    packet
}

pub fn rtcp() -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend([7; 24]);
    packet
}

pub fn stun() -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    packet.extend([9; 12]);
    packet
}

pub fn dtls() -> Vec<u8> {
    let mut packet = vec![22, 254, 253];
    packet.extend([0; 40]);
    packet
}

/// The same cases every time, few of them, since each loads programs; `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` choose others.
pub fn seeded() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen => chosen,
    };
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => config.cases,
        Err(_) => 24,
    };
    Config {
        rng_seed,
        cases,
        failure_persistence: None,
        ..config
    }
}

/// A reuseport group at `address`; port 0 is the kernel's choice.
pub fn group(mut address: SocketAddr, members: usize) -> (Vec<UdpSocket>, SocketAddr) {
    let mut sockets = Vec::new();
    for _ in 0..members {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let fd: OwnedFd = rustix::net::socket(family, SocketType::DGRAM, None).unwrap();
        sockopt::set_socket_reuseport(&fd, true).unwrap();
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true).unwrap();
        }
        rustix::net::bind(&fd, &address).unwrap();
        let socket = UdpSocket::from(fd);
        address = socket.local_addr().unwrap();
        sockets.push(socket);
    }
    (sockets, address)
}
