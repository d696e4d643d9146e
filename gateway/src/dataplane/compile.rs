//! A whole policy compiled for the tables in use, beside whoever decides: that of 100,000 tenants takes 50 ms, to
//! switch to it 20.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_ebpf::lookup::Slot;

use super::capacity::Capacity;
use super::image::Image;
use super::index::Index;
use super::slots::Slots;
use crate::config::{Config, Tenant};
use crate::policy::Effective;

/// What policies are compiled for: which tenants have which slots, and how much fits.
#[derive(Clone)]
pub(super) struct Layout {
    /// Tenants in the config's order, which is that of their ids.
    pub(super) tenants: Arc<Vec<(Arc<Tenant>, Slot)>>,
    pub(super) slots: Arc<Slots>,
    pub(super) capacity: Capacity,
    pub(super) index: Option<Arc<Index>>,
}

/// A policy compiled for the tables of one engine, not in force yet.
pub(super) struct Prepared {
    pub(super) image: Image,
    /// Tenants that are to take the next free slots.
    pub(super) new: Vec<Arc<Tenant>>,
    /// The layout's.
    tenants: Arc<Vec<(Arc<Tenant>, Slot)>>,
}

/// Compiles one policy.
pub struct Compiler(Option<Layout>);

/// What came of it.
pub struct Compiled {
    pub(super) prepared: Option<Prepared>,
    pub(super) took: Duration,
}

impl Compiler {
    pub(super) fn new(layout: Layout) -> Self {
        Self(Some(layout))
    }

    /// Of a data plane that has nothing to compile.
    #[must_use]
    pub fn idle() -> Self {
        Self(None)
    }

    /// Compiles it, if it fits the tables.
    #[must_use]
    pub fn compile(self, policy: &Effective) -> Compiled {
        let started = Instant::now();
        let prepared = self.0.and_then(|layout| layout.prepare(policy));
        Compiled { prepared, took: started.elapsed() }
    }
}

impl Prepared {
    /// Whether it was compiled for the tenants that have slots now.
    pub(super) fn is_for(&self, layout: &Layout) -> bool {
        Arc::ptr_eq(&self.tenants, &layout.tenants)
    }
}

impl Layout {
    /// Compiles a policy; none if it does not fit.
    pub(super) fn prepare(&self, policy: &Effective) -> Option<Prepared> {
        let (slots, new) = self.find_slots(policy.config())?;
        let image = Image::compile(policy, &slots, self.index.as_ref());
        let tenants = Arc::clone(&self.tenants);
        self.capacity.fits(&image).then_some(Prepared { image, new, tenants })
    }

    /// The slots of a config's tenants, and who of them is new; none if they are too many.
    fn find_slots(&self, config: &Config) -> Option<(Vec<Slot>, Vec<Arc<Tenant>>)> {
        let (mut slots, mut new) = (Vec::with_capacity(config.tenants.len()), Vec::new());
        let mut free = self.slots.free();
        // Both are sorted by id, and most tenants are the very same.
        let mut known = self.tenants.iter().peekable();
        for tenant in &config.tenants {
            let is_same = |(known, _): &&(Arc<Tenant>, Slot)| Arc::ptr_eq(known, tenant);
            if let Some((_, slot)) = known.next_if(is_same) {
                slots.push(*slot);
                continue;
            }
            while known.next_if(|(known, _)| known.id <= tenant.id).is_some() {}
            let slot = match self.slots.get(&tenant.id) {
                Some(slot) => slot,
                None => {
                    new.push(Arc::clone(tenant));
                    free.next()?
                }
            };
            slots.push(slot);
        }
        Some((slots, new))
    }
}
