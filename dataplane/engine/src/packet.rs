use crate::congestion::Ecn;
use crate::layers::Frame;
use crate::limits::PACKET_BYTES;
use crate::padding::RAMP;
use crate::rewrite::Running;
use crate::time::Micros;
use ion_tables::values::EXTENSION_KINDS;
use ion_tables::{ExtensionKind, ExtensionMap, RowLink};
use ion_wire::CodecKind;
use ion_wire::red::Red;
use ion_wire::rtp::RtpHeader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One packet of packet memory: the plaintext, and what was read in its header.
/// Written once, by the worker that received it, then shared and read only.
pub struct Packet {
    /// Slot in the pool of the worker that made it.
    pub(crate) slot: u32,
    /// That worker.
    pub(crate) home: u16,
    /// The encoding it belongs to.
    pub(crate) encoding: RowLink,
    /// Place in the encoding's stream: sequence number extended over wraps, changes
    /// of SSRC and padding that was left out. Never used twice in an encoding's life.
    pub(crate) position: u64,
    /// When it came.
    pub(crate) arrival: Micros,
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    /// Bytes of the packet as it came, header and padding included.
    pub(crate) len: u16,
    pub(crate) payload_start: u16,
    pub(crate) payload_len: u16,
    pub(crate) marker: bool,
    /// Bytes before the payload that belong to its RED payload (RFC 2198); 0 if it came as it is.
    pub(crate) redundant_len: u16,
    /// A keyframe begins here; always so for audio.
    pub(crate) keyframe: bool,
    pub(crate) codec: CodecKind,
    /// It is audio that says it is silence, and came in order.
    pub(crate) silent: bool,
    /// What it says of its layer; `None` is nothing.
    pub(crate) frame: Option<Frame>,
    /// Its running numbers, besides the sequence number.
    pub(crate) running: Running,
    /// A ramp of padding follows the payload.
    pub(crate) paddable: bool,
    /// Where each extension's value lies in the buffer.
    pub(crate) extensions: ExtensionSpans,
    /// The ECN bits that it came with.
    pub(crate) ecn: Ecn,
    /// Of a datagram that is handed over as it came: both ends.
    pub(crate) remote: SocketAddr,
    pub(crate) local: IpAddr,
    /// Length of such a datagram.
    pub(crate) datagram_len: u16,
    pub(crate) buffer: [u8; PACKET_BYTES],
}

/// Start and length of each extension's value, by [`ExtensionKind`]; length 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExtensionSpans([(u16, u8); EXTENSION_KINDS]);

impl ExtensionSpans {
    /// Where each extension of a packet lies; `None` if the block is malformed.
    pub(crate) fn of(header: &RtpHeader, packet: &[u8], map: &ExtensionMap) -> Option<Self> {
        let mut spans = Self::default();
        for element in header.extensions(packet) {
            let (id, value) = element.ok()?;
            if let Some(kind) = map.kind(id) {
                let start = value.as_ptr().addr() - packet.as_ptr().addr();
                spans.set(kind, start, value.len());
            }
        }
        Some(spans)
    }

    /// Where the value of an extension begins.
    pub(crate) fn start(&self, kind: ExtensionKind) -> usize {
        usize::from(self.0[kind as usize].0)
    }

    pub(crate) fn set(&mut self, kind: ExtensionKind, start: usize, len: usize) {
        if let (Ok(start), Ok(len)) = (u16::try_from(start), u8::try_from(len)) {
            self.0[kind as usize] = (start, len);
        }
    }

    pub(crate) fn get<'a>(&self, kind: ExtensionKind, packet: &'a [u8]) -> Option<&'a [u8]> {
        let (start, len) = self.0[kind as usize];
        let start = usize::from(start);
        packet
            .get(start..start + usize::from(len))
            .filter(|value| !value.is_empty())
    }
}

impl Packet {
    pub(crate) fn empty(slot: u32, home: u16) -> Self {
        Self {
            slot,
            home,
            encoding: RowLink::default(),
            position: 0,
            arrival: Micros(0),
            ssrc: 0,
            timestamp: 0,
            len: 0,
            payload_start: 0,
            payload_len: 0,
            marker: false,
            redundant_len: 0,
            keyframe: false,
            codec: CodecKind::Unknown,
            silent: false,
            frame: None,
            running: Running::default(),
            paddable: false,
            extensions: ExtensionSpans::default(),
            ecn: Ecn::NotEct,
            remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            datagram_len: 0,
            buffer: [0; PACKET_BYTES],
        }
    }

    /// The RTP payload, without padding.
    pub(crate) fn payload(&self) -> &[u8] {
        let start = usize::from(self.payload_start);
        self.buffer
            .get(start..start + usize::from(self.payload_len))
            .unwrap_or_default()
    }

    /// Opens a RED payload to its newest frame. False if it is malformed, or has none.
    pub(crate) fn open_red(&mut self) -> bool {
        let Ok(red) = Red::parse(self.payload()) else {
            return false;
        };
        let Ok(len) = u16::try_from(red.primary.len()) else {
            return false;
        };
        self.redundant_len = self.payload_len - len;
        self.payload_start += self.redundant_len;
        self.payload_len = len;
        len > 0
    }

    /// The RED payload that the packet came with, if it did.
    pub(crate) fn red_payload(&self) -> &[u8] {
        let start = usize::from(self.payload_start - self.redundant_len);
        let end = usize::from(self.payload_start) + usize::from(self.payload_len);
        let red = self.buffer.get(start..end).unwrap_or_default();
        if self.redundant_len > 0 { red } else { &[] }
    }

    /// Becomes the packet with this payload, `ticks` before another one. False if it does not fit.
    pub(crate) fn recovered_from(&mut self, other: &Self, ticks: u32, payload: &[u8]) -> bool {
        let (Some(buffer), Ok(len)) = (
            self.buffer.get_mut(..payload.len()),
            u16::try_from(payload.len()),
        ) else {
            return false;
        };
        buffer.copy_from_slice(payload);
        self.len = len;
        (self.payload_start, self.payload_len, self.redundant_len) = (0, len, 0);
        self.arrival = other.arrival;
        self.ssrc = other.ssrc;
        self.timestamp = other.timestamp.wrapping_sub(ticks);
        // What comes right before silence was silence already: that is told late.
        (self.marker, self.silent) = (false, other.silent);
        self.extensions = ExtensionSpans::default();
        true
    }

    /// Reads the RTP packet in the first `len` bytes of the buffer; extensions have these ids.
    pub(crate) fn read(
        &mut self,
        header: &RtpHeader,
        len: usize,
        map: &ExtensionMap,
    ) -> Option<()> {
        let plain = self.buffer.get(..len)?;
        let payload = header.payload_range(plain).ok()?;
        self.extensions = ExtensionSpans::of(header, plain, map)?;
        self.len = u16::try_from(len).ok()?;
        self.payload_start = u16::try_from(payload.start).ok()?;
        self.payload_len = u16::try_from(payload.len()).ok()?;
        self.redundant_len = 0;
        (self.marker, self.silent) = (header.marker, false);
        self.timestamp = header.timestamp;
        self.ssrc = header.ssrc;
        Some(())
    }

    /// The whole packet as it came.
    pub(crate) fn whole(&self) -> &[u8] {
        let whole = self.buffer.get(..usize::from(self.len));
        whole.unwrap_or_default()
    }

    /// Lays the bytes behind the payload that make it paddable, where there is room and nothing else: padding of the
    /// publisher's is protected by its repair packets.
    pub(crate) fn lay_ramp(&mut self) {
        let end = usize::from(self.payload_start) + usize::from(self.payload_len);
        let free = end == usize::from(self.len);
        if let Some(space) = self.buffer.get_mut(end..end + RAMP.len()).filter(|_| free) {
            space.copy_from_slice(&RAMP);
            self.paddable = true;
        }
    }

    /// The payload and `padding` bytes of RTP padding behind it; `None` if it cannot be padded.
    pub(crate) fn padded(&self, padding: usize) -> Option<&[u8]> {
        let start = usize::from(self.payload_start);
        let len = usize::from(self.payload_len) + padding;
        let fits = self.paddable && (1..=RAMP.len()).contains(&padding);
        self.buffer.get(start..start + len).filter(|_| fits)
    }

    /// The value of a header extension.
    pub(crate) fn extension(&self, kind: ExtensionKind) -> Option<&[u8]> {
        self.extensions.get(kind, &self.buffer)
    }

    /// Keeps a datagram as it came, to be handed over. False if it does not fit.
    pub(crate) fn set_datagram(&mut self, datagram: &[u8]) -> bool {
        let (Some(buffer), Ok(len)) = (
            self.buffer.get_mut(..datagram.len()),
            u16::try_from(datagram.len()),
        ) else {
            return false;
        };
        buffer.copy_from_slice(datagram);
        self.datagram_len = len;
        true
    }

    /// The datagram, if this is one that is handed over as it came.
    pub(crate) fn datagram(&self) -> &[u8] {
        self.buffer
            .get(..usize::from(self.datagram_len))
            .unwrap_or_default()
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("encoding", &self.encoding)
            .field("position", &self.position)
            .field("payload_len", &self.payload_len)
            .finish_non_exhaustive()
    }
}
