use windlass_model::{
    BindingMode, CsiDriver, CsiNode, CsiStorageCapacity, ObjectName, PersistentVolume,
    PersistentVolumeClaim, SmolStr, StorageClass, VolumeAttachment,
};

use crate::api;

use super::pod::in_tree_volume;
use super::selector::{label_selector, node_selector};
use super::{Converter, Origin};

impl Converter {
    /// A claim to storage.
    pub fn persistent_volume_claim(
        &self,
        claim: &api::PersistentVolumeClaim,
    ) -> PersistentVolumeClaim {
        let api::PersistentVolumeClaim {
            metadata,
            spec,
            status,
        } = claim;
        PersistentVolumeClaim {
            name: self.full_name(metadata),
            uid: self.uid("PersistentVolumeClaim", metadata),
            labels: metadata.labels.0.clone(),
            annotations: metadata.annotations.0.clone(),
            controller_uid: self.controller_uid(metadata),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            volume_name: spec.volume_name.clone(),
            storage_class: spec.storage_class_name.clone(),
            access_modes: spec.access_modes.clone(),
            volume_mode: volume_mode(spec.volume_mode.as_ref()),
            volume_attributes_class: spec
                .volume_attributes_class_name
                .clone()
                .unwrap_or_default(),
            selector: spec.selector.as_ref().map(label_selector),
            request: spec.resources.requests.0.get("storage"),
            phase: status.phase.clone(),
        }
    }

    /// A piece of storage.
    pub fn persistent_volume(&self, volume: &api::PersistentVolume) -> PersistentVolume {
        let api::PersistentVolume {
            metadata,
            spec,
            status,
        } = volume;
        let claim = spec.claim_ref.as_ref().map(|claim| {
            let name = ObjectName::new(claim.namespace.clone(), claim.name.clone());
            (name, claim.uid.clone())
        });
        PersistentVolume {
            name: metadata.name.clone(),
            labels: metadata.labels.0.clone(),
            annotations: metadata.annotations.0.clone(),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            capacity: spec.capacity.0.get("storage"),
            access_modes: spec.access_modes.clone(),
            storage_class: spec.storage_class_name.clone(),
            volume_mode: volume_mode(spec.volume_mode.as_ref()),
            volume_attributes_class: spec
                .volume_attributes_class_name
                .clone()
                .unwrap_or_default(),
            claim,
            node_affinity: spec.node_affinity.required.as_ref().map(node_selector),
            csi: spec
                .csi
                .as_ref()
                .map(|csi| (csi.driver.clone(), csi.volume_handle.clone())),
            in_tree: in_tree_volume(&spec.in_tree),
            phase: status.phase.clone(),
        }
    }

    /// A class of storage.
    pub fn storage_class(&self, class: &api::StorageClass) -> StorageClass {
        let binding_mode = match class.volume_binding_mode.as_deref() {
            Some("WaitForFirstConsumer") => Some(BindingMode::WaitForFirstConsumer),
            Some(_) => Some(BindingMode::Immediate),
            None if self.origin == Origin::Scenario => Some(BindingMode::Immediate),
            None => None,
        };
        let allowed_topologies = class
            .allowed_topologies
            .iter()
            .map(|term| {
                term.match_label_expressions
                    .iter()
                    .map(|requirement| (requirement.key.clone(), requirement.values.clone()))
                    .collect()
            })
            .collect();
        StorageClass {
            name: class.metadata.name.clone(),
            provisioner: class.provisioner.clone(),
            binding_mode,
            allowed_topologies,
        }
    }

    /// The CSI drivers of a node.
    pub fn csi_node(&self, node: &api::CsiNode) -> CsiNode {
        let drivers = node.spec.drivers.as_deref().unwrap_or_default();
        CsiNode {
            name: node.metadata.name.clone(),
            annotations: node.metadata.annotations.0.clone(),
            drivers: drivers
                .iter()
                .map(|driver| (driver.name.clone(), driver.allocatable.count))
                .collect(),
        }
    }

    /// A CSI driver of the cluster.
    pub fn csi_driver(&self, driver: &api::CsiDriver) -> CsiDriver {
        CsiDriver {
            name: driver.metadata.name.clone(),
            has_storage_capacity: driver.spec.storage_capacity,
            prevents_scheduling_if_missing: driver.spec.prevent_pod_scheduling_if_missing,
        }
    }

    /// How much storage of a class there is somewhere.
    pub fn csi_storage_capacity(&self, capacity: &api::CsiStorageCapacity) -> CsiStorageCapacity {
        CsiStorageCapacity {
            name: self.full_name(&capacity.metadata),
            storage_class: capacity.storage_class_name.clone(),
            node_topology: capacity.node_topology.as_ref().map(label_selector),
            capacity: capacity.capacity.map(|amount| amount.0),
            maximum_volume_size: capacity.maximum_volume_size.map(|amount| amount.0),
        }
    }

    /// A volume attached, or to be attached, to a node.
    pub fn volume_attachment(&self, attachment: &api::VolumeAttachment) -> VolumeAttachment {
        VolumeAttachment {
            name: attachment.metadata.name.clone(),
            attacher: attachment.spec.attacher.clone(),
            node_name: attachment.spec.node_name.clone(),
            volume_name: attachment.spec.source.persistent_volume_name.clone(),
        }
    }
}

/// Absent means `Filesystem` to every reader, with or without defaulting.
fn volume_mode(mode: Option<&SmolStr>) -> SmolStr {
    mode.cloned()
        .unwrap_or_else(|| SmolStr::new_static("Filesystem"))
}
