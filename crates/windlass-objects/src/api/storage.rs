use serde::Deserialize;

use windlass_model::SmolStr;

use super::{Amount, Amounts, InTreeSources, LabelSelector, Metadata, NodeSelector};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    pub metadata: Metadata,
    pub spec: PersistentVolumeClaimSpec,
    pub status: PhaseStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolumeClaimSpec {
    pub volume_name: SmolStr,
    pub storage_class_name: Option<SmolStr>,
    pub access_modes: Vec<SmolStr>,
    pub volume_mode: Option<SmolStr>,
    pub volume_attributes_class_name: Option<SmolStr>,
    pub selector: Option<LabelSelector>,
    pub resources: ClaimRequirements,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimRequirements {
    pub requests: Amounts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PhaseStatus {
    pub phase: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolume {
    pub metadata: Metadata,
    pub spec: PersistentVolumeSpec,
    pub status: PhaseStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolumeSpec {
    pub capacity: Amounts,
    pub access_modes: Vec<SmolStr>,
    pub storage_class_name: SmolStr,
    pub volume_mode: Option<SmolStr>,
    pub volume_attributes_class_name: Option<SmolStr>,
    pub claim_ref: Option<ClaimReference>,
    pub node_affinity: VolumeNodeAffinity,
    pub csi: Option<CsiSource>,
    #[serde(flatten)]
    pub in_tree: InTreeSources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    pub namespace: SmolStr,
    pub name: SmolStr,
    pub uid: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    pub required: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CsiSource {
    pub driver: SmolStr,
    pub volume_handle: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StorageClass {
    pub metadata: Metadata,
    pub provisioner: SmolStr,
    pub volume_binding_mode: Option<SmolStr>,
    pub allowed_topologies: Vec<TopologyTerm>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopologyTerm {
    pub match_label_expressions: Vec<TopologyRequirement>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TopologyRequirement {
    pub key: SmolStr,
    pub values: Vec<SmolStr>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CsiNode {
    pub metadata: Metadata,
    pub spec: CsiNodeSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CsiNodeSpec {
    /// Null where the node has none: the API writes the list without `omitempty`.
    pub drivers: Option<Vec<CsiNodeDriver>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CsiNodeDriver {
    pub name: SmolStr,
    pub allocatable: CsiNodeAllocatable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CsiNodeAllocatable {
    pub count: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CsiDriver {
    pub metadata: Metadata,
    pub spec: CsiDriverSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CsiDriverSpec {
    pub storage_capacity: bool,
    pub prevent_pod_scheduling_if_missing: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CsiStorageCapacity {
    pub metadata: Metadata,
    pub storage_class_name: SmolStr,
    pub node_topology: Option<LabelSelector>,
    pub capacity: Option<Amount>,
    pub maximum_volume_size: Option<Amount>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct VolumeAttachment {
    pub metadata: Metadata,
    pub spec: VolumeAttachmentSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeAttachmentSpec {
    pub attacher: SmolStr,
    pub node_name: SmolStr,
    pub source: VolumeAttachmentSource,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeAttachmentSource {
    pub persistent_volume_name: SmolStr,
}
