//! What a ladder may not do: get milder, release a repeat offender by itself, end without a way back.

use super::{CaseClass, Release, Restrict, Step};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Table;
use crate::config::source::Span;

/// A step, and where it is written.
pub(super) struct WrittenStep {
    pub(super) step: Step,
    pub(super) span: Span,
}

/// Reports what one step contradicts in itself; whether it makes sense.
pub(super) fn report_step(table: &mut Table<'_>, class: CaseClass, written: &WrittenStep) -> bool {
    let WrittenStep { step, span } = written;
    let mistake = match (step.restrict, step.release) {
        (Restrict::None, Release::Operator | Release::Approval) => Some(
            Diagnostic::error("a notice has nothing to release")
                .at(span, format!("`restrict = \"none\"` with `release = \"{}\"`", step.release.label()))
                .help("leave `release` out: the case closes by itself after `for`"),
        ),
        (Restrict::Terminate, Release::Auto | Release::Operator) => Some(
            Diagnostic::error(format!("the ladder of `{class}` ends a contract without a second opinion"))
                .at(span, format!("`restrict = \"terminate\"` with `release = \"{}\"`", step.release.label()))
                .help("write `release = \"approval\"`: a termination ends only when an approver confirms"),
        ),
        (_, Release::Auto) if step.duration.is_none() => Some(
            Diagnostic::error(format!("the ladder of `{class}` has no way back"))
                .at(span, "this step is to end by itself, and does not say when")
                .help("add `for`, as in { restrict = \"outbound\", for = \"1d\", release = \"auto\" }, or have an operator release it"),
        ),
        (_, Release::Operator | Release::Approval) if step.duration.is_some() => Some(
            Diagnostic::error("`for` has no effect here")
                .at(span, format!("with `release = \"{}\"` the step ends when somebody ends it", step.release.label()))
                .help("leave `for` out, or write `release = \"auto\"`"),
        ),
        (restrict, _) if restrict != Restrict::Cap && step.cap.is_some() => Some(
            Diagnostic::error("`cap` has no effect here")
                .at(span, format!("`restrict = \"{}\"` lowers no cap", restrict.label()))
                .help("leave `cap` out, or write `restrict = \"cap\"`"),
        ),
        _ => None,
    };
    mistake.map(|mistake| table.report(mistake)).is_none()
}

/// Reports what the steps contradict in one another.
pub(super) fn report_ladder(table: &mut Table<'_>, class: CaseClass, steps: &[WrittenStep]) {
    let mut gets_milder = false;
    for pair in steps.windows(2) {
        let [before, after] = pair else { continue };
        if let Some(how) = milder(&before.step, &after.step) {
            gets_milder = true;
            table.report(
                Diagnostic::error(format!("the ladder of `{class}` gets milder"))
                    .at(&after.span, format!("this step {how}"))
                    .at(&before.span, "the step before")
                    .help("each further strike restricts at least as much, and is at least as hard to end"),
            );
        }
    }
    if !gets_milder {
        report_repeat_release(table, class, steps);
    }
}

/// A tenant that was restricted before is released by an approver alone; a ladder says nothing else.
fn report_repeat_release(table: &mut Table<'_>, class: CaseClass, steps: &[WrittenStep]) {
    let restricting = |written: &&WrittenStep| written.step.restrict != Restrict::None;
    let Some(first) = steps.iter().find(restricting) else { return };
    // Billing lifts what billing asked for, however often.
    let enough = if class == CaseClass::Account { Release::Operator } else { Release::Approval };
    let again = steps.iter().filter(restricting).skip(1).find(|written| written.step.release < enough);
    let last = steps.last().filter(restricting).filter(|written| written.step.release == Release::Auto);
    let title = format!("the ladder of `{class}` releases a repeat offender too easily");
    if let Some(again) = again {
        table.report(
            Diagnostic::error(title)
                .at(
                    &again.span,
                    format!("`release = \"{}\"` after an earlier restriction", again.step.release.label()),
                )
                .at(&first.span, "the tenant was restricted here already")
                .help(format!("write `release = \"{}\"` from the second restriction on", enough.label())),
        );
    } else if let Some(last) = last {
        table.report(
            Diagnostic::error(title)
                .at(&last.span, "the last step, which every further strike takes again")
                .help(format!("add a step with `release = \"{}\"`", enough.label())),
        );
    }
}

/// How a step is milder than the one before it.
fn milder(before: &Step, after: &Step) -> Option<&'static str> {
    if after.restrict < before.restrict {
        return Some("restricts less");
    }
    if after.restrict > before.restrict {
        // A graver restriction may end by itself sooner than a lesser one; that it ends by itself at all after
        // another restriction is a mistake of its own.
        let is_easier = after.release != Release::Auto && after.release < before.release;
        return is_easier.then_some("is easier to end");
    }
    if after.cap > before.cap {
        return Some("has a higher cap");
    }
    if after.release < before.release && after.release != Release::Auto {
        return Some("is easier to end");
    }
    let is_shorter = after.release == Release::Auto && after.duration < before.duration;
    (is_shorter && before.release == Release::Auto).then_some("holds for less time")
}
