//! What an operator is told about each mistake in a configuration.
//!
//! Each directory in `tests/config/` holds one class of mistakes: `gateway.toml`, the files that it names,
//! and in `expected.txt` everything that is said about them. After a wanted change of messages,
//! `FAIRWAY_REWRITE_EXPECTED=1 cargo test -p gateway --test config_mistakes` writes them anew, to be
//! read in the diff.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gateway::config::{Diagnostics, Loaded, Severity, load};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

const REWRITE: &str = "FAIRWAY_REWRITE_EXPECTED";

/// A fixed day, so that exemptions do not expire under the tests.
fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

/// What the operator is told about a configuration.
fn told(outcome: Result<Loaded, Diagnostics>) -> String {
    let (verdict, diagnostics) = match outcome {
        Ok(loaded) => ("taken", loaded.warnings_at(now())),
        Err(diagnostics) => ("refused", diagnostics),
    };
    let mut told = diagnostics.render(false);
    let (errors, warnings) = (diagnostics.errors(), diagnostics.warnings());
    writeln!(told, "\n{verdict}: errors {errors}, warnings {warnings}").unwrap();
    told
}

#[test]
fn every_mistake_says_what_it_should() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir("tests/config").unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 60, "cases are missing: found {}", cases.len());
    let rewrite = std::env::var_os(REWRITE).is_some();
    let mut wrong = String::new();
    for case in &cases {
        let told = told(load(&case.join("gateway.toml")));
        let file = case.join("expected.txt");
        if rewrite {
            fs::write(&file, &told).unwrap();
        } else {
            let expected = fs::read_to_string(&file).unwrap_or_default();
            if told != expected {
                writeln!(wrong, "{}\n--- expected\n{expected}\n--- told\n{told}", file.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(!rewrite, "expected.txt of {} cases was rewritten; run again without {REWRITE}", cases.len());
}

#[test]
fn a_missing_main_file_is_told_with_what_the_system_says() {
    let expected = "error: cannot read tests/nowhere.toml: No such file or directory (os error 2)
 |
 = help: name a main file that exists and may be read, such as /etc/fairway/gateway.toml

refused: errors 1, warnings 0
";
    assert_eq!(told(load(Path::new("tests/nowhere.toml"))), expected);
}

#[test]
fn diagnostics_are_json_with_both_places() {
    let diagnostics = load(Path::new("tests/config/duplicate-id/gateway.toml")).unwrap_err();
    let expected = serde_json::json!([{
        "severity": "error",
        "message": "two tenants have the id acme",
        "file": "tests/config/duplicate-id/tenants.d/zeta.toml",
        "line": 2,
        "column": 6,
        "label": "the second one",
        "help": "an id stands for one tenant in counters, notices and the ledger: rename one",
        "related": [{
            "file": "tests/config/duplicate-id/tenants.d/acme.toml",
            "line": 2,
            "column": 6,
            "label": "the first one",
        }],
    }]);
    assert_eq!(serde_json::to_value(&diagnostics).unwrap(), expected);
    assert!(diagnostics.iter().all(|diagnostic| diagnostic.severity() == Severity::Error));
}

#[test]
fn columns_count_characters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    fs::write(&file, "# ä\ngateway = { \"ü\" = 1, name = 1 }\n").unwrap();
    let diagnostics = load(&file).unwrap_err();
    let place = |start: &str| {
        let diagnostic = diagnostics.iter().find(|diagnostic| diagnostic.message().starts_with(start));
        diagnostic.and_then(|diagnostic| diagnostic.place()).map(|place| (place.line, place.column))
    };
    assert_eq!(place("unknown key `ü`"), Some((2, 13)));
    assert_eq!(place("`name` must be"), Some((2, 29)));
}

/// Text that is nearly a configuration.
fn damaged_example() -> impl Strategy<Value = Vec<u8>> {
    let files = ["../config/gateway.toml", "../config/tenants.d/acme.toml"];
    damaged(files.iter().flat_map(|file| fs::read(file).unwrap()).collect())
}

/// `example` with pieces cut out or replaced.
fn damaged(example: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let tokens = [
        "",
        "[",
        "]]",
        "{",
        "\"",
        "'''",
        "= ",
        "\n",
        ".",
        ",",
        "#",
        "\0",
        "é",
        "9",
        "\n[[tenant]]\n",
        "null",
        "\\",
    ];
    let token = proptest::sample::select(tokens.map(|token| token.as_bytes().to_vec()).to_vec());
    let bytes = prop_oneof![token, proptest::collection::vec(any::<u8>(), 0..4)];
    proptest::collection::vec((any::<Index>(), 0..40_usize, bytes), 1..8).prop_map(move |cuts| {
        let mut text = example.clone();
        for (at, length, bytes) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, bytes);
        }
        text
    })
}

/// An export of another system that is nearly right, and the end of its name.
fn damaged_export() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let read = |file: &str| fs::read(Path::new("tests/config").join(file)).unwrap();
    prop_oneof![
        damaged(read("csv-mistakes/tenants.d/crm.csv")).prop_map(|bytes| ("csv", bytes)),
        damaged(read("json-mistakes/tenants.d/crm.json")).prop_map(|bytes| ("json", bytes)),
        proptest::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| ("csv", bytes)),
        proptest::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| ("json", bytes)),
    ]
}

proptest! {
    // What fails becomes a case in `tests/config/`, not a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_is_a_panic(
        bytes in prop_oneof![damaged_example(), proptest::collection::vec(any::<u8>(), 0..400)]
    ) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        fs::write(&file, bytes).unwrap();
        match load(&file) {
            Ok(loaded) => prop_assert_eq!(loaded.warnings.errors(), 0),
            Err(diagnostics) => {
                prop_assert!(diagnostics.errors() > 0);
                prop_assert!(!diagnostics.render(true).is_empty());
                prop_assert!(serde_json::to_string(&diagnostics).is_ok());
            }
        }
    }

    #[test]
    fn no_export_is_a_panic((extension, bytes) in damaged_export()) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        fs::copy("tests/config/csv-mistakes/gateway.toml", &file).unwrap();
        fs::create_dir(directory.path().join("tenants.d")).unwrap();
        fs::write(directory.path().join("tenants.d/a").with_extension(extension), bytes).unwrap();
        match load(&file) {
            Ok(loaded) => prop_assert_eq!(loaded.warnings.errors(), 0),
            Err(diagnostics) => prop_assert!(!diagnostics.render(true).is_empty()),
        }
    }
}
