//! Holds the rooms of this crate to the table in `docs/design.md`: a room knows only those that its row names, and
//! all of them are above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rows `` | `room` | what it is | `known`, … | `` under "The controller", in their order.
fn documented(design: &str) -> Vec<(String, BTreeSet<String>)> {
    let section = design.split("\n## ").find(|section| section.starts_with("The controller\n"));
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = section.expect("a section on the controller").lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").collect::<Vec<_>>());
    cells.map(|cells| (names(cells[0])[0].clone(), names(cells[2]).into_iter().collect())).collect()
}

/// Every `crate::room` in the code of each room. Tests may look anywhere.
fn found(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut rooms = BTreeMap::<_, BTreeSet<_>>::new();
    let mut waiting: Vec<PathBuf> = vec![src.into()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let within = path.strip_prefix(src).unwrap().to_str().unwrap();
        let is_code = within.ends_with(".rs") && !within.ends_with("tests.rs") && !within.contains("/tests/");
        let room = within.split('/').next().unwrap().trim_end_matches(".rs");
        if !is_code || ["lib", "main", "layers"].contains(&room) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines();
        let code: String = code.filter(|line| !line.trim_start().starts_with("//")).collect();
        let name =
            |rest: &str| rest.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap().to_owned();
        let known = code.split("crate::").skip(1).map(name).filter(|known| known != room);
        rooms.entry(room.to_owned()).or_default().extend(known);
    }
    rooms
}

#[test]
fn a_room_knows_only_those_that_the_table_in_the_design_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented = documented(&fs::read_to_string(root.join("../docs/design.md")).unwrap());
    for (row, (room, knows)) in documented.iter().enumerate() {
        let is_above = |known: &String| documented[..row].iter().any(|(above, _)| above == known);
        assert!(knows.iter().all(is_above), "{room} knows a room that is not above it: {knows:?}");
    }
    // Both ways: an arrow that the table does not have is a mistake, and one that the code does not have is told.
    assert_eq!(
        found(&root.join("src")),
        documented.into_iter().collect(),
        "code (left), docs/design.md (right)"
    );
}
