//! Relayed packets on the wire: out of the interface they came by, and out of another.

mod support;

use ion_ebpf::{Flow, FlowKey, Programs, Relay, Settings, Verdict, Xdp, XdpMode};
use support::network::{FAR, NEAR, Wire, enter, index_of, pair};
use support::*;

const NEAR_2: &str = "near2";
const FAR_2: &str = "far2";

/// veth sends frames of XDP on only to an end that has a program too; this one passes all.
fn open(interface: &str, mode: XdpMode) -> Option<(Programs, Xdp)> {
    let elsewhere = Settings::new(&[address("192.0.2.99:9")], 1).unwrap();
    let mut programs = or_skip(Programs::load(&elsewhere))?;
    let xdp = or_skip(programs.attach_xdp(interface, mode))?;
    Some((programs, xdp))
}

fn relayed_media_leaves(mode: XdpMode) {
    let Some(()) = enter(1) else { return };
    pair(NEAR_2, FAR_2, "");
    let Some(mut programs) = or_skip(Programs::load(&settings())) else {
        return;
    };
    let Some(mut xdp) = or_skip(programs.attach_xdp(NEAR, mode)) else {
        return;
    };
    let _ends = [FAR, FAR_2, NEAR_2].map(|interface| open(interface, mode).unwrap());
    let wire = Wire::new(FAR);
    let mut flows = programs.flows().unwrap();
    for (n, out) in [NEAR, NEAR_2].into_iter().enumerate() {
        let far = Wire::new(if out == NEAR { FAR } else { FAR_2 });
        if out != NEAR {
            xdp.allow_relay_to(index_of(out)).unwrap();
        }
        for (client, local) in PAIRS {
            let (from, to) = (address(local), address(client));
            let relay = Relay::new(index_of(out), LOCAL_MAC, REMOTE_MAC, from, to).unwrap();
            let key = FlowKey::new(to, from);
            flows.set(key, Flow::relayed(0, relay)).unwrap();
            wire.send(&frame(client, local, &[], &rtp()));
            let mut expected = frame(local, client, &[], &rtp());
            expected[..6].copy_from_slice(&REMOTE_MAC);
            expected[6..12].copy_from_slice(&LOCAL_MAC);
            // What the far wire sent is seen there too, on its way out.
            let mut arrived = far.receive();
            while arrived
                .as_ref()
                .is_some_and(|frame| frame[..6] == LOCAL_MAC)
            {
                arrived = far.receive();
            }
            let arrived = arrived.expect("a frame arrives at the far end");
            assert_eq!(arrived.len(), expected.len());
            assert_eq!(arrived[..14], expected[..14], "Ethernet");
            let udp = ion_wire::frame::UdpFrame::parse(&arrived[..]).unwrap();
            assert_eq!(arrived[udp.transport..], expected[udp.transport..], "UDP");
        }
        let counted = programs.counters().unwrap().of(Verdict::Relayed);
        assert_eq!(counted, 2 * (n as u64 + 1));
    }
}

#[test]
fn native_mode() {
    relayed_media_leaves(XdpMode::Native);
}

#[test]
fn generic_mode() {
    relayed_media_leaves(XdpMode::Generic);
}
