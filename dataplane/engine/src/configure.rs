use crate::arrivals::Arrivals;
use crate::counters::Renew;
use crate::encoding::{Encoding, Feed, Receiver};
use crate::engine::{Engine, Route, Track};
use crate::limits::{REPORT_INTERVAL_US, TORN_RETRY_US, TORN_ROWS, UPKEEP_US};
use crate::stage::Part;
use crate::time::Micros;
use crate::timers::TimerKind;
use crate::transport::Transport;
use crate::twcc::TwccReceiver;
use ion_tables::command::Command;
use ion_tables::rows::HasHead;
use ion_tables::{
    Encoding as EncodingRow, EncodingConfig, ExtensionKind, Row, RowKind, RowLink, RowRef,
    Track as TrackRow, TrackConfig, Transport as TransportRow, TransportConfig,
};
use std::net::SocketAddr;

mod subscriptions;

fn link<C: HasHead>(row: u32, config: &C) -> RowLink {
    config.head().link(row)
}

impl Engine {
    /// Takes in what the control plane announced; the first call reads all rows.
    /// Allocates; call it once at the start, and whenever the command ring is not
    /// empty, between batches.
    pub fn configure(&mut self, now: Micros) {
        if !self.scanned {
            self.scanned = true;
            self.rescan(now);
        }
        while let Some(command) = self.tables.commands().take() {
            match command {
                Command::Changed(row) => self.row_changed(now, row),
                Command::Rescan => self.rescan(now),
            }
        }
    }

    fn rescan(&mut self, now: Micros) {
        self.tables.counters().rescans.add(1);
        let capacities = self.tables.tables().capacities();
        for kind in RowKind::ALL {
            for row in 0..capacities.of(kind) {
                self.row_changed(now, RowRef { kind, row });
            }
        }
    }

    fn row_changed(&mut self, now: Micros, row: RowRef) {
        match row.kind {
            RowKind::Transport => self.transport_changed(now, row.row),
            RowKind::Track => self.track_changed(now, row.row),
            RowKind::Encoding => self.encoding_changed(now, row.row),
            RowKind::Subscription => self.subscription_changed(now, row.row),
        }
    }

    /// The config of a row: `None` if there is no such row or it is torn, and then
    /// nothing is changed until it can be read.
    fn read<R: Row>(&mut self, now: Micros, row: u32) -> Option<R::Config> {
        let config = self.tables.tables().config::<R>(row)?.read();
        if config.is_err() {
            self.read_later(now, RowRef { kind: R::KIND, row });
        }
        config.ok()
    }

    /// A row was torn: its writer stopped in the middle of a write, and maybe only paused.
    fn read_later(&mut self, now: Micros, row: RowRef) {
        self.tables.counters().rows_torn.add(1);
        if self.torn.len() < TORN_ROWS && !self.torn.contains(&row) {
            self.torn.push(row);
        }
        self.timers.arm(TimerKind::TornRows, 0, now + TORN_RETRY_US);
    }

    /// Reads the rows again that were torn. What is still torn is read later again.
    pub(crate) fn read_torn(&mut self, now: Micros) {
        let torn = std::mem::take(&mut self.torn);
        if torn.len() == TORN_ROWS {
            // Maybe there were more than are remembered.
            return self.rescan(now);
        }
        for row in torn {
            self.row_changed(now, row);
        }
    }

    fn transport_changed(&mut self, now: Micros, row: u32) {
        let Some(config) = self.read::<TransportRow>(now, row) else {
            return;
        };
        let live = config.head.live == 1;
        self.set_route(row, live.then_some(&config));
        if self.config.watch_transports {
            self.changed_transports.push(row);
        }
        let own = live && config.worker == self.worker;
        let before = self.transports[row as usize].as_ref();
        if before.is_none() && !own {
            return;
        }
        let link = link(row, &config);
        if before.is_some_and(|before| !own || before.link != link) {
            self.end_transport(now, row);
        }
        if own {
            self.begin_transport(now, link, config);
        }
        for encoding in self.children.encodings_of_transport[row as usize].clone() {
            self.encoding_changed(now, encoding);
        }
        for subscription in self.children.subscriptions_of_transport[row as usize].clone() {
            self.subscription_changed(now, subscription);
        }
    }

    fn set_route(&mut self, row: u32, config: Option<&TransportConfig>) {
        let address = config.and_then(|config| config.remote.socket_addr());
        let place = &mut self.addresses[row as usize];
        if *place == address
            && address.is_some_and(|address| {
                self.routes
                    .get(&address)
                    .is_some_and(|route| route.transport != row)
            })
        {
            // A younger transport of the same client has taken the address over.
            return;
        }
        if *place != address
            && let Some(before) = place.take()
            && self.routes.get(&before).is_some_and(|r| r.transport == row)
        {
            self.give_up_route(before);
        }
        if let (Some(address), Some(config)) = (address, config) {
            self.addresses[row as usize] = Some(address);
            let route = Route {
                transport: row,
                worker: config.worker,
            };
            self.routes.insert(address, route);
        }
    }

    /// Nobody has this address any more, but a transport that another had taken it from.
    fn give_up_route(&mut self, address: SocketAddr) {
        let rows = 0_u32..;
        let other = rows
            .zip(&self.addresses)
            .find(|(_, place)| **place == Some(address))
            .and_then(|(row, _)| {
                let config = self.tables.tables().config::<TransportRow>(row)?.read();
                Some((row, config.ok().filter(|config| config.head.live == 1)?))
            });
        match other {
            Some((transport, config)) => {
                let worker = config.worker;
                self.routes.insert(address, Route { transport, worker });
            }
            None => {
                self.routes.remove(&address);
            }
        }
    }

    fn begin_transport(&mut self, now: Micros, link: RowLink, config: TransportConfig) {
        let row = link.row;
        let tables = self.tables.tables().clone();
        let slot = &mut self.transports[row as usize];
        if slot.is_none() {
            let state = tables.state::<TransportRow>(row).map(|cell| cell.read());
            let state = state.and_then(Result::ok).unwrap_or_default();
            if let Some(counters) = tables.counters::<TransportRow>(row) {
                counters.renew(link.generation);
            }
            // Spread over the interval, so that not all report at once.
            let stagger = u64::from(row.wrapping_mul(0x9E37_79B1)) % REPORT_INTERVAL_US;
            self.timers.arm(TimerKind::Report, row, now + stagger);
            *slot = Some(Box::new(Transport::new(link, config, state)));
        }
        let Some(transport) = slot else { return };
        let headers_change = transport.config.extensions != config.extensions
            || transport.config.flags != config.flags;
        transport.configure(config);
        if headers_change && transport.bandwidth.is_some() {
            // Another way of feedback: what is known of the network is learned anew.
            transport.watch_bandwidth(self.config.estimator);
        }
        match tables.secrets(row).map(|cell| cell.read()) {
            Some(Ok(secrets)) => transport.rekey(&secrets),
            _ => {
                let kind = RowKind::Transport;
                self.read_later(now, RowRef { kind, row });
            }
        }
        if headers_change {
            for &row in &self.children.subscriptions_of_transport[row as usize] {
                if let Some(subscriber) = &mut self.subscriptions[row as usize] {
                    subscriber.unlimit();
                    subscriber.plain_floor = subscriber.next_index();
                }
            }
        }
    }

    fn end_transport(&mut self, now: Micros, row: u32) {
        for subscription in self.children.subscriptions_of_transport[row as usize].clone() {
            self.end_subscription(subscription);
        }
        for encoding in self.children.encodings_of_transport[row as usize].clone() {
            self.end_encoding(now, encoding);
        }
        self.transports[row as usize] = None;
    }

    fn track_changed(&mut self, now: Micros, row: u32) {
        let Some(config) = self.read::<TrackRow>(now, row) else {
            return;
        };
        let track = (config.head.live == 1).then(|| {
            let link = link(row, &config);
            let part = Part::default();
            Box::new(Track { link, config, part })
        });
        let before = std::mem::replace(&mut self.tracks[row as usize], track);
        self.place_track(now, row, before.as_deref());
        if let (Some(before), Some(after)) = (&before, &self.tracks[row as usize])
            && before.is_same_but_for_workers(after)
        {
            return;
        }
        let mut encodings: Vec<u32> = before.iter().flat_map(|t| links(&t.config)).collect();
        encodings.extend(links(&config));
        for encoding in encodings {
            self.encoding_changed(now, encoding);
        }
        for subscription in self.children.subscriptions_of_track[row as usize].clone() {
            self.subscription_changed(now, subscription);
        }
        if config.seat > 0 {
            self.update_feeds(now, link(row, &config));
        }
        self.retarget(now, row);
    }

    /// Takes in which stage a track is on, now that its row was read.
    fn place_track(&mut self, now: Micros, row: u32, before: Option<&Track>) {
        let track = self.tracks[row as usize].as_deref();
        let config = track.map(|track| track.config);
        let at = config.filter(|config| config.stage.is_some());
        let at = at.map(|config| (config.stage.row, config.seat > 0));
        self.children.list_track(row, at);
        let same = |before: &&Track| {
            let place = |track: &Track| (track.link, track.config.stage, track.config.seat);
            track.is_some_and(|track| place(track) == place(before))
        };
        let kept = before.filter(same).map(|before| before.part);
        if let Some(before) = before.filter(|_| kept.is_none()) {
            self.leave_stage(now, before);
        }
        self.join_stage(now, row, kept.unwrap_or_default());
    }

    fn encoding_changed(&mut self, now: Micros, row: u32) {
        let Some(config) = self.read::<EncodingRow>(now, row) else {
            return;
        };
        let live = config.head.live == 1;
        let link = link(row, &config);
        let own = live && config.worker == self.worker;
        let Some(slot) = self.encodings.get(row as usize) else {
            return;
        };
        if slot
            .as_ref()
            .is_some_and(|before| !live || before.link != link)
        {
            self.end_encoding(now, row);
        }
        self.children
            .list_encoding(row, own.then_some(config.transport.row));
        if !live {
            return;
        }
        let slot = &mut self.encodings[row as usize];
        let encoding = slot.get_or_insert_with(|| Box::new(Encoding::new(link, config)));
        encoding.config = config;
        if own {
            self.begin_receiver(now, row, &config);
        } else {
            encoding.receiver = None;
        }
        self.update_feed(now, row, config.track);
        self.retarget(now, config.track.row);
    }

    fn begin_receiver(&mut self, now: Micros, row: u32, config: &EncodingConfig) {
        let tables = self.tables.tables().clone();
        let transport = self
            .transports
            .get_mut(config.transport.row as usize)
            .and_then(|slot| slot.as_deref_mut())
            .filter(|transport| transport.link == config.transport);
        let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
            return;
        };
        let Some(transport) = transport else {
            encoding.receiver = None;
            return;
        };
        if config.feedback & EncodingConfig::TRANSPORT_CC != 0 && transport.twcc.is_none() {
            transport.twcc = Some(TwccReceiver::new());
            transport.arrivals = None;
        }
        let by_packet = config.feedback & EncodingConfig::CCFB != 0 && transport.twcc.is_none();
        if by_packet && transport.arrivals.is_none() {
            transport.arrivals = Some(Box::new(Arrivals::new()));
        }
        let described = transport
            .config
            .extensions
            .id(ExtensionKind::DependencyDescriptor)
            .is_some_and(|_| encoding.frames_are_described());
        if let Some(receiver) = &mut encoding.receiver {
            if described {
                receiver.frames.expect_dependency();
            }
            receiver.expect_repair(config);
            return;
        }
        let state = tables.state::<EncodingRow>(row).map(|cell| cell.read());
        let state = state.and_then(Result::ok).unwrap_or_default();
        let mut receiver = Receiver::new(config, state);
        receiver.expect_repair(config);
        let resumed = receiver.ssrc != 0;
        receiver.resumed = resumed.then_some(now);
        if described {
            receiver.frames.expect_dependency();
        }
        if let Some(counters) = tables.counters::<EncodingRow>(row) {
            counters.renew(config.head.generation);
        }
        transport.resume_streams(row, now, &receiver.state);
        encoding.receiver = Some(Box::new(receiver));
        if resumed {
            let link = encoding.link;
            self.timers.arm(TimerKind::Upkeep, row, now + UPKEEP_US);
            // The history died with the worker before: what viewers lost then is gone.
            self.want_keyframe(now, link);
        }
    }

    /// Makes or ends the feed of an encoding, depending on whether its track has
    /// subscriptions here.
    fn update_feed(&mut self, now: Micros, row: u32, track: RowLink) {
        let wanted = self.track(track).is_some_and(|track| {
            let seats = self.children.stage(track.config.stage.row).seats.iter();
            let mut seats = seats.filter(|_| track.config.stage.is_some());
            self.has_subscribers(track.link.row) || seats.any(|&seat| self.has_subscribers(seat))
        });
        let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
            return;
        };
        if wanted && encoding.feed.is_none() {
            let mut feed = Feed::new(encoding.codec.is_video());
            if let Some(receiver) = &encoding.receiver {
                feed.last_packet = receiver.last_packet;
                feed.reported = receiver.mapping;
            }
            encoding.feed = Some(Box::new(feed));
            self.children.feeds.push(row);
            self.timers.arm(TimerKind::Upkeep, row, now);
        } else if !wanted {
            self.end_feed(row);
        }
    }

    /// Whether a live track has subscriptions here.
    fn has_subscribers(&self, row: u32) -> bool {
        let track = self.tracks[row as usize].as_deref();
        let subscriptions = &self.children.subscriptions_of_track[row as usize];
        subscriptions.iter().any(|&subscription| {
            let subscriber = self.subscriptions[subscription as usize].as_deref();
            subscriber.is_some_and(|s| track.is_some_and(|track| s.track == track.link))
        })
    }

    fn end_feed(&mut self, row: u32) {
        let Some(encoding) = self.encodings[row as usize].as_deref_mut() else {
            return;
        };
        if let Some(mut feed) = encoding.feed.take() {
            let pool = &mut self.pool;
            feed.pending
                .drain(..)
                .for_each(|packet| pool.release(packet));
            feed.history.clear(|packet| pool.release(packet));
            self.children.feeds.retain(|&fed| fed != row);
        }
    }

    fn end_encoding(&mut self, now: Micros, row: u32) {
        self.end_feed(row);
        let Some(encoding) = self.encodings[row as usize].take() else {
            return;
        };
        let transport = encoding.config.transport.row as usize;
        if let Some(Some(transport)) = self.transports.get_mut(transport) {
            transport.streams.retain(|stream| stream.encoding != row);
        }
        self.retarget(now, encoding.config.track.row);
    }

    /// The track of a link, if it is live and of that life.
    pub(crate) fn track(&self, link: RowLink) -> Option<&Track> {
        self.tracks
            .get(link.row as usize)?
            .as_deref()
            .filter(|track| track.link == link)
    }

    /// As [`track`](Self::track), to be changed.
    pub(crate) fn track_mut(&mut self, link: RowLink) -> Option<&mut Track> {
        self.tracks
            .get_mut(link.row as usize)?
            .as_deref_mut()
            .filter(|track| track.link == link)
    }

    /// The transport of a link, if it is ours and of that life.
    pub(crate) fn transport(&mut self, link: RowLink) -> Option<&mut Transport> {
        self.transports
            .get_mut(link.row as usize)?
            .as_deref_mut()
            .filter(|transport| transport.link == link)
    }
}

/// Rows of a track's encodings.
fn links(config: &TrackConfig) -> impl Iterator<Item = u32> + use<> {
    let encodings = config.encodings;
    encodings
        .into_iter()
        .filter(|link| link.is_some())
        .map(|link| link.row)
}
