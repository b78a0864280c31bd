//! Published sources.

use super::{RowHead, RowLink};
use crate::counters::Counter;
use crate::plain;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One published audio or video source.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TrackConfig {
    /// Generation and life.
    pub head: RowHead,
    /// The publisher's transport.
    pub transport: RowLink,
    /// Its encodings, lowest quality first.
    pub encodings: [RowLink; TrackConfig::MAX_ENCODINGS],
    /// Bit `w` is set when worker `w` owns a subscription of this track.
    pub subscriber_workers: u64,
    /// RTP clock, hertz.
    pub clock_rate: u32,
    /// The publisher's worker.
    pub worker: u16,
    /// 1 audio, 2 video.
    pub kind: u8,
    /// `ion_wire::codec::CodecKind`.
    pub codec: u8,
    /// The stage it is on or may come onto, named by its first seat; none: it is sent to who subscribes to it only.
    pub stage: RowLink,
    /// This row is a seat of the stage: no source, but a place that is given to one after the other, the loudest. Its
    /// encodings are none, and its worker decides for the whole stage. 1 is the first; 0: it is a source.
    pub seat: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl TrackConfig {
    /// Simulcast layers of one track.
    pub const MAX_ENCODINGS: usize = 4;
    /// [`TrackConfig::kind`] of audio.
    pub const AUDIO: u8 = 1;
    /// [`TrackConfig::kind`] of video.
    pub const VIDEO: u8 = 2;
}

/// Who has a seat; a source needs no state of its own so far.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TrackState {
    /// Generation of the config this belongs to.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// The source that has the seat; none so far.
    pub source: RowLink,
}

/// A track counts nothing of its own so far: its encodings do.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct TrackCounters {
    /// Zero.
    pub reserved: Counter,
}

plain!(TrackConfig, TrackState);

// The sizes are part of the contract: who changes one raises `ABI_VERSION`.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<TrackConfig>() == 80);
    assert!(size_of::<TrackState>() == 16);
};
