//! What workers say of published media: who speaks, and which layers anybody watches.

use super::Core;
use crate::record::{Kind, Link};
use crate::rooms::Input;
use crate::watch::{Changed, Watch, Watchable};
use ion_api::signal::PublicationId;
use ion_tables::{Encoding, Event, EventKind, RowKind};
use std::collections::BTreeMap;
use std::time::Instant;

/// Something that changed about published media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// Somebody begins or ceases to speak on a track.
    Speaking {
        /// Row of the track.
        track: Link,
        /// -dBov (RFC 6464) when it began; `None` is silence.
        level: Option<u8>,
    },
    /// Layers of a track are watched, or no longer.
    Watched(Changed),
}

/// What is known of published media.
#[derive(Debug, Default)]
pub(super) struct Live {
    watch: Watch,
    /// Tracks on which somebody speaks, and how loud it began, -dBov.
    speaking: BTreeMap<Link, u8>,
    /// Workers said something of layers since the last look.
    due: bool,
}

impl Live {
    /// How loud somebody began to speak on a track, -dBov, if somebody does.
    pub(super) fn speaking(&self, track: Link) -> Option<u8> {
        self.speaking.get(&track).copied()
    }

    /// Viewers of tracks came or went.
    pub(super) fn look(&mut self) {
        self.due = true;
    }

    /// A track is no more.
    pub(super) fn forget(&mut self, track: Link) {
        self.speaking.remove(&track);
    }

    /// Whether an encoding of a track, or one above it, is watched.
    pub(super) fn is_watched(&self, track: Link, layer: usize) -> bool {
        let watched = self.watch.watched(track);
        watched.is_none_or(|watched| watched.get(layer).copied().unwrap_or(true))
    }
}

impl Core {
    /// Takes in what a worker says.
    pub(super) fn media_said(&mut self, now: Instant, worker: u16, event: &Event) {
        self.live.watch.event(now, worker, event);
        self.seat_taken(now, event);
        self.live.due |= matches!(
            event.kind,
            EventKind::LayerWatched | EventKind::LayerUnwatched
        );
        let level = match event.kind {
            EventKind::SpeechStarted => Some(u8::try_from(event.value).unwrap_or(u8::MAX)),
            EventKind::SpeechEnded => None,
            _ => return,
        };
        let tables = self.programmer.tables();
        let encoding = tables.follow::<Encoding>(event.row);
        if event.table == RowKind::Encoding
            && let Some(encoding) = encoding
        {
            let track = encoding.track.into();
            self.media_event(now, MediaEvent::Speaking { track, level });
        }
    }

    /// Looks at which layers are watched, if there is something new or `all` that may be over.
    pub(super) fn look_at_layers(&mut self, now: Instant, all: bool) {
        if !std::mem::take(&mut self.live.due) && !all {
            return;
        }
        let published = self
            .sessions
            .values()
            .filter(|session| session.is_connected());
        let tracks = published.flat_map(|session| session.record.published());
        let tracks: Vec<Watchable> = tracks
            .filter(|track| track.kind == Kind::Video)
            .map(|track| Watchable {
                track: track.row,
                encodings: track.encodings.iter().map(|e| e.row).collect(),
                workers: self.masks.get(&track.row.row).copied().unwrap_or(0),
            })
            .collect();
        for changed in self.live.watch.update(now, &tracks) {
            self.media_event(now, MediaEvent::Watched(changed));
        }
    }

    /// Published media changed: the one place that all such changes go through.
    fn media_event(&mut self, now: Instant, event: MediaEvent) {
        tracing::debug!(?event, "media");
        let input = match event {
            MediaEvent::Speaking { track, level } => {
                match level {
                    Some(level) => self.live.speaking.insert(track, level),
                    None => self.live.speaking.remove(&track),
                };
                let publication = self.publication_of(track);
                publication.map(|publication| Input::Speaking { publication, level })
            }
            MediaEvent::Watched(changed) => {
                let (publication, watched) = (self.publication_of(changed.track), changed.watched);
                publication.map(|publication| Input::Watched {
                    publication,
                    watched,
                })
            }
        };
        if let Some(input) = input {
            self.happen(now, input);
        }
    }

    /// The publication whose track has this row.
    pub(super) fn publication_of(&self, row: Link) -> Option<PublicationId> {
        let tracks = self
            .sessions
            .values()
            .flat_map(|session| session.record.published());
        tracks
            .filter(|track| track.row == row)
            .map(|track| track.id)
            .next()
    }
}
