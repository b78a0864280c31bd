//! With the privilege that is asked for and no more, and with none. The only test of its process, for aya
//! asks the kernel once what it can do.

use ion_ebpf::{Error, Programs, Settings, Verdict};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::os::fd::AsFd;

mod support;

#[test]
fn three_capabilities_are_enough_and_what_is_missing_is_named() {
    let keep = |wanted: CapabilitySet| {
        let mut sets = capabilities(None).unwrap();
        sets.effective = wanted & sets.permitted;
        set_capabilities(None, sets).unwrap();
        sets.effective == wanted
    };
    let settings = Settings::new(&[support::address("127.0.0.1:7882")], 1).unwrap();
    let three = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    if keep(three) {
        // The verifier is stricter with those who lack CAP_PERFMON.
        let mut kernel = support::Kernel::load(&settings).unwrap();
        let frame = support::frame("127.0.0.2:9", "127.0.0.1:7882", &[], &support::rtp());
        assert_eq!(kernel.run(&frame).verdict, Verdict::DropUnknownFlow);
        let sockets = support::group(support::address("127.0.0.1:0"), 3);
        let fds: Vec<_> = sockets.0.iter().map(AsFd::as_fd).collect();
        kernel.programs.steer(0, &fds).unwrap();
    } else {
        support::skip(&"not even these capabilities are there");
    }
    assert!(keep(CapabilitySet::empty()));
    let error = Programs::load(&settings).unwrap_err();
    assert!(matches!(error, Error::Permission { .. }), "{error}");
    let text = error.to_string();
    for part in [
        "CAP_BPF",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "AmbientCapabilities=",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
