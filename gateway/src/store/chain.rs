//! The chain of entries: what is hashed, and how (docs/ledger.md).
//!
//! ```text
//! body digest = SHA-256(salt, body)
//! digest      = SHA-256(the entry's header as JSON, keys sorted, without spaces; the body digest is in it)
//! hash        = SHA-256(hash of the entry before, digest)
//! ```
//!
//! A body can be removed and the chain still verifies; and an entry that an export leaves out is proven by
//! its digest alone, which gives nothing of it away.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::BootTime;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Where a chain ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last entry; 0: there is none.
    pub number: u64,
    /// Its hash; before the first entry, zeros.
    pub hash: Hash,
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 for the first entry.
    pub number: u64,
    /// When it happened, by the wall clock.
    pub at: Timestamp,
    /// The same by the boot clock.
    pub boot: Option<BootTime>,
    /// Who did it.
    pub actor: String,
    /// How the actor came in.
    pub way: String,
    /// What the actor may do.
    pub role: Option<String>,
    /// Id of the tenant.
    pub tenant: Option<String>,
    /// See [`super::Fact::kind`].
    pub kind: String,
    /// SHA-256 of the configuration in force, lower-case hex; empty: not known.
    pub config_digest: String,
    /// See the module.
    pub body_digest: Hash,
}

/// As it is hashed and exported. The fields are in the order of their names.
#[derive(Serialize)]
struct Hashed<'a> {
    actor: &'a str,
    at: String,
    body: String,
    boot: Option<&'a str>,
    boot_us: Option<u64>,
    config: &'a str,
    kind: &'a str,
    number: u64,
    role: Option<&'a str>,
    tenant: Option<&'a str>,
    way: &'a str,
}

impl Header {
    /// As it is hashed: JSON, keys sorted, without spaces.
    #[must_use]
    pub fn canonical(&self) -> String {
        let hashed = Hashed {
            actor: &self.actor,
            at: time(self.at),
            body: hex(&self.body_digest),
            boot: self.boot.as_ref().map(|boot| boot.id.as_str()),
            boot_us: self.boot.as_ref().map(|boot| boot.us),
            config: &self.config_digest,
            kind: &self.kind,
            number: self.number,
            role: self.role.as_deref(),
            tenant: self.tenant.as_deref(),
            way: &self.way,
        };
        // Strings and numbers: it cannot fail to become JSON.
        serde_json::to_string(&hashed).unwrap_or_default()
    }

    /// The digest of all but the chain.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::digest(self.canonical()).into()
    }
}

/// The hash of the entry with this digest.
#[must_use]
pub fn link(previous: &Hash, digest: &Hash) -> Hash {
    Sha256::new().chain_update(previous).chain_update(digest).finalize().into()
}

/// The digest of a body.
#[must_use]
pub fn body_digest(salt: &[u8], body: &str) -> Hash {
    Sha256::new().chain_update(salt).chain_update(body).finalize().into()
}

/// A time as it is hashed: to the microsecond, always.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hex; none: it is none.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase());
    if digits.len().is_multiple_of(2) && is_hex { digits.chunks(2).map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            number: 7,
            at: Timestamp::from_microsecond(1_790_000_000_000_001).unwrap(),
            boot: Some(BootTime { id: "5f".into(), us: 42 }),
            actor: "j.doe".into(),
            way: "socket".into(),
            role: Some("operate".into()),
            tenant: Some("acme".into()),
            kind: "suspended".into(),
            config_digest: "ab".into(),
            body_digest: [0xcd; 32],
        }
    }

    /// What an auditor's own program has to come to as well: `python3 -c "import hashlib; …"` agrees.
    #[test]
    fn the_canonical_form_is_json_with_sorted_keys() {
        let canonical = header().canonical();
        let sorted: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        assert_eq!(serde_json::to_string(&sorted).unwrap(), canonical);
        let body = "cd".repeat(32);
        assert_eq!(
            canonical,
            format!(
                r#"{{"actor":"j.doe","at":"2026-09-21T14:13:20.000001Z","body":"{body}","boot":"5f","boot_us":42,"config":"ab","kind":"suspended","number":7,"role":"operate","tenant":"acme","way":"socket"}}"#
            )
        );
    }

    #[test]
    fn every_field_counts() {
        let digest = header().digest();
        let changes: [fn(&mut Header); 9] = [
            |header| header.number = 8,
            |header| header.at += jiff::SignedDuration::from_micros(1),
            |header| header.boot = None,
            |header| header.actor.push('x'),
            |header| header.way = "token".into(),
            |header| header.role = None,
            |header| header.tenant = None,
            |header| header.kind = "restored".into(),
            |header| header.body_digest[31] ^= 1,
        ];
        for change in changes {
            let mut changed = header();
            change(&mut changed);
            assert_ne!(changed.digest(), digest, "{changed:?}");
        }
        assert_ne!(link(&[0; 32], &digest), link(&[1; 32], &digest));
        assert_ne!(body_digest(b"a", "{}"), body_digest(b"b", "{}"));
    }

    #[test]
    fn hex_is_read_back() {
        assert_eq!(unhex(&hex(&[0, 0xab, 0xff])), Some(vec![0, 0xab, 0xff]));
        assert_eq!((unhex("0"), unhex("zz"), unhex("AB"), unhex("é1")), (None, None, None, None));
    }
}
