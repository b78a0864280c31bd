//! Each function writes one packet at the start of `out` and returns its length in bytes, a multiple of
//! four. On an error the contents of `out` are unspecified and count as not written.

use super::feedback::{FirEntry, REMB_ID, fmt};
use super::reports::{BLOCK_LEN, ReportBlock, SENDER_INFO_LEN, SenderInfo};
use super::{HEADER_LEN, packet_type, sdes};
use crate::WireError;
use crate::bytes::{Cursor, low24, low32};

pub use super::ccfb::write as ccfb;
pub use super::twcc::write as twcc;

/// Most report blocks, sources or chunks: the count has five bits.
pub const MAX_COUNT: usize = 31;

/// Packet type and the five bits that go with it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Sr(u8),
    Rr(u8),
    Sdes(u8),
    Bye(u8),
    Rtpfb(u8),
    Psfb(u8),
}

/// Header with a length of zero, for [`finish`] to fill in.
pub(super) fn header(cursor: &mut Cursor<'_>, kind: Kind) -> Result<(), WireError> {
    let (packet_type, count) = match kind {
        Kind::Sr(count) => (packet_type::SR, count),
        Kind::Rr(count) => (packet_type::RR, count),
        Kind::Sdes(count) => (packet_type::SDES, count),
        Kind::Bye(count) => (packet_type::BYE, count),
        Kind::Rtpfb(fmt) => (packet_type::RTPFB, fmt),
        Kind::Psfb(fmt) => (packet_type::PSFB, fmt),
    };
    cursor.put(&[0x80 | count, packet_type, 0, 0])
}

pub(super) fn feedback_header(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    sender_ssrc: u32,
    media_ssrc: u32,
) -> Result<(), WireError> {
    header(cursor, kind)?;
    cursor.put_u32(sender_ssrc)?;
    cursor.put_u32(media_ssrc)
}

/// Writes the length, in words less one. Everything so far is whole words.
pub(super) fn finish(mut cursor: Cursor<'_>) -> Result<usize, WireError> {
    let len = cursor.len();
    let words = u16::try_from((len - HEADER_LEN) / 4).map_err(|_| WireError::TooMany)?;
    cursor.patch_u16(2, words)?;
    Ok(len)
}

/// As [`finish`], zeros being added up to the word; they belong to the body and are no RTCP padding.
pub(super) fn finish_padded(mut cursor: Cursor<'_>) -> Result<usize, WireError> {
    cursor.pad_to_word()?;
    finish(cursor)
}

/// A count of at most 31.
fn count_of<T>(items: &[T]) -> Result<u8, WireError> {
    match u8::try_from(items.len()) {
        Ok(count) if items.len() <= MAX_COUNT => Ok(count),
        _ => Err(WireError::TooMany),
    }
}

/// Sender report (RFC 3550 §6.4.1), 28 bytes and 24 for each block.
///
/// # Errors
/// [`WireError::TooMany`] above 31 blocks, [`WireError::BufferTooSmall`].
pub fn sender_report(
    out: &mut [u8],
    ssrc: u32,
    info: &SenderInfo,
    blocks: &[ReportBlock],
) -> Result<usize, WireError> {
    let mut cursor = Cursor::new(out);
    header(&mut cursor, Kind::Sr(count_of(blocks)?))?;
    cursor.put_u32(ssrc)?;
    cursor.put_u64(info.ntp)?;
    cursor.put_u32(info.rtp_timestamp)?;
    cursor.put_u32(info.packet_count)?;
    cursor.put_u32(info.octet_count)?;
    debug_assert_eq!(cursor.len(), HEADER_LEN + 4 + SENDER_INFO_LEN);
    put_blocks(&mut cursor, blocks)?;
    finish(cursor)
}

/// Receiver report (RFC 3550 §6.4.2), 8 bytes and 24 for each block.
///
/// # Errors
/// [`WireError::TooMany`] above 31 blocks, [`WireError::BufferTooSmall`].
pub fn receiver_report(
    out: &mut [u8],
    ssrc: u32,
    blocks: &[ReportBlock],
) -> Result<usize, WireError> {
    let mut cursor = Cursor::new(out);
    header(&mut cursor, Kind::Rr(count_of(blocks)?))?;
    cursor.put_u32(ssrc)?;
    put_blocks(&mut cursor, blocks)?;
    finish(cursor)
}

fn put_blocks(cursor: &mut Cursor<'_>, blocks: &[ReportBlock]) -> Result<(), WireError> {
    for block in blocks {
        let bytes: [u8; BLOCK_LEN] = block.to_bytes();
        cursor.put(&bytes)?;
    }
    Ok(())
}

/// Source description with one chunk, the CNAME of one source (RFC 3550 §6.5.1).
///
/// # Errors
/// [`WireError::BadLength`] above 255 bytes, [`WireError::BufferTooSmall`].
pub fn sdes_cname(out: &mut [u8], ssrc: u32, cname: &str) -> Result<usize, WireError> {
    let len = u8::try_from(cname.len()).map_err(|_| WireError::BadLength)?;
    let mut cursor = Cursor::new(out);
    header(&mut cursor, Kind::Sdes(1))?;
    cursor.put_u32(ssrc)?;
    cursor.put(&[sdes::CNAME, len])?;
    cursor.put(cname.as_bytes())?;
    // The items end with at least one zero.
    cursor.put_u8(0)?;
    finish_padded(cursor)
}

/// Goodbye without a reason (RFC 3550 §6.6).
///
/// # Errors
/// [`WireError::TooMany`] above 31 sources, [`WireError::BufferTooSmall`].
pub fn bye(out: &mut [u8], ssrcs: &[u32]) -> Result<usize, WireError> {
    let mut cursor = Cursor::new(out);
    header(&mut cursor, Kind::Bye(count_of(ssrcs)?))?;
    for ssrc in ssrcs {
        cursor.put_u32(*ssrc)?;
    }
    finish(cursor)
}

/// Generic NACK (RFC 4585 §6.2.1). Each entry names a packet and a bit map of the sixteen behind it, so
/// `sequences` should ascend (wrap included); it may repeat. In any order, what is written names exactly
/// those packets.
///
/// # Errors
/// [`WireError::BadValue`] for no sequence number, [`WireError::BufferTooSmall`].
pub fn nack(
    out: &mut [u8],
    sender_ssrc: u32,
    media_ssrc: u32,
    sequences: &[u16],
) -> Result<usize, WireError> {
    let (first, rest) = sequences.split_first().ok_or(WireError::BadValue)?;
    let mut cursor = Cursor::new(out);
    feedback_header(&mut cursor, Kind::Rtpfb(fmt::NACK), sender_ssrc, media_ssrc)?;
    let (mut pid, mut blp) = (*first, 0u16);
    for sequence in rest {
        match sequence.wrapping_sub(pid) {
            0 => {}
            ahead @ 1..=16 => blp |= 1 << (ahead - 1),
            _ => {
                cursor.put_u16(pid)?;
                cursor.put_u16(blp)?;
                (pid, blp) = (*sequence, 0);
            }
        }
    }
    cursor.put_u16(pid)?;
    cursor.put_u16(blp)?;
    finish(cursor)
}

/// Picture loss indication (RFC 4585 §6.3.1), 12 bytes.
///
/// # Errors
/// [`WireError::BufferTooSmall`].
pub fn pli(out: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Result<usize, WireError> {
    let mut cursor = Cursor::new(out);
    feedback_header(&mut cursor, Kind::Psfb(fmt::PLI), sender_ssrc, media_ssrc)?;
    finish(cursor)
}

/// Full intra request (RFC 5104 §4.3.1); the media SSRC of the header is 0, the entries name the streams.
///
/// # Errors
/// [`WireError::BadValue`] for no entry, [`WireError::BufferTooSmall`].
pub fn fir(out: &mut [u8], sender_ssrc: u32, entries: &[FirEntry]) -> Result<usize, WireError> {
    if entries.is_empty() {
        return Err(WireError::BadValue);
    }
    let mut cursor = Cursor::new(out);
    feedback_header(&mut cursor, Kind::Psfb(fmt::FIR), sender_ssrc, 0)?;
    for entry in entries {
        cursor.put_u32(entry.ssrc)?;
        cursor.put(&[entry.sequence, 0, 0, 0])?;
    }
    finish(cursor)
}

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 §2.2), rounded down to 18
/// significant bits.
///
/// # Errors
/// [`WireError::TooMany`] above 255 streams, [`WireError::BufferTooSmall`].
pub fn remb(
    out: &mut [u8],
    sender_ssrc: u32,
    bitrate_bps: u64,
    ssrcs: &[u32],
) -> Result<usize, WireError> {
    let count = u8::try_from(ssrcs.len()).map_err(|_| WireError::TooMany)?;
    let exponent = (u64::BITS - bitrate_bps.leading_zeros()).saturating_sub(18);
    let mantissa = low32(bitrate_bps >> exponent);
    let mut cursor = Cursor::new(out);
    feedback_header(&mut cursor, Kind::Psfb(fmt::AFB), sender_ssrc, 0)?;
    cursor.put(REMB_ID)?;
    cursor.put_u8(count)?;
    cursor.put(&low24((exponent << 18) | mantissa))?;
    for ssrc in ssrcs {
        cursor.put_u32(*ssrc)?;
    }
    finish(cursor)
}
