//! Nodes that are to go: which instance is which, cordon, drain and back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_kube::{Api, Eviction, evict};

use crate::json::{items, text};

/// Keeps the autoscaler off a node that is being drained.
const KEPT: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Pause before an eviction that a budget has refused is asked for again, and between looks.
const PAUSE: Duration = Duration::from_secs(2);

/// The cluster's nodes and their pods.
pub(super) struct Nodes {
    api: Api,
    /// Pods that nobody makes again, and those not safe to evict, go too.
    force: bool,
}

/// A node that is cordoned and kept from the autoscaler, and how it was before.
pub(super) struct Reserved {
    name: String,
    was_cordoned: bool,
    was_kept: bool,
}

fn instance_of(node: &Value) -> &str {
    text(node, "/spec/providerID")
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
        && !taints
            .into_iter()
            .any(|it| text(it, "/key").starts_with("node.kubernetes.io/not-ready"))
}

impl Nodes {
    pub(super) fn new(api: Api, force: bool) -> Self {
        Self { api, force }
    }

    /// Names of the Ready nodes among these instances.
    pub(super) async fn ready(&self, instances: &[String]) -> anyhow::Result<Vec<String>> {
        let list: Value = self.api.get("/api/v1/nodes").await.context("list nodes")?;
        Ok(items(&list)
            .filter(|node| instances.iter().any(|it| it == instance_of(node)) && is_ready(node))
            .map(|node| text(node, "/metadata/name").to_owned())
            .collect())
    }

    /// The node of an instance.
    pub(super) async fn of_instance(&self, instance: &str) -> anyhow::Result<Option<String>> {
        let list: Value = self.api.get("/api/v1/nodes").await.context("list nodes")?;
        let node = items(&list).find(|node| instance_of(node) == instance);
        Ok(node.map(|node| text(node, "/metadata/name").to_owned()))
    }

    /// Cordons a node and keeps the autoscaler off it.
    pub(super) async fn reserve(&self, name: &str) -> anyhow::Result<Reserved> {
        let path = format!("/api/v1/nodes/{name}");
        let node: Value = self.api.get(&path).await.context("read the node")?;
        let reserved = Reserved {
            name: name.to_owned(),
            was_cordoned: node["spec"]["unschedulable"] == true,
            was_kept: !node["metadata"]["annotations"][KEPT].is_null(),
        };
        let change = json!({
            "metadata": {"annotations": {KEPT: "true"}},
            "spec": {"unschedulable": true},
        });
        self.patch(name, &change).await.context("cordon the node")?;
        Ok(reserved)
    }

    /// Makes the node what it was before.
    pub(super) async fn give_back(&self, reserved: &Reserved) -> anyhow::Result<()> {
        let mut change = json!({});
        if !reserved.was_cordoned {
            change["spec"] = json!({"unschedulable": null});
        }
        if !reserved.was_kept {
            change["metadata"] = json!({"annotations": {KEPT: null}});
        }
        let name = &reserved.name;
        self.patch(name, &change).await.with_context(|| {
            format!(
                "`{name}` stays cordoned: `kubectl uncordon {name}` and remove its annotation {KEPT}"
            )
        })
    }

    async fn patch(&self, name: &str, change: &Value) -> anyhow::Result<()> {
        let path = format!("/api/v1/nodes/{name}");
        self.api.merge::<Value>(&path, change).await?;
        Ok(())
    }

    /// Evicts what has to leave the node, within disruption budgets, and waits until it has left.
    pub(super) async fn drain(&self, node: &str, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        let mut refusals = Vec::new();
        loop {
            let pods = self.pods_to_move(node).await?;
            if pods.is_empty() {
                return Ok(());
            }
            self.refuse_what_would_be_lost(&pods)?;
            if deadline < Instant::now() {
                bail!(
                    "{} pods have not left `{node}` in {within:?}: {}",
                    pods.len(),
                    refusals.join("; ")
                );
            }
            refusals.clear();
            for pod in pods
                .iter()
                .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            {
                if let Some(refusal) = self.evict(pod).await? {
                    refusals.push(refusal);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for an eviction; gives why it was refused for now.
    async fn evict(&self, pod: &Value) -> anyhow::Result<Option<String>> {
        let (namespace, name) = (
            text(pod, "/metadata/namespace"),
            text(pod, "/metadata/name"),
        );
        let grace = pod["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30);
        let uid = text(pod, "/metadata/uid");
        let evicted = evict(&self.api, namespace, name, uid, grace).await;
        match evicted.with_context(|| format!("evict {namespace}/{name}"))? {
            Eviction::Done => Ok(None),
            Eviction::Refused(why) => Ok(Some(format!("{namespace}/{name}: {why}"))),
        }
    }

    async fn pods_to_move(&self, node: &str) -> anyhow::Result<Vec<Value>> {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
        let list: Value = self.api.get(&path).await.context("list the node's pods")?;
        Ok(items(&list)
            .filter(|pod| has_to_move(pod))
            .cloned()
            .collect())
    }

    fn refuse_what_would_be_lost(&self, pods: &[Value]) -> anyhow::Result<()> {
        if self.force {
            return Ok(());
        }
        for pod in pods {
            if let Some(why) = would_be_lost(pod) {
                bail!(
                    "pod {}/{} {why}: move it by hand, or end it with --force",
                    text(pod, "/metadata/namespace"),
                    text(pod, "/metadata/name")
                );
            }
        }
        Ok(())
    }
}

/// Whether the pod is to be evicted: not one that is over, that every node has, or that its kubelet
/// made itself.
fn has_to_move(pod: &Value) -> bool {
    let is_over = ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"));
    let is_mirror = !pod["metadata"]["annotations"][MIRROR].is_null();
    !is_over && !is_mirror && owner(pod) != Some("DaemonSet")
}

/// Kind of the controller that the pod belongs to.
fn owner(pod: &Value) -> Option<&str> {
    let mut owners = pod["metadata"]["ownerReferences"].as_array()?.iter();
    owners.find(|owner| owner["controller"] == true)?["kind"].as_str()
}

/// Why nobody may end the pod without being asked to.
fn would_be_lost(pod: &Value) -> Option<&'static str> {
    match text(
        &pod["metadata"]["annotations"],
        &format!("/{}", SAFE_TO_EVICT.replace('/', "~1")),
    ) {
        "true" => None,
        "false" => Some("says that it is not safe to evict"),
        _ if owner(pod).is_none() => Some("has no controller that would make it again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: &Value, owner: Option<&str>) -> Value {
        let owners: Vec<Value> = owner
            .map(|kind| json!({"kind": kind, "controller": true}))
            .into_iter()
            .collect();
        json!({"metadata": {"annotations": annotations, "ownerReferences": owners}})
    }

    #[test]
    fn pods_of_the_node_itself_stay_and_orphans_are_not_lost() {
        assert!(has_to_move(&pod(&json!({}), Some("ReplicaSet"))));
        assert!(!has_to_move(&pod(&json!({}), Some("DaemonSet"))));
        assert!(!has_to_move(&pod(&json!({MIRROR: "x"}), Some("Node"))));
        let mut over = pod(&json!({}), Some("Job"));
        over["status"]["phase"] = json!("Succeeded");
        assert!(!has_to_move(&over));

        assert_eq!(would_be_lost(&pod(&json!({}), Some("ReplicaSet"))), None);
        assert!(would_be_lost(&pod(&json!({}), None)).is_some());
        assert_eq!(
            would_be_lost(&pod(&json!({SAFE_TO_EVICT: "true"}), None)),
            None
        );
        let kept = pod(&json!({SAFE_TO_EVICT: "false"}), Some("ReplicaSet"));
        assert!(would_be_lost(&kept).is_some());
    }

    #[test]
    fn a_node_is_found_by_its_instance() {
        let node = json!({"spec": {"providerID": "aws:///us-east-1a/i-1"}});
        assert_eq!(instance_of(&node), "i-1");
        assert!(!is_ready(&node));
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(is_ready(&ready));
    }
}
