//! Compound RTCP (RFC 3550 §6, RFC 5506): views of what peers send, builders of what Ion sends.
//!
//! [`Compound::iter`] walks the packets of a datagram and yields typed views. A view has been checked whole,
//! so the iterators it gives cannot fail. [`build`] writes single packets, [`CompoundBuilder`] strings
//! them together.

/// Writing single packets.
pub mod build;
/// Congestion control feedback (RFC 8888).
pub mod ccfb;
/// Feedback: NACK, PLI, FIR, REMB (RFC 4585, RFC 5104).
pub mod feedback;
/// Sender and receiver reports, BYE (RFC 3550 §6.4, §6.6).
pub mod reports;
/// Source description (RFC 3550 §6.5).
pub mod sdes;
/// Transport-wide congestion control feedback.
pub mod twcc;

use crate::WireError;
use crate::bytes::{u8_at, u16_at, u32_at};

pub use ccfb::Ccfb;
pub use feedback::{Feedback, Fir, Nack, Pli, Psfb, Remb, Rtpfb};
pub use reports::{Bye, ReceiverReport, ReportBlock, SenderInfo, SenderReport};
pub use sdes::Sdes;
pub use twcc::Twcc;

/// Length in bytes of the header that all RTCP packets share.
pub const HEADER_LEN: usize = 4;

/// Packet types (IANA "RTCP Control Packet Types").
pub mod packet_type {
    /// Sender report.
    pub const SR: u8 = 200;
    /// Receiver report.
    pub const RR: u8 = 201;
    /// Source description.
    pub const SDES: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Application-defined.
    pub const APP: u8 = 204;
    /// Transport layer feedback (RFC 4585).
    pub const RTPFB: u8 = 205;
    /// Payload-specific feedback (RFC 4585).
    pub const PSFB: u8 = 206;
    /// Extended report (RFC 3611).
    pub const XR: u8 = 207;
}

/// Any RTCP packet, framed and without padding, its body not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Packet type.
    pub packet_type: u8,
    /// The five bits behind the padding bit: a count or a feedback message type.
    pub count: u8,
    /// What follows the 4-byte header.
    pub body: &'a [u8],
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR.
    SenderReport(SenderReport<'a>),
    /// RR.
    ReceiverReport(ReceiverReport<'a>),
    /// SDES.
    Sdes(Sdes<'a>),
    /// BYE.
    Bye(Bye<'a>),
    /// RTPFB: NACK, TWCC, RFC 8888, others.
    Rtpfb(Rtpfb<'a>),
    /// PSFB: PLI, FIR, REMB, others.
    Psfb(Psfb<'a>),
    /// XR, not parsed further.
    Xr(Raw<'a>),
    /// APP and whatever else there may be.
    Unknown(Raw<'a>),
}

impl<'a> Packet<'a> {
    fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        Ok(match raw.packet_type {
            packet_type::SR => Self::SenderReport(SenderReport::parse(raw)?),
            packet_type::RR => Self::ReceiverReport(ReceiverReport::parse(raw)?),
            packet_type::SDES => Self::Sdes(Sdes::parse(raw)?),
            packet_type::BYE => Self::Bye(Bye::parse(raw)?),
            packet_type::RTPFB => Self::Rtpfb(Rtpfb::parse(raw)?),
            packet_type::PSFB => Self::Psfb(Psfb::parse(raw)?),
            packet_type::XR => Self::Xr(raw),
            _ => Self::Unknown(raw),
        })
    }
}

/// A compound RTCP packet: all RTCP packets of one datagram.
#[derive(Debug, Clone, Copy)]
pub struct Compound;

impl Compound {
    /// Iterates over the packets of `data`, which is decrypted. Reduced-size compounds (RFC 5506) are taken:
    /// any type may come first.
    ///
    /// A packet that is malformed yields one error and ends the iteration.
    #[must_use]
    pub fn iter(data: &[u8]) -> CompoundIter<'_> {
        CompoundIter { rest: data }
    }

    /// Checks all packets, for callers that act on a compound only if the whole of it is well-formed.
    /// Returns their number.
    ///
    /// # Errors
    /// The first error of [`Self::iter`], or [`WireError::TooShort`] where there is no packet.
    pub fn check(data: &[u8]) -> Result<usize, WireError> {
        let mut count = 0;
        for packet in Self::iter(data) {
            packet?;
            count += 1;
        }
        if count == 0 {
            Err(WireError::TooShort)
        } else {
            Ok(count)
        }
    }
}

/// Iterator made by [`Compound::iter`].
#[derive(Debug, Clone)]
pub struct CompoundIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CompoundIter<'a> {
    type Item = Result<Packet<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = next_raw(self.rest).and_then(|(raw, rest)| {
            self.rest = rest;
            Packet::parse(raw)
        });
        if parsed.is_err() {
            self.rest = &[];
        }
        Some(parsed)
    }
}

impl core::iter::FusedIterator for CompoundIter<'_> {}

/// Cuts the first packet off (RFC 3550 §6.4.1; checks of appendix A.2).
fn next_raw(data: &[u8]) -> Result<(Raw<'_>, &[u8]), WireError> {
    let first = u8_at(data, 0).ok_or(WireError::TooShort)?;
    let packet_type = u8_at(data, 1).ok_or(WireError::TooShort)?;
    let words = u16_at(data, 2).ok_or(WireError::TooShort)?;
    if first >> 6 != 2 {
        return Err(WireError::BadVersion);
    }
    let len = HEADER_LEN + 4 * usize::from(words);
    let (packet, rest) = data.split_at_checked(len).ok_or(WireError::BadLength)?;
    let mut body = packet.get(HEADER_LEN..).unwrap_or_default();
    if first & 0x20 != 0 {
        // RFC 3550 wants whole words of padding, on the last packet only. libwebrtc pads its TWCC feedback
        // with one to three bytes wherever in the compound it stands, so any count is taken that the
        // packet holds.
        let count = usize::from(*body.last().ok_or(WireError::BadPadding)?);
        if count == 0 || count > body.len() {
            return Err(WireError::BadPadding);
        }
        body = body.get(..body.len() - count).unwrap_or_default();
    }
    Ok((
        Raw {
            packet_type,
            count: first & 0x1f,
            body,
        },
        rest,
    ))
}

/// The SSRC that stands first in every packet that names its sender (all but SDES, and BYE without sources):
/// in SRTCP it is in clear (RFC 3711 §3.4). `None` where the packet is shorter.
#[must_use]
pub fn sender_ssrc(packet: &[u8]) -> Option<u32> {
    u32_at(packet, HEADER_LEN)
}

/// Strings packets together in one buffer.
///
/// ```
/// use ion_wire::rtcp::{Compound, CompoundBuilder, build};
/// let mut buf = [0; 256];
/// let mut compound = CompoundBuilder::new(&mut buf);
/// compound.push(|out| build::receiver_report(out, 1, &[]))?;
/// compound.push(|out| build::pli(out, 1, 0x1234))?;
/// assert_eq!(Compound::check(compound.as_bytes()), Ok(2));
/// # Ok::<(), ion_wire::WireError>(())
/// ```
#[derive(Debug)]
pub struct CompoundBuilder<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> CompoundBuilder<'a> {
    /// Starts an empty compound at the beginning of `buf`.
    #[must_use]
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Appends what `write` puts into the rest of the buffer; `write` returns the length, as the functions
    /// of [`build`] do. On an error the compound stays as it was.
    ///
    /// # Errors
    /// That of `write`; [`WireError::BadLength`] where it claims more than it was given.
    pub fn push<F>(&mut self, write: F) -> Result<&mut Self, WireError>
    where
        F: FnOnce(&mut [u8]) -> Result<usize, WireError>,
    {
        let rest = self.buf.get_mut(self.len..).unwrap_or_default();
        let room = rest.len();
        let written = write(rest)?;
        if written > room {
            return Err(WireError::BadLength);
        }
        self.len += written;
        Ok(self)
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes left in the buffer.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// The compound so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
