//! The rows. Zero is "none" in every field, so that a zeroed row is a dead one.
//!
//! A row that refers to another carries the other's number *and* generation
//! ([`RowLink`]); a link whose generation is not the row's is stale and must not
//! be followed.

mod encoding;
mod subscription;
mod track;
mod transport;
mod worker;

pub use encoding::*;
pub use subscription::*;
pub use track::*;
pub use transport::*;
pub use worker::*;

use crate::seqcell::Plain;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number and life of a row.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RowLink {
    /// Number of the row in its table.
    pub row: u32,
    /// The row's generation when the link was made; 0 is no link.
    pub generation: u32,
}

impl RowLink {
    /// Whether this links to anything.
    pub fn is_some(self) -> bool {
        self.generation != 0
    }

    /// Both in one number; 0 is no link.
    pub fn pack(self) -> u64 {
        u64::from(self.row) | u64::from(self.generation) << 32
    }

    /// What [`pack`](Self::pack) made.
    #[expect(clippy::cast_possible_truncation, reason = "cut out of a packed word")]
    pub fn unpack(word: u64) -> Self {
        Self {
            row: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

/// First field of every config part.
#[repr(C)]
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RowHead {
    /// Grows by one with every life of the row; 0 only before the first.
    pub generation: u32,
    /// 1 while the row is in use.
    pub live: u32,
}

impl RowHead {
    /// A link to this life of the row.
    pub fn link(self, row: u32) -> RowLink {
        RowLink {
            row,
            generation: self.generation,
        }
    }
}

/// A table: the types of its parts.
pub trait Row: 'static {
    /// Written by the control plane.
    type Config: Plain + HasHead;
    /// Written by the owning worker: enough to resume, or to move the row.
    type State: Plain;
    /// Written by the owning worker, read by anyone.
    type Counters: Sync;
    /// The table's number.
    const KIND: crate::RowKind;
}

/// Access to the head that every config begins with.
pub trait HasHead {
    /// The head.
    fn head(&self) -> RowHead;
    /// Replaces the head.
    fn set_head(&mut self, head: RowHead);
}

macro_rules! has_head {
    ($($t:ty),+) => {$(
        impl HasHead for $t {
            fn head(&self) -> RowHead { self.head }
            fn set_head(&mut self, head: RowHead) { self.head = head; }
        }
    )+};
}
has_head!(
    TransportConfig,
    TrackConfig,
    EncodingConfig,
    SubscriptionConfig
);

/// Table of [`TransportConfig`] rows: ICE/DTLS associations.
#[derive(Debug, Clone, Copy)]
pub enum Transport {}
/// Table of [`TrackConfig`] rows: published sources.
#[derive(Debug, Clone, Copy)]
pub enum Track {}
/// Table of [`EncodingConfig`] rows: RTP streams of tracks.
#[derive(Debug, Clone, Copy)]
pub enum Encoding {}
/// Table of [`SubscriptionConfig`] rows: tracks sent over transports.
#[derive(Debug, Clone, Copy)]
pub enum Subscription {}

impl Row for Transport {
    type Config = TransportConfig;
    type State = TransportState;
    type Counters = TransportCounters;
    const KIND: crate::RowKind = crate::RowKind::Transport;
}
impl Row for Track {
    type Config = TrackConfig;
    type State = TrackState;
    type Counters = TrackCounters;
    const KIND: crate::RowKind = crate::RowKind::Track;
}
impl Row for Encoding {
    type Config = EncodingConfig;
    type State = EncodingState;
    type Counters = EncodingCounters;
    const KIND: crate::RowKind = crate::RowKind::Encoding;
}
impl Row for Subscription {
    type Config = SubscriptionConfig;
    type State = SubscriptionState;
    type Counters = SubscriptionCounters;
    const KIND: crate::RowKind = crate::RowKind::Subscription;
}
