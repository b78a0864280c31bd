//! Redundant audio (RED, RFC 2198): the newest frame behind copies of those before it.

use crate::WireError;
use crate::bytes::{Cursor, u8_at, u24_at};

/// Redundant blocks in one payload. Browsers send one or two; the format has no bound.
pub const MAX_REDUNDANT: usize = 8;
/// Timestamp offsets have 14 bits.
pub const MAX_OFFSET: u16 = (1 << 14) - 1;
/// Block lengths have ten bits.
pub const MAX_BLOCK: usize = (1 << 10) - 1;

/// A copy of an earlier frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redundant<'a> {
    /// What it is encoded with.
    pub payload_type: u8,
    /// By how much its timestamp is less than the packet's, 14 bits.
    pub timestamp_offset: u16,
    /// The frame; may be empty.
    pub data: &'a [u8],
}

/// A RED payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Red<'a> {
    /// Headers of the redundant blocks, four bytes each.
    headers: &'a [u8],
    /// Their data.
    blocks: &'a [u8],
    /// What the newest frame is encoded with.
    pub payload_type: u8,
    /// The newest frame; may be empty.
    pub primary: &'a [u8],
}

impl<'a> Red<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: it ends within the headers or a block.
    /// - [`WireError::TooMany`]: more than [`MAX_REDUNDANT`] redundant blocks.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (mut count, mut redundant) = (0, 0);
        loop {
            let first = u8_at(payload, 4 * count).ok_or(WireError::TooShort)?;
            if first & 0x80 == 0 {
                break;
            }
            if count == MAX_REDUNDANT {
                return Err(WireError::TooMany);
            }
            redundant += length_of(payload, count).ok_or(WireError::TooShort)?;
            count += 1;
        }
        let short = WireError::TooShort;
        let (headers, rest) = payload.split_at_checked(4 * count).ok_or(short)?;
        let (&last, rest) = rest.split_first().ok_or(short)?;
        let (blocks, primary) = rest.split_at_checked(redundant).ok_or(short)?;
        Ok(Self {
            headers,
            blocks,
            payload_type: last & 0x7f,
            primary,
        })
    }

    /// The redundant blocks, in order: the oldest first.
    pub fn redundant(&self) -> impl Iterator<Item = Redundant<'a>> + 'a {
        let Self {
            headers,
            mut blocks,
            ..
        } = *self;
        headers.chunks_exact(4).filter_map(move |header| {
            let [pt, b, c, _] = *header.first_chunk::<4>()?;
            let (data, rest) = blocks.split_at_checked(length_of(header, 0)?)?;
            blocks = rest;
            Some(Redundant {
                payload_type: pt & 0x7f,
                timestamp_offset: u16::from_be_bytes([b, c]) >> 2,
                data,
            })
        })
    }
}

/// The length in the block header at a place.
fn length_of(headers: &[u8], place: usize) -> Option<usize> {
    let low = u24_at(headers, 4 * place + 1)? & 0x3ff;
    usize::try_from(low).ok()
}

/// Writes a payload: the redundant frames, oldest first, and the newest one. Returns the length.
///
/// # Errors
/// - [`WireError::TooMany`]: more than [`MAX_REDUNDANT`] redundant blocks.
/// - [`WireError::BadValue`]: an offset that has more than 14 bits, or a block longer than [`MAX_BLOCK`].
/// - [`WireError::BufferTooSmall`].
pub fn write(
    out: &mut [u8],
    redundant: &[Redundant<'_>],
    payload_type: u8,
    primary: &[u8],
) -> Result<usize, WireError> {
    if redundant.len() > MAX_REDUNDANT {
        return Err(WireError::TooMany);
    }
    let mut cursor = Cursor::new(out);
    for block in redundant {
        let len = u16::try_from(block.data.len()).unwrap_or(u16::MAX);
        if usize::from(len) > MAX_BLOCK || block.timestamp_offset > MAX_OFFSET {
            return Err(WireError::BadValue);
        }
        let word = (u32::from(block.timestamp_offset) << 10) | u32::from(len);
        cursor.put_u8(0x80 | block.payload_type)?;
        cursor.put(&crate::bytes::low24(word))?;
    }
    cursor.put_u8(payload_type & 0x7f)?;
    redundant
        .iter()
        .try_for_each(|block| cursor.put(block.data))?;
    cursor.put(primary)?;
    Ok(cursor.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn blocks_are_found_behind_all_headers() {
        // One redundant block of three bytes, 960 ticks older, then the primary one.
        let payload = [0xEF, 0x0F, 0x00, 3, 0x6F, 1, 2, 3, 9, 8];
        let red = Red::parse(&payload).unwrap();
        assert_eq!((red.payload_type, red.primary), (0x6F, &[9, 8][..]));
        let block = Redundant {
            payload_type: 0x6F,
            timestamp_offset: 960,
            data: &[1, 2, 3],
        };
        assert!(red.redundant().eq([block]));
        assert_eq!(Red::parse(&[0x6F, 9]).map(|red| red.primary), Ok(&[9][..]));
    }

    #[test]
    fn what_overruns_or_never_ends_is_refused() {
        for short in [
            &[][..],
            &[0xEF, 0],
            &[0xEF, 0, 0, 200, 0x6F, 1],
            &[0xEF, 0, 0, 0],
        ] {
            assert_eq!(Red::parse(short), Err(WireError::TooShort));
        }
        assert_eq!(Red::parse(&[0x80; 4 * 9 + 1]), Err(WireError::TooMany));
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn what_is_written_is_read(
            blocks in prop::collection::vec((0_u8..128, 0..=MAX_OFFSET, prop::collection::vec(any::<u8>(), 0..60)), 0..=8),
            (pt, primary) in (0_u8..128, prop::collection::vec(any::<u8>(), 0..60)),
        ) {
            let blocks: Vec<_> = blocks
                .iter()
                .map(|(payload_type, timestamp_offset, data)| Redundant {
                    payload_type: *payload_type,
                    timestamp_offset: *timestamp_offset,
                    data,
                })
                .collect();
            let mut buf = [0; 1_000];
            let len = write(&mut buf, &blocks, pt, &primary).unwrap();
            let red = Red::parse(&buf[..len]).unwrap();
            prop_assert_eq!((red.payload_type, red.primary), (pt, &primary[..]));
            prop_assert!(red.redundant().eq(blocks));
        }

        #[test]
        fn any_bytes(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(red) = Red::parse(&payload) {
                let blocks: usize = red.redundant().map(|block| 4 + block.data.len()).sum();
                prop_assert_eq!(blocks + 1 + red.primary.len(), payload.len());
            }
        }
    }
}
