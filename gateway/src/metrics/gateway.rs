//! The gateway's own metrics: build, configuration, interfaces, tables.

use std::io::{self, Write};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::config::Side;
use crate::controller::Observation;
use crate::domain::{InterfaceCounters, Tally};
use gateway_ebpf::DropReason;

/// The kernel counts, not this process: each scrape builds the families anew from what was read, so
/// that nothing stays of an interface or a configuration that is gone.
pub(super) fn write(out: &mut impl Write, observation: &Observation) -> io::Result<()> {
    let families = families(observation).map_err(io::Error::other)?;
    TextEncoder::new().encode(&families.0.gather(), out).map_err(io::Error::other)
}

fn families(observation: &Observation) -> prometheus::Result<Families> {
    let Observation { policy, snapshot, events, memory, last_reload, .. } = observation;
    let families = Families(Registry::new());
    families.info(
        "fairway_build_info",
        "The release that is running.",
        "version",
        env!("CARGO_PKG_VERSION"),
    )?;
    let digest = policy.config.digest.to_string();
    families.info(
        "fairway_config_digest_info",
        "SHA-256 of the configuration in force.",
        "digest",
        &digest,
    )?;
    families.gauge(
        "fairway_config_last_reload_successful",
        "1 if the last reload (or the start) put its configuration into force, 0 if it was refused.",
        i64::from(last_reload.error.is_none()),
    )?;
    families.gauge(
        "fairway_config_stale",
        "1 if the configuration in force is a kept copy, because the files could not be used at the start, else 0.",
        i64::from(policy.config.kept_since.is_some()),
    )?;
    let succeeded_at = Gauge::new(
        "fairway_config_last_reload_success_timestamp_seconds",
        "When a configuration was last put into force, as Unix time.",
    )?;
    succeeded_at.set(last_reload.succeeded_at.as_duration().as_secs_f64());
    families.add(succeeded_at)?;
    families.gauge(
        "fairway_config_warnings",
        "Warnings about the configuration in force.",
        whole(policy.warnings.warnings()),
    )?;
    families.gauge("fairway_tenants", "Tenants policed.", whole(policy.config.tenants.len()))?;
    families.gauge(
        "fairway_tenant_capacity",
        "Tenants that fit into the tables as they are.",
        memory.tenant_capacity.into(),
    )?;
    families.gauge("fairway_tables_bytes", "Memory of the tables in the kernel.", whole(memory.bytes))?;
    families.gauge(
        "fairway_exemptions",
        "Mail exemptions that hold.",
        whole(policy.effective.exemptions()),
    )?;
    if let Some(next) = policy.effective.next_exemption_end() {
        families.gauge(
            "fairway_exemption_next_expiry_timestamp_seconds",
            "When the next mail exemption lapses, as Unix time.",
            next.as_second(),
        )?;
    }
    families.counter(
        "fairway_events_lost_total",
        "Events of the programs that nobody read in time.",
        events.lost,
    )?;
    families.counter(
        "fairway_events_suppressed_total",
        "Events of the programs beyond the allowance of their tenant.",
        events.suppressed,
    )?;
    families.interfaces(&snapshot.interfaces)?;
    Ok(families)
}

/// Gauges are signed; nothing that is counted here comes near the limit.
fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

struct Families(Registry);

impl Families {
    fn add(&self, family: impl Collector + 'static) -> prometheus::Result<()> {
        self.0.register(Box::new(family))
    }

    fn gauge(&self, name: &str, help: &str, value: i64) -> prometheus::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        self.add(gauge)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn info(&self, name: &str, help: &str, label: &str, value: &str) -> prometheus::Result<()> {
        let info = GaugeVec::new(Opts::new(name, help), &[label])?;
        info.with_label_values(&[value]).set(1.0);
        self.add(info)
    }

    fn interfaces(&self, interfaces: &[InterfaceCounters]) -> prometheus::Result<()> {
        let info = GaugeVec::new(
            Opts::new("fairway_interface_info", "An interface that is policed."),
            &["interface", "side", "mode"],
        )?;
        for interface in interfaces {
            info.with_label_values(&[&interface.name, interface.side.label(), interface.mode.label()])
                .set(1.0);
        }
        self.add(info)?;

        let attached = GaugeVec::new(
            Opts::new(
                "fairway_interface_attached",
                "1 if an interface of this name exists and is policed, else 0.",
            ),
            &["interface"],
        )?;
        for interface in interfaces {
            attached.with_label_values(&[&interface.name]).set(if interface.attached { 1.0 } else { 0.0 });
        }
        self.add(attached)?;

        self.tallies("link_control", "of link-local control (ARP, ND...) let through", interfaces, |i| {
            Some(i.link_control)
        })?;
        self.tallies("unmatched", "of no tenant, received on an uplink and let through", interfaces, |i| {
            (i.side == Side::Uplink).then_some(i.unmatched)
        })?;
        self.tallies(
            "forwarded",
            "of tenants that XDP forwarded, past the router's stack",
            interfaces,
            |i| Some(i.forwarded),
        )?;
        let dropped = [
            IntCounterVec::new(
                Opts::new(
                    "fairway_interface_dropped_packets_total",
                    "Packets dropped before a tenant was identified.",
                ),
                &["interface", "reason"],
            )?,
            IntCounterVec::new(
                Opts::new(
                    "fairway_interface_dropped_bytes_total",
                    "Bytes dropped before a tenant was identified, as Ethernet frames.",
                ),
                &["interface", "reason"],
            )?,
        ];
        for interface in interfaces {
            for (reason, tally) in &interface.dropped {
                let labels = [interface.name.as_str(), reason.label()];
                dropped[0].with_label_values(&labels).inc_by(tally.packets);
                dropped[1].with_label_values(&labels).inc_by(tally.bytes);
            }
        }
        dropped.into_iter().try_for_each(|family| self.add(family))?;

        let unknown = IntCounterVec::new(
            Opts::new(
                "fairway_unknown_source_packets_total",
                "Packets from tenants' interfaces whose source is no tenant's, dropped or only counted.",
            ),
            &["interface"],
        )?;
        for interface in interfaces.iter().filter(|interface| interface.side == Side::Tenant) {
            unknown.with_label_values(&[&interface.name]).inc_by(unknown_source(interface));
        }
        self.add(unknown)
    }

    /// `fairway_interface_{what}_{packets,bytes}_total`, for interfaces that have the tally.
    fn tallies(
        &self,
        what: &str,
        help: &str,
        interfaces: &[InterfaceCounters],
        tally: impl Fn(&InterfaceCounters) -> Option<Tally>,
    ) -> prometheus::Result<()> {
        let family = |unit: &str, help: String| {
            IntCounterVec::new(
                Opts::new(format!("fairway_interface_{what}_{unit}_total"), help),
                &["interface"],
            )
        };
        let packets = family("packets", format!("Packets {help}."))?;
        let bytes = family("bytes", format!("Bytes {help}, as Ethernet frames."))?;
        for (interface, tally) in interfaces.iter().filter_map(|i| Some((i, tally(i)?))) {
            packets.with_label_values(&[&interface.name]).inc_by(tally.packets);
            bytes.with_label_values(&[&interface.name]).inc_by(tally.bytes);
        }
        self.add(packets)?;
        self.add(bytes)
    }
}

fn unknown_source(interface: &InterfaceCounters) -> u64 {
    let dropped = interface.dropped.iter().filter(|(reason, _)| *reason == DropReason::UnknownSource);
    interface.unknown_source_passed.packets + dropped.map(|(_, tally)| tally.packets).sum::<u64>()
}
