//! The HTTP surface's view of the core: parses SDP in the handler's own task, asks the
//! core over a bounded queue, and waits for its answer.

use crate::core::{Command, Reply};
use crate::metrics::Metrics;
use ion_api::backend::{Backend, Created, Patched, Play, PlayRequest, PublishRequest, SessionRef};
use ion_api::if_match::IfMatch;
use ion_api::model::stats::ParticipantStats;
use ion_api::model::{EndedInfo, ParticipantInfo, RoomInfo, Status, TrackInfo};
use ion_api::names::{Identity, RoomName};
use ion_api::problem::Problem;
use ion_api::whep::extensions::{LayerSelection, Playing};
use ion_sdp::{SdpError, SdpFragment, SessionDescription};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Talks to the core.
pub struct Handle {
    commands: mpsc::Sender<Command>,
    ready: Arc<AtomicBool>,
    registry: Registry,
}

impl Handle {
    /// A handle that sends commands there.
    pub fn new(commands: mpsc::Sender<Command>, ready: Arc<AtomicBool>, metrics: &Metrics) -> Self {
        Self {
            commands,
            ready,
            registry: metrics.registry(),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let stopping = |_| Problem::overloaded("the control plane is stopping", 1);
        match self.commands.try_send(command(reply)) {
            Ok(()) => answer.await.map_err(stopping),
            Err(_full_or_closed) => Err(Problem::overloaded("too many requests are waiting", 1)),
        }
    }
}

fn offer(text: &str) -> Result<Box<SessionDescription>, Problem> {
    SessionDescription::parse(text.as_bytes())
        .map(Box::new)
        .map_err(refused)
}

fn refused(error: SdpError) -> Problem {
    if error.is_limit() {
        Problem::unprocessable(error.to_string())
    } else {
        Problem::malformed_sdp(error.to_string())
    }
}

impl Backend for Handle {
    async fn publish(&self, request: PublishRequest) -> Result<Created, Problem> {
        let offer = offer(&request.offer)?;
        self.ask(|reply| Command::Publish(Box::new(request), offer, reply))
            .await?
    }

    async fn play(&self, request: PlayRequest) -> Result<Play, Problem> {
        let offer = offer(&request.offer)?;
        self.ask(|reply| Command::Play(Box::new(request), offer, reply))
            .await?
    }

    async fn trickle_or_restart(
        &self,
        session: SessionRef,
        if_match: IfMatch,
        frag: String,
    ) -> Result<Patched, Problem> {
        let fragment = SdpFragment::parse(frag.as_bytes()).map_err(refused)?;
        self.ask(|reply| Command::Patch(session, if_match, Box::new(fragment), reply))
            .await?
    }

    async fn accept(&self, session: SessionRef, answer: String) -> Result<(), Problem> {
        let answer = offer(&answer)?;
        self.ask(|reply| Command::Accept(session, answer, reply))
            .await?
    }

    async fn end(&self, session: SessionRef) -> Result<(), Problem> {
        self.ask(|reply| Command::End(session, reply)).await?
    }

    async fn rooms(&self) -> Vec<RoomInfo> {
        self.ask(Command::Rooms).await.unwrap_or_default()
    }

    async fn room(&self, room: RoomName) -> Option<RoomInfo> {
        self.ask(|reply| Command::Room(room, reply))
            .await
            .ok()
            .flatten()
    }

    async fn participants(&self, room: RoomName) -> Option<Vec<ParticipantInfo>> {
        self.ask(|reply| Command::Participants(room, reply))
            .await
            .ok()
            .flatten()
    }

    async fn ended(&self, room: RoomName) -> Vec<EndedInfo> {
        self.ask(|reply| Command::Ended(room, reply))
            .await
            .unwrap_or_default()
    }

    async fn tracks(&self, room: RoomName, identity: Identity) -> Option<Vec<TrackInfo>> {
        self.ask(|reply| Command::Tracks(room, identity, reply))
            .await
            .ok()
            .flatten()
    }

    async fn playing(&self, session: SessionRef) -> Option<Playing> {
        self.ask(|reply| Command::Playing(session, reply))
            .await
            .ok()
            .flatten()
    }

    async fn select_layers(
        &self,
        session: SessionRef,
        selection: LayerSelection,
    ) -> Result<(), Problem> {
        let selection = Box::new(selection);
        self.ask(|reply| Command::SelectLayers(session, selection, reply))
            .await?
    }

    async fn stats(&self, room: RoomName, identity: Identity) -> Option<ParticipantStats> {
        self.ask(|reply| Command::Stats(room, identity, reply))
            .await
            .ok()
            .flatten()
    }

    async fn status(&self) -> Status {
        self.ask(Command::Status).await.unwrap_or_default()
    }

    async fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the forwarding process is not attached".to_owned())
        }
    }
}
