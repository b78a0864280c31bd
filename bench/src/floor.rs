//! One SRTP open, a seal for each viewer into contiguous memory, and the cheapest sends of those sizes.
//! No rows, no reports, no retransmission; of the header only SSRC and sequence number change. The thread
//! runs on the core that a worker would have, a viewer is an address of its own, and whatever is sent is
//! received.

/// UDP GSO sends with nothing besides.
pub mod gso;
/// What is forwarded: the published stream, opened.
pub mod publisher;
/// A bare UDP reflector and its latency.
pub mod reflect;
/// Where it all ends.
pub mod sink;

use crate::cpu::{float, thread_ns};
use crate::mix::runs;
use crate::plain_send;
use anyhow::{Context, ensure};
use gso::GsoSocket;
use ion_io::affinity;
use ion_srtp::Sealer;
use publisher::{PROFILE, Plain, Receiver, Stream, TAG, master_key};
use serde_json::json;
use sink::{Drained, MAX_UNDER_WAY};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Viewers at most: those that the address range holds.
pub const MAX_VIEWERS: u32 = 65_000;
/// The publisher's address; viewers' follow it.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([127, 16, 0, 1]);
/// Frames that are published in turn.
const FRAMES: usize = 60;
const WARM_UP: Duration = Duration::from_millis(500);
/// Time without an arrival after which what is missing is given up.
const PATIENCE: Duration = Duration::from_millis(200);

/// The address of a viewer, the first of which is 0.
fn viewer_address(viewer: u32, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(FIRST_ADDRESS + 1 + viewer), port)
}

/// Puts this thread on the core that a lone worker has: the last that is allowed.
///
/// # Errors
/// When the kernel does not say which are.
pub fn pin_as_worker() -> anyhow::Result<()> {
    let cores = affinity::allowed_cores()?;
    if let Some(&core) = affinity::plan(&cores, 1).first() {
        affinity::pin(core).context("pinning the floor")?;
    }
    Ok(())
}

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Open and seal only.
    Crypto,
    /// All of it.
    Forward,
}

/// What a variant cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    cpu_ns: u64,
    packets: u64,
    sends: u64,
    lost: u64,
}

impl Cost {
    fn ns_per_packet(&self) -> f64 {
        float(self.cpu_ns) / float(self.packets)
    }
}

/// The forwarder.
struct Floor {
    stream: Stream,
    receiver: Receiver,
    viewers: Vec<(SocketAddrV4, Sealer)>,
    /// The next index of every viewer.
    index: u64,
    socket: GsoSocket,
    sink: Drained,
    memory: Vec<u8>,
    /// Sent, and given up, since the start.
    sent: u64,
    lost: u64,
}

/// Measures both variants for `seconds` each and gives the result as JSON.
///
/// # Errors
/// When there are no sockets to be had, or packets get lost.
pub fn measure(viewers: u32, seconds: u64) -> anyhow::Result<serde_json::Value> {
    ensure!(
        (1..=MAX_VIEWERS).contains(&viewers),
        "--viewers {viewers}: 1 to {MAX_VIEWERS}"
    );
    // Before the sink runs: its thread may share a core's units with ours.
    let plain_send_ns = plain_send::cost_ns()?;
    let sink = Drained::start()?;
    pin_as_worker()?;
    let port = sink.port();
    let clients = (0..viewers)
        .map(|viewer| {
            let sealer = Sealer::new(PROFILE, &master_key(viewer + 1, true)?);
            Ok((viewer_address(viewer, port), sealer))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut floor = Floor {
        stream: Stream::publish(FRAMES)?,
        receiver: Receiver::new()?,
        viewers: clients,
        index: 0,
        socket: GsoSocket::open()?,
        sink,
        memory: vec![0; 1 << 16],
        sent: 0,
        lost: 0,
    };
    let span = Duration::from_secs(seconds);
    let mut variants = serde_json::Map::new();
    for (name, level) in [("equal_sizes", true), ("as_split", false)] {
        floor.run(Work::Forward, level, WARM_UP)?;
        let cost = floor.run(Work::Forward, level, span)?;
        let crypto = floor.run(Work::Crypto, level, WARM_UP)?;
        let ns = cost.ns_per_packet();
        let variant = json!({
            "cpu_ns_per_packet": ns,
            "plain_sends_per_packet": ns / plain_send_ns,
            "crypto_ns_per_packet": crypto.ns_per_packet(),
            "packets_per_send": float(cost.packets) / float(cost.sends.max(1)),
            "packets": cost.packets,
            "lost": cost.lost,
        });
        variants.insert(name.into(), variant);
    }
    Ok(json!({
        "plain_send_ns": plain_send_ns,
        "viewers": viewers,
        "variants": variants,
    }))
}

impl Floor {
    fn run(&mut self, work: Work, level: bool, span: Duration) -> anyhow::Result<Cost> {
        let started = Instant::now();
        let mut cost = Cost::default();
        let lost = self.lost;
        while started.elapsed() < span {
            self.receiver.rewind();
            for frame in 0..self.stream.frames().len() {
                let before = thread_ns();
                let (packets, sends) = self.forward(frame, work, level)?;
                cost.cpu_ns += thread_ns() - before;
                cost.packets += packets;
                cost.sends += sends;
                if work == Work::Forward {
                    self.sent += packets;
                    self.settle(packets);
                }
                if started.elapsed() >= span {
                    break;
                }
            }
        }
        cost.lost = self.lost - lost;
        Ok(cost)
    }

    /// One frame to all viewers; returns packets and sends.
    fn forward(&mut self, frame: usize, work: Work, level: bool) -> anyhow::Result<(u64, u64)> {
        let plains = self.receiver.open(&self.stream.frames()[frame], level)?;
        let lens: Vec<_> = plains.iter().map(|plain| plain.len + TAG).collect();
        let runs = runs(&lens);
        let (mut packets, mut sends) = (0, 0);
        for (ssrc, (address, sealer)) in (0x2000_0000..).zip(&mut self.viewers) {
            let mut at = 0;
            for (index, plain) in (self.index..).zip(plains) {
                at += seal(sealer, plain, ssrc, index, &mut self.memory[at..])?;
            }
            packets += plains.len() as u64;
            if work == Work::Crypto {
                continue;
            }
            let (mut start, mut first) = (0, 0);
            for run in &runs {
                let len: usize = lens[first..first + run].iter().sum();
                let bytes = &self.memory[start..start + len];
                self.socket
                    .send(*address, bytes, lens[first])
                    .context("sending")?;
                (start, first) = (start + len, first + run);
                sends += 1;
            }
        }
        self.index += plains.len() as u64;
        Ok((packets, sends))
    }

    /// Waits until the sink has room for as much again. Not measured.
    fn settle(&mut self, packets: u64) {
        let limit = MAX_UNDER_WAY.saturating_sub(packets).min(2 * packets);
        let mut seen = self.sink.received();
        let mut since = Instant::now();
        loop {
            let received = self.sink.received();
            let under_way = (self.sent - self.lost).saturating_sub(received);
            if under_way <= limit {
                return;
            }
            if received != seen {
                (seen, since) = (received, Instant::now());
            } else if since.elapsed() > PATIENCE {
                self.lost += under_way;
                return;
            }
            std::hint::spin_loop();
        }
    }
}

/// Seals a packet for a viewer; returns its length.
fn seal(
    sealer: &mut Sealer,
    plain: &Plain,
    ssrc: u32,
    index: u64,
    out: &mut [u8],
) -> anyhow::Result<usize> {
    let (header, payload) = plain.bytes[..plain.len].split_at(plain.header);
    let [.., high, low] = index.to_be_bytes();
    out[..plain.header].copy_from_slice(header);
    out[2..4].copy_from_slice(&[high, low]);
    out[8..12].copy_from_slice(&ssrc.to_be_bytes());
    Ok(sealer.seal_rtp(plain.header, index, ssrc, payload, out)?)
}
