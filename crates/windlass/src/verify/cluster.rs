//! The cluster as the test sees it: what it looks at, what it makes, what it takes away again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::{Api, ApiError};
use windlass_model::Quantity;

use super::progress::{Look, NodeState, PodState};
use super::sizing::{Load, Room};
use crate::json::{items, text};

/// Name of the Deployment, and of the `PriorityClass`.
const NAME: &str = "windlass-verify";
/// The label of everything that a run makes.
const LABEL: &str = "windlass.dev/verify";
/// The annotation with the time after which a run's leftovers may be removed.
const EXPIRES: &str = "windlass.dev/expires";
/// Below ordinary pods, and above the autoscaler's cutoff of -10 for pods that count for nothing.
const PRIORITY: i32 = -5;
/// The image of a pod that does nothing: the one that kubeadm's nodes have for their sandboxes, so
/// that there is nothing to pull.
const IMAGE: &str = "registry.k8s.io/pause:3.10.2";
/// How long a namespace may take to go.
const GONE: Duration = Duration::from_mins(2);

/// The API server and the names of a run.
pub(super) struct Cluster {
    pub(super) api: Api,
    pub(super) namespace: String,
    pub(super) autoscaler_namespace: String,
    pub(super) lease: String,
    pub(super) status: String,
}

/// Where the run's namespace stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// There is none.
    None,
    /// An earlier run's.
    Ours {
        /// When it may be removed; in the past or unreadable: now.
        expires: Option<Timestamp>,
    },
    /// Somebody else's.
    Foreign,
}

/// The nodes before a run.
pub(super) struct Baseline {
    /// Room on the ready ones that take pods of the run.
    pub(super) rooms: Vec<Room>,
    /// Names of all.
    pub(super) nodes: BTreeSet<String>,
    /// Names of those that have pods beside their DaemonSets'.
    pub(super) busy: BTreeSet<String>,
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

impl Cluster {
    /// What there is of an earlier run.
    pub(super) async fn leftover(&self) -> anyhow::Result<Leftover> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let namespace: Value = match self.api.get(&path).await {
            Ok(namespace) => namespace,
            Err(error) if error.is_not_found() => return Ok(Leftover::None),
            Err(error) => return Err(error).context("look for an earlier run"),
        };
        if namespace["metadata"]["labels"][LABEL].is_null() {
            return Ok(Leftover::Foreign);
        }
        let expires = namespace["metadata"]["annotations"][EXPIRES]
            .as_str()
            .and_then(|time| time.parse().ok());
        Ok(Leftover::Ours { expires })
    }

    /// Whether somebody renewed the autoscaler's lease within twice its duration.
    pub(super) async fn is_autoscaler_alive(&self) -> anyhow::Result<bool> {
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
            self.autoscaler_namespace, self.lease
        );
        let lease: Value = match self.api.get(&path).await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error).context("read the autoscaler's lease"),
        };
        let Ok(renewed) = text(&lease, "/spec/renewTime").parse::<Timestamp>() else {
            return Ok(false);
        };
        let duration = lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(15);
        let now = self.api.server_time().await.context("ask for the time")?;
        let is_held = !text(&lease, "/spec/holderIdentity").is_empty();
        Ok(is_held && now.duration_since(renewed) < SignedDuration::from_secs(2 * duration))
    }

    /// Groups of the status object: name, target and maximum. Empty where it is not written.
    pub(super) async fn groups(&self) -> anyhow::Result<BTreeMap<String, (i64, i64)>> {
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/{}",
            self.autoscaler_namespace, self.status
        );
        let object: Value = match self.api.get(&path).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
            Err(error) => return Err(error).context("read the autoscaler's status"),
        };
        Ok(groups_of(text(&object, "/data/status")))
    }

    /// Pods of others that fit nowhere, as `namespace/name`.
    pub(super) async fn unschedulable_pods(&self) -> anyhow::Result<Vec<String>> {
        let path = "/api/v1/pods?fieldSelector=status.phase%3DPending";
        let list: Value = self.api.get(path).await.context("list pending pods")?;
        Ok(items(&list)
            .filter(|pod| text(pod, "/metadata/namespace") != self.namespace)
            .filter(|pod| pod_state(pod).unschedulable.is_some())
            .map(|pod| {
                let namespace = text(pod, "/metadata/namespace");
                format!("{namespace}/{}", text(pod, "/metadata/name"))
            })
            .collect())
    }

    /// The nodes before a run.
    pub(super) async fn baseline(
        &self,
        selector: Option<&(String, String)>,
    ) -> anyhow::Result<Baseline> {
        let nodes: Value = self.api.get("/api/v1/nodes").await.context("list nodes")?;
        let pods: Value = self.api.get("/api/v1/pods").await.context("list pods")?;
        Ok(Baseline {
            rooms: items(&nodes)
                .filter(|node| takes_pods(node, selector))
                .map(|node| room(node, &pods))
                .collect(),
            nodes: items(&nodes)
                .map(|node| text(node, "/metadata/name").to_owned())
                .collect(),
            busy: items(&pods)
                .filter(|pod| !is_over(pod) && !is_daemon(pod))
                .map(|pod| text(pod, "/spec/nodeName").to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        })
    }

    /// Makes the namespace and all that is in it.
    pub(super) async fn start(
        &self,
        run: &str,
        load: Load,
        selector: Option<&(String, String)>,
        expires: Timestamp,
    ) -> anyhow::Result<()> {
        let labels = json!({ LABEL: run });
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    LABEL: run, "pod-security.kubernetes.io/enforce": "restricted",
                },
                "annotations": { EXPIRES: expires.to_string() },
            },
        });
        self.create("/api/v1/namespaces", &namespace).await?;
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": NAME, "labels": labels },
            "value": PRIORITY,
            "preemptionPolicy": "Never",
            "description": "Pods of windlass verify",
        });
        let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
        match self.create(classes, &class).await {
            Err(error) if error.is_conflict() => {}
            result => result?,
        }
        let own = format!("/api/v1/namespaces/{}", self.namespace);
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": NAME, "labels": labels },
            "spec": { "hard": { "pods": load.pods.to_string() } },
        });
        self.create(&format!("{own}/resourcequotas"), &quota)
            .await?;
        let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace);
        self.create(&deployments, &deployment(run, load, selector))
            .await?;
        Ok(())
    }

    async fn create(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        let created = self.api.create::<serde::de::IgnoredAny>(path, object);
        created.await.map(drop)
    }

    /// Deletes the Deployment, so that its pods go.
    pub(super) async fn end_load(&self) -> anyhow::Result<()> {
        let path = format!(
            "/apis/apps/v1/namespaces/{}/deployments/{NAME}",
            self.namespace
        );
        let deleted = self.api.delete(&path, None).await;
        deleted.context("delete the Deployment").map(drop)
    }

    /// Removes everything that a run has made, and waits until it is gone.
    pub(super) async fn clean_up(&self) -> anyhow::Result<()> {
        let classes = format!("/apis/scheduling.k8s.io/v1/priorityclasses/{NAME}");
        let deleted = self.api.delete(&classes, None).await;
        deleted.context("delete the PriorityClass")?;
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let deleted = self.api.delete(&path, None).await;
        deleted.with_context(|| format!("delete namespace {}", self.namespace))?;
        let begun = tokio::time::Instant::now();
        while self.leftover().await? != Leftover::None {
            if GONE <= begun.elapsed() {
                bail!(
                    "namespace {} is still being deleted: look at its conditions",
                    self.namespace
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// One look.
    pub(super) async fn look(&self) -> anyhow::Result<Look> {
        let own = format!("/api/v1/namespaces/{}", self.namespace);
        let pods: Value = self.api.get(&format!("{own}/pods")).await?;
        let events: Value = self.api.get(&format!("{own}/events")).await?;
        let nodes: Value = self.api.get("/api/v1/nodes").await?;
        let messages = |reason: &str| {
            items(&events)
                .filter(|event| text(event, "/reason") == reason)
                .map(|event| text(event, "/message").to_owned())
                .collect()
        };
        Ok(Look {
            pods: items(&pods).map(pod_state).collect(),
            nodes: items(&nodes)
                .map(|node| (text(node, "/metadata/name").to_owned(), node_state(node)))
                .collect(),
            triggered: messages("TriggeredScaleUp"),
            refused: messages("NotTriggerScaleUp"),
            is_autoscaler_alive: self.is_autoscaler_alive().await?,
            groups: self.groups().await?,
        })
    }
}

fn deployment(run: &str, load: Load, selector: Option<&(String, String)>) -> Value {
    let resources = json!({
        "cpu": Quantity::from_millis(load.cpu_milli).to_string(),
        "memory": Quantity::from_bytes(load.memory_bytes).to_string(),
    });
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "priorityClassName": NAME,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "pause",
            "image": IMAGE,
            "resources": { "requests": resources, "limits": resources },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    });
    if let Some((key, value)) = selector {
        pod["nodeSelector"] = json!({ key: value });
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME, "labels": { LABEL: run } },
        "spec": {
            "replicas": load.pods,
            "selector": { "matchLabels": { LABEL: run } },
            "template": { "metadata": { "labels": { LABEL: run } }, "spec": pod },
        },
    })
}

fn pod_state(pod: &Value) -> PodState {
    let conditions = pod["status"]["conditions"].as_array();
    let unschedulable = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == "PodScheduled" && condition["reason"] == "Unschedulable"
    });
    let is_bound = !text(pod, "/spec/nodeName").is_empty();
    PodState {
        unschedulable: unschedulable
            .filter(|_| !is_bound)
            .map(|condition| text(condition, "/message").to_owned()),
        is_bound,
        is_running: text(pod, "/status/phase") == "Running",
    }
}

fn node_state(node: &Value) -> NodeState {
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
    let taints = node["spec"]["taints"].as_array();
    NodeState {
        not_ready,
        taints: taints
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
            .collect(),
    }
}

fn takes_pods(node: &Value, selector: Option<&(String, String)>) -> bool {
    let state = node_state(node);
    let is_selected = selector.is_none_or(|(key, value)| {
        node["metadata"]["labels"][key.as_str()].as_str() == Some(value.as_str())
    });
    state.not_ready.is_none()
        && state.taints.is_empty()
        && node["spec"]["unschedulable"] != true
        && is_selected
}

/// What is free on a node, and what a new one of its kind would have.
fn room(node: &Value, pods: &Value) -> Room {
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

fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// Whether every node has such a pod, or its kubelet made it.
fn is_daemon(pod: &Value) -> bool {
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
fn groups_of(status: &str) -> BTreeMap<String, (i64, i64)> {
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
}
