//! A booted router between the Internet and bolt, a tenant of the shipped example, on the interfaces that the
//! example names.
//!
//! ```text
//!   bolt (eth0)────(eth1) router, Debian, runs the package (eth0)────(eth0) internet
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fairway_tests::machine::{Machine, package};
use fairway_tests::mail::{MailServer, Outcome};
use fairway_tests::namespace::{Link, Namespace};
use fairway_tests::run::wait_for;
use fairway_tests::topology::{self, Host, Subnet};
use serde_json::Value;

const LINK: Link = Link { mtu: 1500, offloads: false };
/// The packages that `cargo xtask` makes for tests.
pub(crate) const VERSIONS: [&str; 2] = ["0~test1", "0~test2"];
/// Longer than a try to start takes on a busy machine, and the pause before the next.
pub(crate) const RETRIED: Duration = Duration::from_secs(60);

/// The interfaces of the machine, and who is at their other ends. They go when a machine is switched off.
pub(crate) struct Network {
    pub(crate) router: Namespace,
    pub(crate) internet: Host,
    pub(crate) bolt: Option<Host>,
    mail: MailServer,
}

impl Network {
    /// With the uplink alone.
    pub(crate) fn without_tenants() -> Self {
        let router = topology::router().unwrap();
        let internet = Subnet::of_internet().unwrap().connect("internet", &router, "eth0", LINK).unwrap();
        let mail = MailServer::start(&internet.namespace, 25).unwrap();
        Self { router, internet, bolt: None, mail }
    }

    pub(crate) fn whole() -> Self {
        let mut network = Self::without_tenants();
        network.connect_bolt();
        network
    }

    pub(crate) fn connect_bolt(&mut self) {
        self.bolt = Some(Subnet::of_tenant(1).unwrap().connect("bolt", &self.router, "eth1", LINK).unwrap());
    }

    pub(crate) fn bolt(&self) -> &Host {
        self.bolt.as_ref().unwrap()
    }

    /// What becomes of a mail of bolt's on the closed port.
    pub(crate) fn mail(&self) -> Outcome {
        self.mail.receive(&self.bolt().namespace, self.internet.ipv4.into()).unwrap()
    }

    /// A port of bolt's server.
    pub(crate) fn at_bolt(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.bolt().ipv4.into(), port)
    }

    /// A port of the server in the Internet.
    pub(crate) fn at_internet(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.internet.ipv4.into(), port)
    }
}

/// The README's first step.
pub(crate) fn install(machine: &Machine, version: &str) {
    let file = format!("fairway_{version}.deb");
    machine.copy(&package(version).unwrap(), &file).unwrap();
    machine.run(&["apt-get", "install", "--yes", "--quiet", &format!("./{file}")]).unwrap();
}

/// A property of the service, as systemd has it.
pub(crate) fn property(machine: &Machine, name: &str) -> String {
    machine.run(&["systemctl", "show", "fairway", "--value", "--property", name]).unwrap().trim().to_owned()
}

/// Waits until the service polices.
pub(crate) fn wait_until_active(machine: &Machine) {
    wait_for("fairway.service active", RETRIED, || {
        (property(machine, "ActiveState") == "active").then_some(())
    })
    .map_err(|error| format!("{error:#}\n{}", machine.journal(&["--unit=fairway"]).unwrap()))
    .unwrap();
}

/// What a command prints with `--json`.
pub(crate) fn ask(machine: &Machine, command: &[&str]) -> Value {
    serde_json::from_str(&machine.run(&[&["fairway"], command, &["--json"]].concat()).unwrap()).unwrap()
}

/// Messages of this priority or worse (syslog's numbers: 3 an error, 4 a warning) about the service.
pub(crate) fn complaints(machine: &Machine, priority: u8) -> String {
    machine.journal(&["--unit=fairway", "--output=cat", &format!("--priority={priority}")]).unwrap()
}

/// Says how long a step took: these tests are the dearest there are.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    eprintln!("{:6.1} s  {name}", start.elapsed().as_secs_f64());
    done
}
