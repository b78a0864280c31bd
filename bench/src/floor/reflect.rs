use super::gso::GsoSocket;
use super::sink::{MAX_UNDER_WAY, Sink};
use super::{MAX_VIEWERS, viewer_address};
use crate::cpu::{float, now_ns};
use crate::mix::{FRAMES_PER_S, VideoMix, runs};
use crate::process::Background;
use crate::stats::percentile;
use anyhow::{Context, ensure};
use ion_io::affinity;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes before the payload and behind it: what an RTP header with extensions and a tag take.
const AROUND: usize = 24 + 16;
const DATAGRAM: usize = 2_048;
/// One packet in so many has its age taken down.
const SAMPLE: u64 = 37;
/// How long after the last send arrivals are waited for.
const GRACE: Duration = Duration::from_millis(300);

/// Receives datagrams and sends each to every viewer by one plain send, until standard input ends or
/// `limit` has passed. The first line on standard output is the port.
///
/// # Errors
/// When there is no socket to be had.
pub fn reflect(viewers: u32, to_port: u16, limit: Duration) -> anyhow::Result<()> {
    ensure!(
        (1..=MAX_VIEWERS).contains(&viewers),
        "--viewers {viewers}: 1 to {MAX_VIEWERS}"
    );
    super::pin_as_worker()?;
    let socket = UdpSocket::bind("127.0.0.1:0").context("a socket")?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 8 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", socket.local_addr()?.port())?;
    stdout.flush()?;
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    std::thread::spawn(move || {
        let mut byte = [0; 64];
        while std::io::stdin().read(&mut byte).is_ok_and(|len| len > 0) {}
        told.store(true, Ordering::Relaxed);
    });
    let addresses: Vec<SocketAddr> = (0..viewers)
        .map(|viewer| viewer_address(viewer, to_port).into())
        .collect();
    let started = Instant::now();
    let mut datagram = [0; DATAGRAM];
    while !over.load(Ordering::Relaxed) && started.elapsed() < limit {
        let len = match socket.recv(&mut datagram) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error).context("receiving"),
        };
        for address in &addresses {
            // What is not sent shows as lost.
            let _ = socket.send_to(&datagram[..len], address);
        }
    }
    Ok(())
}

/// Sends the video mix through a reflector of its own process, `speed` times as fast as real time, for so
/// many seconds, and gives ages of what arrives as JSON: from just before the frame is sent to when the
/// sink reads it, as `ion-loadtest raw` measures them.
///
/// # Errors
/// When the reflector cannot be started.
pub fn latency(viewers: u32, speed: f64, seconds: u64) -> anyhow::Result<serde_json::Value> {
    ensure!(
        (0.01..=1_000.0).contains(&speed),
        "--speed {speed}: 0.01 to 1000"
    );
    let mut sink = Sink::open()?;
    let reflector = start_reflector(viewers, sink.port(), seconds + 5)?;
    affinity::pin(affinity::allowed_cores()?[0]).context("pinning the generator")?;
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, reflector.1);
    let socket = GsoSocket::open().context("the publisher's socket")?;
    let mut mix = VideoMix::default();
    let mut frames = 0_u64;
    let (mut expected, mut received) = (0_u64, 0_u64);
    let mut ages = Vec::with_capacity(1 << 20);
    let started = Instant::now();
    let span = Duration::from_secs(seconds);
    while started.elapsed() < span + GRACE {
        let due = started.elapsed().as_secs_f64() * FRAMES_PER_S * speed >= float(frames);
        let room = expected.saturating_sub(received) < MAX_UNDER_WAY / 2;
        if due && room && started.elapsed() < span {
            let packets = publish(&socket, to, &mix.next_frame())?;
            expected += packets * u64::from(viewers);
            frames += 1;
        }
        let before = received;
        sink.drain(|datagram| {
            received += 1;
            let stamp = datagram.first_chunk::<8>().copied();
            if let Some(stamp) = stamp.filter(|_| received.is_multiple_of(SAMPLE)) {
                ages.push(now_ns().saturating_sub(u64::from_be_bytes(stamp)));
            }
        })?;
        if received == expected && received > before && started.elapsed() >= span {
            break;
        }
    }
    drop(reflector);
    ages.sort_unstable();
    let us = |percent| float(percentile(&ages, percent)) / 1e3;
    Ok(json!({
        "viewers": viewers,
        "speed": speed,
        "packets_expected": expected,
        "packets_received": received,
        "packets_per_s": float(received) / span.as_secs_f64(),
        // Frames that were sent over those that were due: less than one, and it is the load that waits.
        "kept_up": float(frames) / (span.as_secs_f64() * FRAMES_PER_S * speed),
        "latency_us": { "p50": us(50), "p99": us(99), "max": us(100) },
    }))
}

/// This program once more, as the reflector; and its port.
fn start_reflector(viewers: u32, to_port: u16, seconds: u64) -> anyhow::Result<(Background, u16)> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg("reflect")
        .args(["--viewers", &viewers.to_string()])
        .args(["--to-port", &to_port.to_string()])
        .args(["--seconds", &seconds.to_string()]);
    let mut reflector = Background::start(command)?;
    let line = reflector.first_line(Duration::from_secs(5))?;
    let port = line
        .trim()
        .parse()
        .with_context(|| format!("the reflector's first line is no port: {line:?}"))?;
    Ok((reflector, port))
}

/// Sends a frame, the time at the head of each packet; returns how many packets.
fn publish(socket: &GsoSocket, to: SocketAddrV4, lens: &[usize]) -> anyhow::Result<u64> {
    let stamp = now_ns().to_be_bytes();
    let lens: Vec<_> = lens.iter().map(|len| len + AROUND).collect();
    let mut first = 0;
    for run in runs(&lens) {
        let mut bytes = Vec::with_capacity(run * DATAGRAM);
        for len in &lens[first..first + run] {
            let start = bytes.len();
            bytes.resize(start + len, 0x5a);
            bytes[start..start + stamp.len()].copy_from_slice(&stamp);
        }
        socket.send(to, &bytes, lens[first]).context("publishing")?;
        first += run;
    }
    Ok(lens.len() as u64)
}
