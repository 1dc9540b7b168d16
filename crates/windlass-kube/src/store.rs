//! The cluster as the watches have last shown it.

mod extras;
mod resources;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use windlass_model::{
    CapacityBuffer, CapacityQuota, Cluster, CsiDriver, CsiNode, CsiStorageCapacity, DeviceClass,
    DisruptionBudget, Namespace, Node, ObjectName, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ProvisioningRequest, ResourceClaim, ResourceQuota, ResourceSlice,
    SchedulerVersion, Service, SmolStr, StorageClass, VolumeAttachment, Workload, WorkloadKind,
};
use windlass_objects::{Converter, Origin};

use crate::api::{Api, ApiError};

pub use extras::OptionalFeatures;
pub(crate) use resources::Watched;
pub use wake::{Wake, WakeReasons};

/// The annotation of the status `ConfigMap` by which somebody pauses scale-down.
const PAUSE_ANNOTATION: &str = "windlass.dev/scale-down";

/// After so many pods are gone, what they shared is looked through.
const SWEEP_AFTER: usize = 1000;

/// Which objects are watched, besides those that always are.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Whose scheduler decides.
    pub scheduler_version: SchedulerVersion,
    /// The namespace of the `ConfigMap`s.
    pub namespace: String,
    /// The status `ConfigMap`, for its annotations.
    pub status_config_map: String,
    /// The priority expander's `ConfigMap`, where that expander is used.
    pub priority_config_map: Option<String>,
    /// What else there is to look at.
    pub features: OptionalFeatures,
}

/// How far the view can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Every resource has been listed at least once.
    pub is_synced: bool,
    /// When the oldest of the views was last known to be current; `None` before the first.
    pub current_at: Option<Timestamp>,
    /// The resources of which nothing is known yet, or nothing new.
    pub behind: Vec<&'static str>,
    /// Objects that could not be read: what decisions rest on is incomplete.
    pub unreadable: Vec<String>,
}

/// The model of the cluster, kept up to date by watches. Clones share it.
#[derive(Clone)]
pub struct ClusterStore {
    inner: Arc<Mutex<Inner>>,
    wake: Wake,
    /// Turns true when every resource has been listed once.
    synced: Arc<watch::Sender<bool>>,
}

pub(crate) struct Inner {
    converter: Converter,
    views: BTreeMap<&'static str, View>,
    nodes: BTreeMap<SmolStr, Arc<Node>>,
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    namespaces: BTreeMap<SmolStr, Arc<Namespace>>,
    workloads: BTreeMap<(WorkloadKind, ObjectName), Arc<Workload>>,
    disruption_budgets: BTreeMap<ObjectName, Arc<DisruptionBudget>>,
    services: BTreeMap<ObjectName, Arc<Service>>,
    claims: BTreeMap<ObjectName, Arc<PersistentVolumeClaim>>,
    volumes: BTreeMap<SmolStr, Arc<PersistentVolume>>,
    storage_classes: BTreeMap<SmolStr, Arc<StorageClass>>,
    csi_nodes: BTreeMap<SmolStr, Arc<CsiNode>>,
    csi_drivers: BTreeMap<SmolStr, Arc<CsiDriver>>,
    csi_storage_capacities: BTreeMap<ObjectName, Arc<CsiStorageCapacity>>,
    volume_attachments: BTreeMap<SmolStr, Arc<VolumeAttachment>>,
    resource_claims: BTreeMap<ObjectName, Arc<ResourceClaim>>,
    resource_slices: BTreeMap<SmolStr, Arc<ResourceSlice>>,
    device_classes: BTreeMap<SmolStr, Arc<DeviceClass>>,
    provisioning_requests: BTreeMap<ObjectName, Arc<ProvisioningRequest>>,
    pod_templates: BTreeMap<ObjectName, Arc<PodTemplate>>,
    capacity_buffers: BTreeMap<ObjectName, Arc<CapacityBuffer>>,
    capacity_quotas: BTreeMap<ObjectName, Arc<CapacityQuota>>,
    resource_quotas: BTreeMap<ObjectName, Arc<ResourceQuota>>,
    /// The priority expander's `ConfigMap`, at most one, with its key `priorities`.
    priorities: BTreeMap<ObjectName, Option<SmolStr>>,
    /// The status `ConfigMap`, while it says that scale-down is paused.
    paused_by: BTreeSet<ObjectName>,
    /// Pods gone since what they shared was last swept.
    removed_pods: usize,
}

/// What is known of one resource's view.
#[derive(Clone, Debug, Default)]
struct View {
    standing: Standing,
    /// It failed and has not been heard of since.
    is_interrupted: bool,
    /// That the server refuses to show it has been said.
    is_refusal_known: bool,
    heard_at: Option<Timestamp>,
    /// Objects that could not be read.
    unreadable: BTreeSet<ObjectName>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing is known of it yet.
    #[default]
    Unlisted,
    /// It has been listed.
    Listed,
    /// The server does not serve it, or does not let us see it, and decisions can do without.
    Absent,
}

impl ClusterStore {
    /// An empty store and the tasks that fill it, which end when the set is dropped.
    pub fn watch(api: &Api, options: &WatchOptions) -> (Self, JoinSet<()>) {
        let store = Self::empty(options.scheduler_version);
        let mut tasks = JoinSet::new();
        resources::spawn_all(api, &store, options, &mut tasks);
        (store, tasks)
    }

    fn empty(scheduler_version: SchedulerVersion) -> Self {
        let (synced, _) = watch::channel(false);
        Self {
            inner: Arc::new(Mutex::new(Inner::new(scheduler_version))),
            wake: Wake::default(),
            synced: Arc::new(synced),
        }
    }

    /// Tells of changes that a decision may wait for.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Returns when every resource has been listed once.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as this store.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// How far the view can be trusted.
    pub fn freshness(&self) -> Freshness {
        self.lock().freshness()
    }

    /// The cluster as it is known now, without node groups.
    pub fn cluster(&self) -> Cluster {
        let inner = self.lock();
        Cluster {
            scheduler_version: inner.converter.scheduler_version(),
            nodes: inner.nodes.values().cloned().collect(),
            pods: inner.pods.values().cloned().collect(),
            namespaces: inner.namespaces.clone(),
            workloads: inner.workloads.values().cloned().collect(),
            disruption_budgets: inner.disruption_budgets.values().cloned().collect(),
            services: inner.services.values().cloned().collect(),
            claims: inner.claims.clone(),
            volumes: inner.volumes.clone(),
            storage_classes: inner.storage_classes.clone(),
            csi_nodes: inner.csi_nodes.clone(),
            csi_drivers: inner.csi_drivers.clone(),
            csi_storage_capacities: inner.csi_storage_capacities.values().cloned().collect(),
            volume_attachments: inner.volume_attachments.values().cloned().collect(),
            resource_claims: inner.resource_claims.clone(),
            resource_slices: inner.resource_slices.values().cloned().collect(),
            device_classes: inner.device_classes.clone(),
            provisioning_requests: inner.provisioning_requests.values().cloned().collect(),
            pod_templates: inner.pod_templates.clone(),
            capacity_buffers: inner.capacity_buffers.values().cloned().collect(),
            capacity_quotas: inner.capacity_quotas.values().cloned().collect(),
            resource_quotas: inner.resource_quotas.values().cloned().collect(),
            priority_expander: inner.priorities.values().next().cloned(),
            current_at: inner.freshness().current_at,
            is_scale_down_paused: !inner.paused_by.is_empty(),
            ..Cluster::default()
        }
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.lock().nodes.get(name).cloned()
    }

    /// The buffer of this name.
    pub fn capacity_buffer(&self, name: &ObjectName) -> Option<Arc<CapacityBuffer>> {
        self.lock().capacity_buffers.get(name).cloned()
    }

    /// The pod of this name.
    pub fn pod(&self, name: &ObjectName) -> Option<Arc<Pod>> {
        self.lock().pods.get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held would have been within a plain insertion: the maps are whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object as the server has it. Returns its version, for the watch to go on from.
    pub(crate) fn apply<T: Watched>(
        &self,
        json: &[u8],
        seen: Option<&mut BTreeSet<ObjectName>>,
    ) -> Option<String> {
        let mut inner = self.lock();
        let (name, version, reasons) = match serde_json::from_slice::<T>(json) {
            Ok(object) => {
                let metadata = object.metadata();
                let name = ObjectName::new(metadata.namespace.clone(), metadata.name.clone());
                let version = metadata.resource_version.to_string();
                inner.view::<T>().unreadable.remove(&name);
                (name.clone(), version, object.insert(name, &mut inner))
            }
            Err(error) => {
                let (name, version) = resources::identity(json)?;
                warn!(resource = T::NAME, object = %name, %error, "cannot read an object");
                inner.view::<T>().unreadable.insert(name.clone());
                (name, version, WakeReasons::default())
            }
        };
        if let Some(seen) = seen {
            seen.insert(name);
        }
        drop(inner);
        self.wake.add(reasons);
        Some(version)
    }

    /// An object is gone. Returns its last version.
    pub(crate) fn delete<T: Watched>(&self, json: &[u8]) -> Option<String> {
        let (name, version) = resources::identity(json)?;
        let mut inner = self.lock();
        inner.view::<T>().unreadable.remove(&name);
        let reasons = T::remove(&name, &mut inner);
        drop(inner);
        self.wake.add(reasons);
        Some(version)
    }

    /// A list is complete: what it did not show is gone.
    pub(crate) fn finish<T: Watched>(&self, seen: &BTreeSet<ObjectName>) {
        let mut inner = self.lock();
        let mut reasons = WakeReasons::default();
        for name in T::names(&inner) {
            if !seen.contains(&name) {
                reasons |= T::remove(&name, &mut inner);
            }
        }
        let view = inner.view::<T>();
        view.unreadable.retain(|name| seen.contains(name));
        view.standing = Standing::Listed;
        view.is_refusal_known = false;
        drop(inner);
        self.wake.add(reasons);
        self.heard::<T>();
        self.note_sync();
    }

    /// The watch has shown a sign of life.
    pub(crate) fn heard<T: Watched>(&self) {
        let mut inner = self.lock();
        let view = inner.view::<T>();
        view.heard_at = Some(Timestamp::now());
        let was_interrupted = std::mem::take(&mut view.is_interrupted);
        if was_interrupted && !inner.is_interrupted() {
            drop(inner);
            info!("the view of the cluster is current again");
            self.wake.add(WakeReasons::VIEW);
        }
    }

    /// The watch failed and will be tried again.
    pub(crate) fn interrupted<T: Watched>(&self, problem: &str) {
        let mut inner = self.lock();
        let was_interrupted = inner.is_interrupted();
        inner.view::<T>().is_interrupted = true;
        drop(inner);
        if was_interrupted {
            tracing::debug!(resource = T::NAME, problem, "a watch is interrupted");
        } else {
            // One word for all watches: they mostly fail together.
            warn!(
                resource = T::NAME,
                problem, "the view of the cluster is interrupted"
            );
        }
    }

    /// The server does not serve the resource.
    pub(crate) fn absent<T: Watched>(&self, error: &ApiError) {
        let mut inner = self.lock();
        if T::IS_OPTIONAL {
            let view = inner.view::<T>();
            let before = std::mem::replace(&mut view.standing, Standing::Absent);
            view.is_interrupted = false;
            let mut reasons = WakeReasons::default();
            for name in T::names(&inner) {
                reasons |= T::remove(&name, &mut inner);
            }
            drop(inner);
            self.wake.add(reasons);
            match T::WHEN_MISSING {
                _ if before == Standing::Absent => {}
                Some(meaning) => warn!(
                    resource = T::NAME,
                    "the API server does not serve this resource: {meaning}"
                ),
                None => info!(
                    resource = T::NAME,
                    "the API server does not serve this resource"
                ),
            }
            self.note_sync();
        } else {
            drop(inner);
            self.interrupted::<T>(&error.to_string());
        }
    }

    /// The server does not let us see the resource.
    pub(crate) fn forbidden<T: Watched>(&self, error: &ApiError) {
        let mut inner = self.lock();
        let view = inner.view::<T>();
        let was_said = std::mem::replace(&mut view.is_refusal_known, true);
        if T::IS_OPTIONAL {
            view.standing = Standing::Absent;
            view.is_interrupted = false;
        }
        drop(inner);
        if !was_said {
            let is_needed = !T::IS_OPTIONAL;
            warn!(resource = T::NAME, %error, is_needed, "may not list and watch: see the ClusterRole");
        }
        self.note_sync();
    }

    fn note_sync(&self) {
        if self.lock().freshness().is_synced {
            self.synced
                .send_if_modified(|synced| !std::mem::replace(synced, true));
        }
    }
}

impl Inner {
    fn new(scheduler_version: SchedulerVersion) -> Self {
        Self {
            converter: Converter::new(scheduler_version, Origin::ApiServer),
            views: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            workloads: BTreeMap::new(),
            disruption_budgets: BTreeMap::new(),
            services: BTreeMap::new(),
            claims: BTreeMap::new(),
            volumes: BTreeMap::new(),
            storage_classes: BTreeMap::new(),
            csi_nodes: BTreeMap::new(),
            csi_drivers: BTreeMap::new(),
            csi_storage_capacities: BTreeMap::new(),
            volume_attachments: BTreeMap::new(),
            resource_claims: BTreeMap::new(),
            resource_slices: BTreeMap::new(),
            device_classes: BTreeMap::new(),
            provisioning_requests: BTreeMap::new(),
            pod_templates: BTreeMap::new(),
            capacity_buffers: BTreeMap::new(),
            capacity_quotas: BTreeMap::new(),
            resource_quotas: BTreeMap::new(),
            priorities: BTreeMap::new(),
            paused_by: BTreeSet::new(),
            removed_pods: 0,
        }
    }

    /// Now and then forgets the shapes that no pod has any more.
    fn note_removed_pod(&mut self) {
        self.removed_pods += 1;
        if self.removed_pods > SWEEP_AFTER {
            self.removed_pods = 0;
            self.converter.sweep();
        }
    }

    fn view<T: Watched>(&mut self) -> &mut View {
        self.views.entry(T::NAME).or_default()
    }

    fn is_interrupted(&self) -> bool {
        self.views.values().any(|view| view.is_interrupted)
    }

    fn freshness(&self) -> Freshness {
        let needed = || {
            self.views
                .iter()
                .filter(|(_, view)| view.standing != Standing::Absent)
        };
        let behind = needed()
            .filter(|(_, view)| view.standing == Standing::Unlisted || view.is_interrupted)
            .map(|(name, _)| *name)
            .collect();
        let unreadable: Vec<String> = needed()
            .flat_map(|(kind, view)| {
                view.unreadable
                    .iter()
                    .map(move |name| format!("{kind} {name}"))
            })
            .collect();
        let is_synced = needed().all(|(_, view)| view.standing == Standing::Listed);
        // An unreadable object may be one that keeps a node.
        let is_complete = is_synced && unreadable.is_empty();
        let oldest = needed().map(|(_, view)| view.heard_at).min().flatten();
        Freshness {
            is_synced,
            current_at: if is_complete {
                oldest
            } else {
                Some(Timestamp::UNIX_EPOCH)
            },
            behind,
            unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_objects::api;

    use super::*;

    fn store() -> ClusterStore {
        let store = ClusterStore::empty(SchedulerVersion::V1_37);
        // Its watch has begun.
        store.lock().view::<api::Pod>();
        store
    }

    fn apply<T: Watched>(store: &ClusterStore, object: &Value) -> WakeReasons {
        store.apply::<T>(object.to_string().as_bytes(), None);
        store.wake.take()
    }

    /// A pod that the scheduler gave up at this second.
    fn pending(name: &str, second: u32) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": name, "resourceVersion": "5"},
            "spec": {"containers": []},
            "status": {"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "lastTransitionTime": format!("2026-01-01T00:00:{second:02}Z"),
            }]},
        })
    }

    fn node(taints: &Value) -> Value {
        json!({
            "metadata": {"name": "n1", "resourceVersion": "6"},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    #[test]
    fn a_pod_wakes_each_time_that_the_scheduler_gives_it_up() {
        let store = store();
        let news = WakeReasons::UNSCHEDULABLE_POD;
        assert_eq!(apply::<api::Pod>(&store, &pending("web-1", 1)), news);
        assert!(apply::<api::Pod>(&store, &pending("web-1", 1)).is_empty());
        assert_eq!(apply::<api::Pod>(&store, &pending("web-1", 2)), news);
        let mut bound = pending("web-1", 3);
        bound["spec"]["nodeName"] = json!("n1");
        assert!(apply::<api::Pod>(&store, &bound).is_empty());
    }

    #[test]
    fn a_node_wakes_when_it_offers_something_else() {
        let store = store();
        assert_eq!(
            apply::<api::Node>(&store, &node(&json!([]))),
            WakeReasons::NODE
        );
        let mut annotated = node(&json!([]));
        annotated["metadata"]["annotations"] = json!({"a": "b"});
        assert!(apply::<api::Node>(&store, &annotated).is_empty());
        let tainted = node(&json!([{"key": "a", "effect": "NoSchedule"}]));
        assert_eq!(apply::<api::Node>(&store, &tainted), WakeReasons::NODE);
    }

    #[test]
    fn a_pod_that_leaves_a_node_wakes_only_when_that_node_is_being_removed() {
        let store = store();
        let running = json!({
            "metadata": {"namespace": "default", "name": "web-1", "resourceVersion": "7"},
            "spec": {"containers": [], "nodeName": "n1"},
        });
        let doomed = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
        for (taints, expected) in [
            (json!([]), WakeReasons::default()),
            (doomed, WakeReasons::DRAINED_POD),
        ] {
            apply::<api::Node>(&store, &node(&taints));
            apply::<api::Pod>(&store, &running);
            store.delete::<api::Pod>(running.to_string().as_bytes());
            assert_eq!(store.wake.take(), expected);
        }
    }

    #[test]
    fn what_a_list_does_not_show_is_gone() {
        let store = store();
        apply::<api::Pod>(&store, &pending("old", 1));
        let mut seen = BTreeSet::new();
        let listed = pending("new", 1).to_string();
        let version = store.apply::<api::Pod>(listed.as_bytes(), Some(&mut seen));
        assert_eq!(version.as_deref(), Some("5"));
        store.finish::<api::Pod>(&seen);
        let names: Vec<SmolStr> = store
            .cluster()
            .pods
            .iter()
            .map(|pod| pod.name.clone())
            .collect();
        assert_eq!(names, ["new"]);
    }

    #[test]
    fn the_view_is_as_old_as_its_oldest_part_and_an_absent_api_is_no_part() {
        let store = store();
        assert!(!store.freshness().is_synced);
        store.finish::<api::Pod>(&BTreeSet::new());
        assert!(store.freshness().is_synced);
        let pods_at = store.freshness().current_at;
        store.finish::<api::Node>(&BTreeSet::new());
        assert_eq!(store.freshness().current_at, pods_at);
        let refused = ApiError::Status {
            code: 404,
            reason: String::new(),
            message: String::new(),
        };
        apply::<api::ProvisioningRequest>(
            &store,
            &json!({"metadata": {"namespace": "default", "name": "r", "resourceVersion": "8"}}),
        );
        assert_eq!(store.cluster().provisioning_requests.len(), 1);
        store.absent::<api::ProvisioningRequest>(&refused);
        assert!(store.cluster().provisioning_requests.is_empty());
        store.absent::<api::ResourceSlice>(&refused);
        assert!(store.freshness().is_synced);
        store.absent::<api::Node>(&refused);
        assert_eq!(store.freshness().behind, ["nodes"]);
        store.heard::<api::Node>();
        assert!(store.freshness().behind.is_empty());
    }

    #[test]
    fn an_object_that_cannot_be_read_makes_the_view_worthless() {
        let store = store();
        let mut odd = pending("odd", 1);
        odd["spec"]["containers"] = json!([{"resources": {"requests": {"cpu": "many"}}}]);
        apply::<api::Pod>(&store, &odd);
        store.finish::<api::Pod>(&BTreeSet::from([ObjectName::new("default", "odd")]));
        let freshness = store.freshness();
        assert_eq!(freshness.current_at, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(freshness.unreadable, ["pods default/odd"]);
        apply::<api::Pod>(&store, &pending("odd", 1));
        assert!(store.freshness().unreadable.is_empty());
    }
}
