use crate::session::Role;

/// How far the sequence number of a plaintext record may run ahead of the highest one taken. The engine's
/// replay window is 256 wide: a forged jump within it costs nothing, a larger one would make the
/// engine deaf to the real peer.
const MAX_SEQUENCE_JUMP: u64 = 192;
/// Longest handshake message, in bytes, that a fragment may announce.
const MAX_MESSAGE_LEN: usize = 16 * 1024;
/// Longest ClientHello, likewise.
const MAX_CLIENT_HELLO_LEN: usize = 8 * 1024;

const LEGACY_HEADER: usize = 13;
const FRAGMENT_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const ALERT_FATAL: u8 = 2;
const ALERT_CLOSE_NOTIFY: u8 = 0;

const CLIENT_HELLO: u8 = 1;
/// Handshake types that a client sends in the clear: ClientHello, Certificate, CertificateVerify,
/// ClientKeyExchange.
const FROM_CLIENT: [u8; 4] = [CLIENT_HELLO, 11, 15, 16];
/// Handshake types that a server sends in the clear: ServerHello, HelloVerifyRequest, NewSessionTicket,
/// Certificate, ServerKeyExchange, CertificateRequest, ServerHelloDone, CertificateStatus.
const FROM_SERVER: [u8; 8] = [2, 3, 4, 11, 12, 13, 14, 22];

/// Drops plaintext records that the present state of the handshake has no use for.
///
/// Whoever can spoof the peer's address can send records of epoch 0, and the engine takes many of them
/// seriously: one forged alert would end a handshake. Encrypted records pass: the engine drops those that do
/// not authenticate.
#[derive(Debug)]
pub(crate) struct Filter {
    role: Role,
    /// Our first flight is out: before it a server expects a ClientHello and nothing else.
    started: bool,
    highest: u64,
}

/// What is left of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// The records to hand to the engine; may be empty.
    pub(crate) records: Vec<u8>,
    /// Records, or pieces that are none, that were taken out.
    pub(crate) dropped: u64,
    /// A plaintext alert that would end the handshake, were it genuine.
    pub(crate) alert: Option<u8>,
}

enum Verdict {
    Pass,
    Drop,
    Alert(u8),
}

impl Filter {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            started: role == Role::Client,
            highest: 0,
        }
    }

    /// Notes that our first flight is out.
    pub(crate) fn set_started(&mut self) {
        self.started = true;
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Filters one datagram.
    pub(crate) fn apply(&mut self, datagram: &[u8]) -> Filtered {
        let mut filtered = Filtered::default();
        let mut rest = datagram;
        while !rest.is_empty() {
            let Some(len) = record_len(rest) else {
                filtered.dropped += 1;
                break;
            };
            let (record, after) = rest.split_at(len);
            match self.judge(record) {
                Verdict::Pass => filtered.records.extend_from_slice(record),
                Verdict::Drop => filtered.dropped += 1,
                Verdict::Alert(description) => {
                    filtered.dropped += 1;
                    filtered.alert = Some(description);
                }
            }
            rest = after;
        }
        filtered
    }

    fn judge(&mut self, record: &[u8]) -> Verdict {
        let pass_if = |pass: bool| if pass { Verdict::Pass } else { Verdict::Drop };
        if is_unified(record[0]) {
            return pass_if(self.started);
        }
        let Some((header, body)) = record.split_first_chunk::<LEGACY_HEADER>() else {
            return Verdict::Drop;
        };
        // type, version (2), epoch (2), sequence number (6), length (2): RFC 6347 §4.1.
        let (kind, major, epoch) = (
            header[0],
            header[1],
            u16::from_be_bytes([header[3], header[4]]),
        );
        if epoch != 0 {
            return pass_if(self.started);
        }
        let sequence = header[5..11]
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        if major != 0xfe || sequence > self.highest + MAX_SEQUENCE_JUMP {
            return Verdict::Drop;
        }
        let verdict = match kind {
            HANDSHAKE => pass_if(self.is_plausible(body)),
            CHANGE_CIPHER_SPEC => pass_if(self.started && body == [1]),
            ALERT if self.started => match body {
                [ALERT_FATAL, description] => Verdict::Alert(*description),
                [_, ALERT_CLOSE_NOTIFY] => Verdict::Alert(ALERT_CLOSE_NOTIFY),
                _ => Verdict::Drop,
            },
            // Application data and acknowledgements have no business in epoch 0; the latter could make
            // us stop a retransmission that is needed.
            _ => Verdict::Drop,
        };
        if matches!(verdict, Verdict::Pass) {
            self.highest = self.highest.max(sequence);
        }
        verdict
    }

    /// True when every fragment in a handshake record is in itself consistent, and of a message that the
    /// peer may send in the clear.
    fn is_plausible(&self, body: &[u8]) -> bool {
        let mut rest = body;
        while let Some((header, after)) = rest.split_first_chunk::<FRAGMENT_HEADER>() {
            // type, length (3), message sequence (2), offset (3), fragment length (3): RFC 6347 §4.2.2.
            let u24 = |at: usize| {
                usize::from(header[at]) << 16
                    | usize::from(header[at + 1]) << 8
                    | usize::from(header[at + 2])
            };
            let (kind, message_len, offset, len) = (header[0], u24(1), u24(6), u24(9));
            let is_first = u16::from_be_bytes([header[4], header[5]]) == 0;
            let is_expected = match self.role {
                Role::Server if !self.started => kind == CLIENT_HELLO && is_first,
                Role::Server => FROM_CLIENT.contains(&kind),
                Role::Client => FROM_SERVER.contains(&kind),
            };
            let limit = if kind == CLIENT_HELLO {
                MAX_CLIENT_HELLO_LEN
            } else {
                MAX_MESSAGE_LEN
            };
            if !is_expected || message_len > limit || offset + len > message_len {
                return false;
            }
            let Some(after) = after.get(len..) else {
                return false;
            };
            rest = after;
        }
        rest.is_empty() && !body.is_empty()
    }
}

/// True for the first byte of a DTLS 1.3 ciphertext record (RFC 9147 §4).
const fn is_unified(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// Length of the record at the start of `datagram`, or `None` when it overruns.
fn record_len(datagram: &[u8]) -> Option<usize> {
    let first = *datagram.first()?;
    let u16_at = |at: usize| {
        Some(u16::from_be_bytes([
            *datagram.get(at)?,
            *datagram.get(at + 1)?,
        ]))
    };
    let len = if !is_unified(first) {
        LEGACY_HEADER + usize::from(u16_at(11)?)
    } else if first & 0x10 != 0 {
        // A connection id, which we never negotiate.
        return None;
    } else {
        let sequence_len = if first & 0x08 == 0 { 1 } else { 2 };
        if first & 0x04 == 0 {
            datagram.len()
        } else {
            3 + sequence_len + usize::from(u16_at(1 + sequence_len)?)
        }
    };
    (len <= datagram.len()).then_some(len)
}
