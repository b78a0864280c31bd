//! Offers of participants: one transport both ways, negotiated anew as often as they like. What is
//! as it was keeps its rows; only what changed is written.

use super::commands::{Draft, extension_pairs, rejected, ssrc, take_remote};
use super::{Core, unix_seconds};
use crate::limits;
use crate::record::{Kind, Link, Media, Played, Published, Record};
use crate::rooms::{Input, Key, Publish, Slot};
use crate::session::{EndCause, Session};
use ion_api::signal::PublicationId;
use ion_api::signal::client::{Offer, TrackOffer};
use ion_api::signal::model::{ParticipantState, Source};
use ion_api::signal::server::{OfferAnswer, Problem, Reason};
use ion_ice::{Agent, Credentials};
use ion_sdp::duplex::{self, DuplexAnswer, Purpose, Section};
use ion_sdp::{
    IceCredentials, Media as MediaSection, MediaKind, Mid, Msid, Sender, SessionDescription,
};
use ion_tables::{Encoding, Subscription, Track, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What an offer brings about, while it may still fail.
struct Change {
    record: Record,
    /// Rows that the record has and the one before had not.
    reserved: Vec<Reserved>,
    /// Rows that the one before had and the record has not.
    released: Vec<Reserved>,
    publish: Vec<Publish>,
    slots: Vec<Slot>,
    declined: BTreeMap<String, Problem>,
}

#[derive(Clone, Copy)]
enum Reserved {
    Transport(Link),
    Track(Link),
    Encoding(Link),
    Subscription(Link),
}

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
            if may {
                return Ok(Purpose::Publish);
            }
            let text = "the token does not allow to publish this";
            declined.insert(mid.to_owned(), Problem::new(Reason::Forbidden, text));
            return Ok(Purpose::Nothing);
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

    /// Works out what the record becomes, and reserves what it needs; all or none.
    fn change(
        &mut self,
        key: Key,
        offer: &Offer,
        record: Record,
        agreed: &DuplexAnswer,
        declined: BTreeMap<String, Problem>,
    ) -> Result<Change, Problem> {
        let mut change = Change {
            record,
            reserved: Vec::new(),
            released: Vec::new(),
            publish: Vec::new(),
            slots: Vec::new(),
            declined,
        };
        let is_first = change.record.row == Link::default();
        let result = self
            .change_transport(&mut change)
            .and_then(|()| self.change_published(key, offer, agreed, &mut change))
            .and_then(|()| self.change_played(offer, agreed, &mut change));
        if let Err(full) = result {
            self.release_reserved(&change.reserved);
            return Err(self.table_full(full).into());
        }
        let record = &mut change.record;
        // Ids once given stay: packets under way have them.
        for (kind, id) in extension_pairs(&agreed.extensions) {
            if !record.extensions.iter().any(|(known, _)| *known == kind) {
                record.extensions.push((kind, id));
            }
        }
        record.is_rtcp_reduced = agreed.sdp.media.iter().any(|media| media.rtcp_rsize);
        record.answers += 1;
        if is_first {
            take_remote(record, &agreed.remote);
        }
        for (section, media) in agreed.sections.iter().zip(&agreed.sdp.media) {
            if let (Section::Declined(text), Some(mid)) = (section, &media.mid) {
                let problem = Problem::new(Reason::UnprocessableSdp, text.clone());
                change
                    .declined
                    .entry(mid.as_str().to_owned())
                    .or_insert(problem);
            }
        }
        Ok(change)
    }

    fn change_transport(
        &mut self,
        change: &mut Change,
    ) -> Result<(), crate::programmer::TableFull> {
        if change.record.row == Link::default() {
            change.record.row = self.programmer.reserve::<Transport>()?.into();
            change.reserved.push(Reserved::Transport(change.record.row));
        }
        Ok(())
    }

    fn change_published(
        &mut self,
        key: Key,
        offer: &Offer,
        agreed: &DuplexAnswer,
        change: &mut Change,
    ) -> Result<(), crate::programmer::TableFull> {
        let before = change.record.published().to_vec();
        let mut published = Vec::new();
        for section in &agreed.sections {
            let Section::Publish(track) = section else {
                continue;
            };
            let mut track = Published::new(track);
            let Some(asked) = offer.tracks.get(&track.mid) else {
                continue;
            };
            let known = self.rooms.by_cid(key, &asked.cid);
            track.id = known.unwrap_or_else(|| self.publication_id());
            let old = before
                .iter()
                .find(|old| old.id == track.id && old.kind == track.kind);
            take_rows(&mut track, old);
            if track.row == Link::default() {
                track.row = self.programmer.reserve::<Track>()?.into();
                change.reserved.push(Reserved::Track(track.row));
            }
            for encoding in track
                .encodings
                .iter_mut()
                .filter(|e| e.row == Link::default())
            {
                encoding.row = self.programmer.reserve::<Encoding>()?.into();
                change.reserved.push(Reserved::Encoding(encoding.row));
            }
            change.publish.push(publish(key, &track, asked));
            published.push(track);
        }
        let kept: BTreeSet<u32> = published.iter().flat_map(encoding_rows).collect();
        let survives = |old: &&Published| published.iter().any(|new| new.row == old.row);
        for old in before.iter().filter(survives) {
            let gone = encoding_rows(old)
                .into_iter()
                .filter(|row| !kept.contains(row));
            let links = old.encodings.iter().map(|e| e.row);
            let gone: BTreeSet<u32> = gone.collect();
            change.released.extend(
                links
                    .filter(|link| gone.contains(&link.row))
                    .map(Reserved::Encoding),
            );
        }
        if let Media::Both {
            published: list, ..
        } = &mut change.record.media
        {
            // Those that are not offered any more end, and are taken out, at the commit.
            let ended = before
                .into_iter()
                .filter(|old| !published.iter().any(|p| p.row == old.row));
            let ended: Vec<Published> = ended.collect();
            *list = published;
            list.extend(ended);
        }
        Ok(())
    }

    fn change_played(
        &mut self,
        offer: &Offer,
        agreed: &DuplexAnswer,
        change: &mut Change,
    ) -> Result<(), crate::programmer::TableFull> {
        let mut played = change.record.played().to_vec();
        let mut assigned: Vec<Option<PublicationId>> = vec![None; played.len()];
        let is_there = |mid: &str| {
            let media = agreed.sdp.media.iter();
            media
                .filter_map(|m| m.mid.as_ref())
                .any(|known| known.as_str() == mid)
        };
        for section in &agreed.sections {
            let Section::Play(track) = section else {
                continue;
            };
            let mut fresh = Played::new(track);
            let place = played
                .iter()
                .position(|old| old.mid == fresh.mid && old.kind == fresh.kind);
            let place = match place {
                Some(place) => {
                    let old = &played[place];
                    fresh.row = old.row;
                    fresh.ssrc = old.ssrc;
                    fresh.rtx_ssrc = old.rtx_ssrc.or(fresh.rtx_ssrc);
                    if let (Some((_, ssrc)), Some((_, known))) = (&mut fresh.fec, old.fec) {
                        *ssrc = known;
                    }
                    place
                }
                None => {
                    fresh.row = self.programmer.reserve::<Subscription>()?.into();
                    change.reserved.push(Reserved::Subscription(fresh.row));
                    // The place of a section that is no more, or a new one.
                    let free = played.iter().position(|old| !is_there(&old.mid));
                    free.inspect(|place| {
                        change
                            .released
                            .push(Reserved::Subscription(played[*place].row));
                    })
                    .unwrap_or(played.len())
                }
            };
            let id = offer.subscriptions.get(&fresh.mid).copied();
            if place == played.len() {
                played.push(fresh);
                assigned.push(id);
            } else {
                played[place] = fresh;
                assigned[place] = id;
            }
        }
        let slot = |(slot, assigned): (&Played, &Option<PublicationId>)| Slot {
            kind: slot.kind,
            mid: slot.mid.clone(),
            accepts: slot.payloads.iter().map(|p| p.codec.0.clone()).collect(),
            assigned: *assigned,
        };
        change.slots = played.iter().zip(&assigned).map(slot).collect();
        if let Media::Both { played: list, .. } = &mut change.record.media {
            *list = played;
        }
        Ok(())
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

    fn release_reserved(&mut self, rows: &[Reserved]) {
        for row in rows {
            match *row {
                Reserved::Transport(row) => self.programmer.release::<Transport>(row.into()),
                Reserved::Track(row) => self.programmer.release::<Track>(row.into()),
                Reserved::Encoding(row) => self.programmer.release::<Encoding>(row.into()),
                Reserved::Subscription(row) => {
                    self.programmer.release::<Subscription>(row.into());
                }
            }
        }
    }
}

/// As what the sections of a participant are sent; what is known stays.
struct Senders {
    known: BTreeMap<String, Known>,
    taken: BTreeSet<u32>,
}

/// SSRCs of a section: of media, of retransmissions, of repair.
type Known = (u32, Option<u32>, Option<u32>);

impl Senders {
    fn of(record: Option<&Record>) -> Self {
        let played = record.map_or(&[][..], Record::played);
        let ssrcs = |slot: &Played| (slot.ssrc, slot.rtx_ssrc, slot.fec.map(|(_, ssrc)| ssrc));
        let known: BTreeMap<_, _> = played
            .iter()
            .map(|slot| (slot.mid.clone(), ssrcs(slot)))
            .collect();
        let taken = known
            .values()
            .flat_map(|(ssrc, rtx, fec)| [Some(*ssrc), *rtx, *fec]);
        let taken = taken
            .flatten()
            .chain(record.map(|record| record.feedback_ssrc))
            .collect();
        Self { known, taken }
    }

    fn fresh(&mut self) -> Result<u32, Problem> {
        loop {
            let ssrc = ssrc()?;
            if self.taken.insert(ssrc) {
                return Ok(ssrc);
            }
        }
    }

    fn or_fresh(&mut self, known: Option<u32>) -> Result<u32, Problem> {
        match known {
            Some(ssrc) => Ok(ssrc),
            None => self.fresh(),
        }
    }

    fn sender(&mut self, mid: &str, msid: Msid) -> Result<Sender, Problem> {
        let known = self.known.get(mid).copied();
        Ok(Sender {
            msid,
            ssrc: self.or_fresh(known.map(|(ssrc, _, _)| ssrc))?,
            rtx_ssrc: self.or_fresh(known.and_then(|(_, rtx, _)| rtx))?,
            fec_ssrc: self.or_fresh(known.and_then(|(_, _, fec)| fec))?,
        })
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

/// Rows of a track that is published already, stream by stream.
fn take_rows(track: &mut Published, old: Option<&Published>) {
    let Some(old) = old else { return };
    track.row = old.row;
    for (index, encoding) in track.encodings.iter_mut().enumerate() {
        let same = match encoding.rid.is_empty() {
            true => old
                .encodings
                .get(index)
                .filter(|known| known.rid.is_empty()),
            false => old.encodings.iter().find(|known| known.rid == encoding.rid),
        };
        encoding.row = same.map_or_else(Link::default, |same| same.row);
    }
}

fn encoding_rows(track: &Published) -> Vec<u32> {
    track
        .encodings
        .iter()
        .map(|encoding| encoding.row.row)
        .collect()
}

/// A track as rooms know it.
fn publish(key: Key, track: &Published, asked: &TrackOffer) -> Publish {
    let stream = match (&asked.stream, asked.source) {
        (Some(stream), _) => stream.clone(),
        (None, Source::Camera | Source::Microphone) => "camera".to_owned(),
        (None, Source::ScreenShare | Source::ScreenShareAudio) => "screen".to_owned(),
        (None, Source::Other) => asked.cid.clone(),
    };
    let layer = |(index, encoding): (usize, &crate::record::PublishedEncoding)| {
        let by_rid = asked.layers.iter().find(|layer| layer.rid == encoding.rid);
        let mut layer = by_rid
            .or(asked.layers.get(index))
            .cloned()
            .unwrap_or_default();
        layer.rid.clone_from(&encoding.rid);
        layer
    };
    Publish {
        key,
        id: track.id,
        cid: asked.cid.clone(),
        kind: track.kind,
        codec: track.codec.clone(),
        source: match (asked.source, track.kind) {
            // What it says must be possible.
            (Source::Camera | Source::ScreenShare, Kind::Audio)
            | (Source::Microphone | Source::ScreenShareAudio, Kind::Video) => Source::Other,
            (source, _) => source,
        },
        name: asked.name.clone(),
        stream,
        layers: track.encodings.iter().enumerate().map(layer).collect(),
        scalability_mode: asked.scalability_mode.clone(),
        encrypted: asked.encrypted,
        muted: asked.muted,
    }
}
