//! The stages of the packet path one by one, per packet that each handles.
//!
//! The engine's insides are its own: `ingest`, `fan-out` and `rtx` drive it from outside so that little
//! else than the stage is left, and say what that is; the others call what the engine calls.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ion_bench::rig::{MID_ID, PICTURE, Rig, TRANSPORT_CC_ID};
use ion_wire::rtcp::twcc::TwccHeader;
use ion_wire::rtcp::{ReportBlock, build};
use ion_wire::rtp::{ExtForm, HeaderFields, HeaderWriter, RtpHeader};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Times only what `run` does with what `prepare` has made.
fn timed<T>(
    rounds: u64,
    rig: &mut Rig,
    mut prepare: impl FnMut(&mut Rig) -> T,
    mut run: impl FnMut(&mut Rig, T),
) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let input = prepare(rig);
        let start = Instant::now();
        run(rig, input);
        spent += start.elapsed();
    }
    spent
}

/// The header of a packet: what a browser sends, with three extensions.
fn write_header(out: &mut [u8], sequence: u16) -> usize {
    let fields = HeaderFields {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: 90_000,
        ssrc: 0x1234_5678,
    };
    let mut writer = HeaderWriter::new(out, &fields, ExtForm::OneByte).expect("it fits");
    writer.push_extension(MID_ID, b"1").expect("it fits");
    writer.push_extension(2, &[1, 2, 3]).expect("it fits");
    writer
        .push_extension(TRANSPORT_CC_ID, &sequence.to_be_bytes())
        .expect("it fits");
    writer.finish()
}

/// Reading the header and looking up the extensions that are wanted.
fn view(c: &mut Criterion) {
    let mut packet = [0; 1_200];
    write_header(&mut packet, 7);
    let view = |packet: &[u8]| {
        let header = RtpHeader::parse(packet).expect("it is valid");
        let wanted = header.find_extensions(packet, &[MID_ID, 2, TRANSPORT_CC_ID]);
        (header.sequence, wanted.map(|found| found.map(<[u8]>::len)))
    };
    assert_eq!(view(&packet).1, [Some(1), Some(3), Some(2)]);
    support::expect_no_allocation("view", 1_000, || {
        for _ in 0..1_000 {
            black_box(view(black_box(&packet)));
        }
    });
    let mut group = c.benchmark_group("view");
    group.throughput(Throughput::Elements(1));
    group.bench_function("header and three extensions", |b| {
        b.iter(|| view(black_box(&packet)));
    });
    group.finish();
}

/// Writing a viewer's header.
fn rewrite(c: &mut Criterion) {
    let mut out = [0; 64];
    support::expect_no_allocation("rewrite", 1_000, || {
        for sequence in 0..1_000 {
            black_box(write_header(&mut out, sequence));
        }
    });
    let mut group = c.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    let mut sequence = 0_u16;
    group.bench_function("header and three extensions", |b| {
        b.iter(|| {
            sequence = sequence.wrapping_add(1);
            write_header(black_box(&mut out), sequence)
        });
    });
    group.finish();
}

/// Everything on the way in, for nobody: open, read, account, keep in the history, give up the oldest.
fn ingest_and_history(c: &mut Criterion) {
    let mut rig = Rig::new(0).warmed_up();
    let pictures: Vec<_> = (0..50).map(|_| rig.picture(PICTURE)).collect();
    support::expect_no_allocation("history", 50 * PICTURE as u64, || {
        for picture in &pictures {
            rig.forward(picture);
            rig.pass_time();
        }
    });
    let mut group = c.benchmark_group("history");
    group.throughput(Throughput::Elements(PICTURE as u64));
    group.bench_function("open, account and keep", |b| {
        b.iter_custom(|rounds| {
            let prepare = |rig: &mut Rig| {
                rig.pass_time();
                rig.picture(PICTURE)
            };
            timed(rounds, &mut rig, prepare, |rig, picture| {
                rig.forward(&picture);
            })
        });
    });
    group.finish();
}

/// One packet to N viewers: what one more viewer costs, sealing included and no sends of several.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for viewers in [1, 50, 500] {
        let mut rig = Rig::new(viewers).warmed_up();
        let packets: Vec<_> = (0..50).map(|_| rig.picture(1)).collect();
        let elements = u64::from(viewers);
        support::expect_no_allocation(&format!("fan-out/{viewers}"), 50 * elements, || {
            for packet in &packets {
                rig.forward(packet);
                rig.pass_time();
            }
        });
        group.throughput(Throughput::Elements(elements));
        group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
            b.iter_custom(|rounds| {
                let prepare = |rig: &mut Rig| {
                    rig.pass_time();
                    rig.picture(1)
                };
                timed(rounds, &mut rig, prepare, |rig, packet| {
                    rig.forward(&packet);
                })
            });
        });
    }
    group.finish();
}

/// Answering a request for a picture's packets: open, look up, write and seal each as RTX.
fn rtx(c: &mut Criterion) {
    let packets = PICTURE as u64;
    let mut rig = Rig::new(1).warmed_up();
    let prepare = |rig: &mut Rig| {
        rig.pass_time();
        let picture = rig.picture(PICTURE);
        let last = rig.forward_watched(&picture);
        rig.nack(last, PICTURE)
    };
    let before = rig.retransmitted();
    let request = prepare(&mut rig);
    support::expect_no_allocation("rtx", packets, || rig.from_viewer(&request));
    assert_eq!(rig.retransmitted() - before, packets, "all are answered");
    let mut group = c.benchmark_group("rtx");
    group.throughput(Throughput::Elements(packets));
    let (before, mut asked) = (rig.retransmitted(), 0);
    group.bench_function("ten of one request", |b| {
        b.iter_custom(|rounds| {
            asked += rounds * packets;
            timed(rounds, &mut rig, prepare, |rig, request| {
                rig.from_viewer(&request);
            })
        });
    });
    assert_eq!(rig.retransmitted() - before, asked, "all were answered");
    group.finish();
}

/// Feedback to publishers and what is due besides packets.
fn feedback(c: &mut Criterion) {
    const ARRIVALS: usize = 100;
    let arrivals: Vec<_> = (0..ARRIVALS as u64)
        .map(|n| (n % 33 != 7).then_some(1_000_000 + n * 4_000 + n * n % 700))
        .collect();
    let header = TwccHeader {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: 65_500,
        feedback_count: 3,
    };
    let blocks = [ReportBlock::default(); 31];
    let mut out = [0; 1_100];
    let written = build::twcc(&mut out, &header, &arrivals).expect("it fits");
    assert_eq!(written.statuses, ARRIVALS);
    support::expect_no_allocation("feedback", ARRIVALS as u64, || {
        build::twcc(&mut out, &header, black_box(&arrivals)).expect("it fits");
        build::receiver_report(&mut out, 1, black_box(&blocks)).expect("it fits");
    });
    let mut group = c.benchmark_group("feedback");
    group.throughput(Throughput::Elements(ARRIVALS as u64));
    group.bench_function("TWCC, per packet reported", |b| {
        b.iter(|| build::twcc(&mut out, &header, black_box(&arrivals)));
    });
    group.throughput(Throughput::Elements(blocks.len() as u64));
    group.bench_function("RR, per block", |b| {
        b.iter(|| build::receiver_report(&mut out, 1, black_box(&blocks)));
    });
    // Feedback, sender reports of all viewers, upkeep: whatever a picture's time brings.
    let viewers = 50;
    let mut rig = Rig::new(viewers).warmed_up();
    group.throughput(Throughput::Elements(PICTURE as u64 * u64::from(viewers)));
    group.bench_function("all timers of 1 to 50, per packet forwarded", |b| {
        b.iter_custom(|rounds| {
            let prepare = |rig: &mut Rig| {
                let picture = rig.picture(PICTURE);
                rig.forward(&picture);
                rig.skip();
            };
            timed(rounds, &mut rig, prepare, |rig, ()| rig.timers())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::short();
    targets = view, rewrite, ingest_and_history, fan_out, rtx, feedback
}
criterion_main!(benches);
