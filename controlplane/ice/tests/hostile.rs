//! Any bytes at all.

mod common;

use common::{Bench, Check};
use ion_ice::{Outcome, username_of};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn kept(bench: &Bench) -> bool {
    bench.agent.selected().is_none() && bench.agent.last_seen().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_change_nothing(packet in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bench = Bench::new();
        let _ = username_of(&packet);
        prop_assert!(matches!(bench.handle(&packet), Outcome::Ignored(_)));
        prop_assert!(bench.reply.is_empty() && kept(&bench));
    }

    /// A header that is right, a body that is not, and a fingerprint over whatever it is.
    #[test]
    fn attribute_soup_never_amplifies(
        attributes in prop::collection::vec(
            (
                prop_oneof![
                    prop::sample::select(vec![
                        0x0006_u16, 0x0008, 0x001c, 0x0020, 0x0024, 0x0025, 0x8028, 0x8029, 0x802a,
                    ]),
                    any::<u16>(),
                ],
                prop_oneof![
                    Just(b"local123:remote".to_vec()),
                    prop::collection::vec(any::<u8>(), 0..40),
                ],
            ),
            0..12,
        )
    ) {
        let mut bench = Bench::new();
        let mut check = Check::to("local123");
        check.username = None;
        check.pwd = None;
        check.is_plain = true;
        check.extra = attributes;
        let packet = check.build();
        let _ = username_of(&packet);
        match bench.handle(&packet) {
            Outcome::Ignored(_) => prop_assert!(bench.reply.is_empty()),
            Outcome::Refused(_) => prop_assert!(bench.reply.len() <= packet.len()),
            Outcome::Reply { .. } => prop_assert!(false, "accepted without a key"),
        }
        prop_assert!(kept(&bench));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let packet = Check::to("local123").nominating().build();
    for bit in 0..packet.len() * 8 {
        let mut packet = packet.clone();
        packet[bit / 8] ^= 1 << (bit % 8);
        let mut bench = Bench::new();
        assert!(
            matches!(bench.handle(&packet), Outcome::Ignored(_)),
            "bit {bit}"
        );
        assert!(kept(&bench));
    }
}
