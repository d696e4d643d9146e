//! The stable key of a tenant.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// 1 to 63 characters of `a-z`, `0-9` and `-`: a label in metrics, part of a file's name, an argument of commands. A
/// clone costs a counter, however many there are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTenantId {
    /// A character that none has.
    #[error("contains {0:?}")]
    Character(char),
    /// Empty, or over 63 characters.
    #[error("{0} characters long")]
    Length(usize),
}

impl TenantId {
    /// Characters of the longest.
    pub const MAX_LENGTH: usize = 63;

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = NoTenantId;

    fn from_str(text: &str) -> Result<Self, NoTenantId> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(other) = text.chars().find(|&c| !allowed(c)) {
            return Err(NoTenantId::Character(other));
        }
        if !(1..=Self::MAX_LENGTH).contains(&text.len()) {
            return Err(NoTenantId::Length(text.len()));
        }
        Ok(Self(text.into()))
    }
}

impl Deref for TenantId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// So that a map by id is looked up by text.
impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for TenantId {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for TenantId {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn only_what_is_written_everywhere_alike_is_an_id() {
        let longest = "a".repeat(63);
        for text in ["a", "0", "-", "acme-2", &longest] {
            assert_eq!(text.parse::<TenantId>().unwrap(), *text);
        }
        let refused = |text: &str| text.parse::<TenantId>().unwrap_err().to_string();
        assert_eq!(refused(""), "0 characters long");
        assert_eq!(refused(&"a".repeat(64)), "64 characters long");
        for (text, character) in
            [("Acme", 'A'), ("a b", ' '), ("a_b", '_'), ("\u{e4}", '\u{e4}'), ("../a", '.')]
        {
            assert_eq!(refused(text), format!("contains {character:?}"));
        }
    }

    #[test]
    fn a_map_by_id_is_looked_up_by_text() {
        let acme: TenantId = "acme".parse().unwrap();
        let map = HashMap::from([(acme, 1)]);
        assert_eq!((map.get("acme"), map.get("beta")), (Some(&1), None));
    }
}
