//! `fairway replay`, as an operator runs it: on captures made here, and on captures that others published.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod broken;
mod clock;
mod command;
mod labelled;
mod ladders;
mod links;
mod published;
mod sides;
mod what_if;
mod writer;
