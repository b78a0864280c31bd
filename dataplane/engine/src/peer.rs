use crate::clock::ClockMapping;
use crate::packet::Packet;
use ion_tables::RowLink;
use std::sync::Arc;

/// What one worker tells another. Moved through the ring between the two; never
/// larger than two cache lines, never owning memory of its own: packets are shared
/// with the pool they came from, which takes them back when the last other holder
/// has let go of them.
#[derive(Debug)]
pub enum PeerMessage {
    /// A packet of an encoding that the other worker has subscribers of.
    Packet(Arc<Packet>),
    /// Somebody over there needs a keyframe of this encoding.
    Keyframe {
        /// The encoding.
        encoding: RowLink,
    },
    /// How an encoding's RTP timestamps relate to our wallclock.
    SenderReport {
        /// The encoding.
        encoding: RowLink,
        /// The relation.
        mapping: ClockMapping,
    },
    /// A source of a stage over there is as loud as this.
    Loud {
        /// Its track.
        source: RowLink,
        /// Decibels above silence.
        loudness: u8,
    },
    /// A seat of a stage goes to a source.
    Seated {
        /// The seat's track.
        seat: RowLink,
        /// The source's track.
        source: RowLink,
    },
    /// A datagram that arrived here and belongs to a transport over there.
    Datagram(Arc<Packet>),
}

const _: () = assert!(size_of::<PeerMessage>() <= 64);
