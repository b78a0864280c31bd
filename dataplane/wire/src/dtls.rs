//! DTLS record headers (RFC 6347 §4.1, RFC 9147 §4): enough to filter and route, nothing is decrypted.

use crate::WireError;
use crate::bytes::{array_at, u8_at, u16_at};

/// Length in bytes of the plaintext and DTLS 1.2 record header.
pub const HEADER_LEN: usize = 13;

/// Shortest DTLS 1.3 ciphertext record: a unified header of two bytes and the 16 bytes of ciphertext that
/// record number encryption needs (RFC 9147 §4.2.3).
pub const UNIFIED_MIN_LEN: usize = 18;

/// Content type (RFC 8446 §5.1, RFC 9147 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// change_cipher_spec, 20.
    ChangeCipherSpec,
    /// alert, 21.
    Alert,
    /// handshake, 22.
    Handshake,
    /// application_data, 23.
    ApplicationData,
    /// heartbeat, tls12_cid, ack and what else may come: 24..=31.
    Other(u8),
}

/// One record of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// Thirteen-byte header: every record of DTLS 1.2, plaintext records of DTLS 1.3.
    Plain {
        /// Content type.
        content_type: ContentType,
        /// `legacy_record_version`: 0xfeff (1.0, first hello) or 0xfefd (1.2 and 1.3).
        version: u16,
        /// Epoch; 0 is unprotected.
        epoch: u16,
        /// Sequence number, 48 bits.
        sequence: u64,
        /// Fragment: plaintext in epoch 0, else ciphertext.
        fragment: &'a [u8],
    },
    /// Unified header of DTLS 1.3 ciphertext (RFC 9147 §4, figure 3). The record number in it is encrypted
    /// and so not given. No connection id: we never negotiate one.
    Unified {
        /// Low two bits of the epoch.
        epoch_low: u8,
        /// Encrypted record.
        ciphertext: &'a [u8],
    },
}

impl Record<'_> {
    /// Handshake message type of an unprotected handshake record (RFC 8446 §4): 1 is ClientHello, 2
    /// ServerHello, 3 HelloVerifyRequest.
    #[must_use]
    pub fn handshake_type(&self) -> Option<u8> {
        match self {
            Self::Plain {
                content_type: ContentType::Handshake,
                epoch: 0,
                fragment,
                ..
            } => u8_at(fragment, 0),
            _ => None,
        }
    }
}

/// Iterates over the records of a datagram. A record that is malformed yields one error and ends the
/// iteration: what follows it cannot be found.
#[must_use]
pub fn records(datagram: &[u8]) -> Records<'_> {
    Records { rest: datagram }
}

/// Iterator made by [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.rest.first()?;
        let parsed = match first {
            20..=31 => plain(first, self.rest),
            // 0b001CSLEE.
            32..=63 => unified(first, self.rest),
            _ => Err(WireError::BadValue),
        };
        match parsed {
            Ok((record, rest)) => {
                self.rest = rest;
                Some(Ok(record))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

impl core::iter::FusedIterator for Records<'_> {}

fn plain(first: u8, data: &[u8]) -> Result<(Record<'_>, &[u8]), WireError> {
    let version = u16_at(data, 1).ok_or(WireError::TooShort)?;
    // DTLS versions are 0xfeXX on the wire, 1.0 being 0xfeff.
    if version >> 8 != 0xfe {
        return Err(WireError::BadVersion);
    }
    let epoch = u16_at(data, 3).ok_or(WireError::TooShort)?;
    let [s0, s1, s2, s3, s4, s5] = array_at(data, 5).ok_or(WireError::TooShort)?;
    let length = usize::from(u16_at(data, 11).ok_or(WireError::TooShort)?);
    let body = data.get(HEADER_LEN..).ok_or(WireError::TooShort)?;
    let (fragment, rest) = body.split_at_checked(length).ok_or(WireError::BadLength)?;
    let content_type = match first {
        20 => ContentType::ChangeCipherSpec,
        21 => ContentType::Alert,
        22 => ContentType::Handshake,
        23 => ContentType::ApplicationData,
        other => ContentType::Other(other),
    };
    let sequence = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
    Ok((
        Record::Plain {
            content_type,
            version,
            epoch,
            sequence,
            fragment,
        },
        rest,
    ))
}

fn unified(first: u8, data: &[u8]) -> Result<(Record<'_>, &[u8]), WireError> {
    if first & 0x10 != 0 {
        // A connection id of a length that only its receiver knows, and we gave none.
        return Err(WireError::BadValue);
    }
    let sequence_len = if first & 0x08 != 0 { 2 } else { 1 };
    let (ciphertext, rest): (&[u8], &[u8]) = if first & 0x04 != 0 {
        let at = 1 + sequence_len;
        let length = usize::from(u16_at(data, at).ok_or(WireError::TooShort)?);
        let body = data.get(at + 2..).ok_or(WireError::TooShort)?;
        body.split_at_checked(length).ok_or(WireError::BadLength)?
    } else {
        // Without a length the record is the datagram's last.
        (
            data.get(1 + sequence_len..).ok_or(WireError::TooShort)?,
            &[],
        )
    };
    if ciphertext.len() < 16 {
        return Err(WireError::TooShort);
    }
    Ok((
        Record::Unified {
            epoch_low: first & 0x03,
            ciphertext,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn hello() -> Vec<u8> {
        let mut data = std::vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3];
        data.extend([1, 0, 0]);
        data
    }

    #[test]
    fn a_plain_record_then_two_unified_ones() {
        let mut data = hello();
        data.extend([0x2e, 0, 1, 0, 16]); // 16-bit number, length, epoch 2
        data.extend([0xaa; 16]);
        data.extend([0x23, 5]); // 8-bit number, no length, epoch 3
        data.extend([0xbb; 20]);
        let all: Vec<_> = records(&data).collect::<Result<_, _>>().unwrap();
        assert_eq!(all[0].handshake_type(), Some(1));
        let Record::Plain {
            version,
            epoch,
            sequence,
            ..
        } = all[0]
        else {
            panic!()
        };
        assert_eq!((version, epoch, sequence), (0xfeff, 0, 9));
        assert_eq!(
            all[1],
            Record::Unified {
                epoch_low: 2,
                ciphertext: &[0xaa; 16]
            }
        );
        assert_eq!(
            all[2],
            Record::Unified {
                epoch_low: 3,
                ciphertext: &[0xbb; 20]
            }
        );
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn damage_ends_the_datagram_with_one_error() {
        fn errors(data: &[u8]) -> Vec<Result<Record<'_>, WireError>> {
            records(data).collect()
        }
        let mut overrun = hello();
        overrun[12] = 4;
        assert_eq!(errors(&overrun), [Err(WireError::BadLength)]);
        let mut tls = hello();
        tls[1] = 3;
        assert_eq!(errors(&tls), [Err(WireError::BadVersion)]);
        assert_eq!(
            errors(&[0x30; 40]),
            [Err(WireError::BadValue)],
            "connection id"
        );
        assert_eq!(errors(&[0x20; 17]), [Err(WireError::TooShort)]);
        assert_eq!(errors(&[22; 12]).len(), 1);
        assert_eq!(errors(&[0x80; 12]), [Err(WireError::BadValue)]);
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), first in 20u8..64) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            prop_assert!(records(&bytes).count() <= bytes.len());
        }
    }
}
