use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use boring::error::ErrorStack;
use boring::pkey::Id;
use boring::ssl::{
    self, ErrorCode, Ssl, SslAlert, SslRef, SslStream, SslVerifyError, SslVerifyMode, SslVersion,
};

use crate::endpoint::{Shared, groups};
use crate::error::{DtlsError, reason};
use crate::ffi;
use crate::filter::Filter;
use crate::fingerprint::Fingerprint;
use crate::keying::{KeyingMaterial, SrtpProfile};
use crate::pipe::Pipe;
use crate::session::{
    CloseReason, Connected, Counters, DtlsEvent, DtlsSession, DtlsVersion, MAX_APPLICATION_DATA,
    MAX_DATAGRAM, Role,
};

/// Times that a server starts afresh when garbage kills the handshake before its first reply.
const MAX_REBUILDS: u64 = 3;
/// How long a handshake may still succeed after a plaintext alert, which anyone may have sent.
const ALERT_GRACE: Duration = Duration::from_secs(2);
/// Events kept for the owner; application data beyond it is lost.
const MAX_EVENTS: usize = 256;
/// Added by BoringSSL to the alerts of the peer, in error codes.
const ALERT_REASON_OFFSET: i32 = 1000;

/// What became of the peer's certificate, set once by the verify callback.
type Verdict = Arc<OnceLock<Result<Fingerprint, DtlsError>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Connected,
    Ended,
}

/// A DTLS association on BoringSSL; made by [`Endpoint::accept`](crate::Endpoint::accept) and
/// [`Endpoint::connect`](crate::Endpoint::connect).
pub struct Session {
    shared: Arc<Shared>,
    role: Role,
    expected: Arc<[Fingerprint]>,
    /// Gone once the session has ended.
    stream: Option<SslStream<Pipe>>,
    verdict: Verdict,
    phase: Phase,
    filter: Filter,
    /// The present engine object has taken a datagram.
    is_fed: bool,
    /// Zero of the engine's clock.
    epoch: Instant,
    deadline: Instant,
    timer: Option<Instant>,
    /// What to report when the deadline comes: the best guess so far.
    suspicion: Option<DtlsError>,
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
    counters: Counters,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        role: Role,
        now: Instant,
        expected: &[Fingerprint],
    ) -> Result<Self, DtlsError> {
        let deadline = now + shared.config.handshake_timeout;
        let mut session = Self {
            shared,
            role,
            expected: expected.into(),
            stream: None,
            verdict: Verdict::default(),
            phase: Phase::Handshaking,
            filter: Filter::new(role),
            is_fed: false,
            epoch: now,
            deadline,
            timer: None,
            suspicion: None,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        };
        session.build()?;
        if role == Role::Client {
            // Sends the ClientHello.
            session.drive(now)?;
        }
        Ok(session)
    }

    /// Our side of the handshake.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Makes a new engine object in its initial state.
    fn build(&mut self) -> Result<(), DtlsError> {
        let mut ssl = Ssl::new(&self.shared.context)?;
        ssl.set_mtu(u32::from(self.shared.config.mtu))?;
        ssl.set_curves_list(groups(self.role))?;
        self.verdict = Verdict::default();
        let (verdict, expected) = (Arc::clone(&self.verdict), Arc::clone(&self.expected));
        ssl.set_custom_verify_callback(
            SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
            move |ssl| {
                let found = check_certificate(ssl, &expected);
                let result = found.as_ref().map(|_| ()).map_err(|error| {
                    SslVerifyError::Invalid(match error {
                        DtlsError::UnsupportedKey => SslAlert::UNSUPPORTED_CERTIFICATE,
                        _ => SslAlert::BAD_CERTIFICATE,
                    })
                });
                // Called once per engine object: there is no renegotiation.
                let _ = verdict.set(found);
                result
            },
        );
        self.stream = Some(SslStream::new(ssl, Pipe::default())?);
        self.is_fed = false;
        Ok(())
    }

    /// Hands filtered records to the engine, starting it afresh where they kill it too early.
    fn feed(&mut self, now: Instant, records: &[u8]) {
        loop {
            let Some(stream) = &mut self.stream else {
                return;
            };
            stream.get_mut().incoming = Some(records.to_vec());
            let was_fed = std::mem::replace(&mut self.is_fed, true);
            let Err(error) = self.drive(now) else { return };
            if !self.rebuild(&error) {
                self.fail(error);
                return;
            }
            // What an earlier datagram left behind may be what this one did not go with: it gets a second
            // chance. If it was the first, it is itself to blame.
            if !was_fed {
                return;
            }
        }
    }

    /// Starts afresh, if a server may still do so unnoticed.
    fn rebuild(&mut self, error: &DtlsError) -> bool {
        let may = self.role == Role::Server
            && !self.filter.is_started()
            && self.counters.rebuilt < MAX_REBUILDS;
        // The alert of the dead object goes with it: it would tell the real peer to give up.
        if !may || self.build().is_err() {
            return false;
        }
        self.counters.rebuilt += 1;
        self.suspicion = Some(error.clone());
        self.timer = None;
        true
    }

    /// Lets the engine work on what it has, and collects what comes out.
    fn drive(&mut self, now: Instant) -> Result<(), DtlsError> {
        self.set_clock(now);
        if self.phase == Phase::Handshaking {
            self.handshake()?;
        }
        if self.phase == Phase::Connected {
            self.read()?;
        }
        self.collect(now);
        Ok(())
    }

    fn handshake(&mut self) -> Result<(), DtlsError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let result = match self.role {
            Role::Server => stream.accept(),
            Role::Client => stream.connect(),
        };
        match result {
            Ok(()) => self.connected(),
            Err(error) if error.would_block() => {
                for datagram in &stream.get_ref().outgoing {
                    self.filter.note_sent(datagram);
                }
                Ok(())
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// The handshake is finished: checks everything once more and tells the owner.
    fn connected(&mut self) -> Result<(), DtlsError> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let ssl = stream.ssl();
        let peer_fingerprint = match self.verdict.get() {
            Some(Ok(fingerprint)) => fingerprint.clone(),
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(DtlsError::FingerprintMismatch),
        };
        let profile = ssl
            .selected_srtp_profile()
            .and_then(|profile| SrtpProfile::from_engine(profile.id()))
            .ok_or(DtlsError::NoSrtpProfile)?;
        let mut keying_material = KeyingMaterial::zeroed(profile, self.role);
        ssl.export_keying_material(keying_material.bytes_mut(), KeyingMaterial::LABEL, None)?;
        let cipher = ssl.current_cipher();
        let connected = Connected {
            version: match ssl.version2() {
                Some(SslVersion::DTLS1_3) => DtlsVersion::V1_3,
                _ => DtlsVersion::V1_2,
            },
            cipher: cipher
                .and_then(|c| c.standard_name())
                .unwrap_or("unknown")
                .to_owned(),
            profile,
            keying_material,
            peer_fingerprint,
        };
        self.phase = Phase::Connected;
        self.filter.set_finished();
        self.events
            .push_back(DtlsEvent::Connected(Box::new(connected)));
        Ok(())
    }

    /// Reads application data until the engine has no more.
    fn read(&mut self) -> Result<(), DtlsError> {
        // One datagram holds less than this many records of one byte.
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..MAX_DATAGRAM {
            let Some(stream) = &mut self.stream else {
                break;
            };
            match stream.ssl_read(&mut buffer) {
                Ok(len) if self.events.len() < MAX_EVENTS => {
                    self.events
                        .push_back(DtlsEvent::ApplicationData(buffer[..len].to_vec()));
                }
                Ok(_) => self.counters.queue_overflows += 1,
                Err(error) if error.would_block() => break,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.end(DtlsEvent::Closed(CloseReason::Peer));
                    break;
                }
                Err(error) => return Err(self.explain(&error)),
            }
        }
        Ok(())
    }

    /// Puts an engine error into our words.
    fn explain(&self, error: &ssl::Error) -> DtlsError {
        if let Some(Err(verdict)) = self.verdict.get() {
            return verdict.clone();
        }
        let Some(stack) = error.ssl_error() else {
            // close_notify in the middle of a handshake.
            return if error.code() == ErrorCode::ZERO_RETURN {
                DtlsError::PeerAlert(0)
            } else {
                DtlsError::Handshake("unexpected end".to_owned())
            };
        };
        let code = stack
            .errors()
            .first()
            .map_or(0, boring::error::Error::reason_code);
        match u8::try_from(code - ALERT_REASON_OFFSET) {
            Ok(alert) => DtlsError::PeerAlert(alert),
            Err(_) => DtlsError::Handshake(reason(stack)),
        }
    }

    /// Takes the engine's datagrams and timer.
    fn collect(&mut self, now: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let pipe = stream.get_mut();
        // The queue of the pipe is as long as ours, so that together they hold at most twice as much.
        self.outgoing.append(&mut pipe.outgoing);
        while self.outgoing.len() > crate::pipe::MAX_QUEUED {
            self.outgoing.pop_front();
            self.counters.queue_overflows += 1;
        }
        self.counters.queue_overflows += std::mem::take(&mut pipe.overflows);
        self.timer = ffi::timeout(stream.ssl()).map(|left| now + left);
    }

    /// Ends a session that was never connected or broke, telling the peer where that is possible.
    fn fail(&mut self, error: DtlsError) {
        if error == DtlsError::NoSrtpProfile {
            // For the engine all is well, so that it has not sent an alert.
            self.shutdown();
        }
        self.end(DtlsEvent::Failed(error));
    }

    fn shutdown(&mut self) {
        if let Some(stream) = &mut self.stream
            && stream.shutdown().is_err()
        {
            drop(ErrorStack::get());
        }
    }

    fn end(&mut self, event: DtlsEvent) {
        if self.phase == Phase::Ended {
            return;
        }
        if let Some(mut stream) = self.stream.take() {
            self.outgoing.append(&mut stream.get_mut().outgoing);
        }
        self.phase = Phase::Ended;
        self.timer = None;
        self.events.push_back(event);
    }

    fn set_clock(&self, now: Instant) {
        ffi::set_clock(now.saturating_duration_since(self.epoch));
    }
}

impl DtlsSession for Session {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        // The engine takes an empty datagram for the end of the file.
        if self.phase == Phase::Ended || datagram.is_empty() || datagram.len() > MAX_DATAGRAM {
            self.counters.datagrams_dropped += 1;
            return;
        }
        let filtered = self.filter.apply(datagram);
        self.counters.records_filtered += filtered.dropped;
        if let Some(alert) = filtered.alert
            && self.phase == Phase::Handshaking
        {
            self.suspicion = Some(DtlsError::PeerAlert(alert));
            self.deadline = self.deadline.min(now + ALERT_GRACE);
        }
        if !filtered.records.is_empty() {
            self.feed(now, &filtered.records);
        }
    }

    fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshaking => Some(self.timer.map_or(self.deadline, |t| t.min(self.deadline))),
            Phase::Connected => self.timer,
            Phase::Ended => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Handshaking && now >= self.deadline {
            let error = self.suspicion.take().unwrap_or(DtlsError::Timeout);
            self.fail(error);
            return;
        }
        if self.timer.is_none_or(|timer| now < timer) {
            return;
        }
        self.set_clock(now);
        let Some(stream) = &mut self.stream else {
            return;
        };
        self.counters.retransmissions += 1;
        let can_go_on = ffi::handle_timeout(stream.ssl_mut());
        self.collect(now);
        if !can_go_on {
            // The engine gives up after a dozen. The deadline ends a handshake; what is connected lives
            // on without the acknowledgement.
            drop(ErrorStack::get());
            self.timer = None;
        }
    }

    fn send(&mut self, now: Instant, data: &[u8]) -> Result<(), DtlsError> {
        if self.phase != Phase::Connected {
            return Err(DtlsError::NotConnected);
        }
        if data.is_empty() || data.len() > MAX_APPLICATION_DATA {
            return Err(DtlsError::DataLength);
        }
        if self.outgoing.len() >= crate::pipe::MAX_QUEUED {
            self.counters.queue_overflows += 1;
            return Err(DtlsError::QueueFull);
        }
        self.set_clock(now);
        let Some(stream) = &mut self.stream else {
            return Err(DtlsError::NotConnected);
        };
        let result = stream.ssl_write(data);
        self.collect(now);
        result.map(|_| ()).map_err(|error| self.explain(&error))
    }

    fn close(&mut self, now: Instant) {
        self.set_clock(now);
        if self.phase == Phase::Connected {
            self.shutdown();
        }
        self.end(DtlsEvent::Closed(CloseReason::Local));
    }

    fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("phase", &self.phase)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Accepts the peer's certificate when it hashes to what its SDP announced; names, dates and issuers
/// mean nothing here (RFC 8122 §6, RFC 8827 §6.5).
fn check_certificate(ssl: &SslRef, expected: &[Fingerprint]) -> Result<Fingerprint, DtlsError> {
    let certificate = ssl
        .peer_certificate()
        .ok_or(DtlsError::FingerprintMismatch)?;
    let matched = expected
        .iter()
        .find(|fingerprint| fingerprint.matches(&certificate));
    let matched = matched.ok_or(DtlsError::FingerprintMismatch)?;
    let key = certificate
        .public_key()
        .map_err(|_| DtlsError::UnsupportedKey)?;
    let is_accepted = match key.id() {
        Id::EC => true,
        Id::RSA => (2048..=4096).contains(&key.bits()),
        _ => false,
    };
    if is_accepted {
        Ok(matched.clone())
    } else {
        Err(DtlsError::UnsupportedKey)
    }
}
