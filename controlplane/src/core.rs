//! The core: one task that owns all sessions, rooms and rows.
//!
//! HTTP handlers talk to it by [`Command`]s over a bounded queue; datagrams of the
//! control sockets, the clock and the dataplane's going away are its other inputs. What
//! can be pure is pure and lives elsewhere (`rooms`, `session`, `rows`); here it is
//! brought together. Nothing in here waits for anything but its inputs.
//!
//! Invariants:
//! - **Stored before answered**: a session that a client was told of is in the store.
//! - **Rows of a session that ended are free** when the call that ended it returns.
//! - **The rows of a session are announced together**, after all of them are written.

pub(crate) mod act;
mod admission;
mod carry;
mod commands;
mod data;
mod ended;
mod fanout;
mod inspect;
mod layers;
mod media;
mod offer;
mod play;
mod program;
mod quality;
mod rates;
mod requests;
mod restore;
mod run;
mod signal;
mod stage;
mod start;
mod statistics;
mod told;
mod udp;

pub(crate) use commands::abandoned;
pub use data::DataMessage;
pub use media::MediaEvent;
pub use run::Dataplane;
pub use start::StartError;

use crate::candidates::{Loopback, candidates};
use crate::events::Log;
use crate::limits;
use crate::metrics::Metrics;
use crate::programmer::Programmer;
use crate::record::Record;
use crate::rooms::{Capacity, Key, Rooms};
use crate::session::{EndCause, Output, Session};
use crate::store::Store;
use crate::throttle::Throttle;
use ion_api::accounts::Subject;
use ion_api::backend::{Created, Patched, Play, PlayRequest, PublishRequest, SessionRef};
use ion_api::govern::Act;
use ion_api::if_match::IfMatch;
use ion_api::model::access::KeyUsage;
use ion_api::model::stats::ParticipantStats;
use ion_api::model::{EndedInfo, ParticipantInfo, Role, RoomInfo, Status, TrackInfo};
use ion_api::names::{Identity, RoomName};
use ion_api::problem::Problem;
use ion_api::signal::client::Resume;
use ion_api::signal::server as signalling;
use ion_api::signal::{Backlog, ClientMessage, JoinRequest, Outbox, ParticipantId, PublicationId};
use ion_api::whep::extensions::{LayerSelection, Playing};
use ion_dtls::Endpoint;
use ion_ice::{Pair, Timeouts};
use ion_sdp::{Candidate, SdpFragment, SessionDescription};
use ion_tables::attach::{AttachError, Attached};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::Discriminant;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Settings of the core.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the dataplane's socket and of the store.
    pub state_dir: PathBuf,
    /// Addresses to announce; empty: those of the interfaces.
    pub public_ips: Vec<IpAddr>,
    /// Where loopback goes among the latter.
    pub loopback: Loopback,
    /// ICE time-outs.
    pub ice: Timeouts,
    /// DTLS versions, SRTP profiles and time-out.
    pub dtls: ion_dtls::Config,
    /// How many may come in.
    pub rooms: Capacity,
    /// Where it is written down what happens.
    pub log: Option<Arc<Log>>,
    /// Where what waits to be sent to clients counts; sockets count in it too.
    pub backlog: Backlog,
    /// Bytes of data messages sent on for one sender in a second, counted once for each who gets them.
    pub fanout_bytes_per_second: u64,
}

impl Config {
    /// The defaults, with this state folder.
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            public_ips: Vec::new(),
            loopback: Loopback::Last,
            ice: Timeouts::default(),
            dtls: ion_dtls::Config::default(),
            rooms: Capacity::default(),
            log: None,
            backlog: Backlog::default(),
            fanout_bytes_per_second: limits::FANOUT_BYTES_PER_SECOND,
        }
    }
}

/// Where the answer to a command goes.
pub type Reply<T> = oneshot::Sender<T>;

/// What HTTP handlers ask for.
pub enum Command {
    /// WHIP POST.
    Publish(
        Box<PublishRequest>,
        Box<SessionDescription>,
        Reply<Result<Created, Problem>>,
    ),
    /// WHEP POST.
    Play(
        Box<PlayRequest>,
        Box<SessionDescription>,
        Reply<Result<Play, Problem>>,
    ),
    /// PATCH with a fragment.
    Patch(
        SessionRef,
        IfMatch,
        Box<SdpFragment>,
        Reply<Result<Patched, Problem>>,
    ),
    /// PATCH with the answer to a counter-offer.
    Accept(
        SessionRef,
        Box<SessionDescription>,
        Reply<Result<(), Problem>>,
    ),
    /// DELETE.
    End(SessionRef, Reply<Result<(), Problem>>),
    /// The sessions of tokens that were revoked end.
    Revoke(Subject, Reply<()>),
    /// A socket enters a room.
    SignalJoin(
        Box<JoinRequest>,
        Option<u32>,
        Outbox,
        Reply<Result<ParticipantId, signalling::Problem>>,
    ),
    /// A socket goes on with a session.
    SignalResume(
        Resume,
        Option<u32>,
        Outbox,
        Reply<Result<ParticipantId, signalling::Problem>>,
    ),
    /// A request over a socket; of an offer, the description.
    Signal(
        Key,
        u64,
        Box<ClientMessage>,
        Option<Box<SessionDescription>>,
    ),
    /// A socket is gone.
    SignalClosed(Key, u64),
    /// Data from the application's server: to these identities, or to the whole room.
    Data(
        RoomName,
        Option<Vec<String>>,
        Box<DataMessage>,
        Reply<Result<(), Problem>>,
    ),
    /// Somebody wants to see the rooms.
    Look(Box<dyn FnOnce(&Rooms) + Send>),
    /// What the management API asks of a room.
    Act(RoomName, Box<Act>, Reply<Result<(), Problem>>),
    /// Moderation.
    Govern(Box<crate::rooms::Input>, Reply<Result<(), Problem>>),
    /// All rooms.
    Rooms(Reply<Vec<RoomInfo>>),
    /// One room.
    Room(RoomName, Reply<Option<RoomInfo>>),
    /// A room's participants.
    Participants(RoomName, Reply<Option<Vec<ParticipantInfo>>>),
    /// A room's sessions that ended lately.
    Ended(RoomName, Reply<Vec<EndedInfo>>),
    /// A participant's tracks.
    Tracks(RoomName, Identity, Reply<Option<Vec<TrackInfo>>>),
    /// What an API key takes.
    Usage(String, Reply<KeyUsage>),
    /// What was counted of a participant's media.
    Stats(RoomName, Identity, Reply<Option<ParticipantStats>>),
    /// What a viewer may be sent.
    Playing(SessionRef, Reply<Option<Playing>>),
    /// Bounds what a viewer is sent.
    SelectLayers(SessionRef, Box<LayerSelection>, Reply<Result<(), Problem>>),
    /// State of the server.
    Status(Reply<Status>),
}

/// Log lines that peers can cause.
struct Throttles {
    sessions: Throttle,
    store: Throttle,
}

/// The task's state.
pub struct Core {
    config: Config,
    endpoint: Endpoint,
    store: Store,
    epoch: u64,
    programmer: Programmer,
    dataplane: Option<Dataplane>,
    candidates: Vec<Candidate>,
    media: Vec<SocketAddr>,
    sessions: HashMap<Key, Session>,
    /// By id in paths.
    ids: HashMap<String, Key>,
    /// By local username fragment; superseded ones too, while they are answered.
    ufrags: HashMap<String, Key>,
    /// By validated pair.
    pairs: HashMap<Pair, Key>,
    /// Sessions whose DTLS or SCTP timers run.
    handshaking: BTreeSet<Key>,
    /// Sessions whose path is to change when that is allowed again.
    moving: BTreeSet<Key>,
    rooms: Rooms,
    told: told::Told,
    signalling: signal::Signalling,
    fanout: fanout::Fanout,
    /// Bits per second that the participants of an API key may publish together, as of its last newcomer.
    publish_limits: BTreeMap<String, u32>,
    /// Bits of `TrackConfig::subscriber_workers` as written, by track row.
    masks: HashMap<u32, u64>,
    /// Of the rooms that have one.
    stages: BTreeMap<RoomName, stage::Stage>,
    qualities: quality::Qualities,
    /// Publications whose viewers have changed since these were written.
    stale_masks: BTreeSet<PublicationId>,
    bindings_visited: u64,
    rates: rates::Rates,
    ended: ended::Ended,
    next_key: u64,
    started: Instant,
    events: Vec<ion_tables::EventReader>,
    live: media::Live,
    throttles: Throttles,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    /// An attempt to attach to a new dataplane that is under way.
    reattaching: Option<oneshot::Receiver<Result<Attached, AttachError>>>,
    /// How the last attempt was refused.
    refused: Option<Discriminant<AttachError>>,
}

impl Core {
    fn candidates_of(config: &Config, media: &[SocketAddr]) -> Vec<Candidate> {
        candidates(&config.public_ips, media, config.loopback)
    }

    /// What others count of this core.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// True while sessions can be taken.
    pub fn ready_flag(&self) -> &Arc<AtomicBool> {
        &self.ready
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many bindings of viewers to tracks were looked at so far, to find out which
    /// workers a track goes to: the cost of rooms, for tests and benches.
    pub fn bindings_visited(&self) -> u64 {
        self.bindings_visited
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sends what a session gave, and acts upon its events.
    fn act(&mut self, now: Instant, key: Key, output: Output) {
        use crate::session::SessionEvent;
        self.transmit(&output.transmits);
        for event in output.events {
            match event {
                SessionEvent::Validated(pair) => self.learn_pair(key, pair),
                SessionEvent::Nominated => self.write_path(now, key),
                SessionEvent::Keyed(connected) => self.keyed(now, key, &connected),
                SessionEvent::Ended(cause) => self.end(now, key, &cause),
                SessionEvent::Channel(event) => self.channel_event(now, key, event),
                SessionEvent::StunIgnored(reason) => self.metrics.stun_ignored(reason),
            }
        }
        match self.sessions.get(&key).is_some_and(Session::has_timers) {
            true => self.handshaking.insert(key),
            false => self.handshaking.remove(&key),
        };
    }

    fn transmit(&mut self, transmits: &[(Pair, Vec<u8>)]) {
        let Some(dataplane) = &self.dataplane else {
            return;
        };
        for (pair, datagram) in transmits {
            if dataplane.sockets.send(*pair, datagram) {
                self.metrics.udp_sent.inc();
            } else {
                self.metrics
                    .udp_dropped(crate::metrics::UdpDrop::SendFailed);
            }
        }
    }

    fn learn_pair(&mut self, key: Key, pair: Pair) {
        self.pairs.insert(pair, key);
        // The agent forgets pairs beyond its limit; so do we.
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let known: BTreeSet<_> = session
            .agent()
            .pairs()
            .map(|(pair, _)| (pair.remote, pair.local))
            .collect();
        if known.len() == ion_ice::MAX_PAIRS {
            self.pairs
                .retain(|pair, owner| *owner != key || known.contains(&(pair.remote, pair.local)));
        }
    }

    /// Ends a session. A WHIP or WHEP participant ends with it; one of the SDK may connect again.
    fn end(&mut self, now: Instant, key: Key, cause: &EndCause) {
        match self.close_session(now, key, cause) {
            Some(Role::Participant) => self.transport_lost(now, key),
            Some(_) => self.forget_in_room(now, key),
            None => {}
        }
        self.gauge();
    }

    /// Closes a session: tells the peer, and frees its rows.
    fn close_session(&mut self, now: Instant, key: Key, cause: &EndCause) -> Option<Role> {
        let mut session = self.sessions.remove(&key)?;
        let mut output = Output::default();
        session.close(now, &mut output);
        self.transmit(&output.transmits);
        self.ids.remove(session.id.as_str());
        self.ufrags.retain(|_, owner| *owner != key);
        self.pairs.retain(|_, owner| *owner != key);
        self.handshaking.remove(&key);
        self.moving.remove(&key);
        // They are not sent there any more.
        self.stale_masks
            .extend(self.rooms.bound(key).iter().flatten());
        self.release_rows(&session.record);
        self.delete_stored(session.id.as_str());
        let role = session.record.role();
        self.metrics.dtls_filtered.inc_by(session.dtls_filtered());
        self.metrics
            .session_ended(role, cause, session.is_connected());
        if let Some(hidden) = self.throttles.sessions.allow(now) {
            tracing::info!(session = ?session.id, ?role, cause = cause.name(), hidden, "session ended");
        }
        self.ended.push(now, &session, cause);
        Some(role)
    }

    fn gauge(&self) {
        self.metrics
            .rooms
            .set(i64::try_from(self.rooms.len()).unwrap_or(i64::MAX));
        let queued = self.config.backlog.bytes();
        self.metrics
            .queued_bytes
            .set(i64::try_from(queued).unwrap_or(i64::MAX));
        for kind in ion_tables::RowKind::ALL {
            let (used, capacity) = self.programmer.usage(kind);
            self.metrics.rows(kind, used, capacity);
        }
    }

    fn put_stored(&mut self, now: Instant, key: Key) -> bool {
        let Some(session) = self.sessions.get(&key) else {
            return false;
        };
        let result = self.store.put(self.epoch, &session.record);
        self.stored(now, result)
    }

    /// Stores what a client is about to be told.
    fn put_record(&mut self, now: Instant, record: &Record) -> Result<(), Problem> {
        let result = self.store.put(self.epoch, record);
        let text = "the server's store cannot be written";
        self.stored(now, result)
            .then_some(())
            .ok_or_else(|| Problem::overloaded(text, limits::FULL_RETRY_S))
    }

    fn delete_stored(&mut self, id: &str) {
        let result = self.store.delete(id);
        self.stored(Instant::now(), result);
    }

    fn stored(&mut self, now: Instant, result: Result<(), crate::store::StoreError>) -> bool {
        let Err(error) = result else { return true };
        self.metrics.store_errors.inc();
        if let Some(hidden) = self.throttles.store.allow(now) {
            tracing::error!(%error, hidden, "the store cannot be written");
        }
        false
    }

    fn random<const N: usize>() -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).map_err(|_| Problem::internal())?;
        Ok(bytes)
    }

    fn publication_id(&mut self) -> PublicationId {
        PublicationId(self.key().0)
    }

    fn key(&mut self) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        key
    }
}

fn unix_seconds() -> u64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_secs())
}

fn throttles() -> Throttles {
    Throttles {
        sessions: Throttle::new(50, Duration::from_millis(200)),
        store: Throttle::new(3, Duration::from_secs(10)),
    }
}
