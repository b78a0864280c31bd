//! The program against its model: the same parser and policy, run in user space on the same bytes.

mod support;

use ion_ebpf::{Endpoint, Flow, FlowKey, Settings, Verdict};
use ion_ebpf_types::{Action, Ip, judge};
use ion_wire::classify;
use ion_wire::frame::{UdpFrame, Unread};
use proptest::prelude::*;
use support::*;

/// What must become of a frame of at most one known flow, while no bucket is empty.
fn model(settings: &Settings, known: Option<(FlowKey, Flow)>, frame: &[u8]) -> Verdict {
    let udp = match UdpFrame::parse(frame) {
        Ok(udp) => udp,
        Err(Unread::NotIp | Unread::NotUdp) => return Verdict::PassOther,
        Err(_) => return Verdict::PassUnread,
    };
    let key = FlowKey {
        remote: Endpoint::new(Ip::source(frame, &udp).unwrap(), udp.source_port),
        local: Endpoint::new(Ip::destination(frame, &udp).unwrap(), udp.destination_port),
    };
    if settings.media_of(&key.local).is_none() {
        return Verdict::PassOtherPort;
    }
    let Some(len) = udp.payload_len else {
        return Verdict::DropMalformed;
    };
    let payload = &frame[udp.payload()..udp.payload() + len];
    let flow = known
        .filter(|(known, _)| *known == key)
        .map(|(_, flow)| flow);
    match judge(classify(payload), flow.as_ref()) {
        Action::Forward => Verdict::PassMedia,
        Action::Pass(verdict) | Action::Police(verdict) | Action::Drop(verdict) => verdict,
        Action::Relay => Verdict::Relayed,
    }
}

fn valid_frame() -> impl Strategy<Value = Vec<u8>> {
    let vlans = prop::collection::vec(any::<u16>(), 0..=2);
    let payload = prop_oneof![
        Just(rtp()),
        Just(rtcp()),
        Just(stun()),
        Just(dtls()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let pair = prop_oneof![Just(PAIRS[0]), Just(PAIRS[1])];
    (pair, vlans, payload)
        .prop_map(|(pair, vlans, payload)| frame(pair.0, pair.1, &vlans, &payload))
}

/// Bytes with a meaning in headers, and any.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(vec![
            0, 1, 4, 6, 8, 17, 20, 0x45, 0x46, 0x60, 0x81, 0x86, 0x88, 0xa8, 0xdd, 255
        ]),
        any::<u8>(),
    ]
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn the_program_judges_as_its_model_does(
        frames in prop::collection::vec(
            (valid_frame(), prop::collection::vec((any::<prop::sample::Index>(), byte()), 0..4), any::<prop::sample::Index>(), any::<bool>()),
            64,
        ),
        known in prop::option::of((0..2_usize, any::<bool>())),
    ) {
        let settings = settings();
        let Some(mut kernel) = Kernel::load(&settings) else {
            return Ok(());
        };
        let known = known.map(|(pair, by_socket)| {
            let (source, local) = PAIRS[pair];
            let flow = Flow::of_worker(1);
            let flow = if by_socket { flow.by_socket() } else { flow };
            (FlowKey::new(address(source), address(local)), flow)
        });
        if let Some((key, flow)) = known {
            kernel.flows.set(key, flow).unwrap();
        }
        for (frame, changes, end, cut) in frames {
            let mut frame = frame;
            for (at, byte) in changes {
                // Behind the Ethernet addresses, where things are decided.
                let at = 12 + at.index(frame.len() - 12);
                frame[at] = byte;
            }
            if cut {
                frame.truncate(14 + end.index(frame.len() - 13));
            }
            let outcome = kernel.run(&frame);
            prop_assert_eq!(outcome.verdict, model(&settings, known, &frame), "{:02x?}", frame);
            prop_assert_eq!(outcome.verdict.is_drop(), outcome.action == DROP);
            prop_assert_eq!(outcome.frame, frame);
        }
    }
}
