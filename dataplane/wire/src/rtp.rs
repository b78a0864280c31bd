//! RTP headers (RFC 3550 §5.1), read before decryption and written for forwarding.
//!
//! SRTP leaves the header in clear, so [`RtpHeader::parse`] looks at nothing behind it. Padding is part of
//! the encrypted payload: its length is known only after decryption, to [`RtpHeader::payload_range`].

mod extensions;
mod writer;

use core::ops::Range;

use crate::WireError;
use crate::bytes::{u16_at, u32_at};

pub use extensions::{ExtIter, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
pub use writer::{ExtForm, HeaderFields, HeaderWriter};

/// Length in bytes of the fixed header.
pub const FIXED_HEADER_LEN: usize = 12;

/// Where the extension block's elements lie in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionBlock {
    /// "Defined by profile": 0xBEDE, 0x100X (RFC 8285 §4.2, §4.3), or unknown to us.
    pub profile: u16,
    /// Offset in bytes of the first element from the packet's start, behind the 4-byte block header.
    pub start: u16,
    /// Length in bytes, without the block header.
    pub len: u16,
}

/// An RTP header in host order: what forwarding asks of a packet, copied out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 7 bits.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Whether the (decrypted) payload ends in padding.
    pub has_padding: bool,
    /// Number of contributing sources, 0..=15.
    pub csrc_count: u8,
    /// The extension block, if there is one.
    pub extension: Option<ExtensionBlock>,
    /// Length in bytes of all that precedes the payload: fixed header, CSRCs, extension block.
    pub header_len: u16,
}

impl RtpHeader {
    /// Reads the header of an RTP or SRTP packet.
    ///
    /// # Errors
    /// - [`WireError::BadVersion`]: version is not 2.
    /// - [`WireError::TooShort`]: the packet ends inside the fixed header, CSRC list or extension block.
    /// - [`WireError::BadLength`]: more than 65,535 bytes, which no datagram holds.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let Some((fixed, _)) = packet.split_first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(WireError::TooShort);
        };
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if b0 >> 6 != 2 {
            return Err(WireError::BadVersion);
        }
        let packet_len = u16::try_from(packet.len()).map_err(|_| WireError::BadLength)?;
        let csrc_count = b0 & 0x0f;
        // At most 72.
        let mut header_len = 12 + 4 * u16::from(csrc_count);
        let mut extension = None;
        if b0 & 0x10 != 0 {
            let at = usize::from(header_len);
            let profile = u16_at(packet, at).ok_or(WireError::TooShort)?;
            let words = u16_at(packet, at + 2).ok_or(WireError::TooShort)?;
            let start = header_len + 4;
            let len = words.checked_mul(4).ok_or(WireError::TooShort)?;
            header_len = start.checked_add(len).ok_or(WireError::TooShort)?;
            extension = Some(ExtensionBlock {
                profile,
                start,
                len,
            });
        }
        if header_len > packet_len {
            return Err(WireError::TooShort);
        }
        Ok(Self {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            has_padding: b0 & 0x20 != 0,
            csrc_count,
            extension,
            header_len,
        })
    }

    /// Range of the payload in the *decrypted* `packet` (header included, authentication tag not),
    /// padding removed. It may be empty: Chromium probes bandwidth with packets of padding only.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: shorter than the header, so not the packet this header came from.
    /// - [`WireError::BadPadding`]: the padding count is zero or exceeds the payload.
    #[inline]
    pub fn payload_range(&self, packet: &[u8]) -> Result<Range<usize>, WireError> {
        let start = usize::from(self.header_len);
        let payload = packet.get(start..).ok_or(WireError::TooShort)?;
        let mut end = packet.len();
        if self.has_padding {
            let count = usize::from(*payload.last().ok_or(WireError::BadPadding)?);
            if count == 0 || count > payload.len() {
                return Err(WireError::BadPadding);
            }
            end -= count;
        }
        Ok(start..end)
    }

    /// Iterates over the header extension elements of `packet`, which this header was parsed from.
    #[inline]
    #[must_use]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtIter<'a> {
        match self.extension {
            None => ExtIter::new(0, &[]),
            Some(block) => {
                let start = usize::from(block.start);
                let data = packet
                    .get(start..start + usize::from(block.len))
                    .unwrap_or_default();
                ExtIter::new(block.profile, data)
            }
        }
    }

    /// Finds the elements with the given ids in one pass: `result[i]` is the first element whose id is
    /// `ids[i]`. An id of 0 (padding) is found never, which is how "not negotiated" is said.
    ///
    /// What precedes a malformed element is found, what follows it is not.
    #[inline]
    #[must_use]
    pub fn find_extensions<'a, const N: usize>(
        &self,
        packet: &'a [u8],
        ids: &[u8; N],
    ) -> [Option<&'a [u8]>; N] {
        let mut found = [None; N];
        for element in self.extensions(packet) {
            let Ok((id, data)) = element else { break };
            for (slot, wanted) in found.iter_mut().zip(ids) {
                if *wanted == id && slot.is_none() {
                    *slot = Some(data);
                }
            }
        }
        found
    }
}

/// A plaintext RTP packet whose header and padding have both been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpView<'a> {
    packet: &'a [u8],
    header: RtpHeader,
    payload_end: usize,
}

impl<'a> RtpView<'a> {
    /// Checks a whole plaintext packet: fixed header, CSRCs, extension block, padding.
    ///
    /// # Errors
    /// As [`RtpHeader::parse`] and [`RtpHeader::payload_range`].
    pub fn parse(packet: &'a [u8]) -> Result<Self, WireError> {
        let header = RtpHeader::parse(packet)?;
        let payload_end = header.payload_range(packet)?.end;
        Ok(Self {
            packet,
            header,
            payload_end,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &RtpHeader {
        &self.header
    }

    /// The payload without padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.packet
            .get(usize::from(self.header.header_len)..self.payload_end)
            .unwrap_or_default()
    }

    /// Number of padding bytes, the count byte included.
    #[must_use]
    pub fn padding_len(&self) -> usize {
        self.packet.len() - self.payload_end
    }

    /// Contributing sources.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let packet = self.packet;
        (0..usize::from(self.header.csrc_count))
            .filter_map(move |i| u32_at(packet, FIXED_HEADER_LEN + 4 * i))
    }

    /// Header extension elements.
    #[must_use]
    pub fn extensions(&self) -> ExtIter<'a> {
        self.header.extensions(self.packet)
    }

    /// As [`RtpHeader::find_extensions`].
    #[must_use]
    pub fn find_extensions<const N: usize>(&self, ids: &[u8; N]) -> [Option<&'a [u8]>; N] {
        self.header.find_extensions(self.packet, ids)
    }
}
