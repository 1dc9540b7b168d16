use windlass_config::Config;
use windlass_model::{Cluster, Timestamp};
use windlass_scheduler::{Profile, Snapshot};

use crate::{Memory, Outcome, Plan};

/// What one loop is decided from.
pub struct Input<'a> {
    /// The world at this moment.
    pub cluster: &'a Cluster,
    /// What earlier loops remember.
    pub memory: &'a Memory,
    /// What came of the actions of earlier loops, since the last one.
    pub outcomes: &'a [Outcome],
    /// The flags.
    pub config: &'a Config,
    /// The start of the loop.
    pub now: Timestamp,
}

/// What one loop decided.
pub struct Decision {
    /// To be done, and said.
    pub plan: Plan,
    /// For the next loop.
    pub memory: Memory,
}

/// The snapshot that [`decide`] works on: all nodes, with the pods that are bound or nominated
/// to them, less expendable and finished ones.
pub fn prepare(cluster: &Cluster, config: &Config) -> Snapshot {
    let _ = config;
    Snapshot::new(cluster, &Profile::new(cluster.scheduler_version))
}

/// Decides what one loop does. The same arguments give the same bytes. The snapshot is used up.
pub fn decide(input: &Input<'_>, snapshot: Snapshot) -> Decision {
    let _ = snapshot;
    Decision { plan: Plan::default(), memory: input.memory.clone() }
}
