use super::super::header::IpFields;
use super::super::ring::tests::sides;
use super::super::ring::{Consumer, Producer};
use super::super::socket::Outgoing;
use super::super::umem::CHUNK;
use super::*;
use std::time::Instant;

/// A socket that sends to nobody, the kernel's side of it, and frames.
struct Rig {
    xsk: Xsk,
    umem: Umem,
    tx: Consumer<Descriptor>,
    completion: Producer<u64>,
    template: Template,
    batch: Vec<FilledFrame<Frame>>,
}

impl Rig {
    fn new(ring: u32, batch: u32) -> Self {
        let (our_tx, tx) = sides(ring, 0);
        let (completion, our_completion) = sides(ring, 0);
        let out = Outgoing {
            tx: our_tx,
            completion: our_completion,
        };
        let xsk = Xsk::of_rings(sides(2, 0).1, sides(2, 0).0, out);
        let mut umem = Umem::new(ring + batch).unwrap();
        let frame = |_| FilledFrame {
            frame: umem.take().unwrap(),
            len: 0,
        };
        let batch = (0..batch).map(frame).collect();
        let link = LinkHeader::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1], None, true);
        let (local, remote) = (([10, 0, 0, 1], 7_882).into(), ([10, 0, 0, 2], 5_000).into());
        let fields = IpFields { hops: 64, class: 0 };
        Self {
            xsk,
            umem,
            tx,
            completion,
            template: Template::new(&link, local, remote, fields, 1_500).unwrap(),
            batch,
        }
    }

    /// Sends the batch with datagrams of `len` bytes. Returns how many found room.
    fn send(&mut self, len: usize) -> usize {
        let mut report = SendReport::default();
        self.xsk.reap(&mut self.umem);
        let mut way_out = WayOut {
            limit: self.umem.total() - self.batch.len(),
            xsk: &mut self.xsk,
            umem: &mut self.umem,
        };
        let mut pushed = 0;
        for filled in &mut self.batch {
            filled.len = len;
            pushed += usize::from(way_out.push(&self.template, filled, Ecn::NotEct));
        }
        self.xsk.submit(&mut report);
        pushed
    }

    /// The kernel sends so many.
    fn complete(&mut self, count: usize) -> usize {
        let mut completed = 0;
        while completed < count
            && let Some(descriptor) = self.tx.pop()
        {
            self.completion.push(descriptor.addr).unwrap();
            completed += 1;
        }
        self.tx.release();
        self.completion.publish();
        completed
    }
}

#[test]
fn what_the_rings_hold_is_all_that_is_lent() {
    let mut rig = Rig::new(16, 10);
    assert_eq!(rig.send(100), 10);
    assert_eq!(rig.send(100), 6, "the ring is full");
    assert_eq!((rig.umem.sending(), rig.umem.free()), (16, 0));
    assert_eq!(rig.complete(4), 4);
    assert_eq!(rig.send(100), 4, "as many as came back");
    assert_eq!(rig.complete(100), 16);
    rig.xsk.reap(&mut rig.umem);
    assert_eq!((rig.umem.sending(), rig.umem.free()), (0, 16));
    assert_eq!(rig.umem.bogus(), 0);
}

#[test]
fn completions_of_frames_that_were_not_sent_are_not_believed() {
    let mut rig = Rig::new(16, 4);
    assert_eq!(rig.send(100), 4);
    let unsent = rig.batch[0].frame.addr();
    for addr in [unsent, 20 * CHUNK as u64, u64::MAX] {
        rig.completion.push(addr).unwrap();
    }
    assert_eq!(rig.complete(4), 4);
    rig.xsk.reap(&mut rig.umem);
    assert_eq!((rig.umem.free(), rig.umem.bogus()), (16, 3));
}

/// `cargo test --release -p ion-io --lib -- --ignored --nocapture user_space`
///
/// From the sealed payload to the ring and back to the free frames; the kernel is played by
/// two ring operations a packet. The least of many rounds: other programs run beside.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_packet_in_user_space() {
    let mut rig = Rig::new(2_048, 256);
    for len in [120, 1_200] {
        let mut least = f64::INFINITY;
        for _ in 0..2_000 {
            let start = Instant::now();
            let sent = rig.send(len);
            rig.complete(sent);
            let each = start.elapsed().as_secs_f64() / 256.0;
            assert_eq!(sent, 256);
            least = least.min(each * 1e9);
        }
        eprintln!("{len} B: {least:.1} ns");
    }
}
