//! Fixture tables: description, policy, packets in, the verdict and every counter that must move. Each
//! packet runs through the real programs (`BPF_PROG_TEST_RUN`), attached to nothing.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod caps;
mod counters;
mod detection;
mod fair;
mod fragments;
mod identity;
mod loading;
mod malformed;
mod ports;
mod refusals;
mod reload;
mod restrictions;
mod samples;

pub(crate) use fairway_tests::bench;

/// Three tenants of different kinds.
const TENANTS: &str = r#"
[[tenant]]
id = "acme"
prefixes = ["203.0.113.0/28", "2001:db8:10::/48"]
contact = "admin@acme.example"

[[tenant]]
id = "nested"
prefixes = ["198.18.0.0/15", "2001:db8:20::/48"]
contact = "admin@nested.example"

[[tenant]]
id = "tagged"
prefixes = ["203.0.113.16/28", "2001:db8:30::/48"]
contact = "admin@tagged.example"
vlan = 110

[[tenant]]
id = "double"
prefixes = ["203.0.113.32/28"]
contact = "admin@double.example"
vlan = "200.110"
"#;
