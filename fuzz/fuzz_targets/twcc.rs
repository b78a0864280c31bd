#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ion_fuzz::twcc(data));

#[cfg(not(fuzzing))]
fn main() {}
