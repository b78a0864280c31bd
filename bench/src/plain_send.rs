use crate::cpu::{float, thread_ns};
use crate::stats::median;
use anyhow::Context;
use std::net::UdpSocket;

/// Bytes of the datagram that the unit `S` is about.
const BYTES: usize = 1_200;
const SENDS: u32 = 20_000;
const ROUNDS: u32 = 5;

/// CPU time of one plain `sendto` of 1,200 bytes, nanoseconds: the unit `S`, the median of five rounds of
/// 20,000. It goes to a socket on loopback whose buffer is full, so nobody's wake-up is in it.
///
/// # Errors
/// When there is no socket to be had.
pub fn cost_ns() -> anyhow::Result<f64> {
    let sink = UdpSocket::bind("127.0.0.1:0").context("a socket for plain sends")?;
    let to = sink.local_addr()?;
    let sender = UdpSocket::bind("127.0.0.1:0").context("a socket for plain sends")?;
    let datagram = [0x5a; BYTES];
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let before = thread_ns();
        for _ in 0..SENDS {
            sender.send_to(&datagram, to).context("a plain send")?;
        }
        // The first round fills the buffer and warms up.
        if round > 0 {
            rounds.push(float(thread_ns() - before) / f64::from(SENDS));
        }
    }
    median(&rounds).context("no round was measured")
}
