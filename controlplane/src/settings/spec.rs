//! What can be set: name, parser, what a good value looks like, and the text of the default file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use ion_api::limits;
use ion_api::ratelimit::Quota;
use ion_api::token::Keys;
use tracing_subscriber::EnvFilter;

use super::{Bypass, DEV_KEY, Io, LogFormat, NO_KEYS, Settings, SettingsError};

/// Port of the HTTP server.
const HTTP_PORT: u16 = 7880;

/// Port of all media.
const MEDIA_PORT: u16 = 7882;

/// Addresses that the media port may be bound to.
const MEDIA_ADDRESSES: usize = 8;

/// Addresses that may be announced.
const PUBLIC_ADDRESSES: usize = 16;

/// Forwarding threads, at most.
const WORKERS: usize = 64;

/// Bytes of the state folder's path: sockaddr_un has 108 for it and the socket's name (unix(7)).
const STATE_DIR_BYTES: usize = 90;

/// API keys, at most.
const KEYS: usize = 1024;

/// One setting.
pub(super) struct Spec {
    pub(super) key: &'static str,
    pub(super) list: bool,
    pub(super) secret: bool,
    /// Ends the sentence "expected …".
    pub(super) expected: &'static str,
    /// Parses into the draft; `None` when the value is no good.
    pub(super) set: fn(&mut Draft, &[String]) -> Option<()>,
    /// Comment lines of the default file.
    about: &'static str,
    /// The commented-out line of the default file.
    example: &'static str,
}

impl Spec {
    /// Splits the text of a variable or flag.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        if !self.list {
            return vec![text.trim().to_owned()];
        }
        text.split(',').map(|item| item.trim().to_owned()).collect()
    }
}

/// Settings while they are being read: `None` means the default.
#[derive(Default)]
pub(super) struct Draft {
    dev: Option<bool>,
    http: Option<SocketAddr>,
    media: Option<Vec<SocketAddr>>,
    public_ip: Option<Vec<IpAddr>>,
    workers: Option<usize>,
    io: Option<Io>,
    interface: Option<String>,
    xdp_mode: Option<String>,
    xdp_copy: Option<String>,
    busy_poll: Option<u16>,
    keys: Option<Keys>,
    state_dir: Option<PathBuf>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    rate_burst: Option<NonZeroU32>,
    rate_per_second: Option<NonZeroU32>,
    max_connections: Option<usize>,
}

impl Draft {
    /// Fills in the defaults.
    pub(super) fn finish(self) -> Result<Settings, SettingsError> {
        let dev = self.dev.unwrap_or(false);
        let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let keys = match self.keys {
            Some(keys) if !keys.is_empty() => keys,
            _ if dev => Keys::from_iter([DEV_KEY]),
            _ => return Err(SettingsError(NO_KEYS.to_owned())),
        };
        let quota = Quota::default();
        Ok(Settings {
            dev,
            http: self.http.unwrap_or(SocketAddr::new(
                if dev { here } else { everywhere },
                HTTP_PORT,
            )),
            media: self.media.unwrap_or_else(|| {
                vec![
                    SocketAddr::new(everywhere, MEDIA_PORT),
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), MEDIA_PORT),
                ]
            }),
            public_ip: self.public_ip.unwrap_or_default(),
            workers: self.workers.unwrap_or_else(default_workers),
            io: self.io.unwrap_or(Io::Auto),
            interface: self.interface,
            bypass: Bypass {
                xdp_mode: self.xdp_mode.unwrap_or_else(|| "auto".to_owned()),
                xdp_copy: self.xdp_copy.unwrap_or_else(|| "auto".to_owned()),
                busy_poll: self.busy_poll,
            },
            keys,
            state_dir: self.state_dir.unwrap_or_else(|| PathBuf::from("./var")),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or(LogFormat::Text),
            rate_burst: self.rate_burst.unwrap_or(quota.burst),
            rate_per_second: self.rate_per_second.unwrap_or(quota.per_second),
            max_connections: self.max_connections.unwrap_or(limits::CONNECTIONS),
        })
    }
}

fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    workers_for(cores)
}

/// Threads for a number of cores: one is left to control where there are more than two.
pub(super) fn workers_for(cores: usize) -> usize {
    if cores > 2 {
        (cores - 1).min(WORKERS)
    } else {
        cores.max(1)
    }
}

fn put<T>(slot: &mut Option<T>, value: Option<T>) -> Option<()> {
    *slot = Some(value?);
    Some(())
}

fn parse<T: FromStr>(items: &[String]) -> Option<T> {
    items.first()?.trim().parse().ok()
}

fn parse_all<T: FromStr + PartialEq>(items: &[String], max: usize) -> Option<Vec<T>> {
    let values: Vec<T> = items
        .iter()
        .map(|i| i.trim().parse().ok())
        .collect::<Option<_>>()?;
    let distinct = values
        .iter()
        .enumerate()
        .all(|(n, v)| !values[..n].contains(v));
    (!values.is_empty() && values.len() <= max && distinct).then_some(values)
}

fn media(items: &[String]) -> Option<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = parse_all(items, MEDIA_ADDRESSES)?;
    let port = addresses.first()?.port();
    addresses
        .iter()
        .all(|a| a.port() == port)
        .then_some(addresses)
}

fn public_ip(items: &[String]) -> Option<Vec<IpAddr>> {
    let addresses: Vec<IpAddr> = parse_all(items, PUBLIC_ADDRESSES)?;
    addresses
        .iter()
        .all(|a| !a.is_unspecified() && !a.is_multicast())
        .then_some(addresses)
}

fn keys(items: &[String]) -> Option<Keys> {
    let mut keys = Keys::default();
    for item in items {
        let (key, secret) = item.split_once(':')?;
        let (key, secret) = (key.trim(), secret.trim());
        let plain = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        if !plain(key) || !plain(secret) || keys.names().any(|name| name == key) {
            return None;
        }
        keys.insert(key, secret);
    }
    (!keys.is_empty() && keys.names().count() <= KEYS).then_some(keys)
}

fn io(items: &[String]) -> Option<Io> {
    [Io::Auto, Io::Uring, Io::Xdp, Io::Socket]
        .into_iter()
        .find(|io| io.as_str() == items[0])
}

/// One of some words.
fn word(items: &[String], words: &[&str]) -> Option<String> {
    let word = items.first()?;
    words.contains(&word.as_str()).then(|| word.clone())
}

/// As the kernel takes them (netdevice(7)): 15 bytes, neither slash nor space.
fn interface(items: &[String]) -> Option<String> {
    let name = items.first()?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
    ((1..=15).contains(&name.len()) && name.chars().all(plain)).then(|| name.clone())
}

fn busy_poll(items: &[String]) -> Option<u16> {
    parse(items).filter(|us| (1..=1_000).contains(us))
}

fn log_format(items: &[String]) -> Option<LogFormat> {
    [LogFormat::Text, LogFormat::Json]
        .into_iter()
        .find(|format| format.as_str() == items[0])
}

fn log(items: &[String]) -> Option<String> {
    let filter = items[0].clone();
    (!filter.is_empty() && EnvFilter::try_new(&filter).is_ok()).then_some(filter)
}

fn state_dir(items: &[String]) -> Option<PathBuf> {
    let path = &items[0];
    (!path.is_empty() && path.len() <= STATE_DIR_BYTES && !path.contains('\0'))
        .then(|| PathBuf::from(path))
}

fn flag(items: &[String]) -> Option<bool> {
    match items[0].as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// All settings, in the order of the default file.
pub(super) const SPECS: [Spec; 17] = [
    Spec {
        key: "http",
        list: false,
        secret: false,
        expected: "an IP address and a port that is not 0, such as 127.0.0.1:7880 or [::]:7880",
        set: |d, i| put(&mut d.http, parse(i).filter(|a: &SocketAddr| a.port() != 0)),
        about: "HTTP API, WHIP, WHEP and the page. With dev, 127.0.0.1:7880.",
        example: "http = \"0.0.0.0:7880\"",
    },
    Spec {
        key: "media",
        list: true,
        secret: false,
        expected: "one to eight different IP addresses, all with the same port, such as \
                   0.0.0.0:7882",
        set: |d, i| put(&mut d.media, media(i)),
        about: "The one UDP port for all media, on each of these addresses.",
        example: "media = [\"0.0.0.0:7882\", \"[::]:7882\"]",
    },
    Spec {
        key: "public_ip",
        list: true,
        secret: false,
        expected: "up to sixteen different IP addresses without a port that clients can reach (not 0.0.0.0), such as 203.0.113.7",
        set: |d, i| put(&mut d.public_ip, public_ip(i)),
        about: "Addresses announced to clients, where they differ from those of the interfaces\n\
                (a NAT in front, a cloud's elastic address).",
        example: "public_ip = [\"203.0.113.7\"]",
    },
    Spec {
        key: "workers",
        list: false,
        secret: false,
        expected: "a whole number from 1 to 64",
        set: |d, i| {
            put(
                &mut d.workers,
                parse(i).filter(|n| (1..=WORKERS).contains(n)),
            )
        },
        about: "Pinned forwarding threads: the number of cores, less one for control where there\n\
                are more than two.",
        example: "workers = 3",
    },
    Spec {
        key: "io",
        list: false,
        secret: false,
        expected: "auto, uring, xdp or socket",
        set: |d, i| put(&mut d.io, io(i)),
        about: "How packets come and go: \"auto\", \"uring\" (io_uring), \"xdp\" (AF_XDP on `interface`), \"socket\".",
        example: "io = \"auto\"",
    },
    Spec {
        key: "interface",
        list: false,
        secret: false,
        expected: "the name of a network interface, such as eth0",
        set: |d, i| put(&mut d.interface, interface(i)),
        about: "Network interface at which media bypasses the kernel's stack: an XDP program polices and steers\n\
                what comes, AF_XDP carries it. Needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW. Without it: sockets.",
        example: "interface = \"eth0\"",
    },
    Spec {
        key: "xdp_mode",
        list: false,
        secret: false,
        expected: "auto, native or generic",
        set: |d, i| put(&mut d.xdp_mode, word(i, &["auto", "native", "generic"])),
        about: "Where the XDP program runs: \"native\" is in the driver, \"generic\" behind it.",
        example: "xdp_mode = \"auto\"",
    },
    Spec {
        key: "xdp_copy",
        list: false,
        secret: false,
        expected: "auto, copy or zero-copy",
        set: |d, i| put(&mut d.xdp_copy, word(i, &["auto", "copy", "zero-copy"])),
        about: "How AF_XDP's frames get to the device: \"zero-copy\" needs a driver that can.",
        example: "xdp_copy = \"auto\"",
    },
    Spec {
        key: "busy_poll",
        list: false,
        secret: false,
        expected: "microseconds, 1 to 1000",
        set: |d, i| put(&mut d.busy_poll, busy_poll(i)),
        about: "Let workers poll the interface for so many microseconds, in place of interrupts.",
        example: "busy_poll = 50",
    },
    Spec {
        key: "state_dir",
        list: false,
        secret: false,
        expected: "the path of a folder, of at most 90 bytes (a Unix socket in it has no more)",
        set: |d, i| put(&mut d.state_dir, state_dir(i)),
        about: "Folder for the socket between the two processes, and for the store.",
        example: "state_dir = \"./var\"",
    },
    Spec {
        key: "log",
        list: false,
        secret: false,
        expected: "a log filter, such as info or warn,ion_controlplane=debug",
        set: |d, i| put(&mut d.log, log(i)),
        about: "Log filter: error, warn, info, debug or trace, also per module.",
        example: "log = \"info\"",
    },
    Spec {
        key: "log_format",
        list: false,
        secret: false,
        expected: "text or json",
        set: |d, i| put(&mut d.log_format, log_format(i)),
        about: "Log lines for people (\"text\") or for machines (\"json\").",
        example: "log_format = \"text\"",
    },
    Spec {
        key: "rate_burst",
        list: false,
        secret: false,
        expected: "a whole number from 1 to 4294967295",
        set: |d, i| put(&mut d.rate_burst, parse(i)),
        about: "POST, PATCH and DELETE requests that one client may make at once; beyond, 429.",
        example: "rate_burst = 200",
    },
    Spec {
        key: "rate_per_second",
        list: false,
        secret: false,
        expected: "a whole number from 1 to 4294967295",
        set: |d, i| put(&mut d.rate_per_second, parse(i)),
        about: "The same, per second on average.",
        example: "rate_per_second = 50",
    },
    Spec {
        key: "max_connections",
        list: false,
        secret: false,
        expected: "a whole number from 1 to 1000000",
        set: |d, i| {
            put(
                &mut d.max_connections,
                parse(i).filter(|n| (1..=1_000_000).contains(n)),
            )
        },
        about: "Open HTTP connections; further ones wait.",
        example: "max_connections = 4096",
    },
    Spec {
        key: "dev",
        list: false,
        secret: false,
        expected: "true or false",
        set: |d, i| put(&mut d.dev, flag(i)),
        about: "A server for trying things out: whoever comes without a token is a guest who may\n\
                publish and play, HTTP listens on 127.0.0.1, and the key is \"devkey: secret\".",
        example: "dev = false",
    },
    Spec {
        key: "keys",
        list: true,
        secret: true,
        expected: "`key: secret` pairs (in ion.toml, a table [keys] with key = \"secret\"), each \
                   key once, without blanks",
        set: |d, i| put(&mut d.keys, keys(i)),
        about: "API keys: tokens are signed with the secret and carry the key as `iss`.\n\
                `ion key create` makes one. Keep this table last.",
        example: "[keys]\n# mykey = \"a secret of at least 32 characters\"",
    },
];

pub(super) fn find(key: &str) -> Option<&'static Spec> {
    const { &SPECS }.iter().find(|spec| spec.key == key)
}

/// The variable of a setting.
pub(super) fn env_name(key: &str) -> String {
    format!("ION_{}", key.to_ascii_uppercase())
}

/// Whether an unknown key may hold a secret.
pub(super) fn resembles_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["key", "secret", "token", "pass"]
        .iter()
        .any(|word| key.contains(word))
}

/// The setting that somebody who wrote `key` may have meant.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let near = SPECS
        .iter()
        .map(|spec| (distance(&key, spec.key), spec.key))
        .min()?;
    (near.0 <= 2).then_some(near.1)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A settings file with every setting commented out, at its default.
pub(super) fn default_file() -> String {
    let mut out = String::from(
        "# Settings of Ion. Flags (--http) and environment (ION_HTTP) name the same settings and\n\
         # take precedence, flags first. Lines here are commented out and show the defaults.\n",
    );
    for spec in &SPECS {
        out.push('\n');
        for line in spec.about.lines() {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&format!("# {}\n", spec.example));
    }
    out
}
