//! The cluster as the watches have last shown it.

mod resources;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use windlass_model::{
    Cluster, CsiDriver, CsiNode, CsiStorageCapacity, DeviceClass, DisruptionBudget, Namespace,
    Node, ObjectName, PersistentVolume, PersistentVolumeClaim, Pod, ResourceClaim, ResourceSlice,
    SchedulerVersion, Service, SmolStr, StorageClass, VolumeAttachment, Workload, WorkloadKind,
};
use windlass_objects::{Converter, Origin};

use crate::api::{Api, ApiError};

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
        let (synced, _) = watch::channel(false);
        let store = Self {
            inner: Arc::new(Mutex::new(Inner::new(options.scheduler_version))),
            wake: Wake::default(),
            synced: Arc::new(synced),
        };
        let mut tasks = JoinSet::new();
        resources::spawn_all(api, &store, options, &mut tasks);
        (store, tasks)
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
            drop(inner);
            if before != Standing::Absent {
                info!(
                    resource = T::NAME,
                    "the API server does not serve this resource"
                );
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
