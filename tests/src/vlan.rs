//! A VLAN link on any kernel with BPF: tags and untags at both ends of a cable (see `lab_link.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use crate::namespace::Namespace;

/// The tags of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// VLAN id of the outermost tag.
    pub outer: u16,
    /// VLAN id of the second tag.
    pub inner: Option<u16>,
}

impl std::fmt::Display for Tags {
    /// As the configuration writes it: `110`, or `200.110` for two.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.inner {
            None => write!(f, "{}", self.outer),
            Some(inner) => write!(f, "{}.{inner}", self.outer),
        }
    }
}

/// The programs of the test bed's links, see `lab_link.rs`.
fn link_object() -> Result<Vec<u8>> {
    let file = Path::new(crate::TARGET).join("bpf/lab-link.o");
    fs::read(&file).with_context(|| format!("{}: `cargo xtask build` makes it", file.display()))
}

/// One tagging end of a link; dropping it ends the tagging.
pub struct TaggingEnd {
    _programs: Ebpf,
}

/// An end that takes what an XDP program at the other end sends back, as a network card's peer does;
/// dropping it ends that.
pub struct ReceivingEnd {
    _program: Ebpf,
}

impl ReceivingEnd {
    /// Makes an interface such an end.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.enter(|| Self::attach_here(interface))?.with_context(|| format!("attaching to {interface}"))
    }

    fn attach_here(interface: &str) -> Result<Self> {
        let mut object = Ebpf::load(&link_object()?)?;
        let program: &mut Xdp = object.program_mut("receive").context("no program receive")?.try_into()?;
        program.load()?;
        program.attach(interface, XdpMode::Driver)?;
        Ok(Self { _program: object })
    }
}

impl TaggingEnd {
    /// Makes an interface send tagged frames only, and accept no others.
    pub fn attach(namespace: &Namespace, interface: &str, tags: Tags) -> Result<Self> {
        namespace
            .enter(|| Self::attach_here(interface, tags))?
            .with_context(|| format!("tagging {interface}"))
    }

    fn attach_here(interface: &str, tags: Tags) -> Result<Self> {
        let object = link_object()?;
        let mut programs = EbpfLoader::new()
            .override_global("OUTER_VID", &tags.outer, true)
            .override_global("INNER_VID", &tags.inner.unwrap_or(0), true)
            .load(&object)?;
        // Before Linux 6.6 classifiers hang on this queueing discipline; where it exists already, or is not
        // needed, attaching tells whether all is well.
        let _ = qdisc_add_clsact(interface);
        for (name, direction) in [("pop", TcAttachType::Ingress), ("push", TcAttachType::Egress)] {
            let program: &mut SchedClassifier =
                programs.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
            program.load()?;
            program.attach(interface, direction)?;
        }
        Ok(Self { _programs: programs })
    }
}
