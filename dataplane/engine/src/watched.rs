//! Which encodings somebody here is sent, or would be if they came: an encoder need not make what nobody watches.
//!
//! Each worker tells of its own viewers, and again from time to time of what they do not watch: what the control plane
//! has not heard for [`LAYERS_RETOLD_US`] and some more no longer holds, so that no event lost stops a layer for good.

use crate::engine::Engine;
use crate::limits::{LAYERS_RETOLD_US, LAYERS_UNWATCHED_US};
use crate::time::Micros;
use ion_tables::{EventKind, RowKind, RowLink, TrackConfig};

/// Whether viewers on this worker watch an encoding.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watched {
    /// Since when nobody does.
    unwatched_since: Option<Micros>,
    /// When that was last told; `None`: somebody does, as far as was told.
    told: Option<Micros>,
}

impl Watched {
    /// Takes in how it is now. Returns what is to be told: whether somebody watches.
    fn update(&mut self, now: Micros, watched: bool) -> Option<bool> {
        if watched {
            self.unwatched_since = None;
            return self.told.take().map(|_| true);
        }
        let since = *self.unwatched_since.get_or_insert(now);
        let due = match self.told {
            None => now.since(since) >= LAYERS_UNWATCHED_US,
            Some(told) => now.since(told) >= LAYERS_RETOLD_US,
        };
        if due {
            self.told = Some(now);
        }
        due.then_some(false)
    }

    /// Whether it was told that nobody watches, which has to be told again.
    pub(crate) fn is_told_unwatched(&self) -> bool {
        self.told.is_some()
    }
}

impl Engine {
    /// Tells which encodings of a track nobody here is sent any more, and which somebody is again.
    pub(crate) fn watch_layers(&mut self, now: Micros, track: RowLink) {
        let Some(config) = self.track(track).map(|track| track.config) else {
            return;
        };
        if config.kind != TrackConfig::VIDEO {
            return;
        }
        for (layer, link) in config.encodings.into_iter().enumerate() {
            if link.is_some() {
                self.watch_layer(now, track, &config, (layer, link));
            }
        }
    }

    fn watch_layer(
        &mut self,
        now: Micros,
        track: RowLink,
        config: &TrackConfig,
        (layer, link): (usize, RowLink),
    ) {
        let watched = self.children.subscriptions_of_track[track.row as usize]
            .iter()
            .filter_map(|&subscription| self.subscriptions[subscription as usize].as_deref())
            .any(|s| s.track == track && s.would_take(link, layer, &config.encodings));
        let feed = self.encoding(link).and_then(|e| e.feed.as_deref_mut());
        let kind = match feed.and_then(|feed| feed.watched.update(now, watched)) {
            Some(true) => EventKind::LayerWatched,
            Some(false) => EventKind::LayerUnwatched,
            None => return,
        };
        self.event(now, kind, RowKind::Encoding, link, layer as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_watches_is_told_after_a_while_and_again_until_somebody_does() {
        let mut watched = Watched::default();
        let mut told = Vec::new();
        for ms in (0..60_000_u64).step_by(200) {
            let somebody = !(10_000..40_000).contains(&ms);
            let update = watched.update(Micros(ms * 1_000), somebody);
            told.extend(update.map(|somebody| (ms, somebody)));
        }
        let retold = usize::try_from(LAYERS_RETOLD_US / 1_000).unwrap();
        let mut expected: Vec<(u64, bool)> = (13_000..40_000)
            .step_by(retold)
            .map(|ms| (ms, false))
            .collect();
        expected.push((40_000, true));
        assert_eq!(told, expected);
    }

    #[test]
    fn a_moment_without_viewers_is_not_told() {
        let mut watched = Watched::default();
        assert_eq!(watched.update(Micros(0), false), None);
        assert_eq!(watched.update(Micros(LAYERS_UNWATCHED_US - 1), false), None);
        assert_eq!(watched.update(Micros(LAYERS_UNWATCHED_US), true), None);
        assert_eq!(watched.update(Micros(LAYERS_UNWATCHED_US + 1), false), None);
    }
}
