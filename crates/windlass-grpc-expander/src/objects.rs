//! From the model to Kubernetes' messages.
//!
//! The model keeps what decisions read, so a server sees pods and nodes by that: names, labels,
//! the controlling owner, requests (of the whole pod, as one container), selectors, affinity,
//! tolerations, spread, priority; taints, capacity, allocatable, conditions. Images, environment,
//! volumes and most annotations of pods are not there.

use std::collections::BTreeMap;

use prost::Message as _;
use windlass_model::{
    AffinityTerm, ConditionStatus, Constraints, InclusionPolicy, Labels, Phase, PodShape,
    Requirement, RequirementOperator, ResourceList, Resources, SmolStr, SpreadConstraint,
    Timestamp, TolerationOperator, WhenUnsatisfiable,
};

use crate::kubernetes as k8s;

/// A pod as protobuf.
pub(crate) fn pod_bytes(pod: &windlass_model::Pod) -> Vec<u8> {
    let shape = &pod.shape;
    let owner = shape.controller.as_ref().map(|owner| k8s::OwnerReference {
        kind: text(&owner.kind),
        name: text(&owner.name),
        uid: text(&owner.uid),
        api_version: text(&owner.api_version),
        controller: Some(true),
    });
    let message = k8s::Pod {
        metadata: Some(k8s::ObjectMeta {
            name: text(&pod.name),
            namespace: text(&shape.namespace),
            uid: text(&pod.uid),
            creation_timestamp: pod.created_at.map(time),
            labels: map(&shape.labels),
            annotations: BTreeMap::new(),
            owner_references: owner.into_iter().collect(),
        }),
        spec: Some(pod_spec(shape)),
        status: Some(k8s::PodStatus {
            phase: Some(phase(pod.phase).to_owned()),
        }),
    };
    message.encode_to_vec()
}

/// A node as protobuf.
pub(crate) fn node_bytes(node: &windlass_model::Node) -> Vec<u8> {
    let taints = node.taints.iter().map(|taint| k8s::Taint {
        key: text(&taint.key),
        value: text(&taint.value),
        effect: Some(taint.effect.as_str().to_owned()),
    });
    let conditions = node.conditions.iter().map(|condition| k8s::NodeCondition {
        r#type: text(&condition.kind),
        status: Some(condition_status(condition.status).to_owned()),
        last_transition_time: condition.last_transition.map(time),
        reason: text(&condition.reason),
    });
    let message = k8s::Node {
        metadata: Some(k8s::ObjectMeta {
            name: text(&node.name),
            uid: text(&node.uid),
            creation_timestamp: node.created_at.map(time),
            labels: map(&node.labels),
            annotations: map(&node.annotations),
            ..k8s::ObjectMeta::default()
        }),
        spec: Some(k8s::NodeSpec {
            provider_id: text(&node.provider_id),
            unschedulable: node.unschedulable.then_some(true),
            taints: taints.collect(),
        }),
        status: Some(k8s::NodeStatus {
            capacity: amounts(&node.capacity),
            allocatable: amounts(&node.allocatable),
            conditions: conditions.collect(),
        }),
    };
    message.encode_to_vec()
}

fn pod_spec(shape: &PodShape) -> k8s::PodSpec {
    let constraints = &shape.constraints;
    let tolerations = constraints.tolerations.iter().map(|toleration| {
        let operator = match &toleration.operator {
            TolerationOperator::Equal => "Equal",
            TolerationOperator::Exists => "Exists",
            TolerationOperator::Other(word) => word,
        };
        k8s::Toleration {
            key: text(&toleration.key),
            operator: Some(operator.to_owned()),
            value: text(&toleration.value),
            effect: toleration
                .effect
                .as_ref()
                .map(|effect| effect.as_str().to_owned()),
        }
    });
    k8s::PodSpec {
        containers: vec![k8s::Container {
            name: Some("requests".to_owned()),
            resources: Some(k8s::ResourceRequirements {
                requests: requests(&shape.requests),
            }),
        }],
        termination_grace_period_seconds: shape.termination_grace_period_seconds,
        node_selector: constraints
            .node_selector
            .as_ref()
            .map(map)
            .unwrap_or_default(),
        node_name: constraints.node_name.as_ref().and_then(text),
        affinity: affinity(constraints),
        scheduler_name: text(&shape.scheduler_name),
        tolerations: tolerations.collect(),
        priority_class_name: text(&shape.priority_class_name),
        priority: shape.priority,
        topology_spread_constraints: constraints.spread.iter().map(spread).collect(),
    }
}

fn affinity(constraints: &Constraints) -> Option<k8s::Affinity> {
    let node_affinity = constraints.node_affinity.as_ref().map(|selector| {
        let terms = selector.terms.iter().map(|term| k8s::NodeSelectorTerm {
            match_expressions: term
                .match_expressions
                .iter()
                .map(node_requirement)
                .collect(),
            match_fields: term.match_fields.iter().map(node_requirement).collect(),
        });
        k8s::NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(k8s::NodeSelector {
                node_selector_terms: terms.collect(),
            }),
        }
    });
    let affinity = k8s::Affinity {
        node_affinity,
        pod_affinity: pod_affinity(&constraints.affinity),
        pod_anti_affinity: pod_affinity(&constraints.anti_affinity),
    };
    (affinity != k8s::Affinity::default()).then_some(affinity)
}

fn pod_affinity(terms: &[AffinityTerm]) -> Option<k8s::PodAffinity> {
    if terms.is_empty() {
        return None;
    }
    let terms = terms.iter().map(|term| k8s::PodAffinityTerm {
        label_selector: term.selector.as_ref().map(label_selector),
        namespaces: term.namespaces.iter().map(ToString::to_string).collect(),
        topology_key: text(&term.topology_key),
        namespace_selector: term.namespace_selector.as_ref().map(label_selector),
    });
    Some(k8s::PodAffinity {
        required_during_scheduling_ignored_during_execution: terms.collect(),
    })
}

fn spread(constraint: &SpreadConstraint) -> k8s::TopologySpreadConstraint {
    let when_unsatisfiable = match constraint.when_unsatisfiable {
        WhenUnsatisfiable::DoNotSchedule => "DoNotSchedule",
        WhenUnsatisfiable::ScheduleAnyway => "ScheduleAnyway",
    };
    k8s::TopologySpreadConstraint {
        max_skew: Some(constraint.max_skew),
        topology_key: text(&constraint.topology_key),
        when_unsatisfiable: Some(when_unsatisfiable.to_owned()),
        label_selector: constraint.selector.as_ref().map(label_selector),
        min_domains: Some(constraint.min_domains),
        node_affinity_policy: Some(policy(constraint.node_affinity_policy).to_owned()),
        node_taints_policy: Some(policy(constraint.node_taints_policy).to_owned()),
        match_label_keys: constraint
            .match_label_keys
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn policy(policy: InclusionPolicy) -> &'static str {
    match policy {
        InclusionPolicy::Honor => "Honor",
        InclusionPolicy::Ignore => "Ignore",
    }
}

fn label_selector(selector: &windlass_model::LabelSelector) -> k8s::LabelSelector {
    let expressions = selector.requirements.iter().map(|requirement| {
        let k8s::NodeSelectorRequirement {
            key,
            operator,
            values,
        } = node_requirement(requirement);
        k8s::LabelSelectorRequirement {
            key,
            operator,
            values,
        }
    });
    k8s::LabelSelector {
        match_labels: BTreeMap::new(),
        match_expressions: expressions.collect(),
    }
}

fn node_requirement(requirement: &Requirement) -> k8s::NodeSelectorRequirement {
    let operator = match &requirement.operator {
        RequirementOperator::In => "In",
        RequirementOperator::NotIn => "NotIn",
        RequirementOperator::Exists => "Exists",
        RequirementOperator::DoesNotExist => "DoesNotExist",
        RequirementOperator::Gt => "Gt",
        RequirementOperator::Lt => "Lt",
        RequirementOperator::Unknown(word) => word,
    };
    k8s::NodeSelectorRequirement {
        key: text(&requirement.key),
        operator: Some(operator.to_owned()),
        values: requirement.values.iter().map(ToString::to_string).collect(),
    }
}

fn requests(requests: &Resources) -> BTreeMap<String, k8s::Quantity> {
    let core = [
        (
            "cpu",
            windlass_model::Quantity::from_millis(requests.milli_cpu),
        ),
        (
            "memory",
            windlass_model::Quantity::from_bytes(requests.memory_bytes),
        ),
        (
            "ephemeral-storage",
            windlass_model::Quantity::from_bytes(requests.ephemeral_storage_bytes),
        ),
    ];
    let core = core
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), amount));
    let scalars = requests.scalars.iter();
    let scalars = scalars.map(|(name, amount)| {
        (
            name.to_string(),
            windlass_model::Quantity::from_units(*amount),
        )
    });
    core.chain(scalars)
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(name, amount)| (name, quantity(amount)))
        .collect()
}

fn amounts(list: &ResourceList) -> BTreeMap<String, k8s::Quantity> {
    list.iter()
        .map(|(name, amount)| (name.to_string(), quantity(amount)))
        .collect()
}

fn quantity(amount: windlass_model::Quantity) -> k8s::Quantity {
    k8s::Quantity {
        string: Some(amount.to_string()),
    }
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn time(at: Timestamp) -> k8s::Time {
    k8s::Time {
        seconds: Some(at.as_second()),
        nanos: Some(at.subsec_nanosecond()),
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Unknown => "Unknown",
    }
}

fn condition_status(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

fn text(text: &SmolStr) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}
