use ion_tables::Capacities;
use std::collections::HashMap;

/// Which rows refer to which, by row number and whatever life, so that rows may be
/// announced in any order: what a row means is worked out again whenever something
/// that it refers to changes.
pub(crate) struct Children {
    pub(crate) encodings_of_transport: Vec<Vec<u32>>,
    pub(crate) subscriptions_of_transport: Vec<Vec<u32>>,
    pub(crate) subscriptions_of_track: Vec<Vec<u32>>,
    /// For each subscription of this worker, the transport and track it is listed at.
    listed_subscriptions: Vec<Option<(u32, u32)>>,
    /// For each encoding of this worker, the transport it is listed at.
    listed_encodings: Vec<Option<u32>>,
    /// The stages, by the row of their first seat.
    stages: HashMap<u32, Stage>,
    /// For each track of a stage, that row and whether it is a seat.
    listed_tracks: Vec<Option<(u32, bool)>>,
    /// Encodings that have a feed.
    pub(crate) feeds: Vec<u32>,
}

/// The tracks of a stage.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) seats: Vec<u32>,
    pub(crate) sources: Vec<u32>,
}

const NO_STAGE: &Stage = &Stage {
    seats: Vec::new(),
    sources: Vec::new(),
};

impl Children {
    pub(crate) fn new(capacities: &Capacities) -> Self {
        let lists = |len: u32| vec![Vec::new(); len as usize];
        Self {
            encodings_of_transport: lists(capacities.transports),
            subscriptions_of_transport: lists(capacities.transports),
            subscriptions_of_track: lists(capacities.tracks),
            listed_subscriptions: vec![None; capacities.subscriptions as usize],
            listed_encodings: vec![None; capacities.encodings as usize],
            stages: HashMap::new(),
            listed_tracks: vec![None; capacities.tracks as usize],
            feeds: Vec::new(),
        }
    }

    /// The tracks of the stage whose first seat is in this row.
    pub(crate) fn stage(&self, row: u32) -> &Stage {
        self.stages.get(&row).unwrap_or(NO_STAGE)
    }

    /// Lists a track at its stage, as a seat or a source of it, or nowhere.
    pub(crate) fn list_track(&mut self, row: u32, at: Option<(u32, bool)>) {
        let before = std::mem::replace(&mut self.listed_tracks[row as usize], at);
        if before == at {
            return;
        }
        if let Some((stage, seat)) = before
            && let Some(list) = self.stages.get_mut(&stage)
        {
            list.of(seat).retain(|&listed| listed != row);
            if list.seats.is_empty() && list.sources.is_empty() {
                self.stages.remove(&stage);
            }
        }
        if let Some((stage, seat)) = at {
            self.stages.entry(stage).or_default().of(seat).push(row);
        }
    }

    /// Lists a subscription of this worker at its transport and track, or nowhere. Returns whether it was elsewhere.
    pub(crate) fn list_subscription(&mut self, row: u32, at: Option<(u32, u32)>) -> bool {
        let before = self.listed_subscriptions[row as usize];
        if before == at {
            return false;
        }
        if let Some((transport, track)) = before {
            remove(&mut self.subscriptions_of_transport, transport, row);
            remove(&mut self.subscriptions_of_track, track, row);
        }
        let at = at.filter(|&(transport, track)| {
            (transport as usize) < self.subscriptions_of_transport.len()
                && (track as usize) < self.subscriptions_of_track.len()
        });
        if let Some((transport, track)) = at {
            self.subscriptions_of_transport[transport as usize].push(row);
            self.subscriptions_of_track[track as usize].push(row);
        }
        self.listed_subscriptions[row as usize] = at;
        true
    }

    /// Lists an encoding of this worker at its transport, or nowhere.
    pub(crate) fn list_encoding(&mut self, row: u32, at: Option<u32>) {
        let before = self.listed_encodings[row as usize];
        if before == at {
            return;
        }
        if let Some(transport) = before {
            remove(&mut self.encodings_of_transport, transport, row);
        }
        let at = at.filter(|&t| (t as usize) < self.encodings_of_transport.len());
        if let Some(transport) = at {
            self.encodings_of_transport[transport as usize].push(row);
        }
        self.listed_encodings[row as usize] = at;
    }
}

impl Stage {
    fn of(&mut self, seat: bool) -> &mut Vec<u32> {
        if seat {
            &mut self.seats
        } else {
            &mut self.sources
        }
    }
}

fn remove(lists: &mut [Vec<u32>], list: u32, row: u32) {
    if let Some(list) = lists.get_mut(list as usize) {
        list.retain(|&listed| listed != row);
    }
}
