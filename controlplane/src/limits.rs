//! Every limit of the control plane's core. What a client can make us keep or do is
//! bounded here, by the limits of `ion_sdp`, `ion_ice` and `ion_dtls`, and by the
//! capacities of the tables.

use std::time::Duration;

/// Requests that wait for the core; one more gets a 503.
pub const COMMANDS: usize = 512;

/// Rooms that have a session; one more gets a 503.
pub const ROOMS: usize = 4_096;

/// Sessions in one room, publishers and viewers together.
pub const SESSIONS_PER_ROOM: usize = 4_096;

/// Publishing sessions in one room.
pub const PUBLISHERS_PER_ROOM: usize = 256;

/// Publications of one participant.
pub const PUBLICATIONS: usize = 16;

/// Streams of sound of one room, where it has so many.
pub const AUDIO_SLOTS: u8 = ion_api::limits::AUDIO_SLOTS;

/// Publications that one participant receives at a time.
pub const SUBSCRIPTIONS: usize = 96;

/// Bytes of a label that a client gives: `peer`, `cid`, names of tracks and streams.
pub const LABEL_BYTES: usize = 256;

/// Bytes of a message on a data channel: the payload of a data message, with its header.
pub const DATA_CHANNEL_BYTES: u32 = 48 * 1024;

/// Bytes that wait to be read, or to be sent, on a data channel.
pub const CHANNEL_BUFFER_BYTES: u32 = 512 * 1024;

/// Streams of an SCTP association; a channel takes one.
pub const CHANNEL_STREAMS: u16 = 64;

/// Messages that a client may send on its data channels in a second.
pub const CHANNEL_MESSAGES_PER_SECOND: u32 = 500;

/// Bytes of them.
pub const CHANNEL_BYTES_PER_SECOND: usize = 2 * 1024 * 1024;

/// Bytes of data messages that are sent on for one sender in a second, in the long run: a message to a
/// room of N counts N times.
pub const FANOUT_BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;

/// Seconds' worth of them at once.
pub const FANOUT_BURST_S: u64 = 4;

/// What sending on one message costs beside its payload, in such bytes.
pub const COPY_BYTES: u64 = 512;

/// Changes in one `subscribe`.
pub const SUBSCRIPTION_CHANGES: usize = 512;

/// Events of a participant that are kept for a `resume`.
pub const EVENTS_KEPT: usize = 512;

/// Bytes of them.
pub const EVENT_BYTES_KEPT: usize = 256 * 1024;

/// Rooms that one publication is attached to, beside its own.
pub const ATTACHED: usize = 256;

/// Bytes of a participant's or room's metadata, and of all attributes with their keys.
pub const METADATA_BYTES: usize = 16 * 1024;

/// How long a participant of which neither socket nor transport is left may come back.
pub const RESUME_WITHIN: Duration = Duration::from_secs(30);

/// Sessions of one room that ended and are still shown, with the reason.
pub const ENDED_PER_ROOM: usize = 16;

/// Ended sessions shown in all rooms together.
pub const ENDED: usize = 1_024;

/// How long an ended session is shown.
pub const ENDED_FOR: Duration = Duration::from_secs(300);

/// Username fragments of a peer that are known as superseded by an ICE restart.
pub const PAST_UFRAGS: usize = 4;

/// How long a counter-offer waits for its answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Datagrams read from one socket before others get their turn.
pub const DATAGRAMS_PER_TURN: usize = 64;

/// Longest datagram read; STUN and DTLS are far below.
pub const DATAGRAM_BYTES: usize = 2_048;

/// Addresses announced in an answer.
pub const CANDIDATES: usize = 16;

/// What a player who came too early is told to wait, seconds.
pub const NOT_LIVE_RETRY_S: u32 = 2;

/// What a client is told to wait when a table is full, seconds.
pub const FULL_RETRY_S: u32 = 10;

/// How long the control plane looks for the dataplane at its start.
pub const ATTACH_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait between two looks.
pub const ATTACH_INTERVAL: Duration = Duration::from_millis(50);

/// How often the DTLS timers of handshakes under way are looked at.
pub const TICK: Duration = Duration::from_millis(50);

/// How often consent, rates and the heartbeat are looked at.
pub const SECOND: Duration = Duration::from_secs(1);

/// Events kept for those who follow, beside those that wait for webhooks.
pub const HISTORY: u64 = 10_000;

/// Events that wait for one webhook; of more, the oldest are lost.
pub const PENDING: u32 = 100_000;

/// Events that one webhook did not take and that are kept; of more, the oldest are lost.
pub const FAILED: u32 = 10_000;

/// For how long an event is tried, milliseconds.
pub const DELIVERY_MS: u64 = 24 * 3_600_000;

/// How long one attempt may take.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts at the same time, to all webhooks together.
pub const DELIVERIES_AT_ONCE: usize = 16;

/// The shortest time between two changes of a session's path; a later one waits.
pub const PATH_INTERVAL: Duration = Duration::from_millis(100);

/// A peer that has sent no check for this long counts as disconnected; consent
/// itself lasts longer (RFC 7675, section 5.1).
pub const CONSENT_LATE: Duration = Duration::from_secs(8);

const _: () = assert!(PUBLISHERS_PER_ROOM <= SESSIONS_PER_ROOM);
const _: () = assert!(ENDED_PER_ROOM <= ENDED);
const _: () = assert!(CANDIDATES <= ion_sdp::limits::MAX_CANDIDATES);
const _: () = assert!(DATA_CHANNEL_BYTES as usize > ion_api::limits::DATA_BYTES);
const _: () = assert!(DATAGRAM_BYTES >= ion_dtls::session::MAX_DATAGRAM);
