//! The operator's configuration: raw TOML -> checked -> [`Config`].

mod model;

pub use model::*;
