//! One association with a client: its ICE agent, its DTLS session and what was negotiated.
//!
//! Sans-IO: datagrams and time go in, datagrams and [`SessionEvent`]s come out. DTLS is
//! handed on only from address pairs that ICE has validated, and starts only when one is.
//!
//! A session that was connected in an earlier life of this process has its SRTP keys in the
//! rows, and no DTLS state. What comes for it is told apart ([`DtlsIntake`]), counted, and
//! changes nothing:
//! - An encrypted alert is most likely the peer's close_notify. It cannot be verified, so
//!   it ends nothing: whoever goes stops checking too, and consent runs out.
//! - A ClientHello is not answered. WebRTC clients handshake again only after an offer with
//!   another fingerprint, which WHIP and WHEP do not have; and a hello proves nothing, so
//!   that it must not cost the keys of a session that works.

use crate::channels::{ChannelEvent, Channels, Label, NotSent};
use crate::limits;
use crate::record::{Media, Record};
use ion_api::names::SessionId;
use ion_api::signal::Backlog;
use ion_dtls::{CloseReason, Connected, DtlsEvent, DtlsSession, Endpoint, Fingerprint, Role};
use ion_ice::{Agent, Credentials, Outcome, Pair, Reason, Timeouts};
use ion_sdp::{IceCredentials, SdpFragment};
use ion_wire::dtls::{self, ContentType, Record as DtlsRecord};
use std::time::Instant;

mod cause;

pub use cause::EndCause;

/// What a session tells the core.
#[derive(Debug)]
pub enum SessionEvent {
    /// The peer has proven this pair: DTLS may come from there.
    Validated(Pair),
    /// The peer selected this pair.
    Nominated,
    /// DTLS is done, the SRTP keys are there.
    Keyed(Box<Connected>),
    /// It is over.
    Ended(EndCause),
    /// Something happened on its data channels.
    Channel(ChannelEvent),
    /// A STUN packet was ignored or refused.
    StunIgnored(Reason),
}

/// What a call brought about.
#[derive(Debug, Default)]
pub struct Output {
    /// Datagrams to send, with the pair to send them on.
    pub transmits: Vec<(Pair, Vec<u8>)>,
    /// Events, in order.
    pub events: Vec<SessionEvent>,
}

/// What became of a DTLS datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsIntake {
    /// DTLS took it.
    Taken,
    /// It came from a pair that is not validated, or before it is known whom to expect.
    Unvalidated,
    /// Nothing can read it: the handshake was another process's.
    Inherited,
    /// Likewise, and it looks like an encrypted alert: the peer says goodbye.
    InheritedAlert,
}

/// Ciphertext of a DTLS 1.3 alert: level, description, content type, tag (RFC 9147,
/// section 4; RFC 8446, section 5.2). No other record is as short.
const ALERT_CIPHERTEXT: usize = 2 + 1 + 16;

/// Whether every record of a datagram looks like an encrypted alert.
fn is_encrypted_alert(datagram: &[u8]) -> bool {
    let is_alert = |record: Result<DtlsRecord<'_>, _>| match record {
        Ok(DtlsRecord::Plain {
            content_type,
            epoch,
            ..
        }) => content_type == ContentType::Alert && epoch > 0,
        Ok(DtlsRecord::Unified { ciphertext, .. }) => ciphertext.len() == ALERT_CIPHERTEXT,
        Err(_) => false,
    };
    !datagram.is_empty() && dtls::records(datagram).all(is_alert)
}

enum Dtls {
    /// Waits for a validated pair (and, after a counter-offer, for the fingerprint).
    Idle,
    /// Under way or done.
    Running(Box<ion_dtls::Session>),
    /// Done in an earlier life of this process: the keys are in the rows.
    Inherited,
}

/// One association.
pub struct Session {
    /// Its id in paths.
    pub id: SessionId,
    /// What was negotiated.
    pub record: Record,
    /// The peer's ICE credentials: a fragment with others is a restart.
    pub remote_ice: Option<IceCredentials>,
    /// The worker that owns its rows; has a meaning once connected.
    pub worker: u16,
    agent: Agent,
    dtls: Dtls,
    /// Where what waits on data channels counts, once they were negotiated.
    data: Option<Backlog>,
    /// They, once DTLS has carried something for them.
    channels: Option<Box<Channels>>,
    /// DTLS is done.
    connected: bool,
    /// Where DTLS came from last.
    dtls_pair: Option<Pair>,
    /// When a counter-offer that nobody has answered ends.
    answer_by: Option<Instant>,
    /// When the path last changed, and what it is since.
    path: Option<(Instant, Pair)>,
    /// When media last came, as the dataplane's counter says.
    media_us: u64,
}

impl Session {
    /// A session that waits for its first check.
    pub fn new(
        id: SessionId,
        record: Record,
        agent: Agent,
        remote_ice: Option<IceCredentials>,
    ) -> Self {
        let (dtls, connected, dtls_pair, worker) = (Dtls::Idle, false, None, 0);
        Self {
            id,
            record,
            remote_ice,
            worker,
            agent,
            dtls,
            data: None,
            channels: None,
            connected,
            dtls_pair,
            answer_by: None,
            path: None,
            media_us: 0,
        }
    }

    /// Lets a counter-offer wait for its answer until then, whatever ICE does meanwhile.
    pub fn wait_for_answer(&mut self, until: Instant) {
        self.answer_by = Some(until);
    }

    /// The counter-offer was answered: the time to connect begins.
    pub fn answered(&mut self, now: Instant, record: Record, ice: IceCredentials) {
        self.record = record;
        self.remote_ice = Some(ice);
        self.answer_by = None;
        // A peer that has not yet sent a check, or not for long, begins anew.
        if self.agent.last_seen().is_none() || self.agent.is_expired(now) {
            let (local, timeouts) = (self.agent.local().clone(), self.agent.timeouts());
            self.agent = Agent::new(local, None, now).with_timeouts(timeouts);
        }
    }

    /// Whether its counter-offer still waits for an answer.
    pub fn is_offered(&self) -> bool {
        matches!(self.record.media, Media::Offered { .. })
    }

    /// Whether media may take this path now: a peer that goes to and fro is not followed
    /// each time. True if it takes it already.
    pub fn may_move(&mut self, now: Instant, pair: Pair) -> bool {
        match self.path {
            Some((_, present)) if present == pair => true,
            Some((since, _)) if now.saturating_duration_since(since) < limits::PATH_INTERVAL => {
                false
            }
            _ => {
                self.path = Some((now, pair));
                true
            }
        }
    }

    /// A session that was connected before this process started.
    pub fn resume(
        id: SessionId,
        record: Record,
        agent: Agent,
        remote_ice: Option<IceCredentials>,
        worker: u16,
    ) -> Self {
        let mut session = Self::new(id, record, agent, remote_ice);
        session.dtls = Dtls::Inherited;
        session.connected = true;
        session.worker = worker;
        session
    }

    /// The ICE agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Whether DTLS is done.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Takes in when the dataplane last received something authenticated from the peer.
    /// A publisher that sends is alive, whether it checks connectivity or not.
    pub fn media_received(&mut self, now: Instant, last_received_us: u64) {
        let fresh = std::mem::replace(&mut self.media_us, last_received_us) != last_received_us;
        if fresh && self.connected && self.record.role() == ion_api::model::Role::Publisher {
            self.agent.media_seen(now);
        }
    }

    /// Whether data channels can be used.
    pub fn data_is_open(&self) -> bool {
        self.channel_is_open(Label::Reliable) || self.channel_is_open(Label::Lossy)
    }

    /// Whether this data channel can be used.
    pub fn channel_is_open(&self, label: Label) -> bool {
        self.channels
            .as_ref()
            .is_some_and(|channels| channels.is_open(label))
    }

    /// Data channels were negotiated; what waits on them counts there.
    pub fn take_data(&mut self, backlog: Backlog) {
        self.data.get_or_insert(backlog);
    }

    /// Sends a message on a data channel. A client that does not read what cannot be lost loses
    /// its channels.
    ///
    /// # Errors
    /// [`NotSent`]: nothing of it goes.
    pub fn send_data(
        &mut self,
        now: Instant,
        label: Label,
        message: &[u8],
        output: &mut Output,
    ) -> Result<(), NotSent> {
        let channels = self.channels.as_mut().ok_or(NotSent::NoChannel)?;
        let sent = channels.send(now, label, message);
        let is_full = matches!(sent, Err(NotSent::Full | NotSent::AllFull));
        if is_full && label == Label::Reliable {
            channels.close(now);
        }
        self.drain(now, output);
        sent
    }

    /// Ends the data channels of a client that does not keep to the bounds.
    pub fn close_data(&mut self, now: Instant, output: &mut Output) {
        if let Some(channels) = &mut self.channels {
            channels.close(now);
        }
        self.drain(now, output);
    }

    /// Whether DTLS or SCTP timers run.
    pub fn has_timers(&self) -> bool {
        let is_handshaking = matches!(self.dtls, Dtls::Running(_)) && !self.connected;
        let channels = self.channels.as_ref();
        is_handshaking || channels.is_some_and(|channels| channels.next_timeout().is_some())
    }

    /// Where media goes: the pair selected, else the one DTLS uses.
    pub fn path(&self) -> Option<Pair> {
        self.agent.selected().or(self.dtls_pair)
    }

    /// Whether a fragment belongs to the ICE session that is, or to one that was, and so is
    /// no ICE restart. Entity tags do not tell: RFC 9725, section 4.3.3, wants `*` for a
    /// restart, and clients send it when they trickle too.
    pub fn is_trickle(&self, fragment: &SdpFragment) -> bool {
        let is_current = |known: &IceCredentials| !fragment.is_restart_of(known);
        let is_past = |ufrag: &String| self.record.past_ufrags.contains(ufrag);
        fragment.ufrag.is_none() && fragment.pwd.is_none()
            || self.remote_ice.as_ref().is_some_and(is_current)
            || fragment.ufrag.as_ref().is_some_and(is_past)
    }

    /// Restarts ICE.
    pub fn restart_ice(&mut self, now: Instant, local: Credentials, remote: IceCredentials) {
        self.agent.restart(now, local, None);
        self.remote_ice = Some(remote);
    }

    /// Gives the peer a whole consent period: it could not reach us through no fault of its own.
    pub fn renew(&mut self, now: Instant, timeouts: Timeouts) {
        if let Some(pair) = self.agent.selected() {
            let local = self.agent.local().clone();
            self.agent = Agent::resume(local, None, pair, now).with_timeouts(timeouts);
        }
    }

    /// DTLS records and datagrams that made no sense and were dropped.
    pub fn dtls_filtered(&self) -> u64 {
        match &self.dtls {
            Dtls::Running(dtls) => {
                let counters = dtls.counters();
                counters.records_filtered + counters.datagrams_dropped
            }
            Dtls::Idle | Dtls::Inherited => 0,
        }
    }

    /// Takes a STUN packet.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        packet: &[u8],
        pair: Pair,
        endpoint: &Endpoint,
        output: &mut Output,
    ) {
        let mut reply = Vec::new();
        let outcome = self
            .agent
            .handle(now, packet, pair.remote, pair.local, &mut reply);
        if !reply.is_empty() {
            output.transmits.push((pair, reply));
        }
        match outcome {
            Outcome::Ignored(reason) | Outcome::Refused(reason) => {
                output.events.push(SessionEvent::StunIgnored(reason));
            }
            Outcome::Reply {
                pair,
                newly_validated,
                nominated,
            } => {
                if newly_validated {
                    output.events.push(SessionEvent::Validated(pair));
                }
                if nominated.is_some() {
                    output.events.push(SessionEvent::Nominated);
                }
                self.start_dtls(now, pair, endpoint, output);
            }
        }
    }

    /// Starts DTLS on the first validated pair, once it is known whom to expect.
    fn start_dtls(&mut self, now: Instant, pair: Pair, endpoint: &Endpoint, output: &mut Output) {
        if !matches!(self.dtls, Dtls::Idle) || self.record.fingerprints.is_empty() {
            return;
        }
        let expected: Vec<Fingerprint> = self
            .record
            .fingerprints
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let session = if self.record.is_dtls_client {
            endpoint.connect(now, &expected)
        } else {
            endpoint.accept(now, &expected)
        };
        self.dtls_pair = Some(pair);
        match session {
            Ok(session) => {
                self.dtls = Dtls::Running(Box::new(session));
                self.drain(now, output);
            }
            Err(error) => output
                .events
                .push(SessionEvent::Ended(EndCause::Dtls(error))),
        }
    }

    /// Takes a DTLS datagram.
    pub fn handle_dtls(
        &mut self,
        now: Instant,
        datagram: &[u8],
        pair: Pair,
        output: &mut Output,
    ) -> DtlsIntake {
        if !self.agent.is_validated(pair, now) {
            return DtlsIntake::Unvalidated;
        }
        match &mut self.dtls {
            Dtls::Running(dtls) => {
                self.dtls_pair = Some(pair);
                dtls.handle_datagram(now, datagram);
                self.drain(now, output);
                DtlsIntake::Taken
            }
            Dtls::Inherited if is_encrypted_alert(datagram) => DtlsIntake::InheritedAlert,
            Dtls::Inherited => DtlsIntake::Inherited,
            Dtls::Idle => DtlsIntake::Unvalidated,
        }
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant, output: &mut Output) {
        if let Dtls::Running(dtls) = &mut self.dtls
            && dtls.next_timeout().is_some_and(|at| at <= now)
        {
            dtls.handle_timeout(now);
            self.drain(now, output);
        }
        if let Some(channels) = &mut self.channels
            && channels.next_timeout().is_some_and(|at| at <= now)
        {
            channels.handle_timeout(now);
            self.drain(now, output);
        }
        let cause = match (self.answer_by, self.agent.last_seen()) {
            (Some(until), _) => (until <= now).then_some(EndCause::AnswerTimeout),
            (None, _) if !self.agent.is_expired(now) => None,
            (None, Some(_)) => Some(EndCause::ConsentExpired),
            (None, None) => Some(EndCause::IceTimeout),
        };
        output.events.extend(cause.map(SessionEvent::Ended));
    }

    /// Says goodbye to the peer.
    pub fn close(&mut self, now: Instant, output: &mut Output) {
        if let Dtls::Running(dtls) = &mut self.dtls {
            dtls.close(now);
            self.drain(now, output);
        }
    }

    /// Moves what DTLS and the data channels have to say to each other, to the peer and to the core.
    fn drain(&mut self, now: Instant, output: &mut Output) {
        let Dtls::Running(dtls) = &mut self.dtls else {
            return;
        };
        while let Some(event) = dtls.poll_event() {
            let event = match event {
                DtlsEvent::Connected(connected) => {
                    self.connected = true;
                    SessionEvent::Keyed(connected)
                }
                DtlsEvent::ApplicationData(packet) => {
                    // Nothing else was negotiated that could send it.
                    if let Some(backlog) = &self.data {
                        let fresh = || Box::new(Channels::new(now, backlog.share()));
                        self.channels.get_or_insert_with(fresh).handle(now, &packet);
                    }
                    continue;
                }
                DtlsEvent::Closed(CloseReason::Local) => continue,
                DtlsEvent::Closed(CloseReason::Peer) => SessionEvent::Ended(EndCause::DtlsClosed),
                DtlsEvent::Failed(error) => SessionEvent::Ended(EndCause::Dtls(error)),
            };
            output.events.push(event);
        }
        if let Some(channels) = &mut self.channels {
            while let Some(packet) = channels.poll_packet() {
                // One that is not sent is sent again: SCTP sees to it.
                let _ = dtls.send(now, &packet);
            }
            let events = std::iter::from_fn(|| channels.poll_event());
            output.events.extend(events.map(SessionEvent::Channel));
        }
        // As a server, a handshake stays on the pair that it came from; else, and
        // afterwards, the selected one is best.
        let pair = match self.connected || self.record.is_dtls_client {
            true => self.agent.selected().or(self.dtls_pair),
            false => self.dtls_pair,
        };
        while let Some(datagram) = dtls.poll_datagram() {
            if let Some(pair) = pair {
                output.transmits.push((pair, datagram));
            }
        }
    }

    /// The role of Ion in DTLS.
    pub fn dtls_role(&self) -> Role {
        if self.record.is_dtls_client {
            Role::Client
        } else {
            Role::Server
        }
    }
}

#[cfg(test)]
mod tests;
