use crate::clock::ClockMapping;
use crate::engine::Engine;
use crate::layers::Target;
use crate::limits::{KEYFRAME_WAIT_US, LAYER_SILENT_US, LIVE_US, UPKEEP_US};
use crate::time::Micros;
use crate::timers::TimerKind;
use ion_tables::{Encoding as EncodingRow, EventKind, RowKind, RowLink, TrackConfig};

/// Positions of one history that one upkeep looks at.
const EXPIRE_STEPS: usize = 4_096;

/// The encodings of a track, and which of them are live.
struct Layers {
    track: RowLink,
    links: [RowLink; TrackConfig::MAX_ENCODINGS],
    live: [bool; TrackConfig::MAX_ENCODINGS],
}

impl Engine {
    /// Chooses what each subscriber of a track should get.
    pub(crate) fn retarget(&mut self, now: Micros, row: u32) {
        let Some(layers) = self.layers(row) else {
            return;
        };
        for at in 0..self.children.subscriptions_of_track[row as usize].len() {
            let subscription = self.children.subscriptions_of_track[row as usize][at];
            self.choose(now, subscription, &layers);
        }
    }

    /// Sets what a subscription of this worker should get at most, inside the bounds of its row. At first it is
    /// everything; where a viewer's network is known, what that carries takes its place.
    pub fn set_target(&mut self, now: Micros, subscription: u32, target: Target) {
        let slot = self.subscriptions.get_mut(subscription as usize);
        if let Some(subscriber) = slot.and_then(|slot| slot.as_deref_mut()) {
            subscriber.set_wish(target);
            self.retarget_one(now, subscription);
        }
    }

    /// Chooses what one subscriber should get.
    pub(crate) fn retarget_one(&mut self, now: Micros, subscription: u32) {
        let track = self.subscriptions[subscription as usize]
            .as_deref()
            .map(|subscriber| subscriber.track);
        if let Some(layers) = track.and_then(|track| self.layers(track.row)) {
            self.choose(now, subscription, &layers);
        }
    }

    fn layers(&self, track: u32) -> Option<Layers> {
        let track = self.tracks.get(track as usize)?.as_deref()?;
        let links = self.encodings_of(track.link);
        let live = links.map(|layer| {
            self.encodings
                .get(layer.row as usize)
                .and_then(|slot| slot.as_deref())
                .filter(|encoding| encoding.link == layer)
                .and_then(|encoding| encoding.feed.as_deref())
                .is_some_and(|feed| feed.live)
        });
        Some(Layers {
            track: track.link,
            links,
            live,
        })
    }

    /// The highest encoding that is live and allowed; where nothing is live, the
    /// choice stays.
    fn choose(&mut self, now: Micros, subscription: u32, layers: &Layers) {
        let Some(subscriber) = self.subscriptions[subscription as usize].as_deref_mut() else {
            return;
        };
        if subscriber.track != layers.track || subscriber.is_paused() {
            return;
        }
        let allowed = usize::from(subscriber.max_encoding()).min(layers.links.len() - 1);
        let best = (0..=allowed).rev().find(|&layer| layers.live[layer]);
        // Better too much than nothing, where nothing less is live.
        let best = best.or_else(|| {
            let top = usize::from(subscriber.config.max_layer).min(layers.links.len() - 1);
            (0..=top).find(|&layer| layers.live[layer])
        });
        if let Some(best) = best {
            subscriber.target = Some(layers.links[best]);
        }
        let waits = !subscriber.audio && !subscriber.is_settled();
        // For a viewer that cannot be sent anything yet, no publisher is bothered.
        let ready = self.transports[subscriber.transport as usize]
            .as_deref()
            .is_some_and(|transport| transport.is_ready());
        match subscriber.target.filter(|_| waits && ready) {
            Some(target) => {
                subscriber.waiting = subscriber.waiting.or(Some(now));
                self.want_keyframe(now, target);
            }
            None => subscriber.waiting = None,
        }
    }

    /// Somebody needs a keyframe of an encoding, ours or another worker's.
    pub(crate) fn want_keyframe(&mut self, now: Micros, link: RowLink) {
        let Some(encoding) = self.encoding(link) else {
            return;
        };
        if !encoding.codec.is_video() {
            return;
        }
        encoding.keyframe.want();
        if let Some(due) = encoding.keyframe.due() {
            self.timers.arm(TimerKind::Keyframe, link.row, due.max(now));
        }
    }

    /// Whether a subscriber here waits for a keyframe of an encoding. Tells of those
    /// that have waited for long.
    pub(crate) fn has_waiting(&mut self, now: Micros, link: RowLink, track: RowLink) -> bool {
        let Some(list) = self.children.subscriptions_of_track.get(track.row as usize) else {
            return false;
        };
        let mut any = false;
        for &row in list {
            let Some(subscriber) = self.subscriptions[row as usize].as_deref_mut() else {
                continue;
            };
            let Some(since) = subscriber.waiting else {
                continue;
            };
            if subscriber.target != Some(link) {
                continue;
            }
            any = true;
            let waited = now.since(since);
            if waited >= KEYFRAME_WAIT_US && !subscriber.wait_told {
                subscriber.wait_told = true;
                self.tables.events().push(&ion_tables::Event {
                    kind: EventKind::KeyframeWait,
                    table: RowKind::Subscription,
                    row: subscriber.link,
                    value: waited,
                    at_us: now.0,
                });
            }
        }
        any
    }

    /// Takes in how an encoding's timestamps relate to our wallclock.
    pub(crate) fn set_mapping(&mut self, link: RowLink, mapping: ClockMapping) {
        if let Some(encoding) = self.encoding(link)
            && let Some(feed) = encoding.feed.as_deref_mut()
        {
            feed.reported = Some(mapping);
        }
    }

    /// Stores the state of the encodings that received something in this batch.
    pub(crate) fn store_touched(&mut self) {
        while let Some(row) = self.touched.pop() {
            let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
                continue;
            };
            if let Some(receiver) = encoding.receiver.as_deref_mut() {
                receiver.touched = false;
                self.tables.store::<EncodingRow>(row, &receiver.state);
            }
        }
    }

    /// Layers that fell silent while others of the same track go on are no longer chosen.
    /// When all are silent, the source is: nobody is better off with another layer.
    fn end_silent_layers(&mut self, now: Micros, row: u32) {
        let Some(track) = self.encodings[row as usize]
            .as_deref()
            .map(|encoding| encoding.config.track)
        else {
            return;
        };
        let Some(links) = self.track(track).map(|track| track.config.encodings) else {
            return;
        };
        let mut newest = None;
        for link in links {
            let feed = self.encoding(link).and_then(|e| e.feed.as_deref());
            newest = newest.max(feed.and_then(|feed| feed.last_packet));
        }
        let Some(newest) = newest else { return };
        let mut ended = false;
        for link in links {
            let Some(feed) = self.encoding(link).and_then(|e| e.feed.as_deref_mut()) else {
                continue;
            };
            let silent = feed
                .last_packet
                .is_none_or(|at| newest.since(at) > LAYER_SILENT_US);
            ended |= feed.live && silent;
            feed.live &= !silent;
        }
        if ended {
            self.retarget(now, track.row);
        }
    }

    /// Keeps an encoding in order while there is something of it: history that is too
    /// old goes, silence is told of, counters are brought up to date.
    pub(crate) fn upkeep(&mut self, now: Micros, row: u32) {
        let horizon = now - self.config.history_us;
        self.end_silent_layers(now, row);
        let track = self.encodings[row as usize].as_deref();
        if let Some(track) = track.map(|encoding| encoding.config.track) {
            self.watch_layers(now, track);
        }
        let Some(encoding) = self
            .encodings
            .get_mut(row as usize)
            .and_then(|slot| slot.as_deref_mut())
        else {
            return;
        };
        let (link, transport) = (encoding.link, encoding.config.transport.row);
        let silent = |last: Option<Micros>| last.is_none_or(|at| now.since(at) > LIVE_US);
        let mut again = false;
        if let Some(feed) = encoding.feed.as_deref_mut() {
            let pool = &mut self.pool;
            feed.history
                .expire(horizon, EXPIRE_STEPS, |packet| pool.release(packet));
            again |= !silent(feed.last_packet) || !feed.history.is_empty();
            again |= feed.watched.is_told_unwatched();
        }
        let mut stalled = false;
        let mut figures = None;
        let mut speech = None;
        let mut discarded = 0;
        if let Some(receiver) = encoding.receiver.as_deref_mut() {
            let heard = receiver.last_packet.or(receiver.resumed);
            let quiet = silent(heard);
            stalled = quiet && heard.is_some() && !receiver.stalled;
            receiver.stalled |= stalled;
            again |= !quiet;
            speech = receiver.speech.tick(now);
            if let Some(repair) = receiver.repair.as_deref_mut() {
                discarded = repair.tick(now);
                again |= repair.is_in_use();
            }
            let reception = &receiver.reception;
            let level = u64::from(127 - receiver.speech.level());
            figures = receiver.last_packet.map(|_| {
                (
                    reception.lost().cast_unsigned(),
                    reception.jitter_us(),
                    level,
                )
            });
        }
        self.discard_fec(transport, row, discarded);
        if stalled {
            self.event(now, EventKind::EncodingStalled, RowKind::Encoding, link, 0);
        }
        self.speech_changed(now, row, speech);
        if let (Some((lost, jitter, level)), Some(counters)) =
            (figures, self.encoding_counters(row))
        {
            counters.packets_lost.set(lost);
            counters.jitter_us.set(jitter);
            counters.audio_level.set(level);
            let encoding = self.encodings[row as usize].as_deref();
            let feed = encoding.and_then(|encoding| encoding.feed.as_deref());
            for (spatial, counter) in (0..).zip(&counters.spatial_bps) {
                counter.set(feed.map_or(0, |feed| feed.rates.of_spatial(spatial)));
            }
        }
        if again {
            self.timers.arm(TimerKind::Upkeep, row, now + UPKEEP_US);
        }
    }
}
