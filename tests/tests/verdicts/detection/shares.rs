//! How many failures among how many answers: a few tell on service ports, where clients are answered; most
//! contacts have to fail where peer-to-peer programs are.

use gateway::config::OffenceKind::{ScanBlock, ScanHorizontal, ScanPing, ScanUdp, ScanVertical};
use gateway_ebpf::DropReason::Quarantined;

use super::*;

/// A contact, and its answer.
type Exchange = fn(u32) -> (Packet, Packet);

fn tcp(n: u32, port: u16) -> (Packet, Packet) {
    (connect(n, port), accept(n, port))
}

fn udp(n: u32, port: u16) -> (Packet, Packet) {
    (send(n, port), reply(n, port))
}

/// A port above 1,023 that is no sensitive one.
fn peer_port(n: u32) -> u16 {
    20_000 + (n * 61 % 10_000) as u16
}

fn rule(kind: OffenceKind, thresholds: &str) -> String {
    format!("[detect.{}]\nmode = \"enforce\"\nmeasure = \"quarantine\"\n{thresholds}\n", kind.label())
}

const FEW_PORTS: &str = "hosts_per_5_minutes = 64\nhosts_per_hour = 128\nfailed_percent = 65\n\
    service_hosts_per_5_minutes = 32\nservice_hosts_per_hour = 96\nservice_failed_percent = 25";

impl Scene {
    /// Five contacts a second, `answered` of ten with an answer, spread evenly, until one is dropped: which.
    fn exchange(&mut self, most: u32, answered: u32, exchange: Exchange) -> Option<u32> {
        for n in 0..most {
            let (contact, answer) = exchange(n);
            match self.up(&contact) {
                None => {}
                Some(Quarantined) => return Some(n),
                reason => panic!("contact {n}: {reason:?}"),
            }
            if n * answered % 10 < answered {
                assert_eq!(self.down(&answer), None);
            }
            self.wait(SECOND_NS / 5);
        }
        None
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn service_ports_are_judged_by_fewer_failures() {
    for (kind, service) in [(ScanHorizontal, (|n| tcp(n, 443)) as Exchange), (ScanUdp, |n| udp(n, 161))] {
        for (answered, failed_of) in [(0, 32), (5, 64), (7, 106)] {
            let mut scene = Scene::new(&rule(kind, FEW_PORTS));
            // The last failure arms, and three seconds later it is confirmed.
            let stopped = scene.exchange(1_000, answered, service);
            let expected = failed_of..failed_of + 20;
            assert!(stopped.is_some_and(|n| expected.contains(&n)), "{kind:?}, {answered}: {stopped:?}");
            let offences = scene.offences();
            let counters = only(&offences);
            assert_eq!(offences[0].kind, kind);
            assert_eq!(counters["service_ports_attempted"], u64::from(stopped.unwrap()) + 1);
            assert_eq!(counters.get("service_ports_answered").is_some(), answered > 0);
        }
        let mut scene = Scene::new(&rule(kind, FEW_PORTS));
        assert_eq!(scene.exchange(1_500, 8, service), None);
        assert_eq!(scene.offences(), []);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn peers_on_other_ports_may_fail_as_often() {
    let rules = [(ScanHorizontal, FEW_PORTS), (ScanUdp, FEW_PORTS)].map(|(kind, text)| rule(kind, text));
    for exchange in [
        (|n| tcp(n, peer_port(n))) as Exchange,
        |n| tcp(n, 6_881),
        |n| udp(n, peer_port(n)),
        // One peer in ten is where services are.
        |n| tcp(n, if n % 10 == 3 { 443 } else { peer_port(n) }),
        |n| udp(n, if n % 10 == 3 { 443 } else { peer_port(n) }),
    ] {
        let mut scene = Scene::new(&rules.concat());
        assert_eq!(scene.exchange(1_500, 4, exchange), None);
        assert_eq!(scene.offences(), []);
    }
}

#[test]
#[ignore = "needs root: BPF programs"]
fn mail_has_detectors_of_its_own() {
    let mut scene = Scene::new(&rule(ScanHorizontal, FEW_PORTS));
    assert_eq!(scene.exchange(1_000, 5, |n| tcp(n, [465, 587][n as usize % 2])), None);
    assert_eq!(scene.offences(), []);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_quarter_of_one_hosts_ports_is_a_scan_over_tcp() {
    let thresholds = "low_ports_per_5_minutes = 20\nports_per_5_minutes = 32\nports_per_hour = 96\n\
        failed_percent = 25\nudp_failed_percent = 50";
    let mut scene = Scene::new(&rule(ScanVertical, thresholds));
    let stopped = scene.exchange(1_000, 7, |n| tcp(1, 2_000 + n as u16));
    assert!(stopped.is_some_and(|n| (100..110).contains(&n)), "{stopped:?}");
    let mut scene = Scene::new(&rule(ScanVertical, thresholds));
    assert_eq!(scene.exchange(1_000, 7, |n| udp(1, 2_000 + n as u16)), None);
    assert!(scene.exchange(1_000, 4, |n| udp(2, 2_000 + n as u16)).is_some());
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_quarter_of_the_hosts_that_are_pinged_is_a_sweep() {
    let ping: Exchange = |n| (icmp(ACME, &host(n), 8), icmp(&host(n), ACME, 0));
    let thresholds = "hosts_per_5_minutes = 32\nfailed_percent = 25";
    let mut scene = Scene::new(&rule(ScanPing, thresholds));
    let stopped = scene.exchange(1_000, 7, ping);
    assert!(stopped.is_some_and(|n| (106..126).contains(&n)), "{stopped:?}");
    let mut scene = Scene::new(&rule(ScanPing, thresholds));
    assert_eq!(scene.exchange(1_500, 8, ping), None);
}

#[test]
#[ignore = "needs root: BPF programs"]
fn a_block_scan_that_goes_on_needs_a_smaller_share() {
    let thresholds = "ports_per_5_minutes = 80\nports_per_hour = 256\nfailed_percent = 75\n\
        sustained_ports_per_hour = 300\nsustained_failed_percent = 66";
    let block: Exchange = |n| tcp(n, peer_port(n));
    let mut scene = Scene::new(&rule(ScanBlock, thresholds));
    let stopped = scene.exchange(1_000, 3, block);
    assert!(stopped.is_some_and(|n| (428..450).contains(&n)), "{stopped:?}");
    let mut scene = Scene::new(&rule(ScanBlock, thresholds));
    assert_eq!(scene.exchange(1_500, 4, block), None);
}
