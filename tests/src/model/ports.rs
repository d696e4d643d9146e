//! Which connections are closed to a tenant (policy rules M1 and M3).

use std::net::IpAddr;

use gateway::config::{ClosedPort, Config, PortRule, Protocol, Tenant};
use gateway_ebpf::{Direction, DropReason};
use jiff::Timestamp;

use super::Judged;
use super::ip::Transport;

pub(super) const RELAY: u16 = 25;
pub(super) const SUBMISSION: [u16; 3] = [465, 587, 2525];

/// A packet between two ports, seen from the tenant.
pub(super) struct Connection {
    pub(super) direction: Direction,
    /// The other end.
    pub(super) peer: IpAddr,
    pub(super) transport: Transport,
    pub(super) now: Timestamp,
}

impl Connection {
    /// Refuses a packet to a closed port, then one from port 25 that answers no permitted connection
    /// (mail over asymmetric paths: the spammer's own packets leave by another network).
    pub(super) fn check(&self, config: &Config, tenant: &Tenant) -> Judged<()> {
        let Transport { protocol, source, destination, .. } = self.transport;
        let is_mail = |port: u16| protocol == Protocol::Tcp && port == RELAY;
        if protocol == Protocol::Tcp
            && SUBMISSION.contains(&destination)
            && tenant.submission == PortRule::Block
        {
            return Err(DropReason::SmtpBlocked);
        }
        if config.closed_ports.iter().any(|closed| self.is_closed_by(closed, tenant)) {
            return Err(DropReason::PortBlocked);
        }
        if is_mail(destination) && !self.may_relay(config, tenant, self.direction)
            || is_mail(source) && !self.may_relay(config, tenant, self.direction.opposite())
        {
            return Err(DropReason::SmtpBlocked);
        }
        Ok(())
    }

    fn is_closed_by(&self, closed: &ClosedPort, tenant: &Tenant) -> bool {
        closed.protocol == self.transport.protocol
            && closed.ports.iter().any(|(first, last)| (*first..=*last).contains(&self.transport.destination))
            && covers(closed.direction, self.direction)
            && !tenant.open.contains(&closed.name)
    }

    /// Whether mail connections with the peer may be opened in this direction.
    fn may_relay(&self, config: &Config, tenant: &Tenant, opened: Direction) -> bool {
        let rents = tenant.relay && opened == Direction::Up;
        config.smtp.default == PortRule::Allow
            || rents && config.smtp.relays.iter().any(|relay| relay.contains(self.peer))
            || tenant.smtp_exemptions.iter().any(|exemption| {
                covers(exemption.direction, opened)
                    && self.now < exemption.expires
                    && (exemption.peers.is_empty()
                        || exemption.peers.iter().any(|peers| peers.contains(self.peer)))
            })
    }
}

fn covers(rule: gateway::config::Direction, opened: Direction) -> bool {
    match opened {
        Direction::Up => rule.covers_out(),
        Direction::Down => rule.covers_in(),
    }
}
