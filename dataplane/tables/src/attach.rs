//! How the control plane gets hold of the tables.
//!
//! The dataplane listens on a Unix seqpacket socket. A control plane connects and
//! says [`Hello`]; it gets one [`Reply`] that carries, as `SCM_RIGHTS`, the memfd,
//! the doorbell that workers ring for it, one doorbell for each worker, and its
//! UDP sockets of the media port. The connection then stays open and silent: its
//! end is how either side learns that the other is gone. There is one control
//! plane at a time; a second one is refused with the first one's process id.

use crate::layout::{LAYOUT_HASH, MAX_WORKERS};
use crate::mapping::{MapError, Tables};
use crate::{ABI_VERSION, header};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// UDP sockets handed over at most: one for each address of the media port.
pub const MAX_SOCKETS: usize = 16;
/// File descriptors in one reply at most (the kernel's limit is 253).
const MAX_FDS: usize = 2 + MAX_WORKERS + MAX_SOCKETS;

/// What the control plane says first.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Hello {
    magic: u64,
    layout_hash: u64,
    abi_version: u32,
    pid: u32,
}

/// What the dataplane answers.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Reply {
    magic: u64,
    layout_hash: u64,
    abi_version: u32,
    /// [`ACCEPTED`], [`REFUSED_VERSION`] or [`REFUSED_BUSY`].
    status: u32,
    /// The control plane that is attached, if refused as busy.
    pid: u32,
    workers: u32,
    sockets: u32,
    reserved: u32,
}

/// How long the control plane waits for the answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

const ACCEPTED: u32 = 1;
const REFUSED_VERSION: u32 = 2;
const REFUSED_BUSY: u32 = 3;

/// Why a process could not listen or attach.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another dataplane listens there.
    #[error(
        "another ion-dataplane already runs with the state directory of {path}: \
         stop it, or give this one another state directory"
    )]
    DataplaneRuns {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody listens there.
    #[error("no ion-dataplane listens on {path}: start it first, or check the state directory")]
    NoDataplane {
        /// The socket.
        path: PathBuf,
    },
    /// Another control plane is attached.
    #[error(
        "another ion-controlplane (process {pid}) is attached to this dataplane: \
         stop it before starting a second one"
    )]
    ControlRuns {
        /// The other's process id.
        pid: u32,
    },
    /// The peer does not speak this protocol.
    #[error("the process at the other end of {path} does not speak Ion's attach protocol")]
    Protocol {
        /// The socket.
        path: PathBuf,
    },
    /// The tables could not be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The operating system refused.
    #[error("{what} {path}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: Errno,
    },
}

fn os(what: &'static str, path: &Path) -> impl Fn(Errno) -> AttachError {
    move |source| AttachError::Os {
        what,
        path: path.to_owned(),
        source,
    }
}

/// What the dataplane hands to a control plane.
pub struct Offer<'a> {
    /// The tables.
    pub tables: &'a Tables,
    /// Rung by workers when they have written events.
    pub event_doorbell: BorrowedFd<'a>,
    /// Wake a worker each.
    pub worker_doorbells: Vec<BorrowedFd<'a>>,
    /// Receive STUN and DTLS.
    pub sockets: Vec<BorrowedFd<'a>>,
}

/// The dataplane's end.
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Held as long as this dataplane lives; released by the kernel when it dies.
    _lock: OwnedFd,
}

/// A control plane that is attached; closed when dropped.
pub struct ControlLink {
    socket: OwnedFd,
    /// Its process id, as it says.
    pub pid: u32,
}

impl ControlLink {
    /// Becomes readable when the control plane is gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the control plane is gone.
    pub fn is_closed(&self) -> bool {
        is_closed(&self.socket)
    }
}

fn is_closed(socket: &OwnedFd) -> bool {
    let mut byte = [0_u8; 1];
    match rustix::net::recv(socket, &mut byte, RecvFlags::DONTWAIT) {
        Ok((_, 0)) => true,
        Ok(_) => false,
        Err(error) => error != Errno::AGAIN && error != Errno::INTR,
    }
}

impl Listener {
    /// Listens on `path`; only the same user may connect.
    ///
    /// # Errors
    /// [`AttachError::DataplaneRuns`] when another dataplane holds the path's lock.
    pub fn bind(path: &Path) -> Result<Self, AttachError> {
        use rustix::fs::{FlockOperation, Mode, OFlags};
        let lock_path = path.with_extension("lock");
        let lock = rustix::fs::open(
            &lock_path,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(os("opening", &lock_path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match error {
                Errno::AGAIN => AttachError::DataplaneRuns {
                    path: path.to_owned(),
                },
                other => os("locking", &lock_path)(other),
            }
        })?;
        // With the lock held, a socket file that exists was left by a dead process.
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(os("removing the stale socket", path)(error)),
        }
        let socket = seqpacket(path)?;
        let address = SocketAddrUnix::new(path).map_err(os("naming", path))?;
        rustix::net::bind(&socket, &address).map_err(os("binding", path))?;
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(os("protecting", path))?;
        rustix::net::listen(&socket, 4).map_err(os("listening on", path))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Readable when somebody connects.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes one connection and answers it. `attached` is the control plane that
    /// is attached now. Returns the new one, or `None` if the visitor was refused
    /// or said nothing sensible within a second.
    ///
    /// # Errors
    /// [`AttachError::Os`] when the listening socket itself fails.
    pub fn accept(
        &self,
        offer: &Offer<'_>,
        attached: Option<&ControlLink>,
    ) -> Result<Option<ControlLink>, AttachError> {
        let socket = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC)
            .map_err(os("accepting on", &self.path))?;
        let Some(hello) = receive_hello(&socket) else {
            return Ok(None);
        };
        let busy = attached.filter(|link| !link.is_closed());
        let status = match busy {
            Some(_) => REFUSED_BUSY,
            None if hello.abi_version != ABI_VERSION || hello.layout_hash != LAYOUT_HASH => {
                REFUSED_VERSION
            }
            None => ACCEPTED,
        };
        let reply = Reply {
            magic: header::MAGIC,
            layout_hash: LAYOUT_HASH,
            abi_version: ABI_VERSION,
            status,
            pid: busy.map_or(0, |link| link.pid),
            workers: u32::try_from(offer.worker_doorbells.len()).unwrap_or(u32::MAX),
            sockets: u32::try_from(offer.sockets.len()).unwrap_or(u32::MAX),
            reserved: 0,
        };
        let mut fds = Vec::new();
        if status == ACCEPTED {
            fds.push(offer.tables.memfd());
            fds.push(offer.event_doorbell);
            fds.extend(&offer.worker_doorbells);
            fds.extend(&offer.sockets);
        }
        let sent = send_reply(&socket, &reply, &fds).is_ok();
        Ok((sent && status == ACCEPTED).then_some(ControlLink {
            socket,
            pid: hello.pid,
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two holders lock two files.
        let _ = rustix::fs::unlink(&self.path);
    }
}

fn seqpacket(path: &Path) -> Result<OwnedFd, AttachError> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(os("making a socket for", path))
}

fn receive_hello(socket: &OwnedFd) -> Option<Hello> {
    // A visitor that says nothing must not hold up the dataplane's main thread.
    let _ = set_socket_timeout(socket, Timeout::Recv, Some(Duration::from_secs(1)));
    let mut bytes = [0_u8; size_of::<Hello>()];
    let (_, length) = rustix::net::recv(socket, &mut bytes, RecvFlags::empty()).ok()?;
    let hello = Hello::read_from_bytes(bytes.get(..length)?).ok()?;
    (hello.magic == header::MAGIC).then_some(hello)
}

fn send_reply(socket: &OwnedFd, reply: &Reply, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = [IoSlice::new(reply.as_bytes())];
    rustix::net::sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What the control plane got.
pub struct Attached {
    /// The tables, mapped and checked.
    pub tables: Tables,
    /// Readable when workers have written events; reset by reading eight bytes.
    pub event_doorbell: OwnedFd,
    /// Wake a worker each: write an eight-byte 1.
    pub worker_doorbells: Vec<OwnedFd>,
    /// Receive STUN and DTLS; send from here too.
    pub sockets: Vec<OwnedFd>,
    /// Keep this: closing it detaches.
    pub link: DataplaneLink,
}

/// The control plane's end of the connection; detaches when dropped.
pub struct DataplaneLink {
    socket: OwnedFd,
}

impl DataplaneLink {
    /// Becomes readable when the dataplane is gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the dataplane is gone.
    pub fn is_closed(&self) -> bool {
        is_closed(&self.socket)
    }
}

/// Attaches this process, as the control plane, to the dataplane that listens on `path`.
///
/// # Errors
/// [`AttachError::NoDataplane`], [`AttachError::ControlRuns`],
/// [`AttachError::Map`] when the two are of different builds,
/// [`AttachError::Os`] when no answer comes within two seconds.
pub fn attach(path: &Path) -> Result<Attached, AttachError> {
    let socket = seqpacket(path)?;
    // A dataplane that hangs must not hang us: sending covers a full queue of visitors.
    for timeout in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, timeout, Some(REPLY_TIMEOUT))
            .map_err(os("setting the time-out of", path))?;
    }
    let address = SocketAddrUnix::new(path).map_err(os("naming", path))?;
    rustix::net::connect(&socket, &address).map_err(|error| match error {
        Errno::NOENT | Errno::CONNREFUSED => AttachError::NoDataplane {
            path: path.to_owned(),
        },
        other => os("connecting to", path)(other),
    })?;
    let hello = Hello {
        magic: header::MAGIC,
        layout_hash: LAYOUT_HASH,
        abi_version: ABI_VERSION,
        pid: std::process::id(),
    };
    rustix::net::send(&socket, hello.as_bytes(), SendFlags::NOSIGNAL)
        .map_err(os("greeting", path))?;
    let (reply, fds) = receive_reply(&socket, path)?;
    match reply.status {
        ACCEPTED => unpack(socket, &reply, fds, path),
        REFUSED_BUSY => Err(AttachError::ControlRuns { pid: reply.pid }),
        REFUSED_VERSION => Err(MapError::Version {
            ours: ABI_VERSION,
            theirs: reply.abi_version,
            our_layout: LAYOUT_HASH,
            their_layout: reply.layout_hash,
        }
        .into()),
        _ => Err(AttachError::Protocol {
            path: path.to_owned(),
        }),
    }
}

fn receive_reply(socket: &OwnedFd, path: &Path) -> Result<(Reply, Vec<OwnedFd>), AttachError> {
    let protocol = || AttachError::Protocol {
        path: path.to_owned(),
    };
    let mut bytes = [0_u8; size_of::<Reply>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(os("waiting for the answer of", path))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let cut = received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let reply = bytes
        .get(..received.bytes)
        .and_then(|b| Reply::read_from_bytes(b).ok());
    reply
        .filter(|reply| !cut && reply.magic == header::MAGIC)
        .map(|reply| (reply, fds))
        .ok_or_else(protocol)
}

fn unpack(
    socket: OwnedFd,
    reply: &Reply,
    fds: Vec<OwnedFd>,
    path: &Path,
) -> Result<Attached, AttachError> {
    let protocol = || AttachError::Protocol {
        path: path.to_owned(),
    };
    let workers = reply.workers as usize;
    if workers > MAX_WORKERS || fds.len() != 2 + workers + reply.sockets as usize {
        return Err(protocol());
    }
    let mut fds = fds.into_iter();
    let memfd = fds.next().ok_or_else(protocol)?;
    let event_doorbell = fds.next().ok_or_else(protocol)?;
    let worker_doorbells = fds.by_ref().take(workers).collect();
    let tables = Tables::map(memfd)?;
    if tables.workers() != workers {
        return Err(protocol());
    }
    Ok(Attached {
        tables,
        event_doorbell,
        worker_doorbells,
        sockets: fds.collect(),
        link: DataplaneLink { socket },
    })
}
