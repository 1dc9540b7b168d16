use std::sync::Arc;

use crate::{Labels, ObjectName, Pod, SmolStr, StatusCondition, Timestamp};

/// A `ProvisioningRequest`: pods that somebody is going to make, if there is room for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisioningRequest {
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// `spec.provisioningClassName`: what is to be done about it.
    pub class: SmolStr,
    /// `spec.podSets`.
    pub pod_sets: Vec<PodSet>,
    /// `spec.parameters`.
    pub parameters: Labels,
    /// `status.conditions`.
    pub conditions: Vec<StatusCondition>,
}

/// So many pods of one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSet {
    /// The name of a `PodTemplate` in the request's namespace.
    pub template: SmolStr,
    /// How many pods.
    pub count: i64,
}

/// A `PodTemplate` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTemplate {
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// `metadata.generation`: it grows with each change of the template.
    pub generation: i64,
    /// `metadata.annotations`, of the object rather than of its pods.
    pub annotations: Labels,
    /// The pod that it makes, unbound, without a name and without an owner.
    pub pod: Arc<Pod>,
}
