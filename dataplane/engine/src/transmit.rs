use crate::congestion::Ecn;
use std::net::{IpAddr, SocketAddr};
use std::ops::{DerefMut, Range};

/// Both ends of a client's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Where the client is.
    pub remote: SocketAddr,
    /// The address of ours that the client sends to. Unspecified: the kernel chooses.
    pub local: IpAddr,
}

/// Equal-sized datagrams to one client that follow one another; the last may
/// be shorter. One UDP GSO send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub path: Path,
    /// Where it begins in the batch's memory: a byte, or a frame.
    start: usize,
    /// Bytes in all.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment: usize,
    /// Datagrams.
    pub count: usize,
    /// ECN bits that all of them go out with.
    pub ecn: Ecn,
}

impl Transmit {
    /// Whether another datagram of its length, or a shorter one, may join.
    fn takes_more(&self, path: &Path, ecn: Ecn) -> bool {
        self.ecn == ecn
            && self.len == self.segment * self.count
            && self.count < MAX_SEGMENTS
            && self.len + self.segment <= MAX_SEND_BYTES
            && self.path == *path
    }

    /// The places of its frames in a framed batch.
    pub fn frames(&self) -> Range<usize> {
        self.start..self.start + self.count
    }
}

/// Datagrams in one GSO send at most (`UDP_MAX_SEGMENTS` of Linux before 6.9).
pub const MAX_SEGMENTS: usize = 64;
/// Bytes in one GSO send at most: what fits an IP packet, headers left room for.
pub const MAX_SEND_BYTES: usize = 65_000;

/// A frame of a framed batch, and the datagram in it.
#[derive(Debug)]
pub struct FilledFrame<F> {
    /// The frame. Whoever sends it may put another of the same size in its place.
    pub frame: F,
    /// Bytes of the datagram, at the frame's beginning.
    pub len: usize,
}

impl<F: DerefMut<Target = [u8]>> FilledFrame<F> {
    /// The datagram.
    pub fn datagram(&self) -> &[u8] {
        self.frame.get(..self.len).unwrap_or_default()
    }
}

enum Memory<F> {
    /// Datagrams lie one after the other.
    Contiguous(Box<[u8]>),
    /// Each datagram has a frame of its own.
    Framed(Box<[FilledFrame<F>]>),
}

/// The bytes of one send.
#[derive(Debug)]
pub enum Payload<'a, F> {
    /// All in one piece.
    Contiguous(&'a [u8]),
    /// A datagram in each frame.
    Framed(&'a [FilledFrame<F>]),
}

/// Memory that datagrams are sealed into, and the list of sends that it makes up.
///
/// The memory is one piece, from which the kernel segments ([`new`](Self::new)), or frames
/// that its owner can hand to a device one by one ([`framed`](Self::framed)). Who fills it
/// cannot tell. A framed batch has the same number of frames always: one that is handed
/// away is replaced by another.
///
/// Nothing is allocated after it is made. The owner hands the sends to the kernel and
/// calls [`clear`](Self::clear).
pub struct TransmitBatch<F = Box<[u8]>> {
    memory: Memory<F>,
    /// Bytes, or frames.
    used: usize,
    sends: Vec<Transmit>,
    max_sends: usize,
}

impl<F> TransmitBatch<F> {
    /// A batch of at most `bytes` bytes in at most `max_sends` sends.
    pub fn new(bytes: usize, max_sends: usize) -> Self {
        Self {
            memory: Memory::Contiguous(vec![0; bytes].into_boxed_slice()),
            used: 0,
            sends: Vec::with_capacity(max_sends),
            max_sends,
        }
    }

    /// A batch of as many datagrams as there are frames.
    pub fn framed(frames: impl IntoIterator<Item = F>) -> Self {
        let filled = |frame| FilledFrame { frame, len: 0 };
        let frames: Box<[_]> = frames.into_iter().map(filled).collect();
        Self {
            used: 0,
            sends: Vec::with_capacity(frames.len()),
            max_sends: frames.len(),
            memory: Memory::Framed(frames),
        }
    }

    /// The length that the next datagram on this path, with these ECN bits, should have to
    /// join the send that is open, if one is.
    pub fn open_segment(&self, path: &Path, ecn: Ecn) -> Option<usize> {
        let last = self.sends.last();
        let last = last.filter(|last| last.takes_more(path, ecn))?;
        Some(last.segment)
    }

    /// The sends, in order.
    pub fn sends(&self) -> &[Transmit] {
        &self.sends
    }

    /// The bytes of a send of this batch.
    pub fn payload(&self, send: &Transmit) -> Payload<'_, F> {
        match &self.memory {
            Memory::Contiguous(bytes) => {
                Payload::Contiguous(&bytes[send.start..send.start + send.len])
            }
            Memory::Framed(frames) => Payload::Framed(&frames[send.frames()]),
        }
    }

    /// The sends and all frames, to exchange those of a send
    /// ([`Transmit::frames`]) for others. There are none in a contiguous batch.
    pub fn sends_and_frames(&mut self) -> (&[Transmit], &mut [FilledFrame<F>]) {
        match &mut self.memory {
            Memory::Contiguous(_) => (&self.sends, &mut []),
            Memory::Framed(frames) => (&self.sends, frames),
        }
    }

    /// Whether each datagram has a frame of its own.
    pub fn is_framed(&self) -> bool {
        matches!(self.memory, Memory::Framed(_))
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

impl<F: DerefMut<Target = [u8]>> TransmitBatch<F> {
    /// Room for one datagram of at most `len` bytes, or `None` if the batch must be
    /// transmitted first.
    pub fn space(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.sends.len() == self.max_sends {
            return None;
        }
        match &mut self.memory {
            Memory::Contiguous(bytes) => bytes.get_mut(self.used..self.used + len),
            Memory::Framed(frames) => frames.get_mut(self.used)?.frame.get_mut(..len),
        }
    }

    /// Adds the first `len` bytes of what [`space`](Self::space) gave as one datagram.
    /// It joins the send before it if that goes the same way and the sizes allow.
    pub fn commit(&mut self, path: &Path, len: usize) {
        self.commit_ecn(path, len, Ecn::NotEct);
    }

    /// The same, with these ECN bits.
    pub fn commit_ecn(&mut self, path: &Path, len: usize, ecn: Ecn) {
        let start = self.used;
        match &mut self.memory {
            Memory::Contiguous(bytes) => self.used = (start + len).min(bytes.len()),
            Memory::Framed(frames) => {
                // Without a frame there was no space to commit.
                let Some(filled) = frames.get_mut(start) else {
                    return;
                };
                filled.len = len;
                self.used += 1;
            }
        }
        if let Some(last) = self.sends.last_mut()
            && len <= last.segment
            && last.takes_more(path, ecn)
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
            ecn,
        });
    }

    /// The datagrams of a send of this batch, in order.
    pub fn datagrams(&self, send: &Transmit) -> impl Iterator<Item = &[u8]> {
        let (contiguous, framed) = match self.payload(send) {
            Payload::Contiguous(bytes) => (bytes, &[][..]),
            Payload::Framed(frames) => (&[][..], frames),
        };
        let frames = framed.iter().map(FilledFrame::datagram);
        contiguous.chunks(send.segment.max(1)).chain(frames)
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
        let mark = u8::try_from(batch.used % 251).unwrap();
        batch.space(len).unwrap().fill(mark);
        batch.commit(&path(port), len);
    }

    fn both(bytes: usize, frames: usize) -> [TransmitBatch; 2] {
        let frame = || vec![0; 1_500].into_boxed_slice();
        let framed = TransmitBatch::framed((0..frames).map(|_| frame()));
        [TransmitBatch::new(bytes, frames), framed]
    }

    #[test]
    fn equal_sizes_to_one_client_are_one_send_and_a_shorter_one_ends_it() {
        for mut batch in both(100_000, 16) {
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
            let datagrams = batch.sends().iter().flat_map(|s| batch.datagrams(s));
            let (lens, mut marks): (Vec<_>, Vec<_>) = datagrams.map(|d| (d.len(), d[0])).unzip();
            assert_eq!(lens, [1_000, 1_000, 900, 900, 1_000, 1_000]);
            marks.dedup();
            assert_eq!(marks.len(), 6, "each has its own bytes");
        }
    }

    #[test]
    fn a_send_keeps_to_the_kernels_limits() {
        for mut batch in both(1_000_000, 256) {
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
    }

    #[test]
    fn a_full_batch_says_so() {
        for mut batch in both(2_000, 2) {
            assert!(batch.space(2_001).is_none());
            push(&mut batch, 1, 10);
            push(&mut batch, 2, 10);
            assert!(batch.space(10).is_none(), "no more sends");
            batch.clear();
            assert!(batch.space(10).is_some());
        }
    }

    #[test]
    fn frames_may_be_exchanged_and_their_number_stays() {
        let [_, mut batch] = both(0, 2);
        push(&mut batch, 1, 10);
        push(&mut batch, 1, 10);
        assert!(batch.space(10).is_none(), "no more frames");
        let (sends, frames) = batch.sends_and_frames();
        assert_eq!(sends[0].frames(), 0..2);
        let other = vec![7; 1_500].into_boxed_slice();
        let sent = std::mem::replace(&mut frames[0].frame, other);
        assert_eq!(sent[..10], [0; 10]);
        batch.clear();
        assert_eq!(batch.space(10).unwrap(), [7; 10]);
    }
}
