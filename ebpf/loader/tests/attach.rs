//! The XDP program on an interface: what passes, and how it goes away.

mod support;

use ion_ebpf::{Attached, Error, Programs, Settings, Verdict, Xdp, XdpMode};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::network::{FAR, NEAR, Wire, enter, frame_to_near, ip, xdp_of};
use support::*;

const CHILD: &str = "ION_EBPF_TEST_CHILD";
const LOCAL: &str = "10.9.0.1";

fn attach(interface: &str, mode: XdpMode) -> Option<(Programs, Xdp)> {
    let media = SocketAddr::new(LOCAL.parse().unwrap(), MEDIA_PORT);
    let mut programs = or_skip(Programs::load(&Settings::new(&[media], 1).unwrap()))?;
    let xdp = or_skip(programs.attach_xdp(interface, mode))?;
    Some((programs, xdp))
}

/// What has arrived at a socket; waits for the first, then takes what else is there.
fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut bytes = [0; 2_048];
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    while let Ok((len, _)) = socket.recv_from(&mut bytes) {
        all.push(bytes[..len].to_vec());
        socket.set_nonblocking(true).unwrap();
    }
    all
}

fn traffic_is_judged(mode: XdpMode, expected: Attached, shown: &str) {
    let Some(()) = enter(1) else { return };
    ip(&format!("address add {LOCAL}/24 dev {NEAR}"));
    let Some((programs, xdp)) = attach(NEAR, mode) else {
        return;
    };
    assert_eq!(xdp.attached(), expected);
    assert!(xdp.fallback().is_none());
    assert!(xdp.is_attached().unwrap());
    assert_eq!(xdp_of(NEAR).as_deref(), Some(shown));
    let bind = |port: u16| UdpSocket::bind((LOCAL, port)).unwrap();
    let (media, other) = (bind(MEDIA_PORT), bind(22));
    let client = SocketAddr::from(([10, 9, 0, 2], 40_000));
    let wire = Wire::new(FAR);
    let send = |socket: &UdpSocket, payload: &[u8]| {
        wire.send(&frame_to_near(
            client,
            socket.local_addr().unwrap(),
            payload,
        ));
    };
    // To the media port junk, unknown media, and last STUN; to another port the same.
    for payload in [vec![255; 40], rtp(), stun()] {
        send(&media, &payload);
        send(&other, &payload);
    }
    assert_eq!(received(&media), [stun()]);
    assert_eq!(received(&other), [vec![255; 40], rtp(), stun()]);
    let counters = programs.counters().unwrap();
    for (verdict, count) in [
        (Verdict::PassOtherPort, 3),
        (Verdict::DropJunk, 1),
        (Verdict::DropUnknownFlow, 1),
        (Verdict::PassStun, 1),
    ] {
        assert_eq!(counters.of(verdict), count, "{}", verdict.name());
    }
    drop(xdp);
    wait_until_detached();
    send(&media, &rtp());
    assert_eq!(received(&media), [rtp()]);
}

/// The kernel detaches when the last copy of the descriptor is closed: other tests of this process may
/// hold one for a moment, between fork and exec.
fn wait_until_detached() {
    let start = Instant::now();
    while xdp_of(NEAR).is_some() {
        assert!(start.elapsed() < Duration::from_secs(30), "still attached");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn native_mode() {
    traffic_is_judged(XdpMode::Native, Attached::Native, "xdp");
}

#[test]
fn generic_mode() {
    traffic_is_judged(XdpMode::Generic, Attached::Generic, "xdpgeneric");
}

#[test]
fn auto_takes_native_where_the_driver_can() {
    traffic_is_judged(XdpMode::Auto, Attached::Native, "xdp");
}

/// Loopback, of this namespace, cannot.
#[test]
fn auto_says_why_it_is_generic() {
    let Some(()) = enter(1) else { return };
    let Some((_programs, xdp)) = attach("lo", XdpMode::Auto) else {
        return;
    };
    assert_eq!(xdp.attached(), Attached::Generic);
    let why = xdp.fallback().unwrap().to_string();
    assert!(
        why.contains("lo: its driver") && why.contains("generic"),
        "{why}"
    );
    assert!(xdp.is_attached().unwrap());
    drop(xdp);
    let mut programs = Programs::load(&settings()).unwrap();
    let error = programs.attach_xdp("lo", XdpMode::Native).unwrap_err();
    assert!(matches!(error, Error::NoNative { .. }), "{error}");
}

#[test]
fn errors_name_cause_and_remedy() {
    let Some(()) = enter(1) else { return };
    let Some((mut first, _xdp)) = attach(NEAR, XdpMode::Native) else {
        return;
    };
    for mode in [XdpMode::Native, XdpMode::Generic, XdpMode::Auto] {
        let mut second = Programs::load(&settings()).unwrap();
        let error = second.attach_xdp(NEAR, mode).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{mode:?}: {error}");
        assert!(error.to_string().contains("ip link show dev near"));
    }
    let error = first.attach_xdp("nowhere", XdpMode::Auto).unwrap_err();
    assert!(matches!(error, Error::NoInterface { .. }), "{error}");
    assert!(error.to_string().contains("`ip link`"));
}

#[test]
fn a_down_interface_stays_attached_and_a_removed_one_does_not() {
    let Some(()) = enter(1) else { return };
    let Some((_programs, xdp)) = attach(NEAR, XdpMode::Auto) else {
        return;
    };
    ip(&format!("link set {NEAR} down"));
    assert!(xdp.is_attached().unwrap());
    ip(&format!("link set {NEAR} up"));
    assert!(xdp.is_attached().unwrap());
    ip(&format!("link del {NEAR}"));
    assert!(!xdp.is_attached().unwrap());
}

#[test]
fn being_detached_from_outside_is_noticed_and_can_be_mended() {
    let Some(()) = enter(1) else { return };
    let Some((mut programs, xdp)) = attach(NEAR, XdpMode::Native) else {
        return;
    };
    let program = programs.xdp_program().unwrap().info().unwrap().id();
    let link = aya::programs::loaded_links()
        .filter_map(Result::ok)
        .find(|link| link.program_id() == program)
        .unwrap();
    detach_by_id(link.id());
    assert!(!xdp.is_attached().unwrap());
    assert_eq!(xdp_of(NEAR), None);
    drop(xdp);
    let xdp = programs.attach_xdp(NEAR, XdpMode::Native).unwrap();
    assert!(xdp.is_attached().unwrap());
}

/// As `bpftool link detach` does.
fn detach_by_id(id: u32) {
    const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
    const BPF_LINK_DETACH: libc::c_int = 34;
    let bpf = |command: libc::c_int, word: u32| {
        let mut attr = [word, 0, 0, 0];
        // SAFETY: the kernel reads `attr`, of the size given, during the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                attr.as_mut_ptr(),
                size_of_val(&attr),
            )
        };
        assert!(result >= 0, "{}", std::io::Error::last_os_error());
        u32::try_from(result).unwrap()
    };
    let fd = bpf(BPF_LINK_GET_FD_BY_ID, id);
    bpf(BPF_LINK_DETACH, fd);
}

/// The test starts itself as the process to be killed, in its namespace.
#[test]
fn the_kernel_detaches_it_when_the_process_is_killed() {
    const NAME: &str = "the_kernel_detaches_it_when_the_process_is_killed";
    if std::env::var_os(CHILD).is_some() {
        let attached = attach(NEAR, XdpMode::Native);
        let word: &[u8] = if attached.is_some() {
            b"attached\n"
        } else {
            b"refused\n"
        };
        std::io::stdout().write_all(word).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let Some(()) = enter(1) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines
        .map_while(Result::ok)
        .find(|line| line.ends_with("attached") || line.ends_with("refused"));
    let shown = xdp_of(NEAR);
    child.kill().unwrap();
    child.wait().unwrap();
    if said
        .as_deref()
        .is_some_and(|said| said.ends_with("refused"))
    {
        return skip(&"the child may not load eBPF");
    }
    assert_eq!(
        shown.as_deref(),
        Some("xdp"),
        "the child had attached it: {said:?}"
    );
    wait_until_detached();
}
