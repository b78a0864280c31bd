//! Participants' sockets: who is told what, and in which order.

use super::{Core, unix_seconds};
use crate::limits;
use crate::rooms::{Description, Full, Input, Join, Key, Play, Refused};
use crate::session::EndCause;
use ion_api::names::RoomName;
use ion_api::signal::client::Resume;
use ion_api::signal::model::{ParticipantKind, TransportInfo, TransportState};
use ion_api::signal::server::{
    Answer, Ended, Event, Joined, Limits, Problem, Reason, Resumed, RoomCause, RoomChanged,
    ServerMessage, Subscriptions, TransportChanged,
};
use ion_api::signal::session::Stuck;
use ion_api::signal::{JoinRequest, Outbox, PROTOCOL, ParticipantId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A participant's session of signalling; it outlives its sockets.
struct Peer {
    secret: String,
    outbox: Option<Outbox>,
    next_seq: u64,
    /// The last events, without their `seq`, for a resume.
    kept: VecDeque<(u64, Arc<str>)>,
    kept_bytes: usize,
    /// What it was told last of its transport.
    transport: Option<TransportInfo>,
}

/// All of them, and what is to be told and stored when an input has been dealt with.
#[derive(Default)]
pub(super) struct Signalling {
    peers: HashMap<Key, Peer>,
    secrets: HashMap<String, Key>,
    resubscribed: BTreeSet<Key>,
    changed: BTreeSet<Key>,
    changed_rooms: BTreeSet<RoomName>,
    /// Participants that the store has.
    stored: BTreeSet<Key>,
}

impl Peer {
    fn new(secret: String, outbox: Option<Outbox>, next_seq: u64) -> Self {
        Self {
            secret,
            outbox,
            next_seq,
            kept: VecDeque::new(),
            kept_bytes: 0,
            transport: None,
        }
    }

    /// Tells an event, now or at a resume.
    fn tell(&mut self, body: &Arc<str>) -> Result<(), Stuck> {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.kept_bytes += body.len();
        self.kept.push_back((seq, Arc::clone(body)));
        while self.kept.len() > limits::EVENTS_KEPT || self.kept_bytes > limits::EVENT_BYTES_KEPT {
            let Some((_, old)) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= old.len();
        }
        self.send(numbered(seq, body))
    }

    /// Sends a message, if there is a socket. One that does not take it is closed.
    fn send(&mut self, text: String) -> Result<(), Stuck> {
        let Some(outbox) = &self.outbox else {
            return Ok(());
        };
        let sent = outbox.send(text);
        if sent.is_err()
            && let Some(outbox) = self.outbox.take()
        {
            outbox.close(Reason::TooSlow);
        }
        sent
    }
}

impl Signalling {
    pub(super) fn resubscribed(&mut self, key: Key) {
        self.resubscribed.insert(key);
    }

    pub(super) fn changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    pub(super) fn room_changed(&mut self, room: RoomName) {
        self.changed_rooms.insert(room);
    }

    /// Whether a participant's socket is this one, and not one before or after it.
    pub(super) fn is_current(&self, key: Key, outbox: u64) -> bool {
        let peer = self.peers.get(&key);
        let known = peer.and_then(|peer| peer.outbox.as_ref());
        known.is_some_and(|known| known.id() == outbox)
    }

    /// What has changed and was not stored yet.
    pub(super) fn touched(&self) -> (Vec<RoomName>, Vec<Key>) {
        let rooms = self.changed_rooms.iter().cloned().collect();
        (rooms, self.changed.iter().copied().collect())
    }
}

/// `{"seq":7,` and the event.
fn numbered(seq: u64, body: &str) -> String {
    format!("{{\"seq\":{seq},{}", body.get(1..).unwrap_or("}"))
}

fn text_of(event: &Event) -> Arc<str> {
    // Strings, numbers and maps of them: this does not fail.
    serde_json::to_string(event).unwrap_or_default().into()
}

/// A refusal, as clients are told.
pub(super) fn problem(refused: &Refused) -> Problem {
    let reason = match refused {
        Refused::NotFound(_) => Reason::NotFound,
        Refused::Forbidden(_) => Reason::Forbidden,
        Refused::Conflict(_) => Reason::WrongState,
        Refused::TooLarge(_) => Reason::TooLarge,
        Refused::Full(Full::Rooms) => Reason::Overloaded,
        Refused::Full(Full::Room | Full::Publishers) => Reason::RoomFull,
    };
    Problem::new(reason, refused.to_string())
}

impl Core {
    /// Lets somebody into a room, and tells it all there is.
    pub(super) fn signal_join(
        &mut self,
        now: Instant,
        request: JoinRequest,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> Result<ParticipantId, Problem> {
        self.within_quota(&request.room, &request.participant)?;
        self.learn_quota(&request.participant);
        let key = self.key();
        let secret = super::commands::hex(&Self::random::<32>()?);
        let join = Join {
            key,
            room: request.room,
            identity: request.participant.identity,
            description: Description {
                name: Some(request.participant.name),
                metadata: Some(request.metadata),
                attributes: request.attributes,
            },
            kind: ParticipantKind::Sdk,
            permissions: request.permissions,
            play: Play::Subscribe {
                auto: request.auto_subscribe,
            },
            joined_at_s: unix_seconds(),
            token: request.participant.token,
            is_admitted: false,
        };
        let joined = self.rooms.handle(Input::Join(Box::new(join)), now);
        let effects = joined.map_err(|refused| problem(&refused))?;
        let peer = Peer::new(secret.clone(), Some(outbox), 1);
        self.signalling.peers.insert(key, peer);
        self.signalling.secrets.insert(secret.clone(), key);
        self.apply(now, effects);
        self.signalling.changed(key);
        // The snapshot has them.
        self.signalling.resubscribed.remove(&key);
        let Some(snapshot) = self.rooms.snapshot(key) else {
            return Err(Problem::new(Reason::Internal, "the room is gone"));
        };
        let ms = |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(0);
        let joined = Joined {
            protocol: PROTOCOL,
            server: env!("CARGO_PKG_VERSION").to_owned(),
            session: secret,
            resume_within_ms: ms(limits::RESUME_WITHIN),
            ping_interval_ms: ms(ion_api::limits::PING_INTERVAL),
            ice_servers: Vec::new(),
            limits: what_is_taken(),
            snapshot,
        };
        self.answer(key, answer_to, Answer::Joined(Box::new(joined)));
        self.gauge();
        Ok(key.into())
    }

    /// Goes on with a session on another socket.
    pub(super) fn signal_resume(
        &mut self,
        now: Instant,
        request: &Resume,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> Result<ParticipantId, Problem> {
        let gone = || Problem::new(Reason::NoSuchSession, "it never was, or it has ended");
        let key = *self
            .signalling
            .secrets
            .get(&request.session)
            .ok_or_else(gone)?;
        let peer = self.signalling.peers.get_mut(&key).ok_or_else(gone)?;
        if let Some(old) = peer.outbox.replace(outbox) {
            old.close(Reason::Superseded);
        }
        let first = peer.kept.front().map_or(peer.next_seq, |(seq, _)| *seq);
        let wanted = request.seq.saturating_add(1);
        let is_kept = (first..=peer.next_seq).contains(&wanted);
        let next_seq = if is_kept { wanted } else { peer.next_seq };
        let missed: Vec<String> = peer
            .kept
            .iter()
            .filter(|(seq, _)| is_kept && *seq >= wanted)
            .map(|(seq, body)| numbered(*seq, body))
            .collect();
        self.answer(key, answer_to, Answer::Resumed(Resumed { next_seq }));
        if is_kept {
            for text in missed {
                self.send(key, text);
            }
        } else {
            self.tell_anew(now, key);
        }
        self.presence(now, key);
        self.tell_transport(now, key);
        Ok(key.into())
    }

    /// Tells a participant everything, because it missed too much.
    fn tell_anew(&mut self, now: Instant, key: Key) {
        let transport = self.transport_info(now, key);
        if let Some(mut snapshot) = self.rooms.snapshot(key) {
            snapshot.transport.clone_from(&transport);
            self.signalling.resubscribed.remove(&key);
            let cause = RoomCause::Resync;
            let event = Event::Room(Box::new(RoomChanged { cause, snapshot }));
            self.tell(&[key], &event);
        }
        if let Some(peer) = self.signalling.peers.get_mut(&key) {
            peer.transport = transport;
        }
    }

    /// A socket is gone; the session waits for another.
    pub(super) fn signal_closed(&mut self, now: Instant, key: Key, outbox: u64) {
        if self.signalling.is_current(key, outbox)
            && let Some(peer) = self.signalling.peers.get_mut(&key)
        {
            peer.outbox = None;
            self.presence(now, key);
        }
    }

    /// Whether a participant is there: by its socket, or by its transport.
    pub(super) fn presence(&mut self, now: Instant, key: Key) {
        let has_socket = self
            .signalling
            .peers
            .get(&key)
            .and_then(|peer| peer.outbox.as_ref())
            .is_some_and(|outbox| !outbox.is_closed());
        let has_media = self
            .transport_info(now, key)
            .is_some_and(|transport| transport.state == TransportState::Connected);
        let is_connected = has_socket || has_media;
        self.happen(now, Input::Presence { key, is_connected });
    }

    /// Tells participants what happened.
    pub(super) fn tell(&mut self, to: &[Key], event: &Event) {
        if to.is_empty() {
            return;
        }
        let body = text_of(event);
        for key in to {
            if let Some(peer) = self.signalling.peers.get_mut(key)
                // What a socket did not take is kept for the next.
                && let Err(stuck) = peer.tell(&body)
            {
                self.metrics.socket_cut(stuck);
            }
        }
    }

    pub(super) fn answer(&mut self, key: Key, id: Option<u32>, answer: Answer) {
        let Some(id) = id else { return };
        let message = ServerMessage::Answer { id, answer };
        if let Ok(text) = serde_json::to_string(&message) {
            self.send(key, text);
        }
    }

    fn send(&mut self, key: Key, text: String) {
        if let Some(peer) = self.signalling.peers.get_mut(&key)
            && let Err(stuck) = peer.send(text)
        {
            self.metrics.socket_cut(stuck);
        }
    }

    /// A participant is no more: its transport and socket end.
    pub(super) fn participant_ended(&mut self, now: Instant, key: Key, reason: Reason) {
        self.close_session(now, key, &EndCause::of(reason));
        if self.signalling.peers.contains_key(&key) {
            let detail = String::new();
            self.tell(&[key], &Event::Ended(Ended { reason, detail }));
        }
        if let Some(peer) = self.signalling.peers.remove(&key) {
            self.signalling.secrets.remove(&peer.secret);
            if let Some(outbox) = peer.outbox {
                outbox.close(reason);
            }
        }
        self.signalling.changed(key);
    }

    /// A participant's transport is gone; it may offer another.
    pub(super) fn transport_lost(&mut self, now: Instant, key: Key) {
        self.happen(now, Input::Down(key));
        self.presence(now, key);
        self.tell_transport(now, key);
    }

    /// How a participant's transport is; `None` before its first offer.
    pub(super) fn transport_info(&self, now: Instant, key: Key) -> Option<TransportInfo> {
        let told = self
            .signalling
            .peers
            .get(&key)
            .and_then(|peer| peer.transport.as_ref());
        let Some(session) = self.sessions.get(&key) else {
            return told.map(|told| TransportInfo {
                peer: told.peer.clone(),
                state: TransportState::Lost,
                data_channels: false,
            });
        };
        use ion_api::model::SessionState;
        Some(TransportInfo {
            peer: session.record.peer.clone(),
            state: match super::inspect::state(now, session) {
                SessionState::Negotiated | SessionState::Connecting => TransportState::Connecting,
                SessionState::Connected => TransportState::Connected,
                SessionState::Disconnected => TransportState::Disconnected,
            },
            data_channels: session.data_is_open(),
        })
    }

    /// Tells a participant how its transport is, where that has changed.
    pub(super) fn tell_transport(&mut self, now: Instant, key: Key) {
        let transport = self.transport_info(now, key);
        let Some(peer) = self.signalling.peers.get_mut(&key) else {
            return;
        };
        if peer.transport == transport {
            return;
        }
        peer.transport.clone_from(&transport);
        if let Some(transport) = transport {
            self.tell(
                &[key],
                &Event::TransportChanged(TransportChanged { transport }),
            );
        }
    }

    /// What is looked at once a second.
    pub(super) fn signals_every_second(&mut self, now: Instant) {
        let keys: Vec<Key> = self.signalling.peers.keys().copied().collect();
        for key in keys {
            self.tell_transport(now, key);
            self.presence(now, key);
        }
        self.happen(now, Input::Tick);
    }

    /// Tells and stores what has changed while an input was dealt with.
    pub(super) fn flush_signals(&mut self) {
        for key in std::mem::take(&mut self.signalling.resubscribed) {
            let subscriptions = self.rooms.subscriptions(key);
            self.tell(
                &[key],
                &Event::Subscriptions(Subscriptions { subscriptions }),
            );
        }
        for key in std::mem::take(&mut self.signalling.changed) {
            self.store_participant(key);
        }
        for room in std::mem::take(&mut self.signalling.changed_rooms) {
            self.store_room(&room);
        }
    }

    fn store_participant(&mut self, key: Key) {
        // It may be in another room by now.
        if let (Some(room), Some(session)) = (
            self.rooms.room_of(key).cloned(),
            self.sessions.get_mut(&key),
        ) && session.record.room != room
        {
            session.record.room = room;
            self.put_stored(Instant::now(), key);
        }
        let secret = self
            .signalling
            .peers
            .get(&key)
            .map(|peer| peer.secret.clone());
        // Of WHIP publishers what moderators settled; else their sessions say it all.
        let is_kept = secret.is_some() || self.rooms.is_settled(key);
        let result = match &self.rooms.save(key).filter(|_| is_kept) {
            Some(saved) => {
                self.signalling.stored.insert(key);
                let secret = secret.unwrap_or_default();
                self.store.put_participant(self.epoch, &secret, saved)
            }
            None if self.signalling.stored.remove(&key) => self.store.delete_participant(key),
            None => Ok(()),
        };
        self.stored(Instant::now(), result);
    }

    pub(super) fn store_room(&mut self, room: &RoomName) {
        let result = match self.rooms.save_room(room) {
            Some(mut saved) => {
                let stage = self.stages.get(room);
                saved.stage = stage.map(|stage| (self.epoch, stage.seats.clone()));
                self.store.put_room(&saved)
            }
            None => self.store.delete_room(room),
        };
        self.stored(Instant::now(), result);
    }

    /// Takes up the signalling session of a participant that was there before this process.
    pub(super) fn restore_peer(&mut self, key: Key, secret: String) {
        self.signalling.stored.insert(key);
        // Beyond what any client has seen: it is told everything at its resume.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let next_seq = u64::try_from(since.as_micros()).unwrap_or(1);
        self.signalling.secrets.insert(secret.clone(), key);
        self.signalling
            .peers
            .insert(key, Peer::new(secret, None, next_seq));
    }
}

fn what_is_taken() -> Limits {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Limits {
        message_bytes: number(ion_api::limits::MESSAGE_BYTES),
        sections: number(ion_sdp::limits::MAX_MEDIA),
        publications: number(limits::PUBLICATIONS),
        subscriptions: number(limits::SUBSCRIPTIONS),
        data_bytes: number(ion_api::limits::DATA_BYTES),
        metadata_bytes: number(limits::METADATA_BYTES),
    }
}
