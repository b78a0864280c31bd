//! Playing: WHEP, the counter-offer, and its answer.

use super::commands::{
    Agreed, Draft, extension_pairs, join, no_such_session, rejected, ssrc, take_remote,
};
use super::{Core, Key};
use crate::limits;
use crate::record::{Link, Media, Played, Published};
use crate::rooms::{self, Input, Slot};
use ion_api::backend::{Play, PlayRequest, SessionRef};
use ion_api::model::Role;
use ion_api::problem::Problem;
use ion_api::signal::model::ParticipantKind;
use ion_sdp::limits::MAX_TRACKS;
use ion_sdp::negotiate::Reject;
use ion_sdp::{ExtensionMap, Msid, PlayAnswer, Sender, Senders, SessionDescription, SourceTrack};
use std::time::{Instant, SystemTime};

/// Label of the one stream that a viewer gets; its tracks play in sync.
const STREAM: &str = "ion";

impl Core {
    pub(super) fn play(
        &mut self,
        now: Instant,
        request: &PlayRequest,
        offer: &SessionDescription,
    ) -> Result<Play, Problem> {
        self.admit(&request.room, &request.participant, false)?;
        let draft = self.draft()?;
        let senders = senders(draft.feedback_ssrc)?;
        let source = self.rooms.source(&request.room, request.publisher.as_ref());
        let Some((source, playable)) = source else {
            // A player whose offer can never be answered must not be told to try again.
            ion_sdp::whep::answer(offer, &draft.local, &[], &senders).map_err(rejected)?;
            let text = match &request.publisher {
                Some(identity) => format!("{identity} does not publish here"),
                None => "nobody publishes in this room".to_owned(),
            };
            return Err(Problem::not_live(text, limits::NOT_LIVE_RETRY_S));
        };
        let tracks = playable
            .iter()
            .filter_map(|id| Some(self.published(*id)?.1));
        let sources: Vec<SourceTrack> = tracks.map(source_track).collect();
        match ion_sdp::whep::answer(offer, &draft.local, &sources, &senders) {
            Ok(answer) => {
                let agreed = Agreed {
                    sdp: &answer.sdp,
                    extensions: &answer.extensions,
                    remote: Some(&answer.remote),
                    media: Media::Play(answer.tracks.iter().map(Played::new).collect()),
                };
                let wanted = request.publisher.clone();
                let (key, created) = self.create(
                    now,
                    draft,
                    &request.room,
                    &request.participant,
                    wanted,
                    agreed,
                )?;
                self.enter_viewer(now, key, Some(source));
                self.gauge();
                Ok(Play::Answer(created))
            }
            Err(Reject::NotAcceptable(_)) => {
                let offer = ion_sdp::whep::offer(&draft.local, &sources, &senders);
                self.counter_offer(now, request, draft, &offer)
            }
            Err(reject) => Err(rejected(reject)),
        }
    }

    /// Nothing that is published fits into the offer: offers all of it instead.
    fn counter_offer(
        &mut self,
        now: Instant,
        request: &PlayRequest,
        draft: Draft,
        offer: &SessionDescription,
    ) -> Result<Play, Problem> {
        let sdp = offer.to_string();
        let agreed = Agreed {
            sdp: offer,
            extensions: &ExtensionMap::default(),
            remote: None,
            media: Media::Offered { sdp },
        };
        let (room, wanted) = (&request.room, request.publisher.clone());
        let (_, created) = self.create(now, draft, room, &request.participant, wanted, agreed)?;
        Ok(Play::CounterOffer {
            created,
            valid_until: SystemTime::now().checked_add(limits::ANSWER_TIMEOUT),
        })
    }

    /// Lets a viewer that has negotiated into its room.
    pub(super) fn enter_viewer(&mut self, now: Instant, key: Key, current: Option<Key>) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let slots = session.record.played().iter().map(room_slot).collect();
        let wanted = session.record.wanted.clone();
        let play = rooms::Play::Follow { wanted, current };
        let join = join(key, &session.record, ParticipantKind::Whep, play);
        self.happen(now, Input::Join(Box::new(join)));
        self.happen(now, Input::Slots { key, slots });
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        session: &SessionRef,
        answer: &SessionDescription,
    ) -> Result<(), Problem> {
        let key = self.find(session)?;
        let found = self.sessions.get(&key).ok_or_else(no_such_session)?;
        if session.role != Role::Viewer {
            return Err(no_such_session());
        }
        let Media::Offered { sdp } = &found.record.media else {
            return Err(Problem::conflict(
                "no counter-offer of this session waits for an answer",
            ));
        };
        let offer = SessionDescription::parse(sdp.as_bytes()).map_err(|_| Problem::internal())?;
        let agreed = ion_sdp::whep::accept(&offer, answer).map_err(rejected)?;
        // Its place in the room is its own since the offer.
        self.attached()?;
        self.accept_agreed(now, key, &agreed)?;
        let source = self.sessions.get(&key).and_then(|session| {
            self.rooms
                .source(&session.record.room, session.record.wanted.as_ref())
        });
        self.enter_viewer(now, key, source.map(|(source, _)| source));
        self.gauge();
        Ok(())
    }

    fn accept_agreed(
        &mut self,
        now: Instant,
        key: Key,
        agreed: &PlayAnswer,
    ) -> Result<(), Problem> {
        let Some(session) = self.sessions.get(&key) else {
            return Err(no_such_session());
        };
        let mut record = session.record.clone();
        record.media = Media::Play(agreed.tracks.iter().map(Played::new).collect());
        record.extensions = extension_pairs(&agreed.extensions);
        take_remote(&mut record, &agreed.remote);
        if let Err(full) = self.reserve_rows(&mut record) {
            return Err(self.table_full(full));
        }
        if let Err(problem) = self.put_record(now, &record) {
            // As before: it may answer again. The transport was its own already.
            record.row = Link::default();
            self.release_rows(&record);
            return Err(problem);
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.answered(now, record, agreed.remote.ice.clone());
        }
        self.write_waiting(key);
        Ok(())
    }
}

pub(super) fn room_slot(played: &Played) -> Slot {
    let accepts = played
        .payloads
        .iter()
        .map(|payload| payload.codec.0.clone());
    Slot {
        kind: played.kind,
        mid: played.mid.clone(),
        accepts: accepts.collect(),
        assigned: None,
    }
}

fn source_track(track: &Published) -> SourceTrack {
    SourceTrack {
        codec: track.codec.0.clone(),
        red: track.red_pt.is_some(),
    }
}

/// What the sections of one viewer are sent as. All SSRCs differ, also from `other`.
fn senders(other: u32) -> Result<Senders, Problem> {
    let mut taken = vec![other];
    let mut fresh = || loop {
        let ssrc = ssrc()?;
        if !taken.contains(&ssrc) {
            taken.push(ssrc);
            break Ok(ssrc);
        }
    };
    let sender = |index: usize| {
        Ok(Sender {
            msid: Msid {
                stream: STREAM.to_owned(),
                track: format!("{STREAM}-{index}"),
            },
            ssrc: fresh()?,
            rtx_ssrc: fresh()?,
            fec_ssrc: fresh()?,
        })
    };
    let all: Result<Vec<Sender>, Problem> = (0..MAX_TRACKS).map(sender).collect();
    Senders::try_from(all?).map_err(|_| Problem::internal())
}
