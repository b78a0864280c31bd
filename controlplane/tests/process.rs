//! `ion-controlplane` as a process: how it ends when it cannot attach, and what it says.

use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes; a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// `EX_CONFIG` of sysexits.h: starting it again cannot help.
const EX_CONFIG: i32 = 78;

/// Length of the control plane's greeting, and where its fields are.
const HELLO_BYTES: usize = 24;
const LAYOUT_HASH: std::ops::Range<usize> = 8..16;
const ABI_VERSION: std::ops::Range<usize> = 16..20;

struct Control {
    child: Child,
    folder: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ion-process-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

impl Control {
    fn start(folder: PathBuf) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_ion-controlplane"))
            .args(["--dev", "--http", "127.0.0.1:9", "--state-dir"])
            .arg(&folder)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Its exit status and what it said.
    fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut told = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut told).unwrap();
        (status.code(), told)
    }
}

/// A dataplane's socket, before anybody is answered.
fn listen(folder: &Path) -> rustix::fd::OwnedFd {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    let address = SocketAddrUnix::new(folder.join("dataplane.sock")).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 4).unwrap();
    // Nobody comes when the process has ended at once.
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
    socket
}

/// Takes a greeting.
fn greeted(listener: &rustix::fd::OwnedFd) -> (rustix::fd::OwnedFd, [u8; HELLO_BYTES]) {
    let visitor = rustix::net::accept(listener).unwrap();
    let mut hello = [0; HELLO_BYTES];
    let (_, length) = rustix::net::recv(&visitor, &mut hello, RecvFlags::empty()).unwrap();
    assert_eq!(length, HELLO_BYTES);
    (visitor, hello)
}

#[test]
fn a_dataplane_of_another_build_is_a_configuration_error() {
    let folder = folder("build");
    let listener = listen(&folder);
    let mut control = Control::start(folder);
    let (visitor, hello) = greeted(&listener);
    // The refusal of a dataplane that has another layout, of the next version.
    let mut reply = hello[..ABI_VERSION.end].to_vec();
    reply[LAYOUT_HASH].copy_from_slice(&0x0123_4567_89ab_cdef_u64.to_ne_bytes());
    let ours = u32::from_ne_bytes(hello[ABI_VERSION].try_into().unwrap());
    reply[ABI_VERSION].copy_from_slice(&(ours + 1).to_ne_bytes());
    let refused_version = 2_u32;
    reply.extend(refused_version.to_ne_bytes());
    reply.extend([0; 16]);
    rustix::net::send(&visitor, &reply, SendFlags::NOSIGNAL).unwrap();
    let (code, told) = control.end();
    assert_eq!(code, Some(EX_CONFIG), "{told}");
    let theirs = format!("ABI version {} and layout 0123456789abcdef", ours + 1);
    let here = format!("built for version {ours}");
    for words in [&theirs, &here, "run both from the same release"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn it_can_be_ended_while_it_waits_for_a_dataplane() {
    for signal in [Signal::TERM, Signal::INT] {
        // One that is there and says nothing: the first attempt hangs.
        let folder = folder(&format!("signal-{}", signal.as_raw()));
        let listener = listen(&folder);
        let mut control = Control::start(folder);
        let (_visitor, _) = greeted(&listener);
        let pid = Pid::from_raw(control.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        let (code, told) = control.end();
        assert_eq!(code, Some(0), "{told}");
    }
}
