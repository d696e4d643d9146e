//! A network namespace, and the ways into it.
//!
//! Threads and programs enter the network namespace alone: `ip netns exec` would mount a new /sys as well,
//! which hides the BPF file system.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};

use crate::process::Process;
use crate::run;

/// Long enough for any program that does not wait for the network.
const PROMPT: Duration = Duration::from_secs(20);

/// A network namespace; dropping it removes it with its interfaces.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace with loopback up. IPv6 addresses are usable at once: duplicates cannot occur here,
    /// so they are not looked for (RFC 4862, section 5.4).
    pub fn create(role: &str) -> Result<Self> {
        let name = run::unique_name(role);
        Process::start(&["ip", "netns", "add", &name])?
            .finish(PROMPT)?
            .success()
            .context("making a namespace, which only root may")?;
        let path = Path::new(run::NETNS).join(&name);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let namespace = Self { name, file };
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.sysctl("net/ipv6/conf/default/accept_ra", "0")?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls `work` with this thread inside the namespace: sockets it opens and programs it starts stay there.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        /// Brings the thread back, also from a panic.
        struct Back(File);
        impl Drop for Back {
            fn drop(&mut self) {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("a thread can return whence it came");
            }
        }
        let _back = Back(File::open("/proc/thread-self/ns/net").context("opening the present namespace")?);
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("entering {} (root only)", self.name))?;
        Ok(work())
    }

    /// Starts a program inside.
    pub fn start(&self, arguments: &[&str]) -> Result<Process> {
        self.enter(|| Process::start(arguments))?
    }

    /// Runs a program inside that does not wait for the network, and returns its standard output.
    ///
    /// # Errors
    /// If it fails; with its command line and what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let finished = self.start(arguments)?.finish(PROMPT)?;
        finished.success().with_context(|| format!("{} in {}", arguments.join(" "), self.name))
    }

    /// Runs `ip` with the words of `arguments`.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let words: Vec<&str> = std::iter::once("ip").chain(arguments.split_whitespace()).collect();
        self.run(&words).map(drop)
    }

    /// Sets a parameter of the kernel, named as beneath /proc/sys.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        // /proc/sys/net shows the namespace of the thread that looks.
        self.enter(|| fs::write(Path::new("/proc/sys").join(name), value))?
            .with_context(|| format!("setting {name} in {}", self.name))
    }

    /// Adds an address, usable at once.
    pub fn add_address(&self, interface: &str, address: IpAddr, prefix_length: u8) -> Result<()> {
        let flags = if address.is_ipv6() { "nodad" } else { "" };
        self.ip(&format!("address add {address}/{prefix_length} dev {interface} {flags}"))
    }

    /// Joins this namespace and another by a virtual Ethernet cable.
    pub fn connect(&self, interface: &str, other: &Self, other_interface: &str, link: Link) -> Result<()> {
        let other_name = &other.name;
        self.ip(&format!("link add {interface} type veth peer name {other_interface} netns {other_name}"))?;
        for (namespace, interface) in [(self, interface), (other, other_interface)] {
            if !link.offloads {
                namespace.switch_offloads_off(interface)?;
            }
            namespace.ip(&format!("link set {interface} mtu {} up", link.mtu))?;
        }
        Ok(())
    }

    /// Makes packets what a cable would carry: single segments, with their checksums and tags in the bytes.
    fn switch_offloads_off(&self, interface: &str) -> Result<()> {
        let features = ["tx", "sg", "tso", "gso", "gro", "txvlan", "rxvlan", "tx-vlan-stag-hw-insert"];
        let mut arguments = vec!["ethtool", "-K", interface];
        arguments.extend(features.iter().flat_map(|feature| [*feature, "off"]));
        self.run(&arguments).map(drop)
    }

    /// Whether something listens on this port of TCP here, on whichever address of the family.
    pub fn listens_on(&self, address: SocketAddr) -> Result<bool> {
        /// The state in /proc/net/tcp (include/net/tcp_states.h).
        const TCP_LISTEN: &str = "0A";
        let table = Path::new("/proc/thread-self/net").join(if address.is_ipv4() { "tcp" } else { "tcp6" });
        let sockets =
            self.enter(|| fs::read_to_string(&table))?.with_context(|| format!("reading {table:?}"))?;
        let local_port = format!(":{:04X}", address.port());
        Ok(sockets.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1).is_some_and(|local| local.ends_with(&local_port))
                && fields.get(3) == Some(&TCP_LISTEN)
        }))
    }

    /// Starts a server inside and waits until it listens.
    pub fn serve(&self, arguments: &[&str], address: SocketAddr) -> Result<Process> {
        ensure!(!self.listens_on(address)?, "{address} is taken in {}", self.name);
        let mut server = self.start(arguments)?;
        server.wait_until_ready(PROMPT, |_| self.listens_on(address).unwrap_or(false))?;
        Ok(server)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Process::start(&["ip", "netns", "delete", &self.name]).and_then(|ip| ip.finish(PROMPT));
        if let Err(error) = removed.and_then(|ip| ip.success()) {
            eprintln!("removing {}: {error:#}", self.name);
        }
    }
}

/// Properties of a virtual cable.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Bytes that fit into a frame after the Ethernet header.
    pub mtu: u32,
    /// Whether the ends may hand over segments of 64 KB, missing checksums and tags beside the bytes.
    pub offloads: bool,
}
