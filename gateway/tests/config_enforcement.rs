//! What `[enforcement]` means: defaults, what a ladder inherits, what a reload would change.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use gateway::config::{
    CaseClass, Config, DurationText, Enforcement, EnforcementMode, Ladder, Release, Restrict, load,
};
use gateway::policy::{Effective, changes, view};
use jiff::Timestamp;

fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

/// A main file of one interface on each side and one tenant, and `more` after it; nothing is said about it.
fn taken(more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let interface = |name, side| format!("[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
    let interfaces = interface("eth1", "tenant") + &interface("eth0", "uplink");
    let tenant = "[[tenant]]\nid = \"a\"\nprefixes = [\"192.0.2.0/28\"]\ncontact = \"a@b.example\"\n";
    fs::write(&file, format!("[gateway]\nname = \"edge1\"\n{interfaces}{tenant}{more}")).unwrap();
    let loaded = load(&file).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

/// A ladder as the config writes it.
fn written(class: CaseClass, ladder: &Ladder) -> String {
    let mut text = format!("[enforcement.ladder.{class}]\nseverity = \"{}\"\n", ladder.severity.label());
    writeln!(text, "department = \"{}\"", ladder.department.label()).unwrap();
    writeln!(text, "decay = \"{}\"", DurationText(ladder.decay)).unwrap();
    writeln!(text, "collect = \"{}\"\nsteps = [", DurationText(ladder.collect)).unwrap();
    for step in &ladder.steps {
        let cap = step.cap.map_or_else(String::new, |cap| format!(", cap = \"{cap}\""));
        let holds = step.duration.map(|duration| format!(", for = \"{}\"", DurationText(duration)));
        let (restrict, release) = (step.restrict.label(), step.release.label());
        let holds = holds.unwrap_or_default();
        writeln!(text, "{{ restrict = \"{restrict}\"{cap}{holds}, release = \"{release}\" }},").unwrap();
    }
    text + "]\n"
}

/// Nothing less is asked of the shipped ladders than of the operator's, and what is written is what is read.
#[test]
fn shipped_ladders_are_taken_when_they_are_written() {
    let shipped = Enforcement::default();
    let text: String = shipped.ladders().map(|(class, ladder)| written(class, ladder)).collect();
    assert_eq!(taken(&text).enforcement, shipped);
    assert_eq!(taken("").enforcement, shipped);
    assert_eq!(shipped.mode, EnforcementMode::Watch);
}

#[test]
fn the_documentation_has_the_shipped_ladders() {
    let documentation = fs::read_to_string("../docs/configuration.md").unwrap();
    for (class, ladder) in Enforcement::default().ladders() {
        let cells = [
            format!("`{class}`"),
            ladder.severity.label().to_owned(),
            ladder.department.label().to_owned(),
            DurationText(ladder.decay).to_string(),
            DurationText(ladder.collect).to_string(),
        ];
        let steps = ladder.steps.iter().map(|step| {
            let what = match (step.restrict, step.cap) {
                (Restrict::None, _) => "notice".to_owned(),
                (Restrict::Cap, Some(cap)) => format!("cap {cap}"),
                (restrict, _) => restrict.label().to_owned(),
            };
            match (step.release, step.duration) {
                (Release::Auto, Some(day))
                    if day == Duration::from_secs(86_400) && step.restrict == Restrict::None =>
                {
                    what
                }
                (Release::Auto, duration) => format!("{what}, {}", DurationText(duration.unwrap())),
                (release, _) => format!("{what}, {}", release.label()),
            }
        });
        let row = cells.into_iter().chain(steps).collect::<Vec<_>>().join(" | ");
        assert!(documentation.contains(&format!("\n| {row} |")), "no row | {row} |");
    }
}

#[test]
fn a_ladder_inherits_what_it_does_not_say() {
    let config = taken("[enforcement.ladder.scan]\ndecay = \"30d\"\nsteps = [{ restrict = \"none\" }]\n");
    let scan = config.enforcement.ladder(CaseClass::Scan).unwrap();
    let shipped = Ladder::shipped(CaseClass::Scan);
    assert_eq!((scan.decay, scan.collect), (Duration::from_secs(30 * 86_400), shipped.collect));
    assert_eq!((scan.steps.len(), scan.steps[0].duration), (1, Some(Duration::from_secs(86_400))));
    assert_eq!(config.enforcement.ladder(CaseClass::Flood), Some(&Ladder::shipped(CaseClass::Flood)));
    assert_eq!(config.enforcement.ladder(CaseClass::Manual), None);
    // Every further strike takes the last step.
    assert_eq!(shipped.step(9), &shipped.steps[2]);
}

#[test]
fn office_hours_are_read_as_they_are_meant() {
    let config = taken(
        "[enforcement]\ntimezone = \"Europe/London\"\n\
         office_hours = { days = \"Sat-Mon, Wed\", from = \"08:30\", to = \"12:00\", holidays = [\"2026-12-26\", \"2026-12-25\", \"2026-12-26\"] }\n",
    );
    let (hours, zone) = (&config.enforcement.office_hours, &config.enforcement.timezone);
    assert_eq!(hours.to_string(), "Mon,Wed,Sat,Sun 08:30-12:00");
    assert_eq!(hours.holidays.len(), 2);
    // Christmas Day is a Friday, the holiday after it a Saturday. In summer, half past eight is earlier in UTC.
    let next = |now: &str| hours.next_open(now.parse().unwrap(), zone).to_string();
    assert_eq!(next("2026-12-24T12:00:00Z"), "2026-12-27T08:30:00Z");
    assert_eq!(next("2026-07-04T00:00:00Z"), "2026-07-04T07:30:00Z");
}

#[test]
fn what_a_reload_would_change_is_told_step_by_step() {
    let old = view(&Effective::of(taken(""), now()));
    let new = taken(
        "[enforcement]\nmode = \"off\"\n[enforcement.ladder.scan]\nsteps = [{ restrict = \"none\" }]\n",
    );
    let told: Vec<_> =
        changes(&old, &view(&Effective::of(new.clone(), now()))).iter().map(ToString::to_string).collect();
    let expected = [
        "enforcement: ladders.scan.steps.2 outbound for 1d removed",
        "enforcement: ladders.scan.steps.3 everything until an approver confirms removed",
        "enforcement: mode watch -> off",
    ];
    assert_eq!(told, expected);
}
