use crate::Error;
use crate::link::{GENERIC, NATIVE, XdpLink};
use aya::maps::{MapData, XskMap, xdp::DevMapHash};
use ion_ebpf_types::MAX_QUEUES;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use std::io;

/// Where in the kernel an XDP program is asked to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpMode {
    /// In the driver, else as [`XdpMode::Generic`].
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// Behind any driver: slower than native, still before the stack.
    Generic,
}

impl std::str::FromStr for XdpMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "generic" => Ok(Self::Generic),
            other => Err(format!("`{other}` is none of auto, native, generic")),
        }
    }
}

/// Where in the kernel it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// Behind the driver.
    Generic,
}

/// The XDP program on an interface, until this is dropped or the process ends.
pub struct Xdp {
    link: XdpLink,
    interface: u32,
    attached: Attached,
    fallback: Option<Error>,
    sockets: XskMap<MapData>,
    devices: DevMapHash<MapData>,
}

impl std::fmt::Debug for Xdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xdp")
            .field("link", &self.link)
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

impl Xdp {
    pub(crate) fn attach(
        program: BorrowedFd<'_>,
        name: &str,
        mode: XdpMode,
        sockets: XskMap<MapData>,
        devices: DevMapHash<MapData>,
    ) -> Result<Self, Error> {
        let interface =
            rustix::net::netdevice::name_to_index(any_socket()?, name).map_err(|_| {
                Error::NoInterface {
                    interface: name.to_owned(),
                }
            })?;
        let native = || link(program, name, interface, Attached::Native);
        let generic = || link(program, name, interface, Attached::Generic);
        let (link, attached, fallback) = match mode {
            XdpMode::Native => (native()?, Attached::Native, None),
            XdpMode::Generic => (generic()?, Attached::Generic, None),
            XdpMode::Auto => match native() {
                Ok(link) => (link, Attached::Native, None),
                Err(why @ Error::NoNative { .. }) => (generic()?, Attached::Generic, Some(why)),
                Err(error) => return Err(error),
            },
        };
        Ok(Self {
            link,
            interface,
            attached,
            fallback,
            sockets,
            devices,
        })
    }

    /// Where it runs.
    #[must_use]
    pub fn attached(&self) -> Attached {
        self.attached
    }

    /// Why it does not run in the driver, if that was tried.
    #[must_use]
    pub fn fallback(&self) -> Option<&Error> {
        self.fallback.as_ref()
    }

    /// Index of its interface.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// False once somebody has detached it, or the interface is gone. Attaching again is then
    /// the caller's; the interface being down does not detach it.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel does not say.
    pub fn is_attached(&self) -> Result<bool, Error> {
        let interface = self.link.interface();
        let interface = interface.map_err(|e| Error::os("asking for the XDP link", e))?;
        Ok(interface == self.interface)
    }

    /// Media of known flows that arrives on `queue` goes to this AF_XDP socket, which must be bound to
    /// the interface and queue. Closing the socket removes it.
    ///
    /// # Errors
    /// [`Error::TooMany`] from queue [`MAX_QUEUES`] up; [`Error::Os`] if the kernel refuses the socket.
    pub fn set_socket(&mut self, queue: u32, socket: impl AsFd) -> Result<(), Error> {
        check_queue(queue)?;
        self.sockets
            .set(queue, socket.as_fd().as_raw_fd(), 0)
            .map_err(|e| Error::aya("giving the XDP program an AF_XDP socket", e))
    }

    /// Media that arrives on `queue` goes to the workers' sockets again.
    ///
    /// # Errors
    /// [`Error::TooMany`] from queue [`MAX_QUEUES`] up; [`Error::Os`] if there was no socket.
    pub fn remove_socket(&mut self, queue: u32) -> Result<(), Error> {
        check_queue(queue)?;
        self.sockets
            .unset(queue)
            .map_err(|e| Error::aya("taking an AF_XDP socket from the XDP program", e))
    }

    /// Allows relayed packets to leave by another interface than the one they came by. That needs an XDP
    /// program on it too, or on its peer, with some drivers (veth).
    ///
    /// # Errors
    /// [`Error::Os`] if there is no such interface, or there are more than the map holds.
    pub fn allow_relay_to(&mut self, interface: u32) -> Result<(), Error> {
        self.devices
            .insert(interface, interface, None, 0)
            .map_err(|e| Error::aya("giving the XDP program an interface to relay to", e))
    }
}

fn check_queue(queue: u32) -> Result<(), Error> {
    if queue < MAX_QUEUES {
        return Ok(());
    }
    Err(Error::TooMany {
        what: "receive queue",
        number: queue as usize,
        limit: MAX_QUEUES,
    })
}

fn link(
    program: BorrowedFd<'_>,
    name: &str,
    interface: u32,
    place: Attached,
) -> Result<XdpLink, Error> {
    let flags = match place {
        Attached::Native => NATIVE,
        Attached::Generic => GENERIC,
    };
    XdpLink::create(program, interface, flags).map_err(|source| {
        let interface = name.to_owned();
        match source.raw_os_error() {
            // One program in all, whichever mode it is in.
            Some(libc::EBUSY | libc::EEXIST) => Error::Busy { interface },
            Some(libc::ENODEV) => Error::NoInterface { interface },
            Some(libc::EPERM | libc::EACCES) => Error::os("attaching an XDP program", source),
            _ if place == Attached::Native => Error::NoNative { interface, source },
            _ => Error::os("attaching an XDP program in generic mode", source),
        }
    })
}

/// Any socket will do to ask for an interface.
fn any_socket() -> Result<rustix::fd::OwnedFd, Error> {
    use rustix::net::{AddressFamily, SocketType, socket};
    socket(AddressFamily::INET, SocketType::DGRAM, None)
        .map_err(|e| Error::os("making a socket", io::Error::from(e)))
}
