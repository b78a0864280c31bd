use super::{Ccfb, Raw, Twcc};
use crate::WireError;
use crate::bytes::{u8_at, u16_at, u24_at, u32_at};

/// Feedback message types.
pub mod fmt {
    /// RTPFB: generic NACK (RFC 4585 §6.2.1).
    pub const NACK: u8 = 1;
    /// RTPFB: congestion control feedback (RFC 8888 §3.1).
    pub const CCFB: u8 = 11;
    /// RTPFB: transport-wide congestion control.
    pub const TWCC: u8 = 15;
    /// PSFB: picture loss indication (RFC 4585 §6.3.1).
    pub const PLI: u8 = 1;
    /// PSFB: full intra request (RFC 5104 §4.3.1).
    pub const FIR: u8 = 4;
    /// PSFB: application layer feedback (RFC 4585 §6.4), REMB among it.
    pub const AFB: u8 = 15;
}

/// A feedback message whose control information is not parsed (RFC 4585 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Feedback message type.
    pub fmt: u8,
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// The stream it is about; 0 where the control information names it.
    pub media_ssrc: u32,
    /// Feedback control information.
    pub fci: &'a [u8],
}

impl<'a> Feedback<'a> {
    fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        Ok(Self {
            fmt: raw.count,
            sender_ssrc: u32_at(raw.body, 0).ok_or(WireError::BadLength)?,
            media_ssrc: u32_at(raw.body, 4).ok_or(WireError::BadLength)?,
            fci: raw.body.get(8..).ok_or(WireError::BadLength)?,
        })
    }
}

/// Transport layer feedback (RFC 4585 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rtpfb<'a> {
    /// Generic NACK.
    Nack(Nack<'a>),
    /// Transport-wide congestion control.
    Twcc(Twcc<'a>),
    /// Congestion control feedback of RFC 8888.
    Ccfb(Ccfb<'a>),
    /// Another type.
    Other(Feedback<'a>),
}

impl<'a> Rtpfb<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        if raw.count == fmt::CCFB {
            // It names its streams one by one and has no SSRC of the media in its header.
            return Ok(Self::Ccfb(Ccfb::parse(raw)?));
        }
        let feedback = Feedback::parse(raw)?;
        Ok(match feedback.fmt {
            fmt::NACK => Self::Nack(Nack::parse(feedback)?),
            fmt::TWCC => Self::Twcc(Twcc::parse(feedback)?),
            _ => Self::Other(feedback),
        })
    }
}

/// Payload-specific feedback (RFC 4585 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Psfb<'a> {
    /// Picture loss indication.
    Pli(Pli),
    /// Full intra request.
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate.
    Remb(Remb<'a>),
    /// Another type.
    Other(Feedback<'a>),
}

impl<'a> Psfb<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        let feedback = Feedback::parse(raw)?;
        Ok(match feedback.fmt {
            fmt::PLI => Self::Pli(Pli {
                sender_ssrc: feedback.sender_ssrc,
                media_ssrc: feedback.media_ssrc,
            }),
            fmt::FIR => Self::Fir(Fir::parse(feedback)?),
            fmt::AFB if feedback.fci.starts_with(REMB_ID) => Self::Remb(Remb::parse(feedback)?),
            _ => Self::Other(feedback),
        })
    }
}

/// Generic NACK (RFC 4585 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// The stream that lost packets.
    pub media_ssrc: u32,
    fci: &'a [u8],
}

impl<'a> Nack<'a> {
    fn parse(feedback: Feedback<'a>) -> Result<Self, WireError> {
        let Feedback {
            sender_ssrc,
            media_ssrc,
            fci,
            ..
        } = feedback;
        if fci.is_empty() || !fci.len().is_multiple_of(4) {
            return Err(WireError::BadLength);
        }
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            fci,
        })
    }

    /// Lost sequence numbers, in the order of the packet. A peer can name 17 in every four bytes, and
    /// any number repeatedly: limit what you take.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.fci.chunks_exact(4).flat_map(|entry| {
            let pid = u16_at(entry, 0).unwrap_or_default();
            let blp = u16_at(entry, 2).unwrap_or_default();
            let following = (1..=16u16)
                .filter(move |bit| blp & (1 << (bit - 1)) != 0)
                .map(move |bit| pid.wrapping_add(bit));
            core::iter::once(pid).chain(following)
        })
    }
}

/// Picture loss indication (RFC 4585 §6.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// The stream that shall send a keyframe.
    pub media_ssrc: u32,
}

/// Full intra request (RFC 5104 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    fci: &'a [u8],
}

/// One entry of a [`Fir`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// The stream that shall send a keyframe.
    pub ssrc: u32,
    /// Command sequence number: the same number again is a repetition, not a new request.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    fn parse(feedback: Feedback<'a>) -> Result<Self, WireError> {
        if feedback.fci.is_empty() || !feedback.fci.len().is_multiple_of(8) {
            return Err(WireError::BadLength);
        }
        Ok(Self {
            sender_ssrc: feedback.sender_ssrc,
            fci: feedback.fci,
        })
    }

    /// The requests.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.fci.chunks_exact(8).filter_map(|entry| {
            Some(FirEntry {
                ssrc: u32_at(entry, 0)?,
                sequence: u8_at(entry, 4)?,
            })
        })
    }
}

/// Unique identifier of REMB.
pub(super) const REMB_ID: &[u8; 4] = b"REMB";

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// Estimate in bit/s; saturates where the exponent exceeds 64 bits.
    pub bitrate_bps: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    fn parse(feedback: Feedback<'a>) -> Result<Self, WireError> {
        let fci = feedback.fci;
        let count = u8_at(fci, 4).ok_or(WireError::BadLength)?;
        let value = u24_at(fci, 5).ok_or(WireError::BadLength)?;
        let ssrcs = fci.get(8..).ok_or(WireError::BadLength)?;
        if ssrcs.len() != 4 * usize::from(count) {
            return Err(WireError::BadLength);
        }
        let exponent = value >> 18;
        let mantissa = u64::from(value & 0x3_ffff);
        let bitrate_bps = if mantissa != 0 && exponent > mantissa.leading_zeros() {
            u64::MAX
        } else {
            mantissa.checked_shl(exponent).unwrap_or_default()
        };
        Ok(Self {
            sender_ssrc: feedback.sender_ssrc,
            bitrate_bps,
            ssrcs,
        })
    }

    /// The streams that share the bitrate.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs
            .chunks_exact(4)
            .filter_map(|ssrc| u32_at(ssrc, 0))
    }
}
