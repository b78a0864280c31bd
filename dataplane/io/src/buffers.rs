use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// A buffer that the kernel has filled. Until it is given back it is ours alone.
#[derive(Debug)]
pub(crate) struct Filled {
    id: u16,
    len: usize,
}

/// Zeroed, page-aligned memory that does not move.
struct Pages {
    base: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Self {
        // The ring must begin a page, and pages are not 4 KiB everywhere.
        let page = rustix::param::page_size();
        let layout = Layout::from_size_align(bytes.max(page), page).unwrap_or_else(|_| {
            unreachable!("sizes are small and the alignment is a power of two")
        });
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else {
            handle_alloc_error(layout)
        };
        Self { base, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout, and freed once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// A provided-buffer ring: memory that the kernel receives into, and the ring that
/// tells it which buffers it may take.
///
/// The kernel reads the ring's entries up to its tail and writes buffers that it
/// took; it is told of a buffer only by [`give_back`](Self::give_back), so a
/// [`Filled`] one cannot change under its reader.
pub(crate) struct BufferRing {
    entries: Pages,
    memory: Pages,
    count: u16,
    stride: usize,
    /// Entries ever given, modulo 2^16; the kernel's view follows at `publish`.
    tail: u16,
}

impl BufferRing {
    /// `count` buffers (a power of two, at most 32,768) of `len` bytes, all given to the kernel.
    ///
    /// # Panics
    /// If `count` is not such a number: a mistake of the caller.
    pub(crate) fn new(count: u16, len: usize) -> Self {
        assert!(count.is_power_of_two(), "{count} buffers");
        let stride = len.next_multiple_of(64);
        let mut ring = Self {
            entries: Pages::new(usize::from(count) * size_of::<BufRingEntry>()),
            memory: Pages::new(usize::from(count) * stride),
            count,
            stride,
            tail: 0,
        };
        for id in 0..count {
            ring.give_back(Filled { id, len: 0 });
        }
        ring.publish();
        ring
    }

    /// Tells the kernel about this memory.
    ///
    /// # Errors
    /// When the kernel is too old, or no memory may be locked.
    ///
    /// # Safety
    /// This ring must outlive every request of that io_uring that selects from `group`.
    pub(crate) unsafe fn register(&self, submitter: &Submitter<'_>, group: u16) -> io::Result<()> {
        let address = self.entries.base.as_ptr() as u64;
        // SAFETY: the address is page-aligned memory of `count` entries that lives as long as
        // `self`, and the caller keeps `self` for as long as the kernel may use it.
        unsafe { submitter.register_buf_ring_with_flags(address, self.count, group, 0) }
    }

    /// The buffer that a completion names, or `None` if there is no such one.
    pub(crate) fn filled(&self, id: u16, len: usize) -> Option<Filled> {
        (id < self.count && len <= self.stride).then_some(Filled { id, len })
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        // SAFETY: ids are below `count` (`filled` and `new` see to that), so the offset is inside.
        unsafe { self.memory.base.add(usize::from(id) * self.stride) }
    }

    /// What the kernel wrote.
    pub(crate) fn bytes(&self, buffer: &Filled) -> &[u8] {
        // SAFETY: the range is inside the memory (`filled`), initialised (zeroed at first), and
        // the kernel leaves it alone until the buffer is given back, which takes the handle.
        unsafe { std::slice::from_raw_parts(self.address(buffer.id).as_ptr(), buffer.len) }
    }

    /// Hands a buffer to the kernel; it sees it after [`publish`](Self::publish).
    pub(crate) fn give_back(&mut self, buffer: Filled) {
        let address = self.address(buffer.id).as_ptr() as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        let entry = self.entries.base.cast::<BufRingEntry>();
        // SAFETY: `slot` is below `count`, so the entry is inside the ring's memory.
        let entry = unsafe { entry.add(slot) }.as_ptr();
        let len = u32::try_from(self.stride).unwrap_or(u32::MAX);
        // The fields are written one by one: in the first entry, the bytes that are no
        // field's are the ring's tail, which the kernel reads at any time.
        // SAFETY: inside the ring, aligned, and the kernel does not read entries from the tail on.
        unsafe { (*entry).set_addr(address) };
        // SAFETY: as above.
        unsafe { (*entry).set_len(len) };
        // SAFETY: as above.
        unsafe { (*entry).set_bid(buffer.id) };
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was given back.
    pub(crate) fn publish(&mut self) {
        let first = self.entries.base.cast::<BufRingEntry>().as_ptr();
        // SAFETY: `first` is the ring's first entry, which holds the tail.
        let tail = unsafe { BufRingEntry::tail(first) }
            .cast_mut()
            .cast::<AtomicU16>();
        // SAFETY: aligned, inside the ring's memory; the kernel only reads it.
        unsafe { (*tail).store(self.tail, Ordering::Release) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel_view(ring: &BufferRing) -> (u16, Vec<u16>) {
        let entries = ring.entries.base.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the ring's first entry.
        let tail = unsafe { *BufRingEntry::tail(entries) };
        let ids = (0..usize::from(ring.count))
            // SAFETY: below the count.
            .map(|slot| unsafe { (*entries.add(slot)).bid() })
            .collect();
        (tail, ids)
    }

    #[test]
    fn buffers_go_round_in_the_order_of_their_return() {
        let mut ring = BufferRing::new(4, 100);
        assert_eq!(kernel_view(&ring), (4, vec![0, 1, 2, 3]));
        let taken: Vec<_> = [2, 0].map(|id| ring.filled(id, 100).unwrap()).into();
        for buffer in taken {
            assert_eq!(ring.bytes(&buffer), [0; 100]);
            ring.give_back(buffer);
        }
        assert_eq!(kernel_view(&ring).0, 4, "not before it is published");
        ring.publish();
        assert_eq!(kernel_view(&ring), (6, vec![2, 0, 2, 3]));
        for round in 0..u32::from(u16::MAX) {
            let buffer = ring.filled(1, usize::try_from(round % 129).unwrap());
            ring.give_back(buffer.unwrap());
        }
        ring.publish();
        assert_eq!(kernel_view(&ring).0, 5, "the tail wraps");
    }

    #[test]
    fn what_the_kernel_cannot_have_meant_is_refused() {
        let ring = BufferRing::new(4, 100);
        assert!(ring.filled(4, 1).is_none());
        assert!(ring.filled(0, 129).is_none(), "longer than a buffer");
    }
}
