//! A network namespace of the test's own, with a pair of veth interfaces in it and no way out.

use super::skip;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

/// Where programs are attached.
pub const NEAR: &str = "near";
/// Where frames are put in.
pub const FAR: &str = "far";

/// Takes this thread, and the processes it starts, into a new namespace with the pair, both up;
/// nothing where the machine refuses.
pub fn enter(queues: u32) -> Option<()> {
    // SAFETY: only this thread changes its namespace; it shares no other state by that.
    if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
        skip(&format!(
            "a network namespace needs CAP_SYS_ADMIN ({error})"
        ));
        return None;
    }
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    ip("link set lo up");
    // The kernel's own packets (IPv6 router solicitations) would be counted with the test's.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
    pair(NEAR, FAR, &queues);
    Some(())
}

/// A veth pair, both ends up, with the addresses of this host and of its neighbour.
pub fn pair(near: &str, far: &str, queues: &str) {
    ip(&format!(
        "link add {near} {queues} type veth peer name {far} {queues}"
    ));
    ip(&format!("link set {near} address 02:00:00:00:00:01 up"));
    ip(&format!("link set {far} address 02:00:00:00:00:02 up"));
}

/// Runs `ip` in this thread's namespace.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed by `make setup-test`");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How a program is attached to an interface, as `ip` says.
pub fn xdp_of(interface: &str) -> Option<String> {
    let line = ip(&format!("link show dev {interface}"));
    let words = line.split_whitespace();
    words
        .into_iter()
        .find(|word| word.starts_with("xdp"))
        .map(str::to_owned)
}

/// A socket that puts whole frames on an interface, and takes those that come.
pub struct Wire(OwnedFd);

impl Wire {
    pub fn new(interface: &str) -> Self {
        const ALL: u16 = 0x0003_u16.to_be();
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let index = rustix::net::netdevice::name_to_index(&fd, interface).unwrap();
        // SAFETY: all bytes zero are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET.try_into().unwrap();
        address.sll_protocol = ALL;
        address.sll_ifindex = index.try_into().unwrap();
        let len = size_of::<libc::sockaddr_ll>().try_into().unwrap();
        // SAFETY: the kernel reads `len` bytes of `address`, which has as many.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Self(fd)
    }

    pub fn send(&self, frame: &[u8]) {
        let sent = rustix::net::send(&self.0, frame, rustix::net::SendFlags::empty());
        assert_eq!(sent.unwrap(), frame.len());
    }

    /// The next frame that came in; `None` if there is none in time.
    pub fn receive(&self) -> Option<Vec<u8>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        if poll(&mut fds, Some(&patience)).unwrap() == 0 {
            return None;
        }
        let mut bytes = vec![0; 2_048];
        let flags = rustix::net::RecvFlags::empty();
        let (len, _) = rustix::net::recv(&self.0, &mut bytes[..], flags).unwrap();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Index of an interface of this thread's namespace.
pub fn index_of(interface: &str) -> u32 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rustix::net::netdevice::name_to_index(socket, interface).unwrap()
}

/// A frame to the near interface.
pub fn frame_to_near(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    super::frame(&source.to_string(), &destination.to_string(), &[], payload)
}
