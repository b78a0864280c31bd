//! `ion run`: starts the two processes, keeps them running, and stops them.
//!
//! It owns no socket, no media and no state of theirs, so that it has little to fail at. Each
//! process is started again when it dies, with a back-off; the control plane's first restart is
//! immediate, because clients ask for consent again within seconds (RFC 7675). A process that says
//! that its configuration is wrong ([`EX_CONFIG`]) ends everything instead, but only until Ion has been
//! ready once: afterwards it is started again like any other, so that media goes on.
//!
//! Nothing is left behind: the kernel kills both processes when the launcher dies in whatever way.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ion_api::client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::settings::{EX_CONFIG, Flags, Settings};

/// Delays between restarts.
pub mod backoff;
/// One supervised process.
pub mod process;
/// `ion rooms`, `ion keys`: asking a running server.
pub mod remote;
/// `ion status`.
pub mod status;
/// `ion token create` and `ion key create`.
pub mod token;

use backoff::Backoff;
use process::{Process, Refused};

/// How long both processes together may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the control plane's start waits for the dataplane's socket.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two looks at `/readyz` while starting.
const READY_INTERVAL: Duration = Duration::from_millis(100);

/// Software error (`EX_SOFTWARE` of sysexits.h): a process dies again and again.
const EX_SOFTWARE: u8 = 70;

/// Runs until a signal asks for the end, or a process cannot be run.
pub fn run(settings: &Settings, flags: &Flags) -> ExitCode {
    let lock = match lock(&settings.state_dir) {
        Ok(lock) => lock,
        Err(message) => {
            eprintln!("ion: {message}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let (dataplane, control) = match processes(settings, flags) {
        Ok(processes) => processes,
        Err(message) => {
            eprintln!("ion: {message}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ion: cannot start: {error}");
            return ExitCode::from(EX_SOFTWARE);
        }
    };
    let code = runtime.block_on(supervise(dataplane, control, settings));
    runtime.shutdown_background();
    drop(lock);
    code
}

/// Makes the state folder and claims it for this launcher.
fn lock(state_dir: &Path) -> Result<std::fs::File, String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let shown = state_dir.display();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|e| format!("cannot make the folder {shown}: {e}; set state_dir to another"))?;
    let path = state_dir.join("ion.lock");
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| format!("cannot write in {shown}: {e}; set state_dir to another folder"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(format!(
            "another ion runs in {shown}; stop it, or give this one a state_dir, http and media \
             address of its own"
        )),
        Err(std::fs::TryLockError::Error(e)) => Err(format!("cannot lock {}: {e}", path.display())),
    }
}

/// Describes the two processes.
fn processes(settings: &Settings, flags: &Flags) -> Result<(Process, Process), String> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf))
        .ok_or("cannot tell where this program lies")?;
    let program = |name: &str| -> Result<PathBuf, String> {
        let path = beside.join(name);
        let found = path.is_file();
        found.then_some(path).ok_or_else(|| {
            let folder = beside.display();
            format!("{name} is not in {folder}; install or build it there, beside ion")
        })
    };
    let mut dataplane = Process::new(
        "ion-dataplane",
        program("ion-dataplane")?,
        Backoff::new(false),
    );
    for address in &settings.media {
        dataplane.arg("--media", address.to_string());
    }
    dataplane.arg("--workers", settings.workers.to_string());
    dataplane.arg("--io", settings.io.as_str());
    if let Some(interface) = &settings.interface {
        let bypass = &settings.bypass;
        dataplane.arg("--interface", interface);
        dataplane.arg("--xdp-mode", &bypass.xdp_mode);
        dataplane.arg("--xdp-copy", &bypass.xdp_copy);
        if let Some(microseconds) = bypass.busy_poll {
            dataplane.arg("--busy-poll", microseconds.to_string());
        }
    }
    dataplane.arg("--state-dir", settings.state_dir.display().to_string());
    dataplane.env("ION_LOG", &settings.log);
    dataplane.env("ION_LOG_FORMAT", settings.log_format.as_str());
    dataplane.without_env("ION_KEYS");

    let mut control = Process::new(
        "ion-controlplane",
        program("ion-controlplane")?,
        Backoff::new(true),
    );
    for (name, value) in flags.to_env() {
        control.env(&name, &value);
    }
    Ok((dataplane, control))
}

async fn supervise(mut dataplane: Process, mut control: Process, settings: &Settings) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("ion: cannot take signals: {error}");
            return ExitCode::from(EX_SOFTWARE);
        }
    };
    let socket = settings.dataplane_socket();
    let ready = std::cell::Cell::new(false);
    let asked = tokio::select! {
        refused = dataplane.keep_running(&ready) => Err(refused),
        refused = async {
            appears(&socket).await;
            control.keep_running(&ready).await
        } => Err(refused),
        () = announce(settings, &ready) => unreachable!("announcing never ends"),
        () = signals.next() => Ok(()),
    };
    let clean = stop(&mut dataplane, &mut control, &mut signals).await;
    match asked {
        Ok(()) if clean => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(Refused::Configuration(name)) => {
            eprintln!("ion: {name} cannot run with this configuration; its message is above");
            ExitCode::from(EX_CONFIG)
        }
        Err(Refused::Hopeless(name, why)) => {
            eprintln!("ion: giving up on {name}: {why}");
            ExitCode::from(EX_SOFTWARE)
        }
    }
}

/// Waits until a path exists, or long enough.
async fn appears(path: &Path) {
    let deadline = Instant::now() + SOCKET_TIMEOUT;
    while !path.exists() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Says where Ion can be reached, once it can. Never returns.
async fn announce(settings: &Settings, ready: &std::cell::Cell<bool>) {
    let address = remote::reachable(settings.http);
    let server = Client::new(&format!("http://{address}"), None);
    while !ready.get() {
        tokio::time::sleep(READY_INTERVAL).await;
        let server = server.clone();
        let probe = move || server.is_ready();
        ready.set(tokio::task::spawn_blocking(probe).await.unwrap_or(false));
    }
    println(&format!("Ion is running: http://{address}/"));
    std::future::pending().await
}

#[expect(
    clippy::print_stdout,
    reason = "the one line of `ion run` that scripts wait for"
)]
fn println(line: &str) {
    println!("{line}");
}

/// Stops control first, so that it can take leave of its clients, then the dataplane. Whatever is
/// left after [`STOP_TIMEOUT`], or at a second signal, is killed. Returns whether nothing was.
async fn stop(dataplane: &mut Process, control: &mut Process, signals: &mut Signals) -> bool {
    let orderly = async {
        control.stop().await;
        dataplane.stop().await;
    };
    let clean = tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, orderly) => stopped.is_ok(),
        () = signals.next() => false,
    };
    if !clean {
        control.kill().await;
        dataplane.kill().await;
    }
    clean
}

/// The signals that ask for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
