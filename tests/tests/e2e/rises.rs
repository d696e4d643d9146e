//! S3: who suddenly takes far more of a loaded uplink than it is used to is held to what would be no rise.

use std::thread;
use std::time::{Duration, Instant};

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::iperf;
use fairway_tests::process::Process;
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;
use gateway::config::EvidenceLimits;
use gateway::detect::{Baseline, Learned};
use gateway::store::Store;
use serde_json::Value;

use crate::{police, untagged};

/// What the uplink carries, which is also the default cap.
const CAPACITY_BITS_PER_SEC: u64 = 10_000_000;
/// Two tenants are active.
const EVEN_SHARE_BITS_PER_SEC: u64 = CAPACITY_BITS_PER_SEC / 2;

fn lowers_caps(config: &mut Config) {
    config.set_interfaces("capacity", "10 Mbit/s");
    config.set("[detect]\nmode = 'off'");
    config.set("[detect.sudden_rise]\nmode = 'enforce'\nmeasure = 'lower_cap'\nminutes = 1");
}

fn store(gateway: &Gateway<'_>) -> Store {
    let limits = EvidenceLimits { max_bytes: 1_000_000, keep: Duration::from_secs(86_400) };
    Store::open(&gateway.config_file().with_file_name("state"), limits)
}

/// Whether another rise of the tenant is not to be reported for now, as the store has it.
fn is_quiet(gateway: &Gateway<'_>, tenant: &str) -> bool {
    let learned = store(gateway).read().unwrap().baselines().unwrap();
    learned.iter().any(|learned| learned.tenant == tenant && learned.quiet_until.is_some())
}

/// Has the gateway remember a day of next to nothing, as if it had watched one.
fn remember_a_quiet_day(gateway: &Gateway<'_>, tenants: &[&str]) {
    let learned = |tenant: &&str| {
        let baseline = Baseline { bytes_per_sec: 1_000.0, minutes: 24 * 60 };
        Learned { tenant: (*tenant).to_owned(), baselines: [baseline; 2], quiet_until: None }
    };
    store(gateway).keep_baselines(tenants.iter().map(learned).collect());
}

/// Sends datagrams to the Internet until dropped.
fn send(topology: &Topology, tenant: &str, port: u16, bits_per_sec: u64) -> Process {
    let (server, port, rate) =
        (topology.internet.ipv4.to_string(), port.to_string(), bits_per_sec.to_string());
    let arguments =
        ["iperf3", "--client", &server, "--port", &port, "--udp", "--bitrate", &rate, "--time", "600"];
    topology.tenant(tenant).host.namespace.start(&arguments).unwrap()
}

fn cap(gateway: &Gateway<'_>, tenant: &str) -> u64 {
    let tenants = gateway.tenants().unwrap();
    let found = tenants["tenants"].as_array().unwrap().iter().find(|known| known["id"] == tenant).unwrap();
    found["up"]["cap_bits_per_second"].as_u64().unwrap()
}

/// What of a tenant's traffic passes, over some seconds; rather too little than too much where answers take
/// their time.
fn passed_bits_per_sec(gateway: &Gateway<'_>, tenant: &str) -> f64 {
    let passed = || gateway.counters(tenant, "up").unwrap().passed.bytes;
    let (start, before) = (Instant::now(), passed());
    thread::sleep(Duration::from_secs(5));
    (passed() - before) as f64 * 8.0 / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_tenant_that_takes_the_uplink_is_held_to_its_share_over_a_crash_until_restored() {
    police(&untagged(&["acme", "beta"]), lowers_caps, |topology, gateway, _| {
        gateway.stop().unwrap();
        remember_a_quiet_day(gateway, &["acme", "beta"]);
        gateway.launch().unwrap();
        let internet = &topology.internet.namespace;
        let _servers = [5201, 5202].map(|port| iperf::serve(internet, port).unwrap());
        let _traffic = [
            send(topology, "acme", 5201, 2 * CAPACITY_BITS_PER_SEC),
            send(topology, "beta", 5202, CAPACITY_BITS_PER_SEC / 50),
        ];
        let lowered = || (cap(gateway, "acme") == EVEN_SHARE_BITS_PER_SEC).then_some(());
        // A look tells where counters stand, the next one, a minute later, what was sent meanwhile.
        wait_for("the lower cap", Duration::from_secs(200), lowered).unwrap();
        assert_eq!(cap(gateway, "beta"), CAPACITY_BITS_PER_SEC, "the neighbour's is its own");
        // The burst of 350 ms at the lower rate is 7 % of five seconds.
        let passed = passed_bits_per_sec(gateway, "acme");
        assert!(passed < EVEN_SHARE_BITS_PER_SEC as f64 * 1.1, "{passed}");

        gateway.kill().unwrap();
        assert!(
            is_quiet(gateway, "acme"),
            "the next controller would lower its cap again a minute after it is restored"
        );
        gateway.launch().unwrap();
        assert_eq!(cap(gateway, "acme"), EVEN_SHARE_BITS_PER_SEC);
        let told = gateway.call(&["history", "acme", "--json"]).unwrap().success().unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        let entries = told["entries"].as_array().unwrap();
        let [rise] = &entries[..] else { panic!("{told}") };
        assert_eq!((&rise["kind"], &rise["measure"]), (&"sudden_rise".into(), &"lower_cap".into()));
        assert_eq!(rise["taken"]["lowered_cap"]["up_bits_per_second"], EVEN_SHARE_BITS_PER_SEC);

        let restore = ["restore", "acme", "--reason", "it is a mirror now"];
        gateway.call(&restore).unwrap().success().unwrap();
        assert_eq!(cap(gateway, "acme"), CAPACITY_BITS_PER_SEC);
        // On a busy machine the sender itself may be short of time for a while.
        let more =
            || (passed_bits_per_sec(gateway, "acme") > EVEN_SHARE_BITS_PER_SEC as f64 * 1.5).then_some(());
        wait_for("more than the share", Duration::from_secs(60), more).unwrap();
    });
}
