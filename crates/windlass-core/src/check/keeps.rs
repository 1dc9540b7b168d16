//! Which pods keep their node: the drain rules once more, told as a person would.

use std::collections::BTreeSet;

use windlass_model::{
    Cluster, Duration, Phase, Pod, RestartPolicy, SmolStr, Timestamp, VolumeSource, WorkloadKind,
};

use crate::Input;

/// The cluster's objects, for the rules to look things up in.
pub(super) struct Rules<'a> {
    input: &'a Input<'a>,
    controllers: BTreeSet<(WorkloadKind, &'a str, &'a str)>,
    too_small: BTreeSet<(WorkloadKind, &'a str, &'a str)>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        let min = input.config.drain.min_replica_count;
        let mut controllers = BTreeSet::new();
        let mut too_small = BTreeSet::new();
        for workload in &input.cluster.workloads {
            let name = &workload.name;
            let key = (workload.kind, name.namespace.as_str(), name.name.as_str());
            controllers.insert(key);
            if workload.replicas.is_some_and(|replicas| replicas < min) {
                too_small.insert(key);
            }
        }
        Self {
            input,
            controllers,
            too_small,
        }
    }

    /// Whether nobody is asked before the pod ends: it mirrors a file of the kubelet, is long
    /// overdue, has ended, or is expendable.
    pub(super) fn does_not_count(&self, pod: &Pod) -> bool {
        let is_expendable = pod.shape.priority.is_some_and(|priority| {
            i64::from(priority) < self.input.config.scale_up.expendable_pods_priority_cutoff
        });
        pod.shape.safety.is_mirror
            || is_expendable
            || pod.phase == Phase::Succeeded
            || pod.phase == Phase::Failed
            || is_overdue(pod, self.input.now)
    }

    /// Whether a `DaemonSet` runs it on every node.
    pub(super) fn is_of_daemonset(pod: &Pod) -> bool {
        let owner = pod.shape.controller.as_ref();
        pod.shape.safety.is_annotated_daemonset_pod
            || owner.is_some_and(|owner| owner.kind == "DaemonSet")
    }

    /// The disruption budgets that cover the pod, as indices.
    pub(super) fn budgets(&self, pod: &Pod) -> Vec<usize> {
        budgets(self.input.cluster, pod)
    }

    /// Why the pod keeps its node, disruption budgets apart.
    pub(super) fn reason(&self, pod: &Pod) -> Option<&'static str> {
        let settings = &self.input.config.drain;
        let shape = &pod.shape;
        if self.does_not_count(pod) {
            return None;
        }
        if settings.skip_nodes_with_custom_controller_pods && self.lacks_controller(pod) {
            return Some("its controller is gone or too small");
        }
        if Self::is_of_daemonset(pod) {
            return None;
        }
        let wish = shape.safety.safe_to_evict.as_deref();
        if wish == Some("true") || wish == Some("on-completion") {
            return None;
        }
        let has_ended = pod.phase == Phase::Failed
            || pod.phase == Phase::Succeeded && shape.restart_policy != RestartPolicy::Always;
        if has_ended {
            return None;
        }
        let known = ["ReplicationController", "Job", "ReplicaSet", "StatefulSet"];
        let is_replicated = shape.controller.as_ref().is_some_and(|owner| {
            !settings.skip_nodes_with_custom_controller_pods || known.contains(&owner.kind.as_str())
        });
        if !is_replicated {
            return Some("nobody makes it again");
        }
        let is_bare_system_pod = settings.skip_nodes_with_system_pods
            && shape.namespace == "kube-system"
            && self.budgets(pod).is_empty();
        if is_bare_system_pod {
            return if self.is_old_system_pod(pod) {
                None
            } else {
                Some("it is a young pod of kube-system")
            };
        }
        if wish == Some("false") {
            return Some("its annotation says so");
        }
        if settings.skip_nodes_with_local_storage && has_local_storage(pod) {
            return Some("it has local storage");
        }
        None
    }

    /// Whether a disruption budget that is used up keeps the pod. Pods that may be evicted
    /// whatever else is so are moved without asking it; the API server asks it all the same.
    pub(super) fn asks_budgets(&self, pod: &Pod) -> bool {
        let settings = &self.input.config.drain;
        let wish = pod.shape.safety.safe_to_evict.as_deref();
        let is_bare_system_pod = settings.skip_nodes_with_system_pods
            && pod.shape.namespace == "kube-system"
            && self.budgets(pod).is_empty();
        !self.does_not_count(pod)
            && !Self::is_of_daemonset(pod)
            && wish != Some("true")
            && wish != Some("on-completion")
            && !is_bare_system_pod
    }

    fn is_old_system_pod(&self, pod: &Pod) -> bool {
        let timeout = self
            .input
            .config
            .drain
            .blocking_system_pod_disruption_timeout;
        pod.created_at
            .is_some_and(|created| self.input.now.duration_since(created) > timeout)
    }

    fn lacks_controller(&self, pod: &Pod) -> bool {
        let Some(owner) = &pod.shape.controller else {
            return false;
        };
        let parts: Vec<&str> = owner.api_version.split('/').collect();
        let is_apps = parts.len() == 2 && parts[0] == "apps";
        let kind = match owner.kind.as_str() {
            _ if parts.len() > 2 => return false,
            "ReplicationController" => WorkloadKind::ReplicationController,
            "DaemonSet" if is_apps => WorkloadKind::DaemonSet,
            _ if Self::is_of_daemonset(pod) => return false,
            "Job" => WorkloadKind::Job,
            "ReplicaSet" => WorkloadKind::ReplicaSet,
            "StatefulSet" if is_apps => WorkloadKind::StatefulSet,
            _ => return false,
        };
        let key = (kind, pod.shape.namespace.as_str(), owner.name.as_str());
        let counts = matches!(
            kind,
            WorkloadKind::ReplicationController | WorkloadKind::ReplicaSet
        );
        !self.controllers.contains(&key) || counts && self.too_small.contains(&key)
    }
}

fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let grace = pod.shape.termination_grace_period_seconds.unwrap_or(30);
    pod.deletion_timestamp
        .is_some_and(|at| now.duration_since(at) > Duration::from_secs(grace.saturating_add(30)))
}

fn has_local_storage(pod: &Pod) -> bool {
    let allowed: Vec<&str> = pod
        .shape
        .safety
        .safe_to_evict_local_volumes
        .as_ref()
        .map_or_else(Vec::new, |names: &SmolStr| names.split(',').collect());
    pod.shape.constraints.volumes.iter().any(|volume| {
        let is_local = match volume.source {
            VolumeSource::HostPath => true,
            VolumeSource::EmptyDir { in_memory } => !in_memory,
            _ => false,
        };
        is_local && !allowed.contains(&volume.name.as_str())
    })
}

/// The disruption budgets that cover a pod; one whose selector cannot be read covers its whole
/// namespace.
pub(super) fn budgets(cluster: &Cluster, pod: &Pod) -> Vec<usize> {
    cluster
        .disruption_budgets
        .iter()
        .enumerate()
        .filter(|(_, budget)| budget.name.namespace == pod.shape.namespace)
        .filter(|(_, budget)| {
            budget
                .selector
                .as_ref()
                .is_some_and(|selector| !selector.is_valid() || selector.matches(&pod.shape.labels))
        })
        .map(|(index, _)| index)
        .collect()
}
