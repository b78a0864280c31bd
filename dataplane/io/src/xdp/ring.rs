//! One side of a ring that is shared with the kernel: fill and TX rings are produced
//! here, RX and completion rings consumed.
//!
//! Indices run freely and wrap at 2^32. Each is written by one side: entries below the
//! producer's are the consumer's to read, and those below the consumer's may be
//! overwritten. Our index is moved once for many entries, and the other side's is read
//! only when the copy of it that is kept here does not suffice.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::XdpRingOffset;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// `XDP_RING_NEED_WAKEUP`: the kernel sleeps until it is called.
const NEED_WAKEUP: u32 = 1;

/// What may lie in a ring: any bytes are a valid one.
pub(crate) trait Entry: Copy + 'static {}
impl Entry for u64 {}
impl Entry for Descriptor {}

/// `struct xdp_desc`: where a packet is in the UMEM.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Descriptor {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) options: u32,
}
const _: () = assert!(size_of::<Descriptor>() == 16);

/// The memory of one ring: the kernel's, mapped, or (in tests) our own.
struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: all that is done with it is to unmap it, which any thread may do.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared one can do nothing.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `RingMemory::map` with this length; nobody points to it any more,
        // since every user holds the `RingMemory`.
        let _ = unsafe { munmap(self.base.as_ptr(), self.len) };
    }
}

/// Where the parts of a ring are. All stay valid and in place as long as this lives.
#[derive(Clone)]
pub(crate) struct RingMemory {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<c_void>,
    /// Entries; a power of two.
    size: u32,
    _mapping: Arc<Mapping>,
}

impl RingMemory {
    /// Maps the ring of `size` entries of `entry` bytes that a socket has at `page_offset`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        size: u32,
        entry: usize,
    ) -> Result<Self, Errno> {
        let at = |offset: u64| usize::try_from(offset).map_err(|_| Errno::OVERFLOW);
        let flags = offsets.flags.ok_or(Errno::OPNOTSUPP)?;
        let desc = at(offsets.desc)?;
        let len = desc + size as usize * entry;
        let (producer, consumer, flags) =
            (at(offsets.producer)?, at(offsets.consumer)?, at(flags)?);
        if producer.max(consumer).max(flags) + size_of::<u32>() > len {
            return Err(Errno::OVERFLOW);
        }
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                fd,
                page_offset,
            )
        }?;
        let base = NonNull::new(base).ok_or(Errno::NOMEM)?;
        // SAFETY: the offsets are inside the mapping, which was checked for the indices and is
        // so for the entries by the choice of `len`.
        let part = |offset: usize| unsafe { base.byte_add(offset) };
        Ok(Self {
            producer: part(producer).cast(),
            consumer: part(consumer).cast(),
            flags: part(flags).cast(),
            entries: part(desc),
            size,
            _mapping: Arc::new(Mapping { base, len }),
        })
    }

    fn index(&self, pointer: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: it points into the mapping, which `self` keeps; the kernel aligns indices, and
        // both sides use them atomically only.
        unsafe { pointer.as_ref() }
    }

    fn producer(&self) -> &AtomicU32 {
        self.index(self.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.index(self.consumer)
    }

    /// The place of entry `index`.
    fn entry<T: Entry>(&self, index: u32) -> *mut T {
        let place = (index & (self.size - 1)) as usize;
        // SAFETY: the place is below `size`, and the mapping has room for `size` entries.
        unsafe { self.entries.cast::<T>().add(place).as_ptr() }
    }
}

/// Our side of a fill or TX ring.
pub(crate) struct Producer<T> {
    memory: RingMemory,
    /// Written, and below `published` given to the kernel.
    written: u32,
    published: u32,
    /// The kernel's index, as last seen.
    taken: u32,
    _entry: std::marker::PhantomData<T>,
}

impl<T: Entry> Producer<T> {
    /// Takes a ring that was just made: both indices are zero.
    ///
    /// # Safety
    /// The ring's entries are `T`s, and nobody else produces into it.
    pub(crate) unsafe fn new(memory: RingMemory) -> Self {
        let now = memory.producer().load(Ordering::Relaxed);
        Self {
            written: now,
            published: now,
            taken: memory.consumer().load(Ordering::Acquire),
            memory,
            _entry: std::marker::PhantomData,
        }
    }

    /// Writes an entry, which the kernel sees after [`publish`](Self::publish). Gives it
    /// back if the ring is full.
    pub(crate) fn push(&mut self, entry: T) -> Result<(), T> {
        if self.written.wrapping_sub(self.taken) >= self.memory.size {
            // Acquire: what the kernel read of these entries is read before they are written.
            self.taken = self.memory.consumer().load(Ordering::Acquire);
            if self.written.wrapping_sub(self.taken) >= self.memory.size {
                return Err(entry);
            }
        }
        // SAFETY: the entry is beyond what is published and less than `size` beyond what the
        // kernel has taken, so it is ours alone.
        unsafe { self.memory.entry::<T>(self.written).write(entry) };
        self.written = self.written.wrapping_add(1);
        Ok(())
    }

    /// Shows the kernel all that was pushed.
    pub(crate) fn publish(&mut self) {
        if self.written != self.published {
            // Release: the entries are written before the index says so.
            self.memory
                .producer()
                .store(self.written, Ordering::Release);
            self.published = self.written;
        }
    }

    /// Published entries that the kernel has not taken yet.
    pub(crate) fn waiting(&self) -> u32 {
        let taken = self.memory.consumer().load(Ordering::Acquire);
        self.published.wrapping_sub(taken)
    }

    /// Whether the kernel must be called for it to look at the ring.
    pub(crate) fn needs_wakeup(&self) -> bool {
        // The kernel says that it goes to sleep, then looks at the ring again: for us not to
        // miss that, the flag is read after the index is written.
        fence(Ordering::SeqCst);
        let flags = self.memory.index(self.memory.flags);
        flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }
}

/// Our side of an RX or completion ring.
pub(crate) struct Consumer<T> {
    memory: RingMemory,
    /// Read, and below `released` given back.
    read: u32,
    released: u32,
    /// The kernel's index, as last seen.
    filled: u32,
    _entry: std::marker::PhantomData<T>,
}

impl<T: Entry> Consumer<T> {
    /// Takes a ring that was just made: both indices are zero.
    ///
    /// # Safety
    /// The ring's entries are `T`s, and nobody else consumes from it.
    pub(crate) unsafe fn new(memory: RingMemory) -> Self {
        let now = memory.consumer().load(Ordering::Relaxed);
        Self {
            read: now,
            released: now,
            filled: memory.producer().load(Ordering::Acquire),
            memory,
            _entry: std::marker::PhantomData,
        }
    }

    /// Whether there is nothing to read. Looks at the kernel's index if need be.
    pub(crate) fn is_empty(&mut self) -> bool {
        if self.read == self.filled {
            // Acquire: the entries are read after the index that says they are there.
            self.filled = self.memory.producer().load(Ordering::Acquire);
        }
        self.read == self.filled
    }

    /// Reads the next entry; its place is the kernel's after [`release`](Self::release).
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the entry is below the producer's index, which was read with acquire, and not
        // yet released, so the kernel leaves it alone; any bytes are a `T`.
        let entry = unsafe { self.memory.entry::<T>(self.read).read() };
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    /// Gives the kernel the places of all that was read.
    pub(crate) fn release(&mut self) {
        if self.read != self.released {
            // Release: the entries are read before they may be overwritten.
            self.memory.consumer().store(self.read, Ordering::Release);
            self.released = self.read;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
