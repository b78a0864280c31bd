//! Every limit of the HTTP surface.

use std::time::Duration;

/// Largest request body (an SDP or an SDP fragment), in bytes. A browser's offer with three
/// simulcast layers and all codecs is below 16 KiB.
pub const BODY_BYTES: usize = 64 * 1024;

/// Bytes of a body that is too large which are read and thrown away, so that the refusal reaches a
/// client that only listens when it has sent everything.
pub const DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// Time in which a request body must have arrived completely.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time in which a request head must have arrived completely; also how long an idle kept-alive
/// connection stays open.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for which a client may leave what was sent to it unacknowledged, or its receive window shut,
/// before its connection is ended (`TCP_USER_TIMEOUT`, RFC 5482).
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Time in which a backend must have answered; afterwards the client gets a 503.
pub const BACKEND_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of one request head: request line and all header fields.
pub const HEAD_BYTES: usize = 16 * 1024;

/// Header fields of one request.
pub const HEADER_FIELDS: usize = 64;

/// Bytes of one bearer token.
pub const TOKEN_BYTES: usize = 8 * 1024;

/// Bytes of a room name.
pub const ROOM_NAME_BYTES: usize = 128;

/// Bytes of an identity.
pub const IDENTITY_BYTES: usize = 128;

/// Bytes of a display name; longer ones are cut.
pub const DISPLAY_NAME_BYTES: usize = 256;

/// Bytes of a session id.
pub const SESSION_ID_BYTES: usize = 64;

/// Entity tags looked at in `If-Match`.
pub const IF_MATCH_TAGS: usize = 16;

/// Bytes of a problem's `detail`.
pub const DETAIL_BYTES: usize = 512;

/// Requests that the WHIP, WHEP and `/v1` endpoints work on at the same time; one more gets a 503.
pub const REQUESTS_IN_FLIGHT: usize = 512;

/// Event streams of WHEP players that may be open; one more gets a 503.
pub const WHEP_STREAMS: usize = 1024;

/// Open connections; one more waits in the kernel's backlog.
pub const CONNECTIONS: usize = 4096;

/// Open connections of one client (an IPv4 address or an IPv6 /64) that is not on this machine.
pub const CONNECTIONS_PER_CLIENT: usize = 1024;

/// Clients that the rate limiter tells apart: addresses are hashed, with a secret, into this many.
pub const RATE_BUCKETS: u32 = 65_536;

/// Sockets of `/v1/signal`; one more gets a 503.
pub const SOCKETS: usize = 16_384;

/// Sockets of one client (an IPv4 address or an IPv6 /64) that is not on this machine.
pub const SOCKETS_PER_CLIENT: usize = 256;

/// Bytes of a text message of a socket: an offer with all sections fits.
pub const MESSAGE_BYTES: usize = 512 * 1024;

/// Bytes of a data message's payload.
pub const DATA_BYTES: usize = 32 * 1024;

/// Messages that wait to be sent on a socket; with one more it is closed.
pub const OUTBOX_MESSAGES: usize = 1_024;

/// Bytes that wait to be sent on a socket; with more it is closed.
pub const OUTBOX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that wait to be sent to all clients together, on sockets and data channels.
pub const QUEUED_BYTES: usize = 256 * 1024 * 1024;

/// Bytes that may wait for one client, however much waits for others.
pub const QUEUED_BYTES_EACH: usize = 16 * 1024;

/// Messages that a socket may send at once.
pub const MESSAGE_BURST: u32 = 256;

/// Messages that a socket may send each second, in the long run.
pub const MESSAGES_PER_SECOND: u32 = 64;

/// Time in which a socket must have joined or resumed.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client should ping.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A socket on which nothing comes for this long is closed.
pub const SOCKET_IDLE: Duration = Duration::from_secs(15);

/// How long a stop waits for answers under way.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// API keys made over HTTP.
pub const KEYS: usize = 1_024;

/// Users.
pub const USERS: usize = 100_000;

/// Revocations, of which all are held in memory.
pub const REVOCATIONS: usize = 100_000;

/// Bytes of a label or reason.
pub const LABEL_BYTES: usize = 256;

/// Bytes of metadata, and of all attributes together.
pub const METADATA_BYTES: usize = 4_096;

/// Streams of sound of one room, where it has so many.
pub const AUDIO_SLOTS: u8 = 16;

/// Attributes of one user or participant.
pub const ATTRIBUTES: usize = 32;

/// Sources in `canPublishSources`.
pub const SOURCES: usize = 16;
/// Bytes of one source.
pub const SOURCE_BYTES: usize = 32;

/// Longest life of a token, and longest time that it is refreshed for, seconds.
pub const TOKEN_TTL_S: u64 = 366 * 24 * 3600;

/// Longest time for which the secret before the last one is still accepted, seconds.
pub const GRACE_S: u64 = 30 * 24 * 3600;

/// Webhooks.
pub const WEBHOOKS: usize = 64;

/// Bytes of a webhook's URL.
pub const WEBHOOK_URL_BYTES: usize = 2_048;

/// Kinds of events that a webhook names.
pub const WEBHOOK_EVENTS: usize = 32;

/// Rooms that a webhook names.
pub const WEBHOOK_ROOMS: usize = 64;

/// Clients that follow events; one more gets a 503.
pub const FOLLOWERS: usize = 256;

/// Events read from the history at once.
pub const EVENTS_AT_ONCE: usize = 256;

/// Bytes of the payload of a data message that is sent over HTTP.
pub const DATA_MESSAGE_BYTES: usize = 32 * 1024;

/// Bytes of a data message's topic.
pub const TOPIC_BYTES: usize = 128;

/// Entries of one page of a list.
pub const PAGE: usize = 1_000;

/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 128;

/// Answers kept for requests with an `Idempotency-Key`.
pub const ANSWERS: usize = 10_000;

/// How long they are kept, seconds.
pub const ANSWER_S: u64 = 24 * 3600;

// Those who read do not fill what those who do not read leave.
const _: () = assert!(SOCKETS * QUEUED_BYTES_EACH <= QUEUED_BYTES);
const _: () = assert!(OUTBOX_BYTES <= QUEUED_BYTES);
// A head must hold a token, and everything else beside it.
const _: () = assert!(HEAD_BYTES >= TOKEN_BYTES + 4096);
// hyper refuses a read buffer below 8 KiB.
const _: () = assert!(HEAD_BYTES >= 8192);
const _: () =
    assert!(BODY_TIMEOUT.as_secs() < HEADER_TIMEOUT.as_secs() + BACKEND_TIMEOUT.as_secs());
