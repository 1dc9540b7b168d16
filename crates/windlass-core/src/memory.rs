use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windlass_model::{BufferStatus, Duration, QuotaStatus, SmolStr, StatusCondition, Timestamp};

use crate::{
    UnremovableReason, Unseen, ZoneTries,
    capacity_buffer::TemplateErrors,
    cluster_state::{Backoff, IncorrectSize},
    drain::{Drain, Replacement},
    pending::Hints,
    provisioning_request::RequestMemory,
    scale_down::Verdict,
    status::StatusMemory,
    template::TemplateCache,
};

/// Everything that outlives a loop, and a restart: a plain value, serialised into the status
/// ConfigMap. Each part belongs to the module that reads and writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Scale-ups that were asked for and have not come, by group. They are written down before
    /// the cloud is asked.
    pub open_scale_ups: BTreeMap<SmolStr, OpenScaleUp>,
    /// Failed scale-ups that keep groups from growing, by group.
    pub backoffs: BTreeMap<SmolStr, Backoff>,
    /// Since when instances without a node are known, by provider id.
    pub unregistered_since: BTreeMap<SmolStr, Timestamp>,
    /// Groups that have not as many nodes as they should, by group.
    pub incorrect_sizes: BTreeMap<SmolStr, IncorrectSize>,
    /// Instances that the last loop saw fail to be created, by provider id.
    pub failed_instances: BTreeSet<SmolStr>,
    /// Where pending pods were placed last, by uid (or namespace and name without one).
    pub hints: Hints,
    /// Templates made from real nodes in earlier loops; not written down.
    #[serde(skip)]
    pub templates: TemplateCache,
    /// What the status ConfigMap said last, for the times of its transitions.
    pub status: StatusMemory,
    /// Loops in a row that did not get through all pending pods.
    pub degraded_loops: u64,
    /// How many loops have been decided.
    pub loops: u64,
    /// How many random choices were made.
    pub random_draws: u64,
    /// [`Memory::last_scale_up`] before the scale-ups whose outcomes are not known yet.
    pub scale_up_before: Option<Timestamp>,
    /// Since when each node is unneeded, by node.
    pub unneeded_since: BTreeMap<SmolStr, Timestamp>,
    /// Nodes that a simulation found unremovable, by node.
    pub unremovable: BTreeMap<SmolStr, Verdict>,
    /// Removals in progress, by node.
    pub drains: BTreeMap<SmolStr, Drain>,
    /// With `--drain-wait-for-ready-replacements`: the controllers of pods that were evicted, by
    /// uid.
    pub replacements: BTreeMap<SmolStr, Replacement>,
    /// The start of the loop of the last successful scale-up.
    pub last_scale_up: Option<Timestamp>,
    /// The start of the loop that last began to delete a node.
    pub last_scale_down_delete: Option<Timestamp>,
    /// The start of the loop in which beginning a deletion last failed.
    pub last_scale_down_failure: Option<Timestamp>,
    /// When unneeded nodes were last looked for.
    pub last_planning: Option<Timestamp>,
    /// The shortest time between two times that they were.
    pub shortest_planning_interval: Option<Duration>,
    /// When removals of the last hour began.
    pub recent_removals: Vec<Timestamp>,
    /// When groups grew and shrank last, for `--scale-down-delay-type-local`.
    pub group_times: BTreeMap<SmolStr, GroupTimes>,
    /// With `--node-removal-latency-tracking-enabled`: unneeded nodes, by node.
    pub waiting: BTreeMap<SmolStr, Waiting>,
    /// With `--max-node-skip-eval-time-tracker-enabled`: since when nodes are passed over.
    pub skipped_since: BTreeMap<SmolStr, Timestamp>,
    /// How long taints took to be seen, and when that was measured, within the last hour.
    pub taint_latencies: Vec<(Timestamp, Duration)>,
    /// Of requests for room.
    pub requests: RequestMemory,
    /// The groups of which a node was seen in this cluster: [`GroupNotices::proof`].
    ///
    /// [`GroupNotices::proof`]: windlass_model::GroupNotices::proof
    #[serde(default)]
    pub proven_groups: BTreeSet<SmolStr>,
    /// Nodes that groups were grown by for pods that need a certain zone, by group.
    #[serde(default)]
    pub zone_tries: BTreeMap<SmolStr, ZoneTries>,
    /// Conditions of `ProvisioningRequest`s, written and not seen yet. Not written down.
    #[serde(skip)]
    pub unseen_requests: Unseen<Vec<StatusCondition>>,
    /// The codes of failed scale-ups that this process has seen, by group; not written down.
    #[serde(skip)]
    pub backoff_codes: BTreeMap<SmolStr, BTreeSet<SmolStr>>,
    /// Statuses of `CapacityBuffer`s, written and not seen yet. Not written down.
    #[serde(skip)]
    pub unseen_buffers: Unseen<BufferStatus>,
    /// Templates of buffers that could not be written. Not written down.
    #[serde(skip)]
    pub buffer_template_errors: TemplateErrors,
    /// Statuses of `CapacityQuota`s, written and not seen yet. Not written down.
    #[serde(skip)]
    pub unseen_quotas: Unseen<QuotaStatus>,
    /// Whether this process has been through a loop. Not written down: a successor's first loop
    /// cleans up.
    #[serde(skip)]
    pub has_looped: bool,
    /// The nodes of an earlier view. Not written down: what a predecessor saw proves nothing.
    #[serde(skip)]
    pub seen_nodes: Option<SeenNodes>,
}

/// When a group grew and shrank last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupTimes {
    /// The start of the loop that last enlarged it.
    pub scale_up: Option<Timestamp>,
    /// When a node of it was last removed.
    pub removal: Option<Timestamp>,
    /// When the cloud last refused to remove one.
    pub failed_removal: Option<Timestamp>,
}

/// A node that waits for its removal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Since when it is unneeded.
    pub since: Timestamp,
    /// How long it has to be.
    pub threshold: Duration,
    /// What else it was kept for last.
    pub delayed_by: Option<UnremovableReason>,
}

/// The nodes that a loop saw.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenNodes {
    /// The start of that loop.
    pub at: Timestamp,
    /// Their names, in the cluster's order, less those on their way out.
    pub names: Vec<SmolStr>,
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
