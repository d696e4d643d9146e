//! Embeds the eBPF object, so that a router needs neither compiler nor object file.

use std::path::PathBuf;

fn main() -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    println!("cargo::rerun-if-env-changed=FAIRWAY_EBPF_OBJECT");
    let object = match std::env::var_os("FAIRWAY_EBPF_OBJECT") {
        Some(object) => PathBuf::from(object),
        None => PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../target/bpf/fairway-ebpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(variable("OUT_DIR")?).join("fairway-ebpf.o");
    std::fs::copy(&object, embedded).map_err(|error| {
        format!("the eBPF object {} is not there ({error}); build with `cargo xtask build`", object.display())
    })?;
    Ok(())
}
