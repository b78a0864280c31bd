//! What the XDP program saves: packets relayed, and junk dropped, per second of one core, against a process
//! that does the same by plain sockets. All in one run, on a veth pair in a namespace of its own:
//!
//! ```text
//! cargo run --release -p ion-ebpf --example ion-ebpf-bench [SECONDS]
//! ```
//!
//! Frames are put into the pair as a network card would (`BPF_PROG_TEST_RUN` of a generator, live frames)
//! by one core. What receives them is a kernel thread (threaded NAPI) on another core; where sockets
//! are measured, the process that reads them is on that core too. The CPU time of both, by the scheduler's own
//! account, is what is divided; what generator and far end cost is not in it.

use anyhow::{Context, Result, bail};
use ion_ebpf::{Flow, FlowKey, Programs, Relay, Settings, Verdict, XdpMode};
use ion_wire::frame::FrameHeaders;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Frames at the rate of the memory, by a BPF program made here.
mod generator;
/// The namespace, its veth pair, and the thread that receives.
mod machine;
/// The same work by plain sockets.
mod sockets;

use generator::{Generator, attach_drop};
use machine::{FAR_MAC, NEAR_MAC, Receiver};

/// Of the standard traffic mix, what most packets have: video.
const PAYLOAD_LEN: usize = 1_155;
const ROUNDS: usize = 3;

/// What is done with the packets.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Relay,
    Drop,
}

/// What a measurement gave.
struct Figures {
    packets: u64,
    cpu: Duration,
}

impl Figures {
    fn per_second(&self) -> f64 {
        self.packets as f64 / self.cpu.as_secs_f64()
    }
}

fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(2), |text| text.parse());
    let window = Duration::from_secs(seconds.context("SECONDS")?);
    machine::enter().context("a namespace needs root")?;
    let far = attach_drop(machine::FAR)?;
    for work in [Work::Relay, Work::Drop] {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let xdp = by_xdp(work, window)?;
            let sockets = by_sockets(work, window)?;
            ratios.push(report(work, &xdp, &sockets)?);
        }
        ratios.sort_by(f64::total_cmp);
        let name = name_of(work);
        let line = format!("{name}: median {:.1} x (bar: 5 x)\n", ratios[ROUNDS / 2]);
        std::io::stdout().write_all(line.as_bytes())?;
    }
    drop(far);
    Ok(())
}

fn name_of(work: Work) -> &'static str {
    match work {
        Work::Relay => "relay",
        Work::Drop => "junk dropped",
    }
}

fn report(work: Work, xdp: &Figures, sockets: &Figures) -> Result<f64> {
    if xdp.packets < 10_000 || sockets.packets < 10_000 {
        bail!("too few packets: {} and {}", xdp.packets, sockets.packets);
    }
    let ratio = xdp.per_second() / sockets.per_second();
    let nanoseconds = |figures: &Figures| 1e9 / figures.per_second();
    let line = format!(
        "{}: XDP {:.2} M/s of one core ({:.0} ns), sockets {:.3} M/s ({:.0} ns): {ratio:.1} x\n",
        name_of(work),
        xdp.per_second() / 1e6,
        nanoseconds(xdp),
        sockets.per_second() / 1e6,
        nanoseconds(sockets),
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(ratio)
}

fn client() -> SocketAddr {
    ([10, 9, 0, 2], 40_000).into()
}

fn media() -> SocketAddr {
    ([10, 9, 0, 1], 7_882).into()
}

/// The frame that is received again and again.
fn frame_for(work: Work) -> Vec<u8> {
    let mut payload = vec![0x55; PAYLOAD_LEN];
    payload[..2].copy_from_slice(match work {
        Work::Relay => &[0x80, 96],
        Work::Drop => &[0xff, 0xff],
    });
    let headers = FrameHeaders {
        to: NEAR_MAC,
        from: FAR_MAC,
        vlans: &[],
        source: client(),
        destination: media(),
        traffic_class: 0,
        hop_limit: 64,
    };
    let mut frame = vec![0; 2_048];
    let len = headers.write(&payload, &mut frame).unwrap_or(0);
    frame.truncate(len);
    frame
}

fn by_xdp(work: Work, window: Duration) -> Result<Figures> {
    let mut programs =
        Programs::load(&Settings::new(&[media()], 1).map_err(|_| anyhow::anyhow!("settings"))?)?;
    let xdp = programs.attach_xdp(machine::NEAR, XdpMode::Native)?;
    let relay = Relay::new(xdp.interface(), NEAR_MAC, FAR_MAC, media(), client());
    let relay = relay.map_err(|_| anyhow::anyhow!("two IP versions"))?;
    let flow = Flow::relayed(0, relay);
    if work == Work::Relay {
        programs
            .flows()?
            .set(FlowKey::new(client(), media()), flow)?;
    }
    let verdict = match work {
        Work::Relay => Verdict::Relayed,
        Work::Drop => Verdict::DropJunk,
    };
    let receiver = Receiver::find()?;
    let count = || anyhow::Ok(programs.counters()?.of(verdict));
    under_load(&frame_for(work), || {
        let (packets, cpu) = (count()?, receiver.cpu_time()?);
        std::thread::sleep(window);
        Ok(Figures {
            packets: count()? - packets,
            cpu: receiver.cpu_time()? - cpu,
        })
    })
}

fn by_sockets(work: Work, window: Duration) -> Result<Figures> {
    let receiver = Receiver::find()?;
    let (stop, handled, cpu_ns) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            machine::pin(0, machine::RECEIVER_CPU)?;
            match work {
                Work::Relay => sockets::relay(media(), client(), &stop, &handled, &cpu_ns),
                Work::Drop => sockets::discard(media(), &stop, &handled, &cpu_ns),
            }
        });
        let figures = under_load(&frame_for(work), || {
            let now = || {
                let user = Duration::from_nanos(cpu_ns.load(Relaxed));
                anyhow::Ok((handled.load(Relaxed), receiver.cpu_time()? + user))
            };
            let (packets, cpu) = now()?;
            std::thread::sleep(window);
            let (packets_after, cpu_after) = now()?;
            Ok(Figures {
                packets: packets_after - packets,
                cpu: cpu_after - cpu,
            })
        });
        stop.store(true, Relaxed);
        worker
            .join()
            .map_err(|_| anyhow::anyhow!("the worker panicked"))??;
        figures
    })
}

/// Measures while the generator runs, once it has warmed up.
fn under_load<T>(frame: &[u8], measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let generator = Generator::new(machine::FAR, frame)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let source = scope.spawn(|| {
            machine::pin(0, machine::GENERATOR_CPU)?;
            let end = Instant::now() + Duration::from_secs(60);
            while !stop.load(Relaxed) && Instant::now() < end {
                generator.run(50_000)?;
            }
            anyhow::Ok(())
        });
        std::thread::sleep(Duration::from_millis(300));
        let result = measure();
        stop.store(true, Relaxed);
        source
            .join()
            .map_err(|_| anyhow::anyhow!("the generator panicked"))??;
        result
    })
}
