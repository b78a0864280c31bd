use super::Raw;
use crate::WireError;
use crate::bytes::u32_at;

/// Item type CNAME (RFC 3550 §6.5.1).
pub const CNAME: u8 = 1;

/// Source description (RFC 3550 §6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sdes<'a> {
    body: &'a [u8],
    count: u8,
}

/// What one source says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: u32,
    /// Items up to, and without, the zero that ends them.
    items: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        let sdes = Self {
            body: raw.body,
            count: raw.count,
        };
        let mut rest = sdes.body;
        for _ in 0..sdes.count {
            (_, rest) = Chunk::cut(rest)?;
        }
        if rest.is_empty() {
            Ok(sdes)
        } else {
            Err(WireError::BadLength)
        }
    }

    /// The chunks, at most 31.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (chunk, after) = Chunk::cut(rest).ok()?;
            rest = after;
            Some(chunk)
        })
    }

    /// CNAME of a source.
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&'a [u8]> {
        let chunk = self.chunks().find(|chunk| chunk.ssrc == ssrc)?;
        chunk
            .items()
            .find(|(item_type, _)| *item_type == CNAME)
            .map(|(_, text)| text)
    }
}

impl<'a> Chunk<'a> {
    /// Cuts the first chunk off and checks its items. `data` starts at a word boundary.
    fn cut(data: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let ssrc = u32_at(data, 0).ok_or(WireError::BadLength)?;
        let mut at = 4;
        loop {
            match *data.get(at).ok_or(WireError::BadLength)? {
                0 => break,
                _ => at += 2 + usize::from(*data.get(at + 1).ok_or(WireError::BadLength)?),
            }
        }
        let items = data.get(4..at).unwrap_or_default();
        // At least one zero ends the items, more fill the word.
        let rest = data
            .get((at + 1).next_multiple_of(4)..)
            .ok_or(WireError::BadLength)?;
        Ok((Self { ssrc, items }, rest))
    }

    /// The items as type and text.
    pub fn items(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.items;
        core::iter::from_fn(move || {
            let (item_type, after) = rest.split_first()?;
            let (len, after) = after.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            Some((*item_type, text))
        })
    }
}
