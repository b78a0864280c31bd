//! `/v1/signal` as a participant of the SDK speaks it: what is said and heard over its WebSocket.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ion_api::model::MediaKind;
use ion_api::signal::client::{ClientMessage, Join, Leave, Offer, Ping, Request, TrackOffer};
use ion_api::signal::model::{ParticipantInfo, PublicationInfo, Snapshot, Source};
use ion_api::signal::server::{Answer, Event, OfferAnswer, Problem, Reason, ServerMessage};
use ion_api::signal::{PROTOCOL, ParticipantId, PublicationId};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use super::client::Offered;
use super::http::short;
use super::stop::Stop;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TRIES: usize = 6;
const RETRY_AFTER: Duration = Duration::from_millis(500);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Name of the one peer connection.
const PEER: &str = "load";

/// How a participant comes in.
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    pub(crate) room: String,
    /// Who it is, where no token says so.
    pub(crate) identity: String,
}

/// Something of the others that is to be played.
pub(crate) struct Wanted {
    pub(crate) publication: PublicationId,
    /// Of the participant who publishes it.
    pub(crate) identity: String,
    pub(crate) video: bool,
}

/// What the server said that matters.
pub(crate) enum Heard {
    Answer(OfferAnswer),
    /// There is more to play than before, maybe.
    Subscriptions,
    /// The session is over, or something was refused.
    Ended(String),
}

/// One participant's socket, and what it knows by it.
pub(crate) struct Signal {
    socket: WebSocket<TcpStream>,
    next_id: u32,
    /// The offer that is with the server.
    offered: Option<u32>,
    identities: BTreeMap<ParticipantId, String>,
    publications: BTreeMap<PublicationId, PublicationInfo>,
    wanted: Vec<PublicationId>,
    tracks: BTreeMap<String, TrackOffer>,
    sections: BTreeMap<String, PublicationId>,
    ping_every: Duration,
    next_ping: Instant,
}

impl Signal {
    /// Joins, as often as the server asks to try again. It blocks.
    pub(crate) fn join(door: &Door, stop: &Stop) -> Result<Self, String> {
        let mut attempt = 1;
        loop {
            let (reason, patience) = match Self::try_join(door) {
                Ok(signal) => return Ok(signal),
                Err(refusal) => refusal,
            };
            let Some(patience) = patience.filter(|_| attempt < MAX_TRIES && !stop.requested())
            else {
                return Err(reason);
            };
            std::thread::sleep(patience.min(MAX_RETRY_AFTER));
            attempt += 1;
        }
    }

    /// Why not, and if it makes sense to try again: when.
    fn try_join(door: &Door) -> Result<Self, (String, Option<Duration>)> {
        let mut socket = connect(door)?;
        let join = Join {
            protocol: PROTOCOL,
            room: Some(door.room.clone()),
            identity: door.token.is_none().then(|| door.identity.clone()),
            client: Some(concat!("ion-loadtest/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Join::default()
        };
        let lost = |error: tungstenite::Error| (short(&error.to_string()), None);
        socket
            .send(message(Some(1), Request::Join(join)))
            .map_err(lost)?;
        let joined = loop {
            let Message::Text(text) = socket.read().map_err(lost)? else {
                continue;
            };
            match serde_json::from_str(&text) {
                Ok(ServerMessage::Answer { answer, .. }) => match answer {
                    Answer::Joined(joined) => break joined,
                    Answer::Error(problem) => return Err(refused(&problem)),
                    _ => return Err(("the answer to `join` is another one".into(), None)),
                },
                Ok(ServerMessage::Error { problem, .. }) => return Err(refused(&problem)),
                Ok(ServerMessage::Event { .. }) => {}
                Err(error) => return Err((short(&error.to_string()), None)),
            }
        };
        let stream = socket.get_ref();
        stream
            .set_nonblocking(true)
            .map_err(|error| (error.to_string(), None))?;
        let ping_every = Duration::from_millis(u64::from(joined.ping_interval_ms));
        let mut signal = Self {
            socket,
            next_id: 2,
            offered: None,
            identities: BTreeMap::new(),
            publications: BTreeMap::new(),
            wanted: Vec::new(),
            tracks: BTreeMap::new(),
            sections: BTreeMap::new(),
            ping_every,
            next_ping: Instant::now() + ping_every,
        };
        signal.snapshot(joined.snapshot);
        Ok(signal)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    /// What has come, as far as it matters.
    pub(crate) fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(&text) {
                    Ok(message) => heard.extend(self.take(message)),
                    Err(error) => heard.push(Heard::Ended(short(&error.to_string()))),
                },
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::WouldBlock =>
                {
                    return heard;
                }
                Err(_) => {
                    heard.push(Heard::Ended("the server closed the socket".into()));
                    return heard;
                }
            }
        }
    }

    fn take(&mut self, message: ServerMessage) -> Option<Heard> {
        match message {
            ServerMessage::Answer { id, answer } if self.offered == Some(id) => {
                self.offered = None;
                match answer {
                    Answer::Answer(answer) => Some(Heard::Answer(answer)),
                    Answer::Error(problem) => Some(Heard::Ended(refused(&problem).0)),
                    _ => Some(Heard::Ended("the answer to `offer` is another one".into())),
                }
            }
            ServerMessage::Answer { .. } => None,
            ServerMessage::Error { problem, .. } => Some(Heard::Ended(refused(&problem).0)),
            ServerMessage::Event { event, .. } => self.event(event),
        }
    }

    fn event(&mut self, event: Event) -> Option<Heard> {
        match event {
            Event::Room(room) => {
                self.snapshot(room.snapshot);
                Some(Heard::Subscriptions)
            }
            Event::ParticipantJoined(joined) => {
                self.met(joined.participant);
                None
            }
            Event::Published(published) => {
                let publication = published.publication;
                self.publications.insert(publication.id, publication);
                None
            }
            Event::Subscriptions(all) => {
                let all = all.subscriptions.into_iter();
                self.wanted = all.map(|subscription| subscription.publication).collect();
                Some(Heard::Subscriptions)
            }
            Event::Ended(ended) => Some(Heard::Ended(format!(
                "the session ended: {}",
                word(ended.reason)
            ))),
            _ => None,
        }
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        snapshot
            .participants
            .into_iter()
            .for_each(|participant| self.met(participant));
        let all = snapshot.subscriptions.into_iter();
        self.wanted = all.map(|subscription| subscription.publication).collect();
    }

    fn met(&mut self, participant: ParticipantInfo) {
        let publications = participant.publications.into_iter();
        self.publications
            .extend(publications.map(|publication| (publication.id, publication)));
        self.identities.insert(participant.id, participant.identity);
    }

    /// Takes out the sections whose publication is gone.
    pub(crate) fn take_idle(&mut self) -> Vec<String> {
        let wanted = &self.wanted;
        let idle = self
            .sections
            .extract_if(.., |_, publication| !wanted.contains(publication));
        idle.map(|(mid, _)| mid).collect()
    }

    /// What is to be received and has no section yet.
    pub(crate) fn unserved(&self) -> Vec<Wanted> {
        let wanted = self.wanted.iter().filter_map(|id| {
            let publication = self.publications.get(id)?;
            Some(Wanted {
                publication: *id,
                identity: self.identities.get(&publication.participant)?.clone(),
                video: publication.kind == MediaKind::Video,
            })
        });
        let served: Vec<PublicationId> = self.sections.values().copied().collect();
        wanted
            .filter(|wanted| !served.contains(&wanted.publication))
            .collect()
    }

    /// Offers; `kinds` and `wanted` say what its new sections are for, in order.
    pub(crate) fn offer(&mut self, offered: Offered, kinds: &[bool], wanted: &[Wanted]) {
        for (mid, video) in offered.sent.iter().zip(kinds) {
            let track = TrackOffer {
                cid: mid.to_string(),
                source: if *video {
                    Source::Camera
                } else {
                    Source::Microphone
                },
                ..TrackOffer::default()
            };
            self.tracks.insert(mid.to_string(), track);
        }
        let played = offered.played.iter().zip(wanted);
        self.sections
            .extend(played.map(|(mid, wanted)| (mid.to_string(), wanted.publication)));
        self.offered = Some(self.next_id);
        self.say(Request::Offer(Offer {
            peer: PEER.to_owned(),
            sdp: offered.sdp,
            tracks: self.tracks.clone(),
            subscriptions: self.sections.clone(),
        }));
    }

    /// Shows that it is alive, as often as the server wants.
    pub(crate) fn keep_alive(&mut self, now: Instant) {
        if now >= self.next_ping {
            self.next_ping = now + self.ping_every;
            self.say(Request::Ping(Ping { at: 0 }));
        }
    }

    pub(crate) fn leave(&mut self) {
        self.say(Request::Leave(Leave {}));
    }

    fn say(&mut self, request: Request) {
        let id = self.next_id;
        self.next_id += 1;
        // What does not fit now leaves with the next read or send; a broken socket tells so when it is read.
        let _ = self.socket.send(message(Some(id), request));
    }
}

fn message(id: Option<u32>, request: Request) -> Message {
    let text = serde_json::to_string(&ClientMessage { id, request });
    Message::Text(text.unwrap_or_default().into())
}

fn connect(door: &Door) -> Result<WebSocket<TcpStream>, (String, Option<Duration>)> {
    let wrong = |text: String| (short(&text), None);
    let mut request = door
        .url
        .as_str()
        .into_client_request()
        .map_err(|error| wrong(error.to_string()))?;
    if let Some(token) = &door.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let value = value.map_err(|_| wrong("the token is no ASCII text".into()))?;
        request.headers_mut().insert("authorization", value);
    }
    let uri = request.uri();
    let port = uri.port_u16().unwrap_or(80);
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let mut found = (host, port)
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?;
    let address = found
        .next()
        .ok_or_else(|| wrong("the host has no address".into()))?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            Ok(stream)
        })
        .map_err(|error| wrong(error.to_string()))?;
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let status = response.status().as_u16();
            let patience = matches!(status, 429 | 503).then_some(RETRY_AFTER);
            Err((format!("HTTP {status}"), patience))
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn refused(problem: &Problem) -> (String, Option<Duration>) {
    let patience = matches!(problem.reason, Reason::RateLimited | Reason::Overloaded).then(|| {
        problem
            .retry_after_ms
            .map_or(RETRY_AFTER, |ms| Duration::from_millis(ms.into()))
    });
    let text = format!("{}: {}", word(problem.reason), problem.detail);
    (short(&text), patience)
}

/// A reason as it is on the wire.
fn word(reason: Reason) -> String {
    let value = serde_json::to_value(reason).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
