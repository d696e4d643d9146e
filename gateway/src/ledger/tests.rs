//! Verifying and exporting, with every way to tamper that comes to mind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::config::{Digest, EvidenceLimits};
use crate::detect::fake::{at, offence};
use crate::domain::{Actor, Moment, Role, Way};
use crate::store::{Fact, Reader, Record, Selection, Store, Suspended, hex};
use crate::suspension::Scope;

const LIMITS: EvidenceLimits = EvidenceLimits { max_bytes: u64::MAX, keep: Duration::from_secs(u64::MAX) };

/// Entries 1 to 6, of `acme` and `beta` in turn, one each second.
fn ledger() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), LIMITS);
    for second in 0..6 {
        let tenant = if second % 2 == 0 { "acme" } else { "beta" };
        let at = Moment { wall: at(second), boot: None };
        if second == 2 {
            store.observe(offence(tenant, "192.0.2.1/32", 2), &at, Digest([7; 32]));
            continue;
        }
        let suspended =
            Suspended { scope: Scope::Mail, until: None, reason: format!("no. {second}, \"spam\"") };
        let (actor, tenant) = (
            Actor { name: "j.doe".into(), way: Way::Socket, role: Some(Role::Operate) },
            Some(tenant.to_owned()),
        );
        let fact = Fact::Suspended(suspended);
        store.commit(vec![Record { at, actor, tenant, config: None, fact }]).unwrap();
    }
    drop(store);
    directory
}

fn findings(directory: &Path) -> Vec<String> {
    let verified = verify(&Reader::open(directory).unwrap(), None).unwrap();
    verified.findings.iter().map(ToString::to_string).collect()
}

/// What somebody does who may write the file, and knows of the triggers.
fn tamper(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join("ledger.sqlite")).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = off;").unwrap();
    for table in ["entries", "bodies"] {
        for verb in ["stay", "are_kept"] {
            connection.execute_batch(&format!("DROP TRIGGER {table}_{verb};")).unwrap();
        }
    }
    connection.execute_batch(sql).unwrap();
}

#[test]
fn a_chain_that_nobody_touched_verifies_and_knows_its_hashes() {
    let directory = ledger();
    let reader = Reader::open(directory.path()).unwrap();
    let verified = verify(&reader, None).unwrap();
    assert_eq!((verified.entries, verified.findings, verified.has_witnessed), (6, vec![], None));
    assert_eq!(verified.head, reader.head().unwrap());
    let witnessed = |hash| verify(&reader, Some(hash)).unwrap().has_witnessed;
    assert_eq!((witnessed(verified.head.hash), witnessed([1; 32])), (Some(true), Some(false)));
}

#[test]
fn every_change_removal_reorder_and_cut_is_found_where_it_is() {
    const SWAP: &str =
        "UPDATE entries SET number = 99 WHERE number = 3; UPDATE entries SET number = 3 WHERE number = 4;
         UPDATE entries SET number = 4 WHERE number = 99;";
    for (tampering, place, what) in [
        ("UPDATE entries SET at = at + 1 WHERE number = 3", "entry 3:", "it was changed"),
        ("UPDATE entries SET tenant = 'beta' WHERE number = 3", "entry 3:", "it was changed"),
        ("UPDATE entries SET actor = 'other' WHERE number = 6", "entry 6:", "it was changed"),
        (
            "UPDATE bodies SET body = replace(body, 'no. 1', 'no. 9') WHERE entry = 2",
            "entry 2:",
            "its body was changed",
        ),
        ("DELETE FROM bodies WHERE entry = 2", "entry 2:", "its body is missing"),
        ("DELETE FROM entries WHERE number = 3", "entry 4:", "entry 3 is missing"),
        ("DELETE FROM entries WHERE number BETWEEN 2 AND 4", "entry 5:", "entries 2 to 4 are missing"),
        ("DELETE FROM entries WHERE number = 1", "entry 2:", "entry 1 is missing"),
        (SWAP, "entry 3:", "it was changed"),
        ("DELETE FROM entries WHERE number > 4", "entry 5:", "the chain is cut: it went on to entry 6"),
        (
            "DELETE FROM entries WHERE number > 4; UPDATE head SET number = 4, hash = (SELECT hash FROM entries WHERE number = 4)",
            "entry 5:",
            "the chain is cut: it went on to entry 6",
        ),
    ] {
        let directory = ledger();
        tamper(directory.path(), tampering);
        let found = findings(directory.path());
        assert!(
            found.iter().any(|finding| finding.starts_with(place) && finding.contains(what)),
            "{tampering}: {found:?}"
        );
    }
}

/// Whoever rewrites the whole chain is found out by a hash that was seen elsewhere.
#[test]
fn a_chain_that_was_made_anew_lacks_the_hash_that_was_witnessed() {
    let (original, forged) = (ledger(), ledger());
    let head = Reader::open(original.path()).unwrap().head().unwrap();
    let verified = verify(&Reader::open(forged.path()).unwrap(), Some(head.hash)).unwrap();
    assert_eq!((verified.findings, verified.has_witnessed), (vec![], Some(false)), "{}", hex(&head.hash));
}

fn exported(directory: &Path, selection: &Selection, format: Format) -> String {
    let mut out = Vec::new();
    export(&Reader::open(directory).unwrap(), selection, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(text: &str) -> Result<Verified, ExportError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    fs::write(&file, text).unwrap();
    check_export(&file, None)
}

#[test]
fn an_export_proves_itself_in_either_format_and_for_any_selection() {
    let directory = ledger();
    let head = Reader::open(directory.path()).unwrap().head().unwrap();
    let acme = Some("acme".to_owned());
    for (selection, entries, last) in [
        (Selection::default(), 6, 6),
        (Selection { tenant: acme.clone(), ..Selection::default() }, 5, 5),
        (Selection { from: Some(at(2)), to: Some(at(5)), tenant: None }, 3, 5),
        (Selection { from: Some(at(3)), tenant: acme, ..Selection::default() }, 1, 5),
        (Selection { from: Some(at(100)), ..Selection::default() }, 0, 0),
    ] {
        for format in [Format::JsonLines, Format::Csv] {
            let text = exported(directory.path(), &selection, format);
            let verified = check(&text).unwrap();
            assert_eq!(verified.findings, [], "{text}");
            assert_eq!((verified.entries, verified.head.number), (entries, last), "{selection:?}");
            assert!(selection.tenant.is_none() || !text.contains("beta"), "{text}");
            if last == head.number {
                assert_eq!(verified.head, head);
            }
        }
    }
}

#[test]
fn a_changed_export_is_found_out() {
    let directory = ledger();
    let selection = Selection { tenant: Some("acme".into()), ..Selection::default() };
    let json = exported(directory.path(), &selection, Format::JsonLines);
    let lines: Vec<_> = json.lines().collect();
    assert_eq!(lines.len(), 7);
    let without = |number: usize| {
        lines
            .iter()
            .enumerate()
            .filter(|(line, _)| *line != number)
            .map(|(_, line)| *line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut swapped = lines.clone();
    swapped.swap(1, 3);
    for (changed, what) in [
        (json.replace("no. 0", "no. 9"), "its body was changed"),
        (json.replace("\"actor\":\"kernel\"", "\"actor\":\"nobody\""), "it was changed"),
        (without(1), "entry 1 is missing"),
        (without(2), "entry 2 is missing"),
        (without(5), "it went on to entry 5"),
        (without(6), "the chain is cut"),
        (swapped.join("\n"), "missing before it"),
    ] {
        let found = check(&changed).unwrap().findings;
        assert!(
            found.iter().any(|finding| finding.to_string().contains(what)),
            "{what}: {found:?}\n{changed}"
        );
    }
    for (broken, what) in [
        (without(0), "this is no export"),
        ("{}".to_owned(), "line 1:"),
        (json.replace("\"version\":1", "\"version\":2"), "does not know"),
        (format!("{json}{}", lines[1]), "after the end"),
    ] {
        let error = check(&broken).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}
