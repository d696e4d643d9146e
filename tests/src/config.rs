//! The configuration of a gateway under test, edited as an operator would: in TOML.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::topology::{Topology, UPLINK};

/// Where the metrics are served, in the router's own namespace.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The main file, and a file for each tenant.
#[derive(Clone, Debug)]
pub struct Config {
    main: Table,
    tenants: BTreeMap<String, Table>,
}

impl Config {
    /// Polices every interface of the router and knows every tenant, with defaults in all else.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let tenant_side = topology.tenants.iter().map(|tenant| (tenant.router_interface.as_str(), "tenant"));
        let mut config = Self::of_interfaces(&tenant_side.chain([(UPLINK, "uplink")]).collect::<Vec<_>>());
        config.set(&format!("metrics = {{ listen = '{METRICS}' }}"));
        for tenant in &topology.tenants {
            let [ipv4, ipv6] = tenant.prefixes;
            let id = tenant.id;
            config.set_tenant(id, &format!("id = '{id}'\ncontact = 'admin@{id}.example'"));
            config.set_tenant(id, &format!("prefixes = ['{ipv4}', '{ipv6}']"));
            if let Some(tags) = tenant.tags {
                // A single tag is written as a number.
                let quote = if tags.inner.is_some() { "'" } else { "" };
                config.set_tenant(tenant.id, &format!("vlan = {quote}{tags}{quote}"));
            }
        }
        config
    }

    /// Polices interfaces, each named with its side, and knows no tenant.
    #[must_use]
    pub fn of_interfaces(interfaces: &[(&str, &str)]) -> Self {
        let mut config = Self { main: Table::new(), tenants: BTreeMap::new() };
        for (name, side) in interfaces {
            config.set(&format!("[[interface]]\nname = '{name}'\nside = '{side}'"));
        }
        // Tests come and go with many tenants at a time.
        config.set(
            "gateway = { tenants = ['tenants.d/*.toml'], on_stop = 'detach', removal_limit_percent = 100 }",
        );
        config
    }

    /// Merges TOML into the main file: entries are added to tables and lists, other values replaced.
    ///
    /// # Panics
    /// If it is no TOML.
    pub fn set(&mut self, toml: &str) -> &mut Self {
        merge(&mut self.main, toml.parse().expect("the test's TOML is TOML"));
        self
    }

    /// Gives every interface that there is now this value for a key.
    pub fn set_interfaces(&mut self, key: &str, value: &str) -> &mut Self {
        for interface in self.main.get_mut("interface").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(interface) = interface.as_table_mut() {
                interface.insert(key.to_owned(), value.into());
            }
        }
        self
    }

    /// [`Self::set`] for a tenant, whose file is made if need be.
    pub fn set_tenant(&mut self, id: &str, toml: &str) -> &mut Self {
        merge(self.tenants.entry(id.to_owned()).or_default(), toml.parse().expect("the test's TOML is TOML"));
        self
    }

    /// Removes a tenant.
    pub fn remove_tenant(&mut self, id: &str) -> &mut Self {
        self.tenants.remove(id);
        self
    }

    /// Writes the files of the gateway `name` into `directory`, each of them at once.
    pub(crate) fn write(&self, directory: &Path, name: &str, pins: &Path) -> Result<()> {
        let tenants = directory.join("tenants.d");
        fs::create_dir_all(&tenants).with_context(|| format!("making {}", tenants.display()))?;
        for (id, tenant) in &self.tenants {
            let file = Table::from_iter([("tenant".to_owned(), Value::Array(vec![tenant.clone().into()]))]);
            replace(&tenants.join(format!("{id}.toml")), &file)?;
        }
        for entry in fs::read_dir(&tenants)? {
            let path = entry?.path();
            let known =
                path.file_stem().and_then(|id| id.to_str()).is_some_and(|id| self.tenants.contains_key(id));
            if !known {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        let mut placed = self.clone();
        for (key, path) in [
            ("name", Path::new(name).into()),
            ("state_dir", directory.join("state")),
            ("control_socket", directory.join("control.sock")),
            ("pin_dir", pins.to_owned()),
        ] {
            placed.set(&format!("gateway.{key} = '{}'", path.display()));
        }
        replace(&directory.join("gateway.toml"), &placed.main)
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Writes a file by renaming, so that a gateway that watches it never reads half of it.
fn replace(path: &Path, contents: &Table) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, contents.to_string()).with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_tables_and_lists_and_replaces_the_rest() {
        let mut config = Config { main: Table::new(), tenants: BTreeMap::new() };
        config.set("smtp = { default = 'block', relays = ['192.0.2.1/32'] }");
        config.set("smtp = { default = 'allow', relays = ['192.0.2.2/32'] }");
        config.set("[[closed_port]]\nname = 'smb'").set("[[closed_port]]\nname = 'rdp'");
        let expected = "smtp = { default = 'allow', relays = ['192.0.2.1/32', '192.0.2.2/32'] }\n\
            closed_port = [{ name = 'smb' }, { name = 'rdp' }]";
        assert_eq!(config.main, expected.parse().unwrap());
    }

    #[test]
    fn writes_what_the_tenants_are_now() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Path::new("/pins");
        let mut config = Config { main: Table::new(), tenants: BTreeMap::new() };
        config.set_tenant("acme", "vlan = 1").set_tenant("beta", "vlan = 2");
        config.write(directory.path(), "edge", pins).unwrap();
        config.remove_tenant("beta").write(directory.path(), "edge", pins).unwrap();
        let files: Vec<_> = fs::read_dir(directory.path().join("tenants.d")).unwrap().collect();
        assert_eq!(files.len(), 1);
        let acme: Table = fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap().parse().unwrap();
        assert_eq!(acme, "[[tenant]]\nvlan = 1".parse().unwrap());
        let main: Table = fs::read_to_string(directory.path().join("gateway.toml")).unwrap().parse().unwrap();
        assert_eq!(main["gateway"]["name"].as_str(), Some("edge"));
        assert_eq!(main["gateway"]["pin_dir"].as_str(), Some("/pins"));
    }
}
