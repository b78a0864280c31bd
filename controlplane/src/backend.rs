//! The HTTP surface's view of the core: parses SDP in the handler's own task, asks the
//! core over a bounded queue, and waits for its answer.

use crate::channels::Label;
use crate::core::{Command, DataMessage, Reply, abandoned, act};
use crate::metrics::Metrics;
use crate::rooms::{Input, Rooms};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ion_api::accounts::{Subject, Versioned};
use ion_api::backend::{Backend, Created, Patched, Play, PlayRequest, PublishRequest, SessionRef};
use ion_api::govern::{Act, Member, RoomDetails};
use ion_api::if_match::IfMatch;
use ion_api::model::access::KeyUsage;
use ion_api::model::stats::ParticipantStats;
use ion_api::model::{EndedInfo, ParticipantInfo, RoomInfo, Status, TrackInfo};
use ion_api::names::{Identity, RoomName};
use ion_api::problem::Problem;
use ion_api::signal::client::Resume;
use ion_api::signal::model::SubscriptionInfo;
use ion_api::signal::{
    ClientMessage, JoinRequest, Outbox, ParticipantId, Request, server as signal,
};
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

    /// Moderation: what the management API asks of rooms.
    ///
    /// # Errors
    /// What rooms refuse, or that the core is busy.
    pub async fn govern(&self, input: Input) -> Result<(), Problem> {
        let input = Box::new(input);
        self.ask(|reply| Command::Govern(input, reply)).await?
    }

    /// Looks at the rooms.
    ///
    /// # Errors
    /// When the core has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Rooms) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_in_turn(|reply| {
            Command::Look(Box::new(|rooms| {
                // Nobody may wait for it any more.
                let _ = reply.send(look(rooms));
            }))
        })
        .await
    }

    /// Data from the application's server to a room, or to those of it with these identities.
    ///
    /// # Errors
    /// 404 without such a room, 413 for too much, or that the core is busy.
    pub async fn send_data(
        &self,
        room: RoomName,
        to: Option<Vec<String>>,
        message: DataMessage,
    ) -> Result<(), Problem> {
        let message = Box::new(message);
        self.ask(|reply| Command::Data(room, to, message, reply))
            .await?
    }

    /// As [`Handle::ask`], but waits for its turn: after a restart everybody comes back at once, and
    /// who only looks must not be told that there is nothing because much is going on. How many wait
    /// is bounded by the sockets, and by the requests, that there may be.
    async fn ask_in_turn<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Problem::overloaded("the control plane is stopping", 1);
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_closed| stopping())?;
        answer.await.map_err(|_| stopping())
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

/// A join that waits for its answer. Where nobody waits to the end, nobody stays in the room.
struct Joining {
    answer: oneshot::Receiver<Result<ParticipantId, signal::Problem>>,
    commands: mpsc::Sender<Command>,
}

impl Drop for Joining {
    fn drop(&mut self) {
        // From now on the core sees that nobody waits; it may have answered just before.
        self.answer.close();
        if let Ok(Ok(participant)) = self.answer.try_recv()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (reply, _nobody) = oneshot::channel();
            let leave = Command::Govern(Box::new(abandoned(participant)), reply);
            let commands = self.commands.clone();
            runtime.spawn(async move { commands.send(leave).await });
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

    async fn act(&self, room: RoomName, act: Act) -> Result<(), Problem> {
        let Act::Send {
            to,
            topic,
            payload,
            lossy,
        } = act
        else {
            let act = Box::new(act);
            return self.ask(|reply| Command::Act(room, act, reply)).await?;
        };
        let payload = BASE64
            .decode(payload)
            .map_err(|_| Problem::invalid("payload: is no base64"))?;
        let to = to.map(|to| to.into_iter().map(String::from).collect());
        let label = if lossy { Label::Lossy } else { Label::Reliable };
        let message = DataMessage {
            topic,
            payload,
            label,
        };
        self.send_data(room, to, message).await
    }

    async fn revoke(&self, subject: Subject) -> Result<(), Problem> {
        self.ask_in_turn(|reply| Command::Revoke(subject, reply))
            .await
    }

    async fn usage(&self, key: String) -> KeyUsage {
        self.ask_in_turn(|reply| Command::Usage(key, reply))
            .await
            .unwrap_or_default()
    }

    async fn details(&self, room: RoomName) -> Option<Versioned<RoomDetails>> {
        let look = move |rooms: &Rooms| act::details(rooms, &room);
        self.look(look).await.ok().flatten()
    }

    async fn members(&self, room: RoomName) -> Option<Vec<Member>> {
        let look = move |rooms: &Rooms| act::members(rooms, &room);
        self.look(look).await.ok().flatten()
    }

    async fn subscriptions(
        &self,
        room: RoomName,
        identity: Identity,
    ) -> Option<Vec<SubscriptionInfo>> {
        let look = move |rooms: &Rooms| act::subscriptions(rooms, &room, &identity);
        self.look(look).await.ok().flatten()
    }

    async fn signal_join(
        &self,
        request: JoinRequest,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> Result<ParticipantId, signal::Problem> {
        let stopping = || Problem::overloaded("the control plane is stopping", 1);
        let (reply, answer) = oneshot::channel();
        let command = Command::SignalJoin(Box::new(request), answer_to, outbox, reply);
        let sent = self.commands.send(command).await;
        sent.map_err(|_closed| stopping())?;
        let commands = self.commands.clone();
        let mut joining = Joining { answer, commands };
        (&mut joining.answer).await.map_err(|_| stopping())?
    }

    async fn signal_resume(
        &self,
        request: Resume,
        answer_to: Option<u32>,
        outbox: Outbox,
    ) -> Result<ParticipantId, signal::Problem> {
        self.ask_in_turn(|reply| Command::SignalResume(request, answer_to, outbox, reply))
            .await?
    }

    fn signal(
        &self,
        from: ParticipantId,
        outbox: u64,
        message: ClientMessage,
    ) -> Result<(), signal::Problem> {
        let sdp = match &message.request {
            Request::Offer(request) => Some(offer(&request.sdp)?),
            _ => None,
        };
        let command = Command::Signal(from.into(), outbox, Box::new(message), sdp);
        self.commands.try_send(command).map_err(|_full_or_closed| {
            signal::Problem::new(signal::Reason::Overloaded, "too many requests are waiting")
        })
    }

    fn signal_closed(&self, from: ParticipantId, outbox: u64) {
        let (commands, command) = (
            self.commands.clone(),
            Command::SignalClosed(from.into(), outbox),
        );
        // It has to arrive, even where many requests wait.
        tokio::spawn(async move { commands.send(command).await });
    }

    async fn rooms(&self) -> Vec<RoomInfo> {
        self.ask_in_turn(Command::Rooms).await.unwrap_or_default()
    }

    async fn room(&self, room: RoomName) -> Option<RoomInfo> {
        self.ask_in_turn(|reply| Command::Room(room, reply))
            .await
            .ok()
            .flatten()
    }

    async fn participants(&self, room: RoomName) -> Option<Vec<ParticipantInfo>> {
        self.ask_in_turn(|reply| Command::Participants(room, reply))
            .await
            .ok()
            .flatten()
    }

    async fn ended(&self, room: RoomName) -> Vec<EndedInfo> {
        self.ask_in_turn(|reply| Command::Ended(room, reply))
            .await
            .unwrap_or_default()
    }

    async fn tracks(&self, room: RoomName, identity: Identity) -> Option<Vec<TrackInfo>> {
        self.ask_in_turn(|reply| Command::Tracks(room, identity, reply))
            .await
            .ok()
            .flatten()
    }

    async fn playing(&self, session: SessionRef) -> Option<Playing> {
        self.ask_in_turn(|reply| Command::Playing(session, reply))
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
        self.ask_in_turn(|reply| Command::Stats(room, identity, reply))
            .await
            .ok()
            .flatten()
    }

    async fn status(&self) -> Status {
        self.ask_in_turn(Command::Status).await.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::Key;
    use std::pin::pin;

    #[tokio::test]
    async fn who_looks_while_the_core_is_busy_waits_and_is_told_what_is() {
        let (commands, mut queue) = mpsc::channel(1);
        let handle = Handle::new(commands.clone(), Arc::default(), &Metrics::new());
        let (reply, _nobody) = oneshot::channel();
        assert!(commands.try_send(Command::Status(reply)).is_ok());
        let mut rooms = pin!(handle.rooms());
        let busy = tokio::task::yield_now();
        tokio::select! {
            biased;
            rooms = &mut rooms => panic!("{rooms:?}"),
            () = busy => {}
        }
        let core = async {
            while let Some(command) = queue.recv().await {
                if let Command::Rooms(reply) = command {
                    return reply.send(vec![RoomInfo::default()]).unwrap();
                }
            }
        };
        assert_eq!(tokio::join!(rooms, core).0, [RoomInfo::default()]);
    }

    #[tokio::test]
    async fn who_is_let_in_and_waits_no_more_leaves() {
        let (commands, mut queue) = mpsc::channel(1);
        let (reply, answer) = oneshot::channel();
        let joining = Joining { answer, commands };
        assert_eq!(reply.send(Ok(ParticipantId(7))), Ok(()));
        drop(joining);
        let Some(Command::Govern(input, _)) = queue.recv().await else {
            panic!("nothing is asked for");
        };
        assert!(
            matches!(*input, Input::Leave { key: Key(7), .. }),
            "{input:?}"
        );
    }
}
