//! Big-endian reads that return `None` and writes that return an error instead of panicking.

use crate::WireError;

/// The `N` bytes at `at`.
#[inline]
pub(crate) fn array_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk::<N>().copied()
}

#[inline]
pub(crate) fn u8_at(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}

#[inline]
pub(crate) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    array_at(data, at).map(u16::from_be_bytes)
}

#[inline]
pub(crate) fn u24_at(data: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = array_at(data, at)?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

#[inline]
pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    array_at(data, at).map(u32::from_be_bytes)
}

#[inline]
pub(crate) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    array_at(data, at).map(u64::from_be_bytes)
}

/// The lowest 24 bits, big-endian.
#[inline]
pub(crate) fn low24(value: u32) -> [u8; 3] {
    let [_, a, b, c] = value.to_be_bytes();
    [a, b, c]
}

/// The lowest 16 bits.
#[inline]
pub(crate) fn low16(value: u64) -> u16 {
    let [.., a, b] = value.to_be_bytes();
    u16::from_be_bytes([a, b])
}

/// The lowest 32 bits.
#[inline]
pub(crate) fn low32(value: u64) -> u32 {
    let [.., a, b, c, d] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Appends to a caller's buffer; never writes past its end.
pub(crate) struct Cursor<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, at: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.at
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let end = self
            .at
            .checked_add(bytes.len())
            .ok_or(WireError::BufferTooSmall)?;
        self.buf
            .get_mut(self.at..end)
            .ok_or(WireError::BufferTooSmall)?
            .copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    pub(crate) fn put_u8(&mut self, value: u8) -> Result<(), WireError> {
        self.put(&[value])
    }

    pub(crate) fn put_u16(&mut self, value: u16) -> Result<(), WireError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u32(&mut self, value: u32) -> Result<(), WireError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn put_u64(&mut self, value: u64) -> Result<(), WireError> {
        self.put(&value.to_be_bytes())
    }

    /// Zeros up to the next multiple of four.
    pub(crate) fn pad_to_word(&mut self) -> Result<(), WireError> {
        let rest = self.at.next_multiple_of(4) - self.at;
        self.put([0; 3].get(..rest).unwrap_or_default())
    }

    /// Overwrites two bytes written before.
    pub(crate) fn patch_u16(&mut self, at: usize, value: u16) -> Result<(), WireError> {
        let end = at
            .checked_add(2)
            .filter(|end| *end <= self.at)
            .ok_or(WireError::BadLength)?;
        self.buf
            .get_mut(at..end)
            .ok_or(WireError::BufferTooSmall)?
            .copy_from_slice(&value.to_be_bytes());
        Ok(())
    }
}
