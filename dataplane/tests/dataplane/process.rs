use crate::support::{Dataplane, StateDir, attach_when_free, command, until, without};
use ion_tables::attach::{AttachError, attach};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

const LOOPBACK: [&str; 4] = ["--media", "127.0.0.1:0", "--workers", "2"];

/// Runs it to its end; gives its exit code and what it said.
fn refused(state_dir: &StateDir, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(state_dir, arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn one_control_plane_at_a_time_gets_tables_doorbells_and_sockets() {
    let state_dir = StateDir::new();
    let both = [
        "--media",
        "127.0.0.1:0",
        "--media",
        "[::1]:0",
        "--workers",
        "3",
    ];
    let _dataplane = Dataplane::start(&state_dir, &both);
    let mode = std::fs::metadata(state_dir.path()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);

    let first = attach(&state_dir.socket()).unwrap();
    assert_eq!(first.tables.workers(), 3);
    assert_eq!(first.worker_doorbells.len(), 3);
    let local: Vec<_> = first
        .sockets
        .iter()
        .map(|s| SocketAddr::try_from(rustix::net::getsockname(s).unwrap()).unwrap())
        .collect();
    assert!(matches!(local[..], [SocketAddr::V4(_), SocketAddr::V6(_)]));
    let epoch = first.tables.header().epoch();
    assert_ne!(epoch, 0);

    match attach(&state_dir.socket()) {
        Err(AttachError::ControlRuns { pid }) => assert_eq!(pid, std::process::id()),
        other => panic!("a second one got {:?}", other.err()),
    }
    assert!(!first.link.is_closed(), "the first one is undisturbed");
    drop(first);

    let second = attach_when_free(&state_dir);
    assert_eq!(second.tables.header().epoch(), epoch, "the same tables");
    let heartbeat = second.tables.header().dataplane();
    let before = heartbeat.at_unix_us.load();
    until("the dataplane's heart beats", || {
        heartbeat.at_unix_us.load() > before
    });
}

#[test]
fn visitors_that_say_nonsense_are_sent_away() {
    let state_dir = StateDir::new();
    let _dataplane = Dataplane::start(&state_dir, &LOOPBACK);
    let family = rustix::net::AddressFamily::UNIX;
    let kind = rustix::net::SocketType::SEQPACKET;
    let address = rustix::net::SocketAddrUnix::new(state_dir.socket()).unwrap();
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 24], &[]] {
        let visitor = rustix::net::socket(family, kind, None).unwrap();
        rustix::net::connect(&visitor, &address).unwrap();
        if !nonsense.is_empty() {
            rustix::net::send(&visitor, nonsense, rustix::net::SendFlags::NOSIGNAL).unwrap();
        }
    }
    attach_when_free(&state_dir);
}

#[test]
fn a_signal_ends_it_cleanly() {
    for io in ["auto", "socket"] {
        let state_dir = StateDir::new();
        let arguments = [&LOOPBACK[..], &["--io", io]].concat();
        let mut dataplane = Dataplane::start(&state_dir, &arguments);
        let attached = attach(&state_dir.socket()).unwrap();
        assert!(state_dir.socket().exists());
        let status = dataplane.terminate();
        assert_eq!(status.code(), Some(0), "{}", dataplane.log());
        assert!(!state_dir.socket().exists());
        assert!(attached.link.is_closed());
        assert!(dataplane.log().contains("stopping"));
    }
}

#[test]
fn a_second_dataplane_is_refused_and_the_first_one_undisturbed() {
    let state_dir = StateDir::new();
    let first = Dataplane::start(&state_dir, &LOOPBACK);
    let (code, said) = refused(&state_dir, &LOOPBACK);
    assert_eq!(code, Some(78));
    assert!(
        said.contains("another ion-dataplane already runs"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    attach_when_free(&state_dir);
    drop(first);
    // What a killed one leaves behind is in nobody's way.
    assert!(state_dir.socket().exists());
    Dataplane::start(&state_dir, &LOOPBACK);
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let (code, said) = refused(&StateDir::new(), &["--media", &address, "--workers", "1"]);
    assert_eq!(code, Some(78));
    assert!(
        said.contains(&address) && said.contains("ss -lunp"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A dataplane that died leaves its sockets with the control plane; the next one
/// waits for a moment until that lets go.
#[test]
fn the_port_of_a_dead_dataplane_is_taken_over_when_its_control_plane_lets_go() {
    let state_dir = StateDir::new();
    let first = Dataplane::start(&state_dir, &LOOPBACK);
    let attached = attach(&state_dir.socket()).unwrap();
    let address = rustix::net::getsockname(&attached.sockets[0]).unwrap();
    let address = SocketAddr::try_from(address).unwrap().to_string();
    drop(first);
    until("the death is noticed", || attached.link.is_closed());
    let release = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(attached);
    });
    Dataplane::start(&state_dir, &["--media", &address, "--workers", "2"]);
    release.join().unwrap();
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_would_be_right() {
    let file = StateDir::new();
    std::fs::write(file.path(), "in the way").unwrap();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--workers", "0"], &["--workers", "1..=64"]),
        (&["--io", "ring"], &["--io", "auto", "xdp", "socket"]),
        (&["--log", "ion=loud"], &["--log", "info"]),
        (&["--media", "192.0.2.1:7882"], &["192.0.2.1", "ip address"]),
        (
            &["--media", "0.0.0.0:0", "--media", "127.0.0.1:0"],
            &["overlap"],
        ),
    ];
    for (arguments, parts) in cases {
        let (code, said) = refused(&StateDir::new(), arguments);
        assert_eq!(code, Some(78), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    let (code, said) = refused(&file, &LOOPBACK);
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(code, Some(78));
    assert!(said.contains("--state-dir"), "{said}");
}

#[test]
fn where_io_uring_is_refused_it_says_so_once_and_runs_on_sockets() {
    let state_dir = StateDir::new();
    let arguments = [&LOOPBACK[..], &["--io", "uring"]].concat();
    let mut command = command(&state_dir, &arguments);
    without(&mut command, libc::SYS_io_uring_setup);
    let dataplane = Dataplane::spawn(command);
    let log = dataplane.log();
    let reasons = log.lines().filter(|l| l.contains("io_uring is refused"));
    assert_eq!(reasons.count(), 1, "{log}");
    assert!(
        log.contains("io_uring_setup") && log.contains("sockets"),
        "{log}"
    );
    attach_when_free(&state_dir);
}

/// A limit of zero, which even root cannot pass over without CAP_IPC_LOCK; where the
/// capability is there, nothing is to be said.
#[test]
fn keys_that_cannot_be_locked_are_warned_of() {
    let state_dir = StateDir::new();
    let mut command = command(&state_dir, &LOOPBACK);
    let limit = || {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: reads the limit, which outlives the call.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) };
        // CAP_IPC_LOCK goes out of the bounding set, and so out of the program to be.
        // SAFETY: takes plain numbers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 14, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe { command.pre_exec(limit) };
    let dataplane = Dataplane::spawn(command);
    let log = dataplane.log();
    assert!(
        log.contains("ulimit -l") && log.contains("LimitMEMLOCK"),
        "{log}"
    );
}

#[test]
fn the_affinity_is_printed_and_that_is_all() {
    let state_dir = StateDir::new();
    let mut command = command(&state_dir, &["--print-affinity", "--workers", "2"]);
    let output = command
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("worker 0 core ") && text.contains("worker 1 core "));
    assert!(!state_dir.path().exists());
}
