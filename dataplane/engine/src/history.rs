use crate::packet::Packet;
use crate::time::Micros;
use std::sync::Arc;

/// The packets of the last second of one encoding, by position in its stream.
pub(crate) struct History {
    slots: Box<[Option<Arc<Packet>>]>,
    /// No packet lies below this position ...
    low: u64,
    /// ... nor at this one or above.
    next: u64,
}

impl History {
    /// A history of at most `len` packets, a power of two.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            slots: vec![None; len].into_boxed_slice(),
            low: 0,
            next: 0,
        }
    }

    fn span(&self) -> u64 {
        self.slots.len() as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "reduced below the number of slots"
    )]
    fn slot(&self, position: u64) -> usize {
        (position % self.span()) as usize
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.low == self.next
    }

    /// No packet lies below this position ...
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    /// ... nor at this one or above.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The packet at a position, if it is still here.
    pub(crate) fn get(&self, position: u64) -> Option<&Arc<Packet>> {
        if position < self.low || position >= self.next {
            return None;
        }
        self.slots[self.slot(position)].as_ref()
    }

    /// Keeps a packet. What has to go for it, or itself if it is too old or already
    /// here, goes to `evict`.
    pub(crate) fn insert(&mut self, packet: Arc<Packet>, mut evict: impl FnMut(Arc<Packet>)) {
        let position = packet.position;
        if self.is_empty() {
            (self.low, self.next) = (position, position);
        }
        if position >= self.next {
            self.next = position + 1;
            let low = self.next.saturating_sub(self.span());
            self.drop_below(low, &mut evict);
        } else if self.next - position > self.span() {
            evict(packet);
            return;
        } else {
            self.low = self.low.min(position);
        }
        let slot = self.slot(position);
        match &self.slots[slot] {
            Some(_) => evict(packet),
            None => self.slots[slot] = Some(packet),
        }
    }

    fn drop_below(&mut self, low: u64, evict: &mut impl FnMut(Arc<Packet>)) {
        let steps = low.saturating_sub(self.low).min(self.span());
        for position in self.low..self.low + steps {
            let slot = self.slot(position);
            if let Some(packet) = self.slots[slot].take() {
                evict(packet);
            }
        }
        self.low = self.low.max(low);
    }

    /// Lets go of packets that came before `horizon`, at most `limit` positions.
    pub(crate) fn expire(
        &mut self,
        horizon: Micros,
        limit: usize,
        mut evict: impl FnMut(Arc<Packet>),
    ) {
        for _ in 0..limit {
            if self.is_empty() {
                return;
            }
            let slot = self.slot(self.low);
            match &self.slots[slot] {
                Some(packet) if packet.arrival >= horizon => return,
                _ => {
                    if let Some(packet) = self.slots[slot].take() {
                        evict(packet);
                    }
                    self.low += 1;
                }
            }
        }
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self, mut evict: impl FnMut(Arc<Packet>)) {
        self.drop_below(self.next, &mut evict);
        self.low = self.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(position: u64, at: u64) -> Arc<Packet> {
        let mut packet = Packet::empty(0, 0);
        packet.position = position;
        packet.arrival = Micros(at);
        Arc::new(packet)
    }

    #[test]
    fn keeps_the_newest_and_gives_back_each_packet_exactly_once() {
        let mut history = History::new(8);
        let mut gone = Vec::new();
        for position in [100, 101, 103, 102, 101, 110, 95, 104, 1_000_000] {
            history.insert(packet(position, position), |p| gone.push(p.position));
        }
        // 101 twice; 100..=102 pushed out by 110; 95 too old; all by the jump.
        assert_eq!(gone, [101, 100, 101, 102, 95, 103, 104, 110]);
        assert!(history.get(1_000_000).is_some());
        assert!(history.get(1_000_000 - 8).is_none());
        history.clear(|p| gone.push(p.position));
        assert_eq!(gone.len(), 9);
        assert!(history.is_empty());
    }

    #[test]
    fn expires_by_arrival_and_passes_over_holes() {
        let mut history = History::new(16);
        for position in [1, 2, 5, 6] {
            history.insert(packet(position, position * 10), |_| {});
        }
        let mut gone = Vec::new();
        history.expire(Micros(55), 100, |p| gone.push(p.position));
        assert_eq!(gone, [1, 2, 5]);
        assert!(history.get(6).is_some() && history.get(5).is_none());
    }
}
