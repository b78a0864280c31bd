//! How the packets of one publisher's transport arrived, for feedback by RFC 8888.

use crate::limits::{
    CCFB_ARRIVALS, CCFB_REPORTED, CCFB_SPAN, CCFB_STREAMS_REPORTED, STREAMS_PER_TRANSPORT,
};
use crate::time::Micros;
use ion_wire::rtcp::ccfb::{Arrival, Ecn, StreamReport, TICKS_PER_SECOND};
use ion_wire::seq;

/// A packet that has not been reported yet.
#[derive(Debug, Clone, Copy)]
struct Came {
    ssrc: u32,
    sequence: u16,
    ecn: Ecn,
    at: Micros,
}

/// A stretch of one stream in a message.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    ssrc: u32,
    begin: u16,
    len: usize,
}

/// What came since the last report, in order. More than fit in one interval are not reported, and count as lost for
/// their sender, who sends far more than any publisher does.
pub(crate) struct Arrivals {
    came: Vec<Came>,
    /// Of each stream that was reported on, what comes next, extended.
    next: Vec<(u32, u64)>,
    words: [Option<Arrival>; CCFB_REPORTED],
    parts: [Part; CCFB_STREAMS_REPORTED],
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            came: Vec::with_capacity(CCFB_ARRIVALS),
            next: Vec::with_capacity(STREAMS_PER_TRANSPORT),
            words: [None; CCFB_REPORTED],
            parts: [Part::default(); CCFB_STREAMS_REPORTED],
        }
    }

    pub(crate) fn received(&mut self, now: Micros, ssrc: u32, sequence: u16, ecn: Ecn) {
        if self.came.len() < CCFB_ARRIVALS {
            self.came.push(Came {
                ssrc,
                sequence,
                ecn,
                at: now,
            });
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        !self.came.is_empty()
    }

    /// Takes as much as one message holds; each stream goes on where its last report ended, so that what is missing
    /// in between is said to be.
    pub(crate) fn report<T>(
        &mut self,
        now: Micros,
        write: impl FnOnce(&[StreamReport<'_>]) -> T,
    ) -> Option<T> {
        let (mut used, mut count) = (0, 0);
        while count < CCFB_STREAMS_REPORTED && used < CCFB_REPORTED {
            let Some(part) = self.take(now, used) else {
                break;
            };
            used += part.len;
            self.parts[count] = part;
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let empty = StreamReport {
            ssrc: 0,
            begin_sequence: 0,
            arrivals: &[],
        };
        let mut streams = [empty; CCFB_STREAMS_REPORTED];
        let mut rest = &self.words[..];
        for (stream, part) in streams.iter_mut().zip(&self.parts[..count]) {
            let (arrivals, after) = rest.split_at(part.len);
            rest = after;
            *stream = StreamReport {
                ssrc: part.ssrc,
                begin_sequence: part.begin,
                arrivals,
            };
        }
        Some(write(&streams[..count]))
    }

    /// Takes the first stream that has something, as far as there are words from `at` on.
    fn take(&mut self, now: Micros, at: usize) -> Option<Part> {
        let first = self.came.first()?;
        let ssrc = first.ssrc;
        let known = self.next.iter().position(|(known, _)| *known == ssrc);
        // Room below, so that reordering at the start does not reach zero.
        let start = (1 << 16) | u64::from(first.sequence);
        let next = known.map_or(start, |place| self.next[place].1);
        let extended = |came: &Came| seq::extend(came.sequence, next);
        let of = self.came.iter().filter(|came| came.ssrc == ssrc);
        let (low, high) = of.fold((next, 0), |(low, high), came| {
            let number = extended(came);
            (low.min(number), high.max(number))
        });
        let begin = low.max((high + 1).saturating_sub(CCFB_SPAN));
        let words = self.words.get_mut(at..)?;
        let len = usize::try_from(high + 1 - begin)
            .unwrap_or(0)
            .min(words.len());
        let words = &mut words[..len];
        words.fill(None);
        self.came.retain(|came| {
            let number = extended(came);
            if came.ssrc != ssrc || number >= begin + len as u64 {
                return true;
            }
            let place = number
                .checked_sub(begin)
                .and_then(|n| usize::try_from(n).ok());
            if let Some(word) = place.and_then(|place| words.get_mut(place)) {
                *word = Some(Arrival {
                    ecn: came.ecn,
                    before: Some(ticks(now.since(came.at))),
                });
            }
            false
        });
        let after = next.max(begin + len as u64);
        match known {
            Some(place) => self.next[place].1 = after,
            None => {
                if self.next.len() == STREAMS_PER_TRANSPORT {
                    self.next.remove(0);
                }
                self.next.push((ssrc, after));
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "as it is on the wire")]
        let begin = begin as u16;
        Some(Part { ssrc, begin, len })
    }
}

/// A time in 1/1024 s.
fn ticks(us: u64) -> u16 {
    u16::try_from(us * TICKS_PER_SECOND / 1_000_000).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reported = Vec<(u32, u16, Vec<Option<Arrival>>)>;

    fn report(arrivals: &mut Arrivals, now: u64) -> Option<Reported> {
        arrivals.report(Micros(now), |streams| {
            let owned = |s: &StreamReport<'_>| (s.ssrc, s.begin_sequence, s.arrivals.to_vec());
            streams.iter().map(owned).collect()
        })
    }

    #[test]
    fn each_stream_goes_on_where_it_was_and_says_what_is_missing_and_marked() {
        let mut arrivals = Arrivals::new();
        arrivals.received(Micros(0), 1, 65_535, Ecn::Ect1);
        arrivals.received(Micros(0), 2, 7, Ecn::NotEct);
        arrivals.received(Micros(500_000), 1, 1, Ecn::Ce);
        let word = |ecn, before| {
            Some(Arrival {
                ecn,
                before: Some(before),
            })
        };
        let first = vec![word(Ecn::Ect1, 1_024), None, word(Ecn::Ce, 512)];
        let second = vec![word(Ecn::NotEct, 1_024)];
        let expected = vec![(1, 65_535, first), (2, 7, second)];
        assert_eq!(report(&mut arrivals, 1_000_000), Some(expected));
        assert_eq!(report(&mut arrivals, 1_000_000), None);
        // The next begins behind the last; what comes late is told by itself.
        arrivals.received(Micros(1_000_000), 1, 3, Ecn::Ect1);
        let expected = vec![(1, 2, vec![None, word(Ecn::Ect1, 0)])];
        assert_eq!(report(&mut arrivals, 1_000_000), Some(expected));
        arrivals.received(Micros(1_000_000), 1, 0, Ecn::Ect1);
        let (_, begin, words) = report(&mut arrivals, 1_000_000).unwrap().remove(0);
        assert_eq!((begin, words.len(), words[0].is_some()), (0, 1, true));
    }

    #[test]
    fn leaps_floods_and_many_streams_are_bounded_and_all_is_told() {
        let mut arrivals = Arrivals::new();
        arrivals.received(Micros(0), 1, 0, Ecn::NotEct);
        arrivals.received(Micros(0), 1, 30_000, Ecn::NotEct);
        let reported = report(&mut arrivals, 0).unwrap();
        assert_eq!(reported[0].2.len() as u64, CCFB_SPAN);
        for number in 0..2 * CCFB_ARRIVALS {
            let stream = u32::try_from(number % 40).unwrap();
            let sequence = u16::try_from(number / 40).unwrap();
            arrivals.received(Micros(0), 100 + stream, sequence, Ecn::NotEct);
        }
        let mut told = 0;
        while let Some(reported) = report(&mut arrivals, 0) {
            let words: usize = reported.iter().map(|(_, _, words)| words.len()).sum();
            assert!(words <= CCFB_REPORTED && reported.len() <= CCFB_STREAMS_REPORTED);
            told += reported.iter().flat_map(|r| &r.2).flatten().count();
        }
        assert_eq!(told, CCFB_ARRIVALS);
        assert!(arrivals.next.len() <= STREAMS_PER_TRANSPORT);
    }
}
