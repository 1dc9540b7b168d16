use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_model::{SmolStr, Timestamp};

use crate::drain::Drain;

/// Everything that outlives a loop, and a restart: a plain value, serialised into the status
/// ConfigMap. Each part belongs to the module that reads and writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Scale-ups that were asked for and have not come, by group.
    pub open_scale_ups: BTreeMap<SmolStr, OpenScaleUp>,
    /// Since when each node is unneeded, by node.
    pub unneeded_since: BTreeMap<SmolStr, Timestamp>,
    /// Nodes that a simulation found unremovable, with the end of that verdict's validity.
    pub unremovable_until: BTreeMap<SmolStr, Timestamp>,
    /// Removals in progress, by node.
    pub drains: BTreeMap<SmolStr, Drain>,
    /// The start of the loop of the last successful scale-up.
    pub last_scale_up: Option<Timestamp>,
    /// The start of the loop that last began to delete a node.
    pub last_scale_down_delete: Option<Timestamp>,
    /// The start of the loop in which beginning a deletion last failed.
    pub last_scale_down_failure: Option<Timestamp>,
}

/// A scale-up that was asked for and has not come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenScaleUp {
    /// How many nodes, in all.
    pub increase: i64,
    /// When last asked for.
    pub requested_at: Timestamp,
    /// When it counts as failed.
    pub deadline: Timestamp,
}
