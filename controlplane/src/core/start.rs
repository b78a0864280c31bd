//! The start: attaching to the dataplane, and taking up what an earlier life left.

use super::run::Dataplane;
use super::{Config, Core, ended, fanout, media, quality, rates, signal, throttles, told};
use crate::limits;
use crate::metrics::Metrics;
use crate::programmer::Programmer;
use crate::rooms::Rooms;
use crate::store::{Store, StoreError};
use ion_dtls::{DtlsError, Endpoint, Identity};
use ion_tables::attach::{AttachError, Attached};
use ion_tables::{EventReader, MapError, Tables};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
pub(super) const META_EPOCH: &str = "dtls_epoch";

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
            told: told::Told::default(),
            signalling: signal::Signalling::default(),
            publish_limits: BTreeMap::new(),
            fanout: fanout::Fanout::new(config.fanout_bytes_per_second),
            config,
            endpoint,
            store,
            epoch,
            events: readers(&tables),
            live: media::Live::default(),
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
            qualities: quality::Qualities::default(),
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

    pub(super) fn opened(&mut self) {
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
}

pub(super) fn readers(tables: &Tables) -> Vec<EventReader> {
    let reader = |worker| {
        tables
            .events(worker)
            .map_or_else(EventReader::default, EventReader::at_end)
    };
    (0..tables.workers()).map(reader).collect()
}
