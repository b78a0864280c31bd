use std::io;

/// Why eBPF could not be had. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses this process.
    #[error("{what}: not permitted: {remedy}")]
    Permission {
        /// What was tried.
        what: &'static str,
        /// What is missing.
        remedy: String,
    },
    /// There is no such interface in this network namespace.
    #[error("there is no interface `{interface}`: `ip link` lists those there are")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "{interface} has another XDP program: `ip link show dev {interface}` names it; stop what \
         attached it, or remove it with `ip link set dev {interface} xdp off` (native) or \
         `xdpgeneric off`"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// The driver cannot run XDP programs, or not as the interface is set up.
    #[error(
        "{interface}: its driver does not take an XDP program ({source}): take --xdp-mode generic, \
         or look in `dmesg` for what it wants (fewer queues, a smaller MTU, no LRO)"
    )]
    NoNative {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's verifier refuses a program.
    #[error(
        "this kernel refuses the {program} program ({source}): Linux 6.1 or later is needed; if it \
         is, please report this with the following.\n{log}"
    )]
    Rejected {
        /// Which program.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// The last of what the verifier says, which is its reason.
        log: String,
    },
    /// More than there is room for.
    #[error("{what} {number}: at most {limit} are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// What was asked for.
        number: usize,
        /// What is possible.
        limit: u32,
    },
    /// Something else went wrong.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The object does not hold what this crate expects of it.
    #[error("ebpf/ion.bpf.o does not fit this build ({0}): run `make ebpf` and build again")]
    Object(String),
}

impl Error {
    /// What a failed system call means.
    pub(crate) fn os(what: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            let remedy = missing_privilege();
            return Self::Permission { what, remedy };
        }
        Self::Os { what, source }
    }

    /// What aya says, by the system call below it.
    pub(crate) fn aya(
        what: &'static str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let text = chain(&error);
        match errno_of(&error) {
            Some(errno) => Self::os(what, io::Error::from_raw_os_error(errno)),
            None => Self::Object(format!("{what}: {text}")),
        }
    }

    /// What loading a program ended in.
    pub(crate) fn load(program: &'static str, error: aya::programs::ProgramError) -> Self {
        match error {
            aya::programs::ProgramError::LoadError {
                io_error,
                verifier_log,
            } if io_error.kind() != io::ErrorKind::PermissionDenied
                || !verifier_log.to_string().trim().is_empty() =>
            {
                // The verifier says EPERM too, but it says why, after thousands of lines on how it got there.
                let log = verifier_log.to_string();
                let lines: Vec<&str> = log.trim_end().lines().collect();
                Self::Rejected {
                    program,
                    source: io_error,
                    log: lines[lines.len().saturating_sub(VERIFIER_LINES)..].join("\n"),
                }
            }
            other => Self::aya(program, other),
        }
    }
}

/// Of the verifier's log: a few instructions, what is wrong with the last one, and some statistics.
const VERIFIER_LINES: usize = 12;

fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(errno);
        }
        next = error.source();
    }
    None
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Capabilities that loading and attaching need, and their bits (`linux/capability.h`).
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];

/// What this thread lacks for eBPF, and how to get it.
fn missing_privilege() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let lacking = |effective: u64| {
        let lacks = |bit: u32| effective & (1 << bit) == 0;
        let names = NEEDED.iter().filter(|(_, bit)| lacks(*bit));
        names.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let lacking = effective.map_or_else(Vec::new, lacking);
    if !lacking.is_empty() {
        return format!(
            "this process lacks {}: start it as root, or give it AmbientCapabilities={} in its unit",
            lacking.join(", "),
            lacking.join(" ")
        );
    }
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if let Some((_, rest)) = lockdown.split_once('[')
        && let Some((level, _)) = rest.split_once(']')
        && level != "none"
    {
        return format!(
            "the kernel is locked down ({level}): boot with lockdown=none, or do without"
        );
    }
    "a container or a system-call filter forbids bpf(2): grant it there, or do without".to_owned()
}
