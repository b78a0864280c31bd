use std::time::Instant;

use crate::error::DtlsError;
use crate::fingerprint::Fingerprint;
use crate::keying::{KeyingMaterial, SrtpProfile};

/// Longest datagram taken in, in bytes; longer ones are dropped.
pub const MAX_DATAGRAM: usize = 2048;
/// Longest piece of application data that can be sent, in bytes.
pub const MAX_APPLICATION_DATA: usize = 1200;

/// Which side of the handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We send the ClientHello: the peer said `a=setup:passive`.
    Client,
    /// We wait for the ClientHello.
    Server,
}

impl Role {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Protocol versions spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DtlsVersion {
    /// RFC 6347.
    V1_2,
    /// RFC 9147.
    V1_3,
}

impl DtlsVersion {
    /// For logs and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "DTLS 1.2",
            Self::V1_3 => "DTLS 1.3",
        }
    }
}

/// The outcome of a handshake.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Protocol version agreed.
    pub version: DtlsVersion,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// SRTP protection profile agreed.
    pub profile: SrtpProfile,
    /// Keys for both directions of SRTP.
    pub keying_material: KeyingMaterial,
    /// The expected fingerprint that the peer's certificate matched.
    pub peer_fingerprint: Fingerprint,
}

/// Who ended a connected session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// [`DtlsSession::close`] was called.
    Local,
    /// The peer sent close_notify.
    Peer,
}

/// What a session tells its owner.
#[derive(Clone, Debug)]
pub enum DtlsEvent {
    /// The handshake is finished and the peer is who its SDP says. At most once, before all others.
    Connected(Box<Connected>),
    /// One datagram's worth of application data.
    ApplicationData(Vec<u8>),
    /// The session ended in good order. The last event.
    Closed(CloseReason),
    /// The session ended otherwise. The last event.
    Failed(DtlsError),
}

/// What was dropped or done again; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were empty, too long, or came after the end.
    pub datagrams_dropped: u64,
    /// Records that made no sense in the state of the handshake, or were no records.
    pub records_filtered: u64,
    /// Times that the handshake was started afresh because garbage had killed it before our first reply.
    pub rebuilt: u64,
    /// Datagrams or events lost because the owner did not drain a queue.
    pub queue_overflows: u64,
    /// Times that the retransmission timer fired.
    pub retransmissions: u64,
}

/// One DTLS association. Everything is an argument or a return value: no I/O, no clock.
///
/// After each call of `handle_datagram`, `handle_timeout`, `send` or `close`, drain `poll_datagram` and
/// `poll_event`, and ask `next_timeout`.
pub trait DtlsSession: Send {
    /// Takes one datagram whose first byte says DTLS (20 to 63, RFC 7983) and whose address pair ICE has
    /// validated.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]);

    /// The next datagram to send to the peer.
    fn poll_datagram(&mut self) -> Option<Vec<u8>>;

    /// The next event.
    fn poll_event(&mut self) -> Option<DtlsEvent>;

    /// When `handle_timeout` is to be called; `None` when nothing is pending.
    fn next_timeout(&self) -> Option<Instant>;

    /// Does what has become due by `now`: retransmissions, or giving up.
    fn handle_timeout(&mut self, now: Instant);

    /// Encrypts application data into one datagram.
    ///
    /// # Errors
    /// `NotConnected`, `DataLength` or `QueueFull`; the session goes on.
    fn send(&mut self, now: Instant, data: &[u8]) -> Result<(), DtlsError>;

    /// Ends the session, telling the peer by close_notify when connected. Does nothing the second time.
    fn close(&mut self, now: Instant);

    /// True between [`DtlsEvent::Connected`] and the end.
    fn is_connected(&self) -> bool;

    /// What was dropped or done again so far.
    fn counters(&self) -> Counters;
}
