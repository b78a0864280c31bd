//! RTP header extension elements (RFC 8285).

use crate::WireError;

/// Profile of the one-byte form (RFC 8285 §4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// Profile of the two-byte form; the low four bits are "appbits" (RFC 8285 §4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

#[derive(Debug, Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
    Done,
}

/// Iterator over the elements of an extension block, as `(id, data)`.
///
/// An element that overruns the block yields one [`WireError::BadExtension`] and ends the iteration.
/// A block of an unknown profile has no elements. Ids may repeat; order is the packet's.
#[derive(Debug, Clone)]
pub struct ExtIter<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> ExtIter<'a> {
    /// Iterates over `data`, the block without its 4-byte header.
    #[inline]
    #[must_use]
    pub fn new(profile: u16, data: &'a [u8]) -> Self {
        let form = match profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            _ if profile & 0xfff0 == TWO_BYTE_PROFILE => Form::TwoByte,
            _ => Form::Done,
        };
        Self { form, rest: data }
    }

    /// Takes the `len` bytes of an element's data, or ends the iteration.
    #[inline]
    fn take(&mut self, id: u8, after: &'a [u8], len: usize) -> Result<(u8, &'a [u8]), WireError> {
        let Some((data, rest)) = after.split_at_checked(len) else {
            self.form = Form::Done;
            return Err(WireError::BadExtension);
        };
        self.rest = rest;
        Ok((id, data))
    }
}

impl<'a> Iterator for ExtIter<'a> {
    type Item = Result<(u8, &'a [u8]), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, after) = self.rest.split_first()?;
            match self.form {
                Form::Done => return None,
                // A padding byte is zero whole in the one-byte form (§4.2) and an id of zero in the
                // two-byte form (§4.3); neither has a length.
                _ if *first == 0 => self.rest = after,
                Form::OneByte => {
                    let id = first >> 4;
                    // 15 is reserved, 0 with a length is contradictory: "processing of the entire
                    // extension MUST terminate", what came before stands (§4.2).
                    if id == 15 || id == 0 {
                        self.form = Form::Done;
                        return None;
                    }
                    return Some(self.take(id, after, usize::from(first & 0x0f) + 1));
                }
                Form::TwoByte => {
                    let Some((len, after)) = after.split_first() else {
                        self.form = Form::Done;
                        return Some(Err(WireError::BadExtension));
                    };
                    return Some(self.take(*first, after, usize::from(*len)));
                }
            }
        }
    }
}

impl core::iter::FusedIterator for ExtIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn all(profile: u16, data: &[u8]) -> Vec<Result<(u8, &[u8]), WireError>> {
        ExtIter::new(profile, data).collect()
    }

    #[test]
    fn one_byte_form_with_padding_between() {
        let data = [0x10, 0xaa, 0, 0, 0x32, 1, 2, 3, 0];
        assert_eq!(
            all(0xBEDE, &data),
            [Ok((1, &[0xaa][..])), Ok((3, &[1, 2, 3][..]))]
        );
    }

    #[test]
    fn one_byte_id_15_ends_without_an_error() {
        assert_eq!(
            all(0xBEDE, &[0x10, 0xaa, 0xf0, 0, 0x20, 1]),
            [Ok((1, &[0xaa][..]))]
        );
    }

    #[test]
    fn one_byte_id_0_with_a_length_ends_without_an_error() {
        assert_eq!(
            all(0xBEDE, &[0x10, 0xaa, 0x01, 9, 9, 0x20, 1]),
            [Ok((1, &[0xaa][..]))]
        );
    }

    #[test]
    fn two_byte_form_with_empty_and_long_elements_and_appbits() {
        let mut data = std::vec![20, 0, 0, 15, 200];
        data.extend([7; 200]);
        let want = [Ok((20, &[][..])), Ok((15, &[7; 200][..]))];
        assert_eq!(all(0x1000, &data), want);
        assert_eq!(all(0x100f, &data), want);
    }

    #[test]
    fn overrun_is_one_error_and_the_end() {
        let bad = Err(WireError::BadExtension);
        assert_eq!(
            all(0xBEDE, &[0x10, 0xaa, 0x23, 1, 2]),
            [Ok((1, &[0xaa][..])), bad]
        );
        assert_eq!(all(0x1000, &[1, 4, 0, 0, 0]), [bad]);
        assert_eq!(all(0x1000, &[1]), [bad]);
    }

    #[test]
    fn unknown_profile_has_no_elements() {
        assert_eq!(all(0xABAC, &[0x10, 0xaa]), []);
    }
}
