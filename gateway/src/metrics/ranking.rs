//! Which tenants get series of their own (`metrics.top_tenants`), and the sum of the others.
//!
//! The busiest by bytes, passed and dropped, since their counters began are shown. A sum of what the
//! others' counters hold would fall whenever one of them rose into the top, and Prometheus would take
//! the fall for a restart and the whole value for new traffic. So the sum is kept by growth: what a
//! tenant's counters grew by between two scrapes is added if it is not in the top at the second. The
//! sum never falls, and its rate and those of the tenants shown add up to the rate of all.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::domain::{DirectionCounters, QueueDrops, Tally, TenantCounters};

/// The label `tenant` of the sum; no tenant's id holds an underscore.
const OTHERS: &str = "_other";

pub(super) struct Ranking {
    /// Every tenant's counters at the scrape before; none before the first.
    before: Option<HashMap<String, TenantCounters>>,
    /// Growth of those not shown since the first scrape.
    others: TenantCounters,
}

impl Default for Ranking {
    fn default() -> Self {
        let others = TenantCounters {
            id: OTHERS.into(),
            up: DirectionCounters::default(),
            down: DirectionCounters::default(),
        };
        Self { before: None, others }
    }
}

/// What a scrape shows.
pub(super) struct Shown {
    /// Indices of the tenants with series of their own, ascending.
    pub(super) tenants: Vec<usize>,
    /// The sum of the others, if there is a limit.
    pub(super) others: Option<TenantCounters>,
}

impl Ranking {
    /// Chooses among tenants by `counters`, which must be read later than those of the call before.
    pub(super) fn choose(&mut self, counters: &[TenantCounters], top: Option<usize>) -> Shown {
        let mut ranked: Vec<usize> = (0..counters.len()).collect();
        let Some(top) = top else {
            *self = Self::default();
            return Shown { tenants: ranked, others: None };
        };

        ranked.sort_unstable_by_key(|&index| (Reverse(bytes(&counters[index])), index));
        let others = ranked.split_off(top.min(ranked.len()));
        if let Some(before) = &self.before {
            for now in others.into_iter().map(|index| &counters[index]) {
                let before = before.get(&now.id);
                grow(&mut self.others.up, &now.up, before.map(|before| &before.up));
                grow(&mut self.others.down, &now.down, before.map(|before| &before.down));
            }
        }
        self.before = Some(counters.iter().map(|tenant| (tenant.id.clone(), tenant.clone())).collect());

        ranked.sort_unstable();
        Shown { tenants: ranked, others: Some(self.others.clone()) }
    }
}

fn bytes(tenant: &TenantCounters) -> u64 {
    [&tenant.up, &tenant.down].iter().map(|way| way.passed.bytes + way.dropped_total().bytes).sum()
}

fn grow(sum: &mut DirectionCounters, now: &DirectionCounters, before: Option<&DirectionCounters>) {
    let nothing = DirectionCounters::default();
    let before = before.unwrap_or(&nothing);
    sum.passed += growth(now.passed, before.passed);
    let QueueDrops { signals, full } = before.queue_drops;
    sum.queue_drops += QueueDrops {
        signals: now.queue_drops.signals.saturating_sub(signals),
        full: now.queue_drops.full.saturating_sub(full),
    };
    for (reason, tally) in &now.dropped {
        let growth = growth(*tally, tally_of(&before.dropped, *reason));
        match sum.dropped.binary_search_by_key(reason, |(reason, _)| *reason) {
            Ok(found) => sum.dropped[found].1 += growth,
            Err(missing) => sum.dropped.insert(missing, (*reason, growth)),
        }
    }
}

fn tally_of<R: PartialEq>(dropped: &[(R, Tally)], reason: R) -> Tally {
    dropped.iter().find(|(occurred, _)| *occurred == reason).map(|(_, tally)| *tally).unwrap_or_default()
}

/// A tenant that was removed and came back starts from zero: all it has is new.
fn growth(now: Tally, before: Tally) -> Tally {
    let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    Tally { packets: since(now.packets, before.packets), bytes: since(now.bytes, before.bytes) }
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::DropReason;

    use super::*;

    fn counters(id: &str, passed: u64, dropped: u64) -> TenantCounters {
        let tally = |bytes: u64| Tally { packets: bytes / 100, bytes };
        let dropped = if dropped > 0 { vec![(DropReason::OverCap, tally(dropped))] } else { vec![] };
        let up = DirectionCounters { passed: tally(passed), dropped, ..Default::default() };
        TenantCounters { id: id.into(), up, down: DirectionCounters::default() }
    }

    /// (tenant, bytes up passed, bytes up dropped) of each series.
    fn chosen(
        ranking: &mut Ranking,
        counters: &[TenantCounters],
        top: Option<usize>,
    ) -> Vec<(String, u64, u64)> {
        let shown = ranking.choose(counters, top);
        let series = shown.tenants.iter().map(|&index| &counters[index]).chain(&shown.others);
        series.map(|of| (of.id.clone(), of.up.passed.bytes, of.up.dropped_total().bytes)).collect()
    }

    fn row(id: &str, passed: u64, dropped: u64) -> (String, u64, u64) {
        (id.into(), passed, dropped)
    }

    #[test]
    fn without_a_limit_everybody_is_shown_and_there_is_no_sum() {
        let counters = [counters("a", 100, 0), counters("b", 300, 0)];
        let shown = chosen(&mut Ranking::default(), &counters, None);
        assert_eq!(shown, [row("a", 100, 0), row("b", 300, 0)]);
    }

    #[test]
    fn the_busiest_are_shown_in_the_order_of_the_config_dropped_bytes_included() {
        let counters = [counters("a", 200, 0), counters("b", 100, 0), counters("c", 50, 900)];
        let shown = chosen(&mut Ranking::default(), &counters, Some(2));
        assert_eq!(shown, [row("a", 200, 0), row("c", 50, 900), row("_other", 0, 0)]);
    }

    #[test]
    fn the_sum_counts_growth_and_never_falls() {
        let mut ranking = Ranking::default();
        let first = [counters("a", 1000, 0), counters("b", 900, 100), counters("c", 500, 0)];
        assert_eq!(chosen(&mut ranking, &first, Some(1)), [row("a", 1000, 0), row("_other", 0, 0)]);
        // b and c grow by 100 and 10 passed, b by 50 dropped: b overtakes a and is shown with all it has.
        let second = [counters("a", 1000, 0), counters("b", 1000, 150), counters("c", 510, 0)];
        assert_eq!(chosen(&mut ranking, &second, Some(1)), [row("b", 1000, 150), row("_other", 10, 0)]);
        // a overtakes b, and b's growth of 7 belongs to the others again.
        let third = [counters("a", 2000, 0), counters("b", 1007, 150), counters("c", 510, 0)];
        assert_eq!(chosen(&mut ranking, &third, Some(1)), [row("a", 2000, 0), row("_other", 17, 0)]);
        // c is removed, d is new: what d has came since.
        let fourth = [counters("a", 2000, 0), counters("b", 1007, 151), counters("d", 20, 30)];
        assert_eq!(chosen(&mut ranking, &fourth, Some(1)), [row("a", 2000, 0), row("_other", 37, 31)]);
        // d was removed and came back with fresh counters.
        let fifth = [counters("a", 2000, 0), counters("b", 1007, 151), counters("d", 5, 0)];
        assert_eq!(chosen(&mut ranking, &fifth, Some(1)), [row("a", 2000, 0), row("_other", 42, 31)]);
    }

    #[test]
    fn a_limit_over_the_number_of_tenants_shows_all() {
        let counters = [counters("a", 1, 0)];
        let shown = chosen(&mut Ranking::default(), &counters, Some(10));
        assert_eq!(shown, [row("a", 1, 0), row("_other", 0, 0)]);
    }
}
