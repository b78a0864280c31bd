//! `bpf_link` by the system call itself: aya falls back to netlink where a link cannot be had, and what
//! netlink attaches outlives its process.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
/// `BPF_XDP` of `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;

/// `XDP_FLAGS_SKB_MODE`: after the driver, before the stack.
pub(crate) const GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: in the driver.
pub(crate) const NATIVE: u32 = 1 << 2;

/// An attached program. The kernel detaches it when the last descriptor is closed.
#[derive(Debug)]
pub(crate) struct XdpLink {
    fd: OwnedFd,
}

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` reads.
#[repr(C)]
struct CreateAttr {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct InfoAttr {
    bpf_fd: i32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info` of an XDP link; the union in it is aligned to 8 bytes.
#[repr(C, align(8))]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    ifindex: u32,
    rest: u32,
}

impl XdpLink {
    /// Attaches a loaded program to an interface; needs Linux 5.9.
    pub(crate) fn create(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<Self> {
        let mut attr = CreateAttr {
            prog_fd: program.as_raw_fd(),
            target_ifindex: interface,
            attach_type: BPF_XDP,
            flags,
        };
        // SAFETY: the kernel reads `attr`, of the size given, during the call; what a
        // shorter attr leaves out counts as zero.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_LINK_CREATE,
                &raw mut attr,
                size_of::<CreateAttr>(),
            )
        };
        let fd = i32::try_from(result)
            .ok()
            .filter(|fd| *fd >= 0)
            .ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Index of the interface that the program is attached to; 0 if it has been detached, or the
    /// interface removed.
    pub(crate) fn interface(&self) -> io::Result<u32> {
        let mut info = LinkInfo::default();
        let mut attr = InfoAttr {
            bpf_fd: self.fd.as_raw_fd(),
            info_len: u32::try_from(size_of::<LinkInfo>()).unwrap_or(u32::MAX),
            info: (&raw mut info).addr() as u64,
        };
        // SAFETY: the kernel reads `attr` and writes at most `info_len` bytes to `info`; both live.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_OBJ_GET_INFO_BY_FD,
                &raw mut attr,
                size_of::<InfoAttr>(),
            )
        };
        if result == 0 {
            Ok(info.ifindex)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
