//! What a WHEP viewer may be sent of what it plays, and what it chooses.

use super::commands::no_such_session;
use super::rates::Flow;
use super::{Core, Key};
use crate::record::{Bounds, Kind, Played, Published};
use crate::session::Session;
use ion_api::backend::SessionRef;
use ion_api::model::Role;
use ion_api::problem::Problem;
use ion_api::signal::PublicationId;
use ion_api::whep::extensions::{LayerSelection, PlayableLayer, Playing};
use ion_tables::{Counter, Encoding, RowKind};
use std::time::Instant;

impl Core {
    fn viewer(&self, session: &SessionRef) -> Option<(Key, &Session)> {
        let key = self.find(session).ok()?;
        let found = self.sessions.get(&key)?;
        (session.role == Role::Viewer).then_some((key, found))
    }

    fn track_in(&self, viewer: Key, slot: usize) -> Option<(PublicationId, &Published)> {
        let bound = self.rooms.bound(viewer).get(slot).copied().flatten()?;
        Some((bound, self.published(bound)?.1))
    }

    pub(super) fn playing(&self, session: &SessionRef) -> Option<Playing> {
        let (key, session) = self.viewer(session)?;
        let mut playing = Playing::default();
        for (index, slot) in session.record.played().iter().enumerate() {
            let Some((bound, track)) = self.track_in(key, index) else {
                continue;
            };
            playing.active = true;
            let viewers = self.rooms.players(bound).count();
            playing.viewers = playing
                .viewers
                .max(u32::try_from(viewers).unwrap_or(u32::MAX));
            if slot.kind == Kind::Video {
                let layers = self.playable_layers(track);
                playing.layers.insert(slot.section.to_string(), layers);
            }
        }
        Some(playing)
    }

    /// The highest first, as the draft lists them.
    fn playable_layers(&self, track: &Published) -> Vec<PlayableLayer> {
        let mut layers: Vec<PlayableLayer> = track
            .encodings
            .iter()
            .map(|encoding| {
                let row = encoding.row.row;
                let bps = self.rates.bps(RowKind::Encoding, row, Flow::Received);
                PlayableLayer {
                    rid: Some(encoding.rid.clone()).filter(|rid| !rid.is_empty()),
                    spatial_layer_id: None,
                    bitrate: Some(bps).filter(|&bps| bps > 0),
                }
            })
            .collect();
        if let ([encoding], [whole]) = (&track.encodings[..], &layers[..]) {
            let counters = self
                .programmer
                .tables()
                .counters::<Encoding>(encoding.row.row);
            let rates = counters.map(|counters| counters.spatial_bps.iter().map(Counter::load));
            let rates: Vec<u64> = rates
                .into_iter()
                .flatten()
                .take_while(|&bps| bps > 0)
                .collect();
            if rates.len() > 1 {
                let layer = |(spatial, bps): (u8, u64)| PlayableLayer {
                    spatial_layer_id: Some(spatial),
                    bitrate: Some(bps),
                    ..whole.clone()
                };
                layers = (0..).zip(rates).map(layer).collect();
            } else if whole.rid.is_none() {
                // A layer has to have a name.
                layers[0].spatial_layer_id = Some(0);
            }
        }
        layers.reverse();
        layers
    }

    pub(super) fn select_layers(
        &mut self,
        now: Instant,
        session: &SessionRef,
        selection: &LayerSelection,
    ) -> Result<(), Problem> {
        let (key, found) = self.viewer(session).ok_or_else(no_such_session)?;
        let slots = found.record.played();
        let wanted = |slot: &Played| match &selection.media_id {
            Some(media) => slot.section.to_string() == *media,
            None => true,
        };
        let slot = slots
            .iter()
            .position(|slot| slot.kind == Kind::Video && wanted(slot))
            .ok_or_else(|| Problem::unprocessable("there is no such video in this session"))?;
        let track = self.track_in(key, slot).map(|(_, track)| track);
        let bounds = bounds(selection, track)?;
        let mut record = found.record.clone();
        if let crate::record::Media::Play(slots) = &mut record.media {
            slots[slot].bounds = bounds;
        }
        self.put_record(now, &record)?;
        if let Some(session) = self.sessions.get_mut(&key) {
            session.record = record;
        }
        self.write_subscription(key, slot);
        Ok(())
    }
}

/// A selection as bounds on what is sent of a track.
fn bounds(selection: &LayerSelection, track: Option<&Published>) -> Result<Bounds, Problem> {
    if selection.max_width.is_some() || selection.max_height.is_some() {
        let text = "this server does not know the sizes of layers: name a layer";
        return Err(Problem::unprocessable(text));
    }
    let place = |rid: &String| {
        let mut encodings = track.into_iter().flat_map(|track| &track.encodings);
        let place = encodings.position(|encoding| encoding.rid == *rid);
        let place = place.and_then(|place| u8::try_from(place).ok());
        place.ok_or_else(|| Problem::unprocessable("there is no such encoding"))
    };
    let lower = |one: Option<u8>, other: Option<u8>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Ok(Bounds {
        encoding: selection.rid.as_ref().map(place).transpose()?,
        spatial: lower(selection.spatial_layer_id, selection.max_spatial_layer_id),
        temporal: lower(selection.temporal_layer_id, selection.max_temporal_layer_id),
    })
}
