//! What a viewer's network carries, and what is done about it: feedback in, layers
//! chosen, probes sent.

use crate::allocate::{Claim, allocate, next_bps};
use crate::congestion::{Bounds, Ecn, Estimator, Marking, Probe, Refused, SentPackets, Wanted};
use crate::engine::Engine;
use crate::limits::{
    BANDWIDTH_US, DISTANCE_FORGETS, ECN_SILENCE_US, PROBE_REPEATS, START_BPS, TICK_US,
    VIDEO_SHORT_US,
};
use crate::output::Output;
use crate::pacer::Pacer;
use crate::peer::PeerMessage;
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::Transport;
use ion_tables::{DropReason, EventKind, RowKind, TransportConfig};
use ion_wire::rtcp::ccfb::Ccfb;
use ion_wire::rtcp::twcc::Twcc;

/// Bytes of UDP payload that a packet has besides its own payload: RTP
/// header, extensions and SRTP tag.
pub(crate) const OVERHEAD_BYTES: usize = 44;

/// Makes the estimator of a viewer's transport.
pub type MakeEstimator = fn(Bounds) -> Box<dyn Estimator>;

/// What a worker keeps of one viewer's network; about 7 KiB where there is feedback on
/// packets, and 2 where there is not. Only transports that video is sent to have one.
pub(crate) struct Bandwidth {
    pub(crate) estimator: Box<dyn Estimator>,
    pub(crate) sent: Option<SentPackets>,
    pub(crate) marking: Marking,
    pub(crate) pacer: Pacer,
    burst: Option<Burst>,
    distance: Option<Distance>,
    /// Something was heard of the viewer's network: before, everything is sent.
    known: bool,
    /// What is sent has to be spread, so as not to fill a queue. As of the last word from the viewer: this is looked at
    /// for each picture, and the estimator's memory is far away by then.
    limited: bool,
    /// What layers were last chosen for, bits per second.
    allocated: u64,
}

/// How far away a viewer is: the least time, of late, from sending a packet until it was reported on.
#[derive(Debug, Clone, Copy)]
struct Distance {
    us: u64,
    at: Micros,
}

impl Distance {
    /// Takes in the newest packet that was reported on.
    fn noted(before: Option<Self>, now: Micros, sent: Micros) -> Self {
        let us = now.since(sent);
        let before = before.map(|b| b.us + now.since(b.at) / DISTANCE_FORGETS);
        let us = before.map_or(us, |before| us.min(before));
        Self { us, at: now }
    }
}

/// A probe that is being sent.
#[derive(Debug, Clone, Copy)]
struct Burst {
    probe: Probe,
    /// Bytes left of it.
    left: i64,
    /// Bytes that may go out now.
    budget: i64,
    filled: Micros,
    /// Packets sent again for it.
    repeats: u64,
}

impl Bandwidth {
    pub(crate) fn new(make: MakeEstimator, config: &TransportConfig, next: u64) -> Self {
        let by_stream = config.flags & TransportConfig::CCFB_OUT != 0;
        let numbered = config.flags & TransportConfig::TRANSPORT_CC_OUT != 0;
        let estimator = make(Bounds {
            start_bps: START_BPS,
            ..Bounds::default()
        });
        let ecn = if by_stream {
            estimator.ecn()
        } else {
            Ecn::NotEct
        };
        Self {
            estimator,
            sent: (numbered || by_stream).then(|| SentPackets::new(next, by_stream, ecn)),
            marking: Marking::new(ecn),
            pacer: Pacer::default(),
            burst: None,
            distance: None,
            known: false,
            limited: false,
            allocated: 0,
        }
    }

    /// Takes down a packet that was sealed; `next` is the transport-wide number to come.
    pub(crate) fn sent(
        &mut self,
        now: Micros,
        bytes: usize,
        stream: (u32, u16),
        next: Option<u64>,
    ) {
        let Some(sent) = &mut self.sent else { return };
        match next {
            Some(next) => sent.skip_to(next.saturating_sub(1)),
            None if sent.is_by_stream() => {}
            // Nothing will be heard of it.
            None => return,
        }
        let probing = match &mut self.burst {
            Some(burst) => {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                (burst.left, burst.budget) = (burst.left - bytes, burst.budget - bytes);
                true
            }
            None => false,
        };
        sent.sent(now, bytes, probing, stream);
    }

    /// The round trip without the queue on the way, microseconds, if that is known.
    pub(crate) fn distance_us(&self) -> Option<u64> {
        self.distance.map(|distance| distance.us)
    }

    /// Whether a packet may be sent again, which counts as what is new does.
    pub(crate) fn may_repeat(&mut self, now: Micros) -> bool {
        !self.is_limited() || self.pacer.is_open_again(now, self.estimator.target_bps())
    }

    /// A packet was sent again. Who is not limited owes nothing for it when he is.
    pub(crate) fn repeated(&mut self, bytes: usize) {
        if self.is_limited() {
            self.pacer.charge(bytes);
        }
    }

    /// Whether there is something to look after: feedback comes, or was agreed on.
    pub(crate) fn is_heard(&self) -> bool {
        self.known || self.sent.is_some()
    }

    /// Whether what is sent has to be spread, so as not to fill a queue.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Bits per second to share out, if that is known.
    fn budget_bps(&self) -> Option<u64> {
        self.known.then(|| self.estimator.sustained_bps())
    }

    fn is_burst_due(&self) -> bool {
        self.burst
            .is_some_and(|burst| burst.left > 0 && burst.budget > 0)
    }
}

/// What a feedback message is.
#[derive(Clone, Copy)]
pub(crate) enum PacketFeedback<'a> {
    Twcc(Twcc<'a>),
    Ccfb(Ccfb<'a>),
}

impl Engine {
    /// A viewer reports on packets.
    pub(crate) fn take_feedback(&mut self, now: Micros, row: u32, feedback: PacketFeedback<'_>) {
        let Some(transport) = self.transports[row as usize].as_deref_mut() else {
            return;
        };
        if !transport.budget.take_feedback(now) {
            return self.drop_of(row, DropReason::RateLimited);
        }
        let scratch = &mut *self.scratch;
        scratch.reports.clear();
        let bandwidth = transport.bandwidth.as_deref_mut();
        let Some(Bandwidth {
            estimator: bandwidth,
            sent: Some(sent),
            known,
            marking,
            burst,
            distance,
            ..
        }) = bandwidth
        else {
            return self.drop_of(row, DropReason::FeedbackRefused);
        };
        let taken = match feedback {
            PacketFeedback::Twcc(twcc) => sent.twcc(now, &twcc, &mut scratch.reports),
            PacketFeedback::Ccfb(ccfb) => {
                sent.ccfb(now, &ccfb, &mut scratch.reported, &mut scratch.reports)
            }
        };
        match taken {
            Ok(()) => {
                bandwidth.on_feedback(now, &scratch.reports);
                if let Some(last) = scratch.reports.last() {
                    *distance = Some(Distance::noted(*distance, now, last.sent));
                }
                if !bandwidth.is_probing() {
                    *burst = None;
                }
                *known = true;
                marking.judge(&scratch.reports);
                transport.ecn = marking.ecn();
            }
            // Repetitions are no offence.
            Err(Refused::Stale) => return,
            Err(Refused::NeverSent) => return self.drop_of(row, DropReason::FeedbackRefused),
        }
        let marked = scratch.reports.iter().filter(|p| p.ecn == Ecn::Ce).count();
        if let Some(counters) = self.transport_counters(row) {
            counters.congestion_marks.add(marked as u64);
        }
        self.tables.counters().congestion_marks.add(marked as u64);
        self.extras_heard(row);
        self.estimated(now, row);
    }

    /// A viewer says what it takes. The only word of those that do not report on packets.
    pub(crate) fn take_remb(&mut self, now: Micros, row: u32, bitrate_bps: u64) {
        let Some(transport) = self.transports[row as usize].as_deref_mut() else {
            return;
        };
        if !transport.budget.take_feedback(now) {
            return self.drop_of(row, DropReason::RateLimited);
        }
        let Some(bandwidth) = transport.bandwidth.as_deref_mut() else {
            // Of audio alone there is nothing to choose.
            if let Some(counters) = self.transport_counters(row) {
                counters.estimate_bps.set(bitrate_bps);
            }
            return;
        };
        bandwidth.estimator.on_remb(now, bitrate_bps);
        bandwidth.known = true;
        self.estimated(now, row);
    }

    /// The estimate may have moved: it is told, and a fall acted on at once.
    fn estimated(&mut self, now: Micros, row: u32) {
        let Some(bandwidth) = self.bandwidth(row) else {
            return;
        };
        let (target, budget) = (bandwidth.estimator.target_bps(), bandwidth.budget_bps());
        let has_reports = bandwidth.known && bandwidth.sent.is_some();
        bandwidth.limited = has_reports && !bandwidth.estimator.is_unlimited();
        let fell = budget.is_some_and(|budget| budget < bandwidth.allocated * 9 / 10);
        if let Some(counters) = self.transport_counters(row) {
            counters.estimate_bps.set(target);
        }
        if fell {
            self.allocate(now, row);
        }
    }

    pub(crate) fn bandwidth(&mut self, row: u32) -> Option<&mut Bandwidth> {
        self.transports
            .get_mut(row as usize)?
            .as_deref_mut()?
            .bandwidth
            .as_deref_mut()
    }

    /// Looks after a viewer's estimate while packets are being sent: silence, layers, probes.
    pub(crate) fn tend_bandwidth(&mut self, now: Micros, row: u32) {
        let Some(bandwidth) = self.bandwidth(row) else {
            return;
        };
        let unheard = bandwidth.sent.as_ref().and_then(|s| s.unheard_since(now));
        bandwidth.estimator.on_timeout(now, unheard);
        let known = bandwidth.known;
        if !known && unheard.is_some_and(|at| now.since(at) > ECN_SILENCE_US) {
            bandwidth.marking.silent();
            let ecn = bandwidth.marking.ecn();
            if let Some(transport) = self.transports[row as usize].as_deref_mut() {
                transport.ecn = ecn;
            }
        }
        // Who is sent nothing must be found out about all the same.
        let starved = self.children.subscriptions_of_transport[row as usize]
            .iter()
            .filter_map(|&subscription| self.subscriptions[subscription as usize].as_deref())
            .any(|subscriber| subscriber.starved);
        if (unheard.is_some() || starved) && known {
            self.timers
                .arm(TimerKind::Bandwidth, row, now + BANDWIDTH_US);
        }
        self.estimated(now, row);
        if !known {
            return;
        }
        let wanted = self.allocate(now, row);
        self.start_probe(now, row, wanted);
    }

    fn start_probe(&mut self, now: Micros, row: u32, wanted: Wanted) {
        let able = self.probe_carrier(row).is_some();
        let Some(bandwidth) = self.bandwidth(row).filter(|b| able && b.burst.is_none()) else {
            return;
        };
        let Some(sent) = bandwidth.sent.as_mut() else {
            return;
        };
        let Some(probe) = bandwidth.estimator.probe(now, wanted) else {
            return;
        };
        sent.set_probe(probe.id);
        bandwidth.burst = Some(Burst {
            probe,
            left: i64::from(probe.bytes),
            budget: 0,
            filled: now,
            repeats: 0,
        });
        self.timers.arm(TimerKind::Pacer, row, now + TICK_US);
    }

    /// A subscription that padding can be sent for: on its stream of retransmissions.
    fn probe_carrier(&self, row: u32) -> Option<u32> {
        let list = self.children.subscriptions_of_transport.get(row as usize)?;
        list.iter().copied().find(|&subscription| {
            self.subscriptions[subscription as usize]
                .as_deref()
                .is_some_and(|s| {
                    !s.audio && s.has_rtx() && s.last_epoch().is_some() && !s.is_switched_off()
                })
        })
    }

    /// Sends of a probe what is due: packets of the history again, then padding. Returns whether
    /// there is more to come.
    pub(crate) fn send_burst<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        row: u32,
        out: &mut O,
    ) -> bool {
        let carrier = self.probe_carrier(row);
        let Some(bandwidth) = self.bandwidth(row) else {
            return false;
        };
        let Some(burst) = &mut bandwidth.burst else {
            return false;
        };
        let passed = now.since(burst.filled).min(4 * TICK_US);
        burst.filled = now;
        let earned = u128::from(burst.probe.rate_bps) * u128::from(passed) / 8_000_000;
        burst.budget += i64::try_from(earned).unwrap_or(0);
        let mut padded = 0;
        while let Some(bandwidth) = self.bandwidth(row)
            && bandwidth.is_burst_due()
            && let Some(burst) = &mut bandwidth.burst
            && let Some(carrier) = carrier
        {
            let back = burst.repeats;
            burst.repeats += 1;
            let again = (back < PROBE_REPEATS).then_some(back);
            let Some(bytes) = self.send_padding(now, carrier, again, out) else {
                break;
            };
            padded += bytes;
        }
        if let Some(counters) = self.transport_counters(row) {
            counters.probe_bytes.add(padded);
        }
        self.tables.counters().probe_bytes.add(padded);
        let Some(bandwidth) = self.bandwidth(row) else {
            return false;
        };
        let more = bandwidth.burst.is_some_and(|b| b.left > 0) && carrier.is_some();
        if !more {
            bandwidth.burst = None;
        }
        more
    }

    /// Shares out what a viewer's network carries over its tracks. Returns what it had better carry.
    pub(crate) fn allocate(&mut self, now: Micros, row: u32) -> Wanted {
        let Some(budget) = self.bandwidth(row).and_then(|b| b.budget_bps()) else {
            return Wanted::default();
        };
        let mut claims = std::mem::take(&mut self.scratch.claims);
        claims.clear();
        let audio = self.list_claims(now, row, &mut claims);
        // A viewer's own estimate (REMB) hardly ever exceeds by much what it is sent: taken at its word, it would
        // keep video away that it has room for. So it chooses between layers, and pauses none.
        let own_word = self.bandwidth(row).is_some_and(|b| b.sent.is_none());
        claims.iter_mut().for_each(|claim| claim.kept = own_word);
        let most = audio + claims.iter().map(Claim::most).sum::<u64>();
        allocate(budget.saturating_sub(audio), &mut claims);
        let next = next_bps(&claims);
        let wanted = Wanted {
            // Twice as much as could be sent: then nothing needs to be spread.
            most_bps: 2 * most,
            next_bps: if next > 0 { audio + next } else { 0 },
        };
        if let Some(bandwidth) = self.bandwidth(row) {
            bandwidth.allocated = budget;
        }
        for claim in &claims {
            self.settle_claim(now, claim, budget);
        }
        self.scratch.claims = claims;
        wanted
    }

    /// Lists what a viewer's video could be. Returns what its audio takes, bits per second.
    fn list_claims(&self, now: Micros, row: u32, claims: &mut Vec<Claim>) -> u64 {
        let mut audio = 0;
        let list = &self.children.subscriptions_of_transport[row as usize];
        for &subscription in list {
            let Some(subscriber) = self.subscriptions[subscription as usize].as_deref() else {
                continue;
            };
            if self.track(subscriber.track).is_none() {
                continue;
            }
            let rates = self.encodings_of(subscriber.track).map(|link| {
                self.encodings
                    .get(link.row as usize)
                    .and_then(|slot| slot.as_deref())
                    .filter(|encoding| encoding.link == link)
                    .and_then(|encoding| encoding.feed.as_deref())
                    .filter(|feed| feed.live)
                    .map(|feed| &feed.rates)
            });
            if subscriber.audio {
                let rates = rates.iter().flatten().map(|rates| rates.bps());
                audio += rates.max().unwrap_or(0);
            } else if !subscriber.is_switched_off() && claims.len() < claims.capacity() {
                claims.push(subscriber.claim(now, &rates));
            }
        }
        audio
    }

    fn settle_claim(&mut self, now: Micros, claim: &Claim, budget: u64) {
        let Some(subscriber) = self.subscriptions[claim.row as usize].as_deref_mut() else {
            return;
        };
        let Some(given) = claim.given() else {
            // A moment is bridged; audio has what it needs first.
            let since = *subscriber.short_since.get_or_insert(now);
            if now.since(since) >= VIDEO_SHORT_US && !subscriber.starved {
                subscriber.starve(now);
                let link = subscriber.link;
                self.event(
                    now,
                    EventKind::VideoStarved,
                    RowKind::Subscription,
                    link,
                    budget,
                );
            }
            return;
        };
        subscriber.short_since = None;
        let (fed, moved) = subscriber.allow(now, given);
        let link = subscriber.link;
        if fed {
            self.event(
                now,
                EventKind::VideoFed,
                RowKind::Subscription,
                link,
                budget,
            );
        }
        if moved || fed {
            self.retarget_one(now, claim.row);
        }
    }
}

impl Transport {
    /// Takes down a packet that was sealed, for feedback to come.
    pub(crate) fn note_sent(
        &mut self,
        now: Micros,
        bytes: usize,
        ssrc: u32,
        sequence: u16,
        numbered: bool,
    ) {
        // Who reports on nothing costs one look at its flags.
        if self.config.flags & (TransportConfig::TRANSPORT_CC_OUT | TransportConfig::CCFB_OUT) == 0
        {
            return;
        }
        let next = self.state.transport_cc_next;
        if let Some(bandwidth) = &mut self.bandwidth {
            let next = numbered.then_some(next);
            bandwidth.sent(now, bytes, (ssrc, sequence), next);
        }
    }
}
