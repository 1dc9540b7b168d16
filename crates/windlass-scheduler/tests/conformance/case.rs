use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_model::{Cluster, Node, Pod, SchedulerVersion, SmolStr, WorkloadKind};
use windlass_objects::{Converter, Origin, decode};
use windlass_scheduler::{NodeId, Profile, Rejection, Snapshot};

/// One line of a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(default)]
    note: String,
    nodes: Vec<Value>,
    #[serde(default)]
    pods: Vec<Value>,
    pod: Value,
    #[serde(default)]
    objects: BTreeMap<String, Vec<Value>>,
    scheduler_config: Option<Value>,
    want: Vec<Answer>,
    want137: Option<Vec<Answer>>,
}

/// What the scheduler says of one node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Answer {
    node: String,
    fits: bool,
    #[serde(default)]
    phase: String,
    #[serde(default)]
    plugin: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    reasons: Vec<String>,
}

impl Answer {
    fn new(node: &str, verdict: &Result<(), Rejection>) -> Self {
        let mut answer = Self {
            node: node.to_owned(),
            fits: verdict.is_ok(),
            phase: String::new(),
            plugin: String::new(),
            code: String::new(),
            reasons: Vec::new(),
        };
        if let Err(rejection) = verdict {
            rejection.phase.as_str().clone_into(&mut answer.phase);
            answer.plugin = rejection.plugin.to_string();
            rejection.code.as_str().clone_into(&mut answer.code);
            answer.reasons = rejection.reasons.iter().map(SmolStr::to_string).collect();
        }
        answer
    }

    /// Without reasons that hold a Go library's error message.
    fn comparable(&self) -> Self {
        let mut answer = self.clone();
        let is_parse_error = |reason: &String| reason.starts_with("parsing pod: ");
        if self.code == "Error" || self.reasons.iter().any(is_parse_error) {
            answer.reasons.clear();
        }
        answer
    }
}

/// A case's objects for one version.
struct World {
    cluster: Cluster,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    pod: Arc<Pod>,
    profile: Profile,
}

impl Case {
    pub(crate) fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// Every difference to what the scheduler said, and every inconsistency of our own answers; an
    /// error says why the case cannot be asked.
    pub(crate) fn disagreements(&self) -> Result<Vec<String>, String> {
        let mut differences = Vec::new();
        let newer = self.want137.as_ref().unwrap_or(&self.want);
        for (version, want) in [
            (SchedulerVersion::V1_36, &self.want),
            (SchedulerVersion::V1_37, newer),
        ] {
            let world = self.world(version)?;
            differences.extend(world.differences(want));
        }
        if !differences.is_empty() && !self.note.is_empty() {
            differences.insert(0, format!("note: {}", self.note));
        }
        Ok(differences)
    }

    fn world(&self, version: SchedulerVersion) -> Result<World, String> {
        let mut converter = Converter::new(version, Origin::AsGiven);
        let nodes: Vec<Arc<Node>> = read("nodes", &self.nodes)?
            .iter()
            .map(|node| Arc::new(converter.node(node)))
            .collect();
        let pods: Vec<Arc<Pod>> = read("pods", &self.pods)?
            .iter()
            .map(|pod| Arc::new(converter.pod(pod)))
            .collect();
        let pod = decode(self.pod.clone()).map_err(|error| format!("pod: {error}"))?;
        let profile = match &self.scheduler_config {
            None => Profile::new(version),
            Some(config) => Profile::from_configuration(config, version)
                .map_err(|error| format!("schedulerConfig: {}", chain(&error)))?,
        };
        check_places(&nodes, &pods)?;
        Ok(World {
            cluster: cluster(&self.objects, &mut converter)?,
            nodes,
            pods,
            pod: Arc::new(converter.pod_to_place(&pod)),
            profile,
        })
    }
}

impl World {
    fn differences(&self, want: &[Answer]) -> Vec<String> {
        let (mut snapshot, ids) = self.snapshot();
        let version = self.profile.version();
        let mut differences = Vec::new();
        for (want, id) in want.iter().zip(&ids) {
            let verdict = snapshot.check(&self.pod, *id);
            let answer = Answer::new(&want.node, &verdict);
            if answer.comparable() != want.comparable() {
                differences.push(format!(
                    "{version:?}: want {want:?}\n       got  {answer:?}"
                ));
            }
            if snapshot.fits(&self.pod, *id) != verdict.is_ok() {
                differences.push(format!("{version:?}: fits() differs on {}", want.node));
            }
            if snapshot.explain(&self.pod, *id).first() != verdict.as_ref().err() {
                differences.push(format!("{version:?}: explain() differs on {}", want.node));
            }
        }
        differences.extend(self.search_differences(&mut snapshot, &ids));
        let before = self.verdicts(&mut snapshot, &ids);
        if self.verdicts_after_a_revert(&mut snapshot, &ids) != before {
            differences.push(format!("{version:?}: revert does not restore"));
        }
        let (mut other, other_ids) = self.snapshot_in_order(self.pods.iter().rev());
        if self.verdicts(&mut other, &other_ids) != before {
            differences.push(format!("{version:?}: the order of pods matters"));
        }
        differences
    }

    fn verdicts(&self, snapshot: &mut Snapshot, ids: &[NodeId]) -> Vec<Result<(), Rejection>> {
        ids.iter()
            .map(|id| snapshot.check(&self.pod, *id))
            .collect()
    }

    /// The verdicts of a snapshot in which all sorts of changes were made and undone.
    fn verdicts_after_a_revert(
        &self,
        snapshot: &mut Snapshot,
        ids: &[NodeId],
    ) -> Vec<Result<(), Rejection>> {
        snapshot.fork();
        for id in ids {
            snapshot.add_pod(&self.pod, *id);
            snapshot.check(&self.pod, *id).ok();
        }
        snapshot.fork();
        for pod in &self.pods {
            if let Some(id) = pod
                .node_name
                .as_ref()
                .and_then(|name| snapshot.node_id(name))
            {
                snapshot.remove_pod(pod, id);
                snapshot.check(&self.pod, id).ok();
            }
        }
        snapshot.commit();
        for id in ids {
            snapshot.remove_node(*id);
        }
        snapshot.revert();
        self.verdicts(snapshot, ids)
    }

    /// Whether a search finds just the nodes that fit, in order, twice over.
    fn search_differences(&self, snapshot: &mut Snapshot, ids: &[NodeId]) -> Option<String> {
        let fitting: Vec<NodeId> = ids
            .iter()
            .copied()
            .filter(|id| !snapshot.node(*id).unschedulable && snapshot.fits(&self.pod, *id))
            .collect();
        for round in 0..3 {
            let mut found = Vec::new();
            while let Some(id) = snapshot.first_fit(&self.pod, |id| !found.contains(&id)) {
                found.push(id);
            }
            found.sort_unstable();
            if found != fitting {
                return Some(format!("search {round} finds {found:?}, not {fitting:?}"));
            }
        }
        None
    }

    fn snapshot(&self) -> (Snapshot, Vec<NodeId>) {
        self.snapshot_in_order(self.pods.iter())
    }

    fn snapshot_in_order<'a>(
        &self,
        pods: impl Iterator<Item = &'a Arc<Pod>>,
    ) -> (Snapshot, Vec<NodeId>) {
        let mut snapshot = Snapshot::new(&self.cluster, &self.profile);
        let ids = self
            .nodes
            .iter()
            .map(|node| snapshot.add_node(Arc::clone(node)))
            .collect();
        for pod in pods {
            let node = pod.node_name.as_ref();
            if let Some(id) = node.and_then(|node| snapshot.node_id(node)) {
                snapshot.add_pod(pod, id);
            }
        }
        (snapshot, ids)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    error.to_string() + &cause.unwrap_or_default()
}

/// Each pod's node must be one of the case's.
fn check_places(nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> Result<(), String> {
    for (index, pod) in pods.iter().enumerate() {
        let name = pod.node_name.as_ref();
        if !nodes.iter().any(|node| Some(&node.name) == name) {
            let name = name.map_or("", SmolStr::as_str);
            return Err(format!(
                "pods[{index}]: spec.nodeName: {name:?} is none of the case's nodes"
            ));
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(field: &str, values: &[Value]) -> Result<Vec<T>, String> {
    let decoded = values.iter().enumerate().map(|(index, value)| {
        decode(value.clone()).map_err(|error| format!("{field}[{index}]: {error}"))
    });
    decoded.collect()
}

fn cluster(
    objects: &BTreeMap<String, Vec<Value>>,
    converter: &mut Converter,
) -> Result<Cluster, String> {
    let mut cluster = Cluster {
        scheduler_version: converter.scheduler_version(),
        ..Cluster::default()
    };
    for (kind, values) in objects {
        let values = (kind.as_str(), values.as_slice());
        match kind.as_str() {
            "namespaces" => {
                cluster.namespaces = by_name(values, |namespace| {
                    let namespace = converter.namespace_object(namespace);
                    (namespace.name.clone(), namespace)
                })?;
            }
            "persistentVolumes" => {
                cluster.volumes = by_name(values, |volume| {
                    let volume = converter.persistent_volume(volume);
                    (volume.name.clone(), volume)
                })?;
            }
            "persistentVolumeClaims" => {
                cluster.claims = by_name(values, |claim| {
                    let claim = converter.persistent_volume_claim(claim);
                    (claim.name.clone(), claim)
                })?;
            }
            "storageClasses" => {
                cluster.storage_classes = by_name(values, |class| {
                    let class = converter.storage_class(class);
                    (class.name.clone(), class)
                })?;
            }
            "csiNodes" => {
                cluster.csi_nodes = by_name(values, |node| {
                    let node = converter.csi_node(node);
                    (node.name.clone(), node)
                })?;
            }
            "csiDrivers" => {
                cluster.csi_drivers = by_name(values, |driver| {
                    let driver = converter.csi_driver(driver);
                    (driver.name.clone(), driver)
                })?;
            }
            "csiStorageCapacities" => {
                cluster.csi_storage_capacities =
                    list(values, |capacity| converter.csi_storage_capacity(capacity))?;
            }
            "volumeAttachments" => {
                cluster.volume_attachments =
                    list(values, |attachment| converter.volume_attachment(attachment))?;
            }
            "services" => cluster.services = list(values, |service| converter.service(service))?,
            "replicationControllers" => cluster.workloads.extend(list(values, |controller| {
                converter.replication_controller(controller)
            })?),
            "replicaSets" => cluster.workloads.extend(list(values, |workload| {
                converter.workload(WorkloadKind::ReplicaSet, workload)
            })?),
            "statefulSets" => cluster.workloads.extend(list(values, |workload| {
                converter.workload(WorkloadKind::StatefulSet, workload)
            })?),
            "resourceClaims" => {
                cluster.resource_claims = by_name(values, |claim| {
                    let claim = converter.resource_claim(claim);
                    (claim.name.clone(), claim)
                })?;
            }
            "resourceSlices" => {
                cluster.resource_slices = list(values, |slice| converter.resource_slice(slice))?;
            }
            "deviceClasses" => {
                cluster.device_classes = by_name(values, |class| {
                    let class = converter.device_class(class);
                    (class.name.clone(), class)
                })?;
            }
            other => return Err(format!("objects: {other:?} is not a known kind")),
        }
    }
    Ok(cluster)
}

/// A field of `objects` and what it holds.
type Kind<'a> = (&'a str, &'a [Value]);

fn by_name<A: DeserializeOwned, K: Ord, M>(
    (kind, values): Kind<'_>,
    mut convert: impl FnMut(&A) -> (K, M),
) -> Result<BTreeMap<K, Arc<M>>, String> {
    let objects = read(&format!("objects.{kind}"), values)?;
    let converted = objects.iter().map(|object| {
        let (name, object) = convert(object);
        (name, Arc::new(object))
    });
    Ok(converted.collect())
}

fn list<A: DeserializeOwned, M>(
    (kind, values): Kind<'_>,
    mut convert: impl FnMut(&A) -> M,
) -> Result<Vec<Arc<M>>, String> {
    let objects = read(&format!("objects.{kind}"), values)?;
    Ok(objects
        .iter()
        .map(|object| Arc::new(convert(object)))
        .collect())
}
