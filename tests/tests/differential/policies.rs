//! Policies that between them use every rule.

use fairway_tests::bench::CLOSED_PORTS;

/// A policy and when it is in force.
pub(crate) struct Policy {
    /// For people.
    pub(crate) name: String,
    /// The configuration, of which the bench has the rest.
    pub(crate) toml: String,
    /// Whether the interface checks tags.
    pub(crate) match_vlan: bool,
    /// When the first packet comes.
    pub(crate) start_ns: u64,
    /// Whether tenants are suspended, each in another way than the next.
    pub(crate) suspends: bool,
}

/// Before any exemption has expired: early in 1970.
pub(crate) const EARLY_NS: u64 = 1_000_000_000_000;
/// After all have: in the year 2200.
const LATE_NS: u64 = 7_260_000_000_000_000_000;

/// Every kind of tenant and of permission. Caps are rates at which a byte takes a whole number of
/// nanoseconds: only there is the programs' arithmetic exact.
const TENANTS: &str = r#"
[[tenant]]
id = "plain"
prefixes = ["203.0.113.0/28", "2001:db8:10::/48"]
contact = "admin@plain.example"
open = ["smb", "telnet"]

[[tenant]]
id = "wide"
prefixes = ["198.18.0.0/15", "198.18.64.0/18", "2001:db8:20::/44", "2001:db8:20:8000::/49"]
contact = "admin@wide.example"
cap = { up = "1 Mbit/s", down = "8 Mbit/s" }

[[tenant]]
id = "tagged"
prefixes = ["203.0.113.16/28", "2001:db8:30::/48"]
contact = "admin@tagged.example"
vlan = 110

[[tenant]]
id = "double"
prefixes = ["203.0.113.32/28", "2001:db8:31::1"]
contact = "admin@double.example"
vlan = "200.110"
open = ["memcached"]

[[tenant]]
id = "sender"
prefixes = ["203.0.113.48/28", "2001:db8:40::/64"]
contact = "admin@sender.example"
[[tenant.smtp_exemption]]
direction = "out"
peers = ["192.0.2.25", "198.51.100.0/24", "2001:db8:ffff::/64"]
ticket = "SMTP-1"
approved_by = "j.doe"
expires = 2099-01-01
[[tenant.smtp_exemption]]
direction = "in"
peers = ["198.51.100.128/25", "2001:db8:ffff::25"]
ticket = "SMTP-2"
approved_by = "j.doe"
expires = 2100-01-01

[[tenant]]
id = "receiver"
prefixes = ["203.0.113.64/28", "2001:db8:50::/64"]
contact = "admin@receiver.example"
submission = "block"
fragments = "drop"
[[tenant.smtp_exemption]]
direction = "in"
ticket = "SMTP-3"
approved_by = "j.doe"
expires = 2099-01-01

[[tenant]]
id = "mailer"
prefixes = ["203.0.113.80/28", "2001:db8:60::/64"]
contact = "admin@mailer.example"
cap = { up = "64 kbit/s", down = "8 kbit/s" }
burst = "10s"
[[tenant.smtp_exemption]]
direction = "both"
ticket = "SMTP-4"
approved_by = "j.doe"
expires = 2099-01-01

[[tenant]]
id = "renter"
prefixes = ["203.0.113.96/28", "2001:db8:70::/64"]
contact = "admin@renter.example"
relay = true
cap = { up = "1 Gbit/s", down = "100 Mbit/s", algorithm = "bucket" }
burst = "10ms"
"#;

/// All of them.
pub(crate) fn all() -> Vec<Policy> {
    let policy = |name: &str, settings: &str, match_vlan, start_ns| Policy {
        name: name.to_owned(),
        toml: format!("{settings}\n[fair_use]\nceiling = \"1 Gbit/s\"\n{CLOSED_PORTS}{TENANTS}"),
        match_vlan,
        start_ns,
        suspends: false,
    };
    let relays = "relays = [\"192.0.2.53\", \"2001:db8:53::/64\"]";
    let garden = "[walled_garden]\nhosts = [\"192.0.2.0/24\", \"2001:db8:ffff::/64\"]";
    let suspending = policy("suspending", &format!("{garden}\n[smtp]\n{relays}"), true, EARLY_NS);
    vec![
        Policy { suspends: true, ..suspending },
        policy("strict", &format!("[smtp]\n{relays}"), true, EARLY_NS),
        policy(
            "any tag, plain buckets",
            &format!("[cap]\nalgorithm = \"bucket\"\n[smtp]\n{relays}"),
            false,
            EARLY_NS,
        ),
        policy("exemptions expired", &format!("[smtp]\n{relays}"), true, LATE_NS),
        policy(
            "counting, without fragments",
            &format!("unknown_sources = \"count\"\nfragments = \"drop\"\n[smtp]\n{relays}"),
            true,
            EARLY_NS,
        ),
        policy(
            "port 25 open, submission closed",
            &format!("[smtp]\ndefault = \"allow\"\nsubmission = \"block\"\n{relays}"),
            false,
            EARLY_NS,
        ),
    ]
}
