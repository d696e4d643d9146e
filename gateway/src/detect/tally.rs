//! How many offences there were, and which measures hold: what metrics show.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{HeldMeasure, Lift, MeasureInForce, Offence};
use crate::config::{Measure, OffenceKind};

/// Counts and measures in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffenceTally {
    counts: BTreeMap<(String, OffenceKind), u64>,
    in_force: Vec<MeasureInForce>,
}

impl OffenceTally {
    /// Goes on from what was counted before, with the measures that still hold.
    #[must_use]
    pub fn resume(counts: BTreeMap<(String, OffenceKind), u64>, in_force: Vec<MeasureInForce>) -> Self {
        Self { counts, in_force }
    }

    /// Counts an offence, and holds the measure that was taken in the place of the same against the source.
    pub fn add(&mut self, offence: &Offence) {
        *self.counts.entry((offence.tenant.clone(), offence.kind)).or_default() += 1;
        if let Some(taken) = offence.taken() {
            self.in_force.retain(|held| held.identity() != taken.identity());
            self.in_force.push(taken);
        }
    }

    /// Takes out the measures that are lifted; returns them.
    pub fn lift(&mut self, lift: &Lift) -> Vec<MeasureInForce> {
        self.in_force.extract_if(.., |held| lift.covers(held)).collect()
    }

    /// Forgets measures whose time is over.
    pub fn expire(&mut self, now: Timestamp) {
        self.in_force.retain(|held| held.until > now);
    }

    /// Takes the kernel's word for which measures hold against sources, and until when: forgets those that it
    /// does not hold, and adds those that nobody knew of. Returns the latter.
    pub fn see(&mut self, held: &[HeldMeasure], now: Timestamp) -> Vec<MeasureInForce> {
        self.in_force.retain(|known| known.source.is_none() || held.iter().any(|held| held.is(known)));
        let mut news = Vec::new();
        for held in held.iter().filter(|held| held.until > now) {
            let same = || self.in_force.iter().enumerate().filter(|(_, known)| held.is(known));
            let Some((last, _)) = same().max_by_key(|(_, known)| known.until) else {
                let HeldMeasure { tenant, source, kind, measure, until } = held.clone();
                let (source, lowered_cap) = (Some(source), None);
                news.push(MeasureInForce { tenant, source, kind, measure, lowered_cap, since: now, until });
                continue;
            };
            let until = &mut self.in_force[last].until;
            if until.duration_since(held.until).abs() > HeldMeasure::TOLERANCE {
                *until = held.until;
            }
        }
        self.in_force.extend_from_slice(&news);
        news
    }

    /// Measures that hold at `now`, in the order they were taken.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &MeasureInForce> {
        self.in_force.iter().filter(move |held| held.until > now)
    }

    /// Offences counted, by tenant and kind.
    pub fn counts(&self) -> impl Iterator<Item = (&str, OffenceKind, u64)> {
        self.counts.iter().map(|((tenant, kind), count)| (tenant.as_str(), *kind, *count))
    }

    /// How many measures hold at `now`, by kind and measure.
    #[must_use]
    pub fn measures(&self, now: Timestamp) -> BTreeMap<(Option<OffenceKind>, Measure), u64> {
        let mut measures = BTreeMap::new();
        for held in self.in_force(now) {
            *measures.entry((held.kind, held.measure)).or_default() += 1;
        }
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DetectMode;
    use crate::detect::fake::{at, offence};

    #[test]
    fn offences_are_counted_and_a_repeated_measure_is_one() {
        let mut tally = OffenceTally::default();
        tally.add(&offence("acme", "192.0.2.1/32", 0));
        tally.add(&offence("acme", "192.0.2.1/32", 60));
        tally.add(&offence("acme", "192.0.2.2/32", 60));
        let watched = Offence {
            until: None,
            mode: DetectMode::Watch,
            kind: OffenceKind::BulkMail,
            ..offence("beta", "192.0.2.17/32", 0)
        };
        tally.add(&watched);
        let counts: Vec<_> = tally.counts().collect();
        assert_eq!(counts, [("acme", OffenceKind::ScanVertical, 3), ("beta", OffenceKind::BulkMail, 1)]);
        let quarantine = (Some(OffenceKind::ScanVertical), Measure::Quarantine);
        assert_eq!(tally.measures(at(3_659)), BTreeMap::from([(quarantine, 2)]));
        assert_eq!(tally.measures(at(3_660)), BTreeMap::new());
        tally.expire(at(3_660));
        assert_eq!(tally.in_force, []);
    }

    #[test]
    fn the_kernels_word_counts_for_sources() {
        let mut tally = OffenceTally::default();
        for source in ["192.0.2.1/32", "192.0.2.2/32"] {
            tally.add(&offence("acme", source, 0));
        }
        let tenants = Offence { source: None, ..offence("beta", "192.0.2.9/32", 0) };
        tally.add(&tenants);
        let held = |source: &str, kind, until| HeldMeasure {
            tenant: "acme".into(),
            source: source.parse().unwrap(),
            kind,
            measure: Measure::Quarantine,
            until: at(until),
        };
        // Half a second apart is the same time; the second one was lifted; the third nobody told of.
        let almost = HeldMeasure {
            until: at(3_600) + jiff::SignedDuration::from_millis(500),
            ..held("192.0.2.1/32", Some(OffenceKind::ScanVertical), 0)
        };
        let unknown = held("192.0.2.3/32", None, 7_200);
        let over = held("192.0.2.4/32", None, 50);
        let news = tally.see(&[almost.clone(), unknown, over], at(60));
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].kind, news[0].since, news[0].until), (None, at(60), at(7_200)));
        let holds = |tally: &OffenceTally| -> Vec<_> {
            tally
                .in_force(at(60))
                .map(|held| (held.source.map(|source| source.to_string()), held.until))
                .collect()
        };
        let (first, third) = (Some("192.0.2.1/32".to_owned()), Some("192.0.2.3/32".to_owned()));
        assert_eq!(holds(&tally), [(first.clone(), at(3_600)), (None, at(3_600)), (third, at(7_200))]);
        // The wall clock was wrong when the offence was seen.
        let longer = HeldMeasure { until: at(90_000), ..almost };
        assert_eq!(tally.see(&[longer], at(60)), []);
        assert_eq!(holds(&tally), [(first, at(90_000)), (None, at(3_600))]);
    }

    #[test]
    fn a_lift_ends_a_tenants_measures_or_one_sources() {
        let mut tally = OffenceTally::default();
        for source in ["192.0.2.1/32", "192.0.2.2/32", "2001:db8:10::/64"] {
            tally.add(&offence("acme", source, 0));
        }
        tally.add(&offence("beta", "192.0.2.17/32", 0));
        let lift = |source: Option<&str>| Lift {
            tenant: "acme".into(),
            source: source.map(|source| source.parse().unwrap()),
            at: at(1),
            by: "j.doe".into(),
            reason: "cleaned".into(),
        };
        let sources = |lifted: Vec<MeasureInForce>| {
            lifted.iter().filter_map(|held| Some(held.source?.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(sources(tally.lift(&lift(Some("192.0.2.2/32")))), ["192.0.2.2/32"]);
        assert_eq!(sources(tally.lift(&lift(Some("192.0.2.17/32")))), [""; 0]);
        assert_eq!(sources(tally.lift(&lift(None))), ["192.0.2.1/32", "2001:db8:10::/64"]);
        assert_eq!(tally.in_force.len(), 1);
    }
}
