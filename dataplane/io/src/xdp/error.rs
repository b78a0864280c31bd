use rustix::io::Errno;

/// Why there is no AF_XDP. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// There is no such interface.
    #[error("interface {name}: {source}: `ip link` lists those that there are")]
    Interface {
        /// Its name, as given.
        name: String,
        /// What the kernel said.
        source: Errno,
    },
    /// The worker was given no queue, one twice, or too many.
    #[error(
        "{given} queues of {name} for one worker: 1 to {max} different ones are possible; \
         `ethtool -L {name}` sets how many the interface has"
    )]
    Queues {
        /// The interface.
        name: String,
        /// How many were given.
        given: usize,
        /// How many are possible.
        max: usize,
    },
    /// The frames' memory.
    #[error("{bytes} bytes of packet memory: {source}: {}", memory_remedy(*source))]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// What the kernel said.
        source: Errno,
    },
    /// A socket, its rings or its options.
    #[error("AF_XDP socket: {what}: {source}: {}", socket_remedy(*source))]
    Socket {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A queue cannot be had. Its number is not in the text: workers that fail alike say the
    /// same, and it is logged once.
    #[error("{name}: {source}: {}", bind_remedy(*source))]
    Bind {
        /// The interface.
        name: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: Errno,
    },
    /// The XDP program could not be told of the socket.
    #[error("entering queue {queue} of {name} in the XDP program's map: {source}")]
    Register {
        /// The interface.
        name: String,
        /// The queue.
        queue: u32,
        /// What went wrong.
        source: std::io::Error,
    },
}

fn memory_remedy(error: Errno) -> &'static str {
    match error {
        // The kernel says ENOBUFS when RLIMIT_MEMLOCK does not suffice.
        Errno::NOBUFS | Errno::AGAIN => {
            "too little memory may be locked: raise `ulimit -l`, or LimitMEMLOCK= of the unit, \
             or grant CAP_IPC_LOCK"
        }
        Errno::NOMEM => "the machine has too little memory left",
        Errno::PERM => "grant CAP_NET_RAW",
        _ => "see the kernel's log",
    }
}

fn socket_remedy(error: Errno) -> &'static str {
    match error {
        Errno::PERM | Errno::ACCESS => "grant CAP_NET_RAW, or run as root",
        Errno::AFNOSUPPORT => "this kernel is built without AF_XDP (CONFIG_XDP_SOCKETS)",
        Errno::NOBUFS | Errno::NOMEM => memory_remedy(error),
        _ => "see the kernel's log",
    }
}

fn bind_remedy(error: Errno) -> &'static str {
    match error {
        Errno::BUSY => {
            "another AF_XDP socket has the queue: `ss --xdp` shows whose; a queue serves one worker"
        }
        Errno::INVAL => "the interface has no such queue, or its driver no AF_XDP",
        Errno::OPNOTSUPP => "its driver cannot do zero-copy: ask for copy mode",
        Errno::NETDOWN => "the interface is down: `ip link set up` it",
        Errno::NODEV => "the interface is gone",
        _ => "see the kernel's log",
    }
}
