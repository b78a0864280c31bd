//! Without privilege: an error that says what is missing. The only test of its process, for aya asks the
//! kernel once what it can do, and what it may.

use ion_ebpf::{Error, Programs, Settings};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

#[test]
fn what_is_missing_is_named() {
    let mut sets = capabilities(None).unwrap();
    sets.effective = CapabilitySet::empty();
    set_capabilities(None, sets).unwrap();
    let settings = Settings::new(&[([0, 0, 0, 0], 7882).into()], 1).unwrap();
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
