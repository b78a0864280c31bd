use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// The four tables.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// ICE/DTLS associations.
    Transport = 1,
    /// Published sources.
    Track = 2,
    /// RTP streams of tracks.
    Encoding = 3,
    /// Tracks sent over transports.
    Subscription = 4,
}

impl RowKind {
    /// Every kind, in the order in which a scan must go: what is referred to comes first.
    pub const ALL: [Self; 4] = [
        Self::Transport,
        Self::Track,
        Self::Encoding,
        Self::Subscription,
    ];
}

/// A row of a table, as announced. What it holds now is read from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowRef {
    /// The table.
    pub kind: RowKind,
    /// The row's number, below 2^28.
    pub row: u32,
}

impl RowRef {
    const ROW_BITS: u32 = 28;
    /// Rows of one table that can be announced.
    pub const MAX_ROWS: u32 = 1 << Self::ROW_BITS;

    fn pack(self) -> u32 {
        (u32::from(self.kind as u8) << Self::ROW_BITS) | (self.row & (Self::MAX_ROWS - 1))
    }

    fn unpack(word: u32) -> Option<Self> {
        let kind = RowKind::ALL
            .into_iter()
            .find(|&kind| u32::from(kind as u8) == word >> Self::ROW_BITS)?;
        Some(Self {
            kind,
            row: word & (Self::MAX_ROWS - 1),
        })
    }
}

/// Slots of a worker's [`CommandRing`].
pub const COMMAND_SLOTS: usize = if cfg!(loom) { 2 } else { 4_096 };

/// What a worker finds in its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// This row was written.
    Changed(RowRef),
    /// Announcements may be missing: look at every row.
    Rescan,
}

/// Single-producer, single-consumer ring of row numbers, in shared memory.
///
/// The producer (control plane) may die at any instruction and be replaced: the
/// ring holds no half-states, and the new one asks for a rescan. All zeros is an
/// empty ring.
#[repr(C, align(128))]
pub struct CommandRing {
    /// Announcements ever pushed. Written by the control plane.
    tail: AtomicU64,
    /// Counts the rescans asked for. Written by the control plane.
    rescans_wanted: AtomicU32,
    pad_producer: Pad,
    /// Announcements ever taken. Written by the worker.
    head: AtomicU64,
    /// Value of `rescans_wanted` that the worker has acted upon.
    rescans_done: AtomicU32,
    /// 1 while the worker sleeps or is about to: its doorbell must be rung.
    sleeping: AtomicU32,
    pad_consumer: Pad,
    slots: [AtomicU32; COMMAND_SLOTS],
}

/// Keeps the two sides' words on different 128-byte blocks.
#[repr(C, align(128))]
struct Pad([u8; 0]);

impl CommandRing {
    /// An empty ring (for tests; in shared memory, zeros are one).
    #[cfg(any(test, loom))]
    #[allow(clippy::new_without_default, reason = "for tests only")]
    pub fn new() -> Self {
        Self {
            tail: AtomicU64::new(0),
            rescans_wanted: AtomicU32::new(0),
            pad_producer: Pad([]),
            head: AtomicU64::new(0),
            rescans_done: AtomicU32::new(0),
            sleeping: AtomicU32::new(0),
            pad_consumer: Pad([]),
            slots: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    fn slot(&self, position: u64) -> &AtomicU32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "reduced below the slot count"
        )]
        let index = (position % COMMAND_SLOTS as u64) as usize;
        &self.slots[index]
    }

    /// Announces a row; a full ring becomes a rescan. For the control plane.
    /// Returns whether the worker's doorbell must be rung.
    pub fn announce(&self, row: RowRef) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        // The head is untrusted: whatever it says, the ring is full or it is not.
        let head = self.head.load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= COMMAND_SLOTS as u64 {
            return self.ask_rescan();
        }
        self.slot(tail).store(row.pack(), Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        self.must_ring()
    }

    /// Makes the worker look at every row. For the control plane.
    /// Returns whether the worker's doorbell must be rung.
    pub fn ask_rescan(&self) -> bool {
        let wanted = self.rescans_wanted.load(Ordering::Relaxed);
        self.rescans_wanted
            .store(wanted.wrapping_add(1), Ordering::Release);
        self.must_ring()
    }

    fn must_ring(&self) -> bool {
        // Pairs with the fence in `sleep`: either we see the flag, or the worker sees the push.
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) != 0
    }

    /// The next announcement, if any. For the worker.
    pub fn take(&self) -> Option<Command> {
        let wanted = self.rescans_wanted.load(Ordering::Acquire);
        if wanted != self.rescans_done.load(Ordering::Relaxed) {
            // Whatever was announced before the rescan is covered by it.
            self.head
                .store(self.tail.load(Ordering::Acquire), Ordering::Release);
            self.rescans_done.store(wanted, Ordering::Relaxed);
            return Some(Command::Rescan);
        }
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Acquire);
        if head == tail {
            return None;
        }
        if tail.wrapping_sub(head) > COMMAND_SLOTS as u64 {
            // Never by a sound producer: do not walk what cannot be there.
            self.head.store(tail, Ordering::Release);
            return Some(Command::Rescan);
        }
        let word = self.slot(head).load(Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Release);
        Some(RowRef::unpack(word).map_or(Command::Rescan, Command::Changed))
    }

    /// Says that the worker is about to sleep. Returns false if there is work:
    /// then it must not. For the worker.
    pub fn sleep(&self) -> bool {
        self.sleeping.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let idle = self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Acquire)
            && self.rescans_wanted.load(Ordering::Acquire)
                == self.rescans_done.load(Ordering::Relaxed);
        if !idle {
            self.wake();
        }
        idle
    }

    /// Says that the worker is up. For the worker.
    pub fn wake(&self) {
        self.sleeping.store(0, Ordering::Relaxed);
    }

    /// Whether the worker sleeps, or is about to: after giving it work by another
    /// way (and a `SeqCst` fence), its doorbell must be rung.
    pub fn is_sleeping(&self) -> bool {
        self.must_ring()
    }
}
