use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{LabelSelector, Labels, ObjectName, Pod, SmolStr, Timestamp};

/// What kind of controller a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `ReplicaSet`.
    ReplicaSet,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
    /// `batch/v1` Job.
    Job,
    /// `v1` `ReplicationController`.
    ReplicationController,
}

impl WorkloadKind {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::ReplicationController => "ReplicationController",
        }
    }
}

/// A controller of pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The kind.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// `spec.replicas`; a Job's parallelism.
    pub replicas: Option<i64>,
    /// A Job's `spec.completions`.
    pub completions: Option<i64>,
    /// `status.replicas`; a Job's `status.active`; a `StatefulSet`'s `status.currentReplicas`.
    pub current_replicas: i64,
    /// A Job's `status.succeeded`.
    pub succeeded: i64,
    /// `spec.selector`; a `ReplicationController`'s label map.
    pub selector: Option<LabelSelector>,
    /// `spec.podManagementPolicy` is `Parallel`.
    pub is_parallel: bool,
    /// The pod that its template makes, unbound and without a name of its own; with the
    /// tolerations that the `DaemonSet` controller adds.
    pub template: Option<Arc<Pod>>,
}

/// A `PodDisruptionBudget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisruptionBudget {
    /// Namespace and name.
    pub name: ObjectName,
    /// Which pods of its namespace; `None` is none.
    pub selector: Option<LabelSelector>,
    /// `status.disruptionsAllowed`.
    pub disruptions_allowed: i32,
}

impl DisruptionBudget {
    /// Whether it protects a pod of this namespace with these labels.
    pub fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.name.namespace == namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }
}

/// A Service, of which default spread constraints read the selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `spec.selector`; `None` when null.
    pub selector: Option<Labels>,
}
