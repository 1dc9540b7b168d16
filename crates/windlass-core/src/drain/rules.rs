//! Whether a pod may be moved off its node. Source: `pkg/simulator/drainability/rules`.
//!
//! Most of what the rules read is the same for all pods of a shape, so it is worked out once for
//! a shape; a pod adds its own times and phase, the loop what is left of disruption budgets.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use windlass_config as config;
use windlass_model::{
    Cluster, Duration, ObjectName, OwnerReference, Phase, Pod, PodShape, RestartPolicy, SmolStr,
    Timestamp, VolumeSource, Workload, WorkloadKind,
};

use super::disruption::Disruptions;

/// How long after the end of its grace period a pod that will not die is no longer minded.
const LONG_TERMINATING_EXTRA: Duration = Duration::from_secs(30);
/// `spec.terminationGracePeriodSeconds` where a pod does not say.
pub(crate) const DEFAULT_GRACE_SECONDS: i64 = 30;
const SYSTEM_NAMESPACE: &str = "kube-system";

/// Why a pod keeps its node; the names are the Go autoscaler's. Source: `pkg/utils/drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the Go autoscaler's and say it")]
pub enum BlockingReason {
    ControllerNotFound,
    MinReplicasReached,
    NotReplicated,
    LocalStorageRequested,
    NotSafeToEvictAnnotation,
    UnmovableKubeSystemPod,
    NotEnoughPdb,
}

impl BlockingReason {
    /// As reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControllerNotFound => "ControllerNotFound",
            Self::MinReplicasReached => "MinReplicasReached",
            Self::NotReplicated => "NotReplicated",
            Self::LocalStorageRequested => "LocalStorageRequested",
            Self::NotSafeToEvictAnnotation => "NotSafeToEvictAnnotation",
            Self::UnmovableKubeSystemPod => "UnmovableKubeSystemPod",
            Self::NotEnoughPdb => "NotEnoughPdb",
        }
    }

    /// The sentence of logs and events.
    pub fn explain(self, pod: &ObjectName) -> String {
        match self {
            Self::ControllerNotFound => format!("controller of {pod} not found"),
            Self::MinReplicasReached => format!("replica set of {pod} has too few replicas"),
            Self::NotReplicated => format!("{pod} is not replicated"),
            Self::LocalStorageRequested => format!("pod with local storage present: {pod}"),
            Self::NotSafeToEvictAnnotation => {
                format!("pod annotated as not safe to evict present: {pod}")
            }
            Self::UnmovableKubeSystemPod => format!(
                "non-daemonset, non-mirrored, non-pdb-assigned kube-system pod present: {pod}"
            ),
            Self::NotEnoughPdb => format!("not enough pod disruption budget to move {pod}"),
        }
    }
}

/// A pod that keeps its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocking {
    pub(crate) pod: ObjectName,
    pub(crate) reason: BlockingReason,
}

/// What the rules say of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may be evicted.
    Move,
    /// It ends with its node, or has as good as ended.
    Skip,
    /// Its node waits for its end.
    WaitForCompletion,
    /// It keeps its node.
    Block(BlockingReason),
}

/// The pods of one node by what becomes of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodsToMove {
    /// To find a new place.
    pub(crate) movable: Vec<Arc<Pod>>,
    /// Of `DaemonSet`s.
    pub(crate) daemonset: Vec<Arc<Pod>>,
    /// Whether a pod that is to be waited for is there.
    pub(crate) has_on_completion: bool,
}

/// What is the same for all pods of a shape.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by one rule"
)]
struct ShapeRules {
    /// Keeps the shape's address from being used again.
    _shape: Arc<PodShape>,
    is_mirror: bool,
    is_daemonset: bool,
    controller: Option<BlockingReason>,
    /// What is said before the pod's phase is asked.
    settled: Option<Verdict>,
    /// What is said after it and before the pod's age is asked.
    owner: Option<Verdict>,
    is_unprotected_system: bool,
    /// The same without knowing the disruption budgets.
    is_system: bool,
    keeps: Option<BlockingReason>,
    budgets: SmallVec<[u32; 2]>,
}

impl ShapeRules {
    /// The rules, in their order.
    fn verdict(
        &self,
        pod: &Pod,
        disruptions: Option<&Disruptions>,
        settings: &config::Drain,
        now: Timestamp,
    ) -> Verdict {
        if self.is_mirror || is_long_terminating(pod, now) {
            return Verdict::Skip;
        }
        if let (Some(reason), Some(_)) = (self.controller, disruptions) {
            return Verdict::Block(reason);
        }
        if let Some(verdict) = self.settled {
            return verdict;
        }
        if has_ended(pod) {
            return Verdict::Move;
        }
        if let Some(verdict) = self.owner {
            return verdict;
        }
        let is_system = match disruptions {
            Some(_) => self.is_unprotected_system,
            None => self.is_system,
        };
        if is_system {
            let timeout = settings.blocking_system_pod_disruption_timeout;
            let is_old = pod
                .created_at
                .is_some_and(|created| created.saturating_add(timeout).is_ok_and(|t| t < now));
            return if is_old {
                Verdict::Move
            } else {
                Verdict::Block(BlockingReason::UnmovableKubeSystemPod)
            };
        }
        if let Some(reason) = self.keeps {
            return Verdict::Block(reason);
        }
        if disruptions.is_some_and(|left| !left.allow(&self.budgets)) {
            return Verdict::Block(BlockingReason::NotEnoughPdb);
        }
        Verdict::Move
    }
}

/// The rules of one loop.
pub(crate) struct Rules<'a> {
    settings: &'a config::Drain,
    now: Timestamp,
    workloads: FxHashMap<(WorkloadKind, &'a str, &'a str), &'a Workload>,
    budgets: FxHashMap<&'a str, Vec<u32>>,
    cluster: &'a Cluster,
    shapes: Vec<ShapeRules>,
    by_address: FxHashMap<*const PodShape, usize>,
    /// The shape asked about last, by address and number: the pods of a node are often of one.
    last: (*const PodShape, usize),
}

impl<'a> Rules<'a> {
    pub(crate) fn new(cluster: &'a Cluster, settings: &'a config::Drain, now: Timestamp) -> Self {
        let workloads = cluster
            .workloads
            .iter()
            .map(|workload| {
                let name = &workload.name;
                let key = (workload.kind, name.namespace.as_str(), name.name.as_str());
                (key, workload.as_ref())
            })
            .collect();
        let mut budgets: FxHashMap<&str, Vec<u32>> = FxHashMap::default();
        for (index, budget) in (0_u32..).zip(&cluster.disruption_budgets) {
            budgets
                .entry(&budget.name.namespace)
                .or_default()
                .push(index);
        }
        Self {
            settings,
            now,
            workloads,
            budgets,
            cluster,
            shapes: Vec::new(),
            by_address: FxHashMap::default(),
            last: (std::ptr::null(), 0),
        }
    }

    /// What becomes of each of `pods`, or the first that keeps its node. Without `disruptions`
    /// neither controllers nor disruption budgets are known.
    pub(crate) fn pods_to_move<'p>(
        &mut self,
        pods: impl Iterator<Item = &'p Arc<Pod>>,
        disruptions: Option<&Disruptions>,
    ) -> Result<PodsToMove, Blocking> {
        let mut to_move = PodsToMove::default();
        to_move.movable.reserve(pods.size_hint().0);
        let (now, settings) = (self.now, self.settings);
        for pod in pods {
            let rules = self.of_shape(&pod.shape);
            match rules.verdict(pod, disruptions, settings, now) {
                Verdict::Skip => {}
                Verdict::WaitForCompletion => to_move.has_on_completion = true,
                Verdict::Move if rules.is_daemonset => to_move.daemonset.push(Arc::clone(pod)),
                Verdict::Move => to_move.movable.push(Arc::clone(pod)),
                Verdict::Block(reason) => {
                    return Err(Blocking {
                        pod: pod.full_name(),
                        reason,
                    });
                }
            }
        }
        Ok(to_move)
    }

    /// How the sorting of candidates sees a node: `None` when a pod has to move or keeps it, else
    /// whether a pod is to be waited for.
    pub(crate) fn empty_with_on_completion<'p>(
        &mut self,
        pods: impl Iterator<Item = &'p Arc<Pod>>,
    ) -> Option<bool> {
        let mut has_on_completion = false;
        let (now, settings) = (self.now, self.settings);
        for pod in pods {
            let rules = self.of_shape(&pod.shape);
            match rules.verdict(pod, None, settings, now) {
                Verdict::Skip => {}
                Verdict::WaitForCompletion => has_on_completion = true,
                Verdict::Move if rules.is_daemonset => {}
                Verdict::Move | Verdict::Block(_) => return None,
            }
        }
        Some(has_on_completion)
    }

    /// The disruption budgets that cover the pod, as indices into the cluster's.
    pub(crate) fn budgets_of(&mut self, pod: &Pod) -> &[u32] {
        &self.of_shape(&pod.shape).budgets
    }

    fn of_shape(&mut self, shape: &Arc<PodShape>) -> &ShapeRules {
        let address = Arc::as_ptr(shape);
        if self.last.0 != address {
            let number = self.by_address.get(&address).copied();
            let number = number.unwrap_or_else(|| {
                let rules = self.work_out(shape);
                self.shapes.push(rules);
                self.by_address.insert(address, self.shapes.len() - 1);
                self.shapes.len() - 1
            });
            self.last = (address, number);
        }
        &self.shapes[self.last.1]
    }

    fn work_out(&self, shape: &Arc<PodShape>) -> ShapeRules {
        let budgets: SmallVec<[u32; 2]> = self
            .budgets
            .get(shape.namespace.as_str())
            .into_iter()
            .flatten()
            .copied()
            .filter(|index| Disruptions::covers(self.cluster, *index, shape))
            .collect();
        let safe_to_evict = shape.safety.safe_to_evict.as_deref();
        let is_daemonset = shape.is_daemonset_pod();
        let is_system =
            self.settings.skip_nodes_with_system_pods && shape.namespace == SYSTEM_NAMESPACE;
        let keeps = if safe_to_evict == Some("false") {
            Some(BlockingReason::NotSafeToEvictAnnotation)
        } else if self.settings.skip_nodes_with_local_storage && has_kept_local_storage(shape) {
            Some(BlockingReason::LocalStorageRequested)
        } else {
            None
        };
        let owner = if safe_to_evict == Some("on-completion") {
            Some(Verdict::WaitForCompletion)
        } else if self.is_replicated(shape) {
            None
        } else {
            Some(Verdict::Block(BlockingReason::NotReplicated))
        };
        ShapeRules {
            is_mirror: shape.safety.is_mirror,
            is_daemonset,
            controller: self.controller_blocks(shape),
            settled: (is_daemonset || safe_to_evict == Some("true")).then_some(Verdict::Move),
            owner,
            is_unprotected_system: is_system && budgets.is_empty(),
            is_system,
            keeps,
            budgets,
            _shape: Arc::clone(shape),
        }
    }

    fn is_replicated(&self, shape: &PodShape) -> bool {
        shape.controller.as_ref().is_some_and(|owner| {
            !self.settings.skip_nodes_with_custom_controller_pods
                || matches!(
                    owner.kind.as_str(),
                    "ReplicationController" | "Job" | "ReplicaSet" | "StatefulSet"
                )
        })
    }

    /// The rule of replica counts. Source: `pkg/simulator/drainability/rules/replicacount`.
    fn controller_blocks(&self, shape: &PodShape) -> Option<BlockingReason> {
        if !self.settings.skip_nodes_with_custom_controller_pods {
            return None;
        }
        let owner = shape.controller.as_ref()?;
        let group = api_group(&owner.api_version)?;
        let (kind, counts_replicas) = match owner.kind.as_str() {
            "ReplicationController" => (WorkloadKind::ReplicationController, true),
            kind if shape.is_daemonset_pod() => {
                if group != "apps" || kind != "DaemonSet" {
                    return None;
                }
                (WorkloadKind::DaemonSet, false)
            }
            "Job" => (WorkloadKind::Job, false),
            "ReplicaSet" => (WorkloadKind::ReplicaSet, true),
            "StatefulSet" if group == "apps" => (WorkloadKind::StatefulSet, false),
            _ => return None,
        };
        let Some(workload) = self.workload(kind, &shape.namespace, owner) else {
            return Some(BlockingReason::ControllerNotFound);
        };
        let has_too_few = counts_replicas
            && workload
                .replicas
                .is_some_and(|replicas| replicas < self.settings.min_replica_count);
        has_too_few.then_some(BlockingReason::MinReplicasReached)
    }

    fn workload(
        &self,
        kind: WorkloadKind,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Option<&'a Workload> {
        self.workloads
            .get(&(kind, namespace, owner.name.as_str()))
            .copied()
    }
}

/// Whether a pod should have been gone for so long that nobody waits for it.
pub(crate) fn is_long_terminating(pod: &Pod, now: Timestamp) -> bool {
    pod.deletion_timestamp.is_some_and(|deletion| {
        let grace = pod
            .shape
            .termination_grace_period_seconds
            .unwrap_or(DEFAULT_GRACE_SECONDS);
        Duration::from_secs(grace)
            .checked_add(LONG_TERMINATING_EXTRA)
            .and_then(|extra| deletion.checked_add(extra).ok())
            .is_some_and(|end| end < now)
    })
}

fn has_ended(pod: &Pod) -> bool {
    match pod.phase {
        Phase::Failed => true,
        Phase::Succeeded => pod.shape.restart_policy != RestartPolicy::Always,
        _ => false,
    }
}

/// The group of an `apiVersion`; `None` where that is not one.
fn api_group(api_version: &str) -> Option<&str> {
    match api_version.split_once('/') {
        None => Some(""),
        Some((_, version)) if version.contains('/') => None,
        Some((group, _)) => Some(group),
    }
}

fn has_kept_local_storage(shape: &PodShape) -> bool {
    let allowed = shape.safety.safe_to_evict_local_volumes.as_deref();
    shape.constraints.volumes.iter().any(|volume| {
        let is_local = matches!(
            volume.source,
            VolumeSource::HostPath | VolumeSource::EmptyDir { in_memory: false }
        );
        is_local && !allowed.is_some_and(|names| names.split(',').any(|name| name == volume.name))
    })
}

/// The pod that keeps a node, as reports have it.
impl From<Blocking> for (ObjectName, SmolStr) {
    fn from(blocking: Blocking) -> Self {
        (blocking.pod, SmolStr::new_static(blocking.reason.as_str()))
    }
}
