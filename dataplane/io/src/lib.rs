//! How a worker's datagrams get in and out of the kernel, and the only crate of
//! the data path that makes system calls or has `unsafe` blocks.
//!
//! A [`Backend`] belongs to one worker thread and is created on it. Each turn of
//! the worker's loop is [`Backend::poll`], then [`Backend::split`] into the batch
//! that arrived and the [`Sender`]: packets are read in place while others are
//! sent. It knows sockets and bytes; no rows, keys, RTP or rooms.
//!
//! Invariants:
//! - **A receive buffer is the kernel's or ours, never both.** A filled buffer is a
//!   move-only handle; it goes back when the batch is done.
//! - **Nothing that the kernel reads is touched before its completion.** `send`
//!   returns only when every send that it submitted is reaped.
//! - **A send that would block is given up and counted**, never waited for.
//! - **Nothing here allocates after start-up.**
#![deny(missing_docs)]

/// Pinning of threads to cores.
pub mod affinity;
/// One worker's packet input and output, whichever way it goes.
pub mod backend;
/// Memory that the kernel receives into (io_uring provided buffers).
mod buffers;
/// Control messages of sends and receives.
mod cmsg;
/// The eventfd that wakes a worker.
pub mod doorbell;
/// The media port: a reuseport group for each address, steered by classic BPF.
pub mod reuseport;
/// SIGTERM and its like as a file descriptor.
pub mod signals;
/// One send at a time, for what a batch could not send whole.
mod single;
/// Socket addresses as the kernel has them.
mod sockaddr;
/// Plain sockets, for hosts that refuse io_uring.
pub mod socket;
/// io_uring: multishot receive and batched sends on one ring.
pub mod uring;
/// AF_XDP: frames past the kernel's network stack.
pub mod xdp;

pub use backend::{
    Arrivals, Backend, Fallback, IoMode, Polled, ReceiveReport, Received, SendReport, Sender,
};
pub use doorbell::Doorbell;
pub use reuseport::{BindError, MediaPort, MediaSocket};
pub use signals::Signals;
pub use socket::Aside;

/// Properties run on the same cases every time; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` choose others.
#[cfg(test)]
fn seeded() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen => chosen,
    };
    Config {
        rng_seed,
        failure_persistence: None,
        ..config
    }
}
