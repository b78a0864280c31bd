use crate::options::{Io, Options};
use crate::placement::queues_of;
use ion_ebpf::{Attached, Error, Flows, MAX_FLOWS, MAX_WORKERS, Programs, Settings, Verdict, Xdp};
use ion_io::xdp::{BusyPoll, Register, XdpConfig};
use ion_io::{MediaPort, MediaSocket};
use ion_tables::{Bypass as Shared, DropSamples};
use rustix::fd::AsFd;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};
use zerocopy::IntoBytes;

/// Between two attempts to attach the XDP program again.
const REATTACH: Duration = Duration::from_secs(2);

/// The eBPF programs of this process: the one that steers its sockets and, with AF_XDP, the one
/// in front of its interface. Everything that they hang on ends with the process.
pub struct Bypass {
    programs: Programs,
    interface: Option<Interface>,
    samples: DropSamples,
    taken: u64,
    told: bool,
}

/// The interface that packets bypass the stack at.
struct Interface {
    name: String,
    /// Receive queues that it has without the XDP program too. virtio-net adds some for the
    /// program, which go with it, and never lets go of a zero-copy socket on one of those: up
    /// to Linux 7.3 the next program crashes the kernel then.
    queues: u32,
    mode: ion_ebpf::XdpMode,
    xdp: Arc<Mutex<Xdp>>,
    /// Detached by somebody else, and when to try again.
    retry: Option<Instant>,
}

fn lock(xdp: &Mutex<Xdp>) -> MutexGuard<'_, Xdp> {
    xdp.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bypass {
    /// Steers the media port by eBPF, and puts the XDP program in front of the interface where
    /// that is wanted. `None`, with the reason in the log, where the kernel grants nothing:
    /// classic BPF steers then.
    pub fn open(options: &Options, media: &MediaPort) -> Option<Self> {
        match Self::load(options, media) {
            Ok(bypass) => Some(bypass),
            Err(error) if options.io == Io::Xdp || options.interface.is_some() => {
                warn!("no eBPF, io_uring or sockets are used: {error}");
                None
            }
            Err(error) => {
                info!("flows are steered by classic BPF: {error}");
                None
            }
        }
    }

    fn load(options: &Options, media: &MediaPort) -> Result<Self, Error> {
        let addresses: Vec<_> = media.control.iter().map(MediaSocket::local).collect();
        let settings = Settings::new(&addresses, media.workers.len());
        let settings = settings.map_err(|_| Error::TooMany {
            what: "workers or media addresses",
            number: media.workers.len().max(addresses.len()),
            limit: MAX_WORKERS,
        })?;
        let mut programs = Programs::load(&settings)?;
        for (number, control) in media.control.iter().enumerate() {
            let workers = media.workers.iter().map(|sockets| sockets[number].as_fd());
            let reports = media.reports.iter().map(|sockets| sockets[number].as_fd());
            let group: Vec<_> = workers.chain([control.as_fd()]).chain(reports).collect();
            programs.steer(number, &group)?;
        }
        let mut bypass = Self {
            programs,
            interface: None,
            samples: zerocopy::FromZeros::new_zeroed(),
            taken: 0,
            told: false,
        };
        if let (Io::Auto | Io::Xdp, Some(name)) = (options.io, &options.interface) {
            // Media of a flow without a place in the map would be dropped as nobody's.
            let limit = (options.max_transports > MAX_FLOWS).then_some(Error::TooMany {
                what: "with an XDP program, --max-transports",
                number: options.max_transports as usize,
                limit: MAX_FLOWS,
            });
            let attached = limit.map_or_else(|| bypass.attach(name, options.xdp_mode), Err);
            match attached {
                Ok(interface) => bypass.interface = Some(interface),
                Err(error) => warn!("no AF_XDP, io_uring or sockets are used: {error}"),
            }
        }
        Ok(bypass)
    }

    fn attach(&mut self, name: &str, mode: ion_ebpf::XdpMode) -> Result<Interface, Error> {
        let queues = ion_io::xdp::queues(name).unwrap_or(1);
        let xdp = self.programs.attach_xdp(name, mode)?;
        if let Some(reason) = xdp.fallback() {
            warn!("the XDP program runs behind the driver, at more CPU per packet: {reason}");
        }
        Ok(Interface {
            name: name.to_owned(),
            queues: queues.min(ion_ebpf::MAX_QUEUES),
            mode,
            xdp: Arc::new(Mutex::new(xdp)),
            retry: None,
        })
    }

    /// For `auto`: whether AF_XDP costs less here than sockets, as measured now. The XDP program polices and
    /// steers in either case.
    fn is_cheaper(&self, options: &Options) -> bool {
        let (Io::Auto, Some(interface)) = (options.io, &self.interface) else {
            return true;
        };
        match ion_io::xdp::measure(&interface.name, options.xdp_copy.into()) {
            Ok(costs) => {
                let cheaper = costs.ring_is_cheaper();
                info!(
                    ring_ns = costs.ring_ns,
                    socket_ns = costs.socket_ns,
                    "{} is used: CPU time of one datagram, measured on {} (--io xdp or uring overrides)",
                    if cheaper { "AF_XDP" } else { "io_uring" },
                    interface.name
                );
                cheaper
            }
            Err(error) => {
                warn!("io_uring or sockets are used: AF_XDP could not be measured: {error}");
                false
            }
        }
    }

    /// A handle of the flow map, for a worker.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn flows(&self) -> Result<Flows, Error> {
        self.programs.flows()
    }

    /// What each worker's AF_XDP is made of: the interface's queues in turn. `None` for a worker that
    /// gets none, and for all without an interface.
    pub fn plan(&self, options: &Options, workers: usize) -> Vec<Option<XdpConfig>> {
        let Some(interface) = self.interface.as_ref().filter(|_| self.is_cheaper(options)) else {
            return vec![None; workers];
        };
        let queues = interface.queues;
        if (queues as usize) < workers {
            warn!(
                queues,
                workers,
                "workers without a queue of {name} use sockets: `ethtool -L {name} combined {workers}` \
                 gives each its own",
                name = interface.name
            );
        }
        let xdp = Arc::clone(&interface.xdp);
        let register: Register = Arc::new(move |queue, socket| {
            let set = lock(&xdp).set_socket(queue, socket);
            set.map_err(io::Error::other)
        });
        (0..workers)
            .map(|worker| {
                let own = queues_of(worker, workers, queues);
                (!own.is_empty()).then(|| XdpConfig {
                    mode: options.xdp_copy.into(),
                    busy_poll: options.busy_poll.map(|microseconds| BusyPoll {
                        microseconds,
                        budget: 64,
                    }),
                    ..XdpConfig::new(&interface.name, own, Arc::clone(&register))
                })
            })
            .collect()
    }

    /// Looks whether the XDP program is still there, puts it back if not, and copies what it
    /// counts to where others can see it. Called each second.
    pub fn tend(&mut self, shared: &Shared) {
        self.keep_attached();
        let attached = match self.interface.as_ref().filter(|i| i.retry.is_none()) {
            None => Shared::NONE,
            Some(interface) => match lock(&interface.xdp).attached() {
                Attached::Native => Shared::NATIVE,
                Attached::Generic => Shared::GENERIC,
            },
        };
        shared.attached.set(attached);
        match self.programs.counters() {
            Ok(counters) => {
                for ((_, count), place) in counters.iter().zip(&shared.verdicts) {
                    place.set(count);
                }
            }
            Err(error) if !self.told => {
                self.told = true;
                warn!("the XDP program's counters: {error}");
            }
            Err(_) => {}
        }
        let before = self.taken;
        for sample in self.programs.samples() {
            let place = usize::try_from(self.taken).unwrap_or(0) % DropSamples::KEPT;
            self.samples.samples[place].copy_from_slice(sample.as_bytes());
            self.taken += 1;
        }
        if self.taken != before {
            shared.samples.write(&self.samples);
            shared.samples_taken.set(self.taken);
        }
    }

    fn keep_attached(&mut self) {
        let Some(interface) = &mut self.interface else {
            return;
        };
        let now = Instant::now();
        match interface.retry {
            None => {
                if lock(&interface.xdp).is_attached().unwrap_or(true) {
                    return;
                }
                warn!(
                    "the XDP program was detached from {}: packets go through sockets, it is put \
                     back if that is possible",
                    interface.name
                );
            }
            Some(at) if now < at => return,
            Some(_) => {}
        }
        interface.retry = Some(now + REATTACH);
        match self.programs.attach_xdp(&interface.name, interface.mode) {
            Ok(xdp) => {
                // The map of sockets is the programs', and keeps them.
                *lock(&interface.xdp) = xdp;
                interface.retry = None;
                info!("the XDP program is attached to {} again", interface.name);
            }
            Err(error) => tracing::debug!("attaching again: {error}"),
        }
    }
}

const _: () = {
    assert!(size_of::<ion_ebpf::Sample>() == DropSamples::BYTES);
    assert!(Verdict::COUNT <= Shared::VERDICTS);
};
