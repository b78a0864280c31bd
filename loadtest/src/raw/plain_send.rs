use super::place::{End, Place};
use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use std::net::UdpSocket;

/// Bytes of the datagram that the unit `S` is about.
const BYTES: usize = 1_200;
/// Sends of one round, and rounds.
const SENDS: u32 = 20_000;
const ROUNDS: u32 = 5;

/// CPU time of one plain `sendto` of 1,200 bytes to a socket at the other end whose buffer is full,
/// nanoseconds: the unit `S`. It is the median of several rounds.
pub(crate) fn cost_ns(place: &Place) -> anyhow::Result<f64> {
    let open = |end| {
        let bind = || Ok(UdpSocket::bind((place.address(end), 0))?);
        place.at(end, bind).context("a socket for plain sends")
    };
    let (sink, sender) = (open(End::Client)?, open(End::Server)?);
    let to = sink.local_addr()?;
    let datagram = [0x5a; BYTES];
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let before = thread_cpu_ns();
        for _ in 0..SENDS {
            sender.send_to(&datagram, to).context("a plain send")?;
        }
        // The first one fills the buffer and warms up.
        if round > 0 {
            rounds.push((thread_cpu_ns() - before) / f64::from(SENDS));
        }
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[rounds.len() / 2])
}

/// CPU time of this thread, nanoseconds.
pub(crate) fn thread_cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "a few seconds in nanoseconds")]
    let ns = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    ns
}
