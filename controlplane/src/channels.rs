//! Data channels of one client: SCTP over DTLS (RFC 8831) and the protocol that opens them
//! (RFC 8832).
//!
//! Sans-IO: packets and time go in, packets and [`ChannelEvent`]s come out. The client opens its
//! channels; those called `reliable` and `lossy` are taken, others are reset. Everything is bounded:
//! streams, messages, what waits to be read or sent, and how much may come in a second.

use crate::limits;
use bytes::Bytes;
use ion_api::signal::session::Share;
use sctp_proto::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppi, ReliabilityType, ServerConfig, StreamEvent, StreamId,
    Transmit, TransportConfig,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Ordered, nothing is lost.
    Reliable,
    /// Unordered, sent once.
    Lossy,
}

impl Label {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"reliable" => Some(Self::Reliable),
            b"lossy" => Some(Self::Lossy),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// A channel can be used.
    Opened(Label),
    /// A message came.
    Message(Label, Vec<u8>),
    /// A message came that may be lost, and was: there were too many in this second.
    Dropped,
    /// No channel can be used any more.
    Closed,
}

/// The channel is not there, or has too much to send already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The client has not opened it.
    #[error("there is no such channel")]
    NoChannel,
    /// The client does not read what is sent to it.
    #[error("the channel is full")]
    Full,
    /// Too much waits for all clients together, and for this one more than a little.
    #[error("too much waits for all clients together")]
    AllFull,
}

/// DATA_CHANNEL_OPEN and DATA_CHANNEL_ACK (RFC 8832, section 5).
const DCEP_OPEN: u8 = 3;
const DCEP_ACK: u8 = 2;

/// Bytes of an SCTP packet's payload: with its headers it fits into one DTLS datagram.
const PAYLOAD_BYTES: u32 = 1_120;

/// Bytes that may wait to be sent on a stream that is opened once more.
const ANSWERS_WAITING: usize = 16;

/// SCTP wants to know whom it talks to; DTLS knows better.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);

/// The data channels of a client.
pub struct Channels {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    open: BTreeMap<StreamId, Label>,
    events: VecDeque<ChannelEvent>,
    packets: VecDeque<Vec<u8>>,
    is_closed: bool,
    /// What waits to be sent on all of them.
    queued: Share,
    second: Instant,
    messages: u32,
    bytes: usize,
}

impl Channels {
    /// Waits for the client to begin. What waits to be sent counts in `queued`.
    pub fn new(now: Instant, queued: Share) -> Self {
        Self {
            endpoint: endpoint(),
            association: None,
            open: BTreeMap::new(),
            events: VecDeque::new(),
            packets: VecDeque::new(),
            is_closed: false,
            queued,
            second: now,
            messages: 0,
            bytes: 0,
        }
    }

    /// Whether a channel can be used.
    pub fn is_open(&self, label: Label) -> bool {
        !self.is_closed && self.open.values().any(|open| *open == label)
    }

    /// Takes an SCTP packet.
    pub fn handle(&mut self, now: Instant, packet: &[u8]) {
        if self.is_closed {
            return;
        }
        let data = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(now, PEER, None, None, data.clone()) {
            Some((handle, DatagramEvent::NewAssociation(association)))
                if self.association.is_none() =>
            {
                self.association = Some((handle, association));
            }
            Some((_, DatagramEvent::NewAssociation(_))) => self.begin_anew(now, data),
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((known, association)) = &mut self.association
                    && *known == handle
                {
                    association.handle_event(event);
                }
            }
            None => {}
        }
        self.advance(now);
    }

    /// One association is enough: a client that begins another has lost the one before. The endpoint
    /// would keep what it knows of each, so that it begins anew too.
    fn begin_anew(&mut self, now: Instant, packet: Bytes) {
        self.open.clear();
        self.endpoint = endpoint();
        self.association = match self.endpoint.handle(now, PEER, None, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                Some((handle, association))
            }
            _ => None,
        };
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            association.handle_timeout(now);
        }
        self.advance(now);
    }

    /// When something becomes due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let (_, association) = self.association.as_ref()?;
        association.poll_timeout().filter(|_| !self.is_closed)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`NotSent`]: nothing of it goes.
    pub fn send(&mut self, now: Instant, label: Label, message: &[u8]) -> Result<(), NotSent> {
        let id = self
            .open
            .iter()
            .find(|(_, open)| **open == label)
            .map(|(id, _)| *id);
        let association = self.association.as_mut().filter(|_| !self.is_closed);
        let (Some(id), Some((_, association))) = (id, association) else {
            return Err(NotSent::NoChannel);
        };
        let mut stream = association.stream(id).map_err(|_| NotSent::NoChannel)?;
        let waiting = stream.buffered_amount().unwrap_or(usize::MAX);
        if waiting.saturating_add(message.len()) > limits::CHANNEL_BUFFER_BYTES as usize {
            return Err(NotSent::Full);
        }
        if !self.queued.has_room(message.len()) {
            return Err(NotSent::AllFull);
        }
        let ppi = if message.is_empty() {
            Ppi::BinaryEmpty
        } else {
            Ppi::Binary
        };
        let message = if message.is_empty() {
            &[0][..]
        } else {
            message
        };
        stream
            .write_with_ppi(message, ppi)
            .map_err(|_| NotSent::Full)?;
        self.advance(now);
        Ok(())
    }

    /// The next packet for DTLS to carry.
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        self.events.pop_front()
    }

    /// Gives up: the client does not keep to the bounds.
    pub fn close(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            // It may be closed already.
            let _ = association.close();
        }
        self.advance(now);
        self.lost();
    }

    fn lost(&mut self) {
        self.open.clear();
        if !std::mem::replace(&mut self.is_closed, true) {
            self.events.push_back(ChannelEvent::Closed);
        }
        // With what waits on it.
        self.association = None;
        self.queued.set(0);
    }

    fn advance(&mut self, now: Instant) {
        while let Some(event) = self.association.as_mut().and_then(|(_, a)| a.poll()) {
            self.take_event(now, event);
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.queue(transmit);
        }
        if let Some((handle, association)) = &mut self.association {
            while let Some(event) = association.poll_endpoint_event() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    association.handle_event(event);
                }
            }
        }
        while let Some(transmit) = self
            .association
            .as_mut()
            .and_then(|(_, a)| a.poll_transmit(now))
        {
            self.queue(transmit);
        }
        let waiting = self.waiting();
        self.queued.set(waiting);
    }

    /// Bytes that wait to be sent.
    fn waiting(&mut self) -> usize {
        let Some((_, association)) = &mut self.association else {
            return 0;
        };
        let on = |id: &StreamId| association.stream(*id).ok()?.buffered_amount().ok();
        self.open.keys().filter_map(on).sum()
    }

    fn queue(&mut self, transmit: Transmit) {
        if let Payload::RawEncode(packets) = transmit.payload {
            self.packets
                .extend(packets.iter().map(|packet| packet.to_vec()));
        }
    }

    fn take_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Stream(StreamEvent::Opened { id } | StreamEvent::Readable { id }) => {
                self.read(now, id);
            }
            Event::Stream(StreamEvent::Finished { id }) => {
                self.open.remove(&id);
            }
            Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => self.lost(),
            _ => {}
        }
    }

    fn read(&mut self, now: Instant, id: StreamId) {
        while let Some((_, association)) = &mut self.association {
            let Ok(mut stream) = association.stream(id) else {
                return;
            };
            let Ok(Some(chunks)) = stream.read_sctp() else {
                return;
            };
            let mut message = vec![0; chunks.len()];
            if chunks.read(&mut message).is_err() {
                return;
            }
            let is_too_much = self.is_too_much(now, message.len());
            match chunks.ppi {
                // Each is answered, and the answer kept until it has arrived.
                Ppi::Dcep if is_too_much => self.lost(),
                Ppi::Dcep => self.control(id, &message),
                ppi => {
                    if matches!(ppi, Ppi::BinaryEmpty | Ppi::StringEmpty) {
                        message.clear();
                    }
                    self.message(id, message, is_too_much);
                }
            }
        }
    }

    /// Counts a message; whether there are more in this second than there may be.
    fn is_too_much(&mut self, now: Instant, bytes: usize) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.messages, self.bytes) = (now, 0, 0);
        }
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages > limits::CHANNEL_MESSAGES_PER_SECOND
            || self.bytes > limits::CHANNEL_BYTES_PER_SECOND
    }

    fn message(&mut self, id: StreamId, message: Vec<u8>, is_too_much: bool) {
        // Before it was opened, or after it was reset.
        let Some(label) = self.open.get(&id).copied() else {
            return;
        };
        match (is_too_much, label) {
            (false, _) => self.events.push_back(ChannelEvent::Message(label, message)),
            (true, Label::Lossy) => self.events.push_back(ChannelEvent::Dropped),
            // It cannot be lost, and it cannot be kept.
            (true, Label::Reliable) => self.lost(),
        }
    }

    /// RFC 8832.
    fn control(&mut self, id: StreamId, message: &[u8]) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        let Ok(mut stream) = association.stream(id) else {
            return;
        };
        let Some((kind, reliability, label)) = parse_open(message) else {
            return;
        };
        let Some(label) = Label::of(label) else {
            // The application's own channels have nobody to talk to here.
            let _ = stream.close();
            return;
        };
        // Whoever opens a channel again and again, and takes no answer, fills his own only so far.
        if stream.buffered_amount().unwrap_or(usize::MAX) >= ANSWERS_WAITING {
            return;
        }
        let is_unordered = kind & 0x80 != 0;
        let reliable = match kind & 0x7f {
            1 => ReliabilityType::Rexmit,
            2 => ReliabilityType::Timed,
            _ => ReliabilityType::Reliable,
        };
        let is_ready = stream
            .write_with_ppi(&[DCEP_ACK], Ppi::Dcep)
            .and_then(|_| stream.set_reliability_params(is_unordered, reliable, reliability));
        if is_ready.is_ok() {
            self.open.insert(id, label);
            self.events.push_back(ChannelEvent::Opened(label));
        }
    }
}

/// What takes the client's associations.
fn endpoint() -> Endpoint {
    let mut config = EndpointConfig::new();
    config.max_payload_size(PAYLOAD_BYTES);
    let transport = TransportConfig::default()
        .with_max_receive_buffer_size(limits::CHANNEL_BUFFER_BYTES)
        .with_max_receive_message_size(limits::DATA_CHANNEL_BYTES)
        .with_max_send_message_size(limits::DATA_CHANNEL_BYTES)
        .with_max_num_inbound_streams(limits::CHANNEL_STREAMS)
        .with_max_num_outbound_streams(limits::CHANNEL_STREAMS);
    let mut server = ServerConfig::new();
    server.transport = Arc::new(transport);
    Endpoint::new(Arc::new(config), Some(Arc::new(server)))
}

/// Channel type, reliability parameter and label of a DATA_CHANNEL_OPEN.
fn parse_open(message: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (head, rest) = message.split_first_chunk::<12>()?;
    let [DCEP_OPEN, kind, _, _, r0, r1, r2, r3, l0, l1, _, _] = *head else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let label = rest.get(..length)?;
    Some((kind, u32::from_be_bytes([r0, r1, r2, r3]), label))
}

#[cfg(test)]
mod tests;
