//! What an offer changes of a participant's record, and the rows that takes.

use super::super::Core;
use super::super::commands::{extension_pairs, take_remote};
use crate::programmer::TableFull;
use crate::record::{Kind, Link, Media, Played, Published, Record};
use crate::rooms::{Key, Publish, Slot};
use ion_api::signal::PublicationId;
use ion_api::signal::client::{Offer, TrackOffer};
use ion_api::signal::model::Source;
use ion_api::signal::server::{Problem, Reason};
use ion_sdp::duplex::{DuplexAnswer, Section};
use ion_tables::{Encoding, Subscription, Track, Transport};
use std::collections::{BTreeMap, BTreeSet};

/// What an offer brings about, while it may still fail.
pub(super) struct Change {
    pub(super) record: Record,
    /// Rows that the record has and the one before had not.
    pub(super) reserved: Vec<Reserved>,
    /// Rows that the one before had and the record has not.
    pub(super) released: Vec<Reserved>,
    pub(super) publish: Vec<Publish>,
    pub(super) slots: Vec<Slot>,
    pub(super) declined: BTreeMap<String, Problem>,
}

#[derive(Clone, Copy)]
pub(super) enum Reserved {
    Transport(Link),
    Track(Link),
    Encoding(Link),
    Subscription(Link),
}

impl Core {
    /// Works out what the record becomes, and reserves what it needs; all or none.
    pub(super) fn change(
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

    fn change_transport(&mut self, change: &mut Change) -> Result<(), TableFull> {
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
    ) -> Result<(), TableFull> {
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
    ) -> Result<(), TableFull> {
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

    pub(super) fn release_reserved(&mut self, rows: &[Reserved]) {
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
