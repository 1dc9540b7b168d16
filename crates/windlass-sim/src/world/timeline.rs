//! What happens to the cluster from outside.

use std::sync::Arc;

use windlass_model::{InstanceState, ObjectName, SmolStr, WorkloadKind};

use super::World;
use super::budgets::BudgetRule;
use super::cloud::{Machine, MachineState};
use super::queue::Event;
use crate::scenario::{Change, GROUP_LABEL, Object, ObjectReference, insert};

impl World {
    /// Plays an entry of the timeline, and plans its next time if it has one.
    pub(super) fn play_entry(&mut self, index: usize) {
        let Some(entry) = self.timeline.get(index).cloned() else {
            return;
        };
        if let Some(every) = entry.every {
            self.queue.push(self.now + every, Event::Timeline(index));
        }
        match &entry.change {
            Change::Apply(object) => {
                self.log
                    .add("timeline", format!("apply {}", name_of(object)));
                self.apply(object);
            }
            Change::ApplyGroup(group) => self.apply_group(group),
            Change::Scale { object, replicas } => self.scale(object, *replicas),
            Change::Delete(object) => {
                self.log
                    .add("timeline", format!("delete {}", reference(object)));
                if !self.delete(object) {
                    self.log
                        .add("timeline", format!("{} is not there", reference(object)));
                }
            }
            Change::Fail(failure) => self.fail_group(failure),
        }
        self.touch();
    }

    fn scale(&mut self, object: &ObjectReference, replicas: i64) {
        let name = reference(object);
        self.log
            .add("timeline", format!("scale {name} to {replicas}"));
        let found = workload_kind(&object.kind)
            .is_some_and(|kind| self.set_replicas(&(kind, full_name(object)), replicas));
        if !found {
            self.log.add("timeline", format!("{name} is not there"));
        }
    }

    /// Takes in an object, or another version of one.
    pub(super) fn apply(&mut self, object: &Object) {
        match object {
            Object::Workload(kind, workload) => self.add_workload(*kind, workload),
            Object::ReplicationController(controller) => {
                self.add_replication_controller(controller);
            }
            Object::Pod(pod) => {
                let mut pod = pod.clone();
                self.admit(&mut pod.spec);
                let mut pod = self.converter.pod(&pod);
                pod.created_at = pod.created_at.or(Some(self.now));
                self.pods.add(Arc::new(pod));
            }
            Object::Node(node) => {
                let node = self.converter.node(node);
                self.join(node);
            }
            Object::PriorityClass(class) => {
                self.priority_classes
                    .insert(class.metadata.name.clone(), class.as_ref().clone());
            }
            Object::PodDisruptionBudget(budget) => {
                let converted = self.converter.disruption_budget(budget);
                let name = converted.name.clone();
                self.drop_budget(&name);
                self.budget_rules
                    .extend(BudgetRule::new(name, &budget.spec));
                self.cluster.disruption_budgets.push(Arc::new(converted));
            }
            Object::ProvisioningRequest(request) => {
                let mut request = self.converter.provisioning_request(request);
                request.created_at = request.created_at.or(Some(self.now));
                self.add_provisioning_request(request);
            }
            other => {
                let namespace = self.config.process.namespace.clone();
                insert(&mut self.cluster, &mut self.converter, other, &namespace);
            }
        }
        self.touch();
    }

    /// A node that nobody launched: it registers, with its instance if it says its group.
    fn join(&mut self, mut node: windlass_model::Node) {
        if node.provider_id.is_empty() {
            node.provider_id = SmolStr::from(format!("windlass:///{}", node.name));
        }
        node.created_at = node.created_at.or(Some(self.now));
        let id = node.provider_id.clone();
        let known = self.machines.contains_key(&id);
        if let Some(group) = node.labels.get(GROUP_LABEL).cloned()
            && !known
            && let Some(target) = self.cluster.groups.iter_mut().find(|g| g.name == group)
        {
            target.instances.push(windlass_model::Instance {
                provider_id: id.clone(),
                state: InstanceState::Running,
            });
            target.target_size += 1;
            let machine = Machine {
                group,
                node: node.name.clone(),
                state: MachineState::Running,
            };
            self.machines.insert(id, machine);
        }
        self.cluster.nodes.retain(|other| other.name != node.name);
        self.cluster.nodes.push(Arc::new(node));
        self.wake();
    }

    fn delete(&mut self, object: &ObjectReference) -> bool {
        let name = full_name(object);
        if let Some(kind) = workload_kind(&object.kind) {
            return self.delete_workload(&(kind, name));
        }
        let cluster = &mut self.cluster;
        match object.kind.as_str() {
            "Pod" => match self.pods.id(&name) {
                Some(id) => {
                    self.delete_pod(id);
                    true
                }
                None => false,
            },
            "Node" => self.lose_node(&object.name),
            "PodDisruptionBudget" => self.drop_budget(&name),
            "Namespace" => cluster.namespaces.remove(&object.name).is_some(),
            "PersistentVolumeClaim" => cluster.claims.remove(&name).is_some(),
            "PersistentVolume" => cluster.volumes.remove(&object.name).is_some(),
            "StorageClass" => cluster.storage_classes.remove(&object.name).is_some(),
            "CSINode" => cluster.csi_nodes.remove(&object.name).is_some(),
            "CSIDriver" => cluster.csi_drivers.remove(&object.name).is_some(),
            "DeviceClass" => cluster.device_classes.remove(&object.name).is_some(),
            "ResourceClaim" => cluster.resource_claims.remove(&name).is_some(),
            "ResourceSlice" => {
                let before = cluster.resource_slices.len();
                cluster
                    .resource_slices
                    .retain(|slice| slice.name != object.name);
                cluster.resource_slices.len() < before
            }
            "PodTemplate" => cluster.pod_templates.remove(&name).is_some(),
            "ProvisioningRequest" => {
                let requests = &mut cluster.provisioning_requests;
                take_out(requests, |request| request.name == name)
            }
            "CapacityBuffer" => take_out(&mut cluster.capacity_buffers, |it| it.name == name),
            "CapacityQuota" => take_out(&mut cluster.capacity_quotas, |it| it.name == object.name),
            "ResourceQuota" => take_out(&mut cluster.resource_quotas, |it| it.name == name),
            "PriorityClass" => self.priority_classes.remove(&object.name).is_some(),
            "ConfigMap" => cluster.priority_expander.take().is_some(),
            _ => false,
        }
    }

    /// A machine dies. Its group misses it and launches another.
    fn lose_node(&mut self, name: &SmolStr) -> bool {
        let node = self.cluster.nodes.iter().find(|node| node.name == *name);
        let Some(id) = node.map(|node| node.provider_id.clone()) else {
            return false;
        };
        if self.machines.contains_key(&id) {
            self.instance_gone(&id);
            true
        } else {
            self.remove_node(name)
        }
    }

    fn drop_budget(&mut self, name: &ObjectName) -> bool {
        self.budget_rules.retain(|rule| rule.name != *name);
        let before = self.cluster.disruption_budgets.len();
        self.cluster
            .disruption_budgets
            .retain(|budget| budget.name != *name);
        self.cluster.disruption_budgets.len() < before
    }
}

fn full_name(object: &ObjectReference) -> ObjectName {
    ObjectName::new(object.namespace.clone(), object.name.clone())
}

fn workload_kind(kind: &str) -> Option<WorkloadKind> {
    [
        WorkloadKind::Deployment,
        WorkloadKind::ReplicaSet,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
        WorkloadKind::Job,
        WorkloadKind::ReplicationController,
    ]
    .into_iter()
    .find(|known| known.as_str() == kind)
}

const CLUSTER_SCOPED: [&str; 10] = [
    "CapacityQuota",
    "Node",
    "Namespace",
    "PersistentVolume",
    "StorageClass",
    "CSINode",
    "CSIDriver",
    "DeviceClass",
    "ResourceSlice",
    "PriorityClass",
];

/// An object that an entry names, for people.
fn reference(object: &ObjectReference) -> String {
    if CLUSTER_SCOPED.contains(&object.kind.as_str()) {
        format!("{} {}", object.kind, object.name)
    } else {
        format!("{} {}/{}", object.kind, object.namespace, object.name)
    }
}

fn name_of(object: &Object) -> String {
    let (kind, metadata) = object.kind_and_metadata();
    let namespace = if metadata.namespace.is_empty() {
        SmolStr::new_static("default")
    } else {
        metadata.namespace.clone()
    };
    reference(&ObjectReference {
        kind: SmolStr::new_static(kind),
        name: metadata.name.clone(),
        namespace,
    })
}

/// Takes the objects out that `is_it` means; whether there were any.
fn take_out<T>(objects: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> bool {
    let before = objects.len();
    objects.retain(|object| !is_it(object));
    objects.len() < before
}
