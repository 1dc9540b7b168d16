use std::sync::Arc;

use windlass_model::{
    BindingMode, CsiNode, Labels, Node, NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod,
    Quantity, SmolStr, StorageClass,
};

use super::{VolumeCatalog, class_of_claim, migration};
use crate::rejection::Code;

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

const NODE_CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const NO_SPACE: &str = "node(s) did not have enough free storage";
const VOLUME_GONE: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// `VolumeBinding` of a pod. Source: `pkg/scheduler/framework/plugins/volumebinding`.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// Why `PreFilter` fails.
    pub(crate) failure: Option<(Code, SmolStr)>,
    /// The volumes of bound claims; `None` where there is no such volume.
    bound: Vec<Option<Arc<PersistentVolume>>>,
    /// Claims that are bound when the pod is scheduled.
    delayed: Vec<Arc<PersistentVolumeClaim>>,
}

impl Binding {
    pub(super) fn new(pod: &Pod, catalog: &VolumeCatalog) -> Self {
        let mut binding = Self {
            failure: None,
            bound: Vec::new(),
            delayed: Vec::new(),
        };
        binding.failure = usable(pod, catalog)
            .map_err(|text| (Code::UnschedulableAndUnresolvable, text.into()))
            .and_then(|()| binding.sort_out(pod, catalog))
            .err();
        binding
    }

    fn sort_out(&mut self, pod: &Pod, catalog: &VolumeCatalog) -> Result<(), (Code, SmolStr)> {
        let mut has_immediate = false;
        for claim in super::claims_of(pod, catalog).filter_map(|claim| claim.claim) {
            if !claim.volume_name.is_empty() && claim.annotations.contains_key(BIND_COMPLETED) {
                self.bound
                    .push(catalog.volumes.get(&claim.volume_name).cloned());
                continue;
            }
            let class = catalog.classes.get(class_of_claim(claim));
            let mode = class.map(|class| (class, class.binding_mode));
            if let Some((class, None)) = mode {
                let name = &class.name;
                let text = format!("VolumeBindingMode not set for StorageClass \"{name}\"");
                return Err((Code::Error, text.into()));
            }
            let is_delayed = claim.volume_name.is_empty()
                && matches!(mode, Some((_, Some(BindingMode::WaitForFirstConsumer))));
            if is_delayed {
                self.delayed.push(Arc::clone(claim));
            } else {
                has_immediate = true;
            }
        }
        if has_immediate {
            let text = SmolStr::new_static("pod has unbound immediate PersistentVolumeClaims");
            return Err((Code::UnschedulableAndUnresolvable, text));
        }
        Ok(())
    }

    /// Whether some check on a node can fail.
    pub(crate) fn may_fail(&self) -> bool {
        !self.bound.is_empty() || !self.delayed.is_empty()
    }

    /// The reasons why the pod's claims cannot be met on the node; an error is the text of a check
    /// that failed itself.
    pub(crate) fn check(
        &self,
        node: &Node,
        catalog: &VolumeCatalog,
    ) -> Result<Vec<&'static str>, String> {
        let csi_node = catalog.csi_node(&node.name).map(AsRef::as_ref);
        let (is_near, is_there) = self.check_bound(&node.labels, csi_node);
        let (is_found, has_space) = self.check_delayed(node, catalog)?;
        let reasons = [
            (is_near, NODE_CONFLICT),
            (is_found, NO_VOLUME),
            (has_space, NO_SPACE),
            (is_there, VOLUME_GONE),
        ];
        Ok(reasons
            .into_iter()
            .filter(|(is_met, _)| !is_met)
            .map(|(_, reason)| reason)
            .collect())
    }

    /// Whether the bound volumes are usable from the node, and whether they exist.
    fn check_bound(&self, labels: &Labels, csi_node: Option<&CsiNode>) -> (bool, bool) {
        for volume in &self.bound {
            let Some(volume) = volume else {
                return (true, false);
            };
            let is_near = match migration::translated_affinity(volume, csi_node) {
                Some(affinity) => matches_labels(&affinity, labels),
                None => is_usable_from(volume, labels),
            };
            if !is_near {
                return (false, true);
            }
        }
        (true, true)
    }

    /// Whether every delayed claim finds a volume or a way to make one, and whether there is
    /// space for those to be made.
    fn check_delayed(&self, node: &Node, catalog: &VolumeCatalog) -> Result<(bool, bool), String> {
        let mut to_provision = Vec::new();
        let mut to_match = Vec::new();
        for claim in &self.delayed {
            match claim.annotations.get(SELECTED_NODE) {
                Some(selected) if *selected != node.name => return Ok((false, true)),
                Some(_) => to_provision.push(claim),
                None => to_match.push(claim),
            }
        }
        to_match.sort_by_key(|claim| claim.request.unwrap_or(Quantity::ZERO));
        let mut chosen: Vec<&SmolStr> = Vec::new();
        for claim in to_match {
            match find_volume(claim, &node.labels, &chosen, catalog)? {
                Some(volume) => chosen.push(&volume.name),
                None => to_provision.push(claim),
            }
        }
        for claim in to_provision {
            let name = class_of_claim(claim);
            let Some(class) = catalog.classes.get(name) else {
                return Err(format!("failed to find storage class \"{name}\""));
            };
            if !can_provision(class, &node.labels) {
                return Ok((false, true));
            }
            if !has_capacity(claim, class, &node.labels, catalog) {
                return Ok((true, false));
            }
        }
        Ok((true, true))
    }
}

/// Whether every claim of the pod is there and may be used.
fn usable(pod: &Pod, catalog: &VolumeCatalog) -> Result<(), String> {
    for claim in super::claims_of(pod, catalog) {
        let name = &claim.name;
        let Some(object) = claim.claim else {
            return Err(if claim.is_ephemeral {
                format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim \
                     \"{name}\""
                )
            } else {
                super::not_found("persistentvolumeclaim", name)
            });
        };
        if object.phase == "Lost" {
            return Err(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                object.volume_name
            ));
        }
        if object.is_being_deleted {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if claim.is_ephemeral && object.controller_uid != pod.uid {
            return Err(super::not_owner(pod, name));
        }
    }
    Ok(())
}

fn is_usable_from(volume: &PersistentVolume, labels: &Labels) -> bool {
    volume
        .node_affinity
        .as_ref()
        .is_none_or(|affinity| matches_labels(affinity, labels))
}

/// A node selector on labels alone: fields are parsed but not compared, since the node has no
/// name here. Source: `k8s.io/component-helpers/storage/volume` `CheckNodeAffinity`.
fn matches_labels(selector: &NodeSelector, labels: &Labels) -> bool {
    selector.terms.iter().any(|term| {
        let is_empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
        !is_empty
            && term.is_valid()
            && term
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    })
}

/// The volume that the claim would be bound to: the one that names it, else the smallest that
/// will do, the first by name among equals.
fn find_volume<'a>(
    claim: &PersistentVolumeClaim,
    labels: &Labels,
    chosen: &[&SmolStr],
    catalog: &'a VolumeCatalog,
) -> Result<Option<&'a Arc<PersistentVolume>>, String> {
    if claim
        .selector
        .as_ref()
        .is_some_and(|selector| !selector.is_valid())
    {
        return Err(format!(
            "error creating internal label selector for claim: {}",
            claim.name
        ));
    }
    let request = claim.request.unwrap_or(Quantity::ZERO);
    let mut best: Option<&Arc<PersistentVolume>> = None;
    for volume in catalog
        .by_class
        .get(class_of_claim(claim))
        .into_iter()
        .flatten()
    {
        let is_named = names(volume, claim);
        let is_possible = !chosen.contains(&&volume.name)
            && (volume.claim.is_none() || is_named)
            && volume.capacity.unwrap_or(Quantity::ZERO) >= request
            && mode(&volume.volume_mode) == mode(&claim.volume_mode)
            && volume.volume_attributes_class == claim.volume_attributes_class
            && !volume.is_being_deleted;
        if !is_possible {
            continue;
        }
        let is_near = is_usable_from(volume, labels);
        if is_named {
            return Ok(is_near.then_some(volume));
        }
        let is_free = volume.phase == "Available"
            && claim
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&volume.labels))
            && is_near
            && claim
                .access_modes
                .iter()
                .all(|mode| volume.access_modes.contains(mode));
        if is_free && best.is_none_or(|best| volume.capacity < best.capacity) {
            best = Some(volume);
        }
    }
    Ok(best)
}

fn names(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume
        .claim
        .as_ref()
        .is_some_and(|(name, uid)| *name == claim.name && (uid.is_empty() || *uid == claim.uid))
}

fn mode(text: &str) -> &str {
    if text.is_empty() { "Filesystem" } else { text }
}

fn can_provision(class: &StorageClass, labels: &Labels) -> bool {
    let term_matches = |term: &Vec<(SmolStr, Vec<SmolStr>)>| {
        !term.is_empty()
            && term
                .iter()
                .all(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value)))
    };
    !class.provisioner.is_empty()
        && class.provisioner != "kubernetes.io/no-provisioner"
        && (class.allowed_topologies.is_empty()
            || class.allowed_topologies.iter().any(term_matches))
}

/// Whether some reported capacity of the class, reachable from the node, is enough for the claim
/// by itself.
fn has_capacity(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    labels: &Labels,
    catalog: &VolumeCatalog,
) -> bool {
    let Some(request) = claim.request else {
        return true;
    };
    let is_reported = catalog
        .drivers
        .get(&class.provisioner)
        .is_some_and(|driver| driver.has_storage_capacity);
    !is_reported
        || catalog.capacities.iter().any(|capacity| {
            capacity.storage_class == class.name
                && capacity
                    .maximum_volume_size
                    .or(capacity.capacity)
                    .is_some_and(|most| most.units_ceil() >= request.units_ceil())
                && capacity
                    .node_topology
                    .as_ref()
                    .is_some_and(|nodes| nodes.is_valid() && nodes.matches(labels))
        })
}
