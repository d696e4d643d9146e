//! Interfaces as the programs' tables know them: their counters, what is asked of packets there, and whether packets
//! may be sent out of them.

use gateway_ebpf::abi::{INTERFACE_SLOTS, InterfaceEntry};

use super::attachment::Target;
use super::capacity::IFINDEXES;
use super::engine::Engine;
use super::error::DataplaneError;
use super::reading::{by_reason, tally};
use crate::config::{Config, Forwarding, Interface};
use crate::domain::InterfaceCounters;
use crate::link::mac_of;

/// An interface that has counters.
pub(super) struct Registered {
    target: Target,
    slot: u32,
}

impl Engine {
    /// Reads the counters of the interfaces that are registered.
    pub(super) fn interface_counters(&self) -> Vec<InterfaceCounters> {
        let counters = |registered: &Registered| {
            let (counters, interface) =
                (self.tables.interface_counters(registered.slot), &registered.target.interface);
            InterfaceCounters {
                link_control: tally(counters.link_control),
                unmatched: tally(counters.unmatched),
                unknown_source_passed: tally(counters.unknown_source_passed),
                forwarded: tally(counters.forwarded),
                dropped: by_reason(|slot| counters.dropped[slot]),
                ..InterfaceCounters::none(&interface.name, interface.side, interface.mode)
            }
        };
        self.interfaces.iter().map(counters).collect()
    }

    /// Registers an interface for counting. One that was registered under this index or this name keeps
    /// its counters.
    pub fn register(&mut self, interface: &Interface, ifindex: u32) -> Result<(), DataplaneError> {
        if ifindex >= IFINDEXES {
            return Err(DataplaneError::new(
                format!("registering interface {}", interface.name),
                format!("its index {ifindex} is beyond the table of {}", IFINDEXES),
                "Indexes grow with every interface that is made; they start again at 1 after a reboot",
            ));
        }
        let mut same_name =
            self.interfaces.iter().filter(|known| known.target.interface.name == interface.name);
        let slot = match (self.tables.interface_slot(ifindex), same_name.next()) {
            (0, Some(known)) => known.slot,
            (0, None) => {
                let slot = self.free_interface_slot(interface)?;
                self.tables.wipe_interface(slot);
                slot
            }
            (slot, _) => slot,
        };
        let flags = if interface.match_vlan { InterfaceEntry::MATCH_VLAN } else { 0 };
        let mac = mac_of(ifindex).unwrap_or_default();
        self.tables.set_interface(ifindex, InterfaceEntry { slot, flags, mac, reserved: 0 });
        self.forget_interfaces(|known| known.interface.name == interface.name && known.ifindex != ifindex);
        self.interfaces.retain(|known| known.target.ifindex != ifindex);
        self.interfaces.push(Registered { target: Target { interface: interface.clone(), ifindex }, slot });
        Ok(())
    }

    /// Lets the programs send out of an interface where they forward; where the stack does, sees that they do not.
    ///
    /// # Errors
    /// If it cannot take what they send: then they do not.
    pub fn open_egress(&mut self, interface: &Interface, ifindex: u32) -> Result<(), DataplaneError> {
        match self.forwarding {
            Forwarding::Stack => self.tables.egress.close(ifindex),
            Forwarding::Xdp => self.tables.egress.open(interface, ifindex)?,
        }
        Ok(())
    }

    /// Lets the programs send out of it no more.
    pub(super) fn close_egress(&mut self, ifindex: u32) {
        self.tables.egress.close(ifindex);
    }

    /// [`Self::open_egress`] for an interface that may have changed; what cannot be sent out of it, the stack forwards.
    pub(super) fn follow_egress(&mut self, target: &Target, is_new: bool) {
        if self.forwarding == Forwarding::Xdp {
            if let Some(mac) = mac_of(target.ifindex) {
                self.tables.set_mac(target.ifindex, mac);
            }
            self.tables.egress.follow(&target.interface, target.ifindex, is_new);
        }
    }

    /// Registers what was registered in `old` and does not exist now, so that its counters can move.
    pub(super) fn register_missing(&mut self, old: &Self, config: &Config) -> Result<(), DataplaneError> {
        let missing =
            config.interfaces.iter().filter(|interface| self.registered_as(&interface.name).is_none());
        let missing: Vec<_> = missing.filter_map(|interface| old.registered_as(&interface.name)).collect();
        missing.into_iter().try_for_each(|target| self.register(&target.interface, target.ifindex))
    }

    /// Forgets what older controllers registered, but for these interface indexes.
    pub(super) fn forget_interfaces_except(&mut self, ifindexes: &[u32]) {
        self.tables.egress.close_except(ifindexes);
        self.tables.forget_interfaces_except(ifindexes);
    }

    /// The opposite of [`Self::register`].
    pub(super) fn unregister(&mut self, ifindex: u32) {
        self.forget_interfaces(|known| known.ifindex == ifindex);
    }

    /// Forgets interfaces whose name is not wanted.
    pub(super) fn forget_interfaces_unless(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.forget_interfaces(|known| !is_wanted(&known.interface.name));
    }

    fn forget_interfaces(&mut self, is_over: impl Fn(&Target) -> bool) {
        for over in self.interfaces.extract_if(.., |known| is_over(&known.target)) {
            self.tables.egress.close(over.target.ifindex);
            self.tables.set_interface(over.target.ifindex, InterfaceEntry::default());
        }
    }

    /// What is registered under a name.
    pub(super) fn registered_as(&self, name: &str) -> Option<&Target> {
        let mut targets = self.interfaces.iter().map(|registered| &registered.target);
        targets.find(|target| target.interface.name == name)
    }

    /// What is registered under an interface index.
    pub(super) fn registered(&self, ifindex: u32) -> Option<&Target> {
        let mut targets = self.interfaces.iter().map(|registered| &registered.target);
        targets.find(|target| target.ifindex == ifindex)
    }

    /// Whether this very interface is registered, with the same settings.
    pub(super) fn is_registered(&self, target: &Target) -> bool {
        self.registered(target.ifindex).is_some_and(|registered| {
            let (a, b) = (&registered.interface, &target.interface);
            (&a.name, a.side, a.mode, a.match_vlan) == (&b.name, b.side, b.mode, b.match_vlan)
        })
    }

    /// Takes over the counters of the interfaces that `old` has, too.
    pub(super) fn move_interface_counters(&self, old: &Self) {
        for registered in &self.interfaces {
            let target = &registered.target;
            let same = |known: &&Registered| {
                known.target.interface.name == target.interface.name || known.target.ifindex == target.ifindex
            };
            if let Some(old_slot) = old.interfaces.iter().find(same).map(|known| known.slot) {
                self.tables.move_interface_counters(registered.slot, &old.tables, old_slot);
            }
        }
    }

    fn free_interface_slot(&self, interface: &Interface) -> Result<u32, DataplaneError> {
        let taken = self.tables.interface_slots();
        (1..INTERFACE_SLOTS).find(|slot| !taken.contains(slot)).ok_or_else(|| {
            DataplaneError::new(
                format!("registering interface {}", interface.name),
                format!("all {} places are taken", INTERFACE_SLOTS - 1),
                "Police fewer interfaces with one gateway",
            )
        })
    }
}
