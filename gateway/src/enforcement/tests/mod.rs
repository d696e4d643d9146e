//! The machine, held against what it promises.

mod examples;
mod fake;
mod invariants;
mod year;

use super::{FACTS, Transition};

/// The document's tables are the code's.
#[test]
fn the_documentation_has_the_tables() {
    let documentation = std::fs::read_to_string("../docs/enforcement.md").unwrap();
    let facts = FACTS.iter().fold(String::new(), |table, (kind, class, signal)| {
        let class = class.map_or_else(|| "none alone".to_owned(), |class| format!("`{class}`"));
        let signal = signal.map_or_else(String::new, |signal| format!("`{}`", signal.label()));
        table + &format!("| `{kind}` | {class} | {signal} |\n")
    });
    for table in [facts, Transition::markdown()] {
        let said = "docs/enforcement.md has another table; it should be";
        assert!(documentation.contains(&table), "{said}\n{table}");
    }
}
