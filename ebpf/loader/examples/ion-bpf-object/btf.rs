use super::plain;
use anyhow::{Context, Result, bail};

/// Bytes of `struct btf_header`.
const HEADER_LEN: usize = 24;

/// One line for each type record (`Documentation/bpf/btf.rst`, section 2.2).
pub(crate) fn lines(data: &[u8]) -> Result<Vec<String>> {
    let header = Words(data.get(..HEADER_LEN).context("BTF: no header")?);
    let [types_at, types_len, strings_at, strings_len] = [8, 12, 16, 20].map(|at| header.at(at));
    let part = |at: u32, len: u32| {
        let at = HEADER_LEN + at as usize;
        data.get(at..at + len as usize).context("BTF: cut short")
    };
    let strings = part(strings_at, strings_len)?;
    let mut types = part(types_at, types_len)?;
    let mut lines = Vec::new();
    while !types.is_empty() {
        let (head, rest) = types.split_at_checked(12).context("BTF: cut type")?;
        let head = Words(head);
        let (info, size_or_type) = (head.at(4), head.at(8));
        let (kind, count) = (info >> 24 & 31, info & 0xffff);
        // Words of the elements behind it, and which of these is a name.
        let (elements, words, name_at) = match kind {
            1 | 14 | 17 => (1, 1, None),
            3 => (1, 3, None),
            4 | 5 => (count, 3, Some(0)),
            6 | 13 => (count, 2, Some(0)),
            15 => (count, 3, None),
            19 => (count, 3, Some(0)),
            2 | 7..=12 | 16 | 18 => (0, 0, None),
            _ => bail!("BTF: kind {kind} is not known"),
        };
        let mut line = format!("{info:#x} {} {size_or_type}", name(strings, head.at(0))?);
        let (body, rest) = rest
            .split_at_checked(elements as usize * words * 4)
            .context("BTF: cut element")?;
        for (index, word) in body.chunks(4).enumerate() {
            let word = Words(word).at(0);
            line += " ";
            line += &if name_at == Some(index % words.max(1)) {
                name(strings, word)?
            } else {
                word.to_string()
            };
        }
        lines.push(line);
        types = rest;
    }
    Ok(lines)
}

struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// The little-endian word at an offset inside; 0 outside.
    fn at(&self, at: usize) -> u32 {
        let word = self.0.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u32::from_le_bytes(*word))
    }
}

fn name(strings: &[u8], at: u32) -> Result<String> {
    let rest = strings.get(at as usize..).context("BTF: no such string")?;
    let end = rest.iter().position(|byte| *byte == 0);
    let name = rest.get(..end.context("BTF: endless string")?);
    Ok(plain(&String::from_utf8_lossy(name.unwrap_or_default())))
}
