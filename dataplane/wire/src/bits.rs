//! Bits of a byte string, the most significant first: reads that return `None` and writes that return
//! an error instead of panicking.

use crate::WireError;

/// Reads bits.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Bits read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Moves on without reading.
    pub(crate) fn skip(&mut self, bits: usize) -> Option<()> {
        let at = self.at.checked_add(bits)?;
        (at <= self.data.len() * 8).then(|| self.at = at)
    }

    /// `f(1)` as a flag.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.bits(1)? != 0)
    }

    /// `f(n)`: the next `n` ≤ 32 bits, big-endian.
    pub(crate) fn bits(&mut self, n: u32) -> Option<u32> {
        let mut value = 0_u64;
        let mut left = n.min(32);
        while left > 0 {
            let byte = u64::from(*self.data.get(self.at / 8)?);
            let used = u32::try_from(self.at % 8).ok()?;
            let take = left.min(8 - used);
            let bits = (byte >> (8 - used - take)) & ((1 << take) - 1);
            value = (value << take) | bits;
            self.at += take as usize;
            left -= take;
        }
        u32::try_from(value).ok()
    }

    /// `f(n)` for values of at most eight bits.
    pub(crate) fn byte(&mut self, n: u32) -> Option<u8> {
        u8::try_from(self.bits(n.min(8))?).ok()
    }

    /// `ns(n)`: a value below `n`, in as few bits as that allows (AV1 specification §4.10.7).
    pub(crate) fn below(&mut self, n: u32) -> Option<u32> {
        let (width, short) = widths(n)?;
        let value = self.bits(width - 1)?;
        if value < short {
            return Some(value);
        }
        let extra = self.bits(1)?;
        (value << 1).checked_sub(short)?.checked_add(extra)
    }
}

/// Of values below `n`: the width of the longer ones in bits, and how many take one bit less.
fn widths(n: u32) -> Option<(u32, u32)> {
    let width = n.checked_ilog2()? + 1;
    let short = (1_u64 << width) - u64::from(n);
    Some((width, u32::try_from(short).ok()?))
}

/// Writes bits; every byte that is begun is overwritten whole.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, at: 0 }
    }

    /// Bits written so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes begun so far; the last one is filled up with zeros.
    pub(crate) fn len(&self) -> usize {
        self.at.div_ceil(8)
    }

    pub(crate) fn flag(&mut self, value: bool) -> Result<(), WireError> {
        self.bits(u32::from(value), 1)
    }

    /// The lowest `n` ≤ 32 bits of a value.
    pub(crate) fn bits(&mut self, value: u32, n: u32) -> Result<(), WireError> {
        for bit in (0..n.min(32)).rev() {
            let byte = self
                .buf
                .get_mut(self.at / 8)
                .ok_or(WireError::BufferTooSmall)?;
            let place = 7 - self.at % 8;
            if place == 7 {
                *byte = 0;
            }
            let set = u8::from((value >> bit) & 1 != 0);
            *byte |= set << place;
            self.at += 1;
        }
        Ok(())
    }

    /// The reverse of [`BitReader::below`].
    pub(crate) fn below(&mut self, value: u32, n: u32) -> Result<(), WireError> {
        let (width, short) = widths(n).filter(|_| value < n).ok_or(WireError::BadValue)?;
        if value < short {
            self.bits(value, width - 1)
        } else {
            self.bits(value + short, width)
        }
    }

    /// Copies `bits` bits from a reader.
    pub(crate) fn copy(&mut self, from: &mut BitReader<'_>, bits: usize) -> Result<(), WireError> {
        let mut left = bits;
        while left > 0 {
            let take = left.min(32);
            let n = u32::try_from(take).map_err(|_| WireError::BadLength)?;
            self.bits(from.bits(n).ok_or(WireError::TooShort)?, n)?;
            left -= take;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_is_none_and_a_full_buffer_an_error() {
        let mut reader = BitReader::new(&[0xa5]);
        assert_eq!(reader.bits(4), Some(0xa));
        assert_eq!(reader.bits(5), None);
        let mut buf = [0xff];
        let mut writer = BitWriter::new(&mut buf);
        assert_eq!(writer.bits(1, 3), Ok(()));
        assert_eq!(writer.bits(0, 6), Err(WireError::BufferTooSmall));
        assert_eq!(buf, [0x20], "what was there before is gone");
    }

    #[test]
    fn a_value_below_one_takes_no_bits() {
        assert_eq!(BitReader::new(&[]).below(1), Some(0));
        assert_eq!(BitReader::new(&[0]).below(0), None);
        assert_eq!(BitWriter::new(&mut []).below(0, 1), Ok(()));
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec((any::<u32>(), 1_u32..=32, any::<bool>()), 0..40)) {
            let mut buf = [0xee; 200];
            let mut writer = BitWriter::new(&mut buf);
            let cut = |value: u32, n: u32| if n == 32 { value } else { value & ((1 << n) - 1) };
            for &(value, n, below) in &values {
                if below {
                    writer.below(cut(value, n) / 2, cut(value, n) / 2 + 1).unwrap();
                } else {
                    writer.bits(value, n).unwrap();
                }
            }
            let len = writer.len();
            let mut reader = BitReader::new(&buf[..len]);
            for &(value, n, below) in &values {
                if below {
                    prop_assert_eq!(reader.below(cut(value, n) / 2 + 1), Some(cut(value, n) / 2));
                } else {
                    prop_assert_eq!(reader.bits(n), Some(cut(value, n)));
                }
            }
        }
    }
}
