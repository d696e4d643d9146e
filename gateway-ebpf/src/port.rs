//! Port policy (policy rules M1 and M3): a destination port maps to a service class, and each tenant
//! has an action per class and direction.

use bytemuck::{Pod, Zeroable};

use crate::bounded::masked;
use crate::{Direction, DropReason};

/// A group of ports that share an action; four bits wide in the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceClass(u8);

impl ServiceClass {
    /// How many there are.
    pub const COUNT: usize = 16;
    /// Ports without a rule.
    pub const NONE: Self = Self(0);
    /// TCP 25: mail relay.
    pub const RELAY: Self = Self(1);
    /// TCP 465, 587 and 2525: mail submission.
    pub const SUBMISSION: Self = Self(2);
    /// The first of the operator's own.
    pub const FIRST_OPERATOR: u8 = 3;

    /// The class with that number, masked to four bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & 15)
    }

    /// Its number, below [`Self::COUNT`].
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Why a packet to a closed port of this class is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        if self.0 < Self::FIRST_OPERATOR { DropReason::SmtpBlocked } else { DropReason::PortBlocked }
    }
}

/// What happens to a connection to a port of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Open.
    Allow = 0,
    /// Closed.
    Deny = 1,
    /// Open towards listed peers only.
    Peers = 2,
}

/// A tenant's actions for all classes in one direction, two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Actions(u32);

impl Actions {
    /// The action for `class`. The bit pattern 3 is never written; it counts as closed.
    #[inline(always)]
    #[must_use]
    pub const fn get(self, class: ServiceClass) -> Action {
        match (self.0 >> (class.0 * 2)) & 3 {
            0 => Action::Allow,
            2 => Action::Peers,
            _ => Action::Deny,
        }
    }

    /// The same with `action` for `class`.
    #[must_use]
    pub const fn with(self, class: ServiceClass, action: Action) -> Self {
        let shift = class.0 * 2;
        Self(self.0 & !(3 << shift) | (action as u32) << shift)
    }
}

/// A rule that a packet falls under: connections of `class` opened in `direction`. There is none for
/// [`ServiceClass::NONE`], which is always open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Class of the port.
    pub class: ServiceClass,
    /// Direction in which the connection was opened.
    pub direction: Direction,
}

/// The rules that a packet falls under, all of which must let it pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// For the connection that the packet may open, by its destination port.
    pub opens: Rule,
    /// For the connection to a mail relay that a packet from port 25 claims to answer. It was opened the
    /// other way, and the packet is as welcome as it. This is what stops mail over asymmetric paths,
    /// where the spammer's packets leave by another network and only the answers, from source port 25,
    /// come in here; whatever port the spammer chose for itself.
    pub answers: Rule,
}

/// The rules for a packet that travels in `direction` between ports of these classes.
#[inline(always)]
#[must_use]
pub fn rules(direction: Direction, source: ServiceClass, destination: ServiceClass) -> Rules {
    let answered = if source == ServiceClass::RELAY { source } else { ServiceClass::NONE };
    Rules {
        opens: Rule { class: destination, direction },
        answers: Rule { class: answered, direction: direction.opposite() },
    }
}

impl Rules {
    /// Whether the packet is mail, on its way to a relay or submission port or back from a relay.
    #[inline(always)]
    #[must_use]
    pub fn is_mail(&self) -> bool {
        let Self { opens, answers } = self;
        [opens.class, answers.class]
            .iter()
            .any(|class| *class == ServiceClass::RELAY || *class == ServiceClass::SUBMISSION)
    }
}

/// Ports of one protocol, as far as their last six bits tell: no port whose bit is unset is among them. Few ports have
/// a class; to look for that of every packet would bring words of [`PortClasses`] all over 32 KB into the caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct PortFilter(u64);

impl PortFilter {
    /// No port.
    pub const NONE: Self = Self(0);

    /// Whether one of the ports may be among them.
    #[inline(always)]
    #[must_use]
    pub const fn may_have(self, [one, other]: [u16; 2]) -> bool {
        (self.0 >> (one & 63) | self.0 >> (other & 63)) & 1 != 0
    }
}

/// Service classes of all ports of one protocol, four bits each, sixteen to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct PortClasses(pub [u64; 4096]);

impl PortClasses {
    /// The class of `port`.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, port: u16) -> ServiceClass {
        let word = self.0[masked::<0xfff>(u32::from(port >> 4))];
        ServiceClass::new((word >> ((port & 15) * 4)) as u8)
    }

    /// Sets the class of `port`.
    pub const fn set(&mut self, port: u16, class: ServiceClass) {
        let (word, shift) = ((port >> 4) as usize, (port & 15) * 4);
        self.0[word] = self.0[word] & !(15 << shift) | (class.number() as u64) << shift;
    }

    /// The ports that have a class.
    #[must_use]
    pub fn filter(&self) -> PortFilter {
        let classed = (0..=u16::MAX).filter(|port| self.get(*port) != ServiceClass::NONE);
        PortFilter(classed.fold(0, |bits, port| bits | 1 << (port & 63)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_keep_to_their_class() {
        let all = (0..16).fold(Actions::default(), |a, n| a.with(ServiceClass::new(n), Action::Peers));
        let one = all.with(ServiceClass::RELAY, Action::Deny).with(ServiceClass::new(15), Action::Allow);
        assert_eq!(one.get(ServiceClass::RELAY), Action::Deny);
        assert_eq!(one.get(ServiceClass::new(15)), Action::Allow);
        assert_eq!(one.get(ServiceClass::SUBMISSION), Action::Peers);
        assert_eq!(one.get(ServiceClass::NONE), Action::Peers);
    }

    #[test]
    fn an_unknown_action_is_closed() {
        assert_eq!(Actions(u32::MAX).get(ServiceClass::RELAY), Action::Deny);
    }

    #[test]
    fn answers_from_port_25_fall_under_the_connection_they_answer() {
        let [outward, inward] =
            [Direction::Up, Direction::Down].map(|direction| Rule { class: ServiceClass::RELAY, direction });
        let none = |direction| Rule { class: ServiceClass::NONE, direction };
        let answer = rules(Direction::Down, ServiceClass::RELAY, ServiceClass::NONE);
        assert_eq!(answer, Rules { opens: none(Direction::Down), answers: outward });
        // From 25 to 25 it may be either.
        let either = rules(Direction::Down, ServiceClass::RELAY, ServiceClass::RELAY);
        assert_eq!(either, Rules { opens: inward, answers: outward });
        // A spammer that sends from a port with a rule of its own gets no answer either.
        let submission = rules(Direction::Down, ServiceClass::RELAY, ServiceClass::SUBMISSION);
        assert_eq!(submission.answers, outward);
        // Only mail relays: other closed ports are ordinary source ports elsewhere.
        let other = rules(Direction::Down, ServiceClass::new(5), ServiceClass::NONE);
        assert_eq!(other, Rules { opens: none(Direction::Down), answers: none(Direction::Up) });
        assert!(answer.is_mail() && either.is_mail() && submission.is_mail() && !other.is_mail());
    }

    #[test]
    fn port_classes_keep_to_their_port() {
        let mut classes = PortClasses([0; 4096]);
        classes.set(25, ServiceClass::RELAY);
        classes.set(24, ServiceClass::new(15));
        classes.set(65_535, ServiceClass::SUBMISSION);
        assert_eq!(classes.get(25), ServiceClass::RELAY);
        assert_eq!(classes.get(24), ServiceClass::new(15));
        assert_eq!(classes.get(26), ServiceClass::NONE);
        assert_eq!(classes.get(65_535), ServiceClass::SUBMISSION);
        classes.set(24, ServiceClass::NONE);
        assert_eq!(classes.get(24), ServiceClass::NONE);
        assert_eq!(classes.get(25), ServiceClass::RELAY);
    }

    #[test]
    fn filters_miss_no_port_that_has_a_class() {
        let mut classes = PortClasses([0; 4096]);
        assert_eq!(classes.filter(), PortFilter::NONE);
        for port in [25, 465, 65_535] {
            classes.set(port, ServiceClass::RELAY);
        }
        let filter = classes.filter();
        for port in (0..=u16::MAX).filter(|port| classes.get(*port) != ServiceClass::NONE) {
            assert!(filter.may_have([port, 80]) && filter.may_have([80, port]), "{port}");
        }
        assert!(!filter.may_have([80, 443]));
    }
}
