//! A corpus of evasions: packets that try to get past a closed port, a source check or a cap.
//!
//! Each [`Case`] is one trick. Its packets lie as a capture in `tests/evasion/NAME.pcap`, what must
//! happen to each of them in `tests/evasion/verdicts.csv`, under the policy in
//! `tests/evasion/gateway.toml`; `docs/evasion.md` tells what the trick is. All of them are made here.

mod chains;
mod files;
mod fragments;
mod lengths;
mod link;
mod mail;
mod sources;
mod tags;

use std::path::PathBuf;

use crate::bench::Fixture;

pub use files::{capture, table};

/// One trick.
pub struct Case {
    /// Its name: of the capture, in the table, and above its description.
    pub name: &'static str,
    /// The packets, in order.
    pub packets: Vec<Fixture>,
}

/// Where captures, table and policy lie.
#[must_use]
pub fn directory() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/evasion").into()
}

/// Every case, in the order in which they are described.
#[must_use]
pub fn corpus() -> Vec<Case> {
    let families = [
        fragments::cases(),
        chains::cases(),
        lengths::cases(),
        tags::cases(),
        mail::cases(),
        sources::cases(),
        link::cases(),
    ];
    families.into_iter().flatten().collect()
}

fn case(name: &'static str, packets: impl Into<Vec<Fixture>>) -> Case {
    Case { name, packets: packets.into() }
}

/// The tenant that port 25 is closed to, a mail host, and a web server.
const ACME4: &str = "203.0.113.1";
const ACME6: &str = "2001:db8:10::1";
const MX4: &str = "192.0.2.25";
const MX6: &str = "2001:db8:ffff::25";
const WEB4: &str = "192.0.2.80";
const WEB6: &str = "2001:db8:ffff::80";
