//! The controller of Fairway, a traffic policing gateway.
//!
//! The path of the data is one loop, and the modules follow it: packets are judged by the programs of
//! `gateway-ebpf`; [`dataplane`] loads them, writes their policy and reads their counters; [`config`]
//! is where the policy comes from; [`controller`] holds both together.

pub mod config;
pub mod controller;
pub mod dataplane;
