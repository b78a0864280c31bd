//! The flags that `ion run` and `ion-controlplane` share. Values stay text here: they go through
//! the same parsers as those of the file.

use std::path::PathBuf;

use super::given::{Given, Origin};
use super::spec;

/// Names the settings file in the environment.
pub const CONFIG_ENV: &str = "ION_CONFIG";

/// Settings as flags. What is not given here comes from `ION_…`, then from the file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Settings file [default: ion.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Try Ion on this machine: guests may come in, HTTP on 127.0.0.1 only
    #[arg(long)]
    pub dev: bool,
    /// Address of the HTTP server [default: 0.0.0.0:7880, with --dev 127.0.0.1:7880]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Addresses of the media port [default: 0.0.0.0:7882,[::]:7882]
    #[arg(long, value_name = "ADDR")]
    pub media: Vec<String>,
    /// Addresses to announce to clients [default: those of the interfaces]
    #[arg(long, value_name = "IP")]
    pub public_ip: Vec<String>,
    /// Pinned forwarding threads [default: cores, less one where there are more than two]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// Packet input and output: auto, uring, xdp or socket [default: auto]
    #[arg(long, value_name = "IO")]
    pub io: Option<String>,
    /// Network interface at which media bypasses the kernel's stack
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Where the XDP program runs: auto, native or generic [default: auto]
    #[arg(long, value_name = "MODE")]
    pub xdp_mode: Option<String>,
    /// How AF_XDP's frames get to the device: auto, copy or zero-copy [default: auto]
    #[arg(long, value_name = "HOW")]
    pub xdp_copy: Option<String>,
    /// Let workers poll the interface for so many microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub busy_poll: Option<String>,
    /// API keys as "key: secret"; other users of the machine can see this, so prefer ION_KEYS
    #[arg(long, value_name = "KEY: SECRET")]
    pub keys: Vec<String>,
    /// Folder for sockets and the store [default: ./var]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Log filter [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// POST, PATCH and DELETE requests that one client may make at once [default: 200]
    #[arg(long, value_name = "N")]
    pub rate_burst: Option<String>,
    /// The same, per second on average [default: 50]
    #[arg(long, value_name = "N")]
    pub rate_per_second: Option<String>,
    /// Open HTTP connections [default: 4096]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<String>,
}

impl Flags {
    /// Each setting that a flag was given for, with its values.
    fn set(&self) -> Vec<(&'static str, Vec<String>)> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let all = [
            (
                "dev",
                if self.dev {
                    vec!["true".to_owned()]
                } else {
                    Vec::new()
                },
            ),
            ("http", one(&self.http)),
            ("media", self.media.clone()),
            ("public_ip", self.public_ip.clone()),
            ("workers", one(&self.workers)),
            ("io", one(&self.io)),
            ("interface", one(&self.interface)),
            ("xdp_mode", one(&self.xdp_mode)),
            ("xdp_copy", one(&self.xdp_copy)),
            ("busy_poll", one(&self.busy_poll)),
            ("keys", self.keys.clone()),
            ("state_dir", one(&self.state_dir)),
            ("log", one(&self.log)),
            ("log_format", one(&self.log_format)),
            ("rate_burst", one(&self.rate_burst)),
            ("rate_per_second", one(&self.rate_per_second)),
            ("max_connections", one(&self.max_connections)),
        ];
        all.into_iter()
            .filter(|(_, values)| !values.is_empty())
            .collect()
    }

    pub(super) fn given(&self) -> impl Iterator<Item = Given> {
        self.set().into_iter().filter_map(|(key, values)| {
            let spec = spec::find(key)?;
            let shown = values.join(",");
            Some(Given {
                spec,
                items: spec.split(&shown),
                shown,
                origin: Origin::Flag,
            })
        })
    }

    /// The same flags as environment variables, to hand them to a child process without showing
    /// them in the process list.
    pub fn to_env(&self) -> Vec<(String, String)> {
        let config = self.config.iter().map(|path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            (CONFIG_ENV.to_owned(), path.display().to_string())
        });
        let set = self.set().into_iter();
        set.map(|(key, values)| (spec::env_name(key), values.join(",")))
            .chain(config)
            .collect()
    }
}
