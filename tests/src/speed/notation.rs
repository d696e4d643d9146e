//! Files of tenants in each notation that Fairway reads, and how long it takes to read them.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fairway_tests::gateway::binary;
use tempfile::TempDir;

use crate::figure::Figure;
use crate::measure::{Effort, Spread, Trial, elapsed, in_turns};
use crate::scale::{LARGE, Scale, id, networks_of};

/// Tenants in one file.
pub(crate) const TENANTS_PER_FILE: u32 = 1_000;

const ROUNDS: usize = 7;

/// What a file of tenants is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Toml,
    Csv,
    Json,
}

impl Notation {
    /// The end of the names of its files.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// One file of a provider's tenants; the cap of the first one is `cap_mbit_per_sec`.
    pub(crate) fn file(self, scale: Scale, file: u32, cap_mbit_per_sec: u32) -> String {
        let first = file * TENANTS_PER_FILE;
        let last = (first + TENANTS_PER_FILE).min(scale.tenants);
        let tenants = (first..last)
            .map(|tenant| self.tenant(scale, tenant, if tenant == first { cap_mbit_per_sec } else { 10 }));
        match self {
            Self::Toml => tenants.collect(),
            Self::Csv => {
                "id,name,prefixes,contact,cap.up,cap.down\n".to_owned() + &tenants.collect::<String>()
            }
            Self::Json => format!("[\n{}\n]\n", tenants.collect::<Vec<_>>().join(",\n")),
        }
    }

    fn tenant(self, scale: Scale, tenant: u32, cap: u32) -> String {
        let networks = (0..scale.networks_each).map(|index| tenant + index * scale.tenants);
        let networks: Vec<_> = networks.flat_map(networks_of).map(|network| network.to_string()).collect();
        let (id, quoted) = (id(tenant), networks.iter().map(|network| format!("\"{network}\"")));
        let quoted = quoted.collect::<Vec<_>>().join(", ");
        match self {
            Self::Toml => format!(
                "[[tenant]]\nid = \"{id}\"\nname = \"Tenant {tenant}\"\nprefixes = [{quoted}]\n\
                 contact = \"admin@{id}.example\"\ncap = {{ up = \"{cap} Mbit/s\", down = \"10 Mbit/s\" }}\n\n"
            ),
            Self::Csv => format!(
                "{id},Tenant {tenant},{},admin@{id}.example,{cap} Mbit/s,10 Mbit/s\n",
                networks.join(" ")
            ),
            Self::Json => format!(
                "{{\"id\": \"{id}\", \"name\": \"Tenant {tenant}\", \"prefixes\": [{quoted}], \
                 \"contact\": \"admin@{id}.example\", \
                 \"cap\": {{\"up\": \"{cap} Mbit/s\", \"down\": \"10 Mbit/s\"}}}}"
            ),
        }
    }
}

/// `fairway check` of 100,000 tenants in each notation: the whole command, nothing read before.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    const NOTATIONS: [Notation; 3] = [Notation::Toml, Notation::Csv, Notation::Json];
    let directories = NOTATIONS.map(|notation| written(notation, LARGE));
    let directories: Vec<TempDir> = directories.into_iter().collect::<Result<_>>()?;
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for directory in &directories {
        trials.push(Box::new(|| Ok(check(directory)?.as_secs_f64() * 1e3)));
    }
    let values = in_turns(effort.rounds(ROUNDS), &mut trials)?;
    drop(trials);
    let figures = NOTATIONS.iter().zip(&values).map(|(notation, milliseconds)| {
        let name = format!("reload/100,000 tenants in 100 files, fairway check, {notation:?}");
        let figure = Figure::less(name, "ms", Spread::of(milliseconds));
        if *notation == Notation::Toml { figure } else { figure.beside("TOML", Spread::of(&values[0])) }
    });
    Ok(figures.collect())
}

/// A configuration of these tenants.
fn written(notation: Notation, scale: Scale) -> Result<TempDir> {
    let directory = tempfile::tempdir().context("a directory for the tenants' files")?;
    let mut main = String::from("[gateway]\nname = 'bench'\ntenants = ['bulk-*']\n");
    for (name, side) in [("in0", "tenant"), ("out0", "uplink")] {
        writeln!(main, "[[interface]]\nname = '{name}'\nside = '{side}'")?;
    }
    fs::write(directory.path().join("gateway.toml"), main)?;
    for file in 0..scale.tenants.div_ceil(TENANTS_PER_FILE) {
        let name = format!("bulk-{file:05}.{}", notation.extension());
        fs::write(directory.path().join(name), notation.file(scale, file, 10))?;
    }
    Ok(directory)
}

fn check(directory: &TempDir) -> Result<Duration> {
    let mut command = Command::new(binary()?);
    command.arg("check").arg("--config").arg(directory.path().join("gateway.toml"));
    let (took, output) = elapsed(|| command.output().context("fairway check"))?;
    ensure!(output.status.success(), "fairway check: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

#[cfg(test)]
mod tests {
    use gateway::policy::Effective;

    use super::*;

    #[test]
    fn every_notation_says_the_same() {
        let scale = Scale { tenants: 2, networks_each: 2 };
        let tenants = [Notation::Toml, Notation::Csv, Notation::Json].map(|notation| {
            let directory = written(notation, scale).expect("a configuration");
            let now = "2026-11-01T00:00:00Z".parse().expect("a timestamp");
            let loaded = gateway::config::load(&directory.path().join("gateway.toml"));
            let view = gateway::policy::view(&Effective::of(loaded.expect("no mistakes").config, now));
            view["tenants"].clone()
        });
        assert_eq!(tenants[0].as_object().map(serde_json::Map::len), Some(2));
        assert_eq!([&tenants[1], &tenants[2]], [&tenants[0]; 2]);
    }
}
