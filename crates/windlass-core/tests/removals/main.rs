//! Removals of nodes, from plan to end, in a small world that carries plans out.

mod drains;
mod mutations;
mod planning;
mod properties;
mod world;
