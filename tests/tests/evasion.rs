//! The corpus of evasions: through the real programs, in its files, in its description.
//!
//! After a wanted change, `FAIRWAY_REWRITE_EXPECTED=1 cargo test -p fairway-tests --test evasion` writes
//! the files anew, to be read in the diff.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;

use fairway_tests::bench::{Bench, Fixture, START_NS};
use fairway_tests::evasion::{Case, capture, corpus, directory, table};
use fairway_tests::model::{Arrival, Model};
use gateway::config::{self, Config};
use gateway_ebpf::DropReason;

const REWRITE: &str = "FAIRWAY_REWRITE_EXPECTED";

fn policy() -> Config {
    let loaded = config::load(&directory().join("gateway.toml"));
    loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

#[test]
#[ignore = "needs root: BPF programs"]
fn every_packet_meets_its_verdict() {
    let mut bench = Bench::of(policy());
    corpus().iter().for_each(|case| bench.check_all(&case.packets));
}

#[test]
fn the_reference_model_agrees() {
    let policy = policy();
    let mut model = Model::new(policy.clone(), HashMap::new());
    for case in corpus() {
        for Fixture { name, side, frame, expected } in case.packets {
            let (match_vlan, readable) = (policy.interfaces[0].match_vlan, frame.len());
            let arrival = Arrival { side, match_vlan, now_ns: START_NS, frame: &frame, readable };
            let outcome = model.judge(&arrival).map(|index| policy.tenants[index].id.as_str());
            assert_eq!(outcome, expected, "{}: {name}", case.name);
        }
    }
}

#[test]
fn the_files_hold_the_corpus() {
    let corpus = corpus();
    let mut wanted: BTreeMap<String, Vec<u8>> =
        corpus.iter().map(|case| (format!("{}.pcap", case.name), capture(case))).collect();
    assert_eq!(wanted.len(), corpus.len(), "two cases with one name");
    wanted.insert("verdicts.csv".into(), table(&corpus).into_bytes());
    if std::env::var_os(REWRITE).is_some() {
        wanted.iter().for_each(|(name, bytes)| fs::write(directory().join(name), bytes).unwrap());
        panic!("{} files were rewritten; run again without {REWRITE}", wanted.len());
    }
    for (name, bytes) in &wanted {
        let found = fs::read(directory().join(name)).unwrap_or_default();
        assert!(found == *bytes, "{name} is not what the corpus makes of it; see {REWRITE}");
    }
    let entries = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap()).filter(|name| name != "gateway.toml");
    let strange: Vec<_> = names.filter(|name| !wanted.contains_key(name)).collect();
    assert!(strange.is_empty(), "not of the corpus: {strange:?}");
}

#[test]
fn every_case_is_described() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evasion.md")).unwrap();
    let sections: Vec<(&str, &str)> = text
        .split("\n### ")
        .skip(1)
        .map(|section| {
            // The next family's heading is not of this case.
            section.split("\n## ").next().unwrap().split_once('\n').unwrap()
        })
        .collect();
    let corpus = corpus();
    let described: Vec<_> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(described, corpus.iter().map(|case| case.name).collect::<Vec<_>>());
    for (case, (_, section)) in corpus.iter().zip(sections) {
        for reason in DropReason::ALL {
            let named = section.contains(&format!("`{}`", reason.label()));
            assert_eq!(named, occurs(case, *reason), "{}: {} in its description", case.name, reason.label());
        }
        let passes = case.packets.iter().any(|packet| packet.expected.passes());
        assert_eq!(section.contains("pass"), passes, "{}: whether it passes, in its description", case.name);
    }
}

fn occurs(case: &Case, reason: DropReason) -> bool {
    case.packets.iter().any(|packet| packet.expected.reason() == Some(reason))
}
