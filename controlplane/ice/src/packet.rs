use stun_types::attribute::{Fingerprint, MessageIntegrity, MessageIntegritySha256};
use stun_types::message::{IntegrityAlgorithm, IntegrityKey};

use crate::agent::Reason;

/// Length of the STUN header in bytes (RFC 8489 §5).
const HEADER: usize = 20;
/// Longest packet looked at, in bytes: checks are about 100, and nothing legal needs fragments.
const MAX_PACKET: usize = 1500;
/// Comprehension-required attributes named in a 420; more than this many are not listed.
pub(crate) const MAX_UNKNOWN: usize = 8;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// What the CRC-32 of FINGERPRINT is XORed with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

// Attribute types, RFC 8489 §18.3 and RFC 8445 §16.1.
const MAPPED_ADDRESS: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const PASSWORD_ALGORITHM: u16 = 0x001d;
const USERHASH: u16 = 0x001e;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

/// One attribute, its value still in the packet.
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// Where its header starts in the packet.
    offset: usize,
}

/// Walks the attributes of a packet whose header was checked; ends with `Err` where one overruns.
struct Attributes<'a> {
    packet: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = &self.packet[offset..];
        if rest.is_empty() {
            return None;
        }
        let attribute = || {
            let (head, rest) = rest.split_first_chunk::<4>()?;
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = rest.get(..len)?;
            let padded = rest.get(..len.next_multiple_of(4))?.len();
            let kind = u16::from_be_bytes([head[0], head[1]]);
            Some((
                Attribute {
                    kind,
                    value,
                    offset,
                },
                4 + padded,
            ))
        };
        if let Some((attribute, step)) = attribute() {
            self.offset = offset + step;
            Some(Ok(attribute))
        } else {
            self.offset = self.packet.len();
            Some(Err(Reason::Malformed))
        }
    }
}

/// Checks the header of a Binding request and gives its attributes.
fn attributes(packet: &[u8]) -> Result<Attributes<'_>, Reason> {
    if packet.len() < HEADER || packet.len() > MAX_PACKET || packet[4..8] != MAGIC_COOKIE {
        return Err(Reason::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    // One datagram is one message, and every attribute is padded to four bytes.
    if HEADER + length != packet.len() || length % 4 != 0 {
        return Err(Reason::Malformed);
    }
    match u16::from_be_bytes([packet[0], packet[1]]) {
        BINDING_REQUEST => Ok(Attributes {
            packet,
            offset: HEADER,
        }),
        BINDING_INDICATION => Err(Reason::Indication),
        BINDING_SUCCESS | BINDING_ERROR => Err(Reason::Response),
        kind if kind & 0xc000 == 0 => Err(Reason::Method),
        _ => Err(Reason::Malformed),
    }
}

/// The `(local, remote)` username fragments of a Binding request that reached us: the first is the one
/// we gave to the peer, and tells which session an unknown source belongs to.
///
/// Nothing is verified here: the session's [`Agent`](crate::Agent) does that. Gives `None` for anything
/// but a Binding request with a USERNAME of the form `local:remote` (RFC 8445 §7.2.2).
#[must_use]
pub fn username_of(packet: &[u8]) -> Option<(&str, &str)> {
    for attribute in attributes(packet).ok()? {
        let attribute = attribute.ok()?;
        match attribute.kind {
            USERNAME => return split_username(attribute.value),
            // What follows is not covered by it.
            MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 | FINGERPRINT => return None,
            _ => {}
        }
    }
    None
}

fn split_username(value: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(value).ok()?.split_once(':')
}

/// A Binding request as found in the packet, FINGERPRINT verified, MESSAGE-INTEGRITY not yet.
pub(crate) struct Request<'a> {
    packet: &'a [u8],
    /// `None` when USERNAME is missing or not of the form `local:remote`.
    pub(crate) username: Option<(&'a str, &'a str)>,
    sha1: Option<(usize, &'a [u8; 20])>,
    sha256: Option<(usize, &'a [u8; 32])>,
    /// The peer asks for this pair (RFC 8445 §7.1.1).
    pub(crate) use_candidate: bool,
    /// The peer believes itself to be the controlled agent, as we are.
    pub(crate) controlled: bool,
    unknown: [u16; MAX_UNKNOWN],
    unknown_len: usize,
}

impl<'a> Request<'a> {
    /// Reads a request; everything that is not one gives the reason for ignoring it.
    pub(crate) fn parse(packet: &'a [u8]) -> Result<Self, Reason> {
        let mut request = Self {
            packet,
            username: None,
            sha1: None,
            sha256: None,
            use_candidate: false,
            controlled: false,
            unknown: [0; MAX_UNKNOWN],
            unknown_len: 0,
        };
        let mut attributes = attributes(packet)?;
        for attribute in attributes.by_ref() {
            let attribute = attribute?;
            if attribute.kind == FINGERPRINT {
                request.check_fingerprint(&attribute)?;
                // It must be the last one; a second message behind it is an attack or a bug.
                let at_end = attributes.next().is_none();
                return if at_end {
                    Ok(request)
                } else {
                    Err(Reason::Malformed)
                };
            }
            request.take(&attribute)?;
        }
        // RFC 8445 §7.1: FINGERPRINT is not optional in connectivity checks.
        Err(Reason::Fingerprint)
    }

    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), Reason> {
        let Attribute {
            kind,
            value,
            offset,
        } = *attribute;
        // RFC 8489 §14.5: behind an integrity attribute only a stronger one (and FINGERPRINT) counts.
        if self.sha256.is_some() || (self.sha1.is_some() && kind != MESSAGE_INTEGRITY_SHA256) {
            return Ok(());
        }
        match kind {
            USERNAME if self.username.is_none() => self.username = split_username(value),
            MESSAGE_INTEGRITY => {
                let value = value.try_into().map_err(|_| Reason::Malformed)?;
                self.sha1 = Some((offset, value));
            }
            // Truncated values are for usages that allow them (RFC 8489 §14.6); ICE does not.
            MESSAGE_INTEGRITY_SHA256 => {
                let value = value.try_into().map_err(|_| Reason::Malformed)?;
                self.sha256 = Some((offset, value));
            }
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.controlled = true,
            USERNAME | MAPPED_ADDRESS | ERROR_CODE | UNKNOWN_ATTRIBUTES | REALM | NONCE
            | PASSWORD_ALGORITHM | USERHASH | XOR_MAPPED_ADDRESS | PRIORITY => {}
            kind if kind < 0x8000 && self.unknown_len < MAX_UNKNOWN => {
                self.unknown[self.unknown_len] = kind;
                self.unknown_len += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_fingerprint(&self, attribute: &Attribute<'_>) -> Result<(), Reason> {
        let Ok(found) = <[u8; 4]>::try_from(attribute.value) else {
            return Err(Reason::Malformed);
        };
        let crc = u32::from_be_bytes(Fingerprint::compute(&[&self.packet[..attribute.offset]]));
        if u32::from_be_bytes(found) == crc ^ FINGERPRINT_XOR {
            Ok(())
        } else {
            Err(Reason::Fingerprint)
        }
    }

    /// True when MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 is there.
    pub(crate) fn has_integrity(&self) -> bool {
        self.sha1.is_some() || self.sha256.is_some()
    }

    /// Verifies the strongest integrity attribute; gives the algorithm that the response must use
    /// (RFC 8489 §9.1.3, §9.1.4), or `None` when it does not match or is missing.
    pub(crate) fn verify(&self, key: &IntegrityKey) -> Option<IntegrityAlgorithm> {
        // The HMAC covers everything before the attribute, the header's length field counting up to
        // and with the attribute (RFC 8489 §14.5).
        let covered = |offset: usize, attribute_len: usize| {
            let length = u16::try_from(offset + attribute_len - HEADER).unwrap_or(u16::MAX);
            let [high, low] = length.to_be_bytes();
            (
                [self.packet[0], self.packet[1], high, low],
                &self.packet[4..offset],
            )
        };
        if let Some((offset, value)) = self.sha256 {
            let (head, body) = covered(offset, 4 + value.len());
            MessageIntegritySha256::verify(&[&head, body], key, value)
                .then_some(IntegrityAlgorithm::Sha256)
        } else {
            let (offset, value) = self.sha1?;
            let (head, body) = covered(offset, 4 + value.len());
            MessageIntegrity::verify(&[&head, body], key, value).then_some(IntegrityAlgorithm::Sha1)
        }
    }

    /// Comprehension-required attributes that this agent does not know, the first few.
    pub(crate) fn unknown(&self) -> &[u16] {
        &self.unknown[..self.unknown_len]
    }

    /// The 96-bit transaction id.
    pub(crate) fn transaction_id(&self) -> u128 {
        let mut id = [0; 16];
        id[4..].copy_from_slice(&self.packet[8..HEADER]);
        u128::from_be_bytes(id)
    }

    /// Length of the whole packet in bytes: the bound on error responses.
    pub(crate) fn len(&self) -> usize {
        self.packet.len()
    }
}
