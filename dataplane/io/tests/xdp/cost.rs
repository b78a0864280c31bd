use crate::net::{Far, checksum_offload, ip, with_pair};
use crate::rig::{Rig, datagram};
use ion_ebpf::{Programs, Settings, XdpMode};
use ion_engine::Path;
use ion_io::SendReport;
use rustix::time::{ClockId, clock_gettime};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

const ROUNDS: usize = 3;
/// Packets of one measurement.
const PACKETS: usize = 600_000;

/// The client's end drops everything to this port in the driver, so that nothing of the
/// receiver is measured.
const SINK: u16 = 6_000;

fn make_sink(far: &Far) {
    far.run(|| {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SINK));
        let mut programs = Programs::load(&Settings::new(&[any], 1).unwrap()).unwrap();
        let attached = programs.attach_xdp("far0", XdpMode::Native).unwrap();
        // As long as the interface is there.
        std::mem::forget((programs, attached));
    });
    ip("route add 10.99.0.0/16 via 10.7.0.2");
}

fn client(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    ([10, 99, high, low], SINK).into()
}

/// Of this thread: CPU time, and how much of it outside the kernel, nanoseconds.
fn cpu() -> (f64, f64) {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    // SAFETY: a plain C struct, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the struct outlives the call.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    let ns = |s: i64, ns: i64| s as f64 * 1e9 + ns as f64;
    let user = ns(usage.ru_utime.tv_sec, usage.ru_utime.tv_usec * 1_000);
    (ns(now.tv_sec, now.tv_nsec), user)
}

/// Per packet: all, and outside the kernel.
fn measure(mut packets: impl FnMut(usize)) -> (f64, f64) {
    packets(PACKETS / 10);
    let before = cpu();
    packets(PACKETS);
    let after = cpu();
    let per_packet = |a: f64, b: f64| (b - a) / PACKETS as f64;
    (per_packet(before.0, after.0), per_packet(before.1, after.1))
}

fn plain_sends(count: usize) {
    let socket = UdpSocket::bind("10.7.0.1:0").unwrap();
    let bytes = datagram(1, 1_200);
    for _ in 0..count {
        socket.send_to(&bytes, client(1)).unwrap();
    }
}

/// `clients` get `run` datagrams of `len` bytes each, again and again, copied into the batch where
/// an engine would seal them.
fn batches(rig: &mut Rig, clients: usize, run: usize, len: usize, count: usize) -> SendReport {
    let bytes = datagram(1, len);
    let local = rig.media[0].ip();
    let paths: Vec<_> = (1..=clients)
        .map(|n| Path {
            remote: client(n),
            local,
        })
        .collect();
    let mut report = SendReport::default();
    let (mut sent, mut next) = (0, 0);
    while sent < count {
        rig.backend.poll(Some(std::time::Duration::ZERO)).unwrap();
        let (_, mut sender) = rig.backend.split();
        'full: while sent < count {
            for _ in 0..run {
                let Some(space) = rig.batch.space(len) else {
                    break 'full;
                };
                space.copy_from_slice(&bytes);
                rig.batch.commit(&paths[next], len);
                sent += 1;
            }
            next = (next + 1) % clients;
        }
        report += sender.send(&mut rig.batch).unwrap();
        rig.batch.clear();
    }
    report
}

/// `cargo test --release -p ion-io --test xdp -- --ignored --nocapture cost`
///
/// Not in it: what an engine does, and receiving. A veth that has checksums on never computes
/// them, so that they cost nothing either way; with them off, both ways compute them.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_packet() {
    with_pair(1, |far| {
        make_sink(far);
        for checksums in [true, false] {
            checksum_offload("ion0", checksums);
            let mut rig = Rig::on(&["10.7.0.1"], 1, |config| {
                (config.tx_ring, config.batch) = (2_048, 256);
            });
            eprintln!("{}", rig.backend.xdp().unwrap().describe());
            // The way to every client is asked for: some at a time.
            rig.wait_for("all ways are known", |rig| {
                let report = batches(rig, 500, 1, 120, 500);
                report.ring == 500
            });
            (0..ROUNDS).for_each(|_| compare(&mut rig));
        }
    });
}

fn compare(rig: &mut Rig) {
    let (s, _) = measure(plain_sends);
    eprintln!("sendto of 1200 B: S = {s:.0} ns");
    for (name, clients, run, len) in [
        ("audio, 500 clients, 1 x 120 B", 500, 1, 120),
        ("video, 50 clients, 10 x 1200 B", 50, 10, 1_200),
        ("single, 500 clients, 1 x 1200 B", 500, 1, 1_200),
    ] {
        let mut report = SendReport::default();
        let (all, user) = measure(|count| report = batches(rig, clients, run, len, count));
        assert_eq!(report.ring, report.datagrams);
        eprintln!(
            "  {name}: {all:.0} ns = {:.2} S, of it in user space {user:.0} ns, {} full, \
             {:.4} kicks per packet",
            all / s,
            report.full,
            report.kicks as f64 / report.datagrams as f64
        );
    }
}
