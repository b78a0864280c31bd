//! The programs in the running kernel.

use aya::programs::{TestRun, TestRunOptions};
use ion_ebpf::{Programs, Settings, Verdict};

#[test]
fn the_kernel_takes_the_xdp_program_and_it_counts() {
    let media = [([0, 0, 0, 0], 7882).into()];
    let mut programs = Programs::load(&Settings::new(&media, 2).unwrap()).unwrap();
    let options = TestRunOptions {
        data_in: Some(&[0; 64]),
        ..TestRunOptions::default()
    };
    programs.xdp_program().unwrap().test_run(options).unwrap();
    assert_eq!(programs.counters().unwrap().of(Verdict::PassOther), 1);
}
