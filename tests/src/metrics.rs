//! The gateway's metrics, read as text.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// All samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads Prometheus' text format, in which label values hold no quotes, commas or line ends.
    ///
    /// # Errors
    /// If a line is neither a comment nor a sample.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| parse_sample(line).with_context(|| format!("not a sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The sum of all samples of a family that carry these labels among theirs; 0 if there is none, since a
    /// counter appears with its first event.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(carries).map(|sample| sample.value).sum()
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (label, value) = label.split_once('=')?;
        Some((label.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    });
    Some(Sample { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP drops_total Drops.\n# TYPE drops_total counter\n\
        drops_total{tenant=\"acme\",reason=\"over_cap\"} 3\ndrops_total{tenant=\"acme\",reason=\"fragment\"} 4\n\
        drops_total{tenant=\"beta\",reason=\"fragment\"} 8\nup 1\n";

    #[test]
    fn sums_the_samples_that_carry_the_labels() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.sum("drops_total", &[("tenant", "acme")]), 7.0);
        assert_eq!(metrics.sum("drops_total", &[("reason", "fragment"), ("tenant", "beta")]), 8.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("drops_total", &[("tenant", "gamma")]), 0.0);
    }

    #[test]
    fn refuses_what_is_no_sample() {
        assert!(Metrics::parse("drops_total{tenant=\"acme\" 3").is_err());
        assert!(Metrics::parse("drops_total many").is_err());
    }
}
