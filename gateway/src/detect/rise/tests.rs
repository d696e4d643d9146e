use jiff::ToSpan as _;

use super::*;
use crate::config;
use crate::detect::fake::at;
use crate::domain::{DirectionCounters, InterfaceCounters, Snapshot, Tally, TenantCounters};

const MBIT: f64 = 1_000_000.0;
const DAY: u32 = 24 * 60;

/// Two tenants and 100 others behind an uplink of 1 Gbit/s, minute by minute.
struct Simulation {
    policy: Effective,
    detector: RiseDetector,
    snapshot: Snapshot,
    minute: i64,
    reported: Vec<(i64, Offence)>,
}

impl Simulation {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        let mut text = "[gateway]\nname = \"edge1\"\n[[interface]]\nname = \"eth1\"\nside = \"tenant\"\n\
                        [[interface]]\nname = \"eth0\"\nside = \"uplink\"\ncapacity = \"1 Gbit/s\"\n"
            .to_owned();
        text += more;
        for (id, network) in [("acme", 1), ("beta", 2), ("others", 3)] {
            text += &format!("[[tenant]]\nid = \"{id}\"\nprefixes = [\"192.0.{network}.0/28\"]\n");
        }
        std::fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap_or_else(|error| panic!("{error}")).config;
        let none = |tenant: &Tenant| TenantCounters {
            id: tenant.id.clone(),
            up: DirectionCounters::default(),
            down: DirectionCounters::default(),
        };
        let nothing = |of: &config::Interface| InterfaceCounters::none(&of.name, of.side, of.mode);
        let snapshot = Snapshot {
            tenants: config.tenants.iter().map(|tenant| none(tenant)).collect(),
            interfaces: config.interfaces.iter().map(nothing).collect(),
        };
        Self {
            policy: Effective::of(config, at(0)),
            detector: RiseDetector::default(),
            snapshot,
            minute: 0,
            reported: Vec::new(),
        }
    }

    /// `minutes` in which the tenants send at these bit rates.
    fn pass(&mut self, minutes: u32, bits_per_sec: [f64; 3]) {
        for _ in 0..minutes {
            for (tenant, rate) in self.snapshot.tenants.iter_mut().zip(bits_per_sec) {
                tenant.up.passed += Tally { packets: 1, bytes: (rate * 60.0 / 8.0) as u64 };
            }
            self.minute += 1;
            let now = at(self.minute * 60);
            let found = self.detector.sample(&self.policy, &Usage::from(&self.snapshot), SAMPLE_EVERY, now);
            self.reported.extend(found.into_iter().map(|offence| (self.minute, offence)));
        }
    }

    /// A new controller, which finds what the last one kept.
    fn restart(&mut self) {
        let learned = self.detector.learned();
        self.detector = RiseDetector::default();
        self.detector.resume(learned);
    }

    fn reports(&self) -> Vec<(i64, &str)> {
        self.reported.iter().map(|(minute, offence)| (*minute, offence.tenant.as_str())).collect()
    }
}

#[test]
fn a_rise_on_a_loaded_uplink_is_reported_once_it_lasts() {
    let mut simulation = Simulation::new("");
    simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
    let start = simulation.minute;
    simulation.pass(4, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
    assert_eq!(simulation.reports(), []);
    simulation.pass(30, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
    assert_eq!(simulation.reports(), [(start + 5, "acme")]);
    let offence = &simulation.reported[0].1;
    assert_eq!((offence.source, offence.kind, offence.until), (None, OffenceKind::SuddenRise, None));
    let counter = |name: &str| offence.counters[name];
    assert_eq!(counter("up_bits_per_second"), 500_000_000);
    assert_eq!(counter("up_uplink_load_percent"), 90);
    let baseline = counter("up_baseline_bits_per_second");
    assert!((95_000_000..=105_000_000).contains(&baseline), "{baseline}");
    assert_eq!(offence.counters.len(), 3, "nothing rose the other way");
}

#[test]
fn nothing_is_reported_that_hurts_nobody() {
    let mut simulation = Simulation::new("");
    let usual = [100.0 * MBIT, MBIT, 300.0 * MBIT];
    simulation.pass(DAY + 1, usual);
    // Five times the baseline on a line that is two thirds idle.
    simulation.pass(20, [10.0 * MBIT, 5.0 * MBIT, 300.0 * MBIT]);
    simulation.pass(20, [100.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT]);
    // Fifty times the baseline on a loaded line, and still far below an even share.
    simulation.pass(20, [100.0 * MBIT, 50.0 * MBIT, 800.0 * MBIT]);
    // Three and a half times.
    simulation.pass(20, [350.0 * MBIT, MBIT, 500.0 * MBIT]);
    assert_eq!(simulation.reports(), []);
}

#[test]
fn a_tenant_is_not_judged_before_a_day_is_over() {
    let mut simulation = Simulation::new("");
    simulation.pass(DAY - 10, [10.0 * MBIT, 10.0 * MBIT, 300.0 * MBIT]);
    simulation.pass(10, [600.0 * MBIT, 10.0 * MBIT, 300.0 * MBIT]);
    assert_eq!(simulation.reports(), []);
}

#[test]
fn what_recurs_each_night_is_learned() {
    let mut simulation = Simulation::new("");
    let (day, night) = ([50.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT], [500.0 * MBIT, 50.0 * MBIT, 300.0 * MBIT]);
    simulation.pass(DAY + 1, day);
    for _ in 0..7 {
        simulation.pass(60, night);
        simulation.pass(DAY - 60, day);
    }
    let first_night = i64::from(DAY) + 1;
    assert_eq!(simulation.reports(), [(first_night + 5, "acme")]);
}

#[test]
fn what_is_off_or_allowed_is_not_reported_and_unknown_capacity_judges_nobody() {
    let rises = |more: &str| {
        let mut simulation = Simulation::new(more);
        simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        simulation.pass(10, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        simulation.reports().len()
    };
    assert_eq!(rises(""), 1);
    assert_eq!(rises("[detect.sudden_rise]\nmode = \"watch\"\n"), 1);
    assert_eq!(rises("[detect.sudden_rise]\nmode = \"off\"\n"), 0);
    let allow = |source: &str| {
        format!(
            "[[detect.allow]]\nsources = [\"{source}\"]\nreason = \"other\"\nticket = \"NET-1\"\nexpires = 2999-01-01\n"
        )
    };
    assert_eq!(rises(&allow("192.0.1.0/28")), 0);
    assert_eq!(rises(&allow("192.0.1.0/29")), 1);
    assert_eq!(rises("[[interface]]\nname = \"eth2\"\nside = \"uplink\"\n"), 0);
}

#[test]
fn a_restart_forgets_nothing_that_was_learned() {
    let usual = [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT];
    let risen = [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT];
    let mut simulation = Simulation::new("");
    simulation.pass(DAY + 1, usual);
    simulation.restart();
    // The first look only tells where the counters stand.
    simulation.pass(1, usual);
    let start = simulation.minute;
    simulation.pass(5, risen);
    assert_eq!(simulation.reports(), [(start + 5, "acme")]);
    simulation.restart();
    simulation.pass(30, risen);
    assert_eq!(simulation.reports().len(), 1, "it was reported already");

    let mut anew = Simulation::new("");
    anew.pass(DAY + 1, usual);
    anew.detector = RiseDetector::default();
    anew.pass(1, usual);
    anew.pass(5, risen);
    assert_eq!(anew.reports(), [], "a day of learning is what was kept");
}

#[test]
fn what_is_resumed_late_replaces_only_what_is_known_for_less_long() {
    let mut simulation = Simulation::new("");
    simulation.pass(11, [MBIT, 2.0 * MBIT, 3.0 * MBIT]);
    let earlier = |tenant: &str, minutes| Learned {
        tenant: tenant.into(),
        baselines: [Baseline { bytes_per_sec: 5_000.0, minutes }; 2],
        quiet_until: Some(at(7)),
    };
    simulation.detector.resume(vec![earlier("acme", 9), earlier("beta", 2_000), earlier("gone", 2_000)]);
    let learned = simulation.detector.learned();
    assert_eq!(
        learned.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>(),
        ["acme", "beta", "gone", "others"]
    );
    let [acme, _] = learned[0].baselines;
    assert!(acme.minutes == 10 && acme.bytes_per_sec > 100_000.0, "{acme:?}");
    assert_eq!(learned[1], earlier("beta", 2_000));
    simulation.pass(1, [MBIT, 2.0 * MBIT, 3.0 * MBIT]);
    let learned = simulation.detector.learned();
    assert!(learned.iter().all(|one| one.tenant != "gone"), "no tenant, nothing to know of it");
    assert_eq!(learned[1].baselines[0].minutes, 2_001);
}

/// Caps that are no hindrance by themselves.
const LOWERS: &str = "[fair_use]\nceiling = \"10 Gbit/s\"\n[detect.sudden_rise]\nmeasure = \"lower_cap\"\n";

fn lowered(offence: &Offence) -> [Option<f64>; 2] {
    let cap = offence.lowered_cap.unwrap();
    [cap.up_bits_per_second, cap.down_bits_per_second].map(|rate| rate.map(|rate| rate as f64))
}

#[test]
fn who_rises_is_held_to_what_would_be_no_rise_and_has_more_in_steps() {
    let mut simulation = Simulation::new(LOWERS);
    simulation.pass(DAY + 1, [100.0 * MBIT, 20.0 * MBIT, 300.0 * MBIT]);
    simulation.pass(5, [500.0 * MBIT, 20.0 * MBIT, 400.0 * MBIT]);
    let offence = simulation.reported[0].1.clone();
    assert_eq!((offence.measure, offence.until), (Measure::LowerCap, Some(offence.at + 1.hour())));
    let [Some(up), None] = lowered(&offence) else { panic!("{offence:?}") };
    assert_eq!(up as u64 / 4_000, offence.counters["up_baseline_bits_per_second"] / 1_000);
    simulation.pass(60, [up, 20.0 * MBIT, 400.0 * MBIT]);
    simulation.pass(10, [600.0 * MBIT, 20.0 * MBIT, 300.0 * MBIT]);
    assert_eq!(simulation.reports().len(), 1, "what it had meanwhile is usual now");

    let mut simulation = Simulation::new(LOWERS);
    simulation.pass(DAY + 1, [100.0 * MBIT, 20.0 * MBIT, 300.0 * MBIT]);
    simulation.pass(5, [100.0 * MBIT, 600.0 * MBIT, 200.0 * MBIT]);
    let even_share = Some(333_333_000.0);
    assert_eq!(lowered(&simulation.reported[0].1), [even_share, None], "nobody is held to less");
}

#[test]
fn no_cap_is_lowered_where_it_would_change_nothing_or_the_rule_only_watches() {
    let risen = |more: &str| {
        let mut simulation = Simulation::new(more);
        simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        simulation.pass(5, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
        let offence = simulation.reported[0].1.clone();
        (offence.measure, offence.taken())
    };
    let watches = risen(&format!("{LOWERS}mode = \"watch\"\n"));
    assert_eq!(watches, (Measure::LowerCap, None));
    let small_cap = LOWERS.replace("10 Gbit/s", "300 Mbit/s");
    assert_eq!(risen(&small_cap), (Measure::None, None));
}

#[test]
fn more_rises_than_measures_in_a_minute_wait_for_the_next() {
    let mut simulation = Simulation::new(&format!("{LOWERS}[detect]\nmax_measures_per_minute = 1\n"));
    simulation.pass(DAY + 1, [80.0 * MBIT, 80.0 * MBIT, 300.0 * MBIT]);
    let start = simulation.minute;
    simulation.pass(10, [450.0 * MBIT, 450.0 * MBIT, 50.0 * MBIT]);
    assert_eq!(simulation.reports(), [(start + 5, "acme"), (start + 5, "beta"), (start + 6, "beta")]);
    let [first, held, later] = &simulation.reported[..] else { panic!() };
    assert!(first.1.taken().is_some() && held.1.is_held() && held.1.taken().is_none());
    assert!(later.1.taken().is_some() && !later.1.is_held());
}

#[test]
fn counters_that_begin_anew_are_no_rise() {
    let mut simulation = Simulation::new("");
    simulation.pass(DAY + 1, [100.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
    simulation.snapshot.tenants[0].up = DirectionCounters::default();
    simulation.pass(20, [500.0 * MBIT, 100.0 * MBIT, 300.0 * MBIT]);
    assert_eq!(simulation.reports(), [], "a tenant of this name that is not known yet");
}
