use crate::ABI_VERSION;
use crate::command::CommandRing;
use crate::event::EventRing;
use crate::header::{Header, MAGIC};
use crate::layout::{Capacities, LAYOUT_HASH, Layout};
use crate::rows::{HasHead, Row, RowLink, TransportSecrets, WorkerCounters};
use crate::seqcell::SeqCell;
use crate::sync::Ordering;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ptr::NonNull;

/// Why the tables could not be made or mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// A capacity is zero or beyond the maximum, or there are no or too many workers.
    #[error("table capacities or worker count out of bounds")]
    Capacity,
    /// The memory is not a table of Ion's.
    #[error("not a table memory of Ion (wrong magic number, size or seals)")]
    Foreign,
    /// The two processes are of different builds.
    #[error(
        "the dataplane's tables have ABI version {theirs} and layout {their_layout:016x}, \
         this process was built for version {ours} and layout {our_layout:016x}: \
         run both from the same release"
    )]
    Version {
        /// ABI version of this build.
        ours: u32,
        /// ABI version in the header.
        theirs: u32,
        /// Layout hash of this build.
        our_layout: u64,
        /// Layout hash in the header.
        their_layout: u64,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: rustix::io::Errno,
    },
}

fn os(what: &'static str) -> impl Fn(rustix::io::Errno) -> MapError {
    move |source| MapError::Os { what, source }
}

/// The mapped tables. Shared by all threads of a process; unmapped when dropped.
pub struct Tables {
    base: NonNull<u8>,
    layout: Layout,
    /// Kept so that the tables can be handed on.
    memfd: OwnedFd,
    secrets_locked: Result<(), rustix::io::Errno>,
}

// SAFETY: the mapping is plain memory that is valid until `drop`; everything in it
// is reached as atomics (`SeqCell`, rings, counters), never by plain reads or writes.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    /// Makes a new, empty, sealed memfd and maps it. For the dataplane.
    ///
    /// # Errors
    /// [`MapError::Capacity`] and [`MapError::Os`].
    pub fn create(
        capacities: Capacities,
        workers: usize,
        epoch: u64,
        clock_zero_unix_us: u64,
    ) -> Result<Self, MapError> {
        let layout = Layout::new(capacities, workers).ok_or(MapError::Capacity)?;
        let memfd = make_memfd(layout.total as u64)?;
        let tables = Self::map_layout(memfd, layout)?;
        let header = tables.header();
        header.abi_version.store(ABI_VERSION, Ordering::Relaxed);
        header.layout_hash.store(LAYOUT_HASH, Ordering::Relaxed);
        header.workers.store(
            u32::try_from(workers).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        header
            .transports
            .store(capacities.transports, Ordering::Relaxed);
        header.tracks.store(capacities.tracks, Ordering::Relaxed);
        header
            .encodings
            .store(capacities.encodings, Ordering::Relaxed);
        header
            .subscriptions
            .store(capacities.subscriptions, Ordering::Relaxed);
        header.epoch.store(epoch, Ordering::Relaxed);
        header
            .clock_zero_unix_us
            .store(clock_zero_unix_us, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(tables)
    }

    /// Maps tables that another process made.
    ///
    /// # Errors
    /// [`MapError::Foreign`] and [`MapError::Version`] when it is not what this
    /// build can read, [`MapError::Os`].
    pub fn map(memfd: OwnedFd) -> Result<Self, MapError> {
        let size = rustix::fs::fstat(&memfd)
            .map_err(os("size of the table memory"))?
            .st_size;
        let size = usize::try_from(size).map_err(|_| MapError::Foreign)?;
        let seals = rustix::fs::fcntl_get_seals(&memfd).map_err(|_| MapError::Foreign)?;
        // Unsealed memory could shrink under us, and reading it would be fatal.
        if size < size_of::<Header>() || !seals.contains(SealFlags::SHRINK) {
            return Err(MapError::Foreign);
        }
        let layout = {
            let page = Mapping::new(&memfd, size_of::<Header>())?;
            // SAFETY: the mapping is at least a header long, page-aligned, readable until
            // `page` drops; a header is atomics only, valid for any bytes.
            let header = unsafe { page.base.cast::<Header>().as_ref() };
            read_layout(header)?
        };
        if layout.total != size {
            return Err(MapError::Foreign);
        }
        Self::map_layout(memfd, layout)
    }

    fn map_layout(memfd: OwnedFd, layout: Layout) -> Result<Self, MapError> {
        let mapping = Mapping::new(&memfd, layout.total)?;
        let base = mapping.base;
        std::mem::forget(mapping);
        let mut tables = Self {
            base,
            layout,
            memfd,
            secrets_locked: Ok(()),
        };
        tables.protect_secrets();
        Ok(tables)
    }

    /// Keeps keys out of core dumps and, where the memlock limit allows, out of swap.
    fn protect_secrets(&mut self) {
        // SAFETY: `secrets` and `secrets_len` lie inside the mapping by construction.
        let start = unsafe { self.base.add(self.layout.secrets) }
            .as_ptr()
            .cast();
        // SAFETY: the range is mapped and stays so; the advice changes dumping only.
        let dump =
            unsafe { rustix::mm::madvise(start, self.layout.secrets_len, Advice::LinuxDontDump) };
        // SAFETY: the range is mapped and stays so; locking changes paging only.
        // On fault: a lock of all pages at once would populate the whole table.
        let lock = unsafe {
            rustix::mm::mlock_with(
                start,
                self.layout.secrets_len,
                rustix::mm::MlockFlags::ONFAULT,
            )
        };
        self.secrets_locked = dump.and(lock);
    }

    /// Whether the keys could be locked in memory; an error is worth a warning
    /// (raise `RLIMIT_MEMLOCK`), nothing more.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn secrets_locked(&self) -> Result<(), rustix::io::Errno> {
        self.secrets_locked
    }

    /// The memfd, to be handed to another process.
    pub fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    /// How many rows each table has.
    pub fn capacities(&self) -> Capacities {
        self.layout.capacities
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.layout.workers
    }

    /// The first page.
    pub fn header(&self) -> &Header {
        // SAFETY: a header begins the mapping (see `part`).
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Element `index` of the array of `count` `T`s that begins at `offset`.
    ///
    /// # Safety
    /// `offset` and `count` must be those that [`Layout`] gives for an array of `T`,
    /// and `T` must consist of atomics only, valid for any bytes.
    unsafe fn part<T>(&self, offset: usize, count: usize, index: usize) -> Option<&T> {
        if index >= count {
            return None;
        }
        // SAFETY: by the caller, `offset..offset + count * size_of::<T>()` is inside the mapping.
        let pointer = unsafe { self.base.add(offset + index * size_of::<T>()) }.cast::<T>();
        // SAFETY: inside the mapping, which lives as long as `self`; page-aligned start and
        // element size that is a multiple of the alignment; any bytes are valid atomics.
        Some(unsafe { pointer.as_ref() })
    }

    /// The config cell of a row.
    pub fn config<R: Row>(&self, row: u32) -> Option<&SeqCell<R::Config>> {
        let count = self.layout.capacities.of(R::KIND) as usize;
        // SAFETY: offset and count are this table's own.
        unsafe { self.part(self.layout.table(R::KIND).config, count, row as usize) }
    }

    /// The state cell of a row.
    pub fn state<R: Row>(&self, row: u32) -> Option<&SeqCell<R::State>> {
        let count = self.layout.capacities.of(R::KIND) as usize;
        // SAFETY: offset and count are this table's own.
        unsafe { self.part(self.layout.table(R::KIND).state, count, row as usize) }
    }

    /// The counters of a row.
    pub fn counters<R: Row>(&self, row: u32) -> Option<&R::Counters> {
        let count = self.layout.capacities.of(R::KIND) as usize;
        // SAFETY: offset and count are this table's own.
        unsafe { self.part(self.layout.table(R::KIND).counters, count, row as usize) }
    }

    /// The secrets of a transport row.
    pub fn secrets(&self, transport: u32) -> Option<&SeqCell<TransportSecrets>> {
        let count = self.layout.capacities.transports as usize;
        // SAFETY: offset and count are those of the secrets.
        unsafe { self.part(self.layout.secrets, count, transport as usize) }
    }

    /// The ring that announces rows to a worker.
    pub fn commands(&self, worker: usize) -> Option<&CommandRing> {
        // SAFETY: offset and count are those of the command rings.
        unsafe { self.part(self.layout.commands, self.layout.workers, worker) }
    }

    /// The ring of a worker's events.
    pub fn events(&self, worker: usize) -> Option<&EventRing> {
        // SAFETY: offset and count are those of the event rings.
        unsafe { self.part(self.layout.events, self.layout.workers, worker) }
    }

    /// A worker's own counters.
    pub fn worker_counters(&self, worker: usize) -> Option<&WorkerCounters> {
        // SAFETY: offset and count are those of the workers' counters.
        unsafe { self.part(self.layout.worker_counters, self.layout.workers, worker) }
    }

    /// The config of the row that a link points to, if the link is not stale, the
    /// row is live and its config is whole.
    pub fn follow<R: Row>(&self, link: RowLink) -> Option<R::Config> {
        let config = self.config::<R>(link.row)?.read().ok()?;
        let head = config.head();
        (link.is_some() && head.live == 1 && head.generation == link.generation).then_some(config)
    }

    /// Every live row of a table, with its number. Torn rows are left out.
    pub fn live<R: Row>(&self) -> impl Iterator<Item = (u32, R::Config)> + '_ {
        (0..self.layout.capacities.of(R::KIND)).filter_map(|row| {
            let config = self.config::<R>(row)?.read().ok()?;
            (config.head().live == 1).then_some((row, config))
        })
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        drop(Mapping {
            base: self.base,
            len: self.layout.total,
        });
    }
}

/// A shared mapping that is unmapped when dropped.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(memfd: &OwnedFd, len: usize) -> Result<Self, MapError> {
        // SAFETY: a fresh mapping at an address the kernel chooses aliases nothing of ours.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                memfd,
                0,
            )
        }
        .map_err(os("mapping the table memory"))?;
        let base = NonNull::new(base.cast()).ok_or(MapError::Foreign)?;
        Ok(Self { base, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the range that `mmap` gave, and nobody refers to it any more:
        // all references into it borrow from the owner that is being dropped.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn make_memfd(size: u64) -> Result<OwnedFd, MapError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // NOEXEC_SEAL is known since Linux 6.3.
    let memfd = rustix::fs::memfd_create("ion-tables", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create("ion-tables", flags))
        .map_err(os("making the table memory"))?;
    rustix::fs::ftruncate(&memfd, size).map_err(os("sizing the table memory"))?;
    rustix::fs::fcntl_add_seals(
        &memfd,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )
    .map_err(os("sealing the table memory"))?;
    Ok(memfd)
}

fn read_layout(header: &Header) -> Result<Layout, MapError> {
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(MapError::Foreign);
    }
    let theirs = header.abi_version.load(Ordering::Relaxed);
    let their_layout = header.layout_hash.load(Ordering::Relaxed);
    if theirs != ABI_VERSION || their_layout != LAYOUT_HASH {
        return Err(MapError::Version {
            ours: ABI_VERSION,
            theirs,
            our_layout: LAYOUT_HASH,
            their_layout,
        });
    }
    let capacities = Capacities {
        transports: header.transports.load(Ordering::Relaxed),
        tracks: header.tracks.load(Ordering::Relaxed),
        encodings: header.encodings.load(Ordering::Relaxed),
        subscriptions: header.subscriptions.load(Ordering::Relaxed),
    };
    Layout::new(capacities, header.workers.load(Ordering::Relaxed) as usize)
        .ok_or(MapError::Foreign)
}
