//! Instances that boot and join: what kubelets do in a real cluster.
//!
//! A task polls moto's groups. An instance that is new becomes a Node after its boot time; the
//! Node of an instance that is gone is deleted together with its pods, as a cloud's node
//! lifecycle controller and the pod garbage collector do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::aws::{Aws, GroupState, Instance, InstanceType, REGION};
use crate::cluster::{Cluster, absent_is_fine, remove_pod, typed};
use crate::wait::wait_for;

/// Time between two looks at the groups.
const POLL: Duration = Duration::from_millis(250);

/// The annotation of the Nodes that come from here.
const JOINED: &str = "windlass-testbed/instance";

/// The prefix of the group tags that promise labels, as upstream's AWS provider reads them.
const LABEL_TAG: &str = "k8s.io/cluster-autoscaler/node-template/label/";

/// What the kubelet of a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubelet {
    /// All that it should: kwok plays it.
    Runs,
    /// It registers and is not Ready, for want of a network.
    HasNoNetwork,
    /// It says that it is Ready, and starts and ends no pod.
    StartsNothing,
}

impl Kubelet {
    /// The Node's conditions as long as nobody plays the kubelet.
    fn conditions(self) -> Value {
        let (status, reason, message) = match self {
            Self::Runs => return json!([]),
            Self::HasNoNetwork => ("False", "KubeletNotReady", "cni plugin not initialized"),
            Self::StartsNothing => ("True", "KubeletReady", "kubelet is posting ready status"),
        };
        json!([{"type": "Ready", "status": status, "reason": reason, "message": message}])
    }
}

/// How the instances of a group boot.
#[derive(Clone, Debug)]
pub struct Boot {
    /// From the instance's launch to its Node; `None` is an instance that never joins.
    pub time: Option<Duration>,
    /// CPU that the kubelet keeps for the system: capacity less allocatable, in thousandths.
    pub reserved_milli_cpu: u32,
    /// Memory that the kubelet keeps for the system, in MiB.
    pub reserved_memory_mib: u64,
    /// Most pods on a node.
    pub max_pods: u32,
    /// Labels of the Node beyond the usual ones and the group's promises.
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node, as `key=value:Effect`.
    pub taints: Vec<(String, String, String)>,
    /// Further capacity, such as `("nvidia.com/gpu", "1")`; over what the type offers.
    pub capacity: BTreeMap<String, String>,
    /// What its kubelet does.
    pub kubelet: Kubelet,
}

impl Boot {
    /// A kubelet with nothing reserved, so that a node offers what its instance type says and what
    /// an autoscaler expects of it.
    pub fn after(time: Duration) -> Self {
        Self {
            time: Some(time),
            reserved_milli_cpu: 0,
            reserved_memory_mib: 0,
            max_pods: 110,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            capacity: BTreeMap::new(),
            kubelet: Kubelet::Runs,
        }
    }

    /// An instance that runs and never becomes a Node.
    pub fn never() -> Self {
        Self {
            time: None,
            ..Self::after(Duration::ZERO)
        }
    }
}

/// The task and what tests tell it.
#[derive(Debug)]
pub struct Joiner {
    boots: Arc<Mutex<Boots>>,
    rounds: Arc<AtomicU64>,
    end: CancellationToken,
    task: Option<JoinHandle<Option<()>>>,
    runtime: Handle,
}

#[derive(Debug)]
struct Boots {
    default: Boot,
    by_group: BTreeMap<String, Boot>,
    /// How many of a group's next new instances are the test's.
    claims: BTreeMap<String, usize>,
    /// Those that have become the test's.
    claimed: Vec<String>,
}

impl Boots {
    fn is_claimed(&self, group: &str) -> bool {
        self.claims.get(group).is_some_and(|&claims| 0 < claims)
    }

    fn take_claim(&mut self, group: &str, instance: &str) {
        if let Some(claims) = self.claims.get_mut(group) {
            *claims = claims.saturating_sub(1);
            self.claimed.push(instance.to_owned());
        }
    }
}

impl Joiner {
    pub(crate) fn start(aws: &Aws, cluster: &Cluster, time: Duration, runtime: &Handle) -> Self {
        let boots = Boots {
            default: Boot::after(time),
            by_group: BTreeMap::new(),
            claims: BTreeMap::new(),
            claimed: Vec::new(),
        };
        let boots = Arc::new(Mutex::new(boots));
        let rounds = Arc::new(AtomicU64::new(0));
        let end = CancellationToken::new();
        let worker = Worker {
            aws: aws.clone(),
            client: cluster.client(),
            boots: Arc::clone(&boots),
            rounds: Arc::clone(&rounds),
            types: BTreeMap::new(),
            instances: BTreeMap::new(),
        };
        let task = runtime.spawn(end.clone().run_until_cancelled_owned(worker.run()));
        Self {
            boots,
            rounds,
            end,
            task: Some(task),
            runtime: runtime.clone(),
        }
    }

    /// Says how the group's instances boot from now on, those under way included.
    pub fn set_boot(&self, group: &str, boot: Boot) {
        lock(&self.boots).by_group.insert(group.to_owned(), boot);
    }

    /// Leaves the group's next new instance to the test, which makes a Node of it. That Node is
    /// deleted with the instance, as any other.
    pub fn claim(&self, group: &str) {
        let mut boots = lock(&self.boots);
        *boots.claims.entry(group.to_owned()).or_default() += 1;
    }

    /// The instances that were left to the test so far.
    pub fn claimed(&self) -> Vec<String> {
        lock(&self.boots).claimed.clone()
    }

    /// Back to the default for all groups.
    pub fn forget_boots(&self) {
        let mut boots = lock(&self.boots);
        boots.by_group.clear();
        boots.claims.clear();
        boots.claimed.clear();
    }

    /// Waits until a round that began after this call has ended.
    pub(crate) fn wait_for_a_round(&self, deadline: Duration) -> Result<()> {
        // The one under way may have begun before.
        let wanted = self.rounds.load(Ordering::Acquire) + 2;
        wait_for("the joiner to look at the groups", deadline, || {
            Ok(wanted <= self.rounds.load(Ordering::Acquire))
        })
    }

    pub(crate) fn stop(&mut self) {
        self.end.cancel();
        if let Some(task) = self.task.take() {
            // A panic of the task has been reported when it happened.
            let _ = self.runtime.block_on(task);
        }
    }
}

fn lock(boots: &Mutex<Boots>) -> MutexGuard<'_, Boots> {
    boots.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    aws: Aws,
    client: Client,
    boots: Arc<Mutex<Boots>>,
    rounds: Arc<AtomicU64>,
    types: BTreeMap<String, InstanceType>,
    instances: BTreeMap<String, Seen>,
}

struct Seen {
    since: Instant,
    /// Its Node, once there is one to delete; a claimed instance's from the begin.
    node: Option<String>,
}

impl Worker {
    async fn run(mut self) {
        let mut reported = String::new();
        loop {
            // Trouble is what tests make: moto or the API server is down. The next round tries
            // again, and a Node is never removed because a list could not be had.
            if let Err(error) = self.round().await {
                let trouble = format!("{error:#}");
                if trouble != reported {
                    report(&trouble);
                    reported = trouble;
                }
            }
            self.rounds.fetch_add(1, Ordering::Release);
            tokio::time::sleep(POLL).await;
        }
    }

    async fn round(&mut self) -> Result<()> {
        let groups = self.aws.describe_groups().await?;
        let mut alive = BTreeSet::new();
        for group in &groups {
            let boot = {
                let boots = lock(&self.boots);
                boots
                    .by_group
                    .get(&group.name)
                    .unwrap_or(&boots.default)
                    .clone()
            };
            for instance in &group.instances {
                alive.insert(instance.id.clone());
                let claimed = self.claimed_node(&group.name, &instance.id).await?;
                let seen = self
                    .instances
                    .entry(instance.id.clone())
                    .or_insert_with(|| Seen {
                        since: Instant::now(),
                        node: claimed,
                    });
                let is_due = boot.time.is_some_and(|time| time <= seen.since.elapsed());
                let is_to_join = seen.node.is_none() && instance.lifecycle_state == "InService";
                if is_due && is_to_join {
                    let node = self.join(group, instance, &boot).await?;
                    if let Some(seen) = self.instances.get_mut(&instance.id) {
                        seen.node = Some(node);
                    }
                }
            }
        }
        let gone: Vec<String> = self
            .instances
            .keys()
            .filter(|id| !alive.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            if let Some(Seen {
                node: Some(node), ..
            }) = self.instances.get(&id)
            {
                self.leave(node).await?;
            }
            self.instances.remove(&id);
        }
        Ok(())
    }

    /// The name of the Node that a test makes of an instance that is new and claimed.
    async fn claimed_node(&self, group: &str, instance: &str) -> Result<Option<String>> {
        if self.instances.contains_key(instance) || !lock(&self.boots).is_claimed(group) {
            return Ok(None);
        }
        let id = instance.to_owned();
        let described = self.aws.describe_instances(&[id]).await?;
        let described = described
            .get(instance)
            .with_context(|| format!("EC2 does not list `{instance}`"))?;
        lock(&self.boots).take_claim(group, instance);
        Ok(Some(described.private_dns_name.clone()))
    }

    async fn join(
        &mut self,
        group: &GroupState,
        instance: &Instance,
        boot: &Boot,
    ) -> Result<String> {
        let instance_type = if let Some(known) = self.types.get(&instance.instance_type) {
            known.clone()
        } else {
            let found = self.aws.instance_type(&instance.instance_type).await?;
            self.types
                .insert(instance.instance_type.clone(), found.clone());
            found
        };
        let described = self
            .aws
            .describe_instances(std::slice::from_ref(&instance.id))
            .await?;
        let described = described
            .get(&instance.id)
            .with_context(|| format!("EC2 does not list `{}`", instance.id))?;
        let name = described.private_dns_name.clone();
        let labels = labels(&name, group, instance, &instance_type, boot);
        let allocatable = capacity(
            &instance_type,
            boot,
            boot.reserved_milli_cpu,
            boot.reserved_memory_mib,
        );
        let capacity = capacity(&instance_type, boot, 0, 0);
        let taints: Vec<Value> = boot
            .taints
            .iter()
            .map(|(key, value, effect)| json!({"key": key, "value": value, "effect": effect}))
            .collect();
        let mut annotations = json!({JOINED: instance.id});
        if boot.kubelet == Kubelet::Runs {
            annotations["kwok.x-k8s.io/node"] = json!("fake");
        }
        let node: Node = typed(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": annotations,
            },
            "spec": {
                "providerID": format!("aws:///{}/{}", instance.zone, instance.id),
                "taints": taints,
            },
            "status": {
                "capacity": capacity,
                "allocatable": allocatable,
                "conditions": boot.kubelet.conditions(),
                "addresses": [
                    {"type": "InternalIP", "address": described.private_ip},
                    {"type": "InternalDNS", "address": name},
                    {"type": "Hostname", "address": name},
                ],
                "nodeInfo": node_info(instance_type.architecture),
            },
        }))?;
        let nodes = Api::<Node>::all(self.client.clone());
        match nodes.create(&PostParams::default(), &node).await {
            // The round that made it failed afterwards.
            Err(kube::Error::Api(answer)) if answer.code == 409 => {}
            made => drop(made.with_context(|| format!("create node {name}"))?),
        }
        Ok(name)
    }

    async fn leave(&self, node: &str) -> Result<()> {
        let nodes = Api::<Node>::all(self.client.clone());
        absent_is_fine(nodes.delete(node, &DeleteParams::default()).await.map(drop))
            .with_context(|| format!("delete node {node}"))?;
        let on_it = ListParams::default().fields(&format!("spec.nodeName={node}"));
        for pod in Api::<Pod>::all(self.client.clone()).list(&on_it).await? {
            remove_pod(&self.client, &pod)
                .await
                .with_context(|| format!("remove pod {}", pod.name_any()))?;
        }
        Ok(())
    }
}

fn labels(
    name: &str,
    group: &GroupState,
    instance: &Instance,
    instance_type: &InstanceType,
    boot: &Boot,
) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", instance_type.architecture),
        ("node.kubernetes.io/instance-type", &instance.instance_type),
        ("topology.kubernetes.io/region", REGION),
        ("topology.kubernetes.io/zone", &instance.zone),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    for (key, value) in &group.tags {
        if let Some(label) = key.strip_prefix(LABEL_TAG) {
            labels.insert(label.to_owned(), value.clone());
        }
    }
    labels.extend(boot.labels.clone());
    labels
}

fn capacity(
    instance_type: &InstanceType,
    boot: &Boot,
    less_milli_cpu: u32,
    less_memory_mib: u64,
) -> BTreeMap<String, String> {
    let milli_cpu = (instance_type.cpus * 1000).saturating_sub(less_milli_cpu);
    let memory = instance_type.memory_mib.saturating_sub(less_memory_mib);
    let mut capacity: BTreeMap<String, String> = [
        ("cpu", format!("{milli_cpu}m")),
        ("memory", format!("{memory}Mi")),
        ("pods", boot.max_pods.to_string()),
        ("ephemeral-storage", "20Gi".to_owned()),
    ]
    .map(|(name, amount)| (name.to_owned(), amount))
    .into();
    if 0 < instance_type.gpus {
        capacity.insert("nvidia.com/gpu".to_owned(), instance_type.gpus.to_string());
    }
    capacity.extend(boot.capacity.clone());
    capacity
}

/// Every field of it is required by the API server's schema. kwok writes them back unquoted, so none
/// may read as a number.
fn node_info(architecture: &str) -> Value {
    json!({
        "architecture": architecture,
        "operatingSystem": "linux",
        "kubeletVersion": "v1.36.3",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "containerd://2.0.0",
        "kernelVersion": "6.12.0",
        "osImage": "Test bed",
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
    })
}

#[expect(
    clippy::print_stderr,
    reason = "a test's own output is where its trouble belongs"
)]
fn report(trouble: &str) {
    eprintln!("joiner: {trouble}");
}
