//! Finds what a task needs, installs what is missing, and says what and why.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::command::{self, announce};
use crate::debian::{self, Need};
use crate::machines;
use crate::toolchain::{self, Toolchain};
use crate::workspace;

/// What to set up besides the compilers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// The linters.
    pub(crate) lints: bool,
    /// The programs that end-to-end tests and the lab run.
    pub(crate) traffic: bool,
    /// The fuzzer, where there is a compiler for it.
    pub(crate) fuzzer: bool,
    /// What makes the Debian package.
    pub(crate) packaging: bool,
    /// The Debian systems that the package is tried on.
    pub(crate) machines: bool,
    /// The emulator that other kernels are tried in.
    pub(crate) kernels: bool,
}

impl Scope {
    /// Compilers alone.
    pub(crate) const BUILD: Self = Self {
        lints: false,
        traffic: false,
        fuzzer: false,
        packaging: false,
        machines: false,
        kernels: false,
    };
    /// Everything.
    pub(crate) const ALL: Self =
        Self { lints: true, traffic: true, fuzzer: true, packaging: true, machines: true, kernels: true };
}

/// What the eBPF side is built with.
pub(crate) struct BpfTools {
    /// Its compiler.
    pub(crate) toolchain: Toolchain,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

/// A program that cargo installs into the workspace's tools.
struct CargoTool {
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
    why: &'static str,
}

/// The default features would bring the newest LLVM, which Debian does not have.
const BPF_LINKER: CargoTool = CargoTool {
    name: "bpf-linker",
    version: "0.13.0",
    options: &["--no-default-features", "--features", "llvm-22"],
    why: "links the eBPF programs; takes about a minute",
};

const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    options: &[],
    why: "checks licences, banned crates and sources; takes some minutes",
};

const CARGO_DEB: CargoTool = CargoTool {
    name: "cargo-deb",
    version: "3.8.0",
    options: &[],
    why: "makes the Debian package; takes about a minute and a half",
};

const CARGO_FUZZ: CargoTool = CargoTool {
    name: "cargo-fuzz",
    version: "0.13.2",
    options: &[],
    why: "runs the fuzz targets with rustup's nightly; takes about a minute",
};

/// Program, Debian package, why.
const PACKAGING_PROGRAMS: &[(&str, &str, &str)] = &[
    ("strip", "binutils", "takes the debug information out of the packaged program"),
    ("dpkg-shlibdeps", "dpkg-dev", "finds the libraries that the package depends on"),
    ("lintian", "lintian", "checks the package against Debian's policy"),
];

/// The same, for the kernels that the tests boot.
const KERNEL_PROGRAMS: &[(&str, &str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86", "virtual machines with other kernels"),
    ("busybox", "busybox-static", "the shell in them"),
    ("cpio", "cpio", "packs their file system"),
    ("xz", "xz-utils", "unpacks kernel modules"),
    ("strip", "binutils", "makes the programs in them small"),
    ("ip", "iproute2", "network namespaces, links and addresses"),
    ("setpriv", "util-linux", "ends the programs in a namespace with the one that started them"),
    ("ethtool", "ethtool", "switches the offloads of virtual links off"),
];

/// The same, for the Debian systems that the tests boot.
const MACHINE_PROGRAMS: &[(&str, &str, &str)] = &[
    ("mmdebstrap", "mmdebstrap", "makes the Debian systems that the package is installed on"),
    ("systemd-nspawn", "systemd-container", "boots them"),
    ("nsenter", "util-linux", "runs programs in them"),
];

/// Where Debian's packages put the LLVM that bpf-linker is built with.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Program or file, Debian package, why.
const TRAFFIC_PROGRAMS: &[(&str, &str, &str)] = &[
    ("ip", "iproute2", "network namespaces, links and addresses"),
    ("setpriv", "util-linux", "ends the programs in a namespace with the one that started them"),
    ("ethtool", "ethtool", "switches the offloads of virtual links off"),
    ("iperf3", "iperf3", "TCP and UDP load against the caps"),
    ("curl", "curl", "web traffic, and reading the metrics"),
    ("python3", "python3", "a web server"),
    ("aiosmtpd", "python3-aiosmtpd", "an SMTP server"),
    ("swaks", "swaks", "an SMTP client"),
    ("/usr/share/perl5/IO/Socket/INET6.pm", "libio-socket-inet6-perl", "the SMTP client over IPv6"),
    ("hping3", "hping3", "packets with forged sources, and in fragments"),
    ("nmap", "nmap", "port scans, and nping's fragments"),
    (
        "/usr/lib/python3/dist-packages/scapy/__init__.py",
        "python3-scapy",
        "fragments out of order, and chains of IPv6 extension headers",
    ),
    ("tcpdump", "tcpdump", "shows the tags on the wire"),
];

/// Sets up, and returns the tools of the eBPF side.
pub(crate) fn prepare(scope: Scope) -> Result<BpfTools> {
    let found = Toolchain::find();
    let linker = BPF_LINKER.find();
    debian::install(&missing_packages(scope, &found, linker.is_some()))?;
    let toolchain = found.or_else(|_| Toolchain::find()).map_err(no_toolchain)?;
    let linker = linker.map_or_else(|| BPF_LINKER.install(), Ok)?;
    if scope.lints {
        cargo_deny()?;
    }
    if scope.fuzzer && toolchain::has_nightly() && CARGO_FUZZ.find().is_none() {
        CARGO_FUZZ.install()?;
    }
    if scope.traffic {
        prometheus()?;
    }
    if scope.packaging {
        cargo_deb()?;
    }
    if scope.machines {
        machines::prepare()?;
    }
    Ok(BpfTools { toolchain, linker })
}

/// cargo-deny, installed if need be.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    CARGO_DENY.find().map_or_else(|| CARGO_DENY.install(), Ok)
}

/// cargo-deb, installed if need be.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    CARGO_DEB.find().map_or_else(|| CARGO_DEB.install(), Ok)
}

fn prometheus() -> Result<()> {
    let programs = ["prometheus", "promtool"];
    if programs.iter().all(|name| workspace::tool(name).is_file() || command::find(name).is_some()) {
        return Ok(());
    }
    let why = "a real Prometheus scrapes the gateway; only unpacked, since installing it starts a service";
    debian::unpack("prometheus", &programs, why)
}

fn missing_packages(scope: Scope, toolchain: &Result<Toolchain, Vec<String>>, has_linker: bool) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Err(rejected) = toolchain {
        announce("a compiler for the eBPF side", &format!("none here fits: {}", rejected.join("; ")));
        needs.extend(toolchain::DEBIAN_PACKAGES.iter().map(|&(package, why)| Need { package, why }));
    }
    if !has_linker && !Path::new(LLVM_PREFIX).join("lib/libLLVM.so").exists() {
        needs.push(Need { package: "llvm-22-dev", why: "bpf-linker is built with it" });
    }
    let debian_compiler = toolchain.as_ref().map_or(true, Toolchain::is_debian);
    if scope.lints && debian_compiler && !Path::new("/usr/bin/clippy-driver").exists() {
        needs.push(Need { package: "rust-web-clippy", why: "the linter that belongs to the eBPF compiler" });
    }
    let wanted = [
        (scope.traffic, TRAFFIC_PROGRAMS),
        (scope.packaging, PACKAGING_PROGRAMS),
        (scope.machines, MACHINE_PROGRAMS),
        (scope.kernels, KERNEL_PROGRAMS),
    ];
    let wanted = wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).flat_map(|(_, programs)| programs);
    let absent = wanted.filter(|(program, ..)| command::find(program).is_none());
    needs.extend(absent.map(|&(_, package, why)| Need { package, why }));
    needs
}

fn no_toolchain(rejected: Vec<String>) -> anyhow::Error {
    anyhow!(
        "no compiler for the eBPF side. Install one of\n    \
         rustup toolchain install nightly --component rust-src\n    \
         Debian's rustc-web, cargo-web and rust-web-src\nWhat is there does not fit:\n    {}",
        rejected.join("\n    ")
    )
}

impl CargoTool {
    /// The workspace's own, or one on PATH; only of the version that the workspace is tested with.
    fn find(&self) -> Option<PathBuf> {
        let own = Some(workspace::tool(self.name)).filter(|file| file.is_file());
        let wanted = format!("{} {}", self.name, self.version);
        own.into_iter().chain(command::find(self.name)).find(|file| {
            let version = command::stdout_of(command::program(file).arg("--version"));
            version.is_some_and(|version| version.trim() == wanted)
        })
    }

    fn install(&self) -> Result<PathBuf> {
        announce(&format!("cargo install {} {} into target/tools", self.name, self.version), self.why);
        command::run(
            command::cargo()
                .args(["install", self.name, "--version", self.version, "--locked", "--force", "--root"])
                .arg(workspace::tools())
                .args(self.options)
                .env("LLVM_PREFIX", LLVM_PREFIX),
        )?;
        self.find().with_context(|| {
            format!("{} was installed, but does not run", workspace::tool(self.name).display())
        })
    }
}
