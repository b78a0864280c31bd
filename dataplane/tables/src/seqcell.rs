use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, relax};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A plain value that can live in a [`SeqCell`]: any bit pattern is valid, it has
/// no padding, and its size is a multiple of eight bytes. Implemented by
/// [`plain!`](crate::plain).
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// `[AtomicU64; size_of::<Self>() / 8]`.
    type Words: AsRef<[AtomicU64]>;

    /// The words of a zeroed value.
    fn zeroed_words() -> Self::Words;
}

/// Implements [`Plain`] for a type, refusing sizes that are no multiple of eight.
#[macro_export]
macro_rules! plain {
    ($($t:ty),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$t>() % 8 == 0, "a plain row is whole words");
        impl $crate::seqcell::Plain for $t {
            type Words = [$crate::seqcell::Word; size_of::<$t>() / 8];
            fn zeroed_words() -> Self::Words {
                std::array::from_fn(|_| $crate::seqcell::Word::new(0))
            }
        }
    )+};
}

/// One word of a shared row.
pub type Word = AtomicU64;

/// The writer was seen in the middle of a write for longer than a write lasts:
/// it died there, or the row is being written over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row is torn: its writer stopped in the middle of a write")]
pub struct Torn;

/// How often a reader looks again before it reports [`Torn`]. A write is some
/// dozens of stores, so that this is microseconds beyond what a live writer takes.
const READ_ATTEMPTS: u32 = if cfg!(loom) { 2 } else { 4_096 };

/// Sequence lock with one writer and any number of readers, in any process.
///
/// The value is kept as relaxed atomic words, so that a read that races with a
/// write is defined, and merely discarded. All zeros is a valid cell holding a
/// zeroed value.
#[repr(C, align(128))]
pub struct SeqCell<T: Plain> {
    /// Even: stable. Odd: being written.
    sequence: AtomicU32,
    reserved: AtomicU32,
    words: T::Words,
}

impl<T: Plain> SeqCell<T> {
    /// A cell that holds `value` (for tests; in shared memory, zeros are one).
    #[cfg(any(test, loom))]
    pub fn new(value: &T) -> Self {
        let cell = Self {
            sequence: AtomicU32::new(0),
            reserved: AtomicU32::new(0),
            words: T::zeroed_words(),
        };
        cell.write(value);
        cell
    }

    /// Replaces the value. Only the part's one writer may call this; a second
    /// writer would mix two values (but never cause undefined behaviour).
    pub fn write(&self, value: &T) {
        // A writer that died half-way left an odd number: go on from the next even one.
        let start = (self.sequence.load(Ordering::Relaxed).wrapping_add(1)) & !1;
        self.sequence
            .store(start.wrapping_add(1), Ordering::Relaxed);
        // Readers that see any of the words below also see the odd number above.
        fence(Ordering::Release);
        let bytes = value.as_bytes();
        for (word, chunk) in self.words.as_ref().iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        self.sequence
            .store(start.wrapping_add(2), Ordering::Release);
    }

    /// A consistent copy of the value.
    ///
    /// # Errors
    /// [`Torn`] when no consistent copy could be had in a bounded number of looks.
    pub fn read(&self) -> Result<T, Torn> {
        for _ in 0..READ_ATTEMPTS {
            let before = self.sequence.load(Ordering::Acquire);
            if before & 1 == 0 {
                let mut value = T::new_zeroed();
                let bytes = value.as_mut_bytes();
                for (word, chunk) in self.words.as_ref().iter().zip(bytes.as_chunks_mut::<8>().0) {
                    *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
                }
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return Ok(value);
                }
            }
            relax();
        }
        Err(Torn)
    }

    /// A copy of the value of a writer that is dead, also where it died in the middle of
    /// a write: then each word is either what was written last or what was being written.
    pub fn read_abandoned(&self) -> T {
        self.read().unwrap_or_else(|Torn| {
            let mut value = T::new_zeroed();
            let bytes = value.as_mut_bytes();
            for (word, chunk) in self.words.as_ref().iter().zip(bytes.as_chunks_mut::<8>().0) {
                *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            value
        })
    }

    /// Leaves the cell as a writer does that stops in the middle of a write. For tests.
    #[doc(hidden)]
    pub fn tear(&self) {
        self.sequence.fetch_or(1, Ordering::Relaxed);
    }

    /// Changes whenever the value is written; equal means nothing was written.
    pub fn version(&self) -> u32 {
        self.sequence.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::SubscriptionState;

    #[test]
    fn what_a_dead_writer_left_is_read_word_by_word() {
        let state = SubscriptionState {
            generation: 3,
            srtp_next: 70_000,
            ..SubscriptionState::default()
        };
        let cell = SeqCell::new(&state);
        assert_eq!(cell.read_abandoned().srtp_next, 70_000);
        cell.tear();
        assert!(cell.read().is_err());
        let left = cell.read_abandoned();
        assert_eq!((left.generation, left.srtp_next), (3, 70_000));
        // Whoever writes next makes it whole.
        cell.write(&state);
        assert!(cell.read().is_ok());
    }
}
