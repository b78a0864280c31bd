use crate::rows::RowLink;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::{RowKind, RowRef};

/// What happened. Values on the wire are stable.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// First packet of an encoding; value: its SSRC.
    EncodingStarted = 1,
    /// Nothing came for an encoding in a second that had traffic before.
    EncodingStalled = 2,
    /// An encoding that stalled goes on.
    EncodingResumed = 3,
    /// A subscription forwards another encoding; value: the encoding's row.
    LayerSwitched = 4,
    /// A subscription still waits for a keyframe after a second; value: microseconds waited.
    KeyframeWait = 5,
    /// A publisher said BYE for an encoding.
    EncodingEnded = 6,
    /// A worker has no packet memory left, or a ring of its overflows; value: a drop reason.
    WorkerTrouble = 7,
    /// A viewer's network carries no more than audio: its video is paused; value: bits per second.
    VideoStarved = 8,
    /// It carries video again; value: bits per second.
    VideoFed = 9,
    /// Speech begins in an encoding (RFC 6464); value: its level, -dBov. The level goes on as a counter.
    SpeechStarted = 10,
    /// Speech has ended in an encoding.
    SpeechEnded = 11,
    /// Nobody on this worker is sent an encoding, nor would be if it came; value: its layer.
    LayerUnwatched = 12,
    /// Somebody is again, or would be; value: its layer.
    LayerWatched = 13,
    /// A seat of a stage went to another source; value: the track's row and generation, as [`RowLink::pack`] makes it.
    SeatTaken = 14,
}

impl EventKind {
    const ALL: [Self; 14] = [
        Self::EncodingStarted,
        Self::EncodingStalled,
        Self::EncodingResumed,
        Self::LayerSwitched,
        Self::KeyframeWait,
        Self::EncodingEnded,
        Self::WorkerTrouble,
        Self::VideoStarved,
        Self::VideoFed,
        Self::SpeechStarted,
        Self::SpeechEnded,
        Self::LayerUnwatched,
        Self::LayerWatched,
        Self::SeatTaken,
    ];
}

/// One line of a worker's event ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The table of the row it happened to.
    pub table: RowKind,
    /// That row.
    pub row: RowLink,
    /// By kind.
    pub value: u64,
    /// When, microseconds of the dataplane's clock.
    pub at_us: u64,
}

impl Event {
    fn pack(&self) -> [u64; 4] {
        [
            u64::from(self.kind as u8) | u64::from(self.table as u8) << 8,
            self.row.pack(),
            self.value,
            self.at_us,
        ]
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are cut out of packed words"
    )]
    fn unpack(words: [u64; 4]) -> Option<Self> {
        let kind = EventKind::ALL
            .into_iter()
            .find(|&k| k as u8 == words[0] as u8)?;
        let table = RowKind::ALL
            .into_iter()
            .find(|&k| k as u8 == (words[0] >> 8) as u8)?;
        let row = RowLink::unpack(words[1]);
        Some(Self {
            kind,
            table,
            row,
            value: words[2],
            at_us: words[3],
        })
    }

    /// The row, as a reference into its table.
    pub fn row_ref(&self) -> RowRef {
        RowRef {
            kind: self.table,
            row: self.row.row,
        }
    }
}

/// Slots of a worker's [`EventRing`].
pub const EVENT_SLOTS: usize = if cfg!(loom) { 2 } else { 1_024 };

#[repr(C)]
struct EventSlot {
    /// Twice the position, plus one while being written, plus two when whole.
    stamp: AtomicU64,
    words: [AtomicU64; 4],
}

/// Ring of events from one worker that overwrites the oldest: the reader may be
/// away for as long as it likes. All zeros is an empty ring.
#[repr(C, align(128))]
pub struct EventRing {
    /// Events ever written.
    tail: AtomicU64,
    reserved: [AtomicU64; 15],
    slots: [EventSlot; EVENT_SLOTS],
}

impl EventRing {
    /// An empty ring (for tests; in shared memory, zeros are one).
    #[cfg(any(test, loom))]
    #[allow(clippy::new_without_default, reason = "for tests only")]
    pub fn new() -> Self {
        Self {
            tail: AtomicU64::new(0),
            reserved: std::array::from_fn(|_| AtomicU64::new(0)),
            slots: std::array::from_fn(|_| EventSlot {
                stamp: AtomicU64::new(0),
                words: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }

    fn slot(&self, position: u64) -> &EventSlot {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "reduced below the slot count"
        )]
        let index = (position % EVENT_SLOTS as u64) as usize;
        &self.slots[index]
    }

    /// Writes an event over the oldest. For the worker.
    pub fn push(&self, event: &Event) {
        let tail = self.tail.load(Ordering::Relaxed);
        let slot = self.slot(tail);
        let stamp = tail.wrapping_mul(2);
        slot.stamp.store(stamp.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in slot.words.iter().zip(event.pack()) {
            word.store(value, Ordering::Relaxed);
        }
        slot.stamp.store(stamp.wrapping_add(2), Ordering::Release);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
    }
}

/// A reader's place in an [`EventRing`].
#[derive(Debug, Default, Clone, Copy)]
pub struct EventReader {
    head: u64,
    lost: u64,
}

impl EventReader {
    /// A reader that begins with the events still to come.
    pub fn at_end(ring: &EventRing) -> Self {
        Self {
            head: ring.tail.load(Ordering::Acquire),
            lost: 0,
        }
    }

    /// The next event, if any; events that were overwritten are counted in [`lost`](Self::lost).
    pub fn take(&mut self, ring: &EventRing) -> Option<Event> {
        loop {
            let tail = ring.tail.load(Ordering::Acquire);
            let behind = tail.wrapping_sub(self.head);
            if behind == 0 {
                return None;
            }
            if behind > EVENT_SLOTS as u64 {
                self.lost = self.lost.wrapping_add(behind - EVENT_SLOTS as u64);
                self.head = tail.wrapping_sub(EVENT_SLOTS as u64);
            }
            let slot = ring.slot(self.head);
            let whole = self.head.wrapping_mul(2).wrapping_add(2);
            self.head = self.head.wrapping_add(1);
            let before = slot.stamp.load(Ordering::Acquire);
            let mut words = [0; 4];
            for (value, word) in words.iter_mut().zip(&slot.words) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before == whole
                && slot.stamp.load(Ordering::Relaxed) == whole
                && let Some(event) = Event::unpack(words)
            {
                return Some(event);
            }
            // Overwritten while being read, or nonsense.
            self.lost = self.lost.wrapping_add(1);
        }
    }

    /// Events that were overwritten before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
