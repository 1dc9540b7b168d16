use std::sync::Arc;

use crate::{
    AffinityTerm, Effect, Labels, NodeSelector, ObjectName, Resources, SmolStr, SpreadConstraint,
    Taint, Timestamp, Toleration, Volume,
};

/// A pod: what it shares with its like, and what is its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// The name within the shape's namespace.
    pub name: SmolStr,
    /// The object's uid.
    pub uid: SmolStr,
    /// All that the scheduler and the drain rules read of the pod's specification.
    pub shape: Arc<PodShape>,
    /// What it requests of the node it is on, where an in-place resize makes that differ from
    /// the shape's requests.
    pub resized_requests: Option<Box<Resources>>,
    /// When the object was created.
    pub created_at: Option<Timestamp>,
    /// When its deletion was asked for, plus its grace period, as the API server writes it.
    pub deletion_timestamp: Option<Timestamp>,
    /// `spec.nodeName`: the node that it was bound to.
    pub node_name: Option<SmolStr>,
    /// `status.nominatedNodeName`.
    pub nominated_node_name: Option<SmolStr>,
    /// `status.phase`.
    pub phase: Phase,
    /// What the scheduler said of it last.
    pub scheduled: PodScheduled,
    /// Whether its `Ready` condition is true.
    pub is_ready: bool,
}

impl Pod {
    /// The namespace.
    pub fn namespace(&self) -> &SmolStr {
        &self.shape.namespace
    }

    /// Namespace and name.
    pub fn full_name(&self) -> ObjectName {
        ObjectName::new(self.shape.namespace.clone(), self.name.clone())
    }

    /// What it requests of the node it is on.
    pub fn requests_on_node(&self) -> &Resources {
        self.resized_requests
            .as_deref()
            .unwrap_or(&self.shape.requests)
    }

    /// Its priority; absent counts as 0.
    pub fn priority(&self) -> i32 {
        self.shape.priority.unwrap_or(0)
    }
}

/// What pods of one workload have in common; equal shapes share one [`Arc`] (see
/// [`crate::Pool`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct PodShape {
    /// The namespace.
    pub namespace: SmolStr,
    /// Labels.
    pub labels: Labels,
    /// The controlling owner.
    pub controller: Option<OwnerReference>,
    /// `spec.priority`; absent when not set.
    pub priority: Option<i32>,
    /// `spec.preemptionPolicy`.
    pub preemption_policy: PreemptionPolicy,
    /// `spec.priorityClassName`, or empty.
    pub priority_class_name: SmolStr,
    /// `spec.schedulerName`, or empty.
    pub scheduler_name: SmolStr,
    /// What it requests, by the scheduler's formula, of a node that it is to be placed on.
    pub requests: Resources,
    /// Where it may go, besides resources; equal constraints share one [`Arc`].
    pub constraints: Arc<Constraints>,
    /// What says whether it may be moved.
    pub safety: Safety,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace_period_seconds: Option<i64>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// A digest of all that the Go autoscaler compares when it groups pods of one controller and
    /// the scheduler does not read (images, commands, probes …); 0 when not computed.
    pub spec_digest: u64,
    /// The annotation `cluster-autoscaler.kubernetes.io/pod-scale-up-delay`, as written.
    pub scale_up_delay: Option<SmolStr>,
    /// The `ProvisioningRequest` of its namespace whose room it uses: the annotation
    /// `autoscaling.x-k8s.io/consume-provisioning-request` or its older spelling.
    pub provisioning_request: Option<SmolStr>,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OwnerReference {
    /// `apiVersion`: group and version.
    pub api_version: SmolStr,
    /// `kind`.
    pub kind: SmolStr,
    /// `name`.
    pub name: SmolStr,
    /// `uid`.
    pub uid: SmolStr,
}

/// What says where a pod may go, besides its resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Constraints {
    /// `spec.nodeName` of a pod that is to be placed.
    pub node_name: Option<SmolStr>,
    /// `spec.nodeSelector`; `None` when null.
    pub node_selector: Option<Labels>,
    /// The required node affinity; `None` when absent, which differs from one without terms.
    pub node_affinity: Option<NodeSelector>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports of containers and sidecars.
    pub host_ports: Vec<HostPort>,
    /// All topology spread constraints, in order.
    pub spread: Vec<SpreadConstraint>,
    /// Required pod affinity.
    pub affinity: Vec<AffinityTerm>,
    /// Required pod anti-affinity.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Terms of preferred pod affinity, of which only their being parsable matters.
    pub preferred_affinity: Vec<AffinityTerm>,
    /// The same of preferred pod anti-affinity.
    pub preferred_anti_affinity: Vec<AffinityTerm>,
    /// Volumes that bear on scheduling or on drains.
    pub volumes: Vec<Volume>,
    /// Device claims.
    pub claims: Vec<Claim>,
    /// The devices that stand for extended resources where a node does not have these itself, by
    /// name; of a resource that is not here one request for all of it.
    pub extended_requests: Vec<ExtendedRequest>,
    /// Features that a node must declare, sorted. Source: KEP-5328.
    pub required_features: Vec<SmolStr>,
    /// Scheduling gates, in order.
    pub scheduling_gates: Vec<SmolStr>,
}

impl Constraints {
    /// Whether every taint that keeps pods off a node is tolerated; `PreferNoSchedule` keeps none
    /// off.
    pub fn tolerates_all(&self, taints: &[Taint]) -> bool {
        taints
            .iter()
            .filter(|taint| matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute))
            .all(|taint| {
                self.tolerations
                    .iter()
                    .any(|toleration| toleration.tolerates(taint))
            })
    }
}

/// A port of the host that a pod wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The address; `0.0.0.0` for all.
    pub ip: SmolStr,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: SmolStr,
    /// The port.
    pub port: i32,
}

/// One entry of `spec.resourceClaims`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A claim by name, in the pod's namespace; `from_template` when it was made for the pod.
    Named {
        /// The claim's name.
        name: SmolStr,
        /// Whether it came of a template, and must then be controlled by the pod.
        from_template: bool,
    },
    /// Of a template, and the status says that none was needed.
    NotNeeded,
    /// Of a template, and the claim has not been made yet.
    NotCreatedYet,
    /// Neither of a name nor of a template.
    Unknown {
        /// The name of the entry in the pod's `spec.resourceClaims`.
        entry: SmolStr,
    },
}

/// A request for devices in place of what some containers request of an extended resource.
/// Source: `pkg/scheduler/framework/plugins/dynamicresources/extendeddynamicresources.go`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedRequest {
    /// `container-CONTAINER-request-REQUEST`, each counted from 0.
    pub name: SmolStr,
    /// The extended resource.
    pub resource: SmolStr,
    /// How many devices.
    pub count: i64,
}

/// What says whether a pod may be moved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Safety {
    /// The annotation `cluster-autoscaler.kubernetes.io/safe-to-evict`, as written.
    pub safe_to_evict: Option<SmolStr>,
    /// The annotation `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes`, as written.
    pub safe_to_evict_local_volumes: Option<SmolStr>,
    /// The annotation `cluster-autoscaler.kubernetes.io/enable-ds-eviction`, as written.
    pub enable_daemonset_eviction: Option<SmolStr>,
    /// The annotation `cluster-autoscaler.kubernetes.io/daemonset-pod` is `true`.
    pub is_annotated_daemonset_pod: bool,
    /// The annotation `kubernetes.io/config.mirror` is there.
    pub is_mirror: bool,
    /// The annotation `kubernetes.io/config.source` is there and not `api`.
    pub is_static: bool,
}

impl PodShape {
    /// Whether a `DaemonSet` controls it, or an annotation says so. Source: `pkg/utils/pod/pod.go`.
    pub fn is_daemonset_pod(&self) -> bool {
        self.safety.is_annotated_daemonset_pod
            || self
                .controller
                .as_ref()
                .is_some_and(|owner| owner.kind == "DaemonSet")
    }
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
    /// Not started; also what an absent phase means.
    #[default]
    Pending,
    /// Started.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Not known.
    Unknown,
}

impl Phase {
    /// Whether the pod has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What the `PodScheduled` condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PodScheduled {
    /// There is no such condition.
    #[default]
    Absent,
    /// True.
    Scheduled,
    /// False with the reason `Unschedulable`, since then.
    Unschedulable {
        /// `lastTransitionTime`.
        since: Option<Timestamp>,
    },
    /// False with an empty reason.
    NoReason,
    /// Anything else, `SchedulingGated` among it.
    Other,
}

/// `spec.preemptionPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PreemptionPolicy {
    /// May displace pods of lower priority; also what an absent policy means.
    #[default]
    PreemptLowerPriority,
    /// Waits for room.
    Never,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RestartPolicy {
    /// Containers are always started again; also what an absent policy means.
    #[default]
    Always,
    /// Only after a failure.
    OnFailure,
    /// Never.
    Never,
}
