use ion_tables::steer::{MULTIPLIER, SHIFT};
use ion_wire::classify::{BUT_PADDING, PACKET_REPORTS};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::{IpAddr, SocketAddr};

/// Bytes asked for as receive and send buffer of a socket: 50 ms of 1 Gbit/s. The
/// kernel gives less where `net.core.rmem_max` is lower.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// First payload bytes that are RTP or RTCP (RFC 7983, section 7).
const MEDIA: std::ops::RangeInclusive<u32> = 128..=191;

/// Why the media port could not be had. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "UDP {address} is in use by another process: `ss -lunp 'sport = :{}'` shows which; \
         stop it, or give another address with --media",
        address.port()
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The port is privileged.
    #[error(
        "UDP {address}: permission denied: take a port from 1024 up, \
         or grant CAP_NET_BIND_SERVICE"
    )]
    Permission {
        /// The address.
        address: SocketAddr,
    },
    /// This host does not have that address, or not that family.
    #[error(
        "UDP {address}: this host has no such address: `ip address` lists those it has; \
         0.0.0.0 and [::] stand for all of them"
    )]
    NoSuchAddress {
        /// The address.
        address: SocketAddr,
    },
    /// Two media addresses of which one would take the other's packets.
    #[error(
        "UDP {first} and {second} overlap: give one port for each address, \
         and either all addresses of a family by its wildcard or some by name"
    )]
    Overlap {
        /// One of them.
        first: SocketAddr,
        /// The other.
        second: SocketAddr,
    },
    /// The operating system refused.
    #[error("UDP {address}: {what}: {source}")]
    Os {
        /// The address.
        address: SocketAddr,
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: Errno,
    },
}

/// One socket of the media port.
#[derive(Debug)]
pub struct MediaSocket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl MediaSocket {
    /// What it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The media port: for each address a reuseport group with a socket for each
/// worker, then the control plane's, then another one for each worker that reports on packets come to (ADR 9). A group's
/// numbering lasts as long as all of its sockets are open; this process keeps them open, the control plane's too.
#[derive(Debug)]
pub struct MediaPort {
    /// By worker, then by address.
    pub workers: Vec<Vec<MediaSocket>>,
    /// By address.
    pub control: Vec<MediaSocket>,
    /// By worker, then by address.
    pub reports: Vec<Vec<MediaSocket>>,
}

impl MediaPort {
    /// Binds all sockets and attaches the steering program. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Any [`BindError`]; nothing stays bound then.
    pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Self, BindError> {
        refuse_overlap(addresses)?;
        let mut port = Self {
            workers: (0..workers).map(|_| Vec::new()).collect(),
            control: Vec::new(),
            reports: (0..workers).map(|_| Vec::new()).collect(),
        };
        for &address in addresses {
            port.bind_group(address)?;
        }
        Ok(port)
    }

    fn bind_group(&mut self, mut address: SocketAddr) -> Result<(), BindError> {
        let workers = self.workers.len();
        let mut first = true;
        let owners = self.workers.iter_mut().chain([&mut self.control]);
        let owners = owners.chain(&mut self.reports);
        for sockets in owners {
            let fd = open(address, first)?;
            if first {
                // The kernel chose the port, or agrees with ours.
                address = local_of(&fd, address)?;
                first = false;
            }
            sockets.push(MediaSocket { fd, local: address });
        }
        // The first socket alone, bound without sharing, is no group yet.
        match self.control.last() {
            Some(control) => attach_steering(control.as_fd(), address, workers),
            None => Ok(()),
        }
    }
}

/// One wildcard, or different addresses: else a packet's group would depend on more
/// than the address it came to, and an answer could leave from the wrong port.
fn refuse_overlap(addresses: &[SocketAddr]) -> Result<(), BindError> {
    for (n, &first) in addresses.iter().enumerate() {
        for &second in addresses.iter().skip(n + 1) {
            let (a, b) = (first.ip(), second.ip());
            let wild = a.is_unspecified() || b.is_unspecified();
            if a.is_ipv4() == b.is_ipv4() && (wild || a == b) {
                return Err(BindError::Overlap { first, second });
            }
        }
    }
    Ok(())
}

/// A bound socket. The first of a group is bound before it may share its port, so
/// that a port which another process shares is refused, not joined.
fn open(address: SocketAddr, first: bool) -> Result<OwnedFd, BindError> {
    let os = |what| {
        move |source| BindError::Os {
            address,
            what,
            source,
        }
    };
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None).map_err(|error| {
        match error {
            Errno::AFNOSUPPORT => BindError::NoSuchAddress { address },
            other => os("making a socket")(other),
        }
    })?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true).map_err(os("keeping IPv4 off an IPv6 socket"))?;
    }
    let share = || sockopt::set_socket_reuseport(&fd, true).map_err(os("sharing the port"));
    if !first {
        share()?;
    }
    rustix::net::bind(&fd, &address).map_err(|error| match error {
        Errno::ADDRINUSE => BindError::InUse { address },
        Errno::ACCESS => BindError::Permission { address },
        Errno::ADDRNOTAVAIL => BindError::NoSuchAddress { address },
        other => os("binding")(other),
    })?;
    if first {
        share()?;
    }
    let (level, local, class) = match address.ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_RECVTOS),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            libc::IPV6_RECVTCLASS,
        ),
    };
    set_option(fd.as_fd(), level, local, &1_i32).map_err(os("asking for local addresses"))?;
    set_option(fd.as_fd(), level, class, &1_i32).map_err(os("asking for ECN bits"))?;
    enlarge_buffers(&fd);
    Ok(fd)
}

/// As large as the kernel allows: with CAP_NET_ADMIN what is asked for, else up to
/// `net.core.rmem_max` and `wmem_max`. Smaller ones work too.
fn enlarge_buffers(fd: &OwnedFd) {
    let _ = sockopt::set_socket_recv_buffer_size_force(fd, SOCKET_BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(fd, SOCKET_BUFFER_BYTES));
    let _ = sockopt::set_socket_send_buffer_size_force(fd, SOCKET_BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_send_buffer_size(fd, SOCKET_BUFFER_BYTES));
}

fn local_of(fd: &OwnedFd, address: SocketAddr) -> Result<SocketAddr, BindError> {
    rustix::net::getsockname(fd)
        .and_then(SocketAddr::try_from)
        .map_err(|source| BindError::Os {
            address,
            what: "asking for the bound address",
            source,
        })
}

pub(crate) fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &T,
) -> Result<(), Errno> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "options are tens of bytes at most"
    )]
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and length are those of `value`, which outlives the call; the
    // kernel only reads. For `sock_fprog` it also reads what that points to, see `attach_steering`.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

fn attach_steering(
    fd: BorrowedFd<'_>,
    address: SocketAddr,
    workers: usize,
) -> Result<(), BindError> {
    let mut program = steering(
        address.is_ipv4(),
        u32::try_from(workers).unwrap_or(u32::MAX),
    );
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        // The kernel copies the program during the call, while `program` lives.
        filter: program.as_mut_ptr(),
    };
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    set_option(fd, level, option, &filter).map_err(|source| BindError::Os {
        address,
        what: "attaching the steering program",
        source,
    })
}

/// The steering program: RTP and RTCP (RFC 7983) go to the worker that
/// [`worker_of`](ion_tables::steer::worker_of) names, to its socket or, if they report on packets, to its other one;
/// all else goes to the socket behind the workers', the control plane's. The packet begins at the UDP payload; what is
/// before it is reached from the network header.
fn steering(v4: bool, workers: u32) -> Vec<libc::sock_filter> {
    #[expect(
        clippy::cast_sign_loss,
        reason = "the kernel reads it back as negative"
    )]
    const NET: u32 = libc::SKF_NET_OFF as u32;
    const IPV6_HEADER: u32 = 40;
    let op = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf: 0,
        k,
    };
    use libc::{
        BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ,
        BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_MEM, BPF_MISC, BPF_MOD,
        BPF_MSH, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W, BPF_X, BPF_XOR,
    };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        jt,
        jf,
        ..op(BPF_JMP | BPF_K | code, k)
    };
    let word = |bytes| u32::from(u16::from_be_bytes(bytes));
    let [one, other] = PACKET_REPORTS.map(word);
    // M[0] is the place of the first of the sockets to choose from.
    let mut program = vec![
        op(BPF_LD | BPF_W | BPF_LEN, 0),
        // What is shorter has no two bytes to load, and is no media.
        jump(BPF_JGE, 2, 0, 3),
        op(BPF_LD | BPF_B | BPF_ABS, 0),
        jump(BPF_JGE, *MEDIA.start(), 0, 1),
        jump(BPF_JGT, *MEDIA.end(), 0, 1),
        op(BPF_RET | BPF_K, workers),
        op(BPF_LD | BPF_IMM, 0),
        op(BPF_ST, 0),
        op(BPF_LD | BPF_H | BPF_ABS, 0),
        op(BPF_ALU | BPF_AND | BPF_K, word(BUT_PADDING)),
        jump(BPF_JEQ, one, 1, 0),
        jump(BPF_JEQ, other, 0, 2),
        op(BPF_LD | BPF_IMM, workers.saturating_add(1)),
        op(BPF_ST, 0),
    ];
    // One step of the hash: A is the word, X the hash so far; leaves the new one in both.
    let mix = [
        op(BPF_ALU | BPF_XOR | BPF_X, 0),
        op(BPF_ALU | BPF_MUL | BPF_K, MULTIPLIER),
        op(BPF_MISC | BPF_TAX, 0),
        op(BPF_ALU | BPF_RSH | BPF_K, SHIFT),
        op(BPF_ALU | BPF_XOR | BPF_X, 0),
        op(BPF_MISC | BPF_TAX, 0),
    ];
    if v4 {
        // The UDP header begins behind the IPv4 options, if any.
        program.push(op(BPF_LDX | BPF_B | BPF_MSH, NET));
        program.push(op(BPF_LD | BPF_H | BPF_IND, NET));
    } else {
        // Extension headers before UDP would shift the port: the packet then only
        // reaches another worker, which hands it over.
        program.push(op(BPF_LD | BPF_H | BPF_ABS, NET + IPV6_HEADER));
    }
    // The hash begins as zero, so the first step needs no XOR of X.
    program.extend_from_slice(&mix[1..]);
    let words = if v4 {
        [12].as_slice()
    } else {
        &[8, 12, 16, 20]
    };
    for &word in words {
        program.push(op(BPF_LD | BPF_W | BPF_ABS, NET + word));
        program.extend_from_slice(&mix);
    }
    program.extend([
        op(BPF_ALU | BPF_MOD | BPF_K, workers),
        op(BPF_LDX | BPF_MEM, 0),
        op(BPF_ALU | BPF_ADD | BPF_X, 0),
        op(BPF_RET | BPF_A, 0),
    ]);
    program
}
