//! What one viewer receives of one track, measured against what was sent.

use std::collections::VecDeque;
use std::sync::Arc;

use str0m::rtp::RtpPacket;

use super::arrivals::{Arrival, Arrivals, Decided};
use super::histogram::Histogram;
use super::player::{FrameOf, Freezes, Player};
use super::send_log::{Cursor, SendLog};
use crate::media::clip::Clip;

/// A hole that a stream of unknown origin does not fill within this time is skipped.
const GIVE_UP_NS: u64 = 500_000_000;

/// Who sends the track.
#[derive(Clone)]
pub(crate) enum Origin {
    /// A publisher of this process: each packet is known.
    Ours { clip: Arc<Clip>, log: Arc<SendLog> },
    /// Somebody else: only sequence numbers tell.
    Foreign { clock_hz: u32, video: bool },
}

impl Origin {
    pub(crate) fn is_video(&self) -> bool {
        match self {
            Self::Ours { clip, .. } => !clip.codec.is_audio(),
            Self::Foreign { video, .. } => *video,
        }
    }
}

/// Where the frames of a video go.
enum Picture {
    None,
    Known(Player),
    Guessed(Follower),
}

/// Counts of one track, summed for a viewer and for the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) unknown: u64,
    pub(crate) frames_expected: u64,
    pub(crate) frames_complete: u64,
    pub(crate) frames_shown: u64,
    /// Given up for a later keyframe.
    pub(crate) frames_skipped: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen_ns: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.received += other.received;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.unknown += other.unknown;
        self.frames_expected += other.frames_expected;
        self.frames_complete += other.frames_complete;
        self.frames_shown += other.frames_shown;
        self.frames_skipped += other.frames_skipped;
        self.freezes += other.freezes;
        self.frozen_ns += other.frozen_ns;
    }
}

/// What a packet showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Nanoseconds from its publisher's send to its arrival, if that is known and it came for the first time.
    pub(crate) latency_ns: Option<u64>,
    /// A keyframe is complete now.
    pub(crate) keyframe: bool,
}

pub(crate) struct Meter {
    origin: Origin,
    arrivals: Arrivals,
    picture: Picture,
    jitter: Jitter,
    /// Packets that no publisher of ours has sent.
    unknown: u64,
    /// For foreign streams: how far the numbers had come at the last tick.
    end_at_tick: u64,
    /// Nothing after this counts any more.
    until: Option<Cursor>,
}

impl Meter {
    pub(crate) fn new(origin: Origin) -> Self {
        let clock_hz = match &origin {
            Origin::Ours { clip, .. } => clip.codec.clock_hz(),
            Origin::Foreign { clock_hz, .. } => *clock_hz,
        };
        let picture = match (&origin, origin.is_video()) {
            (_, false) => Picture::None,
            (Origin::Ours { .. }, true) => Picture::Known(Player::default()),
            (Origin::Foreign { .. }, true) => Picture::Guessed(Follower::default()),
        };
        Self {
            origin,
            arrivals: Arrivals::default(),
            picture,
            jitter: Jitter::new(clock_hz),
            unknown: 0,
            end_at_tick: 0,
            until: None,
        }
    }

    /// A decrypted packet that arrived at `arrival_ns`, nanoseconds of the Unix epoch.
    pub(crate) fn packet(&mut self, packet: &RtpPacket, arrival_ns: u64) -> Seen {
        let mut seen = Seen::default();
        match &self.origin {
            Origin::Ours { clip, log } => {
                // Padding, such as probes for bandwidth, is no media.
                if packet.payload.is_empty() {
                    return seen;
                }
                let known = clip.identify(&packet.payload).and_then(|index| {
                    let frame = clip.packets[index].frame;
                    Some((index, frame, log.sent(index, frame)?))
                });
                let Some((index, frame, sent)) = known else {
                    self.unknown += 1;
                    return seen;
                };
                if self
                    .until
                    .is_some_and(|until| sent.ordinal >= until.packets)
                {
                    return seen;
                }
                if self.arrivals.arrive(sent.ordinal) != Arrival::New {
                    return seen;
                }
                seen.latency_ns = Some(arrival_ns.saturating_sub(sent.at_ns));
                if let Picture::Known(player) = &mut self.picture {
                    let frame = &clip.frames[frame];
                    let of = FrameOf {
                        ordinal: sent.frame,
                        packets: u32::try_from(frame.packets.len()).unwrap_or(u32::MAX),
                        keyframe: frame.keyframe,
                        first: frame.packets.start == index,
                    };
                    seen.keyframe = player.packet(of, arrival_ns);
                }
            }
            Origin::Foreign { .. } => {
                let number = *packet.seq_no;
                if self.until.is_some_and(|until| number >= until.packets) {
                    return seen;
                }
                if self.arrivals.arrive(number) != Arrival::New {
                    return seen;
                }
                if let Picture::Guessed(follower) = &mut self.picture {
                    seen.keyframe =
                        follower.packet(number, packet.header.marker, &self.arrivals, arrival_ns);
                }
            }
        }
        self.jitter.packet(packet.header.timestamp, arrival_ns);
        seen
    }

    /// Once each second: decides what was sent at least so many seconds ago.
    pub(crate) fn tick(&mut self, now_ns: u64, seconds: usize) -> Decided {
        let to = match &self.origin {
            Origin::Ours { log, .. } => log.settled(seconds).packets,
            Origin::Foreign { .. } => std::mem::replace(&mut self.end_at_tick, self.arrivals.end()),
        };
        let to = self.until.map_or(to, |until| to.min(until.packets));
        let decided = self.arrivals.settle(to);
        if let Picture::Guessed(follower) = &mut self.picture {
            follower.tick(&self.arrivals, now_ns);
        }
        decided
    }

    /// The viewer leaves: what is sent from now on does not count.
    pub(crate) fn mark(&mut self) {
        self.until = Some(match &self.origin {
            Origin::Ours { log, .. } => log.cursor(),
            Origin::Foreign { .. } => Cursor {
                frames: u64::MAX,
                packets: self.arrivals.end(),
            },
        });
    }

    /// The end, some time after [`Self::mark`]. Returns what was decided since the last tick.
    pub(crate) fn finish(&mut self, marked_ns: u64) -> Decided {
        let until = self
            .until
            .map_or(self.arrivals.end(), |until| until.packets);
        match &mut self.picture {
            Picture::None => {}
            Picture::Known(player) => player.finish(marked_ns),
            Picture::Guessed(follower) => follower.freezes.finish(marked_ns),
        }
        self.arrivals.settle(until)
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            expected: self.arrivals.received() + self.arrivals.lost(),
            received: self.arrivals.received(),
            lost: self.arrivals.lost(),
            late: self.arrivals.late(),
            duplicates: self.arrivals.duplicates(),
            unknown: self.unknown,
            ..Totals::default()
        };
        match &self.picture {
            Picture::None => {}
            Picture::Known(player) => {
                let frames = self.until.map_or(0, |until| until.frames);
                totals.frames_expected =
                    player.frames_expected(frames).max(player.frames_complete());
                totals.frames_complete = player.frames_complete();
                totals.frames_shown = player.frames_shown();
                totals.frames_skipped = player.frames_skipped();
                totals.freezes = player.freezes();
                totals.frozen_ns = player.frozen_ns();
            }
            Picture::Guessed(follower) => {
                totals.frames_expected = follower.complete + follower.incomplete;
                totals.frames_complete = follower.complete;
                totals.frames_shown = follower.complete;
                totals.frames_skipped = follower.incomplete;
                totals.freezes = follower.freezes.count;
                totals.frozen_ns = follower.freezes.frozen_ns;
            }
        }
        totals
    }

    /// For how long the picture has waited for a missing frame or for its first keyframe, in nanoseconds.
    pub(crate) fn waiting_ns(&self, now_ns: u64) -> u64 {
        match &self.picture {
            Picture::None => 0,
            Picture::Known(player) => player.waiting_ns(now_ns),
            Picture::Guessed(follower) => follower
                .waiting_since_ns
                .map_or(0, |since| now_ns.saturating_sub(since)),
        }
    }

    /// RFC 3550 interarrival jitter in nanoseconds; `None` before there is one.
    pub(crate) fn jitter_ns(&self) -> Option<u64> {
        self.jitter.value()
    }

    pub(crate) fn has_received(&self) -> bool {
        self.arrivals.first().is_some()
    }
}

/// Interarrival jitter of RFC 3550 §6.4.1, between packets of different timestamps only: the packets of one picture
/// are sent in a burst, which is no jitter of the network.
struct Jitter {
    clock_hz: u32,
    last: Option<(u32, u64)>,
    smoothed_ns: f64,
    samples: u64,
}

impl Jitter {
    fn new(clock_hz: u32) -> Self {
        Self {
            clock_hz,
            last: None,
            smoothed_ns: 0.0,
            samples: 0,
        }
    }

    fn packet(&mut self, timestamp: u32, arrival_ns: u64) {
        let Some((last_timestamp, last_ns)) = self.last else {
            self.last = Some((timestamp, arrival_ns));
            return;
        };
        let ticks = timestamp.wrapping_sub(last_timestamp).cast_signed();
        if ticks <= 0 {
            return;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "differences of neighbours are small"
        )]
        let apart_ns = arrival_ns.wrapping_sub(last_ns).cast_signed() as f64;
        let difference = (apart_ns - f64::from(ticks) * 1e9 / f64::from(self.clock_hz)).abs();
        self.smoothed_ns += (difference - self.smoothed_ns) / 16.0;
        self.samples += 1;
        self.last = Some((timestamp, arrival_ns));
    }

    fn value(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, far below 2^63"
        )]
        (self.samples > 0).then_some(self.smoothed_ns as u64)
    }
}

/// Frames of a video of unknown origin: from the packet after a marker to the next marker. Which of them are keyframes
/// it cannot know, so every complete frame counts as shown.
#[derive(Default)]
struct Follower {
    /// The first number not yet followed.
    next: Option<u64>,
    /// Numbers ahead of `next` that had the marker.
    markers: VecDeque<u64>,
    /// Whether the frame under way has been seen from its beginning.
    whole: bool,
    waiting_since_ns: Option<u64>,
    complete: u64,
    incomplete: u64,
    freezes: Freezes,
}

impl Follower {
    /// Returns whether a first frame is complete by this.
    fn packet(&mut self, number: u64, marker: bool, arrivals: &Arrivals, now_ns: u64) -> bool {
        let next = *self.next.get_or_insert(number);
        if marker && number >= next {
            let at = self.markers.partition_point(|other| *other < number);
            self.markers.insert(at, number);
        }
        let before = self.complete;
        self.follow(arrivals, now_ns);
        before == 0 && self.complete > 0
    }

    fn follow(&mut self, arrivals: &Arrivals, now_ns: u64) {
        let Some(mut next) = self.next else { return };
        while arrivals.has(next) {
            if self.markers.front() == Some(&next) {
                self.markers.pop_front();
                if self.whole {
                    self.complete += 1;
                    self.freezes.shown(now_ns);
                }
                self.whole = true;
            }
            next += 1;
        }
        self.next = Some(next);
        if next >= arrivals.end() {
            self.waiting_since_ns = None;
        } else {
            self.waiting_since_ns.get_or_insert(now_ns);
        }
    }

    /// Gives up a frame whose missing packet does not come.
    fn tick(&mut self, arrivals: &Arrivals, now_ns: u64) {
        while self
            .waiting_since_ns
            .is_some_and(|since| now_ns.saturating_sub(since) > GIVE_UP_NS)
        {
            // The frame with the hole ends at the next marker; without one, at the newest packet.
            let resume = self
                .markers
                .pop_front()
                .map_or(arrivals.end(), |marker| marker + 1);
            self.incomplete += u64::from(self.whole);
            self.whole = true;
            self.next = Some(resume);
            self.waiting_since_ns = None;
            let waited = now_ns.saturating_sub(GIVE_UP_NS + 1);
            self.follow(arrivals, now_ns);
            // Holes further on are as old.
            if let Some(since) = &mut self.waiting_since_ns {
                *since = waited;
            }
        }
    }
}

/// Latencies of one viewer, and of all in the current second.
pub(crate) struct Latencies<'a> {
    pub(crate) viewer: &'a mut Histogram,
    pub(crate) second: &'a mut Histogram,
}

impl Latencies<'_> {
    pub(crate) fn record(&mut self, ns: u64) {
        self.viewer.record(ns);
        self.second.record(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn follow(numbers: &[(u64, bool)]) -> (Follower, Arrivals) {
        let (mut follower, mut arrivals) = (Follower::default(), Arrivals::default());
        for (number, marker) in numbers {
            if arrivals.arrive(*number) == Arrival::New {
                follower.packet(*number, *marker, &arrivals, 0);
            }
        }
        (follower, arrivals)
    }

    #[test]
    fn frames_of_strangers_are_told_by_markers() {
        // The first may lack its beginning; then 11..=12, and 13 alone, out of order.
        let (follower, _) = follow(&[(10, true), (12, true), (11, false), (13, true), (14, false)]);
        assert_eq!(
            (
                follower.complete,
                follower.incomplete,
                follower.waiting_since_ns
            ),
            (2, 0, None)
        );
    }

    #[test]
    fn a_hole_is_given_up_after_a_while() {
        let (mut follower, arrivals) =
            follow(&[(10, true), (12, true), (13, true), (15, true), (16, true)]);
        assert_eq!((follower.complete, follower.waiting_since_ns), (0, Some(0)));
        follower.tick(&arrivals, 400 * MS);
        assert_eq!(follower.incomplete, 0);
        follower.tick(&arrivals, 501 * MS);
        assert_eq!(
            (
                follower.complete,
                follower.incomplete,
                follower.waiting_since_ns
            ),
            (2, 2, None)
        );
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut jitter = Jitter::new(90_000);
        jitter.packet(u32::MAX - 1000, 0);
        // One frame of 33.3 ms later, on time but for 1.6 ms; another packet of it, later still.
        jitter.packet(1999, 34_933_333);
        jitter.packet(1999, 50 * MS);
        let value = jitter.value().unwrap();
        assert!((99_000..=101_000).contains(&value), "{value}");
        jitter.packet(500, 60 * MS);
        assert_eq!(jitter.value(), Some(value));
    }
}
