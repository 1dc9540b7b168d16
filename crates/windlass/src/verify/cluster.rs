//! The cluster as the test sees it: what it looks at, what it makes, what it takes away again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::{Api, ApiError};
use windlass_model::Quantity;

use super::objects::{
    groups_of, hard_taints, is_daemon, is_over, node_state, outside, pod_state, room, takes_pods,
    toleration,
};
use super::progress::Look;
use super::sizing::{Load, Room};
use super::watches::Watches;
use crate::interrupts::Interrupts;
use crate::json::{items, text};

/// The label of everything that a run makes.
const LABEL: &str = "windlass.dev/verify";
/// The annotation with the time after which a run's leftovers may be removed.
const EXPIRES: &str = "windlass.dev/expires";
/// Below ordinary pods, and above the autoscaler's cutoff of -10 for pods that count for nothing.
const PRIORITY: i32 = -5;
/// The image of a pod that does nothing: the one that kubeadm's nodes have for their sandboxes, so
/// that there is nothing to pull.
const IMAGE: &str = "registry.k8s.io/pause:3.10.2";
/// Taints that say something of a node's state and that no pod of a run tolerates: they go, or the
/// node does, or the node is not for such pods.
const OF_STATE: [&str; 4] = [
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node-role.kubernetes.io/",
    "ToBeDeletedByClusterAutoscaler",
];
/// The annotation of the status object with the time at which it was written.
const LAST_UPDATED: &str = "cluster-autoscaler.kubernetes.io/last-updated";
/// How long a create whose answer was lost may still be carried out.
const LATE: Duration = Duration::from_secs(20);
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

/// What the pods of a run are like.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// Label that they select nodes by.
    pub(super) selector: Option<(String, String)>,
    /// Taints that they tolerate, as `key=value:Effect`.
    pub(super) tolerated: BTreeSet<String>,
}

/// What the autoscaler has written of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// When, in its words.
    pub(super) written: String,
    /// Its groups: target and maximum, by name.
    pub(super) groups: BTreeMap<String, (i64, i64)>,
}

/// How the making of a run's objects ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// All of them are there.
    All,
    /// It was interrupted in between.
    Interrupted,
    /// Another run has the namespace.
    Taken,
}

/// A create, and whether it is known what came of it.
#[derive(Debug)]
pub(super) struct StartError {
    pub(super) error: anyhow::Error,
    /// It may be carried out yet.
    pub(super) is_uncertain: bool,
}

/// Where the run's namespace stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// There is none.
    None,
    /// A run's.
    Ours {
        /// Which run's.
        run: String,
        /// Its uid.
        uid: String,
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
    /// Types of those.
    pub(super) instance_types: BTreeSet<String>,
    /// Names of all.
    pub(super) nodes: BTreeSet<String>,
    /// Names of those that have pods beside their DaemonSets'.
    pub(super) busy: BTreeSet<String>,
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
        let Some(run) = namespace["metadata"]["labels"][LABEL].as_str() else {
            return Ok(Leftover::Foreign);
        };
        let expires = namespace["metadata"]["annotations"][EXPIRES]
            .as_str()
            .and_then(|time| time.parse().ok());
        Ok(Leftover::Ours {
            run: run.to_owned(),
            uid: text(&namespace, "/metadata/uid").to_owned(),
            expires,
        })
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

    /// What the autoscaler has written of itself; none where it writes nothing.
    pub(super) async fn status(&self) -> anyhow::Result<Option<Status>> {
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/{}",
            self.autoscaler_namespace, self.status
        );
        let object: Value = match self.api.get(&path).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error).context("read the autoscaler's status"),
        };
        let annotation = &object["metadata"]["annotations"][LAST_UPDATED];
        Ok(Some(Status {
            written: annotation.as_str().unwrap_or_default().to_owned(),
            groups: groups_of(text(&object, "/data/status")),
        }))
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

    /// The taints of the nodes that a selector names, which are the group's, beside those that it is
    /// known to have.
    pub(super) async fn placement(
        &self,
        selector: Option<(String, String)>,
        mut tolerated: BTreeSet<String>,
    ) -> anyhow::Result<Placement> {
        if let Some((key, value)) = &selector {
            let nodes: Value = self.api.get("/api/v1/nodes").await.context("list nodes")?;
            let of_the_group = items(&nodes).filter(|node| {
                node["metadata"]["labels"][key.as_str()].as_str() == Some(value.as_str())
            });
            tolerated.extend(
                of_the_group
                    .flat_map(hard_taints)
                    .filter(|taint| !OF_STATE.iter().any(|prefix| taint.starts_with(prefix))),
            );
        }
        Ok(Placement {
            selector,
            tolerated,
        })
    }

    /// The nodes before a run, without what an earlier one has left in its namespace: that is gone
    /// before this one makes anything.
    pub(super) async fn baseline(&self, placement: &Placement) -> anyhow::Result<Baseline> {
        let nodes: Value = self.api.get("/api/v1/nodes").await.context("list nodes")?;
        let pods: Value = self.api.get("/api/v1/pods").await.context("list pods")?;
        let pods = outside(&self.namespace, pods);
        let takers = || items(&nodes).filter(|node| takes_pods(node, placement));
        let instance_type = |node: &Value| {
            let labels = &node["metadata"]["labels"];
            labels["node.kubernetes.io/instance-type"]
                .as_str()
                .map(str::to_owned)
        };
        Ok(Baseline {
            rooms: takers().map(|node| room(node, &pods)).collect(),
            instance_types: takers().filter_map(instance_type).collect(),
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

    /// Version of the API server, such as `v1.36.3`.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let version: Value = self.api.get("/version").await.context("ask its version")?;
        Ok(text(&version, "/gitVersion").to_owned())
    }

    /// Whether somebody else has a `PriorityClass` of the name.
    pub(super) async fn priority_class_is_foreign(&self) -> anyhow::Result<bool> {
        Ok(self
            .priority_class()
            .await?
            .is_some_and(|class| class["metadata"]["labels"][LABEL].is_null()))
    }

    async fn priority_class(&self) -> anyhow::Result<Option<Value>> {
        match self.api.get(&self.priority_class_path()).await {
            Ok(class) => Ok(Some(class)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error).context("look for its PriorityClass"),
        }
    }

    fn priority_class_path(&self) -> String {
        format!(
            "/apis/scheduling.k8s.io/v1/priorityclasses/{}",
            self.namespace
        )
    }

    /// Makes the namespace and all that is in it. No call is given up in the middle, so that what
    /// there is to clean up is known; an interrupt is seen between two.
    pub(super) async fn start(
        &self,
        run: &str,
        load: Load,
        placement: &Placement,
        expires: Timestamp,
        interrupts: &Interrupts,
    ) -> Result<Started, StartError> {
        let labels = json!({ LABEL: run });
        let name = &self.namespace;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {
                    LABEL: run, "pod-security.kubernetes.io/enforce": "restricted",
                },
                "annotations": { EXPIRES: expires.to_string() },
            },
        });
        match self.create("/api/v1/namespaces", &namespace).await {
            Err(error) if error.is_conflict() => {
                let there = self.leftover().await.map_err(StartError::certain)?;
                // An answer that was lost, and the call made again.
                if !matches!(there, Leftover::Ours { run: of, .. } if of == run) {
                    return Ok(Started::Taken);
                }
            }
            result => result.map_err(StartError::of)?,
        }
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": name, "labels": labels },
            "value": PRIORITY,
            "preemptionPolicy": "Never",
            "description": "Pods of windlass verify",
        });
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": name, "labels": labels },
            "spec": { "hard": { "pods": load.most_pods.to_string() } },
        });
        let deployment = deployment(name, run, load, placement);
        for (path, object) in [
            (
                "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(),
                class,
            ),
            (format!("/api/v1/namespaces/{name}/resourcequotas"), quota),
            (
                format!("/apis/apps/v1/namespaces/{name}/deployments"),
                deployment,
            ),
        ] {
            if 0 < interrupts.count() {
                return Ok(Started::Interrupted);
            }
            match self.create(&path, &object).await {
                // An earlier run's PriorityClass, which the preflight has looked at.
                Err(error) if error.is_conflict() => {}
                result => result.map_err(StartError::of)?,
            }
        }
        Ok(Started::All)
    }

    async fn create(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        let created = self.api.create::<serde::de::IgnoredAny>(path, object);
        created.await.map(drop)
    }

    /// Sets the number of pods.
    pub(super) async fn scale(&self, pods: u32) -> anyhow::Result<()> {
        let path = format!(
            "/apis/apps/v1/namespaces/{0}/deployments/{0}",
            self.namespace
        );
        let replicas = json!({ "spec": { "replicas": pods } });
        let scaled = self.api.merge::<serde::de::IgnoredAny>(&path, &replicas);
        scaled.await.context("scale the Deployment").map(drop)
    }

    /// Removes everything that a run has made, any run's if none is named, and waits until it is
    /// gone. What another run or somebody else has made is left alone.
    pub(super) async fn clean_up(&self, run: Option<&str>) -> anyhow::Result<()> {
        let is_ours = |of: &str| run.is_none_or(|run| run == of);
        if let Some(class) = self.priority_class().await?
            && class["metadata"]["labels"][LABEL]
                .as_str()
                .is_some_and(is_ours)
        {
            let uid = text(&class, "/metadata/uid");
            let path = self.priority_class_path();
            let deleted = self.api.delete(&path, Some(uid)).await;
            gone(deleted).context("delete the PriorityClass")?;
        }
        let begun = tokio::time::Instant::now();
        let mut asked = false;
        while let Leftover::Ours { run: of, uid, .. } = self.leftover().await? {
            if !is_ours(&of) {
                break;
            }
            if !asked {
                let path = format!("/api/v1/namespaces/{}", self.namespace);
                let deleted = self.api.delete(&path, Some(&uid)).await;
                gone(deleted).with_context(|| format!("delete namespace {}", self.namespace))?;
                asked = true;
            }
            if GONE <= begun.elapsed() {
                bail!(
                    "namespace {} is still being deleted: look at its conditions",
                    self.namespace
                );
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }

    /// The same after a call of which nobody knows what came: it may be carried out late.
    pub(super) async fn clean_up_late(&self, run: &str) -> anyhow::Result<()> {
        let begun = tokio::time::Instant::now();
        loop {
            self.clean_up(Some(run)).await?;
            if LATE <= begun.elapsed() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// One look.
    pub(super) async fn look(
        &self,
        watches: &mut Watches,
        placement: &Placement,
    ) -> anyhow::Result<Look> {
        watches.refresh().await?;
        let [pods, events, nodes] = watches.lists();
        let messages = |reason: &str| {
            items(events)
                .filter(|event| text(event, "/reason") == reason)
                .map(|event| text(event, "/message").to_owned())
                .collect()
        };
        Ok(Look {
            pods: items(pods)
                .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
                .map(|pod| (text(pod, "/metadata/name").to_owned(), pod_state(pod)))
                .collect(),
            nodes: items(nodes)
                .map(|node| {
                    let name = text(node, "/metadata/name").to_owned();
                    (name, node_state(node, placement))
                })
                .collect(),
            triggered: messages("TriggeredScaleUp"),
            refused: messages("NotTriggerScaleUp"),
            is_autoscaler_alive: self.is_autoscaler_alive().await?,
            groups: self.status().await?.unwrap_or_default().groups,
            instances: BTreeMap::new(),
        })
    }
}

impl StartError {
    fn of(error: ApiError) -> Self {
        Self {
            is_uncertain: matches!(error, ApiError::Timeout(_) | ApiError::Transport(_)),
            error: anyhow!(error).context("make the run's objects"),
        }
    }

    fn certain(error: anyhow::Error) -> Self {
        Self {
            error,
            is_uncertain: false,
        }
    }
}

/// Of a delete with a uid: the one that was meant is gone, also where another has its name.
fn gone(deleted: Result<bool, ApiError>) -> Result<(), ApiError> {
    match deleted {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

fn deployment(name: &str, run: &str, load: Load, placement: &Placement) -> Value {
    let resources = json!({
        "cpu": Quantity::from_millis(load.cpu_milli).to_string(),
        "memory": Quantity::from_bytes(load.memory_bytes).to_string(),
    });
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "priorityClassName": name,
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
    if let Some((key, value)) = &placement.selector {
        pod["nodeSelector"] = json!({ key: value });
    }
    if !placement.tolerated.is_empty() {
        pod["tolerations"] = placement
            .tolerated
            .iter()
            .map(|it| toleration(it))
            .collect();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "labels": { LABEL: run } },
        "spec": {
            "replicas": load.pods,
            "selector": { "matchLabels": { LABEL: run } },
            "template": { "metadata": { "labels": { LABEL: run } }, "spec": pod },
        },
    })
}
