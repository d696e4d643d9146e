//! What differs between two policies, told so that an operator sees what a reload would do.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// One difference between two views.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Whose: "tenant acme", "interface eth1", "closed port smb", or a section such as "fair_use".
    pub subject: String,
    /// What of it, as a dotted key; none if the subject itself came or went.
    pub key: Option<String>,
    /// What was there; none if it was added.
    pub old: Option<Value>,
    /// What is there now; none if it was removed.
    pub new: Option<Value>,
}

/// Sections whose entries are subjects of their own, and how they are called.
const KEYED: [(&str, &str); 3] =
    [("interfaces", "interface"), ("closed_ports", "closed port"), ("tenants", "tenant")];

/// Lists whose entries are known by their ticket, and how they are called.
const TICKETED: [(&str, &str); 2] = [("smtp_exemptions", "smtp exemption"), ("allow", "allowance")];

/// What came, went or changed from `old` to `new`, both made by [`super::view()`], by section and name.
/// The order within lists does not matter: entries come and go one by one.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for (section, old, new) in pairs(Some(old), Some(new)) {
        match KEYED.iter().find(|(name, _)| *name == section) {
            Some((_, noun)) => {
                for (name, old, new) in pairs(old, new) {
                    compare(&format!("{noun} {name}"), None, old, new, &mut changes);
                }
            }
            None => compare(section, None, old, new, &mut changes),
        }
    }
    changes
}

/// The values of two objects by key; what is null is as good as left out.
fn pairs<'v>(
    old: Option<&'v Value>,
    new: Option<&'v Value>,
) -> impl Iterator<Item = (&'v str, Option<&'v Value>, Option<&'v Value>)> {
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let keys: BTreeSet<_> = old.into_iter().chain(new).flat_map(Map::keys).collect();
    let value = |object: Option<&'v Map<_, _>>, key| object?.get(key).filter(|value| !value.is_null());
    keys.into_iter().map(move |key| (key.as_str(), value(old, key), value(new, key)))
}

fn compare(
    subject: &str,
    key: Option<&str>,
    old: Option<&Value>,
    new: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    let change = |old: Option<&Value>, new: Option<&Value>| Change {
        subject: subject.to_owned(),
        key: key.map(str::to_owned),
        old: old.cloned(),
        new: new.cloned(),
    };
    match (old, new) {
        _ if old == new => {}
        (Some(Value::Object(_)), Some(Value::Object(_))) => {
            for (name, old, new) in pairs(old, new) {
                let key = key.map_or_else(|| name.to_owned(), |key| format!("{key}.{name}"));
                compare(subject, Some(&key), old, new, changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            if let Some((_, noun)) = TICKETED.iter().find(|(name, _)| key == Some(*name)) {
                let (old, new) = (by_ticket(old), by_ticket(new));
                for (ticket, old, new) in pairs(Some(&old), Some(&new)) {
                    compare(subject, Some(&format!("{noun} {ticket}")), old, new, changes);
                }
                return;
            }
            changes.extend(
                old.iter().filter(|entry| !new.contains(entry)).map(|entry| change(Some(entry), None)),
            );
            changes.extend(
                new.iter().filter(|entry| !old.contains(entry)).map(|entry| change(None, Some(entry))),
            );
        }
        _ => changes.push(change(old, new)),
    }
}

/// Exemptions keyed by their ticket, numbered where one ticket justifies several.
fn by_ticket(exemptions: &[Value]) -> Value {
    let mut keyed = Map::new();
    for exemption in exemptions {
        let ticket = exemption["ticket"].as_str().unwrap_or_default();
        let names = std::iter::once(ticket.to_owned()).chain((2..).map(|nth| format!("{ticket} ({nth})")));
        if let Some(name) = names.into_iter().find(|name| !keyed.contains_key(name)) {
            keyed.insert(name, exemption.clone());
        }
    }
    Value::Object(keyed)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject)?;
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{} -> {}", text(old), text(new)),
            (None, Some(new)) => f.write_str(&with_essence(new, "added")),
            (Some(old), None) => f.write_str(&with_essence(old, "removed")),
            (None, None) => Ok(()),
        }
    }
}

/// "added", with what of a value tells the most.
fn with_essence(value: &Value, what: &str) -> String {
    let Value::Object(entries) = value else { return format!("{} {what}", text(value)) };
    match ["prefixes", "ports", "side", "listen"].iter().find_map(|key| entries.get(*key)) {
        Some(essence) => format!("{what} ({})", text(essence)),
        None => what.to_owned(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(old: &Value, new: &Value) -> Vec<String> {
        changes(old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_difference_is_one_line() {
        let exemption = |expires| json!({ "ticket": "SMTP-4711", "expires": expires, "peers": [] });
        let old = json!({
            "version": 1,
            "fair_use": { "ceiling": "10 Mbit/s" },
            "metrics": { "listen": "127.0.0.1:9464" },
            "tenants": {
                "acme": { "cap": { "up": "10 Mbit/s", "down": "10 Mbit/s" }, "prefixes": ["203.0.113.0/28"] },
                "beta": { "relay": false, "vlan": null, "smtp_exemptions": [exemption("2027-01-01")] },
                "corp": { "smtp_exemptions": [exemption("2027-01-01")] },
                "gone": { "prefixes": ["198.51.100.0/28", "2001:db8:1::/48"] },
            },
        });
        let new = json!({
            "version": 1,
            "fair_use": { "ceiling": "20 Mbit/s" },
            "metrics": null,
            "tenants": {
                "acme": { "cap": { "up": "5 Mbit/s", "down": "10 Mbit/s" }, "prefixes": ["203.0.113.32/28"] },
                "beta": { "relay": true, "vlan": "200.110", "smtp_exemptions": [] },
                "corp": { "smtp_exemptions": [exemption("2028-01-01"), exemption("2029-01-01")] },
                "zeta": { "prefixes": ["203.0.113.16/28"] },
            },
        });
        let expected = [
            "fair_use: ceiling 10 Mbit/s -> 20 Mbit/s",
            "metrics: removed (127.0.0.1:9464)",
            "tenant acme: cap.up 10 Mbit/s -> 5 Mbit/s",
            "tenant acme: prefixes 203.0.113.0/28 removed",
            "tenant acme: prefixes 203.0.113.32/28 added",
            "tenant beta: relay false -> true",
            "tenant beta: smtp exemption SMTP-4711 removed",
            "tenant beta: vlan 200.110 added",
            "tenant corp: smtp exemption SMTP-4711.expires 2027-01-01 -> 2028-01-01",
            "tenant corp: smtp exemption SMTP-4711 (2) added",
            "tenant gone: removed (198.51.100.0/28, 2001:db8:1::/48)",
            "tenant zeta: added (203.0.113.16/28)",
        ];
        assert_eq!(told(&old, &new), expected);
        assert_eq!(told(&new, &new), [""; 0]);
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let tenant = |prefixes: [&str; 2]| json!({ "tenants": { "acme": { "prefixes": prefixes } } });
        let (one, other) = (["192.0.2.0/28", "192.0.2.16/28"], ["192.0.2.16/28", "192.0.2.0/28"]);
        assert_eq!(told(&tenant(one), &tenant(other)), [""; 0]);
    }

    #[test]
    fn a_change_says_in_json_what_was_and_what_is() {
        let ceiling = |rate| json!({ "fair_use": { "ceiling": rate } });
        let changes = serde_json::to_value(changes(&ceiling("1 Mbit/s"), &ceiling("2 Mbit/s"))).unwrap();
        let expected =
            json!([{ "subject": "fair_use", "key": "ceiling", "old": "1 Mbit/s", "new": "2 Mbit/s" }]);
        assert_eq!(changes, expected);
    }
}
