//! A stage: the few seats that the loudest sources of a room have in turn, so that a viewer is sent as many streams,
//! whoever speaks.
//!
//! A seat is a track row without encodings. The worker in its row decides for the whole stage, by what the workers of
//! the sources tell it, and tells all others; then each sends its viewers what the seat is given to, switched as a
//! simulcast source is. Only what has a seat crosses to other workers. What is told is told again from time to time, so
//! that a full ring costs a moment.

use crate::engine::{Engine, Track};
use crate::limits::{STAGE_LEAST_US, STAGE_LOUDER, STAGE_QUIET_US, STAGE_RETELL_US};
use crate::output::Output;
use crate::peer::PeerMessage;
use crate::time::Micros;
use ion_tables::{
    DropReason, EventKind, RowKind, RowLink, Track as TrackRow, TrackConfig, TrackState,
};

/// The part that a track has in a stage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    /// Of a seat, the source that has it; of a source, its seat.
    pub(crate) partner: RowLink,
    /// Of a source, for the stage's worker.
    voice: Voice,
    /// Of a seat, for the stage's worker: when it was last told who has it.
    told: Micros,
}

/// How a source was last heard.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    /// Decibels above silence.
    loudness: u8,
    heard: Micros,
    /// When it got its seat.
    seated: Micros,
}

/// The seat for a newcomer as loud as this: a free one, else that of who has been quiet for longest, else of the
/// quietest if it is louder by far.
fn choose(now: Micros, loudness: u8, seats: impl Iterator<Item = Option<Voice>>) -> Option<usize> {
    let mut chosen = None;
    for (place, voice) in seats.enumerate() {
        let Some(voice) = voice else {
            return Some(place);
        };
        let quiet = now.since(voice.heard);
        let rank = if quiet >= STAGE_QUIET_US {
            (1, quiet)
        } else {
            (0, u64::from(u8::MAX - voice.loudness))
        };
        let yields = quiet >= STAGE_QUIET_US
            || (now.since(voice.seated) >= STAGE_LEAST_US
                && loudness >= voice.loudness.saturating_add(STAGE_LOUDER));
        if yields && chosen.is_none_or(|(best, _)| rank > best) {
            chosen = Some((rank, place));
        }
    }
    chosen.map(|(_, place)| place)
}

impl Engine {
    /// The encodings that a track is sent from: of a seat, those of who has it.
    pub(crate) fn encodings_of(&self, track: RowLink) -> [RowLink; TrackConfig::MAX_ENCODINGS] {
        let source = self.track(track).and_then(|track| match track.config.seat {
            0 => Some(track),
            _ => self.track(track.part.partner),
        });
        source.map_or_else(Default::default, |source| source.config.encodings)
    }

    /// One of our sources is as loud as this: its stage is told.
    pub(crate) fn tell_stage<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        source: RowLink,
        loudness: u8,
        out: &mut O,
    ) {
        let stage = self.track(source).map(|source| source.config.stage);
        let stage = stage.and_then(|stage| self.track(stage));
        let Some(worker) = stage.map(|stage| stage.config.worker) else {
            return;
        };
        if worker == self.worker {
            self.hear(now, source, loudness, out);
        } else if usize::from(worker) < self.tables.tables().workers() {
            let message = PeerMessage::Loud { source, loudness };
            self.tell(usize::from(worker), message, out);
        }
    }

    fn tell<O: Output<Message = PeerMessage>>(
        &self,
        worker: usize,
        message: PeerMessage,
        out: &mut O,
    ) {
        if out.to_worker(worker, message).is_err() {
            self.drop_packet(DropReason::PeerRingFull);
        }
    }

    /// A source of a stage that is ours is as loud as this: maybe it gets a seat.
    pub(crate) fn hear<O: Output<Message = PeerMessage>>(
        &mut self,
        now: Micros,
        source: RowLink,
        loudness: u8,
        out: &mut O,
    ) {
        let Some(track) = self.track_mut(source) else {
            return;
        };
        track.part.voice.heard = now;
        track.part.voice.loudness = loudness;
        let (seat, config) = (track.part.partner, track.config);
        if let Some(seat) = self.track_mut(seat) {
            let due = now.since(seat.part.told) >= STAGE_RETELL_US;
            let (link, told) = (seat.link, &mut seat.part.told);
            if due {
                *told = now;
                self.tell_seat(link, source, out);
            }
            return;
        }
        let seats = self.children.stage(config.stage.row).seats.iter();
        let seats = seats.filter_map(|&row| {
            let seat = self.tracks.get(row as usize)?.as_deref()?;
            let fits = seat.config.stage == config.stage
                && (seat.config.codec, seat.config.clock_rate) == (config.codec, config.clock_rate)
                && seat.config.worker == self.worker;
            fits.then_some(seat)
        });
        let voices = seats.clone().map(|seat| {
            let holder = self.track(seat.part.partner)?;
            Some(holder.part.voice)
        });
        let chosen = choose(now, loudness, voices).and_then(|place| seats.clone().nth(place));
        let Some(seat) = chosen.map(|seat| seat.link) else {
            return;
        };
        self.give_seat(now, seat, source);
        if let Some(track) = self.track_mut(source) {
            track.part.voice.seated = now;
        }
        if let Some(seat) = self.track_mut(seat) {
            seat.part.told = now;
        }
        self.say_seated(now, seat, source);
        self.tell_seat(seat, source, out);
    }

    /// Tells all other workers who has a seat.
    fn tell_seat<O: Output<Message = PeerMessage>>(
        &self,
        seat: RowLink,
        source: RowLink,
        out: &mut O,
    ) {
        for worker in 0..self.tables.tables().workers() {
            if worker != usize::from(self.worker) {
                self.tell(worker, PeerMessage::Seated { seat, source }, out);
            }
        }
    }

    /// Tells the control plane who has a seat of ours.
    fn say_seated(&self, now: Micros, seat: RowLink, source: RowLink) {
        let state = TrackState {
            generation: seat.generation,
            reserved: 0,
            source,
        };
        self.tables.store::<TrackRow>(seat.row, &state);
        let kind = EventKind::SeatTaken;
        self.event(now, kind, RowKind::Track, seat, source.pack());
    }

    /// A seat goes to a source, as its stage has decided.
    pub(crate) fn give_seat(&mut self, now: Micros, seat: RowLink, source: RowLink) {
        let Some(taken) = self.track_mut(seat).filter(|track| track.config.seat > 0) else {
            return;
        };
        let stage = taken.config.stage;
        let before = std::mem::replace(&mut taken.part.partner, source);
        if before == source {
            return;
        }
        self.part(before, seat);
        // One whose row says otherwise has left meanwhile, or is about to come.
        let joins = self.track_mut(source);
        if let Some(source) = joins.filter(|source| source.config.stage == stage) {
            let (link, other) = (source.link, source.part.partner);
            source.part.partner = seat;
            self.part(other, link);
        }
        self.end_turn(seat);
        self.retarget(now, seat.row);
    }

    /// A track is no longer another's partner, if it was.
    fn part(&mut self, track: RowLink, partner: RowLink) {
        let track = self.track_mut(track);
        if let Some(track) = track.filter(|track| track.part.partner == partner) {
            track.part.partner = RowLink::default();
        }
    }

    /// What viewers here were sent of a seat has ended. Even who has it again begins anew: what he sent meanwhile is
    /// not missing.
    fn end_turn(&mut self, seat: RowLink) {
        let list = &self.children.subscriptions_of_track;
        for &row in list.get(seat.row as usize).into_iter().flatten() {
            let subscriber = self.subscriptions[row as usize].as_deref_mut();
            if let Some(subscriber) = subscriber.filter(|s| s.track == seat) {
                subscriber.stop();
            }
        }
    }

    /// A track has come, or was changed, which had this part before.
    pub(crate) fn join_stage(&mut self, now: Micros, row: u32, part: Part) {
        let Some(track) = self.tracks[row as usize].as_deref_mut() else {
            return;
        };
        track.part = part;
        let (link, stage) = (track.link, track.config.stage);
        if part.partner.is_some() || track.config.seat > 0 || !stage.is_some() {
            return;
        }
        // Told of before its row was read.
        let seats = self.children.stage(stage.row).seats.iter();
        let mut seats = seats.filter_map(|&row| self.tracks.get(row as usize)?.as_deref());
        let Some(seat) = seats.find(|seat| seat.part.partner == link) else {
            return;
        };
        let seat = seat.link;
        if let Some(track) = self.tracks[row as usize].as_deref_mut() {
            track.part.partner = seat;
        }
        self.retarget(now, seat.row);
    }

    /// A track is gone, or is on another stage.
    pub(crate) fn leave_stage(&mut self, now: Micros, track: &Track) {
        let (own, seat) = (self.worker, track.part.partner);
        let Some(partner) = self.track(seat).filter(|p| p.part.partner == track.link) else {
            return;
        };
        let config = partner.config;
        self.part(seat, track.link);
        if config.seat == 0 {
            return;
        }
        self.end_turn(seat);
        if config.worker == own {
            self.say_seated(now, seat, RowLink::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(60_000_000);

    fn voice(loudness: u8, quiet_us: u64, seated_us: u64) -> Option<Voice> {
        Some(Voice {
            loudness,
            heard: NOW - quiet_us,
            seated: NOW - seated_us,
        })
    }

    #[test]
    fn a_free_seat_is_taken_then_the_quietest_gives_way() {
        let long = 2 * STAGE_LEAST_US;
        let seats = [voice(90, 0, long), None, voice(80, 0, long)];
        assert_eq!(choose(NOW, 75, seats.into_iter()), Some(1));
        let speaking = [voice(90, 0, long), voice(85, 0, long), voice(80, 0, long)];
        assert_eq!(
            choose(NOW, 80 + STAGE_LOUDER - 1, speaking.into_iter()),
            None
        );
        assert_eq!(
            choose(NOW, 80 + STAGE_LOUDER, speaking.into_iter()),
            Some(2)
        );
        let fresh = [voice(90, 0, long), voice(72, 0, STAGE_LEAST_US - 1)];
        assert_eq!(choose(NOW, 85, fresh.into_iter()), None, "only just seated");
    }

    #[test]
    fn who_is_quiet_for_longest_goes_first_however_loud_he_was() {
        let long = 20 * STAGE_QUIET_US;
        let seats = [
            voice(72, 0, long),
            voice(110, STAGE_QUIET_US + 2, long),
            voice(80, STAGE_QUIET_US + 1, long),
        ];
        assert_eq!(choose(NOW, 73, seats.into_iter()), Some(1));
    }
}
