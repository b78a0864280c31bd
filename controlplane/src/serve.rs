//! The whole control process: core, HTTP server, signals.

use crate::backend::Handle;
use crate::candidates::Loopback;
use crate::core::{Config, Core, StartError};
use crate::documents;
use crate::events::Log;
use crate::events::deliver::deliver;
use crate::limits;
use crate::metrics::Metrics;
use crate::settings::{LogFormat, Settings};
use ion_api::accounts::Accounts;
use ion_api::auth::Auth;
use ion_api::documents::DocumentError;
use ion_api::events::EventLog;
use ion_api::ratelimit::Quota;
use ion_api::seal::{SealError, Sealer};
use ion_api::server::ServerConfig;
use ion_api::webhooks::Webhooks;
use std::io::{ErrorKind, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing_subscriber::EnvFilter;

/// Why the control plane does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The HTTP port is taken.
    #[error(
        "the HTTP address {0} is in use by another program: stop that program, or set `http` to \
         another address"
    )]
    HttpInUse(SocketAddr),
    /// The HTTP port cannot be had.
    #[error("cannot listen on the HTTP address {0}: {1}; set `http` to an address of this machine")]
    Http(SocketAddr, std::io::Error),
    /// The core did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What the API keeps cannot be read.
    #[error(transparent)]
    Documents(#[from] documents::OpenError),
    /// Secrets cannot be opened.
    #[error("{file}: {0}", file = documents::KEY_FILE)]
    Seal(#[from] SealError),
    /// What the API keeps cannot be read.
    #[error("the store {file}: {0}", file = documents::FILE)]
    Accounts(#[from] DocumentError),
    /// The core cannot go on; a new process can.
    #[error("ending, to be started anew: {0}")]
    Core(StartError),
    /// The operating system has no threads, signals or memory left.
    #[error("starting: {0}")]
    Os(#[from] std::io::Error),
}

impl ServeError {
    /// True if starting again cannot help.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::HttpInUse(_) | Self::Http(..) | Self::Documents(_) | Self::Seal(_) => true,
            Self::Start(error) => error.is_configuration(),
            Self::Core(_) | Self::Os(_) | Self::Accounts(_) => false,
        }
    }
}

impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Self {
        let mut config = Self::new(settings.state_dir.clone());
        config.public_ips.clone_from(&settings.public_ip);
        if settings.http.ip().is_loopback() {
            config.loopback = Loopback::First;
        }
        config
    }
}

/// Starts the log.
pub fn init_log(settings: &Settings) {
    // The settings have checked the filter.
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Keys, users and revocations, as they were left.
fn accounts(settings: &Settings) -> Result<Accounts, ServeError> {
    let documents = documents::Sqlite::open(&settings.state_dir)?;
    let sealer = Sealer::open(&settings.state_dir.join(documents::KEY_FILE))?;
    let keys = settings.keys.clone();
    Ok(Accounts::open(Arc::new(documents), sealer, keys)?)
}

/// Runs until a signal asks for the end. Sessions stay as they are.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(settings: &Settings) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Arc::new(Metrics::new());
    let accounts = Arc::new(accounts(settings)?);
    let webhooks = Arc::new(Webhooks::open(Arc::clone(&accounts))?);
    let log = Arc::new(Log::open(&settings.state_dir, Arc::clone(&webhooks))?);
    let config = Config {
        log: Some(Arc::clone(&log)),
        ..Config::from(settings)
    };
    let backlog = config.backlog.clone();
    // STUN first: peers are waiting for an answer to their consent checks.
    let core = tokio::select! {
        core = Core::start(config, Arc::clone(&metrics)) => core?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let ready = Arc::clone(core.ready_flag());
    let (commands, queue) = mpsc::channel(limits::COMMANDS);
    let (stop_core, core_stops) = oneshot::channel();
    let mut core = tokio::spawn(core.run(queue, core_stops));
    let listener = TcpListener::bind(settings.http)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => ServeError::HttpInUse(settings.http),
            _ => ServeError::Http(settings.http, error),
        })?;
    let (stop_deliveries, deliveries_stop) = watch::channel(false);
    let deliveries = deliver(Arc::clone(&log), Arc::clone(&webhooks), deliveries_stop);
    let deliveries = tokio::spawn(deliveries);
    let api = ion_api::Config {
        events: Arc::clone(&log) as Arc<dyn EventLog>,
        backlog,
        webhooks,
        settings: settings.shown(),
        quota: Quota {
            burst: settings.rate_burst,
            per_second: settings.rate_per_second,
        },
        ..ion_api::Config::new(Auth {
            accounts,
            dev: settings.dev,
        })?
    };
    let server = ServerConfig {
        connections: settings.max_connections,
        ..ServerConfig::default()
    };
    let router = ion_api::router(Arc::new(Handle::new(commands, ready, &metrics)), api);
    tracing::info!(http = %settings.http, "ready");
    let mut ended = None;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            result = &mut core => ended = Some(result),
        }
        // Else those who follow would hold up the end.
        log.close();
    };
    ion_api::server::serve(listener, router, server, stop).await;
    let _ = stop_deliveries.send(true);
    let _ = deliveries.await;
    let _ = stop_core.send(());
    let result = match ended {
        Some(result) => result,
        None => core.await,
    };
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ServeError::Core(error)),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}
