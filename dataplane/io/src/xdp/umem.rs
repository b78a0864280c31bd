use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

/// Bytes of a frame: the least that the kernel takes, and more than an Ethernet frame with
/// the headroom of either way.
pub(crate) const CHUNK: usize = 2_048;
/// Bytes before the payload of a frame that is sent: room for all headers and for TX metadata.
pub(crate) const HEADROOM: usize = 128;
/// Bytes of a huge page, and what memory is aligned to where there may be one.
const HUGE_PAGE: usize = 2 << 20;

/// How the memory is paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages of the system's pool (`vm.nr_hugepages`).
    Huge,
    /// The kernel was asked for transparent huge pages.
    Transparent,
    /// Normal pages: the kernel takes no advice on huge ones.
    Normal,
}

/// The memory of one worker's frames, registered with the kernel as a UMEM.
struct Memory {
    base: NonNull<u8>,
    len: usize,
    pages: Pages,
    /// Numbers of frames whose handles were dropped.
    dropped: RefCell<Vec<u32>>,
}

impl Memory {
    /// # Errors
    /// When there is not so much memory.
    fn new(frames: u32) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let len = (frames as usize * CHUNK).next_multiple_of(HUGE_PAGE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let huge = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                protection,
                MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::POPULATE,
            )
        };
        let (base, pages) = match huge {
            Ok(base) => (base, Pages::Huge),
            Err(_) => transparent(len, protection)?,
        };
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?,
            len,
            pages,
            dropped: RefCell::new(Vec::with_capacity(frames as usize)),
        })
    }
}

/// Memory that begins at a multiple of a huge page, as such pages must, and the advice to use them.
fn transparent(len: usize, protection: ProtFlags) -> Result<(*mut c_void, Pages), Errno> {
    // SAFETY: a new mapping at an address that the kernel chooses.
    let whole = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            len + HUGE_PAGE,
            protection,
            MapFlags::PRIVATE,
        )
    }?;
    let before = whole.addr().next_multiple_of(HUGE_PAGE) - whole.addr();
    // SAFETY: at most a huge page into a mapping that is longer by that.
    let base = unsafe { whole.byte_add(before) };
    // SAFETY: `before + len` is at most the mapping's length.
    let end = unsafe { base.byte_add(len) };
    if before > 0 {
        // SAFETY: the beginning of the mapping just made, to which nothing points.
        unsafe { munmap(whole, before) }?;
    }
    if before < HUGE_PAGE {
        // SAFETY: the end of the mapping just made, to which nothing points.
        unsafe { munmap(end, HUGE_PAGE - before) }?;
    }
    // SAFETY: advice changes no contents.
    let advised = unsafe { madvise(base, len, Advice::LinuxHugepage) };
    let pages = advised.map_or(Pages::Normal, |()| Pages::Transparent);
    Ok((base, pages))
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and every frame, which is what points into
        // it, keeps it. The kernel has its own hold on the pages.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// One frame of a UMEM. There is one handle for each at any time: whoever has it may read and
/// write the frame, and nobody else does. Dropped, it is free again.
///
/// It derefs to the room for the payload of a datagram to be sent.
pub struct Frame {
    memory: Rc<Memory>,
    number: u32,
}

impl Frame {
    /// Its beginning in the UMEM, as descriptors have it.
    pub(crate) fn addr(&self) -> u64 {
        u64::from(self.number) * CHUNK as u64
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: numbers are below the number of frames, so the offset is inside the memory.
        unsafe { self.memory.base.add(self.number as usize * CHUNK) }
    }

    /// The whole frame.
    pub(crate) fn chunk(&self) -> &[u8; CHUNK] {
        // SAFETY: inside the memory and initialised (zeroed pages). This is the frame's one
        // handle and it is not lent to the kernel, so nobody writes.
        unsafe { self.start().cast().as_ref() }
    }

    /// The whole frame, to write to.
    pub(crate) fn chunk_mut(&mut self) -> &mut [u8; CHUNK] {
        // SAFETY: as for `chunk`, and `self` is borrowed exclusively.
        unsafe { self.start().cast().as_mut() }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk()[HEADROOM..]
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.chunk_mut()[HEADROOM..]
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({})", self.number)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // Never more than there are frames, so it does not grow.
        self.memory.dropped.borrow_mut().push(self.number);
    }
}

/// Which ring a frame was lent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The fill ring of the socket of this number, for receiving.
    In(u8),
    /// The TX ring.
    Out,
}

/// The frames that nobody uses, and those that the kernel has.
///
/// A frame that is given to the kernel leaves its handle here, under its number, and the
/// kernel's answer takes it out again. So no answer can make a second handle of a frame.
pub(crate) struct Umem {
    memory: Rc<Memory>,
    /// The last one given back is the first to be taken: it is still in the cache.
    free: Vec<Frame>,
    lent: Box<[Option<(Frame, Way)>]>,
    receiving: usize,
    sending: usize,
    /// Answers of the kernel that named no frame that it had.
    bogus: u64,
}

impl Umem {
    /// Memory for so many frames, all of them free.
    ///
    /// # Errors
    /// When there is not so much memory.
    pub(crate) fn new(frames: u32) -> Result<Self, Errno> {
        let memory = Rc::new(Memory::new(frames)?);
        let handle = |number| Frame {
            memory: Rc::clone(&memory),
            number,
        };
        Ok(Self {
            free: (0..frames).rev().map(handle).collect(),
            lent: (0..frames).map(|_| None).collect(),
            receiving: 0,
            sending: 0,
            bogus: 0,
            memory,
        })
    }

    /// Takes a free frame.
    pub(crate) fn take(&mut self) -> Option<Frame> {
        self.free.pop().or_else(|| {
            // The handle of this number is gone, so this is the one.
            let number = self.memory.dropped.borrow_mut().pop()?;
            let memory = Rc::clone(&self.memory);
            Some(Frame { memory, number })
        })
    }

    /// Gives a frame back that is not used any more.
    pub(crate) fn give(&mut self, frame: Frame) {
        self.free.push(frame);
    }

    /// Where the memory begins, and its length, as the kernel is told.
    pub(crate) fn area(&self) -> (u64, u64) {
        let base = self.memory.base.as_ptr().expose_provenance();
        (base as u64, (self.lent.len() * CHUNK) as u64)
    }

    pub(crate) fn pages(&self) -> Pages {
        self.memory.pages
    }

    /// Keeps a frame that the kernel is about to be given.
    pub(crate) fn lend(&mut self, frame: Frame, way: Way) {
        match way {
            Way::In(_) => self.receiving += 1,
            Way::Out => self.sending += 1,
        }
        let number = frame.number as usize;
        // A frame has one handle, so its place is empty.
        self.lent[number] = Some((frame, way));
    }

    /// Takes back the frame that holds `addr`, which the kernel has given back by a ring of
    /// this way. `None` if it had no such one: the kernel is not believed in this.
    pub(crate) fn take_back(&mut self, addr: u64, way: Way) -> Option<Frame> {
        let number = usize::try_from(addr / CHUNK as u64).unwrap_or(usize::MAX);
        let taken = self
            .lent
            .get_mut(number)
            .and_then(|place| place.take_if(|(_, lent)| *lent == way));
        let Some((frame, _)) = taken else {
            self.bogus += 1;
            return None;
        };
        match way {
            Way::In(_) => self.receiving -= 1,
            Way::Out => self.sending -= 1,
        }
        Some(frame)
    }

    /// Takes back everything that is lent, when the kernel has lost its rings.
    ///
    /// The rings' sockets must be closed: then nothing is received into these frames any
    /// more. A packet that a device still sends from one may carry the bytes of the next.
    pub(crate) fn take_back_all(&mut self) {
        let lent = self.lent.iter_mut().rev().filter_map(Option::take);
        self.free.extend(lent.map(|(frame, _)| frame));
        (self.receiving, self.sending) = (0, 0);
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len() + self.memory.dropped.borrow().len()
    }

    pub(crate) fn receiving(&self) -> usize {
        self.receiving
    }

    pub(crate) fn sending(&self) -> usize {
        self.sending
    }

    pub(crate) fn total(&self) -> usize {
        self.lent.len()
    }

    pub(crate) fn bogus(&self) -> u64 {
        self.bogus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_somewhere_and_only_once() {
        let mut umem = Umem::new(8).unwrap();
        assert_eq!((umem.free(), umem.total()), (8, 8));
        let mut frame = umem.take().unwrap();
        frame[..3].copy_from_slice(b"abc");
        let addr = frame.addr();
        umem.lend(frame, Way::Out);
        assert_eq!((umem.sending(), umem.receiving()), (1, 0));
        assert!(umem.take_back(addr, Way::In(0)).is_none(), "another ring");
        let frame = umem.take_back(addr + 70, Way::Out).unwrap();
        assert_eq!(&frame[..3], b"abc");
        assert!(umem.take_back(addr, Way::Out).is_none(), "twice");
        assert!(umem.take_back(8 * CHUNK as u64, Way::Out).is_none());
        assert!(umem.take_back(u64::MAX, Way::Out).is_none());
        assert_eq!(umem.bogus(), 4);
        umem.lend(frame, Way::In(1));
        umem.take_back_all();
        assert_eq!((umem.free(), umem.receiving()), (8, 0));
    }

    #[test]
    fn a_dropped_frame_is_free_again() {
        let mut umem = Umem::new(3).unwrap();
        let held = umem.take().unwrap();
        for _ in 0..10 {
            drop([umem.take().unwrap(), umem.take().unwrap()]);
            assert_eq!(umem.free(), 2);
        }
        let rest: Vec<_> = std::iter::from_fn(|| umem.take()).collect();
        let mut addrs: Vec<_> = rest.iter().chain([&held]).map(Frame::addr).collect();
        addrs.sort_unstable();
        assert_eq!(addrs, [0, 2_048, 4_096]);
    }

    #[test]
    fn frames_outlive_the_umem_and_do_not_overlap() {
        let mut umem = Umem::new(4).unwrap();
        let mut frames: Vec<_> = std::iter::from_fn(|| umem.take()).collect();
        assert_eq!(frames.len(), 4);
        drop(umem);
        for (number, frame) in (0_u8..).zip(&mut frames) {
            frame.chunk_mut().fill(number);
        }
        for (number, frame) in (0_u8..).zip(&frames) {
            assert_eq!(*frame.chunk(), [number; CHUNK]);
            assert_eq!(frame.len(), CHUNK - HEADROOM);
        }
    }
}
