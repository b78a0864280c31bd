use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

/// The interface of the dataplane between two namespaces.
const DEVICE: &str = "ion-raw";
const FAR_DEVICE: &str = "ion-raw-far";
/// Their Ethernet addresses.
const MAC: &str = "02:00:00:00:06:01";
const FAR_MAC: &str = "02:00:00:00:06:02";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 213, 6, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 213, 6, 2);
/// Addresses of clients between namespaces: all are those of the far one.
const CLIENTS: &str = "10.64.0.0/10";

/// Which side of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The dataplane's.
    Server,
    /// Publishers', viewers' and ours.
    Client,
}

/// Where a run takes place: on loopback, or between two network namespaces of its own that a pair
/// of veth connects and that have no way out.
pub(super) struct Place {
    namespaces: Option<Namespaces>,
}

impl Place {
    /// All on loopback.
    pub(super) fn loopback() -> Self {
        Self { namespaces: None }
    }

    /// Two namespaces, with so many queues between them. Needs root.
    pub(super) fn veth(queues: u16) -> anyhow::Result<Self> {
        let namespaces = Namespaces::new(queues).context("making network namespaces (as root?)")?;
        Ok(Self {
            namespaces: Some(namespaces),
        })
    }

    /// The address that each client's is counted up from: each has one, which all lead to one socket.
    pub(super) fn first_client(&self) -> u32 {
        let first = match self.namespaces {
            None => Ipv4Addr::new(127, 16, 0, 1),
            Some(_) => Ipv4Addr::new(10, 64, 0, 1),
        };
        first.to_bits()
    }

    /// An address of an end.
    pub(super) fn address(&self, end: End) -> Ipv4Addr {
        match (&self.namespaces, end) {
            (None, _) => Ipv4Addr::LOCALHOST,
            (Some(_), End::Server) => SERVER,
            (Some(_), End::Client) => CLIENT,
        }
    }

    /// The dataplane's interface, where there is one.
    pub(super) fn interface(&self) -> Option<&'static str> {
        self.namespaces.as_ref().map(|_| DEVICE)
    }

    /// Runs `f` where sockets that this thread makes, and processes that it starts, are of that end.
    pub(super) fn at<T>(
        &self,
        end: End,
        f: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Some(namespaces) = &self.namespaces else {
            return f();
        };
        let here = File::open("/proc/thread-self/ns/net").context("our network namespace")?;
        enter(&namespaces.open(end)?)?;
        let result = f();
        enter(&here)?;
        result
    }
}

fn enter(namespace: &File) -> anyhow::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering a network namespace")
}

/// Taken away when this is dropped, with their interfaces.
struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    fn new(queues: u16) -> anyhow::Result<Self> {
        let pid = std::process::id();
        let made = Self {
            names: ["server", "client"].map(|end| format!("ion-raw-{pid}-{end}")),
        };
        let [server, client] = &made.names;
        let many = format!("numrxqueues {queues} numtxqueues {queues}");
        ip(&format!("netns add {server}"))?;
        ip(&format!("netns add {client}"))?;
        let far = format!("name {FAR_DEVICE} {many} address {FAR_MAC} netns {client}");
        ip(&format!(
            "-n {server} link add {DEVICE} {many} address {MAC} type veth peer {far}"
        ))?;
        let near = (server, DEVICE, SERVER, CLIENT, FAR_MAC);
        let far = (client, FAR_DEVICE, CLIENT, SERVER, MAC);
        for (name, device, address, other, other_mac) in [near, far] {
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev {device}"))?;
            ip(&format!("-n {name} link set {device} up"))?;
            // The first frame, which has the keyframe, would wait for ARP, and mostly be lost.
            ip(&format!(
                "-n {name} neigh replace {other} lladdr {other_mac} dev {device} nud permanent"
            ))?;
            // Behind XDP nobody finishes a checksum that veth left unfinished.
            command(&format!("ip netns exec {name} ethtool -K {device} tx off"))?;
        }
        ip(&format!("-n {server} route add {CLIENTS} via {CLIENT}"))?;
        ip(&format!("-n {client} route add local {CLIENTS} dev lo"))?;
        Ok(made)
    }

    fn open(&self, end: End) -> anyhow::Result<File> {
        let name = &self.names[end as usize];
        File::open(format!("/run/netns/{name}")).with_context(|| format!("the namespace {name}"))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    command(&format!("ip {arguments}"))
}

fn command(line: &str) -> anyhow::Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program}: is it installed?"))?;
    ensure!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
