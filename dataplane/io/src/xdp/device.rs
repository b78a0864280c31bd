use super::error::XdpError;
use super::header::{Checksum, IpFields};
use super::interface::{Interface, Link};
use super::netlink::Netlink;
use super::paths::Paths;
use super::socket::{Kicked, Xsk};
use super::umem::{CHUNK, Frame, Pages, Umem, Way};
use super::{RingState, TxChecksum, XdpConfig};
use crate::reuseport::MediaSocket;
use crate::socket::MAX_OTHERS;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::sockopt;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The interface is looked at this often, milliseconds.
const CHECK_MS: u32 = 500;
/// After a loss the rings are opened anew after this long, milliseconds, ...
const RETRY_MIN_MS: u32 = 500;
/// ... and after twice as long each time it fails, up to this.
const RETRY_MAX_MS: u32 = 8_000;
/// Refused calls, one after the other, of an interface that is up: the rings are lost then.
const REFUSALS: u32 = 3;
/// Questions to the kernel for unknown paths in one batch: each costs some microseconds.
const LOOKUPS: u32 = 32;
/// Packets that the kernel could not take at once are offered again after this long.
const LEFTOVERS: Duration = Duration::from_millis(1);

/// The interface as one worker uses it: its queues, its frames, and what is known of the
/// ways to clients. Without its rings it is merely of no use, until it has them again.
pub(crate) struct Device {
    // Closed first.
    pub(crate) xsks: Vec<Xsk>,
    pub(crate) umem: Umem,
    pub(crate) paths: Paths,
    pub(crate) netlink: Netlink,
    pub(crate) link: Link,
    pub(crate) config: XdpConfig,
    pub(crate) state: RingState,
    /// Milliseconds of a coarse clock.
    pub(crate) now_ms: u32,
    pub(crate) lookups_left: u32,
    interface: Interface,
    /// What the media sockets write, IPv4's and IPv6's.
    fields: [IpFields; 2],
    checked_ms: u32,
    retry_ms: u32,
    lost_ms: u32,
    refusals: u32,
    /// Nothing was given back since the last check although the TX ring was full.
    stuck: bool,
    /// Packets that the kernel dropped for sockets that are closed by now.
    dropped_before: u64,
}

impl Device {
    /// # Errors
    /// Any [`XdpError`].
    pub(crate) fn open(config: XdpConfig, sockets: &[MediaSocket]) -> Result<Self, XdpError> {
        let name = &config.interface;
        let mut queues = config.queues.clone();
        queues.sort_unstable();
        queues.dedup();
        if queues.is_empty() || queues.len() != config.queues.len() || queues.len() > MAX_OTHERS {
            return Err(XdpError::Queues {
                name: name.clone(),
                given: config.queues.len(),
                max: MAX_OTHERS,
            });
        }
        let missing = |source| XdpError::Interface {
            name: name.clone(),
            source,
        };
        let interface = Interface::new(name).map_err(missing)?;
        let link = interface.link().map_err(missing)?;
        let frames = config.frames();
        let umem = Umem::new(frames).map_err(|source| XdpError::Memory {
            bytes: u64::from(frames) * CHUNK as u64,
            source,
        })?;
        let what = "asking for routes";
        let netlink = Netlink::new().map_err(|source| XdpError::Socket { what, source })?;
        let now_ms = clock_ms();
        let mut device = Self {
            xsks: Vec::with_capacity(config.queues.len()),
            umem,
            paths: Paths::new(config.paths),
            netlink,
            link,
            state: RingState::Running,
            now_ms,
            lookups_left: LOOKUPS,
            interface,
            fields: [true, false].map(|v4| fields_of(sockets, v4)),
            checked_ms: now_ms,
            retry_ms: RETRY_MIN_MS,
            lost_ms: now_ms,
            refusals: 0,
            stuck: false,
            dropped_before: 0,
            config,
        };
        device.open_rings()?;
        Ok(device)
    }

    /// Opens a socket for each queue, gives the kernel its frames and registers the sockets
    /// with the XDP program.
    fn open_rings(&mut self) -> Result<(), XdpError> {
        let offload =
            self.config.checksum == TxChecksum::Auto && self.interface.fills_in_checksums();
        let checksum = if offload {
            Checksum::Metadata
        } else {
            Checksum::Software
        };
        for (number, &queue) in (0_u8..).zip(&self.config.queues) {
            let first = self.xsks.first();
            let mut xsk = Xsk::open(&self.config, &self.link, queue, &self.umem, first, checksum)?;
            for _ in 0..self.config.rx_ring {
                let Some(frame) = self.umem.take() else { break };
                let addr = frame.addr();
                self.umem.lend(frame, Way::In(number));
                // A new ring of this size has room.
                let _ = xsk.fill.push(addr);
            }
            xsk.fill.publish();
            self.xsks.push(xsk);
        }
        for (xsk, &queue) in self.xsks.iter().zip(&self.config.queues) {
            (self.config.register)(queue, xsk.as_fd()).map_err(|source| XdpError::Register {
                name: self.config.interface.clone(),
                queue,
                source,
            })?;
        }
        self.set_state_by_link();
        Ok(())
    }

    fn set_state_by_link(&mut self) {
        self.state = if self.link.up {
            RingState::Running
        } else {
            RingState::LinkDown
        };
    }

    /// File descriptors by which it wakes its worker.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.xsks.iter().map(Xsk::as_fd)
    }

    /// Offers the kernel what it could not take of the last batch, and says how long the
    /// worker may sleep.
    pub(crate) fn before_sleep(
        &mut self,
        timeout: Option<Duration>,
        syscalls: &mut u64,
    ) -> Option<Duration> {
        let Some(xsk) = self.xsks.first_mut() else {
            return timeout;
        };
        if self.state != RingState::Running || !xsk.wants_kick() {
            return timeout;
        }
        let kicked = xsk.kick(syscalls);
        let left = xsk.wants_kick();
        if kicked == Kicked::Down {
            self.refused();
            return timeout;
        }
        if left {
            return Some(timeout.unwrap_or(LEFTOVERS).min(LEFTOVERS));
        }
        timeout
    }

    /// What is to be done once in each turn: the clock, frames that are sent, and from time
    /// to time a look at the interface.
    pub(crate) fn tick(&mut self, syscalls: &mut u64) {
        self.now_ms = clock_ms();
        self.lookups_left = LOOKUPS;
        self.reap();
        if self.now_ms.wrapping_sub(self.checked_ms) >= CHECK_MS {
            self.checked_ms = self.now_ms;
            *syscalls += 4;
            self.check();
        }
    }

    /// Looks whether the interface is what it was, and does what follows if not.
    fn check(&mut self) {
        let Ok(link) = self.interface.link() else {
            self.lose();
            return;
        };
        let before = std::mem::replace(&mut self.link, link);
        if before != link {
            self.paths.clear();
        }
        let full = link.up && self.umem.sending() >= self.config.tx_ring as usize;
        if before.index != link.index || (full && self.stuck) {
            self.lose();
        }
        self.stuck = full;
        if self.state == RingState::Lost {
            self.recover();
        } else {
            self.set_state_by_link();
        }
    }

    fn recover(&mut self) {
        if self.now_ms.wrapping_sub(self.lost_ms) < self.retry_ms || !self.link.up {
            return;
        }
        match self.open_rings() {
            Ok(()) => self.retry_ms = RETRY_MIN_MS,
            Err(_) => {
                self.lose();
                self.lost_ms = self.now_ms;
                self.retry_ms = (2 * self.retry_ms).min(RETRY_MAX_MS);
            }
        }
    }

    /// The kernel refused to send: the sockets take over until the next look.
    pub(crate) fn refused(&mut self) {
        self.state = RingState::LinkDown;
        self.refusals += 1;
        if self.refusals == REFUSALS {
            self.lose();
        }
    }

    /// The kernel sends again.
    pub(crate) fn accepted(&mut self) {
        self.refusals = 0;
    }

    /// Gives the rings up. All frames that were in them are free again.
    pub(crate) fn lose(&mut self) {
        if self.state != RingState::Lost {
            self.lost_ms = self.now_ms;
        }
        self.state = RingState::Lost;
        self.refusals = 0;
        self.stuck = false;
        self.dropped_before = self.dropped();
        // When its socket is closed, the kernel receives into no frame any more.
        self.xsks.clear();
        self.umem.take_back_all();
    }

    /// Takes back the frames that the kernel has sent.
    pub(crate) fn reap(&mut self) {
        if let Some(xsk) = self.xsks.first_mut()
            && xsk.reap(&mut self.umem)
        {
            self.stuck = false;
        }
    }

    /// Packets that came for the rings and found no room.
    pub(crate) fn dropped(&self) -> u64 {
        let now: u64 = self.xsks.iter().map(Xsk::dropped).sum();
        self.dropped_before + now
    }

    /// What the sockets write into IP headers.
    pub(crate) fn fields(&self, v4: bool) -> IpFields {
        self.fields[usize::from(!v4)]
    }

    /// Frames that neither the kernel has nor nobody.
    pub(crate) fn in_use(&self) -> usize {
        self.umem.total() - self.umem.free() - self.umem.receiving() - self.umem.sending()
    }

    /// The frames for a transmit batch.
    pub(crate) fn take_batch(&mut self) -> impl Iterator<Item = Frame> {
        let batch = self.config.batch as usize;
        std::iter::from_fn(|| self.umem.take()).take(batch)
    }

    pub(crate) fn pages(&self) -> Pages {
        self.umem.pages()
    }
}

/// Milliseconds of the coarse monotonic clock; wraps.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "differences are taken, wrapping"
)]
fn clock_ms() -> u32 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    (now.tv_sec as u32)
        .wrapping_mul(1_000)
        .wrapping_add(now.tv_nsec as u32 / 1_000_000)
}

/// What the sockets of a family write into IP headers, so that a client sees no difference
/// between the two ways.
fn fields_of(sockets: &[MediaSocket], v4: bool) -> IpFields {
    let socket = sockets.iter().find(|s| s.local().is_ipv4() == v4);
    let hops = socket.and_then(|s| {
        if v4 {
            u8::try_from(sockopt::ip_ttl(s).ok()?).ok()
        } else {
            sockopt::ipv6_unicast_hops(s).ok()
        }
    });
    let class = socket.and_then(|s| {
        if v4 {
            sockopt::ip_tos(s).ok()
        } else {
            u8::try_from(sockopt::ipv6_tclass(s).ok()?).ok()
        }
    });
    IpFields {
        hops: hops.filter(|&hops| hops > 0).unwrap_or(64),
        class: class.unwrap_or(0),
    }
}
