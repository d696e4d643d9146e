//! What a suspension takes from a tenant (policy rule E1).

use std::net::IpAddr;

use gateway::config::{Config, Protocol, Tenant};
use gateway::suspension::Scope;
use gateway_ebpf::{Direction, DropReason};

use super::Judged;
use super::ip::Transport;
use super::ports::{RELAY, SUBMISSION};

/// A packet of a suspended tenant.
pub(super) struct Suspended<'s> {
    pub(super) scopes: &'s [Scope],
    pub(super) direction: Direction,
    pub(super) peer: IpAddr,
    /// None for what has no ports.
    pub(super) transport: Option<Transport>,
    /// Whether it is neighbour discovery, and with whom.
    pub(super) discovers: bool,
}

impl Suspended<'_> {
    /// Refuses what any of the scopes covers, but for the walled garden and for neighbour discovery with a
    /// neighbour: an address of the link, or of the tenant's own networks.
    pub(super) fn check(&self, config: &Config, tenant: &Tenant) -> Judged<()> {
        let is_garden = config.walled_garden.iter().any(|host| host.contains(self.peer));
        let is_neighbour =
            super::is_of_link(self.peer) || tenant.prefixes.iter().any(|own| own.contains(self.peer));
        if !self.scopes.iter().any(|scope| self.is_covered(*scope))
            || is_garden
            || self.discovers && is_neighbour
        {
            return Ok(());
        }
        Err(DropReason::Suspended)
    }

    fn is_covered(&self, scope: Scope) -> bool {
        match scope {
            Scope::Everything => true,
            Scope::Mail => {
                self.transport.is_some_and(|Transport { protocol, source, destination, .. }| {
                    protocol == Protocol::Tcp
                        && (destination == RELAY || source == RELAY || SUBMISSION.contains(&destination))
                })
            }
            // What surely goes on with a connection, or answers one, is left.
            Scope::Outbound => {
                let goes_on = self.transport.is_some_and(|transport| transport.goes_on);
                self.direction == Direction::Up && !goes_on
            }
        }
    }
}
