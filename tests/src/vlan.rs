//! A VLAN link on any kernel with BPF: tags and untags at both ends of a cable (see `lab_vlan.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{SchedClassifier, TcAttachType};
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

/// One tagging end of a link; dropping it ends the tagging.
pub struct TaggingEnd {
    _programs: Ebpf,
}

impl TaggingEnd {
    /// Makes an interface send tagged frames only, and accept no others.
    pub fn attach(namespace: &Namespace, interface: &str, tags: Tags) -> Result<Self> {
        namespace
            .enter(|| Self::attach_here(interface, tags))?
            .with_context(|| format!("tagging {interface}"))
    }

    fn attach_here(interface: &str, tags: Tags) -> Result<Self> {
        let file = Path::new(crate::TARGET).join("bpf/lab-vlan.o");
        let object =
            fs::read(&file).with_context(|| format!("{}: `cargo xtask build` makes it", file.display()))?;
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
