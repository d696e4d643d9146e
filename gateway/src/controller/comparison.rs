//! Store, controller and kernel are compared once a minute: where they differ, the store's decisions hold.

use super::{Controller, Suspensions, offences};
use crate::detect::MeasureInForce;
use crate::store::{self, StoreError};

impl Controller {
    /// Puts right what differs from what the store has on the disk. Blocks.
    pub fn compare(&self) -> Result<(), StoreError> {
        let _deciding = self.decide();
        let now = store::now();
        self.store.note(now.clone());
        let recalled = self.store.read()?.recall(&now)?;
        let mut state = self.state();
        let suspensions = Suspensions::of_all(recalled.suspensions);
        let suspensions = suspensions.without_all(&suspensions.over_at(now.wall));
        if suspensions != *state.suspensions {
            tracing::error!("the suspensions in force were not those of the ledger; they are now");
            state.put_into_force(suspensions);
            self.changed.notify_one();
        }
        let in_force = offences::of_their_tenants(recalled.measures, &state.policy.config);
        let lowered = offences::lowered_caps(&in_force);
        if sorted(&lowered) != sorted(&state.policy.lowered_caps) {
            match state.lower_caps(lowered) {
                Ok(()) => self.changed.notify_one(),
                Err(error) => {
                    tracing::error!("cannot lower caps as decided: {error}. It is tried again in a minute")
                }
            }
        }
        Ok(())
    }
}

fn sorted(measures: &[MeasureInForce]) -> Vec<&MeasureInForce> {
    let mut sorted: Vec<_> = measures.iter().collect();
    sorted.sort_by_key(|measure| measure.identity());
    sorted
}
