use crate::{LabelSelector, Labels, NodeSelector, ObjectName, Quantity, SmolStr};

/// One of a pod's volumes that bears on scheduling or on drains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// The volume's name in the pod.
    pub name: SmolStr,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeSource {
    /// A claim of the pod's namespace.
    Claim {
        /// The claim's name.
        name: SmolStr,
        /// Mounted read-only.
        read_only: bool,
    },
    /// A generic ephemeral volume: the claim is named `POD-VOLUME`.
    Ephemeral,
    /// Node-local scratch space.
    EmptyDir {
        /// In memory, and so not lost with a disk.
        in_memory: bool,
    },
    /// A directory of the host.
    HostPath,
    /// A volume of an in-tree plugin, named in the pod itself.
    Inline(InlineVolume),
}

/// An in-tree volume named in a pod or in a persistent volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InlineVolume {
    /// Which plugin.
    pub kind: InTreeKind,
    /// What names the disk: `volumeID`, `pdName`, `iqn`, the disk URI …
    pub handle: SmolStr,
    /// Mounted read-only.
    pub read_only: bool,
    /// RBD only: pool and image.
    pub rbd_pool_and_image: Option<(SmolStr, SmolStr)>,
    /// RBD only: monitors.
    pub rbd_monitors: Vec<SmolStr>,
}

/// The in-tree volume plugins that checks know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InTreeKind {
    /// `awsElasticBlockStore`.
    AwsElasticBlockStore,
    /// `gcePersistentDisk`.
    GcePersistentDisk,
    /// `azureDisk`.
    AzureDisk,
    /// `azureFile`.
    AzureFile,
    /// `cinder`.
    Cinder,
    /// `portworxVolume`.
    Portworx,
    /// `vsphereVolume`.
    Vsphere,
    /// `iscsi`.
    Iscsi,
    /// `rbd`.
    Rbd,
}

/// A claim to storage.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PersistentVolumeClaim {
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// The uid of the controlling owner, or empty.
    pub controller_uid: SmolStr,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// `spec.volumeName`, or empty.
    pub volume_name: SmolStr,
    /// `spec.storageClassName`; `None` when null.
    pub storage_class: Option<SmolStr>,
    /// `spec.accessModes`.
    pub access_modes: Vec<SmolStr>,
    /// `spec.volumeMode`, `Filesystem` by default.
    pub volume_mode: SmolStr,
    /// `spec.volumeAttributesClassName`, or empty.
    pub volume_attributes_class: SmolStr,
    /// `spec.selector`.
    pub selector: Option<LabelSelector>,
    /// `spec.resources.requests.storage`.
    pub request: Option<Quantity>,
    /// `status.phase`.
    pub phase: SmolStr,
}

/// A piece of storage.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PersistentVolume {
    /// The name.
    pub name: SmolStr,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// `spec.capacity.storage`.
    pub capacity: Option<Quantity>,
    /// `spec.accessModes`.
    pub access_modes: Vec<SmolStr>,
    /// `spec.storageClassName`, or empty.
    pub storage_class: SmolStr,
    /// `spec.volumeMode`, `Filesystem` by default.
    pub volume_mode: SmolStr,
    /// `spec.volumeAttributesClassName`, or empty.
    pub volume_attributes_class: SmolStr,
    /// `spec.claimRef`: the claim, and its uid or empty.
    pub claim: Option<(ObjectName, SmolStr)>,
    /// `spec.nodeAffinity.required`.
    pub node_affinity: Option<NodeSelector>,
    /// `spec.csi`: driver and volume handle.
    pub csi: Option<(SmolStr, SmolStr)>,
    /// An in-tree source.
    pub in_tree: Option<InlineVolume>,
    /// `status.phase`.
    pub phase: SmolStr,
}

/// When a claim of a class is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindingMode {
    /// As soon as it is made.
    Immediate,
    /// When a pod that uses it is scheduled.
    WaitForFirstConsumer,
}

/// A class of storage.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StorageClass {
    /// The name.
    pub name: SmolStr,
    /// The provisioner.
    pub provisioner: SmolStr,
    /// When claims are bound; `None` when null, which is an error where it is asked for.
    pub binding_mode: Option<BindingMode>,
    /// `allowedTopologies`: terms of (label, values).
    pub allowed_topologies: Vec<Vec<(SmolStr, Vec<SmolStr>)>>,
}

/// The CSI drivers of a node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CsiNode {
    /// The node's name.
    pub name: SmolStr,
    /// Annotations.
    pub annotations: Labels,
    /// Drivers with their attach limit, if they have one.
    pub drivers: Vec<(SmolStr, Option<i64>)>,
}

/// A CSI driver of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CsiDriver {
    /// The name.
    pub name: SmolStr,
    /// `spec.storageCapacity`.
    pub has_storage_capacity: bool,
    /// `spec.preventPodSchedulingIfMissing`.
    pub prevents_scheduling_if_missing: bool,
}

/// How much storage of a class there is somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CsiStorageCapacity {
    /// Namespace and name.
    pub name: ObjectName,
    /// The class.
    pub storage_class: SmolStr,
    /// The nodes; `None` is none.
    pub node_topology: Option<LabelSelector>,
    /// `capacity`.
    pub capacity: Option<Quantity>,
    /// `maximumVolumeSize`.
    pub maximum_volume_size: Option<Quantity>,
}

/// A volume attached, or to be attached, to a node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VolumeAttachment {
    /// The name.
    pub name: SmolStr,
    /// The driver.
    pub attacher: SmolStr,
    /// The node.
    pub node_name: SmolStr,
    /// The persistent volume, or empty.
    pub volume_name: SmolStr,
}
