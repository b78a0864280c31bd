//! What there is to know of a network interface (netdevice(7)).

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `ETHTOOL_GTXCSUM`: whether the device fills in checksums of what is sent.
const ETHTOOL_GTXCSUM: u32 = 0x16;
/// `ETHTOOL_GDRVINFO`: which driver it is.
const ETHTOOL_GDRVINFO: u32 = 0x03;
/// `ETHTOOL_GCHANNELS`: how many queues there are.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct EthtoolChannels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct EthtoolDriver {
    cmd: u32,
    name: [u8; 32],
    rest: [u32; 40],
}

/// The driver whose packets the kernel makes of the frames' pages in copy mode
/// (`IFF_TX_SKB_NO_LINEAR`). It overlooks the metadata of those in Linux 6.12, and the driver
/// does in zero-copy mode: packets would leave with half a checksum.
const OVERLOOKS_METADATA: &[u8] = b"virtio_net\0";

/// What can change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kernel's number of the interface; a new one if it was made anew.
    pub(crate) index: u32,
    /// Up, and its cable too.
    pub(crate) up: bool,
    /// Bytes of an IP packet at most.
    pub(crate) mtu: usize,
    /// Its Ethernet address.
    pub(crate) mac: [u8; 6],
}

/// An interface by name; it need not exist.
pub(crate) struct Interface {
    name: [libc::c_char; libc::IFNAMSIZ],
    control: OwnedFd,
}

impl Interface {
    /// # Errors
    /// When no interface can have such a name, or no file descriptor is left.
    pub(crate) fn new(name: &str) -> Result<Self, Errno> {
        let mut chars = [0; libc::IFNAMSIZ];
        if name.is_empty() || name.len() >= chars.len() || name.contains('\0') {
            return Err(Errno::INVAL);
        }
        for (char, byte) in chars.iter_mut().zip(name.bytes()) {
            *char = libc::c_char::from_ne_bytes([byte]);
        }
        let flags = SocketFlags::CLOEXEC;
        let control = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        Ok(Self {
            name: chars,
            control,
        })
    }

    /// # Errors
    /// `NODEV` when there is no such interface.
    pub(crate) fn link(&self) -> Result<Link, Errno> {
        // SAFETY: the union's field is the one that this request fills in.
        let index = unsafe { self.ask(libc::SIOCGIFINDEX)?.ifr_ifru.ifru_ifindex };
        // SAFETY: the union's field is the one that this request fills in.
        let flags = unsafe { self.ask(libc::SIOCGIFFLAGS)?.ifr_ifru.ifru_flags };
        // SAFETY: the union's field is the one that this request fills in.
        let mtu = unsafe { self.ask(libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu };
        // SAFETY: the union's field is the one that this request fills in.
        let address = unsafe { self.ask(libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr };
        let working = libc::IFF_UP | libc::IFF_RUNNING;
        let mac: [_; 6] = std::array::from_fn(|n| address.sa_data[n]);
        Ok(Link {
            index: u32::try_from(index).map_err(|_| Errno::NODEV)?,
            up: i32::from(flags) & working == working,
            mtu: usize::try_from(mtu).unwrap_or(0),
            mac: mac.map(|byte| byte.to_ne_bytes()[0]),
        })
    }

    /// Whether the device, or the kernel just before it, fills in checksums of packets that
    /// ask for it by TX metadata; not if that was switched off (`ethtool -K … tx off`).
    pub(crate) fn fills_in_checksums(&self) -> bool {
        let mut value = EthtoolValue {
            cmd: ETHTOOL_GTXCSUM,
            data: 0,
        };
        self.ethtool(&mut value).is_ok() && value.data != 0 && !self.overlooks_metadata()
    }

    fn overlooks_metadata(&self) -> bool {
        let mut driver = EthtoolDriver {
            cmd: ETHTOOL_GDRVINFO,
            name: [0; 32],
            rest: [0; 40],
        };
        self.ethtool(&mut driver).is_ok() && driver.name.starts_with(OVERLOOKS_METADATA)
    }

    /// The number of its receive queues.
    ///
    /// # Errors
    /// When the driver does not say.
    pub(crate) fn queues(&self) -> Result<u32, Errno> {
        let mut channels = EthtoolChannels {
            cmd: ETHTOOL_GCHANNELS,
            ..EthtoolChannels::default()
        };
        self.ethtool(&mut channels)?;
        Ok((channels.combined + channels.rx).max(1))
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: a plain C struct of integers and pointers, for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request
    }

    fn ask(&self, what: libc::c_ulong) -> Result<libc::ifreq, Errno> {
        let mut request = self.request();
        self.ioctl(what, &mut request)?;
        Ok(request)
    }

    fn ethtool<T>(&self, argument: &mut T) -> Result<(), Errno> {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast();
        self.ioctl(libc::SIOCETHTOOL, &mut request)
    }

    fn ioctl(&self, what: libc::c_ulong, request: &mut libc::ifreq) -> Result<(), Errno> {
        let fd = self.control.as_fd().as_raw_fd();
        // SAFETY: these requests read and write one `ifreq`, which outlives the call, and
        // SIOCETHTOOL the struct that it points to, which `ethtool` borrows meanwhile.
        let result = unsafe { libc::ioctl(fd, what as _, std::ptr::from_mut(request)) };
        if result < 0 {
            let error = std::io::Error::last_os_error();
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known_and_nonsense_is_not() {
        let link = Interface::new("lo").unwrap().link().unwrap();
        assert_eq!((link.index, link.mac), (1, [0; 6]));
        assert!(link.mtu >= 1_280);
        let missing = Interface::new("no-such-if").unwrap();
        assert_eq!(missing.link(), Err(Errno::NODEV));
        assert!(!missing.fills_in_checksums());
        for name in ["", "longer-than-a-name-is", "nul\0"] {
            assert!(Interface::new(name).is_err());
        }
    }
}
