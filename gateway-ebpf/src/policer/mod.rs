//! Bandwidth caps (policy rule B1): what a packet costs, and the algorithm that decides whether it fits.
//!
//! [`Cap`] turns bytes into time at the cap's rate. All that is kept of a tenant is time, so a cap can change
//! at any moment and nothing has to be converted.

mod cap;

pub use cap::{Cap, NS_PER_BYTE_FRACTION_BITS};
