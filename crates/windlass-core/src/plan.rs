use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_model::{ObjectName, SmolStr, Taint, Timestamp};

use crate::{metrics::Metrics, scale_down::HeldBack, writes::ObjectWrite};

/// Everything that one loop wants done, in order, and everything that it has to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Side effects, in the order in which they are to be started.
    pub actions: Vec<Action>,
    /// Events, in order.
    pub events: Vec<Event>,
    /// Gauges and counters of this loop.
    pub metrics: Metrics,
    /// The key `status` of the status ConfigMap; `None` where this loop leaves it as it is.
    pub status: Option<String>,
    /// What scale-up did and why not more.
    pub scale_up: ScaleUpReport,
    /// What scale-down did and why not more.
    pub scale_down: ScaleDownReport,
    /// Where each pending pod stands.
    pub pods: PodReport,
    /// When the next loop is due even if nothing happens before; `None` for no such time.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Asks for an object to be written.
    pub(crate) fn write(&mut self, write: ObjectWrite) {
        self.actions.push(Action::Write(write));
    }

    /// Asks for a loop at `at` at the latest.
    pub fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// A side effect. Each is safe to repeat; its [`Outcome`] is fed to the next loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Ask the cloud for more nodes.
    IncreaseSize(Resize),
    /// Take back nodes that were asked for and never came; no instance may die of it.
    DecreaseTargetSize {
        /// The group.
        group: SmolStr,
        /// The size now asked for.
        from: i64,
        /// The size to ask for.
        to: i64,
    },
    /// Delete instances that never became nodes, by id, each lowering the group's target size.
    DeleteInstances {
        /// The group.
        group: SmolStr,
        /// Provider ids.
        instances: Vec<SmolStr>,
        /// Those of them that go because they have never joined: who carries this out asks once
        /// more, and deletes nothing if one of them is a node by now.
        never_joined: Vec<SmolStr>,
        /// Also below the group's minimum.
        force: bool,
    },
    /// Write a taint to a node.
    AddTaint {
        /// The node.
        node: SmolStr,
        /// The taint.
        taint: Taint,
        /// Also set `spec.unschedulable`.
        cordon: bool,
    },
    /// Take a taint from a node.
    RemoveTaint {
        /// The node.
        node: SmolStr,
        /// The taint's key.
        key: SmolStr,
        /// Also clear `spec.unschedulable`.
        uncordon: bool,
    },
    /// Evict a pod through the Eviction API.
    Evict {
        /// The pod.
        pod: ObjectName,
        /// Its uid, so that a namesake is not evicted.
        uid: SmolStr,
        /// The node that it is to leave.
        node: SmolStr,
        /// The grace period.
        grace_period_seconds: i64,
    },
    /// Delete the instance of a node that has been drained, by id, and lower the group's target
    /// size with it.
    TerminateInstance {
        /// The group.
        group: SmolStr,
        /// The node.
        node: SmolStr,
        /// The provider id.
        instance: SmolStr,
        /// The uids of the pods that are known to be on the node, sorted. The view may be old: an
        /// instance that has another pod is spared.
        known_pods: Vec<SmolStr>,
    },
    /// Write an object of an optional feature.
    Write(ObjectWrite),
}

/// A change of a group's target size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// The group.
    pub group: SmolStr,
    /// The size now asked for, in nodes.
    pub from: i64,
    /// The size to ask for, in nodes.
    pub to: i64,
    /// The group's maximum, for messages.
    pub max: i64,
    /// Why.
    pub cause: ResizeCause,
    /// The zone that the new nodes are to be in, where it matters and the cloud can be told.
    #[serde(default)]
    pub zone: Option<SmolStr>,
}

/// Why a group grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeCause {
    /// Pods are pending.
    PendingPods,
    /// The group was below its minimum.
    MinimumSize,
}

/// What came of an action of an earlier loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The action.
    pub action: Action,
    /// How it ended.
    pub result: OutcomeResult,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum OutcomeResult {
    /// Done.
    Done,
    /// Refused for now; the same action may succeed later (a 429 of a disruption budget).
    Refused {
        /// What the API server said.
        message: String,
    },
    /// Failed.
    Failed {
        /// The error's type, as `errors_total` labels it, or the cloud's code.
        code: SmolStr,
        /// The error's text.
        message: String,
    },
}

/// An event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventType,
    /// The reason, one word.
    pub reason: SmolStr,
    /// What it is about.
    pub object: EventObject,
    /// The text.
    pub message: SmolStr,
    /// What must have happened first.
    pub timing: EventTiming,
}

impl Event {
    /// An event of type Normal, recorded at once.
    pub fn normal(reason: &'static str, object: EventObject, message: impl Into<SmolStr>) -> Self {
        Self {
            kind: EventType::Normal,
            reason: SmolStr::new_static(reason),
            object,
            message: message.into(),
            timing: EventTiming::AtOnce,
        }
    }

    /// An event of type Warning, recorded at once.
    pub fn warning(reason: &'static str, object: EventObject, message: impl Into<SmolStr>) -> Self {
        Self {
            kind: EventType::Warning,
            ..Self::normal(reason, object, message)
        }
    }

    /// The same event, recorded later.
    #[must_use]
    pub fn at(self, timing: EventTiming) -> Self {
        Self { timing, ..self }
    }
}

/// When an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTiming {
    /// Before the actions of the plan.
    AtOnce,
    /// Once the action at this place of [`Plan::actions`] has succeeded; never if it fails.
    OnceDone(usize),
    /// Once every [`Action::IncreaseSize`] of the plan has succeeded; never if one fails.
    OnceGrown,
}

/// An event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventObject {
    /// The status ConfigMap.
    Status,
    /// A pod.
    Pod(ObjectName),
    /// A node.
    Node(SmolStr),
    /// The priority expander's ConfigMap.
    PriorityExpander,
    /// A `CapacityBuffer`.
    CapacityBuffer(ObjectName),
}

/// Where the pending pods stand after this loop; the lists are in the order of the cluster's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodReport {
    /// The nodes that are there, or on their way, can hold them.
    pub schedulable: Vec<ObjectName>,
    /// New nodes were asked for on their behalf.
    pub triggered_scale_up: Vec<ObjectName>,
    /// No group helps, and why; pods that are alike share their reasons.
    pub unschedulable: Vec<(ObjectName, Arc<GroupReasons>)>,
    /// Some group could help, but this loop does not.
    pub waiting: Vec<ObjectName>,
}

/// Why each group does not help, by group.
pub type GroupReasons = BTreeMap<SmolStr, Vec<SmolStr>>;

/// What scale-up did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScaleUpReport {
    /// The resizes planned, in order.
    pub resizes: Vec<Resize>,
    /// Groups that were not considered, with the reason.
    pub skipped_groups: Vec<(SmolStr, String)>,
}

/// What scale-down found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScaleDownReport {
    /// Nodes found removable, removed now or not, in the planner's order.
    pub unneeded: Vec<SmolStr>,
    /// Nodes that stay, and why.
    pub unremovable: Vec<Unremovable>,
    /// Nodes whose removal begins in this loop.
    pub removals: Vec<NodeRemoval>,
    /// Whether removals wait for a cooldown.
    pub is_in_cooldown: bool,
    /// Why no removal may begin, where none may.
    pub held_back: Option<HeldBack>,
    /// Removals that ended in this loop.
    pub ended: Vec<EndedRemoval>,
}

/// A removal that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRemoval {
    /// The node.
    pub node: SmolStr,
    /// Its group.
    pub group: SmolStr,
    /// Why it stays after all; `None` where the instance is gone or going.
    pub failure: Option<String>,
}

/// A node that stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Unremovable {
    /// The node.
    pub node: SmolStr,
    /// Why.
    pub reason: UnremovableReason,
    /// The pod that blocks it, with its own reason, for [`UnremovableReason::BlockedByPod`].
    pub blocking_pod: Option<(ObjectName, SmolStr)>,
    /// The share of the node's resources that is requested, where it was computed.
    pub utilization: Option<f64>,
}

/// A node whose removal begins.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRemoval {
    /// The node.
    pub node: SmolStr,
    /// Its group.
    pub group: SmolStr,
    /// Its instance.
    pub instance: SmolStr,
    /// Whether no pod has to move.
    pub is_empty: bool,
    /// The pods that will be evicted, `DaemonSet` pods apart.
    pub evicted: Vec<ObjectName>,
    /// The `DaemonSet` pods that will be evicted.
    pub evicted_daemonset_pods: Vec<ObjectName>,
}

/// Why a node stays; the names are the Go autoscaler's. Source: `pkg/simulator/cluster.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the Go autoscaler's and say it")]
pub enum UnremovableReason {
    ScaleDownDisabledAnnotation,
    ScaleDownUnreadyDisabled,
    NotAutoscaled,
    NotUnneededLongEnough,
    NotUnreadyLongEnough,
    NodeGroupMinSizeReached,
    AtomicScaleDownFailed,
    MinimalResourceLimitExceeded,
    CurrentlyBeingDeleted,
    NotUnderutilized,
    RecentlyUnremovable,
    NoPlaceToMovePods,
    BlockedByPod,
    UnexpectedError,
    NoNodeInfo,
    BlockedByOnCompletionPod,
}

impl UnremovableReason {
    /// As metrics and reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaleDownDisabledAnnotation => "ScaleDownDisabledAnnotation",
            Self::ScaleDownUnreadyDisabled => "ScaleDownUnreadyDisabled",
            Self::NotAutoscaled => "NotAutoscaled",
            Self::NotUnneededLongEnough => "NotUnneededLongEnough",
            Self::NotUnreadyLongEnough => "NotUnreadyLongEnough",
            Self::NodeGroupMinSizeReached => "NodeGroupMinSizeReached",
            Self::AtomicScaleDownFailed => "AtomicScaleDownFailed",
            Self::MinimalResourceLimitExceeded => "MinimalResourceLimitExceeded",
            Self::CurrentlyBeingDeleted => "CurrentlyBeingDeleted",
            Self::NotUnderutilized => "NotUnderutilized",
            Self::RecentlyUnremovable => "RecentlyUnremovable",
            Self::NoPlaceToMovePods => "NoPlaceToMovePods",
            Self::BlockedByPod => "BlockedByPod",
            Self::UnexpectedError => "UnexpectedError",
            Self::NoNodeInfo => "NoNodeInfo",
            Self::BlockedByOnCompletionPod => "BlockedByOnCompletionPod",
        }
    }
}
