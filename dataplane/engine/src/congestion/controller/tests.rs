use super::*;

/// Sends at a rate over a path of a capacity, with feedback each 50 ms, from a second on.
fn drive(estimator: &mut IonEstimator, from: u64, seconds: u64, sent_bps: u64, capacity: u64) {
    let (gap, service) = (8_000_000_000 / sent_bps, 8_000_000_000 / capacity);
    let (mut packets, mut free) = (Vec::new(), 0);
    let mut sent = from * 1_000_000;
    let mut due = sent + 50_000;
    while sent < (from + seconds) * 1_000_000 {
        free = u64::max(free, sent) + service;
        packets.push(PacketReport {
            sent: Micros(sent),
            arrived: Some((free + 20_000).cast_signed()),
            bytes: 1_000,
            ecn: Ecn::NotEct,
            probe: None,
        });
        sent += gap;
        if sent >= due {
            estimator.on_feedback(Micros(due + 50_000), &packets);
            packets.clear();
            due += 50_000;
        }
    }
}

/// A viewer of layers of 500 and 1,150 kbit/s, who is sent probes, over a path of a capacity with a bucket of 3 kB that
/// lets bursts through as they are. Returns the most that the target and what layers may take ever were.
fn watch(capacity: u64, seconds: u64) -> (u64, u64) {
    const LAYERS: [u64; 2] = [500_000, 1_150_000];
    const BUCKET_US: u64 = 3_000 * 8;
    let mut estimator = IonEstimator::new(Bounds::default());
    drive(&mut estimator, 1, 2, LAYERS[0], 50_000_000);
    drive(&mut estimator, 3, 1, LAYERS[1], capacity);
    let bucket_us = BUCKET_US * 1_000_000 / capacity;
    let (mut packets, mut due, mut empty) = (Vec::new(), 4_050_000, 0);
    let (mut most, mut most_lasting) = (0, 0);
    let (mut probe, mut left, mut layer) = (None::<Probe>, 0, 0);
    let mut sent = 4_000_000;
    while sent < (4 + seconds) * 1_000_000 {
        let rate = probe.map_or(LAYERS[layer], |probe| probe.rate_bps);
        empty = u64::max(empty, sent) + 8_000_000_000 / capacity;
        packets.push(PacketReport {
            sent: Micros(sent),
            arrived: Some((empty.saturating_sub(bucket_us).max(sent) + 20_000).cast_signed()),
            bytes: 1_000,
            ecn: Ecn::NotEct,
            probe: probe.map(|probe| probe.id),
        });
        left -= 1_000;
        probe = probe.filter(|_| left > 0);
        sent += 8_000_000_000 / rate;
        if sent < due {
            continue;
        }
        due = sent + 50_000;
        estimator.on_feedback(Micros(sent), &packets);
        packets.clear();
        probe = probe.filter(|_| estimator.is_probing());
        let lasting = estimator.sustained_bps();
        layer = usize::from(lasting > LAYERS[1] * 23 / 20);
        let next_bps = if layer == 0 { LAYERS[1] * 23 / 20 } else { 0 };
        let most_bps = 2 * LAYERS[1];
        let wanted = Wanted { most_bps, next_bps };
        if probe.is_none()
            && let Some(next) = estimator.probe(Micros(sent), wanted)
        {
            (probe, left) = (Some(next), i64::from(next.bytes));
        }
        if sent > 5_000_000 {
            most = most.max(estimator.target_bps());
            most_lasting = most_lasting.max(lasting);
        }
    }
    (most, most_lasting)
}

#[test]
fn layers_rise_to_what_lasts_and_not_to_what_a_bucket_lets_through() {
    let (target, lasting) = watch(1_000_000, 60);
    assert!(target > 1_300_000, "short probes pass: {target}");
    assert!(lasting < 1_150_000, "{lasting}");
    let (_, lasting) = watch(3_000_000, 20);
    assert!(lasting > 1_150_000 * 23 / 20, "{lasting}");
}

#[test]
fn what_is_not_sent_proves_nothing() {
    let mut estimator = IonEstimator::new(Bounds::default());
    drive(&mut estimator, 1, 30, 200_000, 50_000_000);
    assert_eq!(estimator.target_bps(), Bounds::default().start_bps);
    assert!(estimator.is_unlimited());
}

#[test]
fn what_is_delivered_without_a_queue_is_proven_and_with_one_it_is_the_limit() {
    let mut estimator = IonEstimator::new(Bounds::default());
    drive(&mut estimator, 1, 5, 4_000_000, 50_000_000);
    assert!(estimator.target_bps() > 3_500_000);
    drive(&mut estimator, 6, 1, 4_000_000, 1_000_000);
    assert!(
        estimator.target_bps() < 1_000_000,
        "{}",
        estimator.target_bps()
    );
    assert!(estimator.sustained_bps() > estimator.target_bps());
    assert!(!estimator.is_unlimited());
}

#[test]
fn silence_lowers_it_and_a_receiver_bounds_it() {
    let mut estimator = IonEstimator::new(Bounds::default());
    drive(&mut estimator, 1, 5, 4_000_000, 50_000_000);
    let before = estimator.target_bps();
    for tenth in 0..20 {
        let now = Micros(7_000_000 + tenth * 100_000);
        estimator.on_timeout(now, Some(Micros(6_000_000)));
    }
    assert!(estimator.target_bps() < before / 4);
    for (remb, low, high) in [
        (0, 40_000, 40_000),
        (300_000, 40_000, 300_000),
        (u64::MAX, 40_000, 100_000_000),
    ] {
        estimator.on_remb(Micros(9_000_000), remb);
        assert!((low..=high).contains(&estimator.target_bps()), "{remb}");
    }
}

#[test]
fn after_an_outage_it_goes_on_with_half_and_after_a_hiccup_with_little() {
    for (tenths, resumes) in [(150, true), (15, false)] {
        let mut estimator = IonEstimator::new(Bounds::default());
        drive(&mut estimator, 1, 5, 4_000_000, 50_000_000);
        let before = estimator.target_bps();
        let end = 6_000_000 + tenths * 100_000;
        for tenth in 0..tenths {
            let now = Micros(6_000_000 + tenth * 100_000);
            estimator.on_timeout(now, Some(Micros(6_000_000)));
        }
        assert!(estimator.target_bps() < before / 2);
        // What was sent in the outage is lost, what came after it has arrived.
        let packets: Vec<_> = (0..60)
            .map(|at: u64| {
                let sent = end - 200_000 + at * 4_000;
                PacketReport {
                    sent: Micros(sent),
                    arrived: (at >= 50).then_some((sent + 20_000).cast_signed()),
                    bytes: 1_000,
                    ecn: Ecn::NotEct,
                    probe: None,
                }
            })
            .collect();
        estimator.on_feedback(Micros(end + 100_000), &packets);
        let after = estimator.target_bps();
        assert_eq!(after >= before / 2, resumes, "{before} → {after}");
    }
}

#[test]
fn a_clock_that_leaps_is_no_queue() {
    let mut estimator = IonEstimator::new(Bounds::default());
    drive(&mut estimator, 1, 5, 2_000_000, 50_000_000);
    let before = estimator.target_bps();
    let packets: Vec<_> = (0..50)
        .map(|at: u64| PacketReport {
            sent: Micros(6_000_000 + at * 4_000),
            arrived: Some(900_000_000 + (at * 4_000).cast_signed()),
            bytes: 1_000,
            ecn: Ecn::NotEct,
            probe: None,
        })
        .collect();
    estimator.on_feedback(Micros(6_300_000), &packets);
    assert!(estimator.target_bps() >= before);
}
