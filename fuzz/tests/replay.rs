//! Replays the committed corpora, past crashers among them.

use std::fs;
use std::path::Path;

#[test]
fn corpora() {
    for (name, target) in ion_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).expect("every target has a corpus folder") {
            let path = entry.expect("the folder can be read").path();
            // The name is what a failure is looked for by.
            println!("{}", path.display());
            target(&fs::read(&path).expect("the input can be read"));
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", folder.display());
    }
}

/// Places in an input that are damaged: all of a short one, else as many evenly spread.
const PLACES: usize = 40;

/// Cheap mutations of the corpora: prefixes, and bytes replaced by extremes.
#[test]
fn damaged_corpora() {
    for (name, target) in ion_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        for entry in fs::read_dir(&folder).expect("every target has a corpus folder") {
            let input = fs::read(entry.expect("the folder can be read").path()).expect("readable");
            for at in (0..input.len()).step_by(input.len() / PLACES + 1) {
                target(&input[..at]);
                for byte in [
                    0x00,
                    0x7f,
                    0x80,
                    0xff,
                    input[at] ^ 1,
                    input[at].wrapping_add(1),
                ] {
                    let mut damaged = input.clone();
                    damaged[at] = byte;
                    target(&damaged);
                }
            }
        }
    }
}
