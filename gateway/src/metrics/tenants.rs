//! The series per tenant, streamed: families one after the other, only reasons that occurred.

use std::io::{self, Write};

use gateway_ebpf::Direction;

use super::family::Family;
use crate::domain::{DirectionCounters, Restriction, Scope, Tally, TenantCounters};
use crate::enforcement::Standing;
use crate::policy::TenantPolicy;

/// One value of the label `tenant`.
pub(super) struct Series<'a> {
    pub(super) counters: &'a TenantCounters,
    /// None for the sum of tenants that are not shown by themselves.
    pub(super) cap: Option<Cap>,
    /// What the kernel forbids it; nothing for the sum.
    pub(super) restriction: Restriction,
    /// How it stands; good for the sum.
    pub(super) standing: Standing,
}

/// Bits per second.
pub(super) struct Cap {
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Cap {
    pub(super) fn of(tenant: &TenantPolicy<'_>) -> Self {
        let [up, down] = Direction::ALL.map(|direction| tenant.cap(direction).value.bits_per_sec());
        Self { up, down }
    }
}

pub(super) fn write(out: &mut impl Write, shown: &[Series<'_>]) -> io::Result<()> {
    let packets = |tally: &Tally| tally.packets;
    let bytes = |tally: &Tally| tally.bytes;
    passed(out, shown, "packets", "Packets of the tenant that were let through.", packets)?;
    passed(out, shown, "bytes", "Bytes of the tenant that were let through, as Ethernet frames.", bytes)?;
    dropped(out, shown, "packets", "Packets of the tenant that were dropped.", packets)?;
    dropped(out, shown, "bytes", "Bytes of the tenant that were dropped, as Ethernet frames.", bytes)?;
    over_cap(out, shown)?;
    caps(out, shown)?;
    restrictions(out, shown)?;
    standings(out, shown)
}

fn passed(
    out: &mut impl Write,
    shown: &[Series<'_>],
    unit: &str,
    help: &str,
    value: impl Fn(&Tally) -> u64,
) -> io::Result<()> {
    let name = format!("fairway_tenant_{unit}_total");
    let mut family = Family::new(&name, help, "counter");
    for series in shown {
        for (direction, counters) in directions(series.counters) {
            let labels = [("tenant", series.counters.id.as_str()), ("direction", direction)];
            family.sample(out, &labels, value(&counters.passed))?;
        }
    }
    Ok(())
}

fn dropped(
    out: &mut impl Write,
    shown: &[Series<'_>],
    unit: &str,
    help: &str,
    value: impl Fn(&Tally) -> u64,
) -> io::Result<()> {
    let name = format!("fairway_tenant_dropped_{unit}_total");
    let mut family = Family::new(&name, help, "counter");
    for series in shown {
        for (direction, counters) in directions(series.counters) {
            for (reason, tally) in &counters.dropped {
                let id = series.counters.id.as_str();
                let labels = [("tenant", id), ("direction", direction), ("reason", reason.label())];
                family.sample(out, &labels, value(tally))?;
            }
        }
    }
    Ok(())
}

/// Packets with the reason `over_cap`, by the state of the cap that they met.
fn over_cap(out: &mut impl Write, shown: &[Series<'_>]) -> io::Result<()> {
    let name = "fairway_tenant_over_cap_packets_total";
    let help = "Packets of the tenant dropped as over_cap, by what they met.";
    let mut family = Family::new(name, help, "counter");
    for series in shown {
        for (direction, counters) in directions(series.counters) {
            for (state, packets) in counters.over_cap().by_state() {
                let id = series.counters.id.as_str();
                if packets > 0 {
                    family.sample(
                        out,
                        &[("tenant", id), ("direction", direction), ("state", state)],
                        packets,
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn caps(out: &mut impl Write, shown: &[Series<'_>]) -> io::Result<()> {
    let name = "fairway_tenant_cap_bytes_per_second";
    let mut family = Family::new(name, "The cap in force, in bytes of Ethernet frames.", "gauge");
    for series in shown {
        let Some(cap) = &series.cap else { continue };
        for (direction, rate) in [("up", cap.up), ("down", cap.down)] {
            let bytes_per_sec = rate / 8;
            family.sample(
                out,
                &[("tenant", &series.counters.id), ("direction", direction)],
                bytes_per_sec,
            )?;
        }
    }
    Ok(())
}

fn restrictions(out: &mut impl Write, shown: &[Series<'_>]) -> io::Result<()> {
    let help = "1 for each thing that the tenant is forbidden: mail, outbound connections, everything.";
    let mut family = Family::new("fairway_tenant_restriction", help, "gauge");
    for series in shown {
        for scope in Scope::ALL.into_iter().filter(|scope| series.restriction.contains((*scope).into())) {
            let labels = [("tenant", series.counters.id.as_str()), ("restriction", scope.label())];
            family.sample(out, &labels, 1)?;
        }
    }
    Ok(())
}

fn standings(out: &mut impl Write, shown: &[Series<'_>]) -> io::Result<()> {
    let help = "1 for the tenant's standing, the gravest of its open cases; only where it is not good.";
    let mut family = Family::new("fairway_tenant_standing", help, "gauge");
    for series in shown.iter().filter(|series| series.standing != Standing::Good) {
        let labels = [("tenant", series.counters.id.as_str()), ("standing", series.standing.label())];
        family.sample(out, &labels, 1)?;
    }
    Ok(())
}

fn directions(counters: &TenantCounters) -> [(&'static str, &DirectionCounters); 2] {
    [("up", &counters.up), ("down", &counters.down)]
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::DropReason;

    use crate::dataplane::QueueDrops;

    use super::*;

    fn text(shown: &[Series<'_>]) -> String {
        let mut out = Vec::new();
        write(&mut out, shown).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn tally(packets: u64, bytes: u64) -> Tally {
        Tally { packets, bytes }
    }

    #[test]
    fn families_are_contiguous_and_hold_only_reasons_that_occurred() {
        let acme = TenantCounters {
            id: "acme".into(),
            up: DirectionCounters {
                passed: tally(5, 500),
                dropped: vec![
                    (DropReason::SmtpBlocked, tally(2, 120)),
                    (DropReason::OverCap, tally(7, 1500)),
                ],
                queue_drops: QueueDrops { signals: 1, full: 4 },
            },
            down: DirectionCounters { passed: tally(7, 700), ..DirectionCounters::default() },
        };
        let beta = TenantCounters {
            id: "beta".into(),
            up: DirectionCounters::default(),
            down: DirectionCounters { passed: tally(u64::MAX, 0), ..DirectionCounters::default() },
        };
        let restriction = Restriction::NO_MAIL.with(Restriction::NOTHING);
        let shown = [
            Series {
                counters: &acme,
                cap: Some(Cap { up: 10_000_000, down: 5_000_000 }),
                restriction,
                standing: Standing::Quarantined,
            },
            Series { counters: &beta, cap: None, restriction: Restriction::NONE, standing: Standing::Good },
        ];
        assert_eq!(
            text(&shown),
            r#"# HELP fairway_tenant_packets_total Packets of the tenant that were let through.
# TYPE fairway_tenant_packets_total counter
fairway_tenant_packets_total{tenant="acme",direction="up"} 5
fairway_tenant_packets_total{tenant="acme",direction="down"} 7
fairway_tenant_packets_total{tenant="beta",direction="up"} 0
fairway_tenant_packets_total{tenant="beta",direction="down"} 18446744073709551615
# HELP fairway_tenant_bytes_total Bytes of the tenant that were let through, as Ethernet frames.
# TYPE fairway_tenant_bytes_total counter
fairway_tenant_bytes_total{tenant="acme",direction="up"} 500
fairway_tenant_bytes_total{tenant="acme",direction="down"} 700
fairway_tenant_bytes_total{tenant="beta",direction="up"} 0
fairway_tenant_bytes_total{tenant="beta",direction="down"} 0
# HELP fairway_tenant_dropped_packets_total Packets of the tenant that were dropped.
# TYPE fairway_tenant_dropped_packets_total counter
fairway_tenant_dropped_packets_total{tenant="acme",direction="up",reason="smtp_blocked"} 2
fairway_tenant_dropped_packets_total{tenant="acme",direction="up",reason="over_cap"} 7
# HELP fairway_tenant_dropped_bytes_total Bytes of the tenant that were dropped, as Ethernet frames.
# TYPE fairway_tenant_dropped_bytes_total counter
fairway_tenant_dropped_bytes_total{tenant="acme",direction="up",reason="smtp_blocked"} 120
fairway_tenant_dropped_bytes_total{tenant="acme",direction="up",reason="over_cap"} 1500
# HELP fairway_tenant_over_cap_packets_total Packets of the tenant dropped as over_cap, by what they met.
# TYPE fairway_tenant_over_cap_packets_total counter
fairway_tenant_over_cap_packets_total{tenant="acme",direction="up",state="signal"} 1
fairway_tenant_over_cap_packets_total{tenant="acme",direction="up",state="queue_full"} 4
fairway_tenant_over_cap_packets_total{tenant="acme",direction="up",state="credit_used"} 2
# HELP fairway_tenant_cap_bytes_per_second The cap in force, in bytes of Ethernet frames.
# TYPE fairway_tenant_cap_bytes_per_second gauge
fairway_tenant_cap_bytes_per_second{tenant="acme",direction="up"} 1250000
fairway_tenant_cap_bytes_per_second{tenant="acme",direction="down"} 625000
# HELP fairway_tenant_restriction 1 for each thing that the tenant is forbidden: mail, outbound connections, everything.
# TYPE fairway_tenant_restriction gauge
fairway_tenant_restriction{tenant="acme",restriction="mail"} 1
fairway_tenant_restriction{tenant="acme",restriction="everything"} 1
# HELP fairway_tenant_standing 1 for the tenant's standing, the gravest of its open cases; only where it is not good.
# TYPE fairway_tenant_standing gauge
fairway_tenant_standing{tenant="acme",standing="quarantined"} 1
"#
        );
    }

    #[test]
    fn families_without_samples_are_left_out() {
        assert_eq!(text(&[]), "");
    }
}
