use crate::session::Role;

/// How far the sequence number of a plaintext record may run ahead of the number of records taken so far:
/// what a real peer may have lost on the way. The engine's replay window is 256 wide, so that forged
/// records have to be many before they make it deaf to the real peer.
const MAX_SEQUENCE_LEAD: u64 = 96;
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
    stage: Stage,
    /// Plaintext records taken so far.
    taken: u64,
}

/// How far the handshake is, as far as it matters for plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// A server has not replied: it expects a ClientHello and nothing else.
    Waiting,
    /// Our first flight is out.
    Started,
    /// Whatever the peer has yet to say, it says encrypted; except, if our own first flight displeased it,
    /// an alert.
    Encrypted,
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
        let stage = match role {
            Role::Server => Stage::Waiting,
            Role::Client => Stage::Started,
        };
        Self {
            role,
            stage,
            taken: 0,
        }
    }

    /// True when our first flight is out.
    pub(crate) fn is_started(&self) -> bool {
        self.stage >= Stage::Started
    }

    /// Notes that the handshake is finished.
    pub(crate) fn set_finished(&mut self) {
        self.stage = Stage::Encrypted;
    }

    /// Notes what we send. The alert of a handshake that has failed must not be among it.
    pub(crate) fn note_sent(&mut self, datagram: &[u8]) {
        self.stage = self.stage.max(Stage::Started);
        let mut rest = datagram;
        while let Some(len) = record_len(rest) {
            // DTLS 1.3 ciphertext from us follows the ServerHello, whichever side we are.
            if is_unified(rest[0]) {
                self.stage = Stage::Encrypted;
            }
            rest = &rest[len..];
        }
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
            return pass_if(self.is_started());
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
            return pass_if(self.is_started());
        }
        let sequence = header[5..11]
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        if major != 0xfe || sequence > self.taken + MAX_SEQUENCE_LEAD {
            return Verdict::Drop;
        }
        let verdict = match kind {
            HANDSHAKE => pass_if(self.stage < Stage::Encrypted && self.is_plausible(body)),
            CHANGE_CIPHER_SPEC => pass_if(self.stage == Stage::Started && body == [1]),
            ALERT if self.is_started() => match body {
                [ALERT_FATAL, description] => Verdict::Alert(*description),
                [_, ALERT_CLOSE_NOTIFY] => Verdict::Alert(ALERT_CLOSE_NOTIFY),
                _ => Verdict::Drop,
            },
            // Application data and acknowledgements have no business in epoch 0; the latter could make
            // us stop a retransmission that is needed.
            _ => Verdict::Drop,
        };
        if matches!(verdict, Verdict::Pass) {
            self.taken += 1;
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
                Role::Server if self.stage == Stage::Waiting => kind == CLIENT_HELLO && is_first,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd];
        record.extend(epoch.to_be_bytes());
        record.extend(&sequence.to_be_bytes()[2..]);
        record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        record.extend(body);
        record
    }

    fn fragment(kind: u8, message_len: u32, sequence: u16, offset: u32, len: u32) -> Vec<u8> {
        let mut fragment = vec![kind];
        fragment.extend(&message_len.to_be_bytes()[1..]);
        fragment.extend(sequence.to_be_bytes());
        fragment.extend(&offset.to_be_bytes()[1..]);
        fragment.extend(&len.to_be_bytes()[1..]);
        fragment.extend(vec![0; usize::try_from(len).unwrap()]);
        fragment
    }

    fn started(role: Role) -> Filter {
        let mut filter = Filter::new(role);
        filter.note_sent(&record(HANDSHAKE, 0, 0, &fragment(2, 10, 0, 0, 10)));
        filter
    }

    /// True when a record alone in a datagram passes.
    fn passes(filter: &mut Filter, record: &[u8]) -> bool {
        let filtered = filter.apply(record);
        assert!(filtered.records.is_empty() || filtered.records == record);
        assert_eq!(filtered.dropped, u64::from(filtered.records.is_empty()));
        !filtered.records.is_empty()
    }

    #[test]
    fn a_waiting_server_takes_a_client_hello_only() {
        let hello = record(HANDSHAKE, 0, 0, &fragment(1, 300, 0, 0, 300));
        assert!(passes(&mut Filter::new(Role::Server), &hello));
        for junk in [
            record(HANDSHAKE, 0, 0, &fragment(1, 300, 1, 0, 300)),
            record(HANDSHAKE, 0, 0, &fragment(11, 300, 0, 0, 300)),
            record(HANDSHAKE, 0, 0, &fragment(1, 9000, 0, 0, 300)),
            record(HANDSHAKE, 0, 0, &fragment(1, 300, 0, 200, 101)),
            record(HANDSHAKE, 0, 0, &fragment(1, 300, 0, 0, 300)[..200]),
            record(HANDSHAKE, 0, 0, &[]),
            record(HANDSHAKE, 0, 97, &fragment(1, 300, 0, 0, 300)),
            record(HANDSHAKE, 0, (1 << 48) - 1, &fragment(1, 300, 0, 0, 300)),
            record(HANDSHAKE, 1, 0, &fragment(1, 300, 0, 0, 300)),
            record(CHANGE_CIPHER_SPEC, 0, 0, &[1]),
            record(ALERT, 0, 0, &[ALERT_FATAL, 40]),
            record(23, 0, 0, &[1, 2, 3]),
            record(26, 0, 0, &[0, 0]),
            vec![0x2c, 0, 0, 0, 1, 9],
        ] {
            let mut filter = Filter::new(Role::Server);
            assert!(!passes(&mut filter, &junk), "{junk:?}");
            assert_eq!(filter.apply(&junk).alert, None);
        }
    }

    #[test]
    fn alerts_are_told_and_never_passed() {
        for role in [Role::Server, Role::Client] {
            let mut filter = started(role);
            let alert = |filter: &mut Filter, body: &[u8]| {
                let filtered = filter.apply(&record(ALERT, 0, 3, body));
                assert_eq!((filtered.records.len(), filtered.dropped), (0, 1));
                filtered.alert
            };
            assert_eq!(alert(&mut filter, &[ALERT_FATAL, 40]), Some(40));
            assert_eq!(alert(&mut filter, &[1, ALERT_CLOSE_NOTIFY]), Some(0));
            assert_eq!(alert(&mut filter, &[1, 90]), None);
            assert_eq!(alert(&mut filter, &[2]), None);
            assert_eq!(alert(&mut filter, &[2, 40, 0]), None);
        }
    }

    #[test]
    fn after_our_ciphertext_plaintext_has_no_more_say() {
        let mut filter = started(Role::Server);
        let certificate = record(HANDSHAKE, 0, 1, &fragment(11, 300, 1, 0, 300));
        assert!(passes(&mut filter, &certificate));
        assert!(passes(&mut filter, &record(CHANGE_CIPHER_SPEC, 0, 2, &[1])));
        assert!(!passes(
            &mut filter,
            &record(CHANGE_CIPHER_SPEC, 0, 3, &[2])
        ));
        // A ServerHello and ciphertext behind it, in one datagram.
        let mut flight = record(HANDSHAKE, 0, 1, &fragment(2, 10, 1, 0, 10));
        flight.extend([0x2e, 0, 1, 0, 2, 9, 9]);
        filter.note_sent(&flight);
        assert!(!passes(&mut filter, &certificate));
        assert!(!passes(
            &mut filter,
            &record(CHANGE_CIPHER_SPEC, 0, 2, &[1])
        ));
        assert!(passes(&mut filter, &record(22, 1, 0, &[5; 40])));
        assert!(passes(&mut filter, &[0x2e, 0, 1, 0, 2, 9, 9]));
    }

    #[test]
    fn forged_sequence_numbers_cannot_run_away() {
        let mut filter = started(Role::Server);
        let mut highest = 0;
        for _ in 0..100 {
            let far = (0..10_000).rev().step_by(8).find(|sequence| {
                passes(&mut filter, &record(CHANGE_CIPHER_SPEC, 0, *sequence, &[1]))
            });
            highest = highest.max(far.unwrap_or(0));
        }
        assert!(highest < 256, "{highest}");
    }

    #[test]
    fn bad_records_go_and_good_ones_beside_them_stay() {
        let mut filter = started(Role::Client);
        let good = record(HANDSHAKE, 0, 1, &fragment(12, 20, 1, 0, 20));
        let encrypted = record(HANDSHAKE, 1, 0, &[7; 30]);
        let mut datagram = good.clone();
        datagram.extend(record(ALERT, 0, 2, &[2, 40]));
        datagram.extend(&encrypted);
        datagram.extend([22, 0xfe, 0xfd, 0]);
        let filtered = filter.apply(&datagram);
        assert_eq!(filtered.records, [good, encrypted].concat());
        assert_eq!((filtered.dropped, filtered.alert), (2, Some(40)));
    }

    #[test]
    fn record_lengths() {
        assert_eq!(record_len(&[]), None);
        assert_eq!(record_len(&record(22, 0, 0, &[1, 2])), Some(15));
        assert_eq!(record_len(&record(22, 0, 0, &[1, 2])[..14]), None);
        // Unified header: short and long sequence number, with and without a length; a connection id.
        assert_eq!(record_len(&[0x20, 1, 2, 3]), Some(4));
        assert_eq!(record_len(&[0x24, 1, 0, 1, 3, 4]), Some(5));
        assert_eq!(record_len(&[0x2c, 1, 1, 0, 1, 3, 4]), Some(6));
        assert_eq!(record_len(&[0x2c, 1, 1, 0]), None);
        assert_eq!(record_len(&[0x2c, 1, 1, 0, 2, 9]), None);
        assert_eq!(record_len(&[0x30, 1, 2, 3]), None);
    }
}
