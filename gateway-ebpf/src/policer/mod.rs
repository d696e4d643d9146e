//! Bandwidth caps (policy rule B1): what a packet costs, and the algorithm that decides whether it fits.
//!
//! [`Cap`] turns bytes into time at the cap's rate. All that is kept of a tenant is time, so a cap can change
//! at any moment and nothing has to be converted. There are two algorithms:
//!
//! - A bucket: [`gcra`](crate::gcra). One word a tenant; whoever fills it takes it all.
//! - [`fair`]: the same word for the sum of all flows, and [phantom queues](fair::Fair) that share it evenly among
//!   the [flows](flow).

mod cap;
pub mod fair;
pub mod flow;
mod lanes;

pub use cap::{Cap, NS_PER_BYTE_FRACTION_BITS};
