//! What became of an interface between two looks at it.

use std::fmt;

use super::{Link, feature};

/// Features whose change matters to policing.
const WATCHED: [&str; 3] = [feature::RX_VLAN, feature::RX_VLAN_STAG, feature::LRO];

/// One change of an interface of a given name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Appeared,
    /// It is no longer there.
    Vanished,
    /// The name belongs to another interface now.
    Replaced,
    /// Switched on or off.
    Up(bool),
    /// Its MTU, in bytes.
    Mtu {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// A feature of its driver, switched on or off.
    Feature(&'static str, bool),
}

/// What happened between two looks at the interface of one name.
#[must_use]
pub fn changes(before: Option<&Link>, now: Option<&Link>) -> Vec<Change> {
    let (before, now) = match (before, now) {
        (None, None) => return Vec::new(),
        (None, Some(_)) => return vec![Change::Appeared],
        (Some(_), None) => return vec![Change::Vanished],
        (Some(before), Some(now)) => (before, now),
    };
    let mut changes = Vec::new();
    if before.ifindex != now.ifindex {
        changes.push(Change::Replaced);
    }
    if before.is_up != now.is_up {
        changes.push(Change::Up(now.is_up));
    }
    if before.mtu_bytes != now.mtu_bytes {
        changes.push(Change::Mtu { from: before.mtu_bytes, to: now.mtu_bytes });
    }
    let switched = WATCHED.into_iter().filter(|name| before.has(name) != now.has(name));
    changes.extend(switched.map(|name| Change::Feature(name, now.has(name))));
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_off = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Appeared => write!(f, "appeared"),
            Self::Vanished => write!(f, "vanished"),
            Self::Replaced => write!(f, "was replaced by another of the same name"),
            Self::Up(up) => write!(f, "was switched {}", on_off(*up)),
            Self::Mtu { from, to } => write!(f, "MTU {from} -> {to}"),
            Self::Feature(name, on) => write!(f, "{name} {} -> {}", on_off(!on), on_off(*on)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link { name: "eth1".into(), ifindex: 7, is_up: true, mtu_bytes: 1_500, ..Link::default() }
    }

    fn told(before: Option<&Link>, now: Option<&Link>) -> Vec<String> {
        changes(before, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn coming_and_going_is_all_there_is_to_say() {
        let link = link();
        assert_eq!(told(None, Some(&link)), ["appeared"]);
        assert_eq!(told(Some(&link), None), ["vanished"]);
        assert!(told(None, None).is_empty() && told(Some(&link), Some(&link)).is_empty());
    }

    #[test]
    fn old_and_new_values_are_told() {
        let before = link();
        let features = Some([feature::RX_VLAN.to_owned(), "tx-udp-segmentation".to_owned()].into());
        let now = Link { ifindex: 9, is_up: false, mtu_bytes: 9_000, features, ..before.clone() };
        assert_eq!(
            told(Some(&before), Some(&now)),
            [
                "was replaced by another of the same name",
                "was switched off",
                "MTU 1500 -> 9000",
                "rx-vlan-hw-parse off -> on"
            ]
        );
        assert_eq!(told(Some(&now), Some(&before)).last().unwrap(), "rx-vlan-hw-parse on -> off");
    }
}
