//! How caps feel to what is behind them: many experiments at once over one router, with a delay line of our own.
//!
//! ```text
//!             ┌──────────── acknowledgements, at once ──────────────┐
//!   senders (eth0) ──> (in0) router (line0) ──> (near) line (far) ──> (eth0) receivers
//!   198.51.100.2        polices, shapes           delays                203.0.113.1 ... .254
//! ```
//!
//! Each [experiment](Experiment) is a tenant with an address of its own. Up to 254 run at the same time, so that whatever
//! disturbs the machine disturbs all of them alike. `bucket` and `fair` are `fairway run` itself on the router's `in0`;
//! `htb` and `tbf` are the kernel's queues on `line0`.
//!
//! The delay line stands in for netem, which kernels may lack. It holds data back for the whole round trip and
//! measures by how much it is late: a run in which it was late has measured the machine.

mod batch;
mod bed;
mod blast;
mod experiment;
mod line;
mod outcome;
mod qdisc;
mod sink;
mod source;

pub use batch::{Batch, Timing};
pub use bed::{Bed, Judge};
pub use experiment::{Algorithm, Control, Experiment, Source, Workload};
pub use line::Lateness;
pub use outcome::{Downloads, Outcome, jain};
