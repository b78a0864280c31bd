use super::link;
use crate::counters::Renew;
use crate::engine::Engine;
use crate::subscription::{Subscriber, Used};
use crate::time::Micros;
use crate::transport::{Sent, StreamKind};
use ion_tables::{
    Encoding as EncodingRow, EncodingState, ExtensionKind, RowLink,
    Subscription as SubscriptionRow, SubscriptionConfig, TrackConfig,
};
use ion_wire::CodecKind;

impl Engine {
    pub(super) fn subscription_changed(&mut self, now: Micros, row: u32) {
        let Some(config) = self.read::<SubscriptionRow>(now, row) else {
            return;
        };
        let link = link(row, &config);
        let own = config.head.live == 1 && config.worker == self.worker;
        let listed = own.then_some((config.transport.row, config.track.row));
        let before = self.subscriptions[row as usize].as_deref();
        let track_before = before.map(|before| before.track);
        let ends = before.is_some_and(|before| {
            !own || before.link != link
                || before.config.transport != config.transport
                || before.config.ssrc != config.ssrc
                || before.config.rtx_ssrc != config.rtx_ssrc
                || before.config.fec_ssrc != config.fec_ssrc
        });
        // What else follows looks at all viewers of a track: not for each row that a rescan reads as it was, or that is
        // another worker's.
        let watches = |config: &SubscriptionConfig| (config.track, config.max_layer, config.flags);
        let mut is_new = match before {
            Some(before) => ends || watches(&before.config) != watches(&config),
            None => own,
        };
        if ends {
            self.end_subscription(row);
        }
        is_new |= self.children.list_subscription(row, listed);
        if own {
            self.begin_subscription(now, link, config);
        }
        if is_new {
            for track in track_before.into_iter().chain([config.track]) {
                self.update_feeds(now, track);
            }
        }
        self.retarget_one(now, row);
        if is_new {
            self.watch_layers(now, config.track);
        }
    }

    pub(super) fn update_feeds(&mut self, now: Micros, track: RowLink) {
        let Some(config) = self.tracks.get(track.row as usize).and_then(Option::as_ref) else {
            return;
        };
        let (track, config) = (config.link, config.config);
        for encoding in config.encodings {
            if self.encoding(encoding).is_some() {
                self.update_feed(now, encoding.row, track);
            }
        }
        if config.seat > 0 {
            // Any source may come to have it.
            for row in self.children.stage(config.stage.row).sources.clone() {
                let source = self.tracks[row as usize].as_deref();
                if let Some(source) = source.filter(|track| track.config.seat == 0) {
                    self.update_feeds(now, source.link);
                }
            }
        }
    }

    fn begin_subscription(&mut self, now: Micros, link: RowLink, config: SubscriptionConfig) {
        let row = link.row;
        let track = self.track(config.track).copied();
        let audio = track.map(|track| track.config.kind == TrackConfig::AUDIO);
        let flat = track.is_some_and(|track| self.is_flat(&track.config, config.transport));
        if let Some(subscriber) = &mut self.subscriptions[row as usize] {
            subscriber.configure(config, audio);
            subscriber.set_flat(flat);
            return;
        }
        let (Some(track), Some(audio)) = (track, audio) else {
            return;
        };
        let encodings = track.config.encodings;
        let tables = self.tables.tables().clone();
        let make = self.config.estimator;
        let Some(transport) = self.transport(config.transport) else {
            return;
        };
        if !audio && transport.bandwidth.is_none() {
            transport.watch_bandwidth(make);
        }
        let media = Sent {
            subscription: row,
            kind: StreamKind::Media,
        };
        if transport.is_ledger_full() {
            return;
        }
        let Some(used) = transport.claim(config.ssrc, media) else {
            return;
        };
        let rtx = Sent {
            kind: StreamKind::Rtx,
            ..media
        };
        let fec = Sent {
            kind: StreamKind::Fec,
            ..media
        };
        let used = Used {
            media: used,
            rtx: transport.claim(config.rtx_ssrc, rtx),
            fec: transport.claim(config.fec_ssrc, fec),
        };
        let state = tables.state::<SubscriptionRow>(row).map(|cell| cell.read());
        let state = state.and_then(Result::ok).unwrap_or_default();
        let tracks = self.children.subscriptions_of_transport[config.transport.row as usize].len();
        self.scratch.claims.reserve(tracks);
        if let Some(counters) = tables.counters::<SubscriptionRow>(row) {
            counters.renew(link.generation);
        }
        let mut subscriber = Subscriber::new(config, link, audio, state, used);
        subscriber.set_flat(flat);
        let source = encodings.into_iter().find(|encoding| {
            encoding.is_some() && encoding.row.checked_add(1) == Some(subscriber.state.encoding)
        });
        if let Some(encoding) = source
            && let Some(Ok(state)) = tables
                .state::<EncodingRow>(encoding.row)
                .map(|cell| cell.read())
            && state.generation == encoding.generation
        {
            subscriber.resume(encoding, state.ssrc, next_position(&state));
        }
        let resumed = subscriber.source;
        // Before anything is sent: what another life of this SSRC has used must not be
        // forgotten with this engine.
        let state = *subscriber.snapshot();
        self.tables.store::<SubscriptionRow>(row, &state);
        self.subscriptions[row as usize] = Some(Box::new(subscriber));
        if let Some(source) = resumed {
            // What was lost before is in no history.
            self.want_keyframe(now, source.encoding);
        }
    }

    /// Whether a viewer can make out one spatial layer of a track only. The frames of a picture in AV1 are told
    /// apart, and joined, by the dependency descriptor alone: players without it fail at the second one.
    fn is_flat(&mut self, track: &TrackConfig, transport: RowLink) -> bool {
        let described = self.transport(transport).is_some_and(|transport| {
            let extensions = &transport.config.extensions;
            extensions.id(ExtensionKind::DependencyDescriptor).is_some()
        });
        track.codec == u8::from(CodecKind::Av1) && !described
    }

    pub(super) fn end_subscription(&mut self, row: u32) {
        let Some(mut subscriber) = self.subscriptions[row as usize].take() else {
            return;
        };
        let state = *subscriber.snapshot();
        if let Some(transport) = self.transport(subscriber.config.transport) {
            transport.disclaim(subscriber.config.ssrc, state.srtp_next);
            transport.disclaim(subscriber.config.rtx_ssrc, state.rtx_srtp_next);
            transport.disclaim(subscriber.config.fec_ssrc, state.fec_srtp_next);
        }
    }
}

/// The position that follows all that a stored state has taken in.
fn next_position(state: &EncodingState) -> u64 {
    state
        .srtp_next
        .checked_add_signed(state.position_offset)
        .unwrap_or(0)
}
