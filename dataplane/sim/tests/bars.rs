//! What Ion's estimator is held to, in virtual time. A failure names case and seed: `simulate --case C
//! --seed N` shows the same run.

use ion_engine::congestion::{Bounds, Estimator, IonEstimator};
use ion_sim::{Report, cases, run};

fn ion(bounds: Bounds) -> Box<dyn Estimator> {
    Box::new(IonEstimator::new(bounds))
}

fn reports(case: &str, seeds: u64) -> Vec<Report> {
    let case = cases::find(case).unwrap();
    (1..=seeds).map(|seed| run(&case, seed, &ion)).collect()
}

#[test]
fn rfc8867_5_1_capacity_is_used_in_five_seconds_and_falls_cost_little() {
    for report in reports("rfc8867-5.1-max1.5", 6) {
        let seed = report.seed;
        assert!(
            report.queue_ms[1] <= 100.0,
            "seed {seed}: {:?}",
            report.queue_ms
        );
        for step in &report.steps {
            let rise = step.bps.1 > step.bps.0;
            assert!(
                !rise || step.reached.is_some_and(|s| s <= 5.0),
                "seed {seed}: {step:?}"
            );
            assert!(rise || step.lost <= 0.02, "seed {seed}: {step:?}");
        }
    }
    // A source that can use all of 2.5 Mbit/s overflows the queue before any feedback can tell.
    for report in reports("rfc8867-5.1", 6) {
        let seed = report.seed;
        assert!(
            report.queue_ms[1] <= 100.0,
            "seed {seed}: {:?}",
            report.queue_ms
        );
        let mut rises = report.steps.iter().filter(|step| step.bps.1 > step.bps.0);
        assert!(
            rises.all(|step| step.reached.is_some_and(|s| s <= 5.0)),
            "seed {seed}: {:?}",
            report.steps
        );
    }
}

#[test]
fn an_l4s_bottleneck_has_next_to_no_queue_and_is_used() {
    for report in reports("l4s", 4) {
        assert!(
            report.queue_ms[2] <= 15.0,
            "seed {}: {:?}",
            report.seed,
            report.queue_ms
        );
        assert!(
            report.utilisation > 0.8,
            "seed {}: {}",
            report.seed,
            report.utilisation
        );
    }
}

#[test]
fn flows_of_one_kind_share_and_are_not_starved_by_tcp() {
    for (case, use_of, fairness) in [
        ("rfc8867-5.2", 0.93, 0.9),
        ("rfc8867-5.4", 0.94, 0.87),
        ("rfc8867-5.5", 0.95, 0.93),
        ("rfc8867-5.6", 0.90, 0.0),
        ("rfc8867-5.7", 0.80, 0.9),
    ] {
        for report in reports(case, 3) {
            let (seed, used, shared) = (report.seed, report.utilisation, report.fairness);
            assert!(
                used > use_of && shared > fairness,
                "{case}, seed {seed}: {used} {shared}"
            );
        }
    }
}

#[test]
fn loss_that_is_the_paths_own_does_not_stop_it() {
    for report in reports("loss-5", 3) {
        assert!(
            report.utilisation > 0.88,
            "seed {}: {}",
            report.seed,
            report.utilisation
        );
    }
}

#[test]
fn a_viewer_whose_link_collapses_has_its_layers_back() {
    for (case, used) in [("sfu-collapse", 0.8), ("sfu-svc", 0.75)] {
        for report in reports(case, 4) {
            assert!(
                report.utilisation > used && report.loss < 0.02,
                "{case}, seed {}: {} {}",
                report.seed,
                report.utilisation,
                report.loss
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let case = cases::find("rfc8869-wifi").unwrap();
    let [a, b, c] = [7, 7, 8].map(|seed| format!("{:?}", run(&case, seed, &ion).flows));
    assert_eq!(a, b);
    assert_ne!(a, c);
}
