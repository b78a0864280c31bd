use crate::options::LogFormat;
use ion_io::BindError;
use ion_tables::MapError;
use ion_tables::attach::AttachError;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The configuration is wrong (sysexits.h): starting again would not help.
pub const EX_CONFIG: u8 = 78;
/// The operating system refused (sysexits.h).
pub const EX_OSERR: u8 = 71;

/// Why the process ends otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A flag's value.
    #[error("{0}")]
    Flag(String),
    /// The media port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The attach socket.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The tables.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The state directory.
    #[error("the state directory {path} cannot be made: {source}; give another with --state-dir")]
    StateDir {
        /// It.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the operating system.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Workers that did not end when asked.
    #[error("{0} workers did not end within the time given")]
    Stuck(usize),
}

impl Failure {
    /// What was tried, for `map_err`.
    pub fn os(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Os { what, source }
    }

    /// The exit code: [`EX_CONFIG`] where somebody must change something first.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Bind(BindError::Os { .. })
            | Self::Attach(AttachError::Os { .. })
            | Self::Map(MapError::Os { .. })
            | Self::Os { .. }
            | Self::Stuck(_) => EX_OSERR.into(),
            _ => EX_CONFIG.into(),
        }
    }
}

/// Sends log lines to standard error.
///
/// # Errors
/// [`Failure::Flag`] when the filter cannot be read.
pub fn init_log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::Flag(format!(
            "--log {filter}: {error}; expected a filter such as info or warn,ion_dataplane=debug"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // Only a second call fails, and then lines go where the first one sends them.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// From now on a panic of any thread ends the process, whatever it was built with:
/// a dataplane without one of its workers would drop that worker's clients in silence.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Runs itself in a process of its own, where a thread panics.
    #[test]
    fn a_panic_of_any_thread_ends_the_process_loudly() {
        const CHILD: &str = "ION_TEST_PANIC";
        if std::env::var_os(CHILD).is_some() {
            abort_on_panic();
            let thread = std::thread::spawn(|| panic!("worker 3: broken"));
            let _ = thread.join();
            unreachable!("the process outlived the panic");
        }
        let name = "diagnostics::tests::a_panic_of_any_thread_ends_the_process_loudly";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        const SIGABRT: i32 = 6;
        assert_eq!(output.status.signal(), Some(SIGABRT));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("worker 3: broken"), "{said}");
        assert!(!said.contains("outlived"), "{said}");
    }
}
