//! One tenant's policy, put into force without touching any other's.
//!
//! A whole policy goes into the bank that is not active. What changes of one tenant goes into the active one: the
//! hosts that it may newly exchange mail with, then its policy under a number that no tenant refers to, then the
//! word that names the number and the restriction, and last the hosts that it no longer may. So every packet is
//! judged by the policy before or by the one after.

use std::collections::HashMap;

use gateway_ebpf::abi::Policy;
use gateway_ebpf::port::PortFilter;

use super::engine::Engine;
use super::error::DataplaneError;
use super::image::{self, Image, Peer, Policies};
use crate::policy::Effective;

/// What the active bank holds that a change of one tenant has to know.
#[derive(Default)]
pub(super) struct InForce {
    policies: Policies,
    detects: bool,
    classed_ports: [PortFilter; 2],
    /// Hosts that tenants may exchange mail with, by slot; only of tenants that have any.
    mail_peers: HashMap<u32, Vec<Peer>>,
}

impl InForce {
    /// What the bank holds after `image` was written into it.
    pub(super) fn of(image: Image) -> Self {
        let Image { policies, detects, classed_ports, peers, .. } = image;
        let mut mail_peers = HashMap::<_, Vec<_>>::new();
        for peer in peers.into_iter().filter(Peer::is_of_tenant) {
            mail_peers.entry(peer.key.slot).or_default().push(peer);
        }
        Self { policies, detects, classed_ports, mail_peers }
    }
}

impl Engine {
    /// Puts the policy of one tenant into force. `effective` differs from what is in force only in what was decided
    /// about tenants and in what has lapsed. A tenant that is not policed is passed over.
    /// False: the whole policy has to be applied, because there is no place for another policy (nothing has changed
    /// then), or because the kernel did not remove a host that the tenant no longer may exchange mail with.
    ///
    /// # Errors
    /// If the kernel refuses an exemption; nothing has changed.
    pub fn assign(&mut self, effective: &Effective, tenant: &str) -> Result<bool, DataplaneError> {
        let (Some(of), Some(slot)) = (effective.tenant(tenant), self.slot(tenant)) else { return Ok(true) };
        let config = effective.config();
        let InForce { policies, detects, classed_ports, mail_peers } = &mut self.in_force;
        let policy: Policy = image::policy(config, &of, *detects).with_classed_ports(*classed_ports);
        let room = self.tables.capacity.policies as usize;
        if policies.find(&policy).is_none() && policies.all.len() >= room {
            return Ok(false);
        }
        let before = mail_peers.get(&slot.0).map_or(&[][..], Vec::as_slice);
        let after = image::mail_peers(config, &of, slot);
        self.tables.open_peers(before, &after)?;
        let number = policies.number(policy);
        self.tables.assign(slot, (number, &policy), of.restriction());
        let closed = self.tables.close_peers(before, &after);
        if after.is_empty() {
            mail_peers.remove(&slot.0)
        } else {
            mail_peers.insert(slot.0, after)
        };
        if let Err(error) = closed {
            tracing::warn!(tenant, %error, "the whole policy is applied instead");
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write as _;
    use std::fs;
    use std::sync::Arc;

    use gateway_ebpf::abi::PeerKey;
    use gateway_ebpf::lookup::Slot;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::config::{self, Config, Direction};
    use crate::dataplane::ProgramClock;
    use crate::domain::{LoweredCap, Measure, MeasureInForce, OffenceKind, Scope};
    use crate::policy::{Grant, Overrides, compose};
    use crate::suspension::Suspension;

    const TENANTS: usize = 12;

    /// Tenants of every sort: capped, exempt, with a relay, with detectors off or not, without anything.
    fn config() -> Arc<Config> {
        let mut text = String::from(
            "[gateway]\nname = \"edge1\"\n[smtp]\nrelays = [\"192.0.2.53\"]\n\
             [walled_garden]\nhosts = [\"192.0.2.80\"]\n\
             [[interface]]\nname = \"a\"\nside = \"tenant\"\n[[interface]]\nname = \"b\"\nside = \"uplink\"\n",
        );
        for n in 0..TENANTS {
            let _ = write!(
                text,
                "[[tenant]]\nid = \"t{n}\"\nname = \"T\"\nprefixes = [\"198.51.100.{n}/32\"]\n\
                 contact = \"a@b.example\"\nvlan = {}\n",
                100 + n
            );
            if n % 3 == 1 {
                let _ = writeln!(text, "relay = true\ncap = {{ up = \"{} Mbit/s\" }}", n % 4 + 1);
            }
            if n % 4 == 0 {
                text += "[[tenant.smtp_exemption]]\ndirection = \"both\"\npeers = [\"203.0.113.0/24\"]\n\
                         ticket = \"T-1\"\napproved_by = \"j.doe\"\nexpires = 2999-01-01\n";
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        fs::write(&file, text).unwrap();
        Arc::new(config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}")).config)
    }

    #[derive(Clone, Debug)]
    enum Act {
        Suspend(Scope),
        Restore(Scope),
        LowerCap([Option<u64>; 2]),
        RaiseCaps,
        Grant { id: u8, direction: Direction, peers: Vec<&'static str>, expires: i64 },
        Revoke(u8),
        Reload,
    }

    fn act() -> impl Strategy<Value = (usize, Act)> {
        let scope = || select(Scope::ALL.to_vec());
        let rate = || proptest::option::of(8_000..2_000_000_u64);
        let peers =
            select(vec!["203.0.113.0/24", "203.0.113.7/32", "0.0.0.0/0", "192.0.2.53/32", "2001:db8::/32"]);
        let direction = select(vec![Direction::Out, Direction::In, Direction::Both]);
        let granted =
            (0..3_u8, direction, prop::collection::vec(peers, 0..3), 4_000_000_000..4_000_000_003_i64);
        let act = prop_oneof![
            3 => scope().prop_map(Act::Suspend),
            2 => scope().prop_map(Act::Restore),
            3 => [rate(), rate()].prop_map(Act::LowerCap),
            1 => Just(Act::RaiseCaps),
            3 => granted.prop_map(|(id, direction, peers, expires)| Act::Grant { id, direction, peers, expires }),
            2 => (0..3_u8).prop_map(Act::Revoke),
            1 => Just(Act::Reload),
        ];
        (0..TENANTS, act)
    }

    fn decide(overrides: &mut Overrides, tenant: &str, act: &Act) {
        let at = |second| Timestamp::from_second(second).unwrap();
        match act.clone() {
            Act::Suspend(scope) => {
                let (reason, by) = ("x".into(), None);
                overrides.suspend(tenant, Suspension { scope, reason, by, since: at(0), until: None });
            }
            Act::Restore(scope) => overrides.restore(tenant, |held| held == scope),
            Act::LowerCap([up_bits_per_second, down_bits_per_second]) => {
                overrides.lower_cap(MeasureInForce {
                    tenant: tenant.into(),
                    source: None,
                    kind: Some(OffenceKind::SuddenRise),
                    measure: Measure::LowerCap,
                    lowered_cap: Some(LoweredCap { up_bits_per_second, down_bits_per_second }),
                    since: at(0),
                    until: at(4_000_000_000),
                })
            }
            Act::RaiseCaps => overrides.raise_caps(tenant, |_| true),
            Act::Grant { id, direction, peers, expires } => {
                let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
                let (ticket, approved_by) = ("T-2".into(), "j.doe".into());
                let (id, expires) = (id.to_string(), at(expires));
                overrides.grant(tenant, Grant { id, direction, peers, ticket, approved_by, expires });
            }
            Act::Revoke(id) => overrides.revoke(tenant, &id.to_string()),
            Act::Reload => {}
        }
    }

    /// What the active bank says: of each tenant, and of hosts that anybody may exchange mail with.
    fn contents(engine: &Engine) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let tenants = engine.tenants.iter();
        let tenants =
            tenants.map(|(tenant, slot)| (tenant.id.to_string(), format!("{:?}", engine.tables.held(*slot))));
        let name =
            |slot| engine.tables.tenants.slot_name(Slot(slot)).unwrap_or_else(|| format!("list {slot}"));
        let peers = engine.tables.peers_in_force().into_iter().map(|(key, bits, expires_ns)| {
            let (owner, PeerKey { direction, class, family, address, .. }) = (name(key.slot), key);
            format!("{owner} {direction} {class} {family} {address:?} {bits} {expires_ns}")
        });
        (tenants.collect(), peers.collect())
    }

    #[test]
    #[ignore = "needs root: BPF programs"]
    fn any_acts_one_by_one_come_to_what_the_whole_policy_would() {
        let config = config();
        let none = compose(&config, &Overrides::default(), Timestamp::UNIX_EPOCH);
        let [subject, whole] = [(); 2].map(|()| Engine::detached(&none, ProgramClock::Virtual).unwrap());
        let engines = std::cell::RefCell::new((subject, whole));
        proptest!(ProptestConfig::with_cases(48), |(acts in prop::collection::vec(act(), 1..24))| {
            let (subject, whole) = &mut *engines.borrow_mut();
            let mut overrides = Overrides::default();
            subject.apply(&none).unwrap();
            for (tenant, act) in acts {
                let tenant = format!("t{tenant}");
                decide(&mut overrides, &tenant, &act);
                let effective = compose(&config, &overrides, Timestamp::UNIX_EPOCH);
                if matches!(act, Act::Reload) || !subject.assign(&effective, &tenant).unwrap() {
                    subject.apply(&effective).unwrap();
                }
                whole.apply(&effective).unwrap();
                prop_assert_eq!(contents(subject), contents(whole));
            }
        });
    }

    #[test]
    #[ignore = "needs root: BPF programs"]
    fn policies_that_nobody_has_any_more_are_cleared_by_a_whole_one() {
        let config = config();
        let mut overrides = Overrides::default();
        let in_force = |overrides: &Overrides| compose(&config, overrides, Timestamp::UNIX_EPOCH);
        let mut engine = Engine::detached(&in_force(&overrides), ProgramClock::Virtual).unwrap();
        let mut refused = 0;
        for rate in 0..600 {
            decide(&mut overrides, "t2", &Act::LowerCap([Some(10_000 + rate), None]));
            let before = contents(&engine);
            if !engine.assign(&in_force(&overrides), "t2").unwrap() {
                refused += 1;
                assert_eq!(contents(&engine), before, "nothing has changed");
                engine.apply(&in_force(&overrides)).unwrap();
            }
        }
        assert_eq!(refused, 2, "of 600 policies, with room for 256");
        assert!(engine.assign(&in_force(&overrides), "nobody").unwrap());
    }
}
