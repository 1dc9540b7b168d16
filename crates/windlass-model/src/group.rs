use std::sync::Arc;

use crate::{Duration, MicroDollars, Node, Pod, SmolStr, Timestamp};

/// A node group: an Auto Scaling group, or one on paper.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeGroup {
    /// The group's id; its name on AWS.
    pub name: SmolStr,
    /// The size that scale-down stops at, in nodes.
    pub min_size: i64,
    /// The size that scale-up stops at, in nodes.
    pub max_size: i64,
    /// The size asked for, in nodes.
    pub target_size: i64,
    /// When the autoscaler asked for the nodes that are still missing, where that is known
    /// from outside its memory.
    pub requested_at: Option<Timestamp>,
    /// The instances that the cloud lists.
    pub instances: Vec<Instance>,
    /// What a new node would look like by the cloud's description; absent when that cannot be
    /// told.
    pub template: Option<NodeTemplate>,
    /// The price of one node for an hour.
    pub price_per_hour: Option<MicroDollars>,
    /// The zones that the cloud chooses from; empty when not known.
    pub zones: Vec<SmolStr>,
    /// How long from request to Ready, where a simulation says so.
    pub provision_time: Option<Duration>,
    /// Settings of this group alone.
    pub options: GroupOptions,
    /// What the cloud has let on about the group besides.
    pub notices: GroupNotices,
}

/// What is known of a group from the cloud that its sizes and instances do not say. The default is
/// a group of which nothing is known against it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupNotices {
    /// The cloud has lately had none of the machines that the group would be given.
    pub shortage: Option<Shortage>,
    /// No node of the group was ever seen in this cluster, though it may have instances: it may be
    /// another cluster's, so nothing of it is deleted for not having become a node.
    pub is_unproven: bool,
    /// What tells this very group, not a later one of its name, where a node of it was seen in this
    /// cluster: a successor that remembers it need not see one anew.
    pub proof: Option<SmolStr>,
    /// The cloud can be told in which of the group's zones its next nodes are to be.
    pub can_choose_zone: bool,
    /// Device resources that the group's machines have by the cloud's own figures. A new node that
    /// shows none of one is still starting, whatever its labels say.
    pub devices: Vec<SmolStr>,
}

/// Machines that the cloud has lately been out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Until when the group is not tried.
    pub until: Timestamp,
    /// What is short, with the cloud's own words.
    pub message: SmolStr,
}

/// A machine of a group, registered as a node or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Equal to the `spec.providerID` of the instance's node.
    pub provider_id: SmolStr,
    /// What the cloud says of it.
    pub state: InstanceState,
}

/// What the cloud says of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs.
    Running,
    /// It was asked for; with an error when that failed.
    Creating {
        /// Why it will not come.
        error: Option<CreationError>,
    },
    /// It is there, and something that the group's owner has set up (a lifecycle hook) holds it back:
    /// nobody can tell for how long.
    Held,
    /// It is going.
    Deleting,
    /// The cloud does not say.
    Unknown,
}

/// Why an instance did not come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreationError {
    /// The class that decides how it is reported.
    pub class: CreationErrorClass,
    /// The cloud's code.
    pub code: SmolStr,
    /// The cloud's words.
    pub message: SmolStr,
}

/// The class of a creation error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CreationErrorClass {
    /// The cloud has no capacity or the account no quota.
    OutOfResource,
    /// Anything else.
    Other,
}

impl CreationErrorClass {
    /// As reports print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfResource => "OutOfResource",
            Self::Other => "Other",
        }
    }
}

/// What a new node of a group looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeTemplate {
    /// The node; its name is not a real node's.
    pub node: Arc<Node>,
    /// Pods that come with every such node: mirror pods, `DaemonSet` pods.
    pub pods: Vec<Arc<Pod>>,
    /// Device drivers' slices of such a node.
    pub resource_slices: Vec<Arc<crate::ResourceSlice>>,
    /// The CSI drivers of such a node.
    pub csi_node: Option<Arc<crate::CsiNode>>,
}

impl NodeTemplate {
    /// A template of a node alone.
    pub fn of(node: Node) -> Self {
        Self {
            node: Arc::new(node),
            pods: Vec::new(),
            resource_slices: Vec::new(),
            csi_node: None,
        }
    }
}

/// Settings of one group that replace the flags'; `None` leaves the flag's value.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GroupOptions {
    /// How long a ready node must be unneeded.
    pub scale_down_unneeded_time: Option<Duration>,
    /// How long an unready node must be unneeded.
    pub scale_down_unready_time: Option<Duration>,
    /// Above this share of requested cpu or memory a node stays.
    pub scale_down_utilization_threshold: Option<f64>,
    /// The same for the GPUs of GPU nodes.
    pub scale_down_gpu_utilization_threshold: Option<f64>,
    /// How long a requested node may take to register.
    pub max_node_provision_time: Option<Duration>,
    /// How long a registered node may take to become ready.
    pub max_node_startup_time: Option<Duration>,
    /// The group is scaled to its maximum or to nothing.
    pub zero_or_max_node_scaling: Option<bool>,
    /// With [`Self::zero_or_max_node_scaling`]: a smaller scale-up is allowed.
    pub allow_non_atomic_scale_up_to_max: Option<bool>,
    /// `DaemonSet` pods do not count as utilisation.
    pub ignore_daemonsets_utilization: Option<bool>,
}

impl GroupOptions {
    /// These, and where they leave a flag's value those of `others`.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            scale_down_unneeded_time: self
                .scale_down_unneeded_time
                .or(others.scale_down_unneeded_time),
            scale_down_unready_time: self
                .scale_down_unready_time
                .or(others.scale_down_unready_time),
            scale_down_utilization_threshold: self
                .scale_down_utilization_threshold
                .or(others.scale_down_utilization_threshold),
            scale_down_gpu_utilization_threshold: self
                .scale_down_gpu_utilization_threshold
                .or(others.scale_down_gpu_utilization_threshold),
            max_node_provision_time: self
                .max_node_provision_time
                .or(others.max_node_provision_time),
            max_node_startup_time: self.max_node_startup_time.or(others.max_node_startup_time),
            zero_or_max_node_scaling: self
                .zero_or_max_node_scaling
                .or(others.zero_or_max_node_scaling),
            allow_non_atomic_scale_up_to_max: self
                .allow_non_atomic_scale_up_to_max
                .or(others.allow_non_atomic_scale_up_to_max),
            ignore_daemonsets_utilization: self
                .ignore_daemonsets_utilization
                .or(others.ignore_daemonsets_utilization),
        }
    }
}
