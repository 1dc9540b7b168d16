//! What nodes, pods and the status object say of a run. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_model::Quantity;

use super::cluster::Placement;
use super::progress::{NodeState, PodState};
use super::sizing::Room;
use crate::json::{items, text};
use crate::nodes::UNINITIALIZED;

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// The toleration of a taint `key=value:Effect`.
pub(super) fn toleration(taint: &str) -> Value {
    let (taint, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
    match taint.split_once('=') {
        Some((key, value)) => json!({
            "key": key, "operator": "Equal", "value": value, "effect": effect,
        }),
        None => json!({ "key": taint, "operator": "Exists", "effect": effect }),
    }
}

pub(super) fn pod_state(pod: &Value) -> PodState {
    let conditions = pod["status"]["conditions"].as_array();
    let unschedulable = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == "PodScheduled" && condition["reason"] == "Unschedulable"
    });
    let node = Some(text(pod, "/spec/nodeName")).filter(|name| !name.is_empty());
    PodState {
        unschedulable: unschedulable
            .filter(|_| node.is_none())
            .map(|condition| text(condition, "/message").to_owned()),
        node: node.map(str::to_owned),
        is_running: text(pod, "/status/phase") == "Running",
    }
}

/// Taints that keep pods away, as `key=value:Effect`.
pub(super) fn hard_taints(node: &Value) -> Vec<String> {
    let taints = node["spec"]["taints"].as_array();
    taints
        .into_iter()
        .flatten()
        .filter(|taint| taint["effect"] != "PreferNoSchedule")
        .map(|taint| {
            let value = text(taint, "/value");
            let key = text(taint, "/key");
            let effect = text(taint, "/effect");
            if value.is_empty() {
                format!("{key}:{effect}")
            } else {
                format!("{key}={value}:{effect}")
            }
        })
        .collect()
}

pub(super) fn node_state(node: &Value, placement: &Placement) -> NodeState {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let not_ready = match ready {
        Some(condition) if condition["status"] == "True" => None,
        Some(condition) => Some(format!(
            "{}: {}",
            text(condition, "/reason"),
            text(condition, "/message")
        )),
        None => Some("no condition Ready yet".to_owned()),
    };
    let taints = hard_taints(node);
    let lacks =
        placement.selector.as_ref().and_then(|(key, value)| {
            match node["metadata"]["labels"][key.as_str()].as_str() {
                Some(found) if found == value => None,
                Some(found) => Some(format!("its label {key} is {found}, the pods want {value}")),
                None => Some(format!("it has no label {key}, the pods want {value}")),
            }
        });
    NodeState {
        not_ready,
        is_uninitialized: taints.iter().any(|taint| taint.starts_with(UNINITIALIZED)),
        taints: taints
            .into_iter()
            .filter(|taint| !placement.tolerated.contains(taint))
            .collect(),
        lacks,
        provider_id: text(node, "/spec/providerID").to_owned(),
    }
}

pub(super) fn takes_pods(node: &Value, placement: &Placement) -> bool {
    let state = node_state(node, placement);
    state.not_ready.is_none()
        && state.taints.is_empty()
        && state.lacks.is_none()
        && node["spec"]["unschedulable"] != true
}

/// The pods of a list that are in other namespaces.
pub(super) fn outside(namespace: &str, mut pods: Value) -> Value {
    if let Some(pods) = pods["items"].as_array_mut() {
        pods.retain(|pod| text(pod, "/metadata/namespace") != namespace);
    }
    pods
}

/// What is free on a node, and what a new one of its kind would have.
pub(super) fn room(node: &Value, pods: &Value) -> Room {
    let name = text(node, "/metadata/name");
    let allocatable = &node["status"]["allocatable"];
    let cpu = quantity(&allocatable["cpu"]).map_or(0, Quantity::millis_ceil);
    let memory = quantity(&allocatable["memory"]).map_or(0, Quantity::units_ceil);
    let mut room = Room {
        empty_cpu_milli: cpu,
        free_cpu_milli: cpu,
        free_memory_bytes: memory,
    };
    for pod in items(pods) {
        if text(pod, "/spec/nodeName") != name || is_over(pod) {
            continue;
        }
        let (cpu, memory) = requests(pod);
        room.free_cpu_milli -= cpu;
        room.free_memory_bytes -= memory;
        if is_daemon(pod) {
            room.empty_cpu_milli -= cpu;
        }
    }
    room
}

pub(super) fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// Whether every node has such a pod, or its kubelet made it.
pub(super) fn is_daemon(pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner["kind"] == "DaemonSet" || owner["kind"] == "Node")
}

/// CPU in thousandths and memory in bytes that a pod's containers ask for.
fn requests(pod: &Value) -> (i64, i64) {
    let containers = pod["spec"]["containers"].as_array();
    containers
        .into_iter()
        .flatten()
        .map(|container| {
            let requests = &container["resources"]["requests"];
            (
                quantity(&requests["cpu"]).map_or(0, Quantity::millis_ceil),
                quantity(&requests["memory"]).map_or(0, Quantity::units_ceil),
            )
        })
        .fold((0, 0), |(cpu, memory), (more_cpu, more_memory)| {
            (cpu + more_cpu, memory + more_memory)
        })
}

/// The groups of the status text: name, target and maximum.
pub(super) fn groups_of(status: &str) -> BTreeMap<String, (i64, i64)> {
    // The real layout is YAML; whatever else somebody has written there tells of no groups.
    let status: Value = serde_saphyr::from_str(status).unwrap_or_default();
    let groups = status["nodeGroups"].as_array();
    groups
        .into_iter()
        .flatten()
        .filter_map(|group| {
            let health = &group["health"];
            let sizes = (
                health["cloudProviderTarget"].as_i64()?,
                health["maxSize"].as_i64()?,
            );
            Some((group["name"].as_str()?.to_owned(), sizes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_the_status() {
        let status = "nodeGroups:\n- health:\n    cloudProviderTarget: 2\n    maxSize: 5\n  \
                      name: web\n";
        assert_eq!(groups_of(status), [("web".to_owned(), (2, 5))].into());
        assert!(groups_of("Initializing").is_empty());
    }

    #[test]
    fn a_taint_is_tolerated_as_it_is() {
        assert_eq!(
            toleration("dedicated=gpu:NoSchedule"),
            json!({ "key": "dedicated", "operator": "Equal", "value": "gpu",
                    "effect": "NoSchedule" })
        );
        assert_eq!(
            toleration("dedicated:NoExecute"),
            json!({ "key": "dedicated", "operator": "Exists", "effect": "NoExecute" })
        );
    }

    #[test]
    fn daemon_sets_are_on_new_nodes_too() {
        let node = json!({
            "metadata": { "name": "a" },
            "status": { "allocatable": { "cpu": "2", "memory": "4Gi" } },
        });
        let pod = |owner: &str, phase: &str| {
            json!({
                "metadata": { "ownerReferences": [{ "kind": owner }] },
                "spec": {
                    "nodeName": "a",
                    "containers": [{ "resources": { "requests": { "cpu": "250m" } } }],
                },
                "status": { "phase": phase },
            })
        };
        let pods = json!({ "items": [
            pod("DaemonSet", "Running"), pod("ReplicaSet", "Running"), pod("Job", "Succeeded"),
        ] });
        let room = room(&node, &pods);
        assert_eq!((room.empty_cpu_milli, room.free_cpu_milli), (1750, 1500));
    }

    #[test]
    fn pods_of_an_earlier_run_take_no_room() {
        let node = json!({
            "metadata": { "name": "a" },
            "status": { "allocatable": { "cpu": "2", "memory": "4Gi" } },
        });
        let pod = |namespace: &str| {
            json!({
                "metadata": { "namespace": namespace },
                "spec": {
                    "nodeName": "a",
                    "containers": [{ "resources": { "requests": { "cpu": "1200m" } } }],
                },
            })
        };
        let pods = json!({ "items": [pod("windlass-verify")] });
        let room_with = |pods: Value| room(&node, &outside("windlass-verify", pods)).free_cpu_milli;
        assert_eq!(room_with(pods), 2000);
        assert_eq!(room_with(json!({ "items": [pod("shop")] })), 800);
    }
}
