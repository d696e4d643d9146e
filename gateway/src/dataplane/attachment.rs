//! Where the data plane is attached: interfaces that are configured, found, lost and found again.
//!
//! An attachment belongs to a name, for that is what the operator wrote; the kernel's index behind it
//! may change. Counters go with the name.

use super::error::DataplaneError;
use super::pins::LinkPin;
use super::{Dataplane, links};
use crate::config::Interface;
use crate::link::name_of;

/// An interface that [`Dataplane::follow_interfaces`] attached to, or could not.
#[derive(Debug)]
pub struct Followed {
    /// Its name.
    pub interface: String,
    /// Whether it is policed now.
    pub outcome: Result<(), DataplaneError>,
}

/// How to go back when attaching failed halfway.
#[derive(Default)]
pub(super) struct Undo {
    /// Interface indexes that were registered, or registered anew.
    registered: Vec<u32>,
    /// Links that were made.
    made: Vec<LinkPin>,
    /// What was there instead.
    before: Vec<Target>,
}

/// A configured interface and its index of the moment.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) interface: Interface,
    pub(super) ifindex: u32,
}

impl Dataplane {
    /// Attaches to configured interfaces that came back, or whose program was taken off; their counters
    /// go on. To be called whenever interfaces may have changed; where all is well, nothing happens.
    ///
    /// A renamed interface stays policed: traffic must not slip through because of a name. After the
    /// bypass ([`Self::detach_pinned`]), nothing is attached any more.
    ///
    /// Returns what there was to do, one by one: the trouble of one interface is no other's.
    pub fn follow_interfaces(&mut self) -> Vec<Followed> {
        if self.is_bypassed() {
            return Vec::new();
        }
        let targets = self.locate(&self.interfaces);
        let mut followed = Vec::new();
        for target in &targets {
            let attached = self.attach_one(target);
            if matches!(attached, Ok(true)) && self.is_bypassed() {
                // The bypass came in between, and may not have seen this one.
                if let Err(error) = links::remove(&self.pins.link(target.ifindex, target.interface.mode)) {
                    tracing::error!(%error, "detaching for the bypass");
                }
                return followed;
            }
            if let Ok(is_new) = attached {
                self.engine.follow_egress(target, is_new);
            }
            let outcome = match attached {
                Ok(false) => continue,
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            followed.push(Followed { interface: target.interface.name.clone(), outcome });
        }
        if let Err(error) = self.detach_others(&targets) {
            tracing::warn!(%error, "letting go of interfaces that are gone");
        }
        followed
    }

    /// Whether [`Self::detach_pinned`] was called meanwhile: nothing is pinned any more, nor attached.
    pub(super) fn is_bypassed(&self) -> bool {
        !self.generation.dir.exists()
    }

    /// Where these interfaces are now, by name; one that was renamed is where it was.
    pub(super) fn locate(&self, interfaces: &[Interface]) -> Vec<Target> {
        let target = |interface: &Interface| {
            let renamed = || {
                let known = self.engine.registered_as(&interface.name)?.ifindex;
                let taken = interfaces.iter().any(|other| links::ifindex(other).is_ok_and(|at| at == known));
                (name_of(known).is_some() && !taken).then_some(known)
            };
            let ifindex = links::ifindex(interface).ok().or_else(renamed)?;
            Some(Target { interface: interface.clone(), ifindex })
        };
        interfaces.iter().filter_map(target).collect()
    }

    /// Attaches to all targets that are not attached as wanted; says what to undo.
    pub(super) fn attach(&mut self, targets: &[Target]) -> Result<Undo, DataplaneError> {
        let mut undo = Undo::default();
        for target in targets {
            if self.engine.is_registered(target) {
                continue;
            }
            undo.before.extend(self.engine.registered(target.ifindex).cloned());
            undo.before.extend(self.engine.registered_as(&target.interface.name).cloned());
            undo.registered.push(target.ifindex);
            let attached = self.attach_one(target);
            if matches!(attached, Ok(true)) {
                undo.made.push(self.pins.link(target.ifindex, target.interface.mode));
            }
            // Afterwards: many drivers can send for XDP only while they run a program themselves.
            if let Err(error) = attached.and_then(|_| self.open_egress(target)) {
                self.undo(undo);
                return Err(error);
            }
        }
        Ok(undo)
    }

    fn open_egress(&mut self, target: &Target) -> Result<(), DataplaneError> {
        self.engine.open_egress(&target.interface, target.ifindex)
    }

    /// Says whether there was no living link before.
    fn attach_one(&mut self, target: &Target) -> Result<bool, DataplaneError> {
        if !self.engine.is_registered(target) {
            self.engine.register(&target.interface, target.ifindex)?;
        }
        links::attach(self.engine.program(target.interface.side)?, &self.pins, target)
    }

    pub(super) fn reattach(&mut self, targets: &[Target]) -> Result<(), DataplaneError> {
        targets.iter().try_for_each(|target| {
            self.attach_one(target)?;
            self.open_egress(target)
        })
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        for pin in &undo.made {
            if let Err(error) = links::remove(pin) {
                tracing::error!(%error, "undoing an attachment");
            }
        }
        for target in &undo.before {
            // Its counters move back with the registration, wherever the interface is now.
            let back = self.engine.register(&target.interface, target.ifindex);
            let back = back.and_then(|()| match name_of(target.ifindex) {
                Some(_) => self.attach_one(target).and_then(|_| self.open_egress(target)),
                None => Ok(()),
            });
            if let Err(error) = back {
                tracing::error!(%error, "going back to the old attachment");
            }
        }
        let is_new = |ifindex: &u32| !undo.before.iter().any(|target| target.ifindex == *ifindex);
        undo.registered.into_iter().filter(is_new).for_each(|ifindex| self.engine.unregister(ifindex));
    }

    pub(super) fn is_attached(&self, target: &Target) -> bool {
        self.pins.link(target.ifindex, target.interface.mode).path.exists()
    }

    /// Detaches from everything but the targets, and forgets interfaces that are no longer configured.
    pub(super) fn detach_others(&mut self, targets: &[Target]) -> Result<(), DataplaneError> {
        let pinned = if self.is_bypassed() { Vec::new() } else { self.pins.links()? };
        let is_wanted = |pin: &LinkPin| targets.iter().any(|target| target.ifindex == pin.ifindex);
        let others: Vec<_> = pinned.into_iter().filter(|pin| !is_wanted(pin)).collect();
        // Many drivers cease to send for XDP with their own program.
        others.iter().for_each(|pin| self.engine.close_egress(pin.ifindex));
        let removed = others.iter().map(links::remove).fold(Ok(()), Result::and);
        let interfaces = &self.interfaces;
        self.engine
            .forget_interfaces_unless(|name| interfaces.iter().any(|interface| interface.name == name));
        removed
    }

    /// Whether the interface that has this name now is policed.
    pub(super) fn is_policed(&self, interface: &Interface) -> bool {
        let registered = self.engine.registered_as(&interface.name);
        registered.is_some_and(|target| {
            self.is_attached(target) && links::ifindex(interface).is_ok_and(|now| now == target.ifindex)
        })
    }
}
