//! The test bed: network namespaces with real programs in them, and Fairway on the router between.
//!
//! ```text
//!   acme  (eth0)────────────(t-acme)  ┐
//!   beta  (eth0)────────────(t-beta)  │ router ──(up0)────(eth0) internet
//!   gamma (eth0)══VLAN 110══(t-gamma) │ runs fairway, Prometheus
//!   delta (eth0)═VLAN 200.110═(t-delta)┘
//! ```
//!
//! Whatever a run makes carries its process id in its name ([`run`]), goes away with the value that made
//! it, and is swept away by the next run if this one was killed.

pub mod bench;
pub mod caps;
pub mod captures;
mod cgroup;
pub mod config;
pub mod control;
pub mod evasion;
pub mod flows;
pub mod frames;
pub mod gateway;
pub mod iperf;
pub mod machine;
pub mod mail;
pub mod metrics;
pub mod model;
pub mod namespace;
pub mod outcome;
pub mod packets;
pub mod pcap;
pub mod probes;
pub mod process;
pub mod prometheus;
pub mod run;
pub mod soak;
pub mod topology;
pub mod vlan;
pub mod web;

/// Where the eBPF objects and tools of the workspace are staged by `cargo xtask`.
pub(crate) const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
