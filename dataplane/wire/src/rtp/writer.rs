//! Writing RTP headers with extensions (RFC 3550 §5.1, RFC 8285).

use super::{FIXED_HEADER_LEN, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use crate::WireError;

/// Which form of RFC 8285 the extension block takes. It is one for the whole block, so it is chosen before
/// the first element is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExtForm {
    /// One-byte element headers: ids 1..=14, data of 1..=16 bytes (RFC 8285 §4.2).
    #[default]
    OneByte,
    /// Two-byte element headers: ids 1..=255, data of 0..=255 bytes (RFC 8285 §4.3). The peer must
    /// have agreed to it by `a=extmap-allow-mixed`, or use ids above 14.
    TwoByte,
}

impl ExtForm {
    /// The smaller form that holds an element of this id and data length.
    #[must_use]
    pub const fn fitting(id: u8, data_len: usize) -> Self {
        if id <= 14 && data_len >= 1 && data_len <= 16 {
            Self::OneByte
        } else {
            Self::TwoByte
        }
    }

    /// The smaller form that holds what both hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::OneByte, Self::OneByte) => Self::OneByte,
            _ => Self::TwoByte,
        }
    }
}

/// Fields of a header to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFields {
    /// Marker bit.
    pub marker: bool,
    /// Payload type; only the low 7 bits count.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// Writes a fresh RTP header without CSRCs, then extension elements, into the caller's buffer.
///
/// ```
/// use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter};
/// let mut buf = [0; 64];
/// let fields =
///     HeaderFields { marker: true, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3 };
/// let mut writer = HeaderWriter::new(&mut buf, &fields, ExtForm::OneByte)?;
/// writer.push_extension(3, &[0, 7])?;
/// assert_eq!(writer.finish(), 12 + 4 + 4);
/// # Ok::<(), ion_wire::WireError>(())
/// ```
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    buf: &'a mut [u8],
    form: ExtForm,
    /// End of what is written: the fixed header, or the last element.
    at: usize,
}

/// Length of the extension block's own header.
const BLOCK_HEADER_LEN: usize = 4;

impl<'a> HeaderWriter<'a> {
    /// Writes the fixed header. P and X are clear, the CSRC count is zero.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`]: fewer than 12 bytes.
    #[inline]
    pub fn new(buf: &'a mut [u8], fields: &HeaderFields, form: ExtForm) -> Result<Self, WireError> {
        let Some(fixed) = buf.first_chunk_mut::<FIXED_HEADER_LEN>() else {
            return Err(WireError::BufferTooSmall);
        };
        let [s0, s1] = fields.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = fields.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = fields.ssrc.to_be_bytes();
        let b1 = (u8::from(fields.marker) << 7) | (fields.payload_type & 0x7f);
        *fixed = [0x80, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        Ok(Self {
            buf,
            form,
            at: FIXED_HEADER_LEN,
        })
    }

    /// Appends an element.
    ///
    /// # Errors
    /// Nothing is written on:
    /// - [`WireError::BadExtension`]: the id or the length does not fit the form, or the id is 0.
    /// - [`WireError::BufferTooSmall`]: the element, padded to a word, does not fit.
    #[inline]
    pub fn push_extension(&mut self, id: u8, data: &[u8]) -> Result<(), WireError> {
        if id == 0 {
            return Err(WireError::BadExtension);
        }
        let len = u8::try_from(data.len()).map_err(|_| WireError::BadExtension)?;
        let (element, element_len): ([u8; 2], usize) = match self.form {
            ExtForm::OneByte if ExtForm::fitting(id, data.len()) == ExtForm::OneByte => {
                ([(id << 4) | (len - 1), 0], 1)
            }
            ExtForm::OneByte => return Err(WireError::BadExtension),
            ExtForm::TwoByte => ([id, len], 2),
        };
        // Behind the block header, which is written by `finish`.
        let start = if self.at == FIXED_HEADER_LEN {
            self.at + BLOCK_HEADER_LEN
        } else {
            self.at
        };
        let data_start = start + element_len;
        let end = data_start + data.len();
        if end.next_multiple_of(4) > self.buf.len() {
            return Err(WireError::BufferTooSmall);
        }
        let header = element.get(..element_len).unwrap_or_default();
        if let Some(target) = self.buf.get_mut(start..data_start) {
            target.copy_from_slice(header);
        }
        if let Some(target) = self.buf.get_mut(data_start..end) {
            target.copy_from_slice(data);
        }
        self.at = end;
        Ok(())
    }

    /// Completes the extension block, if any element was pushed, and returns the header's length in
    /// bytes, a multiple of four.
    #[inline]
    #[must_use]
    pub fn finish(self) -> usize {
        if self.at == FIXED_HEADER_LEN {
            return self.at;
        }
        // `push_extension` has made sure of the room for both.
        let end = self.at.next_multiple_of(4);
        if let Some(padding) = self.buf.get_mut(self.at..end) {
            padding.fill(0);
        }
        let profile = match self.form {
            ExtForm::OneByte => ONE_BYTE_PROFILE,
            ExtForm::TwoByte => TWO_BYTE_PROFILE,
        };
        let words = (end - FIXED_HEADER_LEN - BLOCK_HEADER_LEN) / 4;
        let block = FIXED_HEADER_LEN..FIXED_HEADER_LEN + BLOCK_HEADER_LEN;
        if let Some(target) = self.buf.get_mut(block) {
            let [p0, p1] = profile.to_be_bytes();
            let [.., w0, w1] = words.to_be_bytes();
            target.copy_from_slice(&[p0, p1, w0, w1]);
        }
        if let Some(first) = self.buf.first_mut() {
            *first |= 0x10;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpView;
    use proptest::prelude::*;
    use std::vec::Vec;

    const FIELDS: HeaderFields = HeaderFields {
        marker: true,
        payload_type: 0xff,
        sequence: 0xfffe,
        timestamp: 0x0102_0304,
        ssrc: 0x1122_3344,
    };

    #[test]
    fn without_extensions_it_is_twelve_bytes_and_x_is_clear() {
        let mut buf = [0xff; 12];
        let len = HeaderWriter::new(&mut buf, &FIELDS, ExtForm::TwoByte)
            .unwrap()
            .finish();
        assert_eq!(len, 12);
        assert_eq!(
            buf,
            [0x80, 0xff, 0xff, 0xfe, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44]
        );
    }

    #[test]
    fn what_does_not_fit_the_form_or_the_buffer_is_refused_and_leaves_no_trace() {
        let mut buf = [0u8; 24];
        let mut writer = HeaderWriter::new(&mut buf, &FIELDS, ExtForm::OneByte).unwrap();
        assert_eq!(writer.push_extension(0, &[1]), Err(WireError::BadExtension));
        assert_eq!(
            writer.push_extension(15, &[1]),
            Err(WireError::BadExtension)
        );
        assert_eq!(writer.push_extension(1, &[]), Err(WireError::BadExtension));
        assert_eq!(
            writer.push_extension(1, &[0; 17]),
            Err(WireError::BadExtension)
        );
        assert_eq!(
            writer.push_extension(1, &[0; 8]),
            Err(WireError::BufferTooSmall)
        );
        assert_eq!(writer.push_extension(1, &[9; 3]), Ok(()));
        assert_eq!(writer.push_extension(2, &[8; 3]), Ok(()));
        assert_eq!(
            writer.push_extension(3, &[7]),
            Err(WireError::BufferTooSmall)
        );
        assert_eq!(writer.finish(), 24);
        let view = RtpView::parse(&buf).unwrap();
        let found: Vec<_> = view.extensions().map(Result::unwrap).collect();
        assert_eq!(found, [(1, &[9; 3][..]), (2, &[8; 3][..])]);
        assert!(HeaderWriter::new(&mut [0; 11], &FIELDS, ExtForm::OneByte).is_err());
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn a_view_reads_what_was_written(
            elements in prop::collection::vec((1u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            room in 12usize..300,
        ) {
            let form = elements.iter().fold(ExtForm::OneByte, |form, (id, data)| {
                form.and(ExtForm::fitting(*id, data.len()))
            });
            let mut buf = std::vec![0xa5; room];
            let mut writer = HeaderWriter::new(&mut buf, &FIELDS, form).unwrap();
            let written: Vec<_> = elements
                .iter()
                .filter(|(id, data)| writer.push_extension(*id, data).is_ok())
                .map(|(id, data)| (*id, data.as_slice()))
                .collect();
            let len = writer.finish();
            prop_assert!(len <= room && len.is_multiple_of(4));
            let view = RtpView::parse(&buf[..len]).unwrap();
            prop_assert_eq!(usize::from(view.header().header_len), len);
            prop_assert_eq!(view.header().sequence, FIELDS.sequence);
            prop_assert_eq!(view.header().payload_type, 0x7f);
            let read: Result<Vec<_>, _> = view.extensions().collect();
            prop_assert_eq!(read.unwrap(), written);
        }
    }
}
