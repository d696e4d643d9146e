//! S1, M4: real scanners and flooders are found out and stopped, their neighbours notice nothing, and the
//! operator sees the evidence and can lift the measure. Programs that do no harm are left alone.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use fairway_tests::config::Config;
use fairway_tests::gateway::Gateway;
use fairway_tests::iperf::{self, Flow, Traffic};
use fairway_tests::run::wait_for;
use fairway_tests::topology::{HOST_INTERFACE, Tenant, Topology};
use fairway_tests::web::{self, WebServer};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::suspension::{PORTAL, WEB_PORT, add_portal, with_garden};
use crate::{police, untagged};

/// What an attacker runs, what that is, and what is done about it. `HOST` is the server in the Internet,
/// which refuses what it does not serve; nobody answers in `DARK`.
struct Attack {
    tenant: &'static str,
    command: &'static str,
    kind: &'static str,
    measure: &'static str,
}

const DARK: &str = "192.0.2.0/24";

const ATTACKS: [Attack; 11] = [
    attack("syn", "nmap -n -Pn -sS -p 1-1000 HOST", "scan_vertical", "quarantine"),
    attack("connect", "nmap -n -Pn -sT -p 1-1000 HOST", "scan_vertical", "quarantine"),
    attack("udp", "nmap -n -Pn -sU -p 1-1000 HOST", "scan_vertical", "quarantine"),
    attack("polite", "nmap -n -Pn -sS -T2 --max-retries 0 -p 1-100 HOST", "scan_vertical", "quarantine"),
    attack("fin", "nmap -n -Pn -sF -p 1-1000 HOST", "scan_stealth", "quarantine"),
    attack("null", "nmap -n -Pn -sN -p 1-1000 HOST", "scan_stealth", "quarantine"),
    attack("xmas", "nmap -n -Pn -sX -p 1-1000 HOST", "scan_stealth", "quarantine"),
    attack("sweep", "nmap -n -sn -PE DARK", "scan_ping", "quarantine"),
    attack("ssh", "nmap -n -Pn -sS -p 22 DARK", "scan_sensitive", "quarantine"),
    attack(
        "synflood",
        "hping3 --quiet --syn --interval u1000 --destport 80 192.0.2.9",
        "syn_flood",
        "drop_syn",
    ),
    attack(
        "udpflood",
        "hping3 --quiet --udp --interval u1000 --destport 80 192.0.2.9",
        "udp_flood",
        "drop_udp",
    ),
];

const fn attack(
    tenant: &'static str,
    command: &'static str,
    kind: &'static str,
    measure: &'static str,
) -> Attack {
    Attack { tenant, command, kind, measure }
}

/// A flood as a machine that is busy with other work can make it.
fn with_modest_floods(config: &mut Config) {
    with_garden(config);
    config.set("[detect.udp_flood]\npackets_per_second = 10\nexcess = 500");
}

/// The tenant's offences, newest first.
fn history(gateway: &Gateway<'_>, tenant: &str) -> Vec<Value> {
    let told = gateway.call(&["history", tenant, "--json"]).unwrap().success().unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let entries = told["entries"].as_array().unwrap();
    entries.iter().filter(|entry| entry["entry"] == "offence").cloned().collect()
}

/// Whether a tenant's server gets the page from an IPv4 address.
fn reaches(tenant: &Tenant, address: &str) -> bool {
    let server = SocketAddr::new(address.parse().unwrap(), WEB_PORT);
    web::get(&tenant.host.namespace, server, "/").is_ok()
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn scanners_and_flooders_are_stopped() {
    let tenants: Vec<_> = ATTACKS.iter().map(|attack| attack.tenant).chain(["neighbour"]).collect();
    police(&untagged(&tenants), with_modest_floods, |topology, gateway, _| {
        topology.router.ip(&format!("route add blackhole {DARK}")).unwrap();
        add_portal(topology);
        let _web = WebServer::start(&topology.internet.namespace, WEB_PORT).unwrap();
        let host = topology.internet.ipv4.to_string();
        let start = |attack: &Attack| {
            let command = attack.command.replace("HOST", &host).replace("DARK", DARK);
            let words: Vec<_> = command.split(' ').collect();
            topology.tenant(attack.tenant).host.namespace.start(&words).unwrap()
        };
        let running: Vec<_> = ATTACKS.iter().map(start).collect();
        for attack in &ATTACKS {
            let found = || history(gateway, attack.tenant).pop();
            let offence = wait_for(attack.command, Duration::from_secs(90), found).unwrap();
            check_evidence(attack, topology, &offence);
            check_consequences(attack, topology, gateway, &host);
            assert!(reaches(topology.tenant("neighbour"), &host), "after {}", attack.command);
        }
        assert_eq!(history(gateway, "neighbour"), [] as [Value; 0]);
        drop(running);
        for attack in &ATTACKS {
            let restore = ["restore", attack.tenant, "--reason", "cleaned"];
            let told = gateway.call(&restore).unwrap().success().unwrap();
            assert!(reaches(topology.tenant(attack.tenant), &host), "{told}");
            let lifted = &history(gateway, attack.tenant)[0]["taken"]["lifted"];
            assert_eq!(lifted["reason"], "cleaned", "{}", attack.command);
        }
    });
}

/// Says something to a server, if it is there.
fn talk(tenant: &Tenant, server: SocketAddr) -> bool {
    let connect = || TcpStream::connect_timeout(&server, Duration::from_secs(3));
    let Ok(mut stream) = tenant.host.namespace.enter(connect).unwrap() else { return false };
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    true
}

/// Every second host of those that are tried answers: too many for a scan by what fails, but for who says nothing to
/// them. The resets are those of nmap's kernel, and of nmap.
#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn scanners_are_found_out_by_what_they_do_not_say() {
    const PORT: u16 = 8_080;
    const SCANS: [(&str, &str); 2] = [("halfopen", "-sS"), ("connect", "-sT")];
    let edit = |config: &mut Config| {
        config.set("[detect.scan_horizontal]\nmeasure = 'quarantine'");
    };
    police(&untagged(&["halfopen", "connect", "client"]), edit, |topology, gateway, _| {
        let internet = &topology.internet.namespace;
        let hosts: Vec<_> = (100..200).map(|last| Ipv4Addr::new(198, 51, 100, last)).collect();
        hosts.iter().for_each(|host| internet.add_address(HOST_INTERFACE, (*host).into(), 24).unwrap());
        let listen = |host: &Ipv4Addr| internet.enter(|| TcpListener::bind((*host, PORT))).unwrap().unwrap();
        let _servers: Vec<_> = hosts.iter().step_by(2).map(listen).collect();
        let scans = SCANS.map(|(tenant, how)| {
            let scan = ["nmap", "-n", "-Pn", how, "-p", "8080", "198.51.100.100-199"];
            topology.tenant(tenant).host.namespace.start(&scan).unwrap()
        });
        for (tenant, how) in SCANS {
            let found = || history(gateway, tenant).pop();
            let offence = wait_for(how, Duration::from_secs(90), found).unwrap();
            assert_eq!(offence["kind"], "scan_horizontal", "{how}");
            let counters =
                ["hosts_answered", "contacts_probed"].map(|name| offence["counters"][name].as_u64());
            let [Some(answered), Some(probed)] = counters else { panic!("{offence:#}") };
            assert!(probed * 4 >= answered * 3, "{offence:#}");
            assert!(!talk(topology.tenant(tenant), (hosts[0], PORT).into()), "{how}");
        }
        drop(scans);
        let client = topology.tenant("client");
        let answered = hosts.iter().filter(|host| talk(client, (**host, PORT).into())).count();
        assert_eq!(answered, 50);
        // What has to hold for three seconds would have by then.
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(history(gateway, "client"), [] as [Value; 0]);
    });
}

/// Controllers come and go, tables of others are made; what was said of its end stays true.
#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn a_measure_ends_when_it_was_said_to_whoever_keeps_it() {
    let edit = |config: &mut Config| {
        config.set("[detect.scan_stealth]\nmode = 'enforce'\nports_per_5_minutes = 4\nfor = '1h'");
    };
    police(&untagged(&["acme"]), edit, |topology, gateway, _| {
        let host = topology.internet.ipv4.to_string();
        let _web = WebServer::start(&topology.internet.namespace, WEB_PORT).unwrap();
        let acme = topology.tenant("acme");
        assert!(reaches(acme, &host));
        let began = Timestamp::now();
        let scan = ["nmap", "-n", "-Pn", "-sF", "-p", "1-100", &host];
        let _scan = acme.host.namespace.start(&scan).unwrap();
        let found = || history(gateway, "acme").pop();
        let offence = wait_for("the offence", Duration::from_secs(90), found).unwrap();
        let [at, until] =
            [&offence["at"], &offence["taken"]["until"]].map(|time| time.as_str().unwrap().parse().unwrap());
        assert!(near(at, began, SignedDuration::from_mins(2)), "{at}, not {began}");
        assert!(near(until, at + SignedDuration::from_hours(1), A_MOMENT), "{until} after {at}");

        let check = |gateway: &Gateway<'_>| {
            let told =
                gateway.call(&["explain", &acme.host.ipv4.to_string(), "--json"]).unwrap().success().unwrap();
            let told: Value = serde_json::from_str(&told).unwrap();
            let measures = told["tenant"]["detection"]["measures"].as_array().unwrap();
            let [measure] = &measures[..] else { panic!("{told:#}") };
            assert_eq!(measure["measure"], "quarantine");
            let told = measure["until"].as_str().unwrap().parse().unwrap();
            assert!(near(told, until, A_MOMENT), "{told}, not {until}");
            assert!(!reaches(acme, &host));
        };
        check(gateway);
        gateway.kill().unwrap();
        assert!(!reaches(acme, &host), "while nobody controls");
        gateway.launch().unwrap();
        check(gateway);
        gateway.stop().unwrap();
        gateway.detach().unwrap();
        assert!(reaches(acme, &host), "without tables");
        gateway.launch().unwrap();
        check(gateway);
    });
}

/// Ticks of the kernel's clock, and what a wall clock is slewed by within a minute.
const A_MOMENT: SignedDuration = SignedDuration::from_millis(100);

fn near(one: Timestamp, other: Timestamp, tolerance: SignedDuration) -> bool {
    one.duration_since(other).abs() <= tolerance
}

fn check_evidence(attack: &Attack, topology: &Topology, offence: &Value) {
    let Attack { tenant, command, kind, measure } = attack;
    assert_eq!((&offence["kind"], &offence["measure"]), (&(*kind).into(), &(*measure).into()), "{command}");
    let source = format!("{}/32", topology.tenant(tenant).host.ipv4);
    assert_eq!(offence["source"], source, "{command}");
    assert!(!offence["taken"]["until"].is_null(), "{offence:#}");
    assert!(!offence["counters"].as_object().unwrap().is_empty(), "{offence:#}");
    assert!(!offence["targets"].as_array().unwrap().is_empty(), "{offence:#}");
}

fn check_consequences(attack: &Attack, topology: &Topology, gateway: &Gateway<'_>, host: &str) {
    let Attack { tenant, command, kind, measure } = attack;
    let labels = [("tenant", *tenant), ("kind", *kind)];
    let offences = gateway.metrics().unwrap().sum("fairway_offences_total", &labels);
    assert!(offences >= 1.0, "{command}: {offences}");
    let of = topology.tenant(tenant);
    let (garden, elsewhere, reason) = match *measure {
        "quarantine" => (true, false, "quarantined"),
        // What opens connections opens none to the garden either.
        "drop_syn" => (false, false, "flood"),
        _ => (true, true, "flood"),
    };
    assert_eq!((reaches(of, PORTAL[0]), reaches(of, host)), (garden, elsewhere), "{command}");
    assert!(gateway.counters(tenant, "up").unwrap().dropped_for(reason).packets > 0, "{command}");
}

/// Answers every datagram, as a name server does.
fn answer_all(socket: &UdpSocket) {
    let mut query = [0; 64];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        socket.send_to(&query[..length], client).unwrap();
    }
}

/// Asks a hundred questions from as many ports, and waits for each answer.
fn resolve(topology: &Topology, servers: &[IpAddr]) {
    const DNS: u16 = 53;
    let tenant = topology.tenant("acme").host.ipv4;
    let bind = |address: SocketAddr| UdpSocket::bind(address).unwrap();
    let enter = |namespace: &fairway_tests::namespace::Namespace, address| namespace.enter(|| bind(address));
    let sockets = servers.iter().map(|server| {
        let socket = enter(&topology.internet.namespace, (*server, DNS).into()).unwrap();
        // Ends the thread once nobody asks any more.
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    });
    let sockets: Vec<_> = sockets.collect();
    std::thread::scope(|scope| {
        sockets.iter().for_each(|socket| _ = scope.spawn(|| answer_all(socket)));
        for server in servers.iter().cycle().take(100) {
            let client = enter(&topology.tenant("acme").host.namespace, (tenant, 0).into()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(b"query", (*server, DNS)).unwrap();
            assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
        }
    });
}

#[test]
#[ignore = "needs root: network namespaces and BPF programs"]
fn honest_programs_are_left_alone() {
    police(
        &untagged(&["acme"]),
        |_| {},
        |topology, gateway, _| {
            let internet = &topology.internet.namespace;
            let servers: Vec<IpAddr> =
                (100..140).map(|last| Ipv4Addr::new(198, 51, 100, last).into()).collect();
            servers.iter().for_each(|server| internet.add_address(HOST_INTERFACE, *server, 24).unwrap());
            let _web = WebServer::start(internet, WEB_PORT).unwrap();
            let acme = &topology.tenant("acme").host.namespace;
            for server in servers.iter().chain([&servers[0]; 40]) {
                assert_eq!(web::get(acme, SocketAddr::new(*server, WEB_PORT), "/").unwrap(), web::PAGE);
            }
            resolve(topology, &servers[..8]);
            let _iperf = iperf::serve(internet, iperf::PORT).unwrap();
            for flow in [Flow::Upload, Flow::Download] {
                for traffic in [Traffic::Tcp("cubic"), Traffic::Udp { bits_per_sec: 5_000_000 }] {
                    let server = topology.internet.ipv4.into();
                    iperf::transfer(acme, server, iperf::PORT, traffic, flow, 2).unwrap();
                }
            }
            assert_eq!(history(gateway, "acme"), [] as [Value; 0]);
            let up = gateway.counters("acme", "up").unwrap();
            for reason in ["throttled", "quarantined", "flood", "mail_closed"] {
                assert_eq!(up.dropped_for(reason).packets, 0, "{reason}");
            }
        },
    );
}
