//! `[detect]`, `[detect.KIND]` and `[detect.class.NAME.KIND]`, read.

use super::allow::{WrittenAllowance, read_allowance};
use super::{DetectClass, DetectMode, Detection, Measure, OffenceKind, Rule, Threshold};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Table;
use crate::config::source::At;
use crate::config::units::DurationWithin;
use crate::config::value::{Choice, IDENTIFIER, NumberWithin, TEXT};
use crate::config::{Interface, Side};

const MODE: Choice<DetectMode> = Choice(&[
    (DetectMode::Off.label(), DetectMode::Off),
    (DetectMode::Watch.label(), DetectMode::Watch),
    (DetectMode::Enforce.label(), DetectMode::Enforce),
]);
const MEASURE: Choice<Measure> = Choice(&[
    (Measure::None.label(), Measure::None),
    (Measure::Quarantine.label(), Measure::Quarantine),
    (Measure::Slow.label(), Measure::Slow),
    (Measure::CloseSmtp.label(), Measure::CloseSmtp),
    (Measure::DropSyn.label(), Measure::DropSyn),
    (Measure::DropUdp.label(), Measure::DropUdp),
]);
/// Where it is the tenant's whole traffic that is judged, there is no one source to act on.
const MEASURE_OF_TENANT: Choice<Measure> =
    Choice(&[(Measure::None.label(), Measure::None), (Measure::LowerCap.label(), Measure::LowerCap)]);

/// A source takes 3 to 5 kB of kernel memory: there are two to four places for each.
const SOURCES: NumberWithin = NumberWithin(1..=1_000_000);
/// A contact takes 8 to 16 bytes: their sets are as many as the next power of two.
const CONTACTS: NumberWithin = NumberWithin(1_024..=16_777_216);
const MEASURES: NumberWithin = NumberWithin(1..=1_000_000);

/// What `[detect]` says.
pub(in crate::config) struct DetectSection {
    /// Without the allowances, and what the drop lists hold.
    pub(in crate::config) settings: Detection,
    /// The allowances.
    pub(in crate::config) allow: Vec<WrittenAllowance>,
    /// Paths of drop lists, relative to the main file's directory.
    pub(in crate::config) drop_lists: Vec<At<String>>,
    /// Whether each class could be read, so that a name that is not among them does not exist.
    pub(in crate::config) are_classes_known: bool,
}

pub(in crate::config) fn read_detect(root: &mut Table<'_>) -> DetectSection {
    root.table("detect", |table| {
        let default = read_rules(table, &built_in_rules());
        let mut classes = vec![DetectClass { name: DetectClass::DEFAULT.to_owned(), rules: default.clone() }];
        let names_are_valid = table.named_tables("class", &IDENTIFIER, |class, name| {
            report_class(class, &name, classes.len());
            classes.push(DetectClass { name, rules: read_rules(class, &default) });
        });
        DetectSection {
            are_classes_known: table.is_whole() && names_are_valid,
            drop_lists: table.list("drop_lists", &TEXT),
            allow: table.tables("allow", read_allowance).into_iter().flatten().collect(),
            settings: Detection {
                sources: table.or("sources", &SOURCES, 10_000),
                contacts: table.or("contacts", &CONTACTS, 262_144),
                max_measures_per_minute: table.or("max_measures_per_minute", &MEASURES, 20),
                drop_lists: Vec::new(),
                listed: Vec::new(),
                classes,
                allow: Vec::new(),
            },
        }
    })
}

fn report_class(class: &mut Table<'_>, name: &str, before: usize) {
    if name == DetectClass::DEFAULT {
        class.report(
            Diagnostic::error("\"default\" is the class of tenants without `detect_class`")
                .at(class.header(), "this name is taken")
                .help("write its rules as [detect.KIND], or give the class another name"),
        );
    }
    if before > DetectClass::MAX {
        class.report(
            Diagnostic::error(format!("more than {} classes", DetectClass::MAX))
                .at(class.header(), format!("the {before}th"))
                .help("tenants that may do the same can share one"),
        );
    }
}

fn built_in_rules() -> [Rule; OffenceKind::ALL.len()] {
    OffenceKind::ALL.map(|kind| Rule {
        mode: DetectMode::Enforce,
        measure: kind.default_measure(),
        duration: kind.default_duration(),
        thresholds: kind.thresholds().map(|(threshold, default, _)| (threshold, default)).collect(),
    })
}

/// Reads the rules of one class; what is left out is as in `inherited`.
fn read_rules(
    table: &mut Table<'_>,
    inherited: &[Rule; OffenceKind::ALL.len()],
) -> [Rule; OffenceKind::ALL.len()] {
    let mode = table.optional("mode", &MODE).map(|mode| mode.value);
    OffenceKind::ALL.map(|kind| {
        let mut inherited = inherited[kind as usize].clone();
        inherited.mode = mode.unwrap_or(inherited.mode);
        table.table(kind.label(), |rule| read_rule(rule, kind, &inherited))
    })
}

fn read_rule(table: &mut Table<'_>, kind: OffenceKind, inherited: &Rule) -> Rule {
    let mode = table.or("mode", &MODE, inherited.mode);
    let measures = if kind == OffenceKind::SuddenRise { &MEASURE_OF_TENANT } else { &MEASURE };
    let measure = table.or("measure", measures, inherited.measure);
    let duration = table.or("for", &DurationWithin(OffenceKind::DURATIONS), inherited.duration);
    let mut read = |(threshold, default, range): (Threshold, u32, _)| {
        let inherited = inherited.threshold(threshold).unwrap_or(default);
        (threshold, table.or(threshold.label(), &NumberWithin(range), inherited))
    };
    let thresholds = kind.thresholds().map(&mut read).collect();
    let rule = Rule { mode, measure, duration, thresholds };
    report_moot(table, &rule);
    rule
}

/// Warns if caps are to be lowered for rises that nobody can see, because no uplink's load is known.
pub(in crate::config) fn report_unseen_rises(
    root: &mut Table<'_>,
    detect: &DetectSection,
    interfaces: &[Interface],
) {
    let lowers = |class: &DetectClass| {
        let rule = class.rule(OffenceKind::SuddenRise);
        (rule.mode, rule.measure) == (DetectMode::Enforce, Measure::LowerCap)
    };
    let Some(span) = root.key_span("detect") else { return };
    let uplinks: Vec<_> = interfaces.iter().filter(|interface| interface.side == Side::Uplink).collect();
    // If only some are known, that is told where the others are written; that there is no uplink, too.
    let is_unseen = !uplinks.is_empty() && uplinks.iter().all(|uplink| uplink.capacity.is_none());
    if is_unseen && detect.settings.classes.iter().any(lowers) {
        root.report(
            Diagnostic::warning("`sudden_rise` judges nobody, so it lowers no cap")
                .at(&span, "`lower_cap` is its measure here")
                .help("write the `capacity` of each uplink: it tells when they are loaded"),
        );
    }
}

/// Warns about thresholds that never decide, because one over a shorter time is reached before.
fn report_moot(table: &mut Table<'_>, rule: &Rule) {
    for &(shorter, limit) in &rule.thresholds {
        let Some(longer) = shorter.longer() else { continue };
        // What is inherited is told where it is written.
        let is_written_here = table.has(shorter.label()) || table.has(longer.label());
        if is_written_here && rule.threshold(longer).is_some_and(|longer| longer < limit) {
            let (longer, shorter) = (longer.label(), shorter.label());
            table.report(
                Diagnostic::warning(format!("`{shorter}` never decides"))
                    .at(table.header(), format!("`{longer}` is smaller, and reached first"))
                    .help(format!("lower `{shorter}` or raise `{longer}`")),
            );
        }
    }
}
