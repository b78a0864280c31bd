use clap::{Parser, ValueEnum};
use ion_ebpf::XdpMode;
use ion_engine::EngineConfig;
use ion_io::IoMode;
use ion_io::xdp::CopyMode;
use ion_tables::Capacities;
use ion_tables::layout::{MAX_CAPACITY, MAX_WORKERS};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The forwarding process of Ion. `ion run` starts it together with the control
/// plane; by itself it waits for one on its state directory's socket.
#[derive(Debug, Clone, Parser)]
#[command(name = "ion-dataplane", version, about)]
pub struct Options {
    /// UDP address for all media; may be given several times.
    #[arg(
        long,
        env = "ION_MEDIA",
        value_name = "ADDR",
        value_delimiter = ',',
        default_values = ["0.0.0.0:7882", "[::]:7882"]
    )]
    pub media: Vec<SocketAddr>,

    /// Forwarding threads [default: the number of cores, less one where there are more than two].
    #[arg(
        long,
        env = "ION_WORKERS",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS as i64)
    )]
    pub workers: Option<u16>,

    /// How packets go in and out.
    #[arg(long, env = "ION_IO", value_enum, default_value_t = Io::Auto)]
    pub io: Io,

    /// Network interface to bypass the kernel's stack at, with AF_XDP and an XDP program (`--io auto` or `xdp`).
    #[arg(long, env = "ION_INTERFACE", value_name = "NAME")]
    pub interface: Option<String>,

    /// Where the XDP program runs: native is in the driver, generic behind it.
    #[arg(
        long,
        env = "ION_XDP_MODE",
        value_name = "auto|native|generic",
        default_value = "auto"
    )]
    pub xdp_mode: XdpMode,

    /// How AF_XDP's frames get to the device: without a copy where the driver can, or always so, or never.
    #[arg(long, env = "ION_XDP_COPY", value_enum, default_value_t = XdpCopy::Auto)]
    pub xdp_copy: XdpCopy,

    /// Let workers poll the interface for so many microseconds, in place of interrupts (AF_XDP only).
    #[arg(
        long,
        env = "ION_BUSY_POLL",
        value_name = "MICROSECONDS",
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    pub busy_poll: Option<u16>,

    /// Folder of the socket that the control plane attaches to.
    #[arg(
        long,
        env = "ION_STATE_DIR",
        value_name = "DIR",
        default_value = "./var"
    )]
    pub state_dir: PathBuf,

    /// What to log, such as `info` or `warn,ion_dataplane=debug`.
    #[arg(long, env = "ION_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How log lines look.
    #[arg(long, env = "ION_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Clients at once.
    #[arg(long, value_name = "N", default_value_t = Capacities::default().transports, value_parser = rows())]
    pub max_transports: u32,

    /// Published sources at once.
    #[arg(long, value_name = "N", default_value_t = Capacities::default().tracks, value_parser = rows())]
    pub max_tracks: u32,

    /// RTP streams of published sources at once.
    #[arg(long, value_name = "N", default_value_t = Capacities::default().encodings, value_parser = rows())]
    pub max_encodings: u32,

    /// Sources sent to viewers at once.
    #[arg(long, value_name = "N", default_value_t = Capacities::default().subscriptions, value_parser = rows())]
    pub max_subscriptions: u32,

    /// Packets that each worker keeps at most (1.7 KiB each; taken as they are needed).
    #[arg(
        long,
        value_name = "N",
        default_value_t = u32::try_from(EngineConfig::default().packets).unwrap_or(u32::MAX),
        value_parser = clap::value_parser!(u32).range(1_024..=1 << 24)
    )]
    pub packets: u32,

    /// Print each worker's core (with --interface its queues and their interrupts too), and end.
    #[arg(long)]
    pub print_affinity: bool,
}

fn rows() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MAX_CAPACITY))
}

/// Values of `--io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Io {
    /// What is cheapest here: AF_XDP where an interface is named, else io_uring, else plain sockets.
    Auto,
    /// io_uring where the kernel allows it, else plain sockets.
    Uring,
    /// AF_XDP on the interface, else as `uring`.
    Xdp,
    /// Plain sockets.
    Socket,
}

impl Io {
    /// What is used without AF_XDP, or beside it.
    pub fn mode(self) -> IoMode {
        match self {
            Self::Auto | Self::Uring | Self::Xdp => IoMode::Uring,
            Self::Socket => IoMode::Socket,
        }
    }
}

/// Values of `--xdp-copy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum XdpCopy {
    /// Zero-copy where the driver can, else copies.
    Auto,
    /// The kernel copies.
    Copy,
    /// Zero-copy, or no AF_XDP.
    ZeroCopy,
}

impl From<XdpCopy> for CopyMode {
    fn from(copy: XdpCopy) -> Self {
        match copy {
            XdpCopy::Auto => Self::Auto,
            XdpCopy::Copy => Self::Copy,
            XdpCopy::ZeroCopy => Self::ZeroCopy,
        }
    }
}

/// Values of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Options {
    /// Rows of each table.
    pub fn capacities(&self) -> Capacities {
        Capacities {
            transports: self.max_transports,
            tracks: self.max_tracks,
            encodings: self.max_encodings,
            subscriptions: self.max_subscriptions,
        }
    }

    /// Workers, with so many cores to run on.
    pub fn workers(&self, cores: usize) -> usize {
        let default = if cores > 2 { cores - 1 } else { cores };
        self.workers
            .map_or(default, usize::from)
            .clamp(1, MAX_WORKERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::try_parse_from([&["ion-dataplane"], arguments].concat()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_manual() {
        let options = parse(&[]).unwrap();
        let media: Vec<_> = options.media.iter().map(ToString::to_string).collect();
        assert_eq!(media, ["0.0.0.0:7882", "[::]:7882"]);
        assert_eq!(options.io.mode(), IoMode::Uring);
        let workers: Vec<_> = [1, 2, 3, 16, 500].map(|n| options.workers(n)).into();
        assert_eq!(workers, [1, 2, 2, 15, MAX_WORKERS]);
    }

    #[test]
    fn bad_values_are_named_with_what_would_be_right() {
        for (arguments, parts) in [
            (["--workers", "0"], ["--workers", "1..=64"]),
            (["--workers", "65"], ["--workers", "1..=64"]),
            (["--media", "7882"], ["--media", "7882"]),
            (["--io", "ring"], ["--io", "auto, uring, xdp, socket"]),
            (
                ["--xdp-mode", "fast"],
                ["--xdp-mode", "auto, native, generic"],
            ),
            (["--busy-poll", "0"], ["--busy-poll", "1..=1000"]),
            (["--max-tracks", "0"], ["--max-tracks", "1..="]),
        ] {
            let message = parse(&arguments).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
