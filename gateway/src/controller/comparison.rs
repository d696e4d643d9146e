//! Store, controller and kernel are compared once a minute: where they differ, the store's decisions hold.

use super::{Controller, offences};
use crate::policy::Overrides;
use crate::store::{self, StoreError};

impl Controller {
    /// Puts right what differs from what the store has on the disk. Blocks.
    pub fn compare(&self) -> Result<(), StoreError> {
        let _deciding = self.decide();
        let now = store::now();
        self.store.note(now.clone());
        let recalled = self.store.read()?.recall(&now)?;
        let mut state = self.state();
        let in_force = offences::of_their_tenants(recalled.measures, &state.policy.config);
        let mut overrides = Overrides::of(recalled.suspensions, &in_force);
        overrides.take_suspensions_over_at(now.wall);
        if !overrides.suspends_like(&state.overrides) {
            tracing::error!("the suspensions in force were not those of the ledger; they are now");
            state.overrides.suspend_like(&overrides);
            state.suspensions_changed();
            self.changed.notify_one();
        }
        if overrides != state.overrides {
            match state.put_overrides_into_force(overrides, now.wall) {
                Ok(()) => self.changed.notify_one(),
                Err(error) => {
                    tracing::error!("cannot lower caps as decided: {error}. It is tried again in a minute")
                }
            }
        }
        Ok(())
    }
}
