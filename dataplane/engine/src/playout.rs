use crate::limits::{
    PLAYOUT_CLEAN, PLAYOUT_LOSS, PLAYOUT_LOWER_MS, PLAYOUT_MAX_DEFAULT_MS, PLAYOUT_MAX_MS,
    PLAYOUT_REPEAT_US, PLAYOUT_SPAN_US, PLAYOUT_ZEROS,
};
use crate::packet::Packet;
use crate::time::Micros;
use ion_tables::ExtensionKind;
use ion_wire::ext::PlayoutDelay;

/// What was seen of a viewer's losses since a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    began: Micros,
    /// Packets sent before it, modulo 2^32.
    sent_before: u32,
    /// Packets that were asked for again.
    lost: u64,
    /// Longest time from a packet's departure to the first request for it, microseconds.
    age_us: u64,
}

/// How long a viewer that loses packets is asked to hold its pictures back, so that
/// a retransmission that is lost itself can be asked for once more without a freeze.
///
/// A player that only receives does not know its round trip, and waits about 100 ms
/// before it asks again. What that takes in all is measured, not guessed: a packet's
/// age when it is first asked for is what its retransmission comes late by. The delay
/// goes out as the playout-delay extension while there is loss, is lowered slowly after
/// it, and nothing is said to viewers that lose nothing.
#[derive(Debug, Clone)]
pub(crate) struct Playout {
    /// The least delay that the viewer was told, milliseconds, and what it is told if a
    /// packet has no value of its publisher; `None`: nothing is to be said.
    told: Option<(u16, [u8; 3])>,
    /// The publisher's own newest value.
    theirs: Option<PlayoutDelay>,
    /// The span before this one, and this one.
    spans: [Span; 2],
    /// Packets sent when the delay was looked at last.
    sent_at_tick: u32,
    /// How often it was looked at since the delay came down to nothing.
    zeros: u8,
    /// The viewer gets repair packets.
    protected: bool,
}

impl Playout {
    /// For a viewer that has been sent `sent` packets, and was told to wait `told_ms`.
    pub(crate) fn new(told_ms: u16, sent: u32) -> Self {
        let span = Span {
            sent_before: sent,
            ..Span::default()
        };
        let mut playout = Self {
            told: None,
            theirs: None,
            spans: [span; 2],
            sent_at_tick: sent,
            zeros: 0,
            protected: false,
        };
        if told_ms > 0 {
            playout.tell(told_ms.min(PLAYOUT_MAX_MS));
        }
        playout
    }

    /// The least delay that the viewer knows of, milliseconds.
    pub(crate) fn told_ms(&self) -> u16 {
        self.told.map_or(0, |(ms, _)| ms)
    }

    /// The value of the extension for a packet; `None` leaves it to the publisher.
    pub(crate) fn value(&self, packet: &Packet) -> Option<[u8; 3]> {
        let (least_ms, usual) = self.told?;
        let theirs = packet
            .extension(ExtensionKind::PlayoutDelay)
            .and_then(PlayoutDelay::parse);
        Some(theirs.map_or(usual, |theirs| raised(Some(theirs), least_ms)))
    }

    /// A packet was asked for, the first time, `age_us` after it was sent; `sent` packets
    /// have been sent so far, `theirs` is what the publisher says of the delay.
    pub(crate) fn lost(
        &mut self,
        now: Micros,
        age_us: u64,
        sent: u32,
        theirs: Option<PlayoutDelay>,
    ) {
        self.turn(now, sent);
        self.theirs = theirs;
        let span = &mut self.spans[1];
        span.lost += 1;
        span.age_us = span.age_us.max(age_us);
        let wanted_ms = self.wanted_ms();
        let raises = wanted_ms > self.told_ms();
        if raises && (self.told_ms() > 0 || self.loses_more_than(PLAYOUT_LOSS.0, sent)) {
            self.tell(wanted_ms);
        }
    }

    /// Looks at it each second: after the loss the delay comes down.
    pub(crate) fn tick(&mut self, now: Micros, sent: u32, theirs: Option<PlayoutDelay>) {
        let Some((told_ms, _)) = self.told else {
            return;
        };
        // What was not sent was not told.
        if std::mem::replace(&mut self.sent_at_tick, sent) == sent {
            return;
        }
        self.turn(now, sent);
        self.theirs = theirs;
        let wanted_ms = if self.loses_more_than(PLAYOUT_LOSS.1, sent) {
            self.wanted_ms()
        } else {
            0
        };
        if told_ms == 0 {
            self.zeros += 1;
            if self.zeros >= PLAYOUT_ZEROS {
                self.told = None;
                self.zeros = 0;
            }
        } else {
            let lowered = told_ms.saturating_sub(PLAYOUT_LOWER_MS);
            self.tell(lowered.max(wanted_ms.min(told_ms)));
        }
    }

    fn tell(&mut self, least_ms: u16) {
        self.told = Some((least_ms, raised(self.theirs, least_ms)));
        self.zeros = 0;
    }

    /// Whether the viewer gets repair packets: what they mend is not missed, and hardly anything is that is lost twice.
    pub(crate) fn set_protected(&mut self, protected: bool) {
        self.protected = protected;
    }

    /// The delay at which a retransmission of a retransmission is in time; with repair packets, a retransmission.
    fn wanted_ms(&self) -> u16 {
        let [before, now] = &self.spans;
        let repeat_us = if self.protected { 0 } else { PLAYOUT_REPEAT_US };
        let wanted_us = before.age_us.max(now.age_us) + repeat_us;
        u16::try_from(wanted_us / 1_000).map_or(PLAYOUT_MAX_MS, |ms| ms.min(PLAYOUT_MAX_MS))
    }

    /// Whether more than one in `n` packets of the last spans was lost.
    fn loses_more_than(&self, n: u64, sent: u32) -> bool {
        let [before, now] = &self.spans;
        let sent = u64::from(sent.wrapping_sub(before.sent_before));
        (before.lost + now.lost) * n > sent
    }

    fn turn(&mut self, now: Micros, sent: u32) {
        if now.since(self.spans[1].began) < PLAYOUT_SPAN_US {
            return;
        }
        let quiet = now.since(self.spans[1].began) >= 2 * PLAYOUT_SPAN_US;
        let fresh = Span {
            began: now,
            sent_before: sent,
            ..Span::default()
        };
        self.spans = if quiet {
            // Nothing was lost for long. Only so much of that counts, or the beginning of
            // loss would be seen late.
            let clean = sent
                .wrapping_sub(self.spans[1].sent_before)
                .min(PLAYOUT_CLEAN);
            let before = Span {
                sent_before: sent.wrapping_sub(clean),
                ..Span::default()
            };
            [before, fresh]
        } else {
            [self.spans[1], fresh]
        };
    }
}

/// The publisher's value, with a least delay of at least this.
fn raised(theirs: Option<PlayoutDelay>, least_ms: u16) -> [u8; 3] {
    let theirs = theirs.unwrap_or(PlayoutDelay {
        min_ms: 0,
        max_ms: PLAYOUT_MAX_DEFAULT_MS,
    });
    let min_ms = theirs.min_ms.max(least_ms);
    PlayoutDelay {
        min_ms,
        max_ms: theirs.max_ms.max(min_ms),
    }
    .to_bytes()
}
