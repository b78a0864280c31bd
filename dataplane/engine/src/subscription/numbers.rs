use crate::layers::Layer;
use crate::packet::Packet;
use crate::rewrite::Running;
use ion_tables::RowLink;

/// A stream of a publisher: an encoding under one SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) encoding: RowLink,
    pub(crate) ssrc: u32,
}

impl Source {
    pub(crate) fn of(packet: &Packet) -> Self {
        Self {
            encoding: packet.encoding,
            ssrc: packet.ssrc,
        }
    }
}

/// From an outgoing index on: which source it came from, and how numbers were made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    pub(crate) start: u64,
    pub(crate) source: Source,
    /// Outgoing timestamp less the source's.
    pub(crate) timestamp_offset: u32,
    /// Outgoing running numbers less the source's.
    pub(crate) running: Running,
}

/// The numbers a packet goes out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// 48-bit SRTP index; its low half is the sequence number.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) running: Running,
    pub(crate) manner: Manner,
}

/// What else a packet for a viewer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// The layer that the viewer gets.
    pub(crate) layer: Layer,
    /// The packet is the viewer's last one of the picture.
    pub(crate) marker: bool,
    /// It is of a layer that the viewer does not get, and came when its index could no longer be given to another: it
    /// goes out empty.
    pub(crate) blank: bool,
}

impl Manner {
    pub(super) fn pack(self) -> u8 {
        let layer = self.layer.within(Layer::TOP);
        layer.spatial << 3 | layer.temporal | u8::from(self.marker) << 6 | u8::from(self.blank) << 7
    }

    pub(super) fn unpack(byte: u8) -> Self {
        Self {
            layer: Layer {
                spatial: byte >> 3 & 7,
                temporal: byte & 7,
            },
            marker: byte & 0x40 != 0,
            blank: byte & 0x80 != 0,
        }
    }
}

/// What is to be done with a packet for one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send(Numbers),
    /// Send it, the first of another source.
    Switch(Numbers),
    /// It is of a layer that the viewer does not get.
    LeaveOut,
    /// It is silence, which the viewer is not to get.
    Silence,
    Withhold,
}
