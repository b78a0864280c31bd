use super::Raw;
use crate::WireError;
use crate::bytes::{array_at, u8_at, u24_at, u32_at, u64_at};

/// Length in bytes of a report block.
pub(super) const BLOCK_LEN: usize = 24;
/// Length in bytes of the sender info.
pub(super) const SENDER_INFO_LEN: usize = 20;

/// Sender info of an SR (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// Wall clock of the report, 64-bit NTP timestamp (see [`crate::ntp`]).
    pub ntp: u64,
    /// The same instant on the RTP clock of the stream.
    pub rtp_timestamp: u32,
    /// RTP packets sent so far, modulo 2^32.
    pub packet_count: u32,
    /// Payload octets sent so far, modulo 2^32.
    pub octet_count: u32,
}

/// Reception statistics about one source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Fraction lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, 24 bits signed: negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received: cycles, then the number.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last SR received, 0 for none.
    pub last_sr: u32,
    /// Delay since that SR in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(block: &[u8]) -> Option<Self> {
        let lost = u24_at(block, 5)?.cast_signed();
        Some(Self {
            ssrc: u32_at(block, 0)?,
            fraction_lost: u8_at(block, 4)?,
            cumulative_lost: if lost & 0x80_0000 == 0 {
                lost
            } else {
                lost - 0x100_0000
            },
            extended_highest_sequence: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }

    /// The 24 bytes of the block; the cumulative loss is clamped to what 24 bits hold (§6.4.1).
    pub(super) fn to_bytes(self) -> [u8; BLOCK_LEN] {
        let lost = self
            .cumulative_lost
            .clamp(-0x80_0000, 0x7f_ffff)
            .cast_unsigned();
        let [_, l0, l1, l2] = lost.to_be_bytes();
        let mut bytes = [0; BLOCK_LEN];
        let fields = [
            self.ssrc,
            u32::from_be_bytes([self.fraction_lost, l0, l1, l2]),
            self.extended_highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        for (target, field) in bytes.chunks_exact_mut(4).zip(fields) {
            target.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }
}

/// The blocks of a report; `count` has been checked against `body`.
fn blocks(body: &[u8], at: usize, count: u8) -> impl Iterator<Item = ReportBlock> {
    let blocks = body.get(at..).unwrap_or_default();
    blocks
        .chunks_exact(BLOCK_LEN)
        .take(usize::from(count))
        .filter_map(ReportBlock::parse)
}

/// Sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport<'a> {
    raw: Raw<'a>,
    /// Sender of the report, and the source that `info` is about.
    pub ssrc: u32,
    /// Sender info.
    pub info: SenderInfo,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        let body = raw.body;
        // What follows the blocks is a profile-specific extension (§6.4.3).
        if body.len() < 4 + SENDER_INFO_LEN + BLOCK_LEN * usize::from(raw.count) {
            return Err(WireError::BadLength);
        }
        let field = |at| u32_at(body, at).ok_or(WireError::BadLength);
        Ok(Self {
            raw,
            ssrc: field(0)?,
            info: SenderInfo {
                ntp: u64_at(body, 4).ok_or(WireError::BadLength)?,
                rtp_timestamp: field(12)?,
                packet_count: field(16)?,
                octet_count: field(20)?,
            },
        })
    }

    /// Report blocks, at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.raw.body, 4 + SENDER_INFO_LEN, self.raw.count)
    }
}

/// Receiver report (RFC 3550 §6.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    raw: Raw<'a>,
    /// Sender of the report.
    pub ssrc: u32,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        if raw.body.len() < 4 + BLOCK_LEN * usize::from(raw.count) {
            return Err(WireError::BadLength);
        }
        Ok(Self {
            raw,
            ssrc: u32_at(raw.body, 0).ok_or(WireError::BadLength)?,
        })
    }

    /// Report blocks, at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.raw.body, 4, self.raw.count)
    }
}

/// Goodbye (RFC 3550 §6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bye<'a> {
    sources: &'a [u8],
    /// Reason for leaving, whatever bytes it is made of.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        let (sources, rest) = raw
            .body
            .split_at_checked(4 * usize::from(raw.count))
            .ok_or(WireError::BadLength)?;
        let reason = match rest.split_first() {
            None => None,
            Some((len, text)) => Some(text.get(..usize::from(*len)).ok_or(WireError::BadLength)?),
        };
        Ok(Self { sources, reason })
    }

    /// Sources that leave, at most 31.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources
            .chunks_exact(4)
            .filter_map(|source| array_at(source, 0).map(u32::from_be_bytes))
    }
}
