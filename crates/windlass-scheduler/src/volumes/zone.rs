use windlass_model::{BindingMode, Labels, Pod, SmolStr};

use super::{VolumeCatalog, class_of_claim};
use crate::rejection::Code;

/// Zone and region labels, each with what stands in for it on a node that lacks it.
const TOPOLOGY_LABELS: [(&str, Option<&str>); 4] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        Some("topology.kubernetes.io/zone"),
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        Some("topology.kubernetes.io/region"),
    ),
    ("topology.kubernetes.io/zone", None),
    ("topology.kubernetes.io/region", None),
];

/// `VolumeZone` of a pod. Source: `pkg/scheduler/framework/plugins/volumezone`.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// Why `PreFilter` fails.
    pub(crate) failure: Option<(Code, SmolStr)>,
    /// For each zone or region label of a bound volume: the label, its stand-in, the values.
    wanted: Vec<(&'static str, Option<&'static str>, Vec<SmolStr>)>,
}

impl Zone {
    pub(super) fn new(pod: &Pod, catalog: &VolumeCatalog) -> Self {
        let mut zone = Self {
            failure: None,
            wanted: Vec::new(),
        };
        zone.failure = zone.collect(pod, catalog).err();
        zone
    }

    fn collect(&mut self, pod: &Pod, catalog: &VolumeCatalog) -> Result<(), (Code, SmolStr)> {
        let fail = |text: String| Err((Code::UnschedulableAndUnresolvable, SmolStr::from(text)));
        for claim in super::claims_of(pod, catalog).filter(|claim| !claim.is_ephemeral) {
            if claim.name.is_empty() {
                return fail("PersistentVolumeClaim had no name".into());
            }
            let Some(object) = claim.claim else {
                return fail(super::not_found("persistentvolumeclaim", &claim.name));
            };
            if object.volume_name.is_empty() {
                let name = class_of_claim(object);
                if name.is_empty() {
                    return fail(
                        "PersistentVolumeClaim had no pv name and storageClass name".into(),
                    );
                }
                let Some(class) = catalog.classes.get(name) else {
                    return fail(super::not_found("storageclass.storage.k8s.io", name));
                };
                match class.binding_mode {
                    None => {
                        return fail(format!(
                            "VolumeBindingMode not set for StorageClass \"{name}\""
                        ));
                    }
                    Some(BindingMode::WaitForFirstConsumer) => continue,
                    Some(BindingMode::Immediate) => {
                        return fail("PersistentVolume had no name".into());
                    }
                }
            }
            let Some(volume) = catalog.volumes.get(&object.volume_name) else {
                return fail(super::not_found("persistentvolume", &object.volume_name));
            };
            for (key, stand_in) in TOPOLOGY_LABELS {
                let values = volume.labels.get(key).and_then(|value| value_set(value));
                self.wanted
                    .extend(values.map(|values| (key, stand_in, values)));
            }
        }
        Ok(())
    }

    /// Whether the node's zone and region are the volumes'; a node without any has none to differ.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        let has_topology = TOPOLOGY_LABELS
            .iter()
            .any(|(key, _)| labels.contains_key(key));
        !has_topology
            || self.wanted.iter().all(|(key, stand_in, values)| {
                labels
                    .get(key)
                    .or_else(|| stand_in.and_then(|key| labels.get(key)))
                    .is_some_and(|value| values.contains(value))
            })
    }
}

/// The parts of `a__b`; none when one is empty.
fn value_set(value: &str) -> Option<Vec<SmolStr>> {
    let parts: Vec<SmolStr> = value.split("__").map(|part| part.trim().into()).collect();
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}
