//! A dataplane that is only tables and sockets, a core attached to it, and clients that
//! speak STUN (by another implementation) and DTLS over loopback.

#![allow(dead_code, reason = "every test file uses another part")]

pub(crate) mod client;
pub(crate) mod sdk;
pub(crate) mod world;

use ion_api::backend::{
    Backend, Created, Participant, Play, PlayRequest, PublishRequest, SessionRef, Sources,
};
use ion_api::model::Role;
use ion_api::names::{Identity, RoomName, SessionId};
use ion_api::problem::Problem;
use ion_controlplane::backend::Handle;
use ion_controlplane::candidates::Loopback;
use ion_controlplane::core::{Config, Core, StartError};
use ion_controlplane::metrics::Metrics;
use ion_tables::attach::{Listener, Offer};
use ion_tables::{Capacities, Tables};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, OwnedFd};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) const CAPACITIES: Capacities = Capacities {
    transports: 16,
    tracks: 8,
    encodings: 12,
    subscriptions: 12,
};

/// A folder of its own, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ion-core-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tables and sockets, handed to whoever attaches.
pub(crate) struct Plane {
    pub(crate) tables: Arc<Tables>,
    thread: Option<std::thread::JoinHandle<()>>,
    stop: PathBuf,
}

impl Plane {
    pub(crate) fn start(folder: &Path, epoch: u64, workers: usize) -> Self {
        Self::with(folder, epoch, workers, CAPACITIES)
    }

    pub(crate) fn with(folder: &Path, epoch: u64, workers: usize, capacities: Capacities) -> Self {
        let tables = Arc::new(Tables::create(capacities, workers, epoch, 0).unwrap());
        let path = folder.join("dataplane.sock");
        let listener = Listener::bind(&path).unwrap();
        let doorbell = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let event_doorbell = doorbell();
        let worker_doorbells: Vec<OwnedFd> = (0..workers).map(|_| doorbell()).collect();
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| UdpSocket::bind(address).unwrap());
        let stop = folder.join(format!("stop-{epoch}"));
        let (offered, stopped) = (Arc::clone(&tables), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut attached = None;
            loop {
                let offer = Offer {
                    tables: &offered,
                    event_doorbell: event_doorbell.as_fd(),
                    worker_doorbells: worker_doorbells.iter().map(AsFd::as_fd).collect(),
                    sockets: sockets.iter().map(AsFd::as_fd).collect(),
                };
                let link = listener.accept(&offer, attached.as_ref()).unwrap();
                if stopped.exists() {
                    return;
                }
                attached = link.or(attached);
            }
        });
        Self {
            tables,
            thread: Some(thread),
            stop,
        }
    }

    /// Ends as a process that dies: listener, link and sockets are closed.
    pub(crate) fn kill(mut self, folder: &Path) -> Arc<Tables> {
        std::fs::write(&self.stop, b"").unwrap();
        // Somebody knocks, so that it looks.
        let _ = ion_tables::attach::attach(&folder.join("dataplane.sock"));
        self.thread.take().unwrap().join().unwrap();
        Arc::clone(&self.tables)
    }
}

/// A core that runs, and a handle to it.
pub(crate) struct Server {
    pub(crate) handle: Arc<Handle>,
    pub(crate) metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), StartError>>,
}

pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::new(folder.to_owned());
    config.loopback = Loopback::First;
    config
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::try_start(config(folder)).await.unwrap()
    }

    pub(crate) async fn try_start(config: Config) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new());
        let core = Core::start(config, Arc::clone(&metrics)).await?;
        let (commands, queue) = mpsc::channel(64);
        let handle = Arc::new(Handle::new(
            commands,
            Arc::clone(core.ready_flag()),
            &metrics,
        ));
        let (stop, stops) = oneshot::channel();
        let task = tokio::spawn(core.run(queue, stops));
        Ok(Self {
            handle,
            metrics,
            stop: Some(stop),
            task,
        })
    }

    /// Ends as a process that is killed: nothing is said to anybody.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn publish(
        &self,
        room: &str,
        who: &str,
        offer: String,
    ) -> Result<Created, Problem> {
        self.handle.publish(publish_request(room, who, offer)).await
    }

    pub(crate) async fn play(&self, room: &str, who: &str, offer: String) -> Result<Play, Problem> {
        self.handle.play(play_request(room, who, offer)).await
    }

    pub(crate) async fn end(&self, session: &SessionRef) -> Result<(), Problem> {
        self.handle.end(session.clone()).await
    }

    /// The value of a metric's line, by what the line begins with.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let text = self.handle.metrics().await;
        let value = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value; panics after some seconds.
    pub(crate) async fn wait_metric(&self, line: &str, value: u64) {
        wait(line, async || self.metric(line).await == value).await;
    }

    /// State of a participant, as the API shows it.
    pub(crate) async fn states(&self, room: &str) -> Vec<(String, ion_api::model::SessionState)> {
        let participants = self
            .handle
            .participants(RoomName::parse(room).unwrap())
            .await;
        participants
            .unwrap_or_default()
            .into_iter()
            .map(|p| (p.identity, p.state))
            .collect()
    }
}

/// Waits for something that other tasks bring about.
pub(crate) async fn wait(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

pub(crate) fn participant(who: &str) -> Participant {
    Participant {
        identity: Identity::parse(who).unwrap(),
        name: String::new(),
        hidden: false,
        passes_lobby: false,
        token: None,
        quota: ion_api::accounts::Quota::default(),
    }
}

pub(crate) fn publish_request(room: &str, who: &str, offer: String) -> PublishRequest {
    PublishRequest {
        room: RoomName::parse(room).unwrap(),
        participant: participant(who),
        sources: Sources {
            video: true,
            audio: true,
        },
        offer,
    }
}

pub(crate) fn play_request(room: &str, who: &str, offer: String) -> PlayRequest {
    PlayRequest {
        room: RoomName::parse(room).unwrap(),
        publisher: None,
        participant: participant(who),
        offer,
    }
}

pub(crate) fn session_ref(room: &str, role: Role, id: &SessionId) -> SessionRef {
    SessionRef {
        id: id.clone(),
        room: RoomName::parse(room).unwrap(),
        role,
    }
}

pub(crate) fn answer(play: Play) -> Created {
    match play {
        Play::Answer(created) => created,
        Play::CounterOffer { .. } => panic!("a counter-offer"),
    }
}
