use serde::{Deserialize, Serialize};

use crate::{Labels, ResourceList, SmolStr, Taint, Timestamp};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// The kubelet has not been heard of.
    Unknown,
}

/// One of a node's conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// `Ready`, `DiskPressure`, …
    pub kind: SmolStr,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// A word of the writer's.
    pub reason: SmolStr,
    /// Since when.
    pub last_transition: Option<Timestamp>,
}

/// A node, as decisions see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Node {
    /// The name.
    pub name: SmolStr,
    /// The object's uid.
    pub uid: SmolStr,
    /// `spec.providerID`: `aws:///ZONE/INSTANCE-ID` on AWS; empty when not set.
    pub provider_id: SmolStr,
    /// When the object was created.
    pub created_at: Option<Timestamp>,
    /// Whether the object is being deleted.
    pub is_being_deleted: bool,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Taints, in the order given.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// What the machine has.
    pub capacity: ResourceList,
    /// What pods may request of it.
    pub allocatable: ResourceList,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// `status.declaredFeatures`, sorted. Source: KEP-5328.
    pub declared_features: Vec<SmolStr>,
}

impl Node {
    /// The condition of this kind.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// The first taint with this key, of whatever effect.
    pub fn taint(&self, key: &str) -> Option<&Taint> {
        self.taints.iter().find(|taint| taint.key == key)
    }
}
