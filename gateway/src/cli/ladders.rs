//! What follows from misuse, as tables: `fairway check --ladders`.

use super::output::table;
use crate::config::{CaseClass, DurationText, Enforcement, Ladder};
use crate::enforcement::FACTS;

/// The ladders, step by step, and what counts for which.
pub(super) fn ladders(rules: &Enforcement) -> String {
    let head = format!(
        "mode          {}\noffice hours  {} ({})\nsignals       two kinds within {} are a case of class {}\n",
        rules.mode.label(),
        rules.office_hours,
        rules.timezone.iana_name().unwrap_or("UTC"),
        DurationText(rules.signal_window),
        CaseClass::Compromise,
    );
    let header = ["class", "severity", "department", "collect", "decay", "strike", "step"];
    let steps = table(&header, rules.ladders().flat_map(|(class, ladder)| rows(class, ladder)), &[]);
    let facts = FACTS.iter().map(|(kind, class, signal)| {
        let class = class.map_or("none alone", CaseClass::label);
        vec![kind.to_string(), class.to_owned(), signal.map_or("", |signal| signal.label()).to_owned()]
    });
    format!("{head}\n{steps}\n{}", table(&["fact", "class", "signal"], facts, &[]))
}

/// One row a step; the first also has what holds for all of them, the last is for every further strike.
fn rows(class: CaseClass, ladder: &Ladder) -> Vec<Vec<String>> {
    let common = [
        class.label().to_owned(),
        ladder.severity.label().to_owned(),
        ladder.department.label().to_owned(),
        DurationText(ladder.collect).to_string(),
        DurationText(ladder.decay).to_string(),
    ];
    let row = |(index, step): (usize, &crate::config::Step)| {
        let common = if index == 0 { common.clone() } else { Default::default() };
        let further = if index + 1 == ladder.steps.len() { "+" } else { "" };
        let own = [format!("{}{further}", index + 1), step.to_string()];
        common.into_iter().chain(own).collect()
    };
    ladder.steps.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_row_and_the_last_is_for_all_further_strikes() {
        let shown = ladders(&Enforcement::default());
        let words: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let has = |row: &str| words.contains(&row.split_whitespace().collect());
        assert!(has("scan serious abuse 1h 90d 1 notice for 1d"), "{shown}");
        assert!(has("2 outbound for 1d") && has("3+ everything until an approver confirms"), "{shown}");
        assert!(has("account serious billing 1h 365d 1+ everything until an operator restores"), "{shown}");
        assert!(has("listed_contact none alone listed"), "{shown}");
    }
}
