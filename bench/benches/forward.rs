//! The engine without the kernel: a picture of ten packets from one publisher to N viewers, sealed into
//! transmit memory. Per forwarded packet, timers and reports included.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ion_bench::rig::{PICTURE, Rig};
use std::time::{Duration, Instant};

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    for viewers in [1, 10, 50, 500] {
        let mut rig = Rig::new(viewers);
        let first = rig.picture(PICTURE);
        rig.forward(&first);
        rig.check(viewers, PICTURE as u64);
        let mut rig = rig.warmed_up();
        let packets = PICTURE as u64 * u64::from(viewers);
        let pictures: Vec<_> = (0..50).map(|_| rig.picture(PICTURE)).collect();
        support::expect_no_allocation(&format!("forward/{viewers}"), 50 * packets, || {
            for picture in &pictures {
                rig.forward(picture);
                rig.pass_time();
            }
        });
        group.throughput(Throughput::Elements(packets));
        group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let picture = rig.picture(PICTURE);
                    let start = Instant::now();
                    rig.forward(&picture);
                    rig.pass_time();
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::short();
    targets = forward
}
criterion_main!(benches);
