//! The controllers of workloads: they make the pods that are missing and delete those that are
//! too many. A Deployment changes over at once instead of rolling.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use windlass_model::{
    Constraints, Duration, Labels, Node, NodeSelector, NodeSelectorTerm, ObjectName, Phase, Pod,
    PodScheduled, PodShape, Requirement, RequirementOperator, SmolStr, Workload, WorkloadKind,
    parse_go_duration,
};
use windlass_objects::api;

use super::World;
use super::pods::PodId;
use super::queue::Event;

/// The annotation of a Job's pod template that says how long its pods work.
const RUN_TIME: &str = "windlass.dev/run-time";

/// How long a deleted pod takes to stop. Most do at once; few use up their grace period.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The API server's default.
const GRACE_PERIOD_SECONDS: i64 = 30;

pub(super) type Key = (WorkloadKind, ObjectName);

/// A workload and what its controller needs besides.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    pub(super) model: Arc<Workload>,
    /// The uid of the Deployment that it is a part of.
    owner: SmolStr,
    template: Option<api::PodTemplate>,
    metadata: api::Metadata,
    run_time: Option<Duration>,
    /// Of a Deployment: the `ReplicaSet` that has its pods.
    current: Option<ObjectName>,
}

impl Controller {
    pub(super) fn replicas(&self) -> i64 {
        self.model.replicas.unwrap_or(1)
    }

    fn shape(&self) -> Option<&Arc<PodShape>> {
        self.model.template.as_ref().map(|pod| &pod.shape)
    }
}

impl World {
    /// Takes in a workload, or another version of one.
    pub(super) fn add_workload(&mut self, kind: WorkloadKind, object: &api::Workload) {
        let mut object = object.clone();
        if let Some(template) = &mut object.spec.template {
            self.admit(&mut template.spec);
        }
        let model = self.converter.workload(kind, &object);
        self.insert_controller(model, object.metadata, object.spec.template);
    }

    pub(super) fn add_replication_controller(&mut self, object: &api::ReplicationController) {
        let mut object = object.clone();
        if let Some(template) = &mut object.spec.template {
            self.admit(&mut template.spec);
        }
        let model = self.converter.replication_controller(&object);
        self.insert_controller(model, object.metadata, object.spec.template);
    }

    fn insert_controller(
        &mut self,
        mut model: Workload,
        metadata: api::Metadata,
        template: Option<api::PodTemplate>,
    ) {
        let key = (model.kind, model.name.clone());
        let run_time = template
            .as_ref()
            .and_then(|template| template.metadata.annotations.0.get(RUN_TIME))
            .and_then(|text| parse_go_duration(text).ok());
        let owner = metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller)
            .map_or_else(SmolStr::default, |owner| {
                if owner.uid.is_empty() {
                    format!("{}/{}/{}", owner.kind, model.name.namespace, owner.name).into()
                } else {
                    owner.uid.clone()
                }
            });
        let mut current = None;
        if let Some(old) = self.controllers.get(&key) {
            model.uid = old.model.uid.clone();
            model.succeeded = old.model.succeeded;
            model.current_replicas = old.model.current_replicas;
            if old.model.template.as_ref().map(|pod| &pod.shape)
                == model.template.as_ref().map(|pod| &pod.shape)
            {
                current.clone_from(&old.current);
            } else if let Some(old_current) = &old.current {
                self.set_replicas(&(WorkloadKind::ReplicaSet, old_current.clone()), 0);
            }
        }
        let controller = Controller {
            model: Arc::new(model),
            owner,
            template,
            metadata,
            run_time,
            current,
        };
        self.controllers.insert(key, controller);
        self.touch();
    }

    /// Sets how many pods a workload is to have; whether there is such a workload.
    pub(super) fn set_replicas(&mut self, key: &Key, replicas: i64) -> bool {
        let Some(controller) = self.controllers.get_mut(key) else {
            return false;
        };
        if controller.model.replicas != Some(replicas) {
            Arc::make_mut(&mut controller.model).replicas = Some(replicas);
            self.touch();
        }
        true
    }

    /// Deletes a workload with all that it has made; whether it was there.
    pub(super) fn delete_workload(&mut self, key: &Key) -> bool {
        let Some(controller) = self.controllers.remove(key) else {
            return false;
        };
        let parts: Vec<Key> = self
            .controllers
            .iter()
            .filter(|(_, part)| part.owner == controller.model.uid)
            .map(|(key, _)| key.clone())
            .collect();
        for part in parts {
            self.delete_workload(&part);
        }
        let pods = self.pods.all_of(&controller.model.uid);
        self.log.removed(&describe(&controller.model), pods.len());
        for pod in pods {
            self.delete_pod(pod);
        }
        self.touch();
        true
    }

    /// Lets every controller do its work once; whether anything changed.
    pub(super) fn reconcile(&mut self) -> bool {
        let keys: Vec<Key> = self.controllers.keys().cloned().collect();
        let mut changed = false;
        for key in keys {
            let Some(controller) = self.controllers.get(&key).cloned() else {
                continue;
            };
            changed |= match key.0 {
                WorkloadKind::Deployment => self.reconcile_deployment(&key, &controller),
                WorkloadKind::ReplicaSet | WorkloadKind::ReplicationController => {
                    self.reconcile_replicas(&controller)
                }
                WorkloadKind::StatefulSet => self.reconcile_stateful_set(&controller),
                WorkloadKind::DaemonSet => self.reconcile_daemonset(&controller),
                WorkloadKind::Job => self.reconcile_job(&controller),
            };
        }
        changed
    }

    fn reconcile_deployment(&mut self, key: &Key, deployment: &Controller) -> bool {
        let known = deployment.current.clone();
        let Some(current) = known
            .or_else(|| self.existing_replica_set(deployment))
            .or_else(|| self.create_replica_set(deployment))
        else {
            return false;
        };
        if let Some(controller) = self.controllers.get_mut(key) {
            controller.current = Some(current.clone());
        }
        let replica_set = (WorkloadKind::ReplicaSet, current);
        let has = self.controllers.get(&replica_set).map(Controller::replicas);
        let wanted = deployment.replicas();
        has != Some(wanted) && self.set_replicas(&replica_set, wanted)
    }

    /// The `ReplicaSet` of a Deployment that came with the scenario: the one with the most pods.
    fn existing_replica_set(&self, deployment: &Controller) -> Option<ObjectName> {
        let template_hash = replica_set_name(deployment);
        self.controllers
            .iter()
            .filter(|((kind, _), part)| {
                *kind == WorkloadKind::ReplicaSet && part.owner == deployment.model.uid
            })
            .max_by_key(|((_, name), part)| (Some(name) == template_hash.as_ref(), part.replicas()))
            .filter(|((_, name), part)| Some(name) == template_hash.as_ref() || part.replicas() > 0)
            .map(|((_, name), _)| name.clone())
    }

    fn create_replica_set(&mut self, deployment: &Controller) -> Option<ObjectName> {
        let name = replica_set_name(deployment)?;
        let mut template = deployment.template.clone()?;
        let hash = name.name.rsplit('-').next().unwrap_or_default();
        template.metadata.labels.0.insert("pod-template-hash", hash);
        let object = api::Workload {
            metadata: api::Metadata {
                name: name.name.clone(),
                namespace: name.namespace.clone(),
                creation_timestamp: Some(self.now),
                owner_references: vec![api::OwnerReference {
                    api_version: SmolStr::new_static("apps/v1"),
                    kind: SmolStr::new_static("Deployment"),
                    name: deployment.metadata.name.clone(),
                    uid: deployment.model.uid.clone(),
                    controller: true,
                }],
                ..api::Metadata::default()
            },
            spec: api::WorkloadSpec {
                replicas: Some(deployment.replicas()),
                template: Some(template),
                ..api::WorkloadSpec::default()
            },
            status: api::WorkloadStatus::default(),
        };
        self.add_workload(WorkloadKind::ReplicaSet, &object);
        Some(name)
    }

    fn reconcile_replicas(&mut self, controller: &Controller) -> bool {
        let live = self.pods.live_of(&controller.model.uid);
        let wanted = usize::try_from(controller.replicas()).unwrap_or(0);
        self.note_current(controller, live.len());
        if live.len() < wanted {
            return self.create_pods(controller, wanted - live.len());
        }
        let surplus = self.surplus(live, wanted);
        self.log
            .removed(&describe(&controller.model), surplus.len());
        let changed = !surplus.is_empty();
        for pod in surplus {
            self.delete_pod(pod);
        }
        changed
    }

    /// Which pods go when there are too many: those without a node first, then those that are not
    /// ready, then the newest. Source: `pkg/controller/controller_utils.go` `ActivePods`.
    fn surplus(&self, mut live: Vec<PodId>, wanted: usize) -> Vec<PodId> {
        let order = |id: &PodId| {
            let pod = self.pods.get(*id);
            let has_node = pod.is_some_and(|pod| pod.node_name.is_some());
            let is_ready = pod.is_some_and(|pod| pod.is_ready);
            (has_node, is_ready, std::cmp::Reverse(*id))
        };
        live.sort_by_key(order);
        live.truncate(live.len().saturating_sub(wanted));
        live
    }

    fn create_pods(&mut self, controller: &Controller, count: usize) -> bool {
        let Some(shape) = controller.shape() else {
            return false;
        };
        for _ in 0..count {
            let name = format!("{}-{}", controller.model.name.name, self.suffixes.next(5));
            let pod = self.create_pod(Arc::clone(shape), name.into());
            if let Some(run_time) = controller.run_time {
                self.run_times.insert(pod, run_time);
            }
        }
        self.log.created(&describe(&controller.model), count);
        count > 0
    }

    /// Pods come one after another, each when the one before is ready, unless they may come all
    /// at once; the last goes first.
    fn reconcile_stateful_set(&mut self, controller: &Controller) -> bool {
        let Some(shape) = controller.shape().cloned() else {
            return false;
        };
        let name = controller.model.name.clone();
        let live = self.pods.live_of(&controller.model.uid).len();
        self.note_current(controller, live);
        let wanted = controller.replicas();
        let pod_name = |ordinal: i64| {
            let name = format!("{}-{ordinal}", name.name);
            ObjectName::new(controller.model.name.namespace.clone(), name)
        };
        let mut created = 0;
        for ordinal in 0..wanted {
            let full_name = pod_name(ordinal);
            let known = self.pods.id(&full_name).and_then(|id| self.pods.get(id));
            if let Some(pod) = known {
                if pod.is_ready || controller.model.is_parallel {
                    continue;
                }
                break;
            }
            self.create_pod(Arc::clone(&shape), full_name.name);
            created += 1;
            if !controller.model.is_parallel {
                break;
            }
        }
        self.log.created(&describe(&controller.model), created);
        let mut surplus = Vec::new();
        for id in self.pods.live_of(&controller.model.uid) {
            let ordinal = self
                .pods
                .get(id)
                .and_then(|pod| pod.name.rsplit('-').next()?.parse::<i64>().ok());
            if ordinal.is_some_and(|ordinal| ordinal >= wanted) {
                surplus.push(id);
            }
        }
        self.log
            .removed(&describe(&controller.model), surplus.len());
        let changed = created > 0 || !surplus.is_empty();
        for pod in surplus {
            self.delete_pod(pod);
        }
        changed
    }

    fn reconcile_daemonset(&mut self, controller: &Controller) -> bool {
        let Some(shape) = controller.shape().cloned() else {
            return false;
        };
        let mut served: BTreeSet<SmolStr> = BTreeSet::new();
        let mut orphans = Vec::new();
        for id in self.pods.live_of(&controller.model.uid) {
            let pod = self.pods.get(id);
            let target = pod
                .and_then(|pod| pod.node_name.clone())
                .or_else(|| self.daemon_targets.get(&id).cloned());
            match target {
                Some(node) if self.cluster.nodes.iter().any(|n| n.name == node) => {
                    served.insert(node);
                }
                _ => orphans.push(id),
            }
        }
        let missing: Vec<SmolStr> = self
            .cluster
            .nodes
            .iter()
            .filter(|node| !served.contains(&node.name) && wants_daemon(&shape, node))
            .map(|node| node.name.clone())
            .collect();
        let changed = !missing.is_empty() || !orphans.is_empty();
        self.log
            .created(&describe(&controller.model), missing.len());
        for node in missing {
            let name = format!("{}-{}", controller.model.name.name, self.suffixes.next(5));
            let pod = self.create_pod(Arc::new(shape_for_node(&shape, &node)), name.into());
            self.daemon_targets.insert(pod, node);
        }
        for pod in orphans {
            self.delete_pod(pod);
        }
        changed
    }

    fn reconcile_job(&mut self, controller: &Controller) -> bool {
        let live = self.pods.live_of(&controller.model.uid).len();
        self.note_current(controller, live);
        let parallelism = controller.replicas();
        let succeeded = controller.model.succeeded;
        let wanted = match controller.model.completions {
            Some(completions) => parallelism.min(completions - succeeded),
            // A queue of work: once one pod has found it empty, no new ones come.
            None if succeeded > 0 => 0,
            None => parallelism,
        };
        let missing = usize::try_from(wanted).unwrap_or(0).saturating_sub(live);
        missing > 0 && self.create_pods(controller, missing)
    }

    fn note_current(&mut self, controller: &Controller, live: usize) {
        let live = i64::try_from(live).unwrap_or(i64::MAX);
        if controller.model.current_replicas == live {
            return;
        }
        let key = (controller.model.kind, controller.model.name.clone());
        if let Some(controller) = self.controllers.get_mut(&key) {
            Arc::make_mut(&mut controller.model).current_replicas = live;
            self.is_stale = true;
        }
        self.note_current_of_owner(&controller.owner);
    }

    /// A Deployment has the pods of its `ReplicaSet`s.
    fn note_current_of_owner(&mut self, owner: &SmolStr) {
        let parts = self
            .controllers
            .values()
            .filter(|part| part.owner == *owner);
        let sum = parts.map(|part| part.model.current_replicas).sum();
        let mut controllers = self.controllers.values_mut();
        if let Some(owner) = controllers.find(|it| it.model.uid == *owner) {
            Arc::make_mut(&mut owner.model).current_replicas = sum;
        }
    }

    fn create_pod(&mut self, shape: Arc<PodShape>, name: SmolStr) -> PodId {
        self.pods_created += 1;
        let is_gated = !shape.constraints.scheduling_gates.is_empty();
        let pod = Pod {
            uid: format!("pod-{}", self.pods_created).into(),
            name,
            shape,
            resized_requests: None,
            created_at: Some(self.now),
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: if is_gated {
                PodScheduled::Other
            } else {
                PodScheduled::Absent
            },
            is_ready: false,
        };
        self.touch();
        self.pods.add(Arc::new(pod))
    }

    /// Binds a pod to a node, where it starts at once.
    pub(super) fn bind(&mut self, id: PodId, node: SmolStr) -> Arc<Pod> {
        self.pods.update(id, |pod| {
            pod.node_name = Some(node);
            pod.nominated_node_name = None;
            pod.phase = Phase::Running;
            pod.scheduled = PodScheduled::Scheduled;
            pod.is_ready = true;
        });
        if let Some(run_time) = self.run_times.get(&id) {
            self.queue
                .push(self.now + *run_time, Event::PodFinished(id));
        }
        self.touch();
        Arc::clone(
            self.pods
                .get(id)
                .expect("the pod was just found in the list of pods"),
        )
    }

    /// Deletes a pod: at once if it never ran, else when it has stopped.
    pub(super) fn delete_pod(&mut self, id: PodId) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        if pod.node_name.is_none() {
            self.forget_pod(id);
            return;
        }
        if pod.deletion_timestamp.is_some() {
            return;
        }
        let grace = pod
            .shape
            .termination_grace_period_seconds
            .unwrap_or(GRACE_PERIOD_SECONDS);
        let ends = self.now + Duration::from_secs(grace.max(0));
        let stop_time = STOP_TIME.min(Duration::from_secs(grace.max(0)));
        self.pods.update(id, |pod| {
            pod.deletion_timestamp = Some(ends);
            pod.is_ready = false;
        });
        self.queue.push(self.now + stop_time, Event::PodGone(id));
        self.touch();
    }

    /// A pod is gone for good.
    pub(super) fn forget_pod(&mut self, id: PodId) {
        if self.pods.remove(id).is_some() {
            self.daemon_targets.remove(&id);
            self.run_times.remove(&id);
            self.touch();
        }
    }

    /// A Job's pod has done its work.
    pub(super) fn finish_pod(&mut self, id: PodId) {
        let Some(pod) = self.pods.get(id).cloned() else {
            return;
        };
        if pod.deletion_timestamp.is_some() {
            return;
        }
        if let Some(owner) = &pod.shape.controller {
            let job = self
                .controllers
                .values_mut()
                .find(|controller| controller.model.uid == owner.uid);
            if let Some(job) = job {
                Arc::make_mut(&mut job.model).succeeded += 1;
                self.log.finished(&describe(&job.model));
            }
        }
        self.forget_pod(id);
    }

    /// What the admission plugin Priority does to a new pod.
    pub(super) fn admit(&self, spec: &mut api::PodSpec) {
        if spec.priority.is_some() {
            return;
        }
        let class = if spec.priority_class_name.is_empty() {
            self.priority_classes
                .values()
                .find(|class| class.global_default)
        } else {
            self.priority_classes.get(&spec.priority_class_name)
        };
        let built_in = match spec.priority_class_name.as_str() {
            "system-node-critical" => Some(2_000_001_000),
            "system-cluster-critical" => Some(2_000_000_000),
            _ => None,
        };
        spec.priority = class.map(|class| class.value).or(built_in);
        if let Some(class) = class
            && spec.preemption_policy.is_empty()
        {
            spec.preemption_policy = class.preemption_policy.clone();
        }
    }
}

/// The name of the `ReplicaSet` of a Deployment's present template.
fn replica_set_name(deployment: &Controller) -> Option<ObjectName> {
    let mut hasher = FxHasher::default();
    deployment.shape()?.hash(&mut hasher);
    let name = &deployment.model.name;
    Some(ObjectName::new(
        name.namespace.clone(),
        format!(
            "{}-{}",
            name.name,
            super::suffix::encode(hasher.finish(), 9)
        ),
    ))
}

/// A workload, for people.
pub(super) fn describe(workload: &Workload) -> String {
    format!("{} {}", workload.kind.as_str(), workload.name)
}

/// Whether the `DaemonSet` controller makes a pod for the node.
/// Source: `pkg/controller/daemon/daemon_controller.go` `NodeShouldRunDaemonPod`.
fn wants_daemon(shape: &PodShape, node: &Node) -> bool {
    let constraints = &shape.constraints;
    let selected = constraints
        .node_selector
        .as_ref()
        .is_none_or(|wanted| has_all(&node.labels, wanted));
    let liked = constraints
        .node_affinity
        .as_ref()
        .is_none_or(|affinity| affinity.matches(&node.labels, &node.name));
    selected && liked && constraints.tolerates_all(&node.taints) && !node.is_being_deleted
}

fn has_all(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// A `DaemonSet`'s pod is for one node, which its affinity names.
/// Source: `ReplaceDaemonSetPodNodeNameNodeAffinity`.
fn shape_for_node(shape: &PodShape, node: &SmolStr) -> PodShape {
    let mut constraints = Constraints::clone(&shape.constraints);
    let this_node = vec![Requirement {
        key: SmolStr::new_static("metadata.name"),
        operator: RequirementOperator::In,
        values: vec![node.clone()],
    }];
    let mut terms = constraints.node_affinity.take().map_or_else(
        || vec![NodeSelectorTerm::default()],
        |affinity| affinity.terms,
    );
    for term in &mut terms {
        term.match_fields.clone_from(&this_node);
    }
    constraints.node_affinity = Some(NodeSelector { terms });
    PodShape {
        constraints: Arc::new(constraints),
        ..shape.clone()
    }
}

/// All controllers, by kind and name.
pub(super) type Controllers = BTreeMap<Key, Controller>;
