//! Cluster health and readiness, nodes on their way, open scale-ups, backoff. Source:
//! `pkg/clusterstate`.

pub(crate) mod counts;
pub mod readiness;

pub(crate) use counts::{Counts, GroupState, observe_groups};
pub use readiness::{NodeReadiness, Readiness, node_readiness};
