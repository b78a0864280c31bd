//! What the control plane counts, and the workers' own counters, as OpenMetrics text.
//!
//! Workers' counters are read from the shared memory at the scrape; nothing on the
//! packet path knows of metrics. The number of series is fixed by what is compiled in
//! and by the number of workers, never by what a client does.

/// The dataplane's own counters.
mod dataplane;
/// How viewers fare, in bins.
mod viewers;

use crate::programmer::table_name;
use crate::session::EndCause;
use ion_api::model::Role;
use ion_api::signal::session::Stuck;
use ion_tables::{EventKind, RowKind, Tables};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use std::sync::{Arc, Mutex, PoisonError};

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    kind: &'static str,
}

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    cause: &'static str,
}

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: &'static str,
}

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TableLabel {
    table: &'static str,
}

/// Outcome of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabel {
    version: &'static str,
    profile: &'static str,
}

/// Why a datagram of the control socket came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpDrop {
    /// Neither STUN nor DTLS.
    NotForUs,
    /// A STUN request for a username that no session has.
    UnknownUser,
    /// STUN without a username.
    NoUsername,
    /// DTLS from an address that ICE has not validated.
    UnvalidatedDtls,
    /// DTLS of a session whose handshake was an earlier process's; nothing can read it.
    InheritedDtls,
    /// Likewise, an encrypted alert by its looks: a goodbye.
    InheritedAlert,
    /// Longer than anything we expect.
    TooLong,
    /// The kernel did not take an answer.
    SendFailed,
}

impl UdpDrop {
    fn name(self) -> &'static str {
        match self {
            Self::NotForUs => "not_for_us",
            Self::UnknownUser => "unknown_user",
            Self::NoUsername => "no_username",
            Self::UnvalidatedDtls => "unvalidated_dtls",
            Self::InheritedDtls => "inherited_dtls",
            Self::InheritedAlert => "inherited_dtls_alert",
            Self::TooLong => "too_long",
            Self::SendFailed => "send_failed",
        }
    }
}

/// Why data between participants was not sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDrop {
    /// Its sender sends more in a second than it may.
    TooMany,
    /// Its sender had so much sent on, to so many, that this has to wait.
    FanOut,
    /// The receiver does not read what is sent to it.
    ReceiverFull,
    /// Too much waits for all receivers together.
    AllFull,
}

impl DataDrop {
    const ALL: [Self; 4] = [
        Self::TooMany,
        Self::FanOut,
        Self::ReceiverFull,
        Self::AllFull,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::FanOut => "fan_out",
            Self::ReceiverFull => "receiver_full",
            Self::AllFull => "all_full",
        }
    }
}

fn stuck_name(stuck: Stuck) -> &'static str {
    match stuck {
        Stuck::Full => DataDrop::ReceiverFull.name(),
        Stuck::AllFull => DataDrop::AllFull.name(),
    }
}

/// The tables that scrapes read; another set after the dataplane was replaced.
type Shared = Arc<Mutex<Option<Arc<Tables>>>>;

/// Everything that is counted.
#[derive(Default)]
pub struct Metrics {
    sessions: Family<KindLabel, Gauge>,
    created: Family<KindLabel, Counter>,
    ended: Family<CauseLabel, Counter>,
    handshakes: Family<HandshakeLabel, Counter>,
    handshake_failures: Family<CauseLabel, Counter>,
    stun_ignored: Family<ReasonLabel, Counter>,
    udp_dropped: Family<ReasonLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    data_dropped: Family<ReasonLabel, Counter>,
    sockets_cut: Family<ReasonLabel, Counter>,
    /// Bytes that wait to be sent to clients.
    pub queued_bytes: Gauge,
    rows_used: Family<TableLabel, Gauge>,
    rows_capacity: Family<TableLabel, Gauge>,
    /// Rooms that have a session.
    pub rooms: Gauge,
    /// Datagrams taken from the control sockets.
    pub udp_received: Counter,
    /// Datagrams sent from them.
    pub udp_sent: Counter,
    /// DTLS records that made no sense and were dropped.
    pub dtls_filtered: Counter,
    events: Family<KindLabel, Counter>,
    /// Events of workers that were overwritten before they were read.
    pub events_lost: Counter,
    /// Writes to the store that failed.
    pub store_errors: Counter,
    /// Sessions taken up at the start, or carried to a new dataplane.
    pub sessions_resumed: Counter,
    /// Rows without a session that were freed.
    pub rows_swept: Counter,
    tables: Shared,
}

fn kind(role: Role) -> KindLabel {
    let kind = match role {
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
        Role::Participant => "participant",
    };
    KindLabel { kind }
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        let metrics = Self::default();
        // Series exist from the start: a rate needs a zero to begin at.
        for role in [Role::Publisher, Role::Viewer, Role::Participant] {
            drop(metrics.sessions.get_or_create(&kind(role)));
            drop(metrics.created.get_or_create(&kind(role)));
        }
        for kind in EVENT_KINDS {
            drop(metrics.events.get_or_create(&event_label(kind)));
        }
        for reason in DataDrop::ALL.map(DataDrop::name) {
            drop(metrics.data_dropped.get_or_create(&ReasonLabel { reason }));
        }
        for reason in [Stuck::Full, Stuck::AllFull].map(stuck_name) {
            drop(metrics.sockets_cut.get_or_create(&ReasonLabel { reason }));
        }
        for cause in EndCause::NAMES {
            drop(metrics.ended.get_or_create(&CauseLabel { cause }));
            if is_handshake_failure(cause) {
                drop(
                    metrics
                        .handshake_failures
                        .get_or_create(&CauseLabel { cause }),
                );
            }
        }
        metrics
    }

    /// Which tables scrapes read from now on.
    pub fn set_tables(&self, tables: Option<Arc<Tables>>) {
        *self.tables.lock().unwrap_or_else(PoisonError::into_inner) = tables;
    }

    /// A session began.
    pub fn session_created(&self, role: Role) {
        self.created.get_or_create(&kind(role)).inc();
        self.sessions.get_or_create(&kind(role)).inc();
    }

    /// A session was taken up.
    pub fn session_resumed(&self, role: Role) {
        self.sessions_resumed.inc();
        self.sessions.get_or_create(&kind(role)).inc();
    }

    /// A session ended.
    pub fn session_ended(&self, role: Role, cause: &EndCause, was_connected: bool) {
        self.sessions.get_or_create(&kind(role)).dec();
        let label = CauseLabel {
            cause: cause.name(),
        };
        self.ended.get_or_create(&label).inc();
        if !was_connected && is_handshake_failure(cause.name()) {
            self.handshake_failures.get_or_create(&label).inc();
        }
    }

    /// A handshake succeeded.
    pub fn handshake(&self, version: &'static str, profile: &'static str) {
        self.handshakes
            .get_or_create(&HandshakeLabel { version, profile })
            .inc();
    }

    /// A STUN packet was ignored or refused.
    pub fn stun_ignored(&self, reason: ion_ice::Reason) {
        self.stun_ignored
            .get_or_create(&ReasonLabel {
                reason: reason.name(),
            })
            .inc();
    }

    /// A datagram came to nothing.
    pub fn udp_dropped(&self, reason: UdpDrop) {
        self.udp_dropped
            .get_or_create(&ReasonLabel {
                reason: reason.name(),
            })
            .inc();
    }

    /// A worker told of something.
    pub fn event(&self, kind: EventKind) {
        self.events.get_or_create(&event_label(kind)).inc();
    }

    /// A request was refused for want of room: which limit it met.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Data of a participant was not sent on; of a refused message once, else to one receiver.
    pub fn data_dropped(&self, why: DataDrop) {
        let reason = why.name();
        self.data_dropped
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// A socket was closed that took no more; its client resumes.
    pub fn socket_cut(&self, why: Stuck) {
        let reason = stuck_name(why);
        self.sockets_cut
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// How full a table is.
    pub fn rows(&self, table: RowKind, used: u32, capacity: u32) {
        let label = TableLabel {
            table: table_name(table),
        };
        self.rows_used.get_or_create(&label).set(i64::from(used));
        self.rows_capacity
            .get_or_create(&label)
            .set(i64::from(capacity));
    }

    /// A registry of all of it.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("ion");
        self.add_sessions(&mut registry);
        self.add_datagrams(&mut registry);
        self.add_resources(&mut registry);
        registry.register_collector(Box::new(dataplane::Dataplane(Arc::clone(&self.tables))));
        registry
    }

    fn add_sessions(&self, r: &mut Registry) {
        add(r, "rooms", "Rooms that have a session", &self.rooms);
        add(r, "sessions", "Sessions that exist", &self.sessions);
        add(r, "sessions_created", "Sessions ever made", &self.created);
        add(
            r,
            "sessions_ended",
            "Sessions that ended, by cause",
            &self.ended,
        );
        add(
            r,
            "sessions_resumed",
            "Sessions taken up after a restart",
            &self.sessions_resumed,
        );
        add(
            r,
            "handshakes",
            "DTLS handshakes that succeeded",
            &self.handshakes,
        );
        add(
            r,
            "handshake_failures",
            "Sessions that ended before they were connected, by cause",
            &self.handshake_failures,
        );
    }

    fn add_datagrams(&self, r: &mut Registry) {
        add(
            r,
            "stun_ignored",
            "STUN packets ignored or refused",
            &self.stun_ignored,
        );
        add(
            r,
            "control_dropped",
            "Datagrams of the control sockets that came to nothing",
            &self.udp_dropped,
        );
        add(
            r,
            "control_received",
            "Datagrams from the control sockets",
            &self.udp_received,
        );
        add(
            r,
            "control_sent",
            "Datagrams sent from the control sockets",
            &self.udp_sent,
        );
        add(
            r,
            "dtls_filtered",
            "DTLS records that made no sense",
            &self.dtls_filtered,
        );
    }

    fn add_resources(&self, r: &mut Registry) {
        add(
            r,
            "data_dropped",
            "Messages of data that were not sent on, by reason; of those under way, copies",
            &self.data_dropped,
        );
        add(
            r,
            "sockets_cut",
            "Signalling sockets closed because too much waited to be sent",
            &self.sockets_cut,
        );
        add(
            r,
            "queued_bytes",
            "Bytes that wait to be sent on signalling sockets and data channels",
            &self.queued_bytes,
        );
        add(
            r,
            "requests_refused",
            "Requests refused because a limit is reached",
            &self.refused,
        );
        add(r, "rows_used", "Rows in use", &self.rows_used);
        add(r, "rows_capacity", "Rows there are", &self.rows_capacity);
        add(
            r,
            "rows_swept",
            "Rows without a session that were freed",
            &self.rows_swept,
        );
        add(
            r,
            "events",
            "Events of workers that were read, by kind",
            &self.events,
        );
        add(
            r,
            "events_lost",
            "Worker events overwritten before they were read",
            &self.events_lost,
        );
        add(
            r,
            "store_errors",
            "Writes to the store that failed",
            &self.store_errors,
        );
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: &M) {
    registry.register(name, help, metric.clone());
}

const EVENT_KINDS: [EventKind; 14] = [
    EventKind::EncodingStarted,
    EventKind::EncodingStalled,
    EventKind::EncodingResumed,
    EventKind::LayerSwitched,
    EventKind::KeyframeWait,
    EventKind::EncodingEnded,
    EventKind::WorkerTrouble,
    EventKind::SpeechStarted,
    EventKind::SpeechEnded,
    EventKind::VideoStarved,
    EventKind::VideoFed,
    EventKind::LayerUnwatched,
    EventKind::LayerWatched,
    EventKind::SeatTaken,
];

fn event_label(kind: EventKind) -> KindLabel {
    let kind = match kind {
        EventKind::EncodingStarted => "encoding_started",
        EventKind::EncodingStalled => "encoding_stalled",
        EventKind::EncodingResumed => "encoding_resumed",
        EventKind::LayerSwitched => "layer_switched",
        EventKind::KeyframeWait => "keyframe_wait",
        EventKind::EncodingEnded => "encoding_ended",
        EventKind::WorkerTrouble => "worker_trouble",
        EventKind::SpeechStarted => "speech_started",
        EventKind::SpeechEnded => "speech_ended",
        EventKind::VideoStarved => "video_starved",
        EventKind::VideoFed => "video_fed",
        EventKind::LayerUnwatched => "layer_unwatched",
        EventKind::LayerWatched => "layer_watched",
        EventKind::SeatTaken => "seat_taken",
    };
    KindLabel { kind }
}

fn is_handshake_failure(cause: &str) -> bool {
    cause == "ice_timeout" || (cause.starts_with("dtls_") && cause != "dtls_closed")
}
