//! FlexFEC (draft-ietf-payload-flexible-fec-scheme-03, the version that browsers speak): parity over packets of one
//! stream, with a mask that says which.
//!
//! A repair packet is the XOR of the packets that it protects: of the first two bytes of their headers, of their
//! lengths, of their timestamps, and of all that follows the fixed header. With all but one of them, it is the missing one.

use crate::WireError;
use crate::bytes::{Cursor, array_at, u8_at, u16_at, u32_at};
use crate::rtp::FIXED_HEADER_LEN;

/// Packets that one repair packet can protect: 15, 31 and 63 bits of mask.
pub const MAX_PROTECTED: u16 = 109;
/// Bytes of the header before the mask: recovery fields, SSRC count, SSRC, base sequence number.
const MASK_AT: usize = 18;
/// Bits of the three parts of the mask, each behind a k bit that is set where no further part follows.
const MASK_PARTS: [(u32, usize); 3] = [(15, 2), (31, 4), (63, 8)];

/// What is XORed of a packet, besides its body: its first two bytes, its length without the fixed header, its timestamp.
type Head = [u8; 8];

/// The XOR of packets, in the caller's memory: what a repair packet says of those that it protects; or, with all of them
/// but one, that one.
#[derive(Debug, Clone)]
pub struct Parity<M> {
    head: Head,
    /// Longest body so far.
    len: usize,
    /// Room for a fixed header, then bodies.
    memory: M,
}

impl<M: AsRef<[u8]> + AsMut<[u8]>> Parity<M> {
    /// The parity of no packet. The memory holds one packet of the greatest length.
    pub fn new(memory: M) -> Self {
        Self {
            head: [0; 8],
            len: 0,
            memory,
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        (self.head, self.len) = ([0; 8], 0);
    }

    /// Adds a packet: its header, and what follows it. Its bytes may be divided anywhere behind the fixed header.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: the first part is no whole fixed header.
    /// - [`WireError::BufferTooSmall`], [`WireError::BadLength`]: the packet is too long. Nothing was added.
    pub fn add(&mut self, header: &[u8], rest: &[u8]) -> Result<(), WireError> {
        let (fixed, extra) = header
            .split_at_checked(FIXED_HEADER_LEN)
            .ok_or(WireError::TooShort)?;
        let len = extra.len() + rest.len();
        let [l0, l1] = u16::try_from(len)
            .map_err(|_| WireError::BadLength)?
            .to_be_bytes();
        let [b0, b1] = array_at(fixed, 0).ok_or(WireError::TooShort)?;
        let [t0, t1, t2, t3] = array_at(fixed, 4).ok_or(WireError::TooShort)?;
        self.reach(len)?;
        // The version is not protected: its place is that of R and F.
        self.add_head([b0 & 0x3f, b1, l0, l1, t0, t1, t2, t3]);
        self.add_bytes(0, extra);
        self.add_bytes(extra.len(), rest);
        Ok(())
    }

    /// Takes bytes of a packet that was added out again, as if they had been zero: `at` counts from the packet's
    /// beginning. Senders do so with header extensions that are written after the repair packet is made.
    pub fn leave_out(&mut self, at: usize, bytes: &[u8]) {
        if let Some(at) = at.checked_sub(FIXED_HEADER_LEN) {
            self.add_bytes(at, bytes);
        }
    }

    /// Makes sure that a body of this length fits; what is added to it is zero so far.
    fn reach(&mut self, len: usize) -> Result<(), WireError> {
        if len > self.len {
            let range = FIXED_HEADER_LEN + self.len..FIXED_HEADER_LEN + len;
            let fresh = self.memory.as_mut().get_mut(range);
            fresh.ok_or(WireError::BufferTooSmall)?.fill(0);
            self.len = len;
        }
        Ok(())
    }

    fn add_head(&mut self, head: Head) {
        for (byte, other) in self.head.iter_mut().zip(head) {
            *byte ^= other;
        }
    }

    fn add_bytes(&mut self, at: usize, bytes: &[u8]) {
        let body = self
            .memory
            .as_mut()
            .get_mut(FIXED_HEADER_LEN..FIXED_HEADER_LEN + self.len);
        let body = body.and_then(|body| body.get_mut(at..));
        for (byte, other) in body.into_iter().flatten().zip(bytes) {
            *byte ^= other;
        }
    }

    /// Makes the memory the packet that this is the parity of. Returns its length.
    ///
    /// # Errors
    /// - [`WireError::BadLength`]: it would be longer than what went in: something does not belong together.
    /// - [`WireError::BufferTooSmall`].
    pub fn restore(&mut self, ssrc: u32, sequence: u16) -> Result<usize, WireError> {
        let [b0, b1, l0, l1, t0, t1, t2, t3] = self.head;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len > self.len {
            return Err(WireError::BadLength);
        }
        let [s0, s1] = sequence.to_be_bytes();
        let [c0, c1, c2, c3] = ssrc.to_be_bytes();
        let header = [
            0x80 | (b0 & 0x3f),
            b1,
            s0,
            s1,
            t0,
            t1,
            t2,
            t3,
            c0,
            c1,
            c2,
            c3,
        ];
        let fixed = self.memory.as_mut().first_chunk_mut();
        *fixed.ok_or(WireError::BufferTooSmall)? = header;
        Ok(FIXED_HEADER_LEN + len)
    }

    /// Writes the payload of a repair packet: this is the parity of the packets `base + i` of a stream, where bit `i` of
    /// the mask is set. Returns its length.
    ///
    /// # Errors
    /// - [`WireError::BadValue`]: an empty mask, or one beyond [`MAX_PROTECTED`].
    /// - [`WireError::BufferTooSmall`].
    pub fn write(
        &self,
        out: &mut [u8],
        ssrc: u32,
        base: u16,
        mask: u128,
    ) -> Result<usize, WireError> {
        let parts = match u128::BITS - mask.leading_zeros() {
            1..=15 => 1,
            16..=46 => 2,
            47..=109 => 3,
            _ => return Err(WireError::BadValue),
        };
        let parts = MASK_PARTS.get(..parts).unwrap_or_default();
        let mut cursor = Cursor::new(out);
        cursor.put(&self.head)?;
        cursor.put(&[1, 0, 0, 0])?;
        cursor.put_u32(ssrc)?;
        cursor.put_u16(base)?;
        let mut shift = 0;
        for (at, &(bits, bytes)) in parts.iter().enumerate() {
            let mut word = u64::from(at + 1 == parts.len()) << bits;
            for bit in 0..bits {
                let set = (mask >> (shift + bit)) & 1 != 0;
                word |= u64::from(set) << (bits - 1 - bit);
            }
            shift += bits;
            let word = word.to_be_bytes();
            cursor.put(word.get(8 - bytes..).unwrap_or_default())?;
        }
        let body = self
            .memory
            .as_ref()
            .get(FIXED_HEADER_LEN..FIXED_HEADER_LEN + self.len);
        cursor.put(body.unwrap_or_default())?;
        let head_len = MASK_AT + parts.iter().map(|(_, bytes)| bytes).sum::<usize>();
        Ok(head_len + self.len)
    }
}

/// A repair packet's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlexFec<'a> {
    /// SSRC of the stream that it protects.
    pub ssrc: u32,
    /// Sequence number that the mask counts from.
    pub base: u16,
    /// Bit `i`: the packet `base + i` is protected.
    pub mask: u128,
    head: Head,
    body: &'a [u8],
}

impl<'a> FlexFec<'a> {
    /// Reads the payload of a repair packet.
    ///
    /// # Errors
    /// - [`WireError::TooShort`]: it ends within its header.
    /// - [`WireError::BadValue`]: a retransmission or a fixed mask (R, F), which browsers do not send; another number of
    ///   streams than one; or nothing that is protected.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let head: Head = array_at(payload, 0).ok_or(WireError::TooShort)?;
        let streams = u8_at(payload, 8).ok_or(WireError::TooShort)?;
        let [first, ..] = head;
        if first & 0xc0 != 0 || streams != 1 {
            return Err(WireError::BadValue);
        }
        let (mut mask, mut shift, mut at) = (0_u128, 0, MASK_AT);
        for (bits, bytes) in MASK_PARTS {
            let part = payload.get(at..at + bytes).ok_or(WireError::TooShort)?;
            at += bytes;
            let word = part
                .iter()
                .fold(0_u64, |word, &byte| (word << 8) | u64::from(byte));
            for bit in 0..bits {
                mask |= u128::from((word >> (bits - 1 - bit)) & 1) << (shift + bit);
            }
            shift += bits;
            if word >> bits != 0 {
                break;
            }
        }
        if mask == 0 {
            return Err(WireError::BadValue);
        }
        Ok(Self {
            ssrc: u32_at(payload, 12).ok_or(WireError::TooShort)?,
            base: u16_at(payload, 16).ok_or(WireError::TooShort)?,
            mask,
            head,
            body: payload.get(at..).ok_or(WireError::TooShort)?,
        })
    }

    /// Sequence numbers of the packets that it protects, at most [`MAX_PROTECTED`].
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<> {
        let (base, mask) = (self.base, self.mask);
        let protected = move |&i: &u16| (mask >> i) & 1 != 0;
        (0..MAX_PROTECTED)
            .filter(protected)
            .map(move |i| base.wrapping_add(i))
    }

    /// The parity of the packets that it protects. With all of them added but one, it is that one.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`].
    pub fn parity<M: AsRef<[u8]> + AsMut<[u8]>>(&self, memory: M) -> Result<Parity<M>, WireError> {
        let mut parity = Parity::new(memory);
        parity.reach(self.body.len())?;
        parity.add_head(self.head);
        parity.add_bytes(0, self.body);
        Ok(parity)
    }
}

/// Writes the payload of a repair packet for whole RTP packets of one stream, in the order of their sequence numbers.
/// Returns the length. `memory` holds the longest of them.
///
/// # Errors
/// - [`WireError::BadValue`]: no packet, or packets that span more than [`MAX_PROTECTED`] numbers.
/// - [`WireError::TooShort`]: one of them has no whole header.
/// - [`WireError::BufferTooSmall`].
pub fn write(
    out: &mut [u8],
    memory: &mut [u8],
    ssrc: u32,
    packets: &[&[u8]],
) -> Result<usize, WireError> {
    let first = packets.first().ok_or(WireError::BadValue)?;
    let base = u16_at(first, 2).ok_or(WireError::TooShort)?;
    let mut mask = 0_u128;
    let mut parity = Parity::new(memory);
    for packet in packets {
        let place = u16_at(packet, 2).ok_or(WireError::TooShort)?;
        let bit = 1_u128.checked_shl(u32::from(place.wrapping_sub(base)));
        mask |= bit.ok_or(WireError::BadValue)?;
        parity.add(packet, &[])?;
    }
    parity.write(out, ssrc, base, mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn packet(sequence: u16, timestamp: u32, marker: bool, body: &[u8]) -> Vec<u8> {
        let mut packet = std::vec![0x90, if marker { 0xe0 } else { 0x60 }];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(body);
        packet
    }

    #[test]
    fn a_header_of_twenty_bytes_protects_fifteen_packets() {
        let packets = [packet(0xffff, 5, false, &[1, 2]), packet(13, 5, true, &[3])];
        let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let mut fec = [0; 64];
        let len = write(&mut fec, &mut [0xee; 64], 9, &slices).unwrap();
        assert_eq!(
            fec[..len],
            [
                0, 0x80, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xc0, 0x01, 2, 2
            ]
        );
        let parsed = FlexFec::parse(&fec[..len]).unwrap();
        assert!(parsed.sequences().eq([0xffff, 13]));
        for len in 0..20 {
            assert!(FlexFec::parse(&fec[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_browsers_do_not_send_is_refused() {
        let mut fec = [0; 20];
        (fec[8], fec[18], fec[19]) = (1, 0x80, 1);
        assert!(FlexFec::parse(&fec).is_ok());
        for (at, value) in [(0, 0x80), (0, 0x40), (8, 0), (8, 2), (19, 0)] {
            let mut bad = fec;
            bad[at] = value;
            assert_eq!(FlexFec::parse(&bad), Err(WireError::BadValue), "byte {at}");
        }
    }

    #[test]
    fn bytes_left_out_count_as_zero() {
        let (sent, zeroed) = (
            packet(1, 5, true, &[7, 8, 9]),
            packet(1, 5, true, &[7, 0, 0]),
        );
        let mut parity = Parity::new([0xee; 40]);
        parity.add(&sent, &[]).unwrap();
        parity.leave_out(13, &[8, 9]);
        let len = parity.restore(9, 1).unwrap();
        assert_eq!(parity.memory[..len], zeroed);
        assert_eq!(
            parity.write(&mut [0; 60], 9, 1, 0),
            Err(WireError::BadValue)
        );
        assert_eq!(
            parity.write(&mut [0; 60], 9, 1, 1 << 109),
            Err(WireError::BadValue)
        );
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn any_one_packet_is_made_from_the_others(
            base: u16,
            packets in prop::collection::btree_map(0_u16..MAX_PROTECTED, (any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..90)), 1..20),
            which: prop::sample::Index,
            split: prop::sample::Index,
        ) {
            let packets: Vec<_> = packets
                .iter()
                .map(|(at, (timestamp, marker, body))| packet(base.wrapping_add(*at), *timestamp, *marker, body))
                .collect();
            let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let mut buf = [0xee; 200];
            let len = write(&mut buf, &mut [0xee; 200], 9, &slices).unwrap();
            let fec = FlexFec::parse(&buf[..len]).unwrap();
            let sequence = |packet: &[u8]| u16_at(packet, 2).unwrap();
            prop_assert!(fec.sequences().eq(packets.iter().map(|p| sequence(p))));
            let lost = which.index(packets.len());
            let others = slices.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, p)| *p);
            let mut out = [0xee; 200];
            let mut parity = fec.parity(&mut out[..]).unwrap();
            for other in others {
                let (header, rest) = other.split_at(split.index(other.len() - 11) + 12);
                parity.add(header, rest).unwrap();
            }
            let len = parity.restore(9, sequence(&packets[lost])).unwrap();
            prop_assert_eq!(&out[..len], &packets[lost][..]);
        }

        #[test]
        fn any_bytes(payload in prop::collection::vec(any::<u8>(), 0..64), other in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(fec) = FlexFec::parse(&payload) {
                prop_assert!((1..=usize::from(MAX_PROTECTED)).contains(&fec.sequences().count()));
                let mut parity = fec.parity([0; 100]).unwrap();
                let added = parity.add(&other, &[]);
                prop_assert_eq!(added.is_ok(), other.len() >= 12);
                if let Ok(len) = parity.restore(9, 1) {
                    prop_assert!(len <= 12 + payload.len().max(other.len()));
                }
            }
        }
    }
}
