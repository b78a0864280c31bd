//! Two network namespaces with a veth pair between them: ours, that of the test's thread,
//! with `ion0`, and the client's, that of another thread, with `far0`. Nothing else is in
//! them, and no route leads out.

use ion_wire::frame::UdpFrame;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SendFlags, SocketType, socket};
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const OURS: [&str; 2] = ["10.7.0.1", "fd07::1"];
pub(crate) const THEIRS: [&str; 2] = ["10.7.0.2", "fd07::2"];
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const ETHTOOL_STXCSUM: u32 = 0x17;
type Job = Box<dyn FnOnce() + Send>;

/// The thread whose namespace is the client's.
pub(crate) struct Far {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Its number, by which `ip` finds the namespace.
    thread_id: i32,
}

impl Far {
    fn new() -> Self {
        let (jobs, work): (Sender<Job>, Receiver<Job>) = channel();
        let (started, start) = channel();
        let thread = std::thread::spawn(move || {
            unshare();
            started.send(rustix::thread::gettid()).unwrap();
            work.into_iter().for_each(|job| job());
        });
        Self {
            thread_id: start.recv().unwrap().as_raw_nonzero().get(),
            jobs: Some(jobs),
            thread: Some(thread),
        }
    }

    /// Runs something in the client's namespace.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || done.send(job()).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the client's thread panicked")
    }

    pub(crate) fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || {
            ip(&arguments);
        });
    }

    /// A client's socket.
    pub(crate) fn socket(&self, address: &'static str) -> UdpSocket {
        let socket = self.run(move || UdpSocket::bind((address, 0)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A namespace of its own for this thread.
fn unshare() {
    // SAFETY: affects this thread alone.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Runs `ip` in this thread's namespace, and gives what it printed.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the pair, with so many queues.
pub(crate) fn make_pair(far: &Far, queues: u32) {
    let thread = far.thread_id;
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    ip(&format!(
        "link add ion0 address 02:00:00:00:00:01 {queues} type veth \
         peer name far0 address 02:00:00:00:00:02 {queues} netns {thread}"
    ));
    for [address, bits] in [[OURS[0], "24"], [OURS[1], "64 nodad"]] {
        ip(&format!("address add {address}/{bits} dev ion0"));
    }
    ip("link set ion0 up");
    for [address, bits] in [[THEIRS[0], "24"], [THEIRS[1], "64 nodad"]] {
        far.ip(&format!("address add {address}/{bits} dev far0"));
    }
    far.ip("link set far0 up");
}

/// Runs a test in a namespace of its own with a pair to a client, or says why not.
pub(crate) fn with_pair(queues: u32, test: impl FnOnce(&Far) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: network namespaces and AF_XDP need root");
        return;
    }
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            unshare();
            ip("link set lo up");
            let far = Far::new();
            make_pair(&far, queues);
            test(&far);
        });
        if let Err(panic) = test.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

fn ethtool(interface: &str, cmd: u32, data: u32) -> u32 {
    let fd: OwnedFd = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    let mut value = EthtoolValue { cmd, data };
    // SAFETY: a plain C struct, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value it points to outlive the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "ethtool {cmd} {interface}: {error}");
    value.data
}

/// `ethtool -K interface tx on|off`, in this thread's namespace.
pub(crate) fn checksum_offload(interface: &str, on: bool) {
    ethtool(interface, ETHTOOL_STXCSUM, on.into());
}

/// The far end of the pair as frames, by a packet socket (packet(7)).
pub(crate) struct Cable(OwnedFd);

impl Cable {
    pub(crate) fn new(far: &Far, interface: &'static str) -> Self {
        Self(far.run(move || packet_socket(interface)))
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = rustix::net::send(&self.0, frame, SendFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }

    /// The next frame from us that is not the kernel's own business. The outermost tag, which
    /// the kernel gives apart, is put back.
    pub(crate) fn receive(&self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let (mut frame, tag) = self.read();
            if let Some(tag) = tag {
                frame.splice(12..12, tag);
            }
            // Ours has the marks of a datagram from the media port.
            if UdpFrame::parse(&frame[..]).is_ok_and(|udp| udp.source_port == 7_882) {
                return frame;
            }
        }
        panic!("no frame came");
    }

    fn read(&self) -> (Vec<u8>, Option<[u8; 4]>) {
        let mut frame = vec![0; 2_000];
        let mut control = [0_u64; 16];
        let mut piece = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: a plain C struct, for which zero is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message points to live buffers of the lengths given.
        let len = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(usize::try_from(len).unwrap_or(0));
        // SAFETY: the kernel has filled in the control messages.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        if header.is_null() {
            return (frame, None);
        }
        // SAFETY: the only message asked for is PACKET_AUXDATA, and there is one.
        let aux: libc::tpacket_auxdata = unsafe {
            libc::CMSG_DATA(header)
                .cast::<libc::tpacket_auxdata>()
                .read_unaligned()
        };
        let tagged = aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        let [kind, id] = [aux.tp_vlan_tpid, aux.tp_vlan_tci].map(u16::to_be_bytes);
        (frame, tagged.then_some([kind[0], kind[1], id[0], id[1]]))
    }
}

fn packet_socket(interface: &str) -> OwnedFd {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: takes plain numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(all)) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let index = rustix::net::netdevice::name_to_index(&fd, interface).unwrap();
    // SAFETY: a plain C struct, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = i32::try_from(index).unwrap();
    // SAFETY: the address is of the length given.
    let bound = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    let one = 1_i32;
    // SAFETY: the value is of the length given.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            (&raw const one).cast(),
            size_of_val(&one) as u32,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    rustix::net::sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE)).unwrap();
    fd
}
