//! One binary for all targets: linking one for each would take longer than running them. `FUZZ_TARGET` says which.

#![no_main]

use std::{env, fs, path::Path, process, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use shop_fuzz::{Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

/// Chooses the target. With `FUZZ_SEEDS` it writes the target's seeds into that directory and ends.
fn begin() {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(chosen) = target(&name) else {
        eprintln!("FUZZ_TARGET names no target: {name:?}");
        process::exit(2);
    };
    if let Some(directory) = env::var_os("FUZZ_SEEDS") {
        for (number, seed) in (chosen.seeds)().iter().enumerate() {
            let file = Path::new(&directory).join(format!("seed-{number}"));
            if let Err(error) = fs::write(&file, seed) {
                eprintln!("{}: {error}", file.display());
                process::exit(1);
            }
        }
        process::exit(0);
    }
    CHOSEN.get_or_init(|| chosen);
}

fuzz_target!(init: begin(), |input: &[u8]| {
    if let Some(chosen) = CHOSEN.get() {
        (chosen.judge)(input);
    }
});
