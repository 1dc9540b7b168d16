//! The four plugins that look at a pod's volumes. What depends on the pod alone is worked out
//! once, in a [`VolumePlan`].

mod binding;
mod limits;
mod migration;
mod restrictions;
mod zone;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{
    Cluster, CsiDriver, CsiNode, CsiStorageCapacity, ObjectName, PersistentVolume,
    PersistentVolumeClaim, Pod, SmolStr, StorageClass, Volume, VolumeAttachment, VolumeSource,
};

pub(crate) use binding::Binding;
pub(crate) use limits::{Limits, LimitsVerdict};
pub(crate) use restrictions::{Restrictions, conflict, disks};
pub(crate) use zone::Zone;

/// Names the class of a claim or a volume, before the field of that meaning does.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The cluster's storage objects, found by what checks ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeCatalog {
    claims: BTreeMap<ObjectName, Arc<PersistentVolumeClaim>>,
    volumes: BTreeMap<SmolStr, Arc<PersistentVolume>>,
    /// Volumes by class, in the order of their names.
    by_class: FxHashMap<SmolStr, Vec<Arc<PersistentVolume>>>,
    classes: BTreeMap<SmolStr, Arc<StorageClass>>,
    csi_nodes: BTreeMap<SmolStr, Arc<CsiNode>>,
    drivers: BTreeMap<SmolStr, Arc<CsiDriver>>,
    capacities: Vec<Arc<CsiStorageCapacity>>,
    /// Attachments by node name.
    attachments: FxHashMap<SmolStr, Vec<Arc<VolumeAttachment>>>,
}

impl VolumeCatalog {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let mut by_class: FxHashMap<SmolStr, Vec<Arc<PersistentVolume>>> = FxHashMap::default();
        for volume in cluster.volumes.values() {
            let class = class_of_volume(volume).clone();
            by_class.entry(class).or_default().push(Arc::clone(volume));
        }
        let mut attachments: FxHashMap<SmolStr, Vec<Arc<VolumeAttachment>>> = FxHashMap::default();
        for attachment in &cluster.volume_attachments {
            let node = attachment.node_name.clone();
            attachments
                .entry(node)
                .or_default()
                .push(Arc::clone(attachment));
        }
        Self {
            claims: cluster.claims.clone(),
            volumes: cluster.volumes.clone(),
            by_class,
            classes: cluster.storage_classes.clone(),
            csi_nodes: cluster.csi_nodes.clone(),
            drivers: cluster.csi_drivers.clone(),
            capacities: cluster.csi_storage_capacities.clone(),
            attachments,
        }
    }

    pub(crate) fn csi_node(&self, node_name: &str) -> Option<&Arc<CsiNode>> {
        self.csi_nodes.get(node_name)
    }
}

/// What the volume plugins make of a pod before they look at any node.
#[derive(Clone, Debug)]
pub(crate) struct VolumePlan {
    pub(crate) restrictions: Restrictions,
    pub(crate) limits: Limits,
    pub(crate) binding: Binding,
    pub(crate) zone: Zone,
}

impl VolumePlan {
    pub(crate) fn new(pod: &Pod, catalog: &VolumeCatalog) -> Self {
        Self {
            restrictions: Restrictions::new(pod, catalog),
            limits: Limits::new(pod, catalog),
            binding: Binding::new(pod, catalog),
            zone: Zone::new(pod, catalog),
        }
    }
}

/// Whether a volume is one that some volume plugin may look at.
pub(crate) fn matters(volume: &Volume) -> bool {
    matches!(
        volume.source,
        VolumeSource::Claim { .. } | VolumeSource::Ephemeral | VolumeSource::Inline(_)
    )
}

/// A claim of one of a pod's volumes.
struct ClaimOfPod<'a> {
    name: SmolStr,
    is_ephemeral: bool,
    claim: Option<&'a Arc<PersistentVolumeClaim>>,
}

/// The claims of a pod's volumes, generic ephemeral ones included, in order.
fn claims_of<'a>(pod: &Pod, catalog: &'a VolumeCatalog) -> impl Iterator<Item = ClaimOfPod<'a>> {
    pod.shape
        .constraints
        .volumes
        .iter()
        .filter_map(|volume| claim_of(pod, volume, catalog))
}

fn claim_of<'a>(pod: &Pod, volume: &Volume, catalog: &'a VolumeCatalog) -> Option<ClaimOfPod<'a>> {
    let (name, is_ephemeral) = match &volume.source {
        VolumeSource::Claim { name, .. } => (name.clone(), false),
        VolumeSource::Ephemeral => (SmolStr::from(format!("{}-{}", pod.name, volume.name)), true),
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath | VolumeSource::Inline(_) => {
            return None;
        }
    };
    let full_name = ObjectName::new(pod.namespace().clone(), name.clone());
    Some(ClaimOfPod {
        claim: catalog.claims.get(&full_name),
        name,
        is_ephemeral,
    })
}

fn not_owner(pod: &Pod, claim: &str) -> String {
    let namespace = pod.namespace();
    format!(
        "PVC {namespace}/{claim} was not created for pod {namespace}/{} (pod is not owner)",
        pod.name
    )
}

fn not_found(kind: &str, name: &str) -> String {
    format!("{kind} \"{name}\" not found")
}

/// The class of a claim; empty when it has none.
fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    claim
        .annotations
        .get(CLASS_ANNOTATION)
        .or(claim.storage_class.as_ref())
        .map_or("", SmolStr::as_str)
}

fn class_of_volume(volume: &PersistentVolume) -> &SmolStr {
    volume
        .annotations
        .get(CLASS_ANNOTATION)
        .unwrap_or(&volume.storage_class)
}
