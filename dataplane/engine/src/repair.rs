use crate::limits::{FEC_IDLE_US, FEC_PENDING, FEC_RECENT};
use crate::packet::{ExtensionSpans, Packet};
use crate::time::Micros;
use ion_tables::ExtensionKind;
use ion_wire::WireError;
use ion_wire::flexfec::{FlexFec, Parity};
use std::sync::Arc;

/// Header extensions that are written after repair packets are made: they are protected as if they were zero from this
/// byte on. (A sender stamps them when a packet leaves; of the video timing, what the network fills in.)
const MUTABLE: [(ExtensionKind, usize); 4] = [
    (ExtensionKind::TransportCc, 0),
    (ExtensionKind::AbsSendTime, 0),
    (ExtensionKind::TransmissionOffset, 0),
    (ExtensionKind::VideoTiming, 7),
];

/// A repair packet of which more than one packet is missing.
struct Pending {
    packet: Arc<Packet>,
    protects: Protects,
    missing: usize,
}

/// Indices of the packets that a repair packet protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protects {
    pub(crate) base: u64,
    pub(crate) mask: u128,
}

impl Protects {
    pub(crate) fn iter(self) -> impl Iterator<Item = u64> {
        let set = move |bit: &u32| (self.mask >> bit) & 1 != 0;
        (0..u128::BITS)
            .filter(set)
            .map(move |bit| self.base + u64::from(bit))
    }

    fn has(self, index: u64) -> bool {
        let bit = index
            .checked_sub(self.base)
            .and_then(|bit| u32::try_from(bit).ok());
        bit.is_some_and(|bit| bit < u128::BITS && (self.mask >> bit) & 1 != 0)
    }
}

/// A packet and its index.
type Recent = (u64, Arc<Packet>);

/// What a publisher's repair packets (FlexFEC-03) are used with: its latest packets, as they were sent, and repair packets
/// that wait for more of them.
///
/// Nothing is kept before the first repair packet, nor long after the last. Retransmissions are not kept: their headers
/// are others. All that is kept has been published; like another worker, this holds references that it just drops.
pub(crate) struct Repair {
    recent: Box<[Option<Recent>]>,
    pending: Vec<Pending>,
    last_fec: Option<Micros>,
}

impl Repair {
    pub(crate) fn new() -> Self {
        Self {
            recent: vec![None; FEC_RECENT].into_boxed_slice(),
            pending: Vec::with_capacity(FEC_PENDING),
            last_fec: None,
        }
    }

    /// Whether repair packets come, and anything is kept for them.
    pub(crate) fn is_in_use(&self) -> bool {
        self.last_fec.is_some()
    }

    /// Lets go of everything. Returns how many repair packets were of no use.
    pub(crate) fn clear(&mut self) -> usize {
        if self.last_fec.take().is_some() {
            self.recent.fill(None);
        }
        self.pending.drain(..).count()
    }

    /// Lets go of everything if no repair packet came for long. Returns how many were of no use.
    pub(crate) fn tick(&mut self, now: Micros) -> usize {
        let idle = self.last_fec.is_some_and(|at| now.since(at) > FEC_IDLE_US);
        if idle { self.clear() } else { 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "reduced below the length")]
    fn slot(index: u64) -> usize {
        (index % FEC_RECENT as u64) as usize
    }

    fn get(&self, index: u64) -> Option<&Arc<Packet>> {
        let (at, packet) = self.recent[Self::slot(index)].as_ref()?;
        (*at == index).then_some(packet)
    }

    /// Keeps a packet as it was sent, if repair packets come. Returns whether some wait for more.
    pub(crate) fn keep(&mut self, index: u64, packet: &Arc<Packet>) -> bool {
        if !self.is_in_use() {
            return false;
        }
        let slot = &mut self.recent[Self::slot(index)];
        if slot.as_ref().is_none_or(|(at, _)| *at < index) {
            *slot = Some((index, Arc::clone(packet)));
            for pending in &mut self.pending {
                let lacked = pending.protects.has(index);
                pending.missing = pending.missing.saturating_sub(usize::from(lacked));
            }
        }
        !self.pending.is_empty()
    }

    /// Takes a repair packet in. Returns how many that came before it were of no use.
    pub(crate) fn wait(&mut self, now: Micros, packet: Arc<Packet>, protects: Protects) -> usize {
        self.last_fec = Some(now);
        let full = self.pending.len() == FEC_PENDING;
        if full {
            self.pending.remove(0);
        }
        let missing = protects
            .iter()
            .filter(|&index| self.get(index).is_none())
            .count();
        self.pending.push(Pending {
            packet,
            protects,
            missing,
        });
        usize::from(full)
    }

    /// A repair packet of which no more than one packet is missing, and the index of that.
    pub(crate) fn ready(&mut self) -> Option<(Arc<Packet>, Protects, Option<u64>)> {
        let at = self.pending.iter().position(|fec| fec.missing <= 1)?;
        let Pending {
            packet, protects, ..
        } = self.pending.remove(at);
        let missing = protects.iter().find(|&index| self.get(index).is_none());
        Some((packet, protects, missing))
    }

    /// Makes the one packet that is missing. Returns its length in `out`.
    pub(crate) fn restore(
        &self,
        fec: &Packet,
        protects: Protects,
        missing: u64,
        out: &mut [u8],
    ) -> Result<usize, WireError> {
        let fec = FlexFec::parse(fec.payload())?;
        let mut parity = fec.parity(out)?;
        for index in protects.iter().filter(|&index| index != missing) {
            // One may have left meanwhile.
            let packet = self.get(index).ok_or(WireError::BadValue)?;
            parity.add(packet.whole(), &[])?;
            leave_out_mutable(&mut parity, &packet.extensions, packet.whole());
        }
        parity.restore(fec.ssrc, crate::seal::low16(missing))
    }
}

/// Takes what is written late out of a packet that was added, whose header this is.
pub(crate) fn leave_out_mutable<M: AsRef<[u8]> + AsMut<[u8]>>(
    parity: &mut Parity<M>,
    extensions: &ExtensionSpans,
    header: &[u8],
) {
    for (kind, from) in MUTABLE {
        let value = extensions.get(kind, header);
        if let Some(value) = value.and_then(|value| value.get(from..)) {
            parity.leave_out(extensions.start(kind) + from, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_begins_with_the_first_repair_packet() {
        let packet = Arc::new(Packet::empty(0, 0));
        let mut repair = Repair::new();
        assert!(!repair.keep(5, &packet) && repair.get(5).is_none());
        let protects = Protects {
            base: 6,
            mask: 0b111,
        };
        assert_eq!(repair.wait(Micros(1), packet.clone(), protects), 0);
        assert!(repair.ready().is_none(), "three are missing");
        assert!(repair.keep(6, &packet) && repair.ready().is_none());
        repair.keep(6, &packet);
        assert!(repair.ready().is_none(), "the same again is no other");
        repair.keep(8, &packet);
        let (_, which, missing) = repair.ready().unwrap();
        assert_eq!((which, missing), (protects, Some(7)));
        let many = 2 * FEC_PENDING;
        let unused: usize = (0..many)
            .map(|_| repair.wait(Micros(2), packet.clone(), protects_far()))
            .sum();
        assert_eq!(unused, many - FEC_PENDING);
        assert_eq!(repair.tick(Micros(2 + FEC_IDLE_US)), 0);
        assert_eq!(repair.tick(Micros(3 + FEC_IDLE_US)), FEC_PENDING);
        assert_eq!(Arc::strong_count(&packet), 1, "nothing is held");
    }

    fn protects_far() -> Protects {
        Protects {
            base: 1_000,
            mask: 3,
        }
    }
}
