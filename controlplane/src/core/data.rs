//! Data between participants: over their channels, or over their sockets where they have none.

use super::Core;
use super::fanout::Sender;
use crate::channels::{ChannelEvent, Label, NotSent};
use crate::limits;
use crate::metrics::DataDrop;
use crate::rooms::Key;
use crate::session::Output;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ion_api::names::RoomName;
use ion_api::signal::ParticipantId;
use ion_api::signal::client::Data;
use ion_api::signal::server::{DataReceived, Event, Problem, Reason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Instant;

/// The header of a message on a data channel; before it its length in two bytes, after it the
/// payload. `docs/signalling.md`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Header {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<ParticipantId>,
}

/// Header and payload of a message.
fn parse(message: &[u8]) -> Option<(Header, &[u8])> {
    let (length, rest) = message.split_first_chunk::<2>()?;
    let (header, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((serde_json::from_slice(header).ok()?, payload))
}

fn framed(header: &Header, payload: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).unwrap_or_default();
    let length = u16::try_from(header.len()).unwrap_or(0);
    [&length.to_be_bytes()[..], &header, payload].concat()
}

/// Data on its way.
pub(super) struct Message<'a> {
    /// Who sends it; `None` is the application's server.
    pub(super) from: Option<Key>,
    pub(super) topic: String,
    pub(super) payload: &'a [u8],
    pub(super) label: Label,
}

/// Data from the application's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// For the application, to tell its messages apart.
    pub topic: String,
    /// The bytes.
    pub payload: Vec<u8>,
    /// Over which channel, where a receiver has it.
    pub label: Label,
}

impl Core {
    /// Takes what happened on a participant's channels.
    pub(super) fn channel_event(&mut self, now: Instant, key: Key, event: ChannelEvent) {
        match event {
            ChannelEvent::Opened(_) | ChannelEvent::Closed => self.tell_transport(now, key),
            ChannelEvent::Dropped => self.metrics.data_dropped(DataDrop::TooMany),
            ChannelEvent::Message(label, message) => {
                self.channel_message(now, key, label, &message);
            }
        }
    }

    /// Channels have no answers: what makes no sense has nobody to be told.
    fn channel_message(&mut self, now: Instant, key: Key, label: Label, message: &[u8]) {
        let Some((header, payload)) = parse(message) else {
            return;
        };
        if !self.may_send(now, &Sender::Participant(key)) {
            // It cannot be lost, and it cannot be kept.
            if label == Label::Reliable
                && let Some(session) = self.sessions.get_mut(&key)
            {
                let mut output = Output::default();
                session.close_data(now, &mut output);
                self.act(now, key, output);
            }
            return;
        }
        let Ok(to) = self.receivers(key, header.to.as_deref()) else {
            return;
        };
        let message = Message {
            from: Some(key),
            topic: header.topic,
            payload,
            label,
        };
        self.deliver(now, Sender::Participant(key), &to, message);
    }

    /// Whether more of this sender may be sent on now; if not, that is counted.
    fn may_send(&self, now: Instant, sender: &Sender) -> bool {
        let may = self.fanout.may_send(now, sender);
        if !may {
            self.metrics.data_dropped(DataDrop::FanOut);
        }
        may
    }

    /// Data over a participant's socket.
    pub(super) fn send_data(&mut self, now: Instant, key: Key, data: Data) -> Result<(), Problem> {
        let too_large = || Problem::new(Reason::TooLarge, "the payload or topic is too large");
        if data.topic.len() > limits::LABEL_BYTES {
            return Err(too_large());
        }
        let payload = BASE64
            .decode(&data.payload)
            .map_err(|_| Problem::new(Reason::BadMessage, "`payload` is no base64"))?;
        if payload.len() > ion_api::limits::DATA_BYTES {
            return Err(too_large());
        }
        let sender = Sender::Participant(key);
        if !self.may_send(now, &sender) {
            let text = "this goes to more than it may be sent on to; try again later";
            return Err(Problem::new(Reason::RateLimited, text));
        }
        let to = self.receivers(key, data.to.as_deref())?;
        let message = Message {
            from: Some(key),
            topic: data.topic,
            payload: &payload,
            label: if data.lossy {
                Label::Lossy
            } else {
                Label::Reliable
            },
        };
        self.deliver(now, sender, &to, message);
        Ok(())
    }

    /// Data from the application's server to a room, or to some of it.
    pub(super) fn data_from_server(
        &mut self,
        now: Instant,
        room: &RoomName,
        to: Option<&[String]>,
        data: DataMessage,
    ) -> Result<(), ion_api::Problem> {
        if self.rooms.settings(room).is_none() {
            return Err(ion_api::Problem::not_found("there is no such room"));
        }
        if data.payload.len() > ion_api::limits::DATA_BYTES
            || data.topic.len() > limits::LABEL_BYTES
        {
            return Err(ion_api::Problem::too_large(
                "the payload or topic is too large",
            ));
        }
        let sender = Sender::Server(room.clone());
        if !self.may_send(now, &sender) {
            let text = "more is sent to this room than is sent on to all who are in it";
            return Err(ion_api::Problem::overloaded(text, 1));
        }
        let audience = self.named_in(self.rooms.audience(room, None), to);
        let message = Message {
            from: None,
            topic: data.topic,
            payload: &data.payload,
            label: data.label,
        };
        self.deliver(now, sender, &audience, message);
        Ok(())
    }

    /// Those of an audience that have one of these identities.
    pub(super) fn named_in(&self, mut audience: Vec<Key>, names: Option<&[String]>) -> Vec<Key> {
        if let Some(names) = names {
            let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            audience.retain(|key| {
                let identity = self.rooms.identity(*key);
                identity.is_some_and(|identity| names.contains(identity.as_str()))
            });
        }
        audience
    }

    /// Sends data to each of these.
    fn deliver(&mut self, now: Instant, sender: Sender, to: &[Key], message: Message<'_>) {
        self.fanout
            .sent(now, sender, to.len(), message.payload.len());
        let from = message.from.map(ParticipantId::from);
        let header = Header {
            topic: message.topic.clone(),
            to: None,
            from,
        };
        let packet = framed(&header, message.payload);
        let mut by_socket = Vec::new();
        for key in to {
            let session = self.sessions.get_mut(key);
            let Some(session) = session.filter(|s| s.channel_is_open(message.label)) else {
                by_socket.push(*key);
                continue;
            };
            let mut output = Output::default();
            let sent = session.send_data(now, message.label, &packet, &mut output);
            match sent {
                Ok(()) => {}
                Err(NotSent::AllFull) => self.metrics.data_dropped(DataDrop::AllFull),
                Err(_) => self.metrics.data_dropped(DataDrop::ReceiverFull),
            }
            self.act(now, *key, output);
        }
        if by_socket.is_empty() || message.payload.len() > ion_api::limits::DATA_BYTES {
            return;
        }
        let event = Event::DataReceived(DataReceived {
            from,
            topic: message.topic,
            payload: BASE64.encode(message.payload),
        });
        self.tell(&by_socket, &event);
    }
}
