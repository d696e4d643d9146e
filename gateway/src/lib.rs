//! The controller of Fairway, a traffic policing gateway.
//!
//! The path of the data is one loop, and the modules follow it: packets are judged by the programs of
//! `gateway-ebpf`; [`dataplane`] loads them, writes their policy and reads their counters; [`config`]
//! is where the policy comes from; [`detect`] is what misuse was seen,
//! [`enforcement`] what follows from it by rule, [`suspension`] what an operator did about it, [`store`] remembers all, with the packets in [`evidence`], and [`ledger`] reads it; [`controller`] holds all together, [`metrics`] and
//! [`control`] show it to machines and operators, [`run`] is the life of the service, [`replay`] judges captures
//! instead of traffic, and [`cli`] has the commands.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod controller;
pub mod dataplane;
pub mod detect;
pub mod doctor;
pub mod domain;
pub mod enforcement;
pub mod evidence;
mod http;
#[cfg(test)]
mod layers;
pub mod ledger;
mod limits;
pub mod link;
pub mod metrics;
pub mod policy;
mod private;
pub mod replay;
pub mod run;
pub mod store;
pub mod suspension;
mod text;
