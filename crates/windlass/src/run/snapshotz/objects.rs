//! Nodes and pods of the model as Kubernetes objects. What no decision reads is not in the model,
//! and so not here.

use serde_json::{Map, Value, json};
use windlass_model::{
    ConditionStatus, Labels, Node, Phase, Pod, PodScheduled, Quantity, ResourceList, Resources,
    TolerationOperator,
};

/// A `v1` Node.
pub(super) fn node(node: &Node) -> Value {
    let taints: Vec<Value> = node
        .taints
        .iter()
        .map(|taint| {
            json!({
                "key": taint.key,
                "value": taint.value,
                "effect": taint.effect.as_str(),
                "timeAdded": taint.time_added,
            })
        })
        .collect();
    let conditions: Vec<Value> = node
        .conditions
        .iter()
        .map(|condition| {
            let status = match condition.status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            };
            json!({
                "type": condition.kind,
                "status": status,
                "reason": condition.reason,
                "lastTransitionTime": condition.last_transition,
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "uid": node.uid,
            "creationTimestamp": node.created_at,
            "labels": pairs(&node.labels),
            "annotations": pairs(&node.annotations),
        },
        "spec": {
            "providerID": node.provider_id,
            "unschedulable": node.unschedulable,
            "taints": taints,
        },
        "status": {
            "capacity": amounts(&node.capacity),
            "allocatable": amounts(&node.allocatable),
            "conditions": conditions,
        },
    })
}

/// A `v1` Pod. What its containers request together is in one.
pub(super) fn pod(pod: &Pod) -> Value {
    let shape = &pod.shape;
    let constraints = &shape.constraints;
    let owners: Vec<Value> = shape
        .controller
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
            })
        })
        .collect();
    let tolerations: Vec<Value> = constraints
        .tolerations
        .iter()
        .map(|toleration| {
            json!({
                "key": toleration.key,
                "operator": operator(&toleration.operator),
                "value": toleration.value,
                "effect": toleration.effect.as_ref().map(|effect| effect.as_str().to_owned()),
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": shape.namespace,
            "uid": pod.uid,
            "creationTimestamp": pod.created_at,
            "deletionTimestamp": pod.deletion_timestamp,
            "labels": pairs(&shape.labels),
            "ownerReferences": owners,
        },
        "spec": {
            "nodeName": pod.node_name,
            "priority": shape.priority,
            "schedulerName": shape.scheduler_name,
            "nodeSelector": constraints.node_selector.as_ref().map(pairs),
            "tolerations": tolerations,
            "containers": [{
                "name": "all",
                "resources": {"requests": requests(pod.requests_on_node())},
            }],
        },
        "status": {
            "phase": phase(pod.phase),
            "nominatedNodeName": pod.nominated_node_name,
            "conditions": scheduled(pod.scheduled),
        },
    })
}

fn pairs(labels: &Labels) -> Value {
    let pairs = labels.iter();
    pairs
        .map(|(key, value)| (key.to_string(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn amounts(list: &ResourceList) -> Value {
    let amounts = list.iter();
    amounts
        .map(|(name, amount)| (name.to_string(), json!(amount.to_string())))
        .collect::<Map<_, _>>()
        .into()
}

fn requests(resources: &Resources) -> Value {
    let Resources {
        milli_cpu,
        memory_bytes,
        ephemeral_storage_bytes,
        pods: _,
        scalars,
    } = resources;
    let mut requests = Map::new();
    let mut put = |name: &str, amount: Quantity| {
        if !amount.is_zero() {
            requests.insert(name.to_owned(), json!(amount.to_string()));
        }
    };
    put("cpu", Quantity::from_millis(*milli_cpu));
    put("memory", Quantity::from_bytes(*memory_bytes));
    put(
        "ephemeral-storage",
        Quantity::from_bytes(*ephemeral_storage_bytes),
    );
    for (name, amount) in scalars {
        put(name, Quantity::from_units(*amount));
    }
    requests.into()
}

fn operator(operator: &TolerationOperator) -> Value {
    match operator {
        TolerationOperator::Exists => json!("Exists"),
        TolerationOperator::Equal => json!("Equal"),
        TolerationOperator::Other(word) => json!(word),
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

/// The condition `PodScheduled`, where it is known.
fn scheduled(scheduled: PodScheduled) -> Value {
    let condition = match scheduled {
        PodScheduled::Absent | PodScheduled::Other => return json!([]),
        PodScheduled::Scheduled => json!({"type": "PodScheduled", "status": "True"}),
        PodScheduled::NoReason => json!({"type": "PodScheduled", "status": "False"}),
        PodScheduled::Unschedulable { since } => json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "lastTransitionTime": since,
        }),
    };
    json!([condition])
}
