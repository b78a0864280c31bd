use crate::limits::{LENT_PROBES, PACKETS_AT_START, PACKETS_STEP};
use crate::packet::Packet;
use std::collections::VecDeque;
use std::sync::Arc;

/// Packet memory of one worker.
///
/// The pool keeps a reference to every packet it ever made, so none can be lost,
/// whoever else holds it: a packet whose only reference is the pool's is free.
/// Other workers therefore give packets back by dropping them, with no message.
/// Each slot is in exactly one place: taken, free, or lent (let go of here, still
/// held by another worker).
///
/// Packets are made in steps between batches, never while one is handled, so that
/// memory follows the load up to the configured number.
pub(crate) struct Pool {
    home: u16,
    all: Vec<Arc<Packet>>,
    free: Vec<u32>,
    lent: VecDeque<u32>,
    max: usize,
}

impl Pool {
    pub(crate) fn new(home: u16, max: usize) -> Self {
        let mut pool = Self {
            home,
            all: Vec::new(),
            free: Vec::new(),
            lent: VecDeque::new(),
            max: max.min(u32::MAX as usize),
        };
        pool.grow(PACKETS_AT_START);
        pool
    }

    fn grow(&mut self, step: usize) {
        let step = step.min(self.max - self.all.len());
        self.all.reserve(step);
        let total = self.all.len() + step;
        self.free.reserve(total - self.free.len());
        self.lent.reserve(total - self.lent.len());
        for _ in 0..step {
            let slot = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
            self.all.push(Arc::new(Packet::empty(slot, self.home)));
            self.free.push(slot);
        }
    }

    /// Makes more packets if few are left. Between batches only: this allocates.
    pub(crate) fn prepare(&mut self) {
        if self.free.len() >= PACKETS_STEP / 2 {
            return;
        }
        self.reclaim(PACKETS_STEP);
        if self.free.len() < PACKETS_STEP / 2 {
            self.grow(PACKETS_STEP);
        }
    }

    /// Takes back lent packets that the others have let go of, looking at `probes`.
    fn reclaim(&mut self, probes: usize) {
        for _ in 0..probes.min(self.lent.len()) {
            let Some(slot) = self.lent.pop_front() else {
                return;
            };
            if self.is_unique(slot) {
                self.free.push(slot);
            } else {
                self.lent.push_back(slot);
            }
        }
    }

    fn is_unique(&self, slot: u32) -> bool {
        self.all
            .get(slot as usize)
            .is_some_and(|packet| Arc::strong_count(packet) == 1)
    }

    /// Takes a free packet, to be filled through [`fill`](Self::fill) and then shared
    /// or put back.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            self.reclaim(LENT_PROBES);
        }
        self.free.pop()
    }

    /// A taken packet, for writing; `None` once it is shared.
    pub(crate) fn fill(&mut self, slot: u32) -> Option<&mut Packet> {
        Arc::get_mut(self.all.get_mut(slot as usize)?)
    }

    /// A reference to a packet that has been filled.
    pub(crate) fn share(&self, slot: u32) -> Option<Arc<Packet>> {
        self.all.get(slot as usize).cloned()
    }

    /// Gives back a taken packet that was not shared, or whose references this
    /// worker has all dropped.
    pub(crate) fn put_back(&mut self, slot: u32) {
        if self.is_unique(slot) {
            self.free.push(slot);
        } else {
            self.lent.push_back(slot);
        }
    }

    /// Lets go of this worker's one reference to a packet, its own or another's.
    pub(crate) fn release(&mut self, packet: Arc<Packet>) {
        let (home, slot) = (packet.home, packet.slot);
        drop(packet);
        if home == self.home {
            self.put_back(slot);
        }
    }

    /// Packets made so far.
    pub(crate) fn total(&self) -> usize {
        self.all.len()
    }

    /// Packets that are not free, the lent ones included.
    pub(crate) fn used(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// As [`used`](Self::used), after all that others have let go of is taken back.
    pub(crate) fn settle(&mut self) -> usize {
        self.reclaim(self.lent.len());
        self.used()
    }
}
