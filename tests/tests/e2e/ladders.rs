//! E4: from offence to restoration on real traffic. A tenant scans, its ladder cuts it off, whatever becomes of the
//! controller; an operator restores it once, and after that nobody does alone.

use std::net::SocketAddr;
use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::run::wait_for;
use fairway_tests::topology::Topology;
use fairway_tests::web::{self, WebServer};
use serde_json::Value;

use crate::suspension::{PORTAL, WEB_PORT, add_portal, with_garden};
use crate::{police, untagged};

/// Nobody answers in it.
const DARK: &str = "192.0.2.0/24";

fn with_ladder(config: &mut Config) {
    with_garden(config);
    // The tests run as root.
    config.set("enforcement = { mode = 'enforce', approvers = ['root'] }");
    config.set(
        "enforcement.ladder.scan = { collect = '1m', steps = [\
         { restrict = 'everything', release = 'operator' }, { restrict = 'everything', release = 'approval' }] }",
    );
}

/// Scans until the ladder has taken a step; returns the case.
fn scan(topology: &Topology, gateway: &Gateway<'_>, strike: u64) -> String {
    let acme = &topology.tenant("acme").host.namespace;
    let _scanner = acme.start(&["nmap", "-n", "-Pn", "-sS", "-p", "22", DARK]).unwrap();
    let restrained = || {
        let tenants = gateway.tenants().ok()?;
        let held = &tenants["tenants"][0]["restraints"][0];
        (held["strike"] == strike).then(|| held["case"].as_str().map(str::to_owned))?
    };
    wait_for("the ladder's step", Duration::from_secs(90), restrained).unwrap()
}

fn assert_reaches(topology: &Topology, tenant: &str, garden: bool, others: bool) {
    let host = &topology.tenant(tenant).host.namespace;
    let reaches = |address| web::get(host, SocketAddr::new(address, WEB_PORT), "/").is_ok();
    assert_eq!(reaches(PORTAL[0].parse().unwrap()), garden, "{tenant}: the garden");
    assert_eq!(reaches(topology.internet.addresses()[0]), others, "{tenant}: other hosts");
}

fn told(gateway: &Gateway<'_>, words: &[&str]) -> String {
    format!("{:?}", gateway.call(words).unwrap())
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_scanner_is_cut_off_and_comes_back_by_the_hands_that_the_ladder_asks_for() {
    police(&untagged(&["acme", "beta"]), with_ladder, |topology, gateway, _| {
        topology.router.ip(&format!("route add blackhole {DARK}")).unwrap();
        add_portal(topology);
        let _web = WebServer::start(&topology.internet.namespace, WEB_PORT).unwrap();
        assert_reaches(topology, "acme", true, true);

        let case = scan(topology, gateway, 1);
        assert_reaches(topology, "acme", true, false);
        assert_reaches(topology, "beta", true, true);
        // With the controller gone, and under the next one.
        gateway.kill().unwrap();
        assert_reaches(topology, "acme", true, false);
        gateway.launch().unwrap();
        assert_reaches(topology, "acme", true, false);
        let metrics = gateway.metrics_text().unwrap();
        let standing = "fairway_tenant_standing{tenant=\"acme\",standing=\"suspended\"} 1";
        assert!(metrics.lines().any(|line| line == standing), "{metrics}");

        let restored = told(gateway, &["restore", "acme", "--reason", "cleaned"]);
        assert!(restored.contains(&format!("case {case} is closed")), "{restored}");
        assert_reaches(topology, "acme", true, true);

        let case = scan(topology, gateway, 2);
        assert_reaches(topology, "acme", true, false);
        let asked = told(gateway, &["restore", "acme", "--reason", "cleaned again"]);
        assert!(asked.contains(&format!("NOT restored yet in case {case}")), "{asked}");
        let own = told(gateway, &["approve", &case, "--reason", "it is fine"]);
        assert!(own.contains("somebody else with the role approve"), "{own}");
        assert_reaches(topology, "acme", true, false);

        let shown: Value =
            serde_json::from_str(&gateway.call(&["case", &case, "--json"]).unwrap().success().unwrap())
                .unwrap();
        let acts: Vec<_> =
            shown["entries"].as_array().unwrap().iter().map(|entry| &entry["act"]["act"]).collect();
        assert!(acts.contains(&&"struck".into()) && acts.contains(&&"asked".into()), "{acts:?}");
    });
}
