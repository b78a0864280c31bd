//! Congestion control feedback, `ack ccfb` (RFC 8888 §3.1).

use super::build::{self, Kind};
use super::feedback::fmt;
use super::{Raw, packet_type};
use crate::WireError;
use crate::bytes::{Cursor, low16, u16_at, u32_at};

/// Most reports taken from, or written for, one stream of one message (RFC 8888 §3.1).
pub const MAX_REPORTS: usize = 16_384;

/// Arrival time offsets, and the report timestamp divided by 64, count in this fraction of a second.
pub const TICKS_PER_SECOND: u64 = 1_024;

/// An arrival longer before the report than the offset can say.
const OFFSET_OVER: u16 = 0x1ffe;
/// No arrival time is given.
const OFFSET_NONE: u16 = 0x1fff;
/// Bytes before the reports of a stream: SSRC, begin_seq, num_reports.
const STREAM_HEADER: usize = 8;
/// Bytes of the report timestamp, which ends the message.
const TIMESTAMP: usize = 4;

/// The two ECN bits a packet arrived with (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable, or the bits were cleared or not read.
    #[default]
    NotEct = 0,
    /// ECT(1): the sender reacts as L4S asks (RFC 9331).
    Ect1 = 1,
    /// ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// From the lowest two bits.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Ect1,
            2 => Self::Ect0,
            3 => Self::Ce,
            _ => Self::NotEct,
        }
    }
}

/// How a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The ECN mark of the last copy.
    pub ecn: Ecn,
    /// How long before the report timestamp the first copy came, in 1/1024 s, below 8,190; `None` is not
    /// said, or longer ago.
    pub before: Option<u16>,
}

impl Arrival {
    fn from_word(word: u16) -> Option<Self> {
        let [high, _] = word.to_be_bytes();
        let offset = word & 0x1fff;
        (high & 0x80 != 0).then_some(Self {
            ecn: Ecn::from_bits(high >> 5),
            before: Some(offset).filter(|&offset| offset < OFFSET_OVER),
        })
    }

    fn to_word(self) -> u16 {
        let offset = match self.before {
            Some(offset) if offset < OFFSET_OVER => offset,
            Some(_) => OFFSET_OVER,
            None => OFFSET_NONE,
        };
        0x8000 | u16::from(self.ecn as u8) << 13 | offset
    }
}

/// A feedback message. Its streams have been checked to fill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ccfb<'a> {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// When the message was made: the middle of the receiver's NTP time, 16.16 s.
    pub report_time: u32,
    streams: &'a [u8],
}

impl<'a> Ccfb<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, WireError> {
        let sender_ssrc = u32_at(raw.body, 0).ok_or(WireError::BadLength)?;
        let rest = raw.body.get(4..).ok_or(WireError::BadLength)?;
        let end = rest
            .len()
            .checked_sub(TIMESTAMP)
            .ok_or(WireError::BadLength)?;
        let (streams, time) = rest.split_at(end);
        let report_time = u32_at(time, 0).ok_or(WireError::BadLength)?;
        let mut left = streams;
        while !left.is_empty() {
            (_, left) = Stream::cut(left)?;
        }
        Ok(Self {
            sender_ssrc,
            report_time,
            streams,
        })
    }

    /// The streams that are reported on, in the order of the message. A peer may name any SSRC, any number of
    /// times.
    #[must_use]
    pub fn streams(&self) -> Streams<'a> {
        Streams { left: self.streams }
    }
}

/// Iterator made by [`Ccfb::streams`].
#[derive(Debug, Clone)]
pub struct Streams<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Streams<'a> {
    type Item = Stream<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (stream, left) = Stream::cut(self.left).ok()?;
        self.left = left;
        Some(stream)
    }
}

impl core::iter::FusedIterator for Streams<'_> {}

/// What a message says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The stream.
    pub ssrc: u32,
    /// Sequence number of the first report.
    pub begin_sequence: u16,
    words: &'a [u8],
}

impl<'a> Stream<'a> {
    fn cut(data: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let ssrc = u32_at(data, 0).ok_or(WireError::BadLength)?;
        let begin_sequence = u16_at(data, 4).ok_or(WireError::BadLength)?;
        let count = usize::from(u16_at(data, 6).ok_or(WireError::BadLength)?);
        if count > MAX_REPORTS {
            return Err(WireError::TooMany);
        }
        let len = STREAM_HEADER + (2 * count).next_multiple_of(4);
        let (stream, rest) = data.split_at_checked(len).ok_or(WireError::BadLength)?;
        let words = stream.get(STREAM_HEADER..STREAM_HEADER + 2 * count);
        let stream = Self {
            ssrc,
            begin_sequence,
            words: words.unwrap_or_default(),
        };
        Ok((stream, rest))
    }

    /// What is said of one packet: `None` is nothing, `Some(None)` that it has not arrived.
    #[must_use]
    pub fn report(&self, sequence: u16) -> Option<Option<Arrival>> {
        let at = usize::from(sequence.wrapping_sub(self.begin_sequence));
        u16_at(self.words, 2 * at).map(Arrival::from_word)
    }

    /// Each packet of the stream that is reported on: its sequence number and, if it arrived, how.
    pub fn reports(&self) -> impl Iterator<Item = (u16, Option<Arrival>)> + use<'a> {
        let begin = self.begin_sequence;
        self.words
            .chunks_exact(2)
            .zip(0u16..)
            .map(move |(word, at)| {
                let word = u16_at(word, 0).unwrap_or_default();
                (begin.wrapping_add(at), Arrival::from_word(word))
            })
    }
}

/// What to write of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReport<'a> {
    /// The stream.
    pub ssrc: u32,
    /// Sequence number of the first report.
    pub begin_sequence: u16,
    /// Consecutive packets; `None` has not arrived.
    pub arrivals: &'a [Option<Arrival>],
}

/// Writes a feedback message, 12 bytes and for each stream 8 and two for each packet, to the word.
///
/// # Errors
/// [`WireError::TooMany`] above [`MAX_REPORTS`] packets of a stream, [`WireError::BufferTooSmall`].
pub fn write(
    out: &mut [u8],
    sender_ssrc: u32,
    report_time: u32,
    streams: &[StreamReport<'_>],
) -> Result<usize, WireError> {
    let mut cursor = Cursor::new(out);
    build::header(&mut cursor, Kind::Rtpfb(fmt::CCFB))?;
    cursor.put_u32(sender_ssrc)?;
    for stream in streams {
        if stream.arrivals.len() > MAX_REPORTS {
            return Err(WireError::TooMany);
        }
        cursor.put_u32(stream.ssrc)?;
        cursor.put_u16(stream.begin_sequence)?;
        cursor.put_u16(low16(stream.arrivals.len() as u64))?;
        for arrival in stream.arrivals {
            cursor.put_u16(arrival.map_or(0, Arrival::to_word))?;
        }
        cursor.pad_to_word()?;
    }
    cursor.put_u32(report_time)?;
    build::finish(cursor)
}

const _: () = assert!(packet_type::RTPFB == 205 && fmt::CCFB == 11);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Compound, Packet, Rtpfb};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn parse(data: &[u8]) -> Ccfb<'_> {
        match Compound::iter(data).next() {
            Some(Ok(Packet::Rtpfb(Rtpfb::Ccfb(ccfb)))) => ccfb,
            other => panic!("not feedback: {other:?}"),
        }
    }

    /// The layout of RFC 8888, figure 1, by hand: two streams, of one and of two packets.
    #[test]
    fn the_layout_is_that_of_the_rfc() {
        #[rustfmt::skip]
        let data = [
            0x8b, 205, 0, 7, 0, 0, 0, 1,
            0, 0, 0, 2, 0xff, 0xff, 0, 1, 0xa0, 0x05, 0, 0,
            0, 0, 0, 3, 0x00, 0x07, 0, 2, 0x00, 0x00, 0xff, 0xff,
            0x12, 0x34, 0x56, 0x78,
        ];
        // The message above is one word short of what its header says.
        assert!(Compound::check(&data).is_err() || data.len() == 4 * 8 + 4);
        let mut whole = data;
        whole[3] = 8;
        let ccfb = parse(&whole);
        assert_eq!((ccfb.sender_ssrc, ccfb.report_time), (1, 0x1234_5678));
        let streams: Vec<_> = ccfb.streams().collect();
        let seen: Vec<Vec<_>> = streams.iter().map(|s| s.reports().collect()).collect();
        let first = Arrival {
            ecn: Ecn::Ect1,
            before: Some(5),
        };
        let third = Arrival {
            ecn: Ecn::Ce,
            before: None,
        };
        assert_eq!(seen[0], [(0xffff, Some(first))]);
        assert_eq!(seen[1], [(7, None), (8, Some(third))]);
    }

    #[test]
    fn a_count_beyond_the_message_is_refused() {
        let mut buf = [0; 64];
        let streams = [StreamReport {
            ssrc: 9,
            begin_sequence: 0,
            arrivals: &[None; 2],
        }];
        let len = write(&mut buf, 1, 2, &streams).unwrap();
        for count in [3_u16, 5, 0x4001, 0xffff] {
            let mut data = buf;
            data[14..16].copy_from_slice(&count.to_be_bytes());
            assert!(Compound::check(&data[..len]).is_err(), "{count}");
        }
    }

    fn arrival() -> impl Strategy<Value = Option<Arrival>> {
        let before = prop::option::of(0..OFFSET_OVER);
        let arrival = (0_u8..4, before).prop_map(|(ecn, before)| Arrival {
            ecn: Ecn::from_bits(ecn),
            before,
        });
        prop::option::of(arrival)
    }

    proptest! {
        #![proptest_config(crate::seeded())]

        #[test]
        fn messages_survive(
            ssrc: u32, time: u32,
            streams in prop::collection::vec((any::<u32>(), any::<u16>(), prop::collection::vec(arrival(), 0..40)), 0..5),
        ) {
            let reports: Vec<_> = streams
                .iter()
                .map(|(ssrc, begin, arrivals)| StreamReport { ssrc: *ssrc, begin_sequence: *begin, arrivals })
                .collect();
            let mut buf = vec![0; 1_000];
            let len = write(&mut buf, ssrc, time, &reports).unwrap();
            let read = parse(&buf[..len]);
            prop_assert_eq!((read.sender_ssrc, read.report_time), (ssrc, time));
            let back: Vec<_> = read
                .streams()
                .map(|s| (s.ssrc, s.begin_sequence, s.reports().map(|(_, a)| a).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(back, streams);
        }
    }
}
