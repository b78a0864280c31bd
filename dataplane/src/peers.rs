use crossbeam::queue::ArrayQueue;
use ion_engine::PeerMessage;
use std::sync::Arc;

/// Messages that wait between two workers at most.
pub const RING_MESSAGES: usize = 4_096;
/// Messages that all rings of one process hold room for, at most: with many workers
/// each ring is shorter, and none is below a sixteenth.
const ALL_MESSAGES: usize = 1 << 20;

/// Messages taken from one ring in one turn, so that a busy neighbour cannot keep a
/// worker from its own sockets.
const DRAIN: usize = 512;

type Ring = Arc<ArrayQueue<PeerMessage>>;

/// What the other workers give to one worker: a ring for each of them.
#[derive(Debug, Default)]
pub struct Inboxes(Vec<Ring>);

/// One worker's rings to the others.
#[derive(Debug)]
pub struct Outboxes {
    /// By receiver; none for this worker itself.
    rings: Vec<Option<Ring>>,
    /// Bit `w`: worker `w` was given something since [`take_given`](Self::take_given).
    given: u64,
}

fn ring_len(workers: usize) -> usize {
    let pairs = (workers * workers.saturating_sub(1)).max(1);
    (ALL_MESSAGES / pairs).clamp(RING_MESSAGES / 16, RING_MESSAGES)
}

/// The rings between `workers` workers, one for each ordered pair; the ends of worker
/// `w` are element `w`.
pub fn mesh(workers: usize) -> Vec<(Inboxes, Outboxes)> {
    mesh_of(workers, ring_len(workers))
}

fn mesh_of(workers: usize, messages: usize) -> Vec<(Inboxes, Outboxes)> {
    let mut inboxes: Vec<_> = (0..workers).map(|_| Inboxes::default()).collect();
    let mut outboxes = Vec::with_capacity(workers);
    for from in 0..workers {
        let rings = inboxes.iter_mut().enumerate().map(|(to, inbox)| {
            (to != from).then(|| {
                let ring = Arc::new(ArrayQueue::new(messages));
                inbox.0.push(Arc::clone(&ring));
                ring
            })
        });
        outboxes.push(Outboxes {
            rings: rings.collect(),
            given: 0,
        });
    }
    inboxes.into_iter().zip(outboxes).collect()
}

impl Inboxes {
    /// Whether another worker has given something.
    pub fn waiting(&self) -> bool {
        self.0.iter().any(|ring| !ring.is_empty())
    }

    /// Takes what the others have given, a bounded number from each.
    pub fn drain(&self, mut f: impl FnMut(PeerMessage)) {
        for ring in &self.0 {
            for _ in 0..DRAIN {
                let Some(message) = ring.pop() else { break };
                f(message);
            }
        }
    }
}

impl Outboxes {
    /// Gives a message to another worker.
    ///
    /// # Errors
    /// The message comes back when the ring is full, or there is no such other worker.
    pub fn give(&mut self, worker: usize, message: PeerMessage) -> Result<(), PeerMessage> {
        let Some(ring) = self.rings.get(worker).and_then(Option::as_deref) else {
            return Err(message);
        };
        ring.push(message)?;
        self.given |= 1 << worker;
        Ok(())
    }

    /// The workers that were given something since the last call, as bits.
    pub fn take_given(&mut self) -> u64 {
        std::mem::take(&mut self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ion_tables::RowLink;

    fn message(row: u32) -> PeerMessage {
        PeerMessage::Keyframe {
            encoding: RowLink { row, generation: 1 },
        }
    }

    fn rows(inboxes: &Inboxes) -> Vec<u32> {
        let mut rows = Vec::new();
        inboxes.drain(|message| match message {
            PeerMessage::Keyframe { encoding } => rows.push(encoding.row),
            other => panic!("{other:?}"),
        });
        rows
    }

    #[test]
    fn each_pair_has_a_ring_of_its_own_and_a_full_one_gives_back() {
        let mut mesh = mesh_of(3, 2);
        assert!(mesh[0].1.give(1, message(1)).is_ok());
        assert!(mesh[0].1.give(1, message(2)).is_ok());
        assert!(mesh[0].1.give(1, message(3)).is_err(), "full");
        assert!(mesh[0].1.give(2, message(4)).is_ok());
        assert!(mesh[2].1.give(1, message(5)).is_ok());
        let given = [mesh[0].1.take_given(), mesh[0].1.take_given()];
        assert_eq!(given, [0b110, 0]);
        assert!(mesh[1].0.waiting() && !mesh[0].0.waiting());
        assert_eq!(rows(&mesh[1].0), [1, 2, 5]);
        assert_eq!(rows(&mesh[2].0), [4]);
        assert!(!mesh[1].0.waiting());
    }

    #[test]
    fn a_worker_cannot_give_to_itself_or_to_nobody() {
        let mut mesh = mesh(2);
        let outboxes = &mut mesh[0].1;
        assert!(outboxes.give(0, message(1)).is_err());
        assert!(outboxes.give(2, message(1)).is_err());
        assert!(outboxes.give(usize::MAX, message(1)).is_err());
        assert_eq!(outboxes.take_given(), 0);
    }

    #[test]
    fn many_workers_do_not_take_memory_without_bound() {
        assert_eq!(ring_len(1), RING_MESSAGES);
        assert_eq!(ring_len(16), RING_MESSAGES);
        assert!(64 * 63 * ring_len(64) <= ALL_MESSAGES);
    }
}
