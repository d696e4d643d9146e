//! What ladders would have made of the offences, by the capture's own time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::{CaseClass, Enforcement, EnforcementMode, Release};
use crate::detect::Offence;
use crate::enforcement::{Act, CaseId, Fact, Input, Notice, Resolution, Standing, State};

/// What would have been decided.
#[derive(Debug, Serialize)]
pub struct Judgement {
    /// The configured mode. Under `watch` it is what `enforce` would have done.
    pub mode: EnforcementMode,
    /// Every step and its end, in the order of time.
    pub decisions: Vec<Decision>,
    /// Tenants that did not keep a good standing, by id.
    pub standings: BTreeMap<String, Reached>,
}

/// One step, or its end.
#[derive(Debug, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Of which tenant.
    pub tenant: String,
    /// In which case.
    pub case: CaseId,
    /// For which misuse.
    pub class: CaseClass,
    /// What.
    #[serde(flatten)]
    pub what: Decided,
    /// What the customer would have been told.
    pub notice: Option<Notice>,
}

/// What was decided.
#[derive(Debug, Serialize)]
#[serde(tag = "decided", rename_all = "snake_case")]
pub enum Decided {
    /// A step waits for office hours.
    Waits {
        /// Until when.
        until: Timestamp,
    },
    /// A step of the ladder was taken.
    Step {
        /// The standing that the step gives.
        standing: Standing,
        /// Which strike of its class it was, from 1.
        strike: u32,
        /// The step in words.
        step: String,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// Who ends it.
        release: Release,
    },
    /// A case was closed by itself.
    Closed {
        /// How.
        resolution: Resolution,
    },
}

/// The gravest standing that a tenant reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Which.
    pub standing: Standing,
    /// When, for the first time.
    pub at: Timestamp,
}

/// Runs offences through the ladders, until the capture's last moment. Nobody restores anybody.
pub(super) fn judge(offences: &[Offence], rules: &Enforcement, end: Option<Timestamp>) -> Judgement {
    let mut judged = Judgement { mode: rules.mode, decisions: Vec::new(), standings: BTreeMap::new() };
    if rules.mode == EnforcementMode::Off {
        return judged;
    }
    let rules = rules.in_mode(EnforcementMode::Enforce);
    let mut state = State::default();
    let mut facts: Vec<Fact> = offences.iter().filter_map(Fact::of).collect();
    facts.sort_by_key(|fact| fact.at);
    for fact in facts {
        let at = fact.at;
        judged.pass_time(&mut state, at, &rules);
        judged.take(&mut state, &Input::Fact(fact), at, &rules);
    }
    if let Some(end) = end {
        judged.pass_time(&mut state, end, &rules);
    }
    judged
}

impl Judgement {
    fn pass_time(&mut self, state: &mut State, until: Timestamp, rules: &Enforcement) {
        while let Some(due) = state.next_deadline().filter(|due| *due <= until) {
            self.take(state, &Input::Clock, due, rules);
        }
    }

    fn take(&mut self, state: &mut State, input: &Input, at: Timestamp, rules: &Enforcement) {
        // Facts and time are never refused.
        let Ok(acts) = crate::enforcement::decide(state, input, at, rules) else { return };
        for act in &acts {
            // A notice belongs to the decision before it, which may have closed its case.
            if let Act::Noticed { notice, .. } = act {
                state.apply(act, at);
                if let Some(decision) = self.decisions.last_mut() {
                    decision.notice = Some(*notice);
                }
                continue;
            }
            // A case that is closed is known before the act, one that is opened after it.
            let before = act.case().and_then(|id| state.case(id)).cloned();
            state.apply(act, at);
            let Some(case) = act.case().and_then(|id| state.case(id)).or(before.as_ref()) else { continue };
            let standing = state.standing(&case.tenant);
            if self.standings.get(&case.tenant).map_or(Standing::Good, |it| it.standing) < standing {
                self.standings.insert(case.tenant.clone(), Reached { standing, at });
            }
            let what = match act {
                Act::Waits { until: Some(until), .. } => Decided::Waits { until: *until },
                Act::Struck { strike, step, until, .. } => Decided::Step {
                    standing: step.restrict.into(),
                    strike: *strike,
                    step: step.to_string(),
                    until: *until,
                    release: step.release,
                },
                Act::Closed { resolution, .. } => Decided::Closed { resolution: *resolution },
                _ => continue,
            };
            let (tenant, class) = (case.tenant.clone(), case.class);
            self.decisions.push(Decision { at, tenant, case: case.id, class, what, notice: None });
        }
    }
}

/// A tenant whose gravest standing differs between two replays.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct StandingDifference {
    /// Its id.
    pub tenant: String,
    /// Under the first policy; none: it kept a good standing.
    pub before: Option<Reached>,
    /// Under the other one.
    pub after: Option<Reached>,
}

/// Every tenant whose gravest standing differs, or was reached at another time, by id.
#[must_use]
pub fn standing_differences(before: &Judgement, after: &Judgement) -> Vec<StandingDifference> {
    let tenants = before.standings.keys().chain(after.standings.keys());
    let tenants: std::collections::BTreeSet<_> = tenants.collect();
    let difference = |tenant: &String| {
        let reached = |judged: &Judgement| judged.standings.get(tenant).copied();
        let (before, after) = (reached(before), reached(after));
        (before != after).then(|| StandingDifference { tenant: tenant.clone(), before, after })
    };
    tenants.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{DetectMode, OffenceKind};
    use crate::detect::fake::{at, offence};

    const HOUR: i64 = 3_600;

    fn scans() -> Vec<Offence> {
        [0, 2 * HOUR, 40 * HOUR].map(|seconds| offence("acme", "192.0.2.1/32", seconds)).to_vec()
    }

    #[test]
    fn steps_follow_the_time_of_the_capture() {
        let judged = judge(&scans(), &Enforcement::default(), Some(at(41 * HOUR)));
        assert_eq!(judged.mode, EnforcementMode::Watch);
        let told: Vec<_> = judged
            .decisions
            .iter()
            .map(|decision| match &decision.what {
                Decided::Step { standing, strike, step, .. } => {
                    format!("{} {} {strike} {step}", decision.at, standing.label())
                }
                Decided::Waits { until } => format!("{} waits until {until}", decision.at),
                Decided::Closed { resolution } => format!("{} {}", decision.at, resolution.label()),
            })
            .collect();
        let expected = [
            format!("{} noticed 1 notice for 1d", at(0)),
            format!("{} quarantined 2 outbound for 1d", at(2 * HOUR)),
            format!("{} served", at(26 * HOUR)),
            format!("{} suspended 3 everything until an approver confirms", at(40 * HOUR)),
        ];
        assert_eq!(told, expected);
        let reached = Reached { standing: Standing::Suspended, at: at(40 * HOUR) };
        assert_eq!(judged.standings, BTreeMap::from([("acme".into(), reached)]));
        let json = serde_json::to_value(&judged.decisions[0]).unwrap();
        let expected = json!({
            "at": at(0), "tenant": "acme", "case": "C-2026-00001", "class": "scan", "decided": "step",
            "standing": "noticed", "strike": 1, "step": "notice for 1d", "until": at(24 * HOUR),
            "release": "auto", "notice": "misuse",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_is_only_watched_or_suppressed_counts_for_nothing() {
        let mut offences = scans();
        offences[0].mode = DetectMode::Watch;
        offences[1].counters.insert(Offence::HELD.into(), 1);
        offences[2].kind = OffenceKind::ListedContact;
        let judged = judge(&offences, &Enforcement::default(), None);
        assert!(judged.decisions.is_empty() && judged.standings.is_empty(), "{judged:#?}");
    }

    #[test]
    fn two_ladders_differ_by_tenant() {
        let rules = Enforcement::default();
        let judged = |rules| judge(&scans(), rules, None);
        let (on, off) = (judged(&rules), judged(&rules.in_mode(EnforcementMode::Off)));
        assert_eq!(standing_differences(&on, &on), []);
        let before = Some(Reached { standing: Standing::Suspended, at: at(40 * HOUR) });
        let expected = StandingDifference { tenant: "acme".into(), before, after: None };
        assert_eq!(standing_differences(&on, &off), [expected]);
    }
}
