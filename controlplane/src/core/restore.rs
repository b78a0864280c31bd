//! The start: attaching, and taking up the sessions of an earlier life; and carrying
//! them to a new dataplane when the old one has died.

use super::play::room_slot;
use super::run::Dataplane;
use super::{Config, Core, ended, rates, throttles, unix_seconds};
use crate::limits;
use crate::metrics::Metrics;
use crate::programmer::Programmer;
use crate::record::{Media, Record};
use crate::rooms::saved::SavedParticipant;
use crate::rooms::{Input, Key, Rooms, Slot};
use crate::session::{EndCause, Session};
use crate::store::{Store, StoreError};
use ion_api::model::Role;
use ion_api::names::SessionId;
use ion_dtls::{DtlsError, Endpoint, Identity};
use ion_ice::{Agent, Credentials, Pair};
use ion_sdp::IceCredentials;
use ion_tables::attach::{AttachError, Attached};
use ion_tables::{
    Encoding, EventReader, MapError, Row, RowKind, RowLink, SeqCell, Subscription, Tables, Track,
    Transport, TransportConfig, TransportSecrets,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Why the core cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No dataplane, or not this one.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The DTLS engine.
    #[error(transparent)]
    Dtls(#[from] DtlsError),
    /// A socket that was handed over.
    #[error("the sockets that the dataplane handed over: {0}")]
    Sockets(#[from] std::io::Error),
}

impl StartError {
    /// True if starting again cannot help: the configuration or the installation is wrong.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Attach(
                AttachError::ControlRuns { .. } | AttachError::Map(MapError::Version { .. })
            )
        )
    }
}

const META_CERTIFICATE: &str = "dtls_certificate";
const META_KEY: &str = "dtls_key";
const META_EPOCH: &str = "dtls_epoch";

/// Attaches, waiting a while for a dataplane that is starting.
///
/// # Errors
/// As [`ion_tables::attach::attach`].
async fn attach(config: &Config) -> Result<Attached, StartError> {
    let path = config.state_dir.join("dataplane.sock");
    let patience = Instant::now() + limits::ATTACH_PATIENCE;
    loop {
        let path = path.clone();
        let attempt = tokio::task::spawn_blocking(move || ion_tables::attach::attach(&path));
        match attempt.await.map_err(std::io::Error::from)? {
            // A control plane that was killed a moment ago may still count as attached.
            Err(AttachError::NoDataplane { .. } | AttachError::Os { .. })
                if Instant::now() < patience =>
            {
                tokio::time::sleep(limits::ATTACH_INTERVAL).await;
            }
            other => return Ok(other?),
        }
    }
}

/// The certificate of this epoch, so that handshakes begun before a restart can end; a
/// fresh one for a new epoch.
fn identity(store: &Store, epoch: u64) -> Result<Identity, StartError> {
    let kept = store
        .meta(META_EPOCH)?
        .is_some_and(|kept| kept == epoch.to_le_bytes());
    if kept
        && let (Some(certificate), Some(key)) =
            (store.meta(META_CERTIFICATE)?, store.meta(META_KEY)?)
        && let Ok(identity) = Identity::from_der(&certificate, &key)
    {
        return Ok(identity);
    }
    let identity = Identity::generate()?;
    let (certificate, key) = identity.to_der()?;
    store.put_meta(META_CERTIFICATE, &certificate)?;
    store.put_meta(META_KEY, key.as_bytes())?;
    store.put_meta(META_EPOCH, &epoch.to_le_bytes())?;
    Ok(identity)
}

impl Core {
    /// Attaches and takes up what is there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let attached = attach(&config).await?;
        Self::with(config, metrics, attached)
    }

    /// A core on an attachment.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn with(
        config: Config,
        metrics: Arc<Metrics>,
        attached: Attached,
    ) -> Result<Self, StartError> {
        let now = Instant::now();
        let (store, was_broken) = Store::open(&config.state_dir)?;
        if was_broken {
            tracing::error!(
                "the store was no database any more; it was moved aside and begun anew"
            );
        }
        let Attached {
            tables,
            event_doorbell,
            worker_doorbells,
            sockets,
            link,
        } = attached;
        let tables = Arc::new(tables);
        let epoch = tables.header().epoch();
        store.keep_only(epoch)?;
        let endpoint = Endpoint::new(identity(&store, epoch)?, config.dtls.clone())?;
        let dataplane = Dataplane::new(sockets, event_doorbell, link)?;
        let media = dataplane.locals();
        metrics.set_tables(Some(Arc::clone(&tables)));
        let mut core = Self {
            candidates: Self::candidates_of(&config, &media),
            media,
            rooms: Rooms::new(config.rooms),
            told: super::told::Told::default(),
            signalling: super::signal::Signalling::default(),
            publish_limits: BTreeMap::new(),
            fanout: super::fanout::Fanout::new(config.fanout_bytes_per_second),
            config,
            endpoint,
            store,
            epoch,
            events: readers(&tables),
            live: super::media::Live::default(),
            programmer: Programmer::new(tables, worker_doorbells),
            dataplane: Some(dataplane),
            sessions: HashMap::new(),
            ids: HashMap::new(),
            ufrags: HashMap::new(),
            pairs: HashMap::new(),
            handshaking: BTreeSet::new(),
            moving: BTreeSet::new(),
            masks: HashMap::new(),
            stages: BTreeMap::new(),
            qualities: super::quality::Qualities::default(),
            stale_masks: BTreeSet::new(),
            bindings_visited: 0,
            rates: rates::Rates::default(),
            ended: ended::Ended::default(),
            next_key: 1,
            started: now,
            throttles: throttles(),
            metrics,
            ready: Arc::new(AtomicBool::new(false)),
            reattaching: None,
            refused: None,
        };
        // Who is taken up was told of when it came.
        let log = core.config.log.take();
        core.restore(now)?;
        core.config.log = log;
        core.told_rooms();
        core.opened();
        Ok(core)
    }

    fn opened(&mut self) {
        let header = self.programmer.tables().header();
        header.control().incarnation.add(1);
        self.heartbeat();
        self.gauge();
        if self.candidates.is_empty() {
            tracing::error!("no address to announce: set `public_ip`");
        }
        if let Err(error) = self.programmer.tables().secrets_locked() {
            tracing::warn!(%error, "keys cannot be locked in memory; raise RLIMIT_MEMLOCK");
        }
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Rebuilds the sessions from rows and store; frees what has no other half.
    fn restore(&mut self, now: Instant) -> Result<(), StartError> {
        let participants = self.store.participants(self.epoch)?;
        for mut room in self.store.rooms()? {
            let (name, stage) = (room.name.clone(), room.stage.take());
            self.rooms.restore_room(room);
            if let Some((_, seats)) = stage.filter(|(epoch, _)| *epoch == self.epoch) {
                self.restore_stage(now, &name, seats);
            }
        }
        let records = self.store.sessions(self.epoch)?;
        let found = records.len();
        let mut lost = Vec::new();
        for mut record in records {
            let ids = record.published().iter().map(|track| track.id.0);
            let last = ids.chain([record.ordinal]).max().unwrap_or(0);
            self.next_key = self.next_key.max(last + 1);
            // Of a release that gave them no ids.
            for track in record
                .published_mut()
                .iter_mut()
                .filter(|track| track.id.0 == 0)
            {
                track.id = self.publication_id();
            }
            let id = record.id.clone();
            if self.restore_session(now, record).is_none() {
                lost.push(id);
            }
        }
        for id in lost {
            self.delete_stored(&id);
        }
        self.restore_rooms(now, &participants);
        self.settle_stages(now);
        self.refresh_masks();
        let swept = self.programmer.sweep();
        self.metrics
            .rows_swept
            .inc_by(u64::try_from(swept).unwrap_or(0));
        self.programmer.ask_rescan();
        if found > 0 || swept > 0 {
            let sessions = self.sessions.len();
            tracing::info!(
                sessions,
                lost = found - sessions,
                swept,
                "sessions taken up"
            );
        }
        Ok(())
    }

    fn restore_session(&mut self, now: Instant, record: Record) -> Option<()> {
        let id = SessionId::parse(&record.id)?;
        let row = RowLink::from(record.row);
        let tables = Arc::clone(self.programmer.tables());
        let config = tables.follow::<Transport>(row)?;
        if config.session.as_str() != record.id || !self.adopt(&record) {
            return None;
        }
        let secrets = tables.secrets(row.row).map(SeqCell::read)?.ok();
        let secrets = secrets.filter(|secrets| secrets.generation == row.generation);
        let restored =
            secrets.and_then(|secrets| self.session_of(now, id, &record, &config, &secrets));
        let Some(session) = restored else {
            self.release_rows(&record);
            return None;
        };
        let key = Key(record.ordinal);
        self.ids.insert(record.id.clone(), key);
        self.ufrags
            .insert(session.agent().local().ufrag().to_owned(), key);
        if let Some(pair) = session.agent().selected() {
            self.pairs.insert(pair, key);
        }
        self.metrics.session_resumed(record.role());
        self.sessions.insert(key, session);
        Some(())
    }

    /// Takes all rows of a record, or none.
    fn adopt(&mut self, record: &Record) -> bool {
        let mut rows = vec![(RowKind::Transport, record.row.row)];
        for track in record.published() {
            rows.push((RowKind::Track, track.row.row));
            rows.extend(
                track
                    .encodings
                    .iter()
                    .map(|e| (RowKind::Encoding, e.row.row)),
            );
        }
        rows.extend(
            record
                .played()
                .iter()
                .map(|slot| (RowKind::Subscription, slot.row.row)),
        );
        self.programmer.adopt(&rows)
    }

    fn session_of(
        &self,
        now: Instant,
        id: SessionId,
        record: &Record,
        config: &TransportConfig,
        secrets: &TransportSecrets,
    ) -> Option<Session> {
        let local =
            Credentials::new(secrets.local_ufrag.as_str(), secrets.local_pwd.as_str()).ok()?;
        let remote_ice = Some(IceCredentials {
            ufrag: secrets.remote_ufrag.as_str().to_owned(),
            pwd: secrets.remote_pwd.as_str().to_owned(),
        })
        .filter(|ice| !ice.ufrag.is_empty() && !ice.pwd.is_empty());
        let is_keyed = secrets.keyed == 1 && config.srtp_profile != 0;
        let pair = config.local.socket_addr().zip(config.remote.socket_addr());
        let timeouts = self.config.ice;
        let session = match pair.filter(|_| is_keyed) {
            Some((near, far)) => {
                let pair = Pair {
                    local: near,
                    remote: far,
                };
                let agent = Agent::resume(local, None, pair, now).with_timeouts(timeouts);
                Session::resume(id, record.clone(), agent, remote_ice, config.worker)
            }
            None => {
                let agent = Agent::new(local, None, now).with_timeouts(timeouts);
                let mut session = Session::new(id, record.clone(), agent, remote_ice);
                if session.is_offered() {
                    let since = unix_seconds().saturating_sub(record.joined_at_s);
                    let left = limits::ANSWER_TIMEOUT.saturating_sub(Duration::from_secs(since));
                    session.wait_for_answer(now + left);
                }
                session
            }
        };
        Some(session)
    }

    /// Fills the rooms in order of arrival, and writes what a dying process left undone.
    fn restore_rooms(&mut self, now: Instant, participants: &[(String, SavedParticipant)]) {
        let mut keys: Vec<Key> = self.sessions.keys().copied().collect();
        keys.sort_unstable();
        let owners: HashMap<RowLink, Key> = keys
            .iter()
            .filter_map(|key| Some((*key, self.sessions.get(key)?)))
            .flat_map(|(key, session)| {
                session
                    .record
                    .published()
                    .iter()
                    .map(move |track| (track.row.into(), key))
            })
            .collect();
        let of_role = |role: Role| -> Vec<Key> {
            let is_one = |key: &&Key| {
                self.sessions
                    .get(key)
                    .is_some_and(|s| s.record.role() == role)
            };
            keys.iter().filter(is_one).copied().collect()
        };
        let (publishers, viewers) = (of_role(Role::Publisher), of_role(Role::Viewer));
        for (secret, saved) in participants.iter().filter(|(secret, _)| !secret.is_empty()) {
            self.restore_participant(now, secret, saved);
        }
        for key in publishers {
            self.restore_publisher(now, key);
        }
        for (_, saved) in participants {
            let effects = self.rooms.settle(saved, now);
            self.apply(now, effects);
            self.restore_slots(now, saved);
        }
        for key in viewers {
            self.restore_viewer(now, key, &owners);
        }
        // Whole before they are written: no viewer is left out for a moment.
        self.refresh_masks();
        // Participants of which nothing is known any more.
        let is_lost = |key: &&Key| self.rooms.room_of(**key).is_none() && !self.is_waiting(**key);
        let lost: Vec<Key> = keys.iter().filter(is_lost).copied().collect();
        for key in lost {
            self.close_session(now, key, &EndCause::RowsLost);
        }
        // All of it again: a torn or half-made row becomes whole, whole ones stay the same.
        for key in keys {
            if self.sessions.get(&key).is_some_and(Session::is_connected) {
                self.write_media(key);
            }
        }
    }

    /// Takes up a participant of the SDK, whose socket will resume.
    fn restore_participant(&mut self, now: Instant, secret: &str, saved: &SavedParticipant) {
        let key = saved.join.key;
        let ids = saved.publications.iter().map(|one| one.publish.id.0);
        let last = ids.chain([key.0]).max().unwrap_or(0);
        self.next_key = self.next_key.max(last + 1);
        self.restore_peer(key, secret.to_owned());
        match self.rooms.restore(saved, now) {
            Ok(effects) => self.apply(now, effects),
            Err(refused) => tracing::warn!(%refused, "a participant cannot be taken up"),
        }
        if self.sessions.get(&key).is_some_and(Session::is_connected) {
            self.happen(now, Input::Live(key));
        }
    }

    /// Whether a session's counter-offer waits for its answer: it is in no room yet.
    fn is_waiting(&self, key: Key) -> bool {
        self.sessions.get(&key).is_some_and(Session::is_offered)
    }

    /// Gives the m-sections of a participant what they had.
    fn restore_slots(&mut self, now: Instant, saved: &SavedParticipant) {
        let key = saved.join.key;
        if let Some(session) = self.sessions.get(&key)
            && session.record.role() == Role::Participant
        {
            let assigned = saved
                .assigned
                .iter()
                .copied()
                .chain(std::iter::repeat(None));
            let slot = |(played, assigned)| Slot {
                assigned,
                ..room_slot(played)
            };
            let slots = session
                .record
                .played()
                .iter()
                .zip(assigned)
                .map(slot)
                .collect();
            self.happen(now, Input::Slots { key, slots });
        }
        self.presence(now, key);
        self.tell_transport(now, key);
    }

    fn restore_publisher(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let is_connected = session.is_connected();
        self.enter_publisher(now, key);
        if is_connected {
            self.happen(now, Input::Live(key));
        }
    }

    fn restore_viewer(&mut self, now: Instant, key: Key, owners: &HashMap<RowLink, Key>) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        if matches!(session.record.media, Media::Offered { .. }) {
            return;
        }
        let tables = self.programmer.tables();
        let current = session.record.played().iter().find_map(|slot| {
            let config = tables.follow::<Subscription>(slot.row.into())?;
            owners.get(&config.track).copied()
        });
        self.enter_viewer(now, key, current);
    }

    /// Carries every session to the tables of a new dataplane, at the same row numbers:
    /// config, secrets, and the state the old workers left behind. Media goes on where
    /// it stopped; SRTP indices go on beyond what was used.
    pub(super) fn carry_to(&mut self, attached: Attached) -> Result<(), StartError> {
        let now = Instant::now();
        let Attached {
            tables,
            event_doorbell,
            worker_doorbells,
            sockets,
            link,
        } = attached;
        let dataplane = Dataplane::new(sockets, event_doorbell, link)?;
        let old = Arc::clone(self.programmer.tables());
        let fresh = Arc::new(tables);
        let epoch = fresh.header().epoch();
        self.programmer = Programmer::new(Arc::clone(&fresh), worker_doorbells);
        self.media = dataplane.locals();
        self.candidates = Self::candidates_of(&self.config, &self.media);
        self.events = readers(&fresh);
        self.dataplane = Some(dataplane);
        self.masks.clear();
        if epoch != self.epoch {
            let moved = self.store.move_epoch(self.epoch, epoch);
            self.stored(now, moved);
            let kept = self.store.put_meta(META_EPOCH, &epoch.to_le_bytes());
            self.stored(now, kept);
            self.epoch = epoch;
        }
        self.metrics.set_tables(Some(Arc::clone(&fresh)));
        self.carry_stages();
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        let mut lost = Vec::new();
        for key in keys {
            if !self.carry_session(now, key, &old, &fresh) {
                lost.push(key);
            }
        }
        for key in lost {
            self.end(now, key, &EndCause::RowsLost);
        }
        self.refresh_masks();
        self.programmer.sweep();
        // The new workers have given nobody a seat yet.
        self.settle_stages(now);
        self.store_stages();
        self.programmer.ask_rescan();
        self.opened();
        tracing::info!(
            sessions = self.sessions.len(),
            "sessions carried to a new dataplane"
        );
        Ok(())
    }

    fn carry_session(&mut self, now: Instant, key: Key, old: &Tables, fresh: &Tables) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else {
            return false;
        };
        let workers = u16::try_from(fresh.workers()).unwrap_or(u16::MAX).max(1);
        session.worker %= workers;
        session.renew(now, self.config.ice);
        let (worker, record) = (session.worker, session.record.clone());
        if !self.adopt(&record) {
            return false;
        }
        let row = RowLink::from(record.row);
        let secrets = old.secrets(row.row).map(SeqCell::read).and_then(Result::ok);
        let config = old.follow::<Transport>(row);
        let (Some(mut secrets), Some(mut config)) = (secrets, config) else {
            return false;
        };
        config.worker = worker;
        copy_state::<Transport>(row.row, old, fresh);
        for track in record.published() {
            copy_state::<Track>(track.row.row, old, fresh);
            for encoding in &track.encodings {
                copy_state::<Encoding>(encoding.row.row, old, fresh);
            }
        }
        self.programmer.write_secrets(row, &mut secrets);
        self.programmer.write::<Transport>(row, &mut config);
        for slot in record.played() {
            copy_state::<Subscription>(slot.row.row, old, fresh);
            // One that waits for its next track stays, for the sake of its SRTP index.
            if let Some(mut config) = old.follow::<Subscription>(slot.row.into()) {
                config.worker = worker;
                self.programmer
                    .write::<Subscription>(slot.row.into(), &mut config);
            }
        }
        if self.sessions.get(&key).is_some_and(Session::is_connected) {
            self.write_media(key);
        }
        true
    }
}

/// The workers have not seen the row yet, so that its state has no other writer. What the
/// old worker was writing when it died counts too: without its SRTP indices, the new one
/// would use some for a second time.
fn copy_state<R: Row>(row: u32, old: &Tables, fresh: &Tables) {
    let state = old.state::<R>(row).map(SeqCell::read_abandoned);
    if let (Some(state), Some(cell)) = (state, fresh.state::<R>(row)) {
        cell.write(&state);
    }
}

fn readers(tables: &Tables) -> Vec<EventReader> {
    let reader = |worker| {
        tables
            .events(worker)
            .map_or_else(EventReader::default, EventReader::at_end)
    };
    (0..tables.workers()).map(reader).collect()
}
