//! Any bytes as a configuration: taken, or refused with at least one mistake that can be shown.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use gateway::config;
use libfuzzer_sys::fuzz_target;

/// One file for all runs: libFuzzer ends the process without dropping what is in statics.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join("fairway-fuzz-config.toml"));

fuzz_target!(|bytes: &[u8]| {
    // A pattern of tenant files would make it read whatever lies on this machine.
    if bytes.windows(7).any(|word| word == b"tenants") {
        return;
    }
    fs::write(&*FILE, bytes).expect("a temporary file");
    let now = jiff::Timestamp::from_second(1_793_534_400).expect("in 2026");
    match config::load(&FILE) {
        Ok(loaded) => assert_eq!(loaded.warnings_at(now).errors(), 0),
        Err(mistakes) => {
            assert!(mistakes.errors() > 0);
            assert!(!mistakes.render(false).is_empty());
        }
    }
});
