//! Settings: flags, then environment (`ION_HTTP`, …), then `ion.toml`, in that order of precedence.
//!
//! All three name the same settings, and all three go through the same parsers, so a bad value
//! reads the same wherever it stands: where it is, what it is, and what would be right. An unknown
//! key in the file is an error; an unknown `ION_…` variable is a warning, because orchestrators
//! invent such names (`ION_PORT`, `ION_SERVICE_HOST`).
//!
//! Loading is pure but for [`Settings::load`]: text in, values or an error out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use ion_api::token::Keys;

/// The command line's share.
pub mod flags;
mod given;
mod spec;

pub use flags::Flags;
use given::Given;

/// Exit code for a configuration that no restart will cure (`EX_CONFIG` of sysexits.h). The
/// launcher passes it on instead of starting the process again.
pub const EX_CONFIG: u8 = 78;

/// File that is read when no other is named, if it exists.
pub const DEFAULT_FILE: &str = "ion.toml";

/// API key with `dev`, when no other is set.
pub const DEV_KEY: (&str, &str) = ("devkey", "secret");

/// How the dataplane does its input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// AF_XDP where an interface is named, else io_uring, else sockets.
    Auto,
    /// io_uring; falls back with a log line.
    Uring,
    /// AF_XDP; falls back with a log line.
    Xdp,
    /// Plain sockets.
    Socket,
}

impl Io {
    /// The name in settings and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Xdp => "xdp",
            Self::Socket => "socket",
        }
    }
}

/// Details of AF_XDP, as `ion-dataplane` takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bypass {
    /// Where the XDP program runs: `auto`, `native` or `generic`.
    pub xdp_mode: String,
    /// How frames get to the device: `auto`, `copy` or `zero-copy`.
    pub xdp_copy: String,
    /// Busy polling, microseconds.
    pub busy_poll: Option<u16>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

impl LogFormat {
    /// The name in settings and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Everything that can be set, with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A server for trying things out: guests may come in, and a well-known key exists.
    pub dev: bool,
    /// Address of the HTTP server.
    pub http: SocketAddr,
    /// Addresses of the one UDP port for all media.
    pub media: Vec<SocketAddr>,
    /// Addresses announced in candidates; empty: those of the interfaces.
    pub public_ip: Vec<IpAddr>,
    /// Pinned forwarding threads.
    pub workers: usize,
    /// How the dataplane does its input and output.
    pub io: Io,
    /// Interface that packets bypass the kernel's stack at.
    pub interface: Option<String>,
    /// How they do; each has a default.
    pub bypass: Bypass,
    /// API keys and secrets. Never empty.
    pub keys: Keys,
    /// Folder for the socket between the processes and the store.
    pub state_dir: PathBuf,
    /// `tracing` filter, such as `info,ion_controlplane=debug`.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// HTTP requests that change something, from one client, at once.
    pub rate_burst: NonZeroU32,
    /// The same, per second on average.
    pub rate_per_second: NonZeroU32,
    /// Open HTTP connections.
    pub max_connections: usize,
}

/// Settings, and what to tell the person who set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Things that look wrong and stop nobody; one line each.
    pub warnings: Vec<String>,
}

/// What is wrong with the settings, in words for the person who wrote them. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

const NO_KEYS: &str = "\
there are no API keys, and without one nobody could publish or play. Make one with

    ion key create >> ion.toml

or set ION_KEYS=\"<key>: <secret>\". To try Ion on this machine alone, use ion run --dev";

impl Settings {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Settings::from_sources`].
    pub fn load(flags: &Flags) -> Result<Loaded, SettingsError> {
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok().filter(|n| n.starts_with("ION_"))?;
                Some((name, value.to_string_lossy().into_owned()))
            })
            .collect();
        let named = flags.config.clone().or_else(|| {
            let set = env.iter().find(|(name, _)| name == flags::CONFIG_ENV);
            set.filter(|(_, value)| !value.is_empty())
                .map(|(_, value)| PathBuf::from(value))
        });
        let file = read_file(named.as_deref())?;
        let file = file
            .as_ref()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        Self::from_sources(file, &env, flags)
    }

    /// Settings from the text of a file (with the name to call it by), environment and flags.
    ///
    /// # Errors
    /// When a source names an unknown setting or a bad value, or there are no keys.
    pub fn from_sources(
        file: Option<(&str, &str)>,
        env: &[(String, String)],
        flags: &Flags,
    ) -> Result<Loaded, SettingsError> {
        let mut draft = spec::Draft::default();
        let mut warnings = Vec::new();
        let mut given: Vec<Given> = Vec::new();
        if let Some((path, text)) = file {
            given.extend(given::from_file(path, text)?);
        }
        given.extend(given::from_env(env, &mut warnings));
        given.extend(flags.given());
        for item in &given {
            item.apply(&mut draft)?;
        }
        let settings = draft.finish()?;
        settings.warn(&mut warnings);
        Ok(Loaded { settings, warnings })
    }

    fn warn(&self, warnings: &mut Vec<String>) {
        if !self.dev && self.keys.shortest_secret_bytes().is_some_and(|n| n < 32) {
            warnings.push("a secret in `keys` is shorter than 32 bytes and may be guessed".into());
        }
        if self.dev && !self.http.ip().is_loopback() {
            warnings.push(format!(
                "`dev` lets everybody who reaches {} publish and play without a token",
                self.http
            ));
        }
    }

    /// The dataplane's Unix socket.
    pub fn dataplane_socket(&self) -> PathBuf {
        self.state_dir.join("dataplane.sock")
    }

    /// The settings in force, by the names that they have in the file; of keys, the names only.
    pub fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "dev": self.dev,
            "http": self.http,
            "media": self.media,
            "public_ip": self.public_ip,
            "workers": self.workers,
            "io": self.io.as_str(),
            "interface": self.interface,
            "xdp_mode": self.bypass.xdp_mode,
            "xdp_copy": self.bypass.xdp_copy,
            "busy_poll": self.bypass.busy_poll,
            "keys": self.keys.names().collect::<Vec<_>>(),
            "state_dir": self.state_dir,
            "log": self.log,
            "log_format": self.log_format.as_str(),
            "rate_burst": self.rate_burst,
            "rate_per_second": self.rate_per_second,
            "max_connections": self.max_connections,
        })
    }

    /// The file that `--print-default-config` prints.
    pub fn default_file() -> String {
        spec::default_file()
    }
}

fn read_file(named: Option<&Path>) -> Result<Option<(String, String)>, SettingsError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let path = path.display();
            Err(SettingsError(format!(
                "{path}: cannot be read: {error}; name a settings file with --config or ION_CONFIG \
                 (ion --print-default-config prints one)"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
