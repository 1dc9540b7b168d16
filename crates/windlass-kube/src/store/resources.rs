use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use windlass_model::{Node, ObjectName, Pod, PodScheduled, WorkloadKind};
use windlass_objects::api::{self, Metadata};

use super::{ClusterStore, Inner, PAUSE_ANNOTATION, WakeReasons, WatchOptions, extras};
use crate::api::Api;
use crate::watch::{ResourcePath, escape, watch};

/// The taint of a node that is being removed.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A resource that is watched: how its objects are read, and where they are kept.
pub(crate) trait Watched: DeserializeOwned + Send + 'static {
    /// The resource's plural name.
    const NAME: &'static str;
    /// Whether decisions can do without where the server does not serve or show it.
    const IS_OPTIONAL: bool;
    /// What it means that the server does not serve it, where somebody should know.
    const WHEN_MISSING: Option<&'static str> = None;

    /// The object's metadata.
    fn metadata(&self) -> &Metadata;
    /// Keeps the object in place of an earlier one.
    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons;
    /// Forgets the object.
    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons;
    /// All objects that are kept.
    fn names(inner: &Inner) -> Vec<ObjectName>;
}

/// Begins to watch everything.
pub(super) fn spawn_all(
    api: &Api,
    store: &ClusterStore,
    options: &WatchOptions,
    tasks: &mut JoinSet<()>,
) {
    let mut spawn = Spawner { api, store, tasks };
    spawn.all::<api::Node>("/api/v1/nodes");
    // Pods that have ended hold nothing.
    let unfinished = escape("status.phase!=Succeeded,status.phase!=Failed");
    spawn.some::<api::Pod>("/api/v1/pods".to_owned(), unfinished);
    spawn.all::<api::Namespace>("/api/v1/namespaces");
    spawn.all::<api::Service>("/api/v1/services");
    spawn.all::<api::ReplicationController>("/api/v1/replicationcontrollers");
    spawn.all::<ReplicaSet>("/apis/apps/v1/replicasets");
    spawn.all::<StatefulSet>("/apis/apps/v1/statefulsets");
    spawn.all::<DaemonSet>("/apis/apps/v1/daemonsets");
    spawn.all::<Job>("/apis/batch/v1/jobs");
    spawn.all::<api::PodDisruptionBudget>("/apis/policy/v1/poddisruptionbudgets");
    spawn.all::<api::PersistentVolumeClaim>("/api/v1/persistentvolumeclaims");
    spawn.all::<api::PersistentVolume>("/api/v1/persistentvolumes");
    spawn.all::<api::StorageClass>("/apis/storage.k8s.io/v1/storageclasses");
    spawn.all::<api::CsiNode>("/apis/storage.k8s.io/v1/csinodes");
    spawn.all::<api::CsiDriver>("/apis/storage.k8s.io/v1/csidrivers");
    spawn.all::<api::CsiStorageCapacity>("/apis/storage.k8s.io/v1/csistoragecapacities");
    spawn.all::<api::VolumeAttachment>("/apis/storage.k8s.io/v1/volumeattachments");
    spawn.all::<api::ResourceClaim>("/apis/resource.k8s.io/v1/resourceclaims");
    spawn.all::<api::ResourceSlice>("/apis/resource.k8s.io/v1/resourceslices");
    spawn.all::<api::DeviceClass>("/apis/resource.k8s.io/v1/deviceclasses");
    let config_maps = format!("/api/v1/namespaces/{}/configmaps", options.namespace);
    let named = |name: &str| escape(&format!("metadata.name={name}"));
    spawn.some::<StatusConfigMap>(config_maps.clone(), named(&options.status_config_map));
    if let Some(name) = &options.priority_config_map {
        spawn.some::<PriorityConfigMap>(config_maps, named(name));
    }
    extras::spawn(&mut spawn, options.features);
}

pub(super) struct Spawner<'a> {
    api: &'a Api,
    store: &'a ClusterStore,
    tasks: &'a mut JoinSet<()>,
}

impl Spawner<'_> {
    pub(super) fn all<T: Watched>(&mut self, path: &str) {
        self.some::<T>(path.to_owned(), String::new());
    }

    fn some<T: Watched>(&mut self, path: String, fields: String) {
        // It counts as behind from now on, not from its first word.
        self.store.lock().view::<T>();
        let resource = ResourcePath { path, fields };
        self.tasks
            .spawn(watch::<T>(self.api.clone(), self.store.clone(), resource));
    }
}

/// The name and version of an object of any kind.
pub(super) fn identity(json: &[u8]) -> Option<(ObjectName, String)> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    let Object { metadata } = serde_json::from_slice(json).ok()?;
    let name = ObjectName::new(metadata.namespace, metadata.name);
    Some((name, metadata.resource_version.to_string()))
}

impl Watched for api::Node {
    const NAME: &'static str = "nodes";
    const IS_OPTIONAL: bool = false;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
        let node = Arc::new(inner.converter.node(&self));
        match inner.nodes.insert(name.name, Arc::clone(&node)) {
            Some(earlier) if offers_the_same(&earlier, &node) => WakeReasons::default(),
            _ => WakeReasons::NODE,
        }
    }

    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
        inner.nodes.remove(&name.name);
        WakeReasons::NODE
    }

    fn names(inner: &Inner) -> Vec<ObjectName> {
        cluster_scoped(inner.nodes.keys())
    }
}

/// Whether nothing has changed that could let a pod on or keep it off.
fn offers_the_same(earlier: &Node, later: &Node) -> bool {
    earlier.labels == later.labels
        && earlier.taints == later.taints
        && earlier.unschedulable == later.unschedulable
        && earlier.allocatable == later.allocatable
        && earlier.provider_id == later.provider_id
        && earlier.is_being_deleted == later.is_being_deleted
        && earlier.conditions == later.conditions
}

impl Watched for api::Pod {
    const NAME: &'static str = "pods";
    const IS_OPTIONAL: bool = false;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
        let pod = Arc::new(inner.converter.pod(&self));
        let waits = waits(&pod);
        let earlier = inner.pods.insert(name, pod);
        if waits.is_some() && earlier.as_deref().and_then(self::waits) != waits {
            WakeReasons::UNSCHEDULABLE_POD
        } else {
            WakeReasons::default()
        }
    }

    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
        inner.note_removed_pod();
        let was_drained = inner
            .pods
            .remove(name)
            .and_then(|pod| inner.nodes.get(pod.node_name.as_ref()?))
            .is_some_and(|node| node.taint(TO_BE_DELETED).is_some());
        if was_drained {
            WakeReasons::DRAINED_POD
        } else {
            WakeReasons::default()
        }
    }

    fn names(inner: &Inner) -> Vec<ObjectName> {
        inner.pods.keys().cloned().collect()
    }
}

/// What the scheduler says of a pod that waits for a node, with the time of its last try.
fn waits(pod: &Pod) -> Option<PodScheduled> {
    let is_pending = pod.node_name.is_none() && pod.deletion_timestamp.is_none();
    let is_unschedulable = matches!(pod.scheduled, PodScheduled::Unschedulable { .. });
    (is_pending && is_unschedulable).then_some(pod.scheduled)
}

fn cluster_scoped<'a>(names: impl Iterator<Item = &'a windlass_model::SmolStr>) -> Vec<ObjectName> {
    names
        .map(|name| ObjectName::new("", name.clone()))
        .collect()
}

/// A resource that wakes nobody: read by a method of the converter, kept in a map.
macro_rules! quiet {
    ($Type:ty, $name:literal, optional: $optional:literal, $method:ident => $map:ident, namespaced) => {
        impl Watched for $Type {
            const NAME: &'static str = $name;
            const IS_OPTIONAL: bool = $optional;

            fn metadata(&self) -> &Metadata {
                &self.metadata
            }

            fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
                let object = inner.converter.$method(&self);
                inner.$map.insert(name, Arc::new(object));
                WakeReasons::default()
            }

            fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
                inner.$map.remove(name);
                WakeReasons::default()
            }

            fn names(inner: &Inner) -> Vec<ObjectName> {
                inner.$map.keys().cloned().collect()
            }
        }
    };
    ($Type:ty, $name:literal, optional: $optional:literal, $method:ident => $map:ident) => {
        impl Watched for $Type {
            const NAME: &'static str = $name;
            const IS_OPTIONAL: bool = $optional;

            fn metadata(&self) -> &Metadata {
                &self.metadata
            }

            fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
                let object = inner.converter.$method(&self);
                inner.$map.insert(name.name, Arc::new(object));
                WakeReasons::default()
            }

            fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
                inner.$map.remove(&name.name);
                WakeReasons::default()
            }

            fn names(inner: &Inner) -> Vec<ObjectName> {
                cluster_scoped(inner.$map.keys())
            }
        }
    };
}

quiet!(api::Namespace, "namespaces", optional: false, namespace_object => namespaces);
quiet!(api::Service, "services", optional: true, service => services, namespaced);
quiet!(
    api::PodDisruptionBudget, "poddisruptionbudgets", optional: false,
    disruption_budget => disruption_budgets, namespaced
);
quiet!(
    api::PersistentVolumeClaim, "persistentvolumeclaims", optional: false,
    persistent_volume_claim => claims, namespaced
);
quiet!(api::PersistentVolume, "persistentvolumes", optional: false, persistent_volume => volumes);
quiet!(api::StorageClass, "storageclasses", optional: false, storage_class => storage_classes);
quiet!(api::CsiNode, "csinodes", optional: false, csi_node => csi_nodes);
quiet!(api::CsiDriver, "csidrivers", optional: true, csi_driver => csi_drivers);
quiet!(
    api::CsiStorageCapacity, "csistoragecapacities", optional: true,
    csi_storage_capacity => csi_storage_capacities, namespaced
);
quiet!(
    api::VolumeAttachment, "volumeattachments", optional: true,
    volume_attachment => volume_attachments
);
quiet!(
    api::ResourceClaim, "resourceclaims", optional: true,
    resource_claim => resource_claims, namespaced
);
quiet!(api::ResourceSlice, "resourceslices", optional: true, resource_slice => resource_slices);
quiet!(api::DeviceClass, "deviceclasses", optional: true, device_class => device_classes);

/// A controller of pods: one of the kinds that share their form.
macro_rules! workload {
    ($Type:ident, $name:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Deserialize)]
        #[serde(transparent)]
        pub(super) struct $Type(api::Workload);

        impl Watched for $Type {
            const NAME: &'static str = $name;
            const IS_OPTIONAL: bool = false;

            fn metadata(&self) -> &Metadata {
                &self.0.metadata
            }

            fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
                let workload = inner.converter.workload(WorkloadKind::$Type, &self.0);
                inner
                    .workloads
                    .insert((WorkloadKind::$Type, name), Arc::new(workload));
                WakeReasons::default()
            }

            fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
                remove_workload(WorkloadKind::$Type, name, inner)
            }

            fn names(inner: &Inner) -> Vec<ObjectName> {
                workload_names(WorkloadKind::$Type, inner)
            }
        }
    };
}

workload!(ReplicaSet, "replicasets", "`apps/v1` `ReplicaSet`.");
workload!(StatefulSet, "statefulsets", "`apps/v1` `StatefulSet`.");
workload!(DaemonSet, "daemonsets", "`apps/v1` `DaemonSet`.");
workload!(Job, "jobs", "`batch/v1` Job.");
workload!(Deployment, "deployments", "`apps/v1` Deployment.");

fn remove_workload(kind: WorkloadKind, name: &ObjectName, inner: &mut Inner) -> WakeReasons {
    inner.workloads.remove(&(kind, name.clone()));
    WakeReasons::default()
}

fn workload_names(kind: WorkloadKind, inner: &Inner) -> Vec<ObjectName> {
    inner
        .workloads
        .keys()
        .filter(|(known, _)| *known == kind)
        .map(|(_, name)| name.clone())
        .collect()
}

impl Watched for api::ReplicationController {
    const NAME: &'static str = "replicationcontrollers";
    const IS_OPTIONAL: bool = false;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
        let workload = inner.converter.replication_controller(&self);
        let key = (WorkloadKind::ReplicationController, name);
        inner.workloads.insert(key, Arc::new(workload));
        WakeReasons::default()
    }

    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
        remove_workload(WorkloadKind::ReplicationController, name, inner)
    }

    fn names(inner: &Inner) -> Vec<ObjectName> {
        workload_names(WorkloadKind::ReplicationController, inner)
    }
}

/// The priority expander's `ConfigMap`.
#[derive(Deserialize)]
#[serde(transparent)]
struct PriorityConfigMap(api::ConfigMap);

impl Watched for PriorityConfigMap {
    const NAME: &'static str = "configmaps (priority expander)";
    const IS_OPTIONAL: bool = true;

    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
        let priorities = inner.converter.priorities(&self.0);
        inner.priorities.insert(name, priorities);
        WakeReasons::default()
    }

    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
        inner.priorities.remove(name);
        WakeReasons::default()
    }

    fn names(inner: &Inner) -> Vec<ObjectName> {
        inner.priorities.keys().cloned().collect()
    }
}

/// The status `ConfigMap`, of which the annotations are read.
#[derive(Deserialize)]
struct StatusConfigMap {
    metadata: Metadata,
}

impl Watched for StatusConfigMap {
    const NAME: &'static str = "configmaps (status)";
    const IS_OPTIONAL: bool = true;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
        let pauses = self
            .metadata
            .annotations
            .0
            .get(PAUSE_ANNOTATION)
            .is_some_and(|value| value == "paused");
        let has_changed = if pauses {
            inner.paused_by.insert(name)
        } else {
            inner.paused_by.remove(&name)
        };
        if has_changed {
            WakeReasons::VIEW
        } else {
            WakeReasons::default()
        }
    }

    fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
        if inner.paused_by.remove(name) {
            WakeReasons::VIEW
        } else {
            WakeReasons::default()
        }
    }

    fn names(inner: &Inner) -> Vec<ObjectName> {
        inner.paused_by.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_model::SchedulerVersion;

    use super::*;
    use crate::ClusterStore;

    #[test]
    fn the_priorities_are_those_of_the_configmap_as_it_stands() {
        let store = ClusterStore::empty(SchedulerVersion::V1_37);
        let config_map = |data: serde_json::Value| {
            json!({
                "metadata": {"namespace": "kube-system", "name": "cluster-autoscaler-priority-expander"},
                "data": data,
            })
            .to_string()
        };
        let known = || store.cluster().priority_expander;
        assert_eq!(known(), None);
        for (data, expected) in [
            (json!({"priorities": "10: [a]"}), Some("10: [a]".into())),
            (json!({"priorities": "20: [a]"}), Some("20: [a]".into())),
            (json!({"other": ""}), None),
        ] {
            store.apply::<PriorityConfigMap>(config_map(data).as_bytes(), None);
            assert_eq!(known(), Some(expected));
        }
        store.delete::<PriorityConfigMap>(config_map(json!({})).as_bytes());
        assert_eq!(known(), None);
    }
}
