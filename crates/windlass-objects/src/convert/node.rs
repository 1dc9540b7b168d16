use windlass_model::{Condition, ConditionStatus, Namespace, Node, ResourceList, SmolStr, Taint};

use crate::api;

use super::{Converter, Origin};

impl Converter {
    /// A node.
    pub fn node(&mut self, node: &api::Node) -> Node {
        let api::Node {
            metadata,
            spec,
            status,
        } = node;
        let capacity = status.capacity.0.clone();
        let allocatable = match &status.allocatable {
            Some(allocatable) => allocatable.0.clone(),
            None if self.origin == Origin::Scenario => capacity.clone(),
            None => ResourceList::default(),
        };
        let declared_features = declared_features(&status.declared_features);
        Node {
            name: metadata.name.clone(),
            uid: self.node_uid(metadata),
            provider_id: spec.provider_id.clone(),
            created_at: metadata.creation_timestamp,
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            labels: metadata
                .labels
                .0
                .with_shared_keys(|key| self.label_key(key)),
            annotations: metadata.annotations.0.clone(),
            taints: spec.taints.iter().map(taint).collect(),
            unschedulable: spec.unschedulable,
            capacity,
            allocatable,
            conditions: status.conditions.iter().map(condition).collect(),
            declared_features,
        }
    }

    fn node_uid(&self, metadata: &api::Metadata) -> SmolStr {
        if metadata.uid.is_empty() {
            self.made_uid("Node", "", &metadata.name)
        } else {
            metadata.uid.clone()
        }
    }

    /// A namespace.
    pub fn namespace_object(&self, namespace: &api::Namespace) -> Namespace {
        Namespace {
            name: namespace.metadata.name.clone(),
            labels: namespace.metadata.labels.0.clone(),
        }
    }
}

fn taint(taint: &api::Taint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.as_str().into(),
        time_added: taint.time_added,
    }
}

fn condition(condition: &api::Condition) -> Condition {
    let status = match condition.status.as_str() {
        "True" => ConditionStatus::True,
        "False" => ConditionStatus::False,
        _ => ConditionStatus::Unknown,
    };
    Condition {
        kind: condition.kind.clone(),
        status,
        reason: condition.reason.clone(),
        last_transition: condition.last_transition_time,
    }
}

/// The list is to be sorted: the scheduler reads it so, and does not see what comes too late.
/// Source: `k8s.io/component-helpers/nodedeclaredfeatures` `mapSorted`.
fn declared_features(listed: &[SmolStr]) -> Vec<SmolStr> {
    let mut seen: Vec<SmolStr> = Vec::new();
    for feature in listed {
        if seen.last().is_none_or(|last| last <= feature) {
            seen.push(feature.clone());
        }
    }
    seen
}
