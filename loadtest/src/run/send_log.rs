//! What a publisher has sent, for those who receive it: written by the publisher's thread, read by every other.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::media::clip::Clip;

/// In a [`Cursor`], frames count in the upper bits and packets in the lower ones.
const PACKET_BITS: u32 = 40;

/// Ticks that are remembered.
const TICKS: usize = 10;
/// Longest time for which [`SendLog::settled`] knows what was sent.
pub(crate) const MAX_AGE_S: usize = TICKS - 1;

/// How far a publisher has come: this many frames and packets, from the beginning of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) frames: u64,
    pub(crate) packets: u64,
}

impl Cursor {
    /// In one word, so that both are read together. 2^24 frames are four days of Opus, longer than a run may be.
    fn pack(self) -> u64 {
        (self.frames << PACKET_BITS) | (self.packets & ((1 << PACKET_BITS) - 1))
    }

    fn unpack(word: u64) -> Self {
        Self {
            frames: word >> PACKET_BITS,
            packets: word & ((1 << PACKET_BITS) - 1),
        }
    }
}

/// The last time that each packet of the loop was sent.
///
/// A loop takes seconds, and so does the way back to an earlier keyframe of it: a packet that
/// is still on its way when it is sent again would be taken for the new one.
pub(crate) struct SendLog {
    packets: Box<[Sent]>,
    /// Ordinal of each frame of the loop when it was last sent.
    frames: Box<[AtomicU64]>,
    cursor: AtomicU64,
    /// The cursor at the last ticks, newest first.
    ticks: [AtomicU64; TICKS],
}

struct Sent {
    ordinal: AtomicU64,
    /// Nanoseconds of the Unix epoch.
    at_ns: AtomicU64,
}

/// No packet has this ordinal.
const NEVER: u64 = u64::MAX;

/// A packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentPacket {
    /// Number among all packets of the publisher's stream, from 0.
    pub(crate) ordinal: u64,
    /// Number of its frame among all frames of the stream, from 0.
    pub(crate) frame: u64,
    /// Nanoseconds of the Unix epoch.
    pub(crate) at_ns: u64,
}

impl SendLog {
    pub(crate) fn new(clip: &Clip) -> Self {
        let sent = || Sent {
            ordinal: AtomicU64::new(NEVER),
            at_ns: AtomicU64::new(0),
        };
        Self {
            packets: clip.packets.iter().map(|_| sent()).collect(),
            frames: clip.frames.iter().map(|_| AtomicU64::new(NEVER)).collect(),
            cursor: AtomicU64::new(0),
            ticks: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// A packet leaves now.
    pub(crate) fn sending(&self, packet: usize, ordinal: u64, at_ns: u64) {
        self.packets[packet].at_ns.store(at_ns, Ordering::Relaxed);
        self.packets[packet]
            .ordinal
            .store(ordinal, Ordering::Release);
    }

    /// A frame is about to be sent.
    pub(crate) fn begin_frame(&self, frame: usize, ordinal: u64) {
        self.frames[frame].store(ordinal, Ordering::Release);
    }

    /// All of a frame was sent.
    pub(crate) fn advance(&self, to: Cursor) {
        self.cursor.store(to.pack(), Ordering::Release);
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::unpack(self.cursor.load(Ordering::Acquire))
    }

    /// To be called each second by the publisher's thread.
    pub(crate) fn tick(&self) {
        for at in (1..TICKS).rev() {
            self.ticks[at].store(
                self.ticks[at - 1].load(Ordering::Relaxed),
                Ordering::Release,
            );
        }
        self.ticks[0].store(self.cursor.load(Ordering::Relaxed), Ordering::Release);
    }

    /// What was sent more than so many seconds ago, at most [`MAX_AGE_S`]: who has not received it by now, has lost it.
    pub(crate) fn settled(&self, seconds: usize) -> Cursor {
        Cursor::unpack(self.ticks[seconds.min(MAX_AGE_S)].load(Ordering::Acquire))
    }

    /// When and as which one a packet of the loop was last sent; `None` if it never was.
    pub(crate) fn sent(&self, packet: usize, frame: usize) -> Option<SentPacket> {
        let ordinal = self.packets[packet].ordinal.load(Ordering::Acquire);
        let at_ns = self.packets[packet].at_ns.load(Ordering::Relaxed);
        let frame = self.frames[frame].load(Ordering::Acquire);
        (ordinal != NEVER && frame != NEVER).then_some(SentPacket {
            ordinal,
            frame,
            at_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_packing() {
        for cursor in [
            Cursor::default(),
            Cursor {
                frames: (1 << 24) - 1,
                packets: (1 << 40) - 1,
            },
            Cursor {
                frames: 7,
                packets: 49,
            },
        ] {
            assert_eq!(Cursor::unpack(cursor.pack()), cursor);
        }
    }

    #[test]
    fn ticks_remember_what_was_sent() {
        let clip = Clip::opus(&crate::media::ogg::tests::file(&[b"\xf8a", b"\xf8b"])).unwrap();
        let log = SendLog::new(&clip);
        for packets in 1..=20 {
            log.advance(Cursor {
                frames: packets,
                packets,
            });
            log.tick();
        }
        assert_eq!(
            (
                log.settled(0).packets,
                log.settled(1).packets,
                log.settled(99).packets
            ),
            (20, 19, 11)
        );
        assert_eq!(log.sent(0, 0), None);
    }
}
