//! SRTP, per packet: opening into packet memory, sealing into transmit memory.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ion_srtp::{MasterKey, Opener, Profile, RxIndex, Sealer};
use std::hint::black_box;

const HEADER: usize = 20;
const PROFILES: [Profile; 3] = [
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
    Profile::Aes128CmSha1_80,
];

fn master(profile: Profile) -> MasterKey {
    MasterKey::from_slices(
        profile,
        &[7; 32][..profile.key_len()],
        &[9; 14][..profile.salt_len()],
    )
    .expect("lengths of the profile")
}

fn header(sequence: u16) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = 0x90;
    header[1] = 96;
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[8..12].copy_from_slice(&1_u32.to_be_bytes());
    header[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 1]);
    header
}

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal");
    group.throughput(Throughput::Elements(1));
    for profile in PROFILES {
        for len in [120, 1_200] {
            let mut sealer = Sealer::new(profile, &master(profile));
            let payload = vec![1; len];
            let mut out = vec![0; 2_048];
            out[..HEADER].copy_from_slice(&header(0));
            let mut index = 0_u64;
            support::expect_no_allocation(&format!("seal/{profile:?}/{len}"), 100, || {
                for _ in 0..100 {
                    index += 1;
                    let sealed = sealer.seal_rtp(HEADER, index, 1, &payload, &mut out);
                    sealed.expect("seals");
                }
            });
            group.bench_function(BenchmarkId::new(format!("{profile:?}"), len), |b| {
                b.iter(|| {
                    index += 1;
                    sealer.seal_rtp(HEADER, index, 1, black_box(&payload), &mut out)
                });
            });
        }
    }
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.throughput(Throughput::Elements(1));
    for profile in PROFILES {
        let mut sealer = Sealer::new(profile, &master(profile));
        let mut opener = Opener::new(profile, &master(profile));
        let mut sealed = vec![0; 2_048];
        sealed[..HEADER].copy_from_slice(&header(5));
        let len = sealer
            .seal_rtp(HEADER, 5, 1, &[1; 1_200], &mut sealed)
            .expect("seals");
        let mut out = vec![0; 2_048];
        support::expect_no_allocation(&format!("open/{profile:?}/1200"), 1, || {
            let mut rx = RxIndex::default();
            let opened = opener.open_rtp(HEADER, 1, 5, &sealed[..len], &mut rx, &mut out);
            opened.expect("opens");
        });
        group.bench_function(BenchmarkId::new(format!("{profile:?}"), 1_200), |b| {
            b.iter(|| {
                // A fresh window each time: the same packet would be a replay.
                let mut rx = RxIndex::default();
                opener.open_rtp(HEADER, 1, 5, black_box(&sealed[..len]), &mut rx, &mut out)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::short();
    targets = seal, open
}
criterion_main!(benches);
