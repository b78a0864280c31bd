//! Offers of participants: one transport both ways, negotiated anew as often as they like. What is
//! as it was keeps its rows; only what changed is written.

use super::commands::{Draft, rejected};
use super::{Core, unix_seconds};
use crate::limits;
use crate::record::{Media, Record};
use crate::rooms::{Input, Key};
use crate::session::{EndCause, Session};
use ion_api::signal::PublicationId;
use ion_api::signal::client::{Offer, TrackOffer};
use ion_api::signal::model::ParticipantState;
use ion_api::signal::server::{OfferAnswer, Problem, Reason};
use ion_ice::{Agent, Credentials};
use ion_sdp::duplex::{self, DuplexAnswer, Purpose, Section};
use ion_sdp::{IceCredentials, Media as MediaSection, MediaKind, Mid, Msid, SessionDescription};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

mod change;
mod senders;

use change::Change;
use senders::Senders;

impl Core {
    /// Answers an offer of a participant.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        key: Key,
        offer: &Offer,
        sdp: &SessionDescription,
    ) -> Result<OfferAnswer, Problem> {
        self.attached()?;
        self.check_offer(key, offer)?;
        let known = self
            .sessions
            .get(&key)
            .filter(|s| s.record.peer == offer.peer);
        let is_fresh = known.is_none();
        let mut draft = self.draft()?;
        let mut is_restart = false;
        if let Some(session) = known {
            is_restart = is_ice_restart(session, sdp);
            draft.local.cname.clone_from(&session.record.cname);
            if !is_restart {
                let local = session.agent().local();
                draft.local.ice = IceCredentials {
                    ufrag: local.ufrag().to_owned(),
                    pwd: local.pwd().to_owned(),
                };
            }
        }
        let before = known.map(|session| session.record.clone());
        let mut purposes = Vec::new();
        let mut declined = BTreeMap::new();
        let mut senders = Senders::of(before.as_ref());
        for media in &sdp.media {
            purposes.push(self.purpose(key, offer, media, &mut senders, &mut declined)?);
        }
        let bytes = limits::DATA_CHANNEL_BYTES;
        let agreed = duplex::answer(sdp, &draft.local, &purposes, bytes).map_err(rejected)?;
        if let Some(before) = &before {
            check_fingerprints(before, &agreed)?;
        }
        let record = match before {
            Some(before) => before,
            None => self.fresh_record(key, &draft, &offer.peer)?,
        };
        let change = self.change(key, offer, record, &agreed, declined)?;
        if let Err(problem) = self.put_record(now, &change.record) {
            self.release_reserved(&change.reserved);
            return Err(problem.into());
        }
        let mut answer_sdp = agreed.sdp.clone();
        answer_sdp.origin.session_id.clone_from(&change.record.etag);
        answer_sdp.origin.version = u64::from(change.record.answers);
        self.commit(now, key, draft, &agreed, change, is_fresh, is_restart)
            .map(|(publications, subscriptions, declined)| OfferAnswer {
                sdp: answer_sdp.to_string(),
                publications: publications
                    .into_iter()
                    .filter_map(|(mid, id)| Some((mid, self.rooms.publication_info(id, true)?)))
                    .collect(),
                subscriptions,
                declined,
            })
    }

    fn check_offer(&self, key: Key, offer: &Offer) -> Result<(), Problem> {
        if self.rooms.state(key) == Some(ParticipantState::Lobby) {
            let text = "nothing can be sent or received in the lobby";
            return Err(Problem::new(Reason::WrongState, text));
        }
        let long = |text: &str| text.len() > limits::LABEL_BYTES;
        let is_long = |track: &TrackOffer| {
            long(&track.cid)
                || long(&track.name)
                || long(&track.scalability_mode)
                || track.stream.as_deref().is_some_and(long)
                || track.layers.len() > ion_tables::TrackConfig::MAX_ENCODINGS
        };
        if long(&offer.peer) || offer.peer.is_empty() || offer.tracks.values().any(is_long) {
            let text = "`peer`, or something about a track, is missing or too long";
            return Err(Problem::new(Reason::TooLarge, text));
        }
        let mut cids = BTreeSet::new();
        if !offer
            .tracks
            .values()
            .all(|track| !track.cid.is_empty() && cids.insert(&track.cid))
        {
            let text = "each track needs a `cid` of its own";
            return Err(Problem::new(Reason::BadMessage, text));
        }
        Ok(())
    }

    /// What a section is for.
    fn purpose(
        &self,
        key: Key,
        offer: &Offer,
        media: &MediaSection,
        senders: &mut Senders,
        declined: &mut BTreeMap<String, Problem>,
    ) -> Result<Purpose, Problem> {
        let Some(mid) = media.mid.as_ref().map(Mid::as_str) else {
            return Ok(Purpose::Nothing);
        };
        if let Some(track) = offer.tracks.get(mid) {
            let may = self
                .rooms
                .permissions(key)
                .is_some_and(|p| p.may_publish(track.source));
            let text = "the token does not allow to publish this";
            let forbidden = || Problem::new(Reason::Forbidden, text);
            let refused = match may {
                true => self.has_bitrate(key, track),
                false => Err(forbidden()),
            };
            return Ok(match refused {
                Ok(()) => Purpose::Publish,
                Err(problem) => {
                    declined.insert(mid.to_owned(), problem);
                    Purpose::Nothing
                }
            });
        }
        if let Some(id) = offer.subscriptions.get(mid) {
            if self.rooms.is_subscribed(key, *id) {
                let codec = self.published(*id).map(|(_, track)| track.codec.0.clone());
                let sender = senders.sender(mid, self.msid(*id))?;
                return Ok(Purpose::Play { codec, sender });
            }
            let text = "there is no such subscription";
            declined.insert(mid.to_owned(), Problem::new(Reason::NotFound, text));
            return Ok(Purpose::Nothing);
        }
        match media.kind {
            MediaKind::Application => Ok(Purpose::Data),
            _ => Ok(Purpose::Nothing),
        }
    }

    /// Whether the key of a participant's token may publish this, where it is not published already.
    fn has_bitrate(&self, key: Key, track: &TrackOffer) -> Result<(), Problem> {
        match self.rooms.api_key(key) {
            Some(api_key) if self.rooms.by_cid(key, &track.cid).is_none() => {
                Ok(self.may_publish_more(api_key)?)
            }
            _ => Ok(()),
        }
    }

    /// Stream and track labels at a subscriber: tracks of one stream play in sync.
    fn msid(&self, id: PublicationId) -> Msid {
        let info = self.rooms.publication_info(id, false);
        let stream = info.as_ref().map_or("", |info| &info.stream);
        let is_token = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let stream: String = stream.chars().filter(is_token).take(48).collect();
        let owner = info
            .map(|info| info.participant.to_string())
            .unwrap_or_default();
        Msid {
            stream: format!("{owner}-{stream}"),
            track: id.to_string(),
        }
    }

    fn fresh_record(&mut self, key: Key, draft: &Draft, peer: &str) -> Result<Record, Problem> {
        let (Some(room), Some(identity)) = (self.rooms.room_of(key), self.rooms.identity(key))
        else {
            return Err(Problem::new(Reason::NoSuchSession, "it has ended"));
        };
        let media = Media::Both {
            published: Vec::new(),
            played: Vec::new(),
        };
        let id = draft.id.as_str().to_owned();
        let mut record = Record::new(id, key.0, room.clone(), identity.clone(), media);
        let me = self.rooms.participant_info(key);
        record.name = me.as_ref().map(|me| me.name.clone()).unwrap_or_default();
        record.hidden = self.rooms.permissions(key).is_some_and(|p| p.hidden);
        record.joined_at_s = me.map_or_else(unix_seconds, |me| me.joined_at_s);
        peer.clone_into(&mut record.peer);
        // Of the `o=` line: the same in all answers.
        record.etag = draft.local.session_id.to_string();
        record.cname.clone_from(&draft.local.cname);
        record.feedback_ssrc = draft.feedback_ssrc;
        Ok(record)
    }

    /// Nothing can fail any more.
    #[expect(
        clippy::too_many_arguments,
        clippy::type_complexity,
        reason = "the parts of one step"
    )]
    fn commit(
        &mut self,
        now: Instant,
        key: Key,
        draft: Draft,
        agreed: &DuplexAnswer,
        change: Change,
        is_fresh: bool,
        is_restart: bool,
    ) -> Result<
        (
            Vec<(String, PublicationId)>,
            BTreeMap<String, PublicationId>,
            BTreeMap<String, Problem>,
        ),
        Problem,
    > {
        let Change {
            record,
            released,
            publish,
            slots,
            mut declined,
            ..
        } = change;
        let credentials = draft.credentials;
        if is_fresh {
            self.close_session(now, key, &EndCause::Replaced);
            self.happen(now, Input::Down(key));
            let agent = Agent::new(credentials, None, now).with_timeouts(self.config.ice);
            let ufrag = agent.local().ufrag().to_owned();
            let mut session =
                Session::new(draft.id, record, agent, Some(agreed.remote.ice.clone()));
            if has_data(agreed) {
                session.take_data(self.config.backlog.clone());
            }
            self.ids.insert(session.id.as_str().to_owned(), key);
            self.ufrags.insert(ufrag, key);
            self.metrics.session_created(session.record.role());
            self.sessions.insert(key, session);
            self.write_waiting(key);
        } else if let Some(session) = self.sessions.get_mut(&key) {
            let old = session.remote_ice.as_ref().map(|ice| ice.ufrag.clone());
            session.record = record;
            if has_data(agreed) {
                session.take_data(self.config.backlog.clone());
            }
            if is_restart {
                session.record.supersede(old);
                self.restart(now, key, credentials, agreed.remote.ice.clone());
            }
        }
        let kept: BTreeSet<PublicationId> = publish.iter().map(|one| one.id).collect();
        for id in self.rooms.publications(key).to_vec() {
            if !kept.contains(&id) {
                self.happen(now, Input::Unpublish(id));
            }
        }
        let mids = self.mids_of(key, &kept);
        let mut publications = Vec::new();
        for one in publish {
            let (id, mid) = (one.id, mids.get(&one.id).cloned().unwrap_or_default());
            match self.rooms.handle(Input::Publish(Box::new(one)), now) {
                Ok(effects) => {
                    self.apply(now, effects);
                    publications.push((mid, id));
                }
                Err(refused) => {
                    declined.insert(mid, super::signal::problem(&refused));
                    self.drop_published(key, id);
                }
            }
        }
        let assigned = slots
            .iter()
            .filter_map(|slot| Some((slot.mid.clone(), slot.assigned?)));
        let subscriptions = assigned.collect();
        self.happen(now, Input::Slots { key, slots });
        self.write_transport(key);
        self.write_media(key);
        self.release_reserved(&released);
        self.put_stored(now, key);
        self.signalling.changed(key);
        Ok((publications, subscriptions, declined))
    }

    fn restart(&mut self, now: Instant, key: Key, local: Credentials, remote: IceCredentials) {
        self.ufrags.insert(local.ufrag().to_owned(), key);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.restart_ice(now, local, remote);
        }
        self.write_ice(key);
    }

    fn mids_of(&self, key: Key, ids: &BTreeSet<PublicationId>) -> BTreeMap<PublicationId, String> {
        let published = self
            .sessions
            .get(&key)
            .map(|session| session.record.published());
        let published = published.unwrap_or_default().iter();
        let ours = published.filter(|track| ids.contains(&track.id));
        ours.map(|track| (track.id, track.mid.clone())).collect()
    }
}

fn has_data(agreed: &DuplexAnswer) -> bool {
    agreed
        .sections
        .iter()
        .any(|section| matches!(section, Section::Data { .. }))
}

fn is_ice_restart(session: &Session, sdp: &SessionDescription) -> bool {
    let used = sdp.media.iter().find(|media| !media.is_rejected());
    let ufrag = used.and_then(|media| media.ice_ufrag.as_ref());
    let known = session.remote_ice.as_ref().map(|ice| &ice.ufrag);
    ufrag.is_some() && known.is_some() && ufrag != known
}

fn check_fingerprints(before: &Record, agreed: &DuplexAnswer) -> Result<(), Problem> {
    let same =
        |fingerprint: &ion_sdp::Fingerprint| before.fingerprints.contains(&fingerprint.to_string());
    match agreed.remote.fingerprints.iter().any(same) {
        true => Ok(()),
        false => Err(Problem::new(
            Reason::UnprocessableSdp,
            "another certificate is another peer connection: give it another `peer`",
        )),
    }
}
