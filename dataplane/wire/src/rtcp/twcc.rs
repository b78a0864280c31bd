//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use super::Feedback;
use super::build::{self, Kind};
use super::feedback::fmt;
use crate::WireError;
use crate::bytes::{Cursor, array_at, low16, low24, low32, u8_at, u16_at, u24_at};

/// Most packet statuses taken from one feedback message. A message can announce 65,535 of them in sixteen
/// bytes; at one message each 100 ms this limit is 80,000 packets per second.
pub const MAX_STATUS_COUNT: u16 = 8_192;

/// Unit of deltas.
pub const TICK_US: u64 = 250;

/// Unit of the reference time.
pub const REFERENCE_US: u64 = 64_000;

const TICKS_PER_REFERENCE: u64 = REFERENCE_US / TICK_US;

/// Longest run of a run-length chunk: 13 bits.
const MAX_RUN: usize = 0x1fff;

/// Two-bit packet status symbols (§3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Symbol {
    NotReceived = 0,
    SmallDelta = 1,
    LargeDelta = 2,
}

impl Symbol {
    fn from_bits(bits: u16) -> Result<Self, WireError> {
        match bits & 0b11 {
            0 => Ok(Self::NotReceived),
            1 => Ok(Self::SmallDelta),
            2 => Ok(Self::LargeDelta),
            _ => Err(WireError::BadValue),
        }
    }

    /// Bytes that the delta takes.
    fn delta_len(self) -> usize {
        usize::from(self as u8)
    }
}

/// A feedback message. Chunks and deltas have been checked against the announced count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twcc<'a> {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// A stream of the transport; which one means nothing.
    pub media_ssrc: u32,
    /// Transport-wide number of the first status.
    pub base_sequence: u16,
    /// Number of statuses, 1..=[`MAX_STATUS_COUNT`].
    pub status_count: u16,
    /// Reference time in units of 64 ms, 24 bits of the receiver's clock.
    pub reference_time: u32,
    /// Number of this feedback message, to notice lost ones.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Twcc<'a> {
    pub(super) fn parse(feedback: Feedback<'a>) -> Result<Self, WireError> {
        let fci = feedback.fci;
        let base_sequence = u16_at(fci, 0).ok_or(WireError::BadLength)?;
        let status_count = u16_at(fci, 2).ok_or(WireError::BadLength)?;
        let reference_time = u24_at(fci, 4).ok_or(WireError::BadLength)?;
        let feedback_count = u8_at(fci, 7).ok_or(WireError::BadLength)?;
        if status_count == 0 {
            return Err(WireError::BadValue);
        }
        if status_count > MAX_STATUS_COUNT {
            return Err(WireError::TooMany);
        }
        let body = fci.get(8..).ok_or(WireError::BadLength)?;
        let (chunks_len, deltas_len) = measure(body, status_count)?;
        let (chunks, rest) = body
            .split_at_checked(chunks_len)
            .ok_or(WireError::BadLength)?;
        // What follows is padding to the word.
        let deltas = rest.get(..deltas_len).ok_or(WireError::BadLength)?;
        Ok(Self {
            sender_ssrc: feedback.sender_ssrc,
            media_ssrc: feedback.media_ssrc,
            base_sequence,
            status_count,
            reference_time,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// Every packet of the message as its number and, if it arrived, the time in ticks of 250 µs since
    /// the packet before it that arrived (the first: since the reference time).
    #[must_use]
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: self.status_count,
            chunks: self.chunks,
            chunk: Chunk::Empty,
            deltas: self.deltas,
        }
    }

    /// As [`Self::statuses`], with arrival times in microseconds since the reference time; they are
    /// negative where packets arrived before it.
    pub fn arrivals_us(&self) -> impl Iterator<Item = (u16, Option<i64>)> + use<'a> {
        let mut now_us = 0;
        self.statuses().map(move |(sequence, delta)| {
            let arrival = delta.map(|ticks| {
                now_us += i64::from(ticks) * TICK_US.cast_signed();
                now_us
            });
            (sequence, arrival)
        })
    }
}

/// Lengths in bytes of the chunks that hold `status_count` statuses and of their deltas.
fn measure(body: &[u8], status_count: u16) -> Result<(usize, usize), WireError> {
    let (mut chunks_len, mut deltas_len) = (0, 0);
    let mut left = usize::from(status_count);
    while left > 0 {
        let word = u16_at(body, chunks_len).ok_or(WireError::BadLength)?;
        chunks_len += 2;
        let mut chunk = Chunk::new(word)?;
        if let Chunk::Run { symbol, left: run } = chunk {
            let used = usize::from(run).min(left);
            if used == 0 {
                return Err(WireError::BadValue);
            }
            deltas_len += used * symbol.delta_len();
            left -= used;
            continue;
        }
        while left > 0 {
            let Some(symbol) = chunk.next()? else { break };
            deltas_len += symbol.delta_len();
            left -= 1;
        }
    }
    Ok((chunks_len, deltas_len))
}

/// A packet status chunk that is being read (§3.1.2 to §3.1.4).
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Empty,
    Run {
        symbol: Symbol,
        left: u16,
    },
    /// `bits` are shifted out at the top.
    Vector {
        bits: u16,
        width: u32,
        left: u16,
    },
}

impl Chunk {
    fn new(word: u16) -> Result<Self, WireError> {
        Ok(match word >> 14 {
            0 | 1 => Self::Run {
                symbol: Symbol::from_bits(word >> 13)?,
                left: word & 0x1fff,
            },
            2 => Self::Vector {
                bits: word << 2,
                width: 1,
                left: 14,
            },
            _ => Self::Vector {
                bits: word << 2,
                width: 2,
                left: 7,
            },
        })
    }

    fn next(&mut self) -> Result<Option<Symbol>, WireError> {
        match self {
            Self::Run { symbol, left } if *left > 0 => {
                *left -= 1;
                Ok(Some(*symbol))
            }
            Self::Vector { bits, width, left } if *left > 0 => {
                let symbol = Symbol::from_bits(*bits >> (16 - *width))?;
                *bits <<= *width;
                *left -= 1;
                Ok(Some(symbol))
            }
            _ => Ok(None),
        }
    }
}

/// Iterator made by [`Twcc::statuses`].
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    sequence: u16,
    left: u16,
    chunks: &'a [u8],
    chunk: Chunk,
    deltas: &'a [u8],
}

impl Iterator for Statuses<'_> {
    type Item = (u16, Option<i16>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let symbol = loop {
            if let Some(symbol) = self.chunk.next().ok()? {
                break symbol;
            }
            let (word, rest) = self.chunks.split_first_chunk::<2>()?;
            self.chunks = rest;
            self.chunk = Chunk::new(u16::from_be_bytes(*word)).ok()?;
        };
        let (delta, deltas) = self.deltas.split_at_checked(symbol.delta_len())?;
        self.deltas = deltas;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let delta = match symbol {
            Symbol::NotReceived => None,
            Symbol::SmallDelta => Some(i16::from(u8_at(delta, 0)?)),
            Symbol::LargeDelta => Some(i16::from_be_bytes(array_at(delta, 0)?)),
        };
        Some((sequence, delta))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl core::iter::FusedIterator for Statuses<'_> {}

/// What a feedback message says besides the arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwccHeader {
    /// Sender of the feedback.
    pub sender_ssrc: u32,
    /// Any stream of the transport.
    pub media_ssrc: u32,
    /// Transport-wide number of the first arrival.
    pub base_sequence: u16,
    /// Number of this feedback message.
    pub feedback_count: u8,
}

/// What [`write`] has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Length in bytes.
    pub len: usize,
    /// Statuses reported, at least one; the rest of the arrivals belong into the next message.
    pub statuses: usize,
}

/// Writes a feedback message about as many of `arrivals` as it can hold.
///
/// `arrivals[i]` is when packet `base_sequence + i` arrived, in microseconds of the caller's clock, or
/// `None` if it has not. The reference time is taken from the first arrival. The message ends early where the
/// buffer ends, after [`MAX_STATUS_COUNT`] statuses, or before an arrival more than 8 s away
/// from the one before it, which no delta can say.
///
/// # Errors
/// - [`WireError::BadValue`]: no packet has arrived.
/// - [`WireError::BufferTooSmall`]: no room for a single arrival.
pub fn write(
    out: &mut [u8],
    header: &TwccHeader,
    arrivals: &[Option<u64>],
) -> Result<Written, WireError> {
    let first_us = arrivals
        .iter()
        .flatten()
        .next()
        .ok_or(WireError::BadValue)?;
    let reference = first_us / REFERENCE_US;
    let statuses = plan(arrivals, reference * TICKS_PER_REFERENCE, out.len())?;
    let arrivals = arrivals.get(..statuses).unwrap_or_default();

    let mut cursor = Cursor::new(out);
    build::feedback_header(
        &mut cursor,
        Kind::Rtpfb(fmt::TWCC),
        header.sender_ssrc,
        header.media_ssrc,
    )?;
    cursor.put_u16(header.base_sequence)?;
    cursor.put_u16(low16(statuses as u64))?;
    cursor.put(&low24(low32(reference)))?;
    cursor.put_u8(header.feedback_count)?;

    let mut symbols = Symbols::new(arrivals, reference * TICKS_PER_REFERENCE);
    while let Some((word, _)) = symbols.next_chunk() {
        cursor.put_u16(word)?;
    }
    let mut previous = reference * TICKS_PER_REFERENCE;
    for arrival_us in arrivals.iter().flatten() {
        let ticks = arrival_us / TICK_US;
        let delta = delta(previous, ticks).ok_or(WireError::BadValue)?;
        match u8::try_from(delta) {
            Ok(small) => cursor.put_u8(small)?,
            Err(_) => cursor.put(&delta.to_be_bytes())?,
        }
        previous = ticks;
    }
    let len = build::finish_padded(cursor)?;
    Ok(Written { len, statuses })
}

/// Ticks from `previous` to `now`, if a delta can say them.
fn delta(previous: u64, now: u64) -> Option<i16> {
    i16::try_from(now.cast_signed().checked_sub(previous.cast_signed())?).ok()
}

/// Bytes before the chunks: RTCP header, two SSRCs, eight bytes of fixed fields.
const FIXED_LEN: usize = 4 + 8 + 8;

/// How many of `arrivals` fit into `room` bytes.
fn plan(arrivals: &[Option<u64>], reference: u64, room: usize) -> Result<usize, WireError> {
    // No message is longer than its 16-bit length in words can say.
    let room = room.min(4 * (1 << 16)) & !3;
    let reachable = reachable(arrivals, reference);
    let mut symbols = Symbols::new(arrivals.get(..reachable).unwrap_or_default(), reference);
    let mut used = FIXED_LEN;
    let mut received = false;
    let mut statuses = 0;
    while let Some((_, chunk)) = symbols.next_chunk() {
        let Some(left) = room.checked_sub(used + 2) else {
            break;
        };
        if chunk.deltas_len > left {
            // The chunk is cut where its deltas no longer fit; it is then chosen anew, for fewer
            // statuses, and is still one chunk.
            let cut = statuses + symbols.prefix_that_fits(chunk, left);
            received |= arrivals
                .get(statuses..cut)
                .is_some_and(|a| a.iter().any(Option::is_some));
            statuses = cut;
            break;
        }
        used += 2 + chunk.deltas_len;
        received |= chunk.deltas_len > 0;
        statuses += chunk.len;
    }
    if received {
        Ok(statuses)
    } else {
        Err(WireError::BufferTooSmall)
    }
}

/// Number of leading arrivals whose deltas can be said, at most [`MAX_STATUS_COUNT`].
fn reachable(arrivals: &[Option<u64>], reference: u64) -> usize {
    let mut previous = reference;
    let limit = arrivals.len().min(usize::from(MAX_STATUS_COUNT));
    arrivals
        .iter()
        .take(limit)
        .position(|arrival| {
            let Some(arrival_us) = arrival else {
                return false;
            };
            let ticks = arrival_us / TICK_US;
            let fits = delta(previous, ticks).is_some();
            previous = ticks;
            !fits
        })
        .unwrap_or(limit)
}

/// Statuses that one chunk says.
#[derive(Debug, Clone, Copy)]
struct ChunkPlan {
    start: usize,
    len: usize,
    deltas_len: usize,
    /// Ticks of the last arrival before the chunk.
    previous: u64,
}

/// Turns arrivals into status symbols and these into chunks.
struct Symbols<'a> {
    arrivals: &'a [Option<u64>],
    at: usize,
    previous: u64,
}

impl<'a> Symbols<'a> {
    fn new(arrivals: &'a [Option<u64>], reference: u64) -> Self {
        Self {
            arrivals,
            at: 0,
            previous: reference,
        }
    }

    /// Symbols from `start` on, `previous` being the last arrival before it.
    fn symbols(&self, start: usize, previous: u64) -> impl Iterator<Item = Symbol> + use<'a> {
        let rest = self.arrivals.get(start..).unwrap_or_default();
        rest.iter().scan(previous, |previous, arrival| {
            let Some(arrival_us) = arrival else {
                return Some(Symbol::NotReceived);
            };
            let ticks = arrival_us / TICK_US;
            let small = delta(*previous, ticks).is_some_and(|delta| u8::try_from(delta).is_ok());
            *previous = ticks;
            Some(if small {
                Symbol::SmallDelta
            } else {
                Symbol::LargeDelta
            })
        })
    }

    /// The next chunk and its word: a run where it says at least as much as a vector would, else a vector
    /// of one-bit symbols where those suffice, else of two-bit symbols.
    fn next_chunk(&mut self) -> Option<(u16, ChunkPlan)> {
        let (start, previous) = (self.at, self.previous);
        let first = self.symbols(start, previous).next()?;
        let run = self
            .symbols(start, previous)
            .take(MAX_RUN)
            .take_while(|s| *s == first)
            .count();
        let left = self.arrivals.len() - start;
        let one_bit = self
            .symbols(start, previous)
            .take(14)
            .all(|s| s != Symbol::LargeDelta);
        let vector_len = if one_bit { 14 } else { 7 };

        let (word, len) = if run >= vector_len.min(left) {
            let run_bits = low16(run as u64);
            ((u16::from(first as u8) << 13) | run_bits, run)
        } else {
            let (tag, width) = if one_bit {
                (0b10 << 14, 1)
            } else {
                (0b11 << 14, 2)
            };
            let len = vector_len.min(left);
            let bits = self
                .symbols(start, previous)
                .take(len)
                .zip((0..14 / width).rev())
                .fold(0, |bits, (symbol, slot)| {
                    bits | (u16::from(symbol as u8) << (slot * width))
                });
            (tag | bits, len)
        };
        let deltas_len = self
            .symbols(start, previous)
            .take(len)
            .map(Symbol::delta_len)
            .sum();
        self.at = start + len;
        let chunk = self.arrivals.get(start..self.at).unwrap_or_default();
        if let Some(last_us) = chunk.iter().rev().flatten().next() {
            self.previous = last_us / TICK_US;
        }
        Some((
            word,
            ChunkPlan {
                start,
                len,
                deltas_len,
                previous,
            },
        ))
    }

    /// How many of a chunk's statuses have deltas of at most `room` bytes together.
    fn prefix_that_fits(&self, chunk: ChunkPlan, room: usize) -> usize {
        self.symbols(chunk.start, chunk.previous)
            .take(chunk.len)
            .scan(0, |used, symbol| {
                *used += symbol.delta_len();
                (*used <= room).then_some(())
            })
            .count()
    }
}
