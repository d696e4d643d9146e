//! Debian 13: a smoke test.

use fairway_tests::machine::Machine;
use fairway_tests::mail::Outcome;

use crate::router::{Network, VERSIONS, complaints, install, step};

#[test]
#[ignore = "needs root: a booted Debian system"]
fn debian_13_runs_the_same_package() {
    let network = Network::whole();
    let mut machine = Machine::create("trixie").unwrap();
    step("boot", || machine.boot(&network.router).unwrap());
    step("install", || install(&machine, VERSIONS[0]));
    step("start", || machine.run(&["systemctl", "enable", "--now", "fairway"]).unwrap());
    assert_eq!(network.mail(), Outcome::NoAnswer);
    assert_eq!(complaints(&machine, 3), "");
    step("restart", || machine.run(&["systemctl", "restart", "fairway"]).unwrap());
    assert_eq!(complaints(&machine, 3), "");
    machine.assert_no_unit_failed().unwrap();
    step("purge", || machine.run(&["apt-get", "purge", "--yes", "fairway"]).unwrap());
    assert_eq!(network.mail(), Outcome::Delivered);
    machine.assert_no_unit_failed().unwrap();
    step("switch off", || machine.shut_down().unwrap());
}
