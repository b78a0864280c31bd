use std::net::{IpAddr, SocketAddr};

/// Both ends of a client's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Where the client is.
    pub remote: SocketAddr,
    /// The address of ours that the client sends to. Unspecified: the kernel chooses.
    pub local: IpAddr,
}

/// Equal-sized datagrams to one client that lie one after the other; the last may
/// be shorter. One UDP GSO send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub path: Path,
    /// Where it begins in the batch's memory.
    pub start: usize,
    /// Bytes in all.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment: usize,
    /// Datagrams.
    pub count: usize,
}

impl Transmit {
    /// Whether another datagram of its length, or a shorter one, may join.
    fn takes_more(&self, path: &Path) -> bool {
        self.len == self.segment * self.count
            && self.count < MAX_SEGMENTS
            && self.len + self.segment <= MAX_SEND_BYTES
            && self.path == *path
    }
}

/// Datagrams in one GSO send at most (`UDP_MAX_SEGMENTS` of Linux before 6.9).
pub const MAX_SEGMENTS: usize = 64;
/// Bytes in one GSO send at most: what fits an IP packet, headers left room for.
pub const MAX_SEND_BYTES: usize = 65_000;

/// Memory that datagrams are sealed into, and the list of sends that it makes up.
///
/// Nothing is allocated after `new`. The owner hands the sends to the kernel and
/// calls [`clear`](Self::clear).
pub struct TransmitBatch {
    memory: Box<[u8]>,
    used: usize,
    sends: Vec<Transmit>,
    max_sends: usize,
}

impl TransmitBatch {
    /// A batch of at most `bytes` bytes in at most `max_sends` sends.
    pub fn new(bytes: usize, max_sends: usize) -> Self {
        Self {
            memory: vec![0; bytes].into_boxed_slice(),
            used: 0,
            sends: Vec::with_capacity(max_sends),
            max_sends,
        }
    }

    /// Room for one datagram of at most `len` bytes, or `None` if the batch must be
    /// transmitted first.
    pub fn space(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.sends.len() == self.max_sends {
            return None;
        }
        self.memory.get_mut(self.used..self.used + len)
    }

    /// The length that the next datagram on this path should have to join the send that is
    /// open, if one is.
    pub fn open_segment(&self, path: &Path) -> Option<usize> {
        let last = self.sends.last().filter(|last| last.takes_more(path))?;
        Some(last.segment)
    }

    /// Adds the first `len` bytes of what [`space`](Self::space) gave as one datagram.
    /// It joins the send before it if that goes the same way and the sizes allow.
    pub fn commit(&mut self, path: &Path, len: usize) {
        let start = self.used;
        self.used = (start + len).min(self.memory.len());
        if let Some(last) = self.sends.last_mut()
            && len <= last.segment
            && last.takes_more(path)
        {
            last.len += len;
            last.count += 1;
            return;
        }
        self.sends.push(Transmit {
            path: *path,
            start,
            len,
            segment: len,
            count: 1,
        });
    }

    /// The sends, in order.
    pub fn sends(&self) -> &[Transmit] {
        &self.sends
    }

    /// The bytes of a send of this batch.
    pub fn bytes(&self, send: &Transmit) -> &[u8] {
        &self.memory[send.start..send.start + send.len]
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// Forgets everything; the memory is reused.
    pub fn clear(&mut self) {
        self.used = 0;
        self.sends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path {
            remote: ([127, 0, 0, 1], port).into(),
            local: [127, 0, 0, 1].into(),
        }
    }

    fn push(batch: &mut TransmitBatch, port: u16, len: usize) {
        assert!(batch.space(len).is_some());
        batch.commit(&path(port), len);
    }

    #[test]
    fn equal_sizes_to_one_client_are_one_send_and_a_shorter_one_ends_it() {
        let mut batch = TransmitBatch::new(100_000, 16);
        for len in [1_000, 1_000, 900, 900, 1_000] {
            push(&mut batch, 1, len);
        }
        push(&mut batch, 2, 1_000);
        let shapes: Vec<_> = batch
            .sends()
            .iter()
            .map(|s| (s.path.remote.port(), s.segment, s.count))
            .collect();
        assert_eq!(
            shapes,
            [(1, 1_000, 3), (1, 900, 1), (1, 1_000, 1), (2, 1_000, 1)]
        );
        let total: usize = batch.sends().iter().map(|s| batch.bytes(s).len()).sum();
        assert_eq!(total, 5_800);
    }

    #[test]
    fn a_send_keeps_to_the_kernels_limits() {
        let mut batch = TransmitBatch::new(1_000_000, 64);
        for _ in 0..130 {
            push(&mut batch, 1, 100);
        }
        assert!(batch.sends().iter().all(|s| s.count <= MAX_SEGMENTS));
        batch.clear();
        for _ in 0..100 {
            push(&mut batch, 1, 1_400);
        }
        assert!(batch.sends().iter().all(|s| s.len <= MAX_SEND_BYTES));
    }

    #[test]
    fn a_full_batch_says_so() {
        let mut batch = TransmitBatch::new(2_000, 2);
        assert!(batch.space(2_001).is_none());
        push(&mut batch, 1, 10);
        push(&mut batch, 2, 10);
        assert!(batch.space(10).is_none(), "no more sends");
    }
}
