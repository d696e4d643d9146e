//! Acts over the control socket, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::control::{Answer, post};

const SCOPES: [&str; 3] = ["mail", "outbound", "everything"];

/// What a scope forbids, as the kernel's bits.
pub(super) fn bits(scopes: &BTreeSet<String>) -> u32 {
    (0..).zip(SCOPES).filter(|(_, scope)| scopes.contains(*scope)).map(|(bit, _)| 1 << bit).sum()
}

/// Suspends and restores one tenant, and remembers what was answered.
pub(super) struct Actor {
    pub(super) tenant: &'static str,
    random: fastrand::Rng,
    /// By scope, whether it is suspended; none: the last act was cut off.
    expected: BTreeMap<&'static str, Option<bool>>,
    acts: u64,
    /// Reasons, of which every act has one of its own.
    pub(super) acknowledged: Vec<String>,
    pub(super) cut_off: Vec<String>,
    pub(super) refused: Vec<String>,
}

impl Actor {
    pub(super) fn new(tenant: &'static str, random: fastrand::Rng) -> Self {
        Self {
            tenant,
            random,
            expected: SCOPES.map(|scope| (scope, Some(false))).into(),
            acts: 0,
            acknowledged: Vec::new(),
            cut_off: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Acts until it is over, or an answer does not come.
    pub(super) fn act(&mut self, socket: &Path, is_over: &AtomicBool) {
        while !is_over.load(Relaxed) {
            let scope = SCOPES[self.random.usize(0..SCOPES.len())];
            let Some(is_suspended) = self.expected[scope] else { return };
            let (tenant, act) = (self.tenant, if is_suspended { "restore" } else { "suspend" });
            self.acts += 1;
            let reason = format!("{tenant} {}", self.acts);
            let body = json!({ "scope": scope, "reason": reason });
            let (list, expected, ends) = match post(socket, &format!("/v1/tenants/{tenant}/{act}"), &body) {
                Answer::Done => (&mut self.acknowledged, Some(!is_suspended), false),
                Answer::Refused => (&mut self.refused, Some(is_suspended), false),
                Answer::CutOff => (&mut self.cut_off, None, true),
            };
            list.push(reason);
            self.expected.insert(scope, expected);
            if ends {
                return;
            }
        }
    }

    /// Compares with the scopes that are suspended in fact, and goes on from them.
    pub(super) fn compare(&mut self, scopes: &BTreeSet<String>) -> Result<()> {
        for (scope, expected) in &mut self.expected {
            let is = scopes.contains(*scope);
            ensure!(
                expected.is_none_or(|expected| expected == is),
                "{} was answered that {scope} is suspended: {expected:?}; it is: {is}",
                self.tenant
            );
            *expected = Some(is);
        }
        ensure!(self.refused.is_empty(), "acts were refused: {:?}", self.refused);
        Ok(())
    }
}
