use serde::{Deserialize, Serialize};

use crate::{
    LabelSelector, ObjectName, ResourceList, SmolStr, StatusCondition, Timestamp, WorkloadKind,
};

/// A `CapacityBuffer`: room that is to be kept free for pods of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityBuffer {
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// `spec.provisioningStrategy`, or empty.
    pub strategy: SmolStr,
    /// What its pods are like; `None` where it says neither.
    pub source: Option<BufferSource>,
    /// `spec.replicas`: how many pods.
    pub replicas: Option<i64>,
    /// `spec.percentage`: how many, as a share of the scalable object's.
    pub percentage: Option<i64>,
    /// `spec.limits`: what its pods may request together.
    pub limits: Option<ResourceList>,
    /// `status`.
    pub status: BufferStatus,
}

/// What a buffer's pods are like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BufferSource {
    /// `spec.podTemplateRef`: the name of a `PodTemplate` in the buffer's namespace.
    PodTemplate(SmolStr),
    /// `spec.scalableRef`: an object with the subresource `scale` in the buffer's namespace.
    Scalable {
        /// `apiGroup`; empty is the core's.
        api_group: SmolStr,
        /// `kind`.
        kind: SmolStr,
        /// `name`.
        name: SmolStr,
    },
}

/// What the template that is kept for a buffer is made from; names are of the buffer's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateSource {
    /// A `PodTemplate` of this name.
    PodTemplate(SmolStr),
    /// The template of a workload.
    Workload {
        /// Its kind.
        kind: WorkloadKind,
        /// Its name.
        name: SmolStr,
    },
    /// A pod of this name.
    Pod(SmolStr),
}

/// `status` of a `CapacityBuffer`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BufferStatus {
    /// `podTemplateRef.name`: the template in use.
    pub pod_template: Option<SmolStr>,
    /// `podTemplateGeneration`: that template's generation.
    pub pod_template_generation: Option<i64>,
    /// `replicas`: how many pods.
    pub replicas: Option<i64>,
    /// `provisioningStrategy`.
    pub strategy: Option<SmolStr>,
    /// `conditions`.
    pub conditions: Vec<StatusCondition>,
}

/// A `CapacityQuota`: the most that the nodes of a kind may have together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityQuota {
    /// The name.
    pub name: SmolStr,
    /// The object's uid.
    pub uid: SmolStr,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.selector`; `None` is every node.
    pub selector: Option<LabelSelector>,
    /// `spec.limits.resources`.
    pub limits: ResourceList,
    /// `status`.
    pub status: QuotaStatus,
}

/// `status` of a `CapacityQuota`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// `used.resources`: what its nodes have, in whole units, by name.
    pub used: Vec<(SmolStr, i64)>,
    /// `observedGeneration`.
    pub observed_generation: Option<i64>,
    /// `conditions`.
    pub conditions: Vec<StatusCondition>,
}

/// A `ResourceQuota`: the most that the pods of a namespace may request together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceQuota {
    /// Namespace and name.
    pub name: ObjectName,
    /// Which pods it counts: all that every scope matches.
    pub scopes: Vec<QuotaScope>,
    /// `status.hard`.
    pub hard: ResourceList,
    /// `status.used`.
    pub used: ResourceList,
}

/// One entry of `spec.scopes` or `spec.scopeSelector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaScope {
    /// `Terminating`, `BestEffort`, `PriorityClass` …
    pub name: SmolStr,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`; `Exists` for an entry of `spec.scopes`.
    pub operator: SmolStr,
    /// The values of `In` and `NotIn`.
    pub values: Vec<SmolStr>,
}
