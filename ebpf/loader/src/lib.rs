//! Loads the eBPF programs, attaches them and talks to them through their maps.
//!
//! [`Programs`] makes the maps, which both programs share. [`Programs::attach_xdp`] puts the XDP
//! program before an interface, [`Programs::steer`] the reuseport program before a group of sockets.
//! What the programs do is told in `ebpf/programs`, what they share with this crate in
//! `ion-ebpf-types`, re-exported here.
//!
//! The object is compiled in, so that neither a build nor a start needs a BPF toolchain; `make ebpf`
//! makes it anew, and `make ebpf-check` holds it against its source.
//!
//! Needs CAP_BPF and CAP_NET_ADMIN (and AF_XDP sockets CAP_NET_RAW), Linux 6.1 or later; no BTF of the
//! kernel. Errors name cause and remedy.
//!
//! Invariants:
//! - **What is attached to an interface ends with this process**, even by SIGKILL: it hangs on a file
//!   descriptor (`bpf_link`) that is never pinned nor handed on.
//! - **Nothing here is called per packet.** Each call is a system call or two.

#![deny(missing_docs)]

/// Why something could not be loaded or attached, and what to do about it.
pub mod error;
/// The flow map.
pub mod flows;
/// The kernel's link between an XDP program and an interface.
mod link;
/// The programs and their maps.
pub mod programs;
/// The XDP program on an interface.
pub mod xdp;

pub use error::Error;
pub use flows::Flows;
pub use ion_ebpf_types::{
    Endpoint, Flow, FlowKey, MAX_FLOWS, MAX_QUEUES, MAX_WORKERS, Rate, Relay, Sample, Settings,
    Verdict,
};
pub use programs::{Counters, Programs};
pub use xdp::{Attached, Xdp, XdpMode};

/// The compiled programs, on a boundary that ELF readers ask for.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ion.bpf.o"));

/// The compiled programs as an ELF object.
#[must_use]
pub fn object() -> &'static [u8] {
    &OBJECT.0
}
