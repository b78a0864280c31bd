/// A sum in ones' complement, not yet folded (RFC 1071 §1).
///
/// Words are added in the machine's byte order, which ones' complement allows (RFC 1071 §2.B), and
/// checksums are the two bytes as they are on the wire. Gigabytes cannot overflow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last one counts as followed by zero, so only the last piece may be odd.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let sum = words.iter().fold(self, |sum, word| sum.add_word(*word));
        match *rest {
            [a] => sum.add_half([a, 0]),
            [a, b] => sum.add_half([a, b]),
            [a, b, c] => sum.add_half([a, b]).add_half([c, 0]),
            _ => sum,
        }
    }

    #[inline(always)]
    const fn add_word(self, word: [u8; 4]) -> Self {
        Self(self.0 + u32::from_ne_bytes(word) as u64)
    }

    #[inline(always)]
    const fn add_half(self, half: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(half) as u64)
    }

    /// Takes `old` out and puts `new` in, both at an even offset (RFC 1624 §3).
    #[inline(always)]
    #[must_use]
    pub const fn replace(self, old: [u8; 4], new: [u8; 4]) -> Self {
        let out = !u32::from_ne_bytes(old);
        Self(self.0 + out as u64).add_word(new)
    }

    /// The checksum of what was added.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        let bytes = (!sum).to_le_bytes();
        u16::from_le_bytes([bytes[0], bytes[1]]).to_ne_bytes()
    }

    /// The checksum `check` after the replacements (RFC 1624 §3, equation 3).
    #[inline(always)]
    #[must_use]
    pub const fn amend(self, check: [u8; 2]) -> [u8; 2] {
        let [a, b] = check;
        self.add_half([!a, !b]).finish()
    }
}

/// A UDP checksum as it is sent: zero would mean "none" (RFC 768; RFC 8200 §8.1).
#[inline(always)]
#[must_use]
pub const fn udp(check: [u8; 2]) -> [u8; 2] {
    match check {
        [0, 0] => [0xff, 0xff],
        check => check,
    }
}
