//! What a datagram costs by the ring and by sockets on this interface, measured before there
//! is any traffic.
//!
//! The frames go out of the interface with its own address as destination, which no switch sends
//! anywhere, to an address of the range for benchmarks (RFC 2544), for which the host gets a route and
//! a neighbour for as long as this takes: about a tenth of a second and eight megabytes.

use super::interface::Interface;
use super::netlink::Netlink;
use super::{CopyMode, XdpConfig, XdpError};
use crate::uring::UringConfig;
use crate::{Backend, Doorbell, IoMode, MediaPort, SendReport};
use ion_engine::transmit::Path;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Nobody's (RFC 2544, appendix C.2.2).
const NOWHERE: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
/// The discard protocol's port (RFC 863), and those after it for further clients.
const DISCARD: u16 = 9;

/// What a meeting's participant is sent in a twentieth of a second, by the notes on standard
/// traffic: pictures of several packets, and some sound.
const PICTURES: u16 = 2;
const PACKETS: u16 = 6;
const PICTURE_BYTES: usize = 1_155;
const SOUNDS: u16 = 3;
const SOUND_BYTES: usize = 129;

const BATCHES: usize = 48;
const ROUNDS: usize = 8;

/// CPU time of this thread for one datagram, the kernel's part in its calls included. What a driver
/// does in its interrupts elsewhere is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// By AF_XDP, nanoseconds.
    pub ring_ns: u64,
    /// By the sockets' backend, nanoseconds.
    pub socket_ns: u64,
}

impl Costs {
    /// Whether AF_XDP is the cheaper way.
    pub fn ring_is_cheaper(&self) -> bool {
        self.ring_ns < self.socket_ns
    }
}

/// Measures both ways on one queue of an interface, which nobody uses yet.
///
/// # Errors
/// [`XdpError`]: AF_XDP cannot be had, or the probe's route cannot be made, as without CAP_NET_ADMIN.
pub fn measure(interface: &str, mode: CopyMode) -> Result<Costs, XdpError> {
    let failed = |what| move |source| XdpError::Socket { what, source };
    let open = |xdp: Option<XdpConfig>| -> Result<Backend, XdpError> {
        let any = [SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)];
        let port = MediaPort::bind(&any, 1);
        let what = "sockets for measuring";
        let mut port = port.map_err(|_| failed(what)(Errno::ADDRNOTAVAIL))?;
        let sockets = std::mem::take(&mut port.workers).into_iter().flatten();
        let doorbell = Doorbell::new().map(Arc::new);
        let doorbell = doorbell.map_err(|_| failed(what)(Errno::MFILE))?;
        match xdp {
            Some(config) => Backend::open_xdp(config, sockets.collect(), doorbell)
                .map_err(|refused| refused.error),
            None => {
                let uring = UringConfig::default();
                Backend::open(IoMode::Uring, &uring, sockets.collect(), doorbell)
                    .map(|(backend, _)| backend)
                    .map_err(|_| failed(what)(Errno::IO))
            }
        }
    };
    // Nothing is redirected to this socket: it only sends.
    let config = XdpConfig {
        mode,
        ..XdpConfig::new(interface, vec![0], Arc::new(|_, _| Ok(())))
    };
    let mut backends = [open(Some(config))?, open(None)?];
    // After the program is attached: some drivers take the link down and up for that, and routes over it go.
    let _detour = Detour::open(interface).map_err(failed("a route for measuring"))?;
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (backend, costs) in backends.iter_mut().zip(&mut costs) {
            let cost = round(backend).map_err(failed("sending to measure"))?;
            costs.push(cost);
        }
    }
    // The least disturbed round of each: a first one, which warms up, is never that.
    let [ring_ns, socket_ns] = costs.map(|costs| costs.into_iter().min().unwrap_or(u64::MAX));
    Ok(Costs { ring_ns, socket_ns })
}

/// CPU nanoseconds for each datagram that the kernel took.
fn round(backend: &mut Backend) -> Result<u64, Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut batch = backend.batch(256 << 10, usize::from(PICTURES + SOUNDS));
    let mut sent = SendReport::default();
    let begin = cpu_ns();
    for _ in 0..BATCHES {
        let mut port = DISCARD;
        let mut push = |port: u16, bytes: usize| {
            let path = Path {
                remote: SocketAddr::new(NOWHERE.into(), port),
                local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            };
            if batch.space(bytes).is_some() {
                batch.commit(&path, bytes);
            }
        };
        for _ in 0..PICTURES {
            (0..PACKETS).for_each(|_| push(port, PICTURE_BYTES));
            port += 1;
        }
        for _ in 0..SOUNDS {
            push(port, SOUND_BYTES);
            port += 1;
        }
        backend.poll(Some(Duration::ZERO)).map_err(io)?;
        sent += backend.split().1.send(&mut batch).map_err(io)?;
        batch.clear();
    }
    let spent = cpu_ns().saturating_sub(begin);
    // All of it went the way that is measured, or the figure means nothing.
    let expected = if backend.xdp().is_some() {
        sent.datagrams
    } else {
        0
    };
    if sent.datagrams == 0 || sent.ring != expected {
        return Err(Errno::NETUNREACH);
    }
    Ok(spent / sent.datagrams)
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The probe's route and neighbour, until this is dropped.
struct Detour {
    netlink: Netlink,
    interface: u32,
}

impl Detour {
    fn open(interface: &str) -> Result<Self, Errno> {
        let link = Interface::new(interface)?.link()?;
        let mut detour = Self {
            netlink: Netlink::new()?,
            interface: link.index,
        };
        detour.netlink.set_host_route(NOWHERE, link.index, true)?;
        detour
            .netlink
            .set_neighbour(NOWHERE, link.index, Some(link.mac))?;
        Ok(detour)
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        let Self { interface, .. } = *self;
        let _ = self.netlink.set_neighbour(NOWHERE, interface, None);
        let _ = self.netlink.set_host_route(NOWHERE, interface, false);
    }
}
