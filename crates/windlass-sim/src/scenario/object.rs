use serde_json::Value;
use windlass_model::WorkloadKind;
use windlass_objects::{Document, DocumentError, FieldError, Identity, api, decode};

/// A Kubernetes object of a scenario.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Node(Box<api::Node>),
    Pod(Box<api::Pod>),
    Namespace(Box<api::Namespace>),
    Workload(WorkloadKind, Box<api::Workload>),
    ReplicationController(Box<api::ReplicationController>),
    PersistentVolumeClaim(Box<api::PersistentVolumeClaim>),
    PersistentVolume(Box<api::PersistentVolume>),
    ConfigMap(Box<api::ConfigMap>),
    PodDisruptionBudget(Box<api::PodDisruptionBudget>),
    StorageClass(Box<api::StorageClass>),
    CsiNode(Box<api::CsiNode>),
    CsiDriver(Box<api::CsiDriver>),
    CsiStorageCapacity(Box<api::CsiStorageCapacity>),
    VolumeAttachment(Box<api::VolumeAttachment>),
    PriorityClass(Box<api::PriorityClass>),
    ResourceClaim(Box<api::ResourceClaim>),
    ResourceClaimTemplate(Box<api::ResourceClaimTemplate>),
    ResourceSlice(Box<api::ResourceSlice>),
    DeviceClass(Box<api::DeviceClass>),
    PodTemplate(Box<api::PodTemplateObject>),
    ProvisioningRequest(Box<api::ProvisioningRequest>),
    CapacityBuffer(Box<api::CapacityBuffer>),
    CapacityQuota(Box<api::CapacityQuota>),
    ResourceQuota(Box<api::ResourceQuota>),
}

impl Object {
    /// Reads a document; `None` is a kind that is not read.
    pub(super) fn read(document: &Document) -> Result<Option<Self>, DocumentError> {
        Self::from_kind(&document.identity(), Reader { document })
    }

    /// Reads an object that stands inside another.
    pub(super) fn decode(identity: &Identity, value: Value) -> Result<Option<Self>, FieldError> {
        Self::from_kind(identity, Inner { value })
    }

    /// What it is, and what names it.
    pub(crate) fn kind_and_metadata(&self) -> (&'static str, &api::Metadata) {
        match self {
            Self::Node(object) => ("Node", &object.metadata),
            Self::Pod(object) => ("Pod", &object.metadata),
            Self::Namespace(object) => ("Namespace", &object.metadata),
            Self::Workload(kind, object) => (kind.as_str(), &object.metadata),
            Self::ReplicationController(object) => ("ReplicationController", &object.metadata),
            Self::PersistentVolumeClaim(object) => ("PersistentVolumeClaim", &object.metadata),
            Self::PersistentVolume(object) => ("PersistentVolume", &object.metadata),
            Self::ConfigMap(object) => ("ConfigMap", &object.metadata),
            Self::PodDisruptionBudget(object) => ("PodDisruptionBudget", &object.metadata),
            Self::StorageClass(object) => ("StorageClass", &object.metadata),
            Self::CsiNode(object) => ("CSINode", &object.metadata),
            Self::CsiDriver(object) => ("CSIDriver", &object.metadata),
            Self::CsiStorageCapacity(object) => ("CSIStorageCapacity", &object.metadata),
            Self::VolumeAttachment(object) => ("VolumeAttachment", &object.metadata),
            Self::PriorityClass(object) => ("PriorityClass", &object.metadata),
            Self::ResourceClaim(object) => ("ResourceClaim", &object.metadata),
            Self::ResourceClaimTemplate(object) => ("ResourceClaimTemplate", &object.metadata),
            Self::ResourceSlice(object) => ("ResourceSlice", &object.metadata),
            Self::DeviceClass(object) => ("DeviceClass", &object.metadata),
            Self::PodTemplate(object) => ("PodTemplate", &object.metadata),
            Self::ProvisioningRequest(object) => ("ProvisioningRequest", &object.metadata),
            Self::CapacityBuffer(object) => ("CapacityBuffer", &object.metadata),
            Self::CapacityQuota(object) => ("CapacityQuota", &object.metadata),
            Self::ResourceQuota(object) => ("ResourceQuota", &object.metadata),
        }
    }

    fn from_kind<S: Source>(identity: &Identity, source: S) -> Result<Option<Self>, S::Error> {
        let api_version = identity.api_version.as_str();
        let object = match (api_version, identity.kind.as_str()) {
            ("v1", "Node") => Self::Node(source.read()?),
            ("v1", "Pod") => Self::Pod(source.read()?),
            ("v1", "Namespace") => Self::Namespace(source.read()?),
            ("v1", "ReplicationController") => Self::ReplicationController(source.read()?),
            ("v1", "PersistentVolumeClaim") => Self::PersistentVolumeClaim(source.read()?),
            ("v1", "PersistentVolume") => Self::PersistentVolume(source.read()?),
            ("v1", "ConfigMap") => Self::ConfigMap(source.read()?),
            ("apps/v1", "Deployment") => workload(WorkloadKind::Deployment, source)?,
            ("apps/v1", "ReplicaSet") => workload(WorkloadKind::ReplicaSet, source)?,
            ("apps/v1", "StatefulSet") => workload(WorkloadKind::StatefulSet, source)?,
            ("apps/v1", "DaemonSet") => workload(WorkloadKind::DaemonSet, source)?,
            ("batch/v1", "Job") => workload(WorkloadKind::Job, source)?,
            ("policy/v1", "PodDisruptionBudget") => Self::PodDisruptionBudget(source.read()?),
            ("storage.k8s.io/v1", "StorageClass") => Self::StorageClass(source.read()?),
            ("storage.k8s.io/v1", "CSINode") => Self::CsiNode(source.read()?),
            ("storage.k8s.io/v1", "CSIDriver") => Self::CsiDriver(source.read()?),
            ("storage.k8s.io/v1", "CSIStorageCapacity") => Self::CsiStorageCapacity(source.read()?),
            ("storage.k8s.io/v1", "VolumeAttachment") => Self::VolumeAttachment(source.read()?),
            ("scheduling.k8s.io/v1", "PriorityClass") => Self::PriorityClass(source.read()?),
            ("resource.k8s.io/v1", "ResourceClaim") => Self::ResourceClaim(source.read()?),
            ("resource.k8s.io/v1", "ResourceClaimTemplate") => {
                Self::ResourceClaimTemplate(source.read()?)
            }
            ("resource.k8s.io/v1", "ResourceSlice") => Self::ResourceSlice(source.read()?),
            ("resource.k8s.io/v1", "DeviceClass") => Self::DeviceClass(source.read()?),
            ("v1", "PodTemplate") => Self::PodTemplate(source.read()?),
            ("v1", "ResourceQuota") => Self::ResourceQuota(source.read()?),
            ("autoscaling.x-k8s.io/v1" | "autoscaling.x-k8s.io/v1beta1", "ProvisioningRequest") => {
                Self::ProvisioningRequest(source.read()?)
            }
            (
                "autoscaling.x-k8s.io/v1beta1" | "autoscaling.x-k8s.io/v1alpha1",
                "CapacityBuffer",
            ) => Self::CapacityBuffer(source.read()?),
            ("autoscaling.x-k8s.io/v1beta1" | "autoscaling.x-k8s.io/v1alpha1", "CapacityQuota") => {
                Self::CapacityQuota(source.read()?)
            }
            _ => return Ok(None),
        };
        Ok(Some(object))
    }
}

fn workload<S: Source>(kind: WorkloadKind, source: S) -> Result<Object, S::Error> {
    Ok(Object::Workload(kind, source.read()?))
}

/// Where an object's fields come from: a document of a file, or a value inside one.
trait Source {
    type Error;
    fn read<T: serde::de::DeserializeOwned>(self) -> Result<Box<T>, Self::Error>;
}

struct Reader<'a> {
    document: &'a Document,
}

impl Source for Reader<'_> {
    type Error = DocumentError;
    fn read<T: serde::de::DeserializeOwned>(self) -> Result<Box<T>, DocumentError> {
        self.document.read().map(Box::new)
    }
}

struct Inner {
    value: Value,
}

impl Source for Inner {
    type Error = FieldError;
    fn read<T: serde::de::DeserializeOwned>(self) -> Result<Box<T>, FieldError> {
        decode(self.value).map(Box::new)
    }
}
