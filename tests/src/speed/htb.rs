//! The caps in tc: a class of HTB for each tenant, and a classifier that finds it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use aya::programs::SchedClassifier;
use fairway_tests::run;
use gateway_ebpf::traffic::Classes;

use crate::router::networks;
use crate::scale::Scale;

/// How a packet's class is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Classifier {
    /// By filters of u32, hashed by the third byte of the source address.
    U32,
    /// By a program of ours for cls_bpf (`gateway-ebpf/src/bin/bench_classifier.rs`): longest prefix match.
    ClsBpf,
}

/// Commands for `tc -batch`.
pub(crate) struct Rules {
    pub(crate) text: String,
    /// Named in them; once they are in force, the filter holds the program.
    _program: Option<Pin>,
}

/// A pinned program; dropping it removes the pin.
struct Pin(PathBuf);

impl Drop for Pin {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Port 25 goes to a class of its own that lets nearly nothing out: the kernel may lack actions that drop.
pub(crate) fn rules(scale: Scale, classifier: Classifier) -> Result<Rules> {
    let mut text = String::from(
        "qdisc add dev out0 root handle 1: htb default ffff\n\
         class add dev out0 parent 1: classid 1:ffff htb rate 8bit ceil 8bit burst 1 cburst 1\n",
    );
    for class in 1..=scale.tenants {
        writeln!(text, "class add dev out0 parent 1: classid 1:{class:x} htb rate 10gbit quantum 60000")?;
    }
    let program = match classifier {
        Classifier::U32 => {
            u32_filters(&mut text, scale)?;
            None
        }
        Classifier::ClsBpf => {
            let pin = pin_program(scale)?;
            let path = pin.0.display();
            writeln!(text, "filter add dev out0 parent 1: protocol ip prio 1 bpf object-pinned {path}")?;
            Some(pin)
        }
    };
    Ok(Rules { text, _program: program })
}

fn u32_filters(rules: &mut String, scale: Scale) -> Result<()> {
    rules.push_str(
        "filter add dev out0 parent 1: protocol ip prio 1 u32 match ip dport 25 0xffff flowid 1:ffff\n\
         filter add dev out0 parent 1: protocol ip prio 2 handle 2: u32 divisor 256\n\
         filter add dev out0 parent 1: protocol ip prio 2 u32 ht 800:: match ip src 10.0.0.0/8 \
         hashkey mask 0x0000ff00 at 12 link 2:\n",
    );
    for (number, network) in networks(scale) {
        let (class, bucket) = (number + 1, network.network().octets()[2]);
        writeln!(
            rules,
            "filter add dev out0 parent 1: protocol ip prio 2 u32 ht 2:{bucket:x}: match ip src {network} flowid 1:{class:x}"
        )?;
    }
    Ok(())
}

/// Loads the program with the classes of these tenants.
fn pin_program(scale: Scale) -> Result<Pin> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/bench-classifier.o"));
    let object =
        fs::read(file).with_context(|| format!("{}: `cargo xtask build` makes it", file.display()))?;
    let mut object = Ebpf::load(&object)?;
    let map = object.map_mut("CLASSES").context("no map CLASSES")?;
    let mut classes: LpmTrie<_, [u8; 4], u32> = map.try_into()?;
    for (number, network) in networks(scale) {
        let key = Key::new(u32::from(network.prefix()), network.network().octets());
        classes.insert(&key, Classes::number(number + 1), 0)?;
    }
    let program = object.program_mut("class_of_tenant").context("no program class_of_tenant")?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    let directory = Path::new(run::PINS);
    fs::create_dir_all(directory).with_context(|| format!("{}: is a BPF file system there?", run::PINS))?;
    let pin = Pin(directory.join(run::unique_name("classifier")));
    program.pin(&pin.0)?;
    Ok(pin)
}
