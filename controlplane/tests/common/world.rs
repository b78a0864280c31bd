//! A room server with participants of the SDK, and what they are told.

use super::sdk::{Sdk, serve};
use super::{Folder, Plane, Server, config, wait};
use ion_api::signal::PublicationId;
use ion_api::signal::model::{Snapshot, TransportState};
use ion_api::signal::server::{Event, Reason, RoomCause};
use ion_controlplane::core::Config;
use ion_controlplane::rooms::Input;
use ion_tables::{
    RowLink, Subscription, SubscriptionConfig, Tables, Track, TrackConfig, Transport,
};
use std::net::SocketAddr;

/// A core over tables, and its HTTP server.
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) plane: Plane,
    pub(crate) server: Server,
    pub(crate) http: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = Folder::new();
        let plane = Plane::start(&folder.0, 1, 2);
        let mut config = config(&folder.0);
        change(&mut config);
        let server = Server::try_start(config).await.unwrap();
        Self::served(folder, plane, server).await
    }

    async fn served(folder: Folder, plane: Plane, server: Server) -> Self {
        let http = serve(&server).await;
        Self {
            folder,
            plane,
            server,
            http,
        }
    }

    /// Another control plane takes up what this one left.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            folder,
            plane,
            server,
            ..
        } = self;
        server.kill().await;
        let server = Server::start(&folder.0).await;
        Self::served(folder, plane, server).await
    }

    /// Does something in its rooms, as a moderator.
    pub(crate) async fn govern(&self, input: Input) {
        self.server.handle.govern(input).await.unwrap();
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.plane.tables
    }

    pub(crate) async fn join(&self, who: &str) -> Sdk {
        Sdk::join(self.http, "r", who).await
    }

    /// Ann publishes sound and pictures.
    pub(crate) async fn ann(&self) -> (Sdk, Vec<PublicationId>) {
        let mut ann = self.join("ann").await;
        ann.send("audio", "mic");
        ann.send("video", "cam");
        let (_, published) = ann.connect().await;
        (ann, published.iter().map(|p| p.id).collect())
    }

    /// Bob is sent a publication; and the row that he is sent it by.
    pub(crate) async fn bob_watches(
        &self,
        id: PublicationId,
    ) -> (Sdk, Vec<(u32, SubscriptionConfig)>) {
        let mut bob = self.join("bob").await;
        bob.receive("video", id);
        bob.connect().await;
        let rows = self.wait_sent(1).await;
        (bob, rows)
    }

    /// The subscription rows that are sent a track, with their numbers.
    pub(crate) fn sent(&self) -> Vec<(u32, SubscriptionConfig)> {
        let rows = self.tables().live::<Subscription>();
        rows.filter(|(_, row)| row.track.is_some()).collect()
    }

    pub(crate) async fn wait_sent(&self, count: usize) -> Vec<(u32, SubscriptionConfig)> {
        wait("subscription rows", async || self.sent().len() == count).await;
        self.sent()
    }

    pub(crate) fn track(&self, link: RowLink) -> TrackConfig {
        self.tables().follow::<Track>(link).expect("a live track")
    }

    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let tables = self.tables();
        (
            tables.live::<Transport>().count(),
            tables.live::<Track>().count(),
            tables.live::<Subscription>().count(),
        )
    }
}

pub(crate) fn transport(state: TransportState) -> impl FnMut(&Event) -> Option<()> {
    move |event| match event {
        Event::TransportChanged(changed) if changed.transport.state == state => Some(()),
        _ => None,
    }
}

pub(crate) fn room_anew(wanted: RoomCause) -> impl FnMut(&Event) -> Option<Snapshot> {
    move |event| match event {
        Event::Room(room) if room.cause == wanted => Some(room.snapshot.clone()),
        _ => None,
    }
}

/// Why the participant itself had to go.
pub(crate) fn ended(event: &Event) -> Option<Reason> {
    match event {
        Event::Ended(ended) => Some(ended.reason),
        _ => None,
    }
}

/// Why another one is there no more.
pub(crate) fn left(event: &Event) -> Option<Reason> {
    match event {
        Event::ParticipantLeft(left) => Some(left.reason),
        _ => None,
    }
}

/// Whether data can go over channels, where that is told.
pub(crate) fn channels_are_open(event: &Event) -> Option<bool> {
    match event {
        Event::TransportChanged(changed) => Some(changed.transport.data_channels),
        _ => None,
    }
}
