//! Settings that a reload cannot change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What a running controller holds by name and cannot let go of without a restart: keys of the
/// configuration with their values as written. Interfaces are not among them: whether they may change
/// is the data plane's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FixedSettings(BTreeMap<String, String>);

impl From<&Config> for FixedSettings {
    fn from(config: &Config) -> Self {
        let gateway = &config.gateway;
        let group = gateway.control_group.as_ref().map_or("unset".into(), |group| format!("{group:?}"));
        Self(BTreeMap::from([
            ("gateway.name".into(), format!("{:?}", gateway.name)),
            ("gateway.state_dir".into(), format!("{:?}", gateway.state_dir)),
            ("gateway.pin_dir".into(), format!("{:?}", gateway.pin_dir)),
            ("gateway.control_socket".into(), format!("{:?}", gateway.control_socket)),
            ("gateway.control_group".into(), group),
            ("gateway.forwarding".into(), format!("{:?}", gateway.forwarding.label())),
        ]))
    }
}

impl FixedSettings {
    /// One phrase per setting that differs in `new`: `gateway.name "edge1" -> "edge2"`.
    #[must_use]
    pub fn changed_by(&self, new: &Self) -> Vec<String> {
        let pairs = self.0.iter().filter_map(|(key, old)| Some((key, old, new.0.get(key)?)));
        pairs
            .filter(|(_, old, new)| old != new)
            .map(|(key, old, new)| format!("{key} {old} -> {new}"))
            .collect()
    }
}
