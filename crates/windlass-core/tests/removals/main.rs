//! Removals of nodes, from plan to end, in a small world that carries plans out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drains;
mod flags;
mod mutations;
mod planning;
mod properties;
mod world;
