//! A scenario's objects and groups as a [`Cluster`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{
    Cluster, GroupNotices, Instance, InstanceState, Node, NodeGroup, NodeTemplate, SmolStr,
};
use windlass_objects::{Converter, Origin, api};

use super::{NodeGroupDocument, Object, Scenario, ScenarioError};

/// The label that says which group a node belongs to, where the group does not list its nodes.
pub(crate) const GROUP_LABEL: &str = "windlass.dev/node-group";

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

impl Scenario {
    /// The cluster at the scenario's start.
    pub fn cluster(&self) -> Cluster {
        let mut converter = self.converter();
        self.cluster_with(&mut converter)
    }

    pub(crate) fn converter(&self) -> Converter {
        Converter::new(self.scheduler_version, Origin::Scenario)
    }

    pub(crate) fn cluster_with(&self, converter: &mut Converter) -> Cluster {
        let mut cluster = Cluster {
            scheduler_version: self.scheduler_version,
            ..Cluster::default()
        };
        for object in &self.objects {
            insert(
                &mut cluster,
                converter,
                object,
                &self.config.process.namespace,
            );
        }
        cluster.groups = self.build_groups(converter, &mut cluster.nodes);
        sort_by_name(&mut cluster);
        cluster
    }

    fn build_groups(&self, converter: &mut Converter, nodes: &mut [Arc<Node>]) -> Vec<NodeGroup> {
        let index: FxHashMap<SmolStr, usize> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.clone(), index))
            .collect();
        let mut labelled: BTreeMap<SmolStr, Vec<SmolStr>> = BTreeMap::new();
        for node in nodes.iter() {
            if let Some(group) = node.labels.get(GROUP_LABEL) {
                labelled
                    .entry(group.clone())
                    .or_default()
                    .push(node.name.clone());
            }
        }
        self.groups
            .iter()
            .map(|group| {
                let name = &group.metadata.name;
                let members = match &group.spec.nodes {
                    Some(members) => members.clone(),
                    None => labelled.remove(name).unwrap_or_default(),
                };
                let instances = members
                    .iter()
                    .map(|member| instance(member, index.get(member).map(|i| &mut nodes[*i])))
                    .collect();
                node_group(group, converter, instances)
            })
            .collect()
    }

    pub(super) fn check_memberships(&self) -> Result<(), ScenarioError> {
        let mut owner: FxHashMap<&SmolStr, &SmolStr> = FxHashMap::default();
        for group in &self.groups {
            let name = &group.metadata.name;
            for node in group.spec.nodes.iter().flatten() {
                if let Some(first) = owner.insert(node, name) {
                    return Err(ScenarioError::NodeOfTwoGroups {
                        node: node.clone(),
                        first: first.clone(),
                        second: name.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Puts objects in the order in which the store of a live cluster keeps them, so that a snapshot of
/// it decides as it does, and the order of a scenario's documents says nothing.
fn sort_by_name(cluster: &mut Cluster) {
    cluster.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    cluster
        .pods
        .sort_by(|a, b| (a.namespace(), &a.name).cmp(&(b.namespace(), &b.name)));
    cluster
        .workloads
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    cluster
        .disruption_budgets
        .sort_by(|a, b| a.name.cmp(&b.name));
    cluster
        .csi_storage_capacities
        .sort_by(|a, b| a.name.cmp(&b.name));
    cluster
        .volume_attachments
        .sort_by(|a, b| a.name.cmp(&b.name));
    cluster.resource_slices.sort_by(|a, b| a.name.cmp(&b.name));
    cluster.groups.sort_by(|a, b| a.name.cmp(&b.name));
}

/// The instance behind a member of a group; a node that does not name its own gets a name for it.
fn instance(member: &SmolStr, node: Option<&mut Arc<Node>>) -> Instance {
    let made_up = || SmolStr::from(format!("windlass:///{member}"));
    let provider_id = match node {
        None => made_up(),
        Some(node) => {
            if node.provider_id.is_empty() {
                Arc::make_mut(node).provider_id = made_up();
            }
            node.provider_id.clone()
        }
    };
    Instance {
        provider_id,
        state: InstanceState::Running,
    }
}

pub(crate) fn node_group(
    group: &NodeGroupDocument,
    converter: &mut Converter,
    instances: Vec<Instance>,
) -> NodeGroup {
    let spec = &group.spec;
    let template = spec
        .template
        .as_ref()
        .map(|template| converter.node(template));
    let zones = if spec.zones.is_empty() {
        let zone = template
            .as_ref()
            .and_then(|node| node.labels.get(ZONE_LABEL));
        zone.cloned().into_iter().collect()
    } else {
        spec.zones.clone()
    };
    NodeGroup {
        name: group.metadata.name.clone(),
        min_size: spec.min_size,
        max_size: spec.max_size,
        target_size: spec
            .target_size
            .unwrap_or_else(|| i64::try_from(instances.len()).unwrap_or(i64::MAX)),
        requested_at: spec.requested_at,
        instances,
        template: template.map(NodeTemplate::of),
        price_per_hour: group.price_per_hour(),
        zones,
        provision_time: Some(group.provision_time()),
        options: group.options(),
        notices: GroupNotices::default(),
    }
}

/// Adds an object to a cluster, or puts it in the place of one of the same name where the
/// cluster keeps the kind by name.
pub(crate) fn insert(
    cluster: &mut Cluster,
    converter: &mut Converter,
    object: &Object,
    autoscaler_namespace: &str,
) {
    match object {
        Object::Node(node) => cluster.nodes.push(Arc::new(converter.node(node))),
        Object::Pod(pod) => cluster.pods.push(Arc::new(converter.pod(pod))),
        Object::Namespace(namespace) => {
            let namespace = converter.namespace_object(namespace);
            cluster
                .namespaces
                .insert(namespace.name.clone(), Arc::new(namespace));
        }
        Object::Workload(kind, workload) => {
            let workload = converter.workload(*kind, workload);
            cluster.workloads.push(Arc::new(workload));
        }
        Object::ReplicationController(controller) => {
            let workload = converter.replication_controller(controller);
            cluster.workloads.push(Arc::new(workload));
        }
        Object::PersistentVolumeClaim(claim) => {
            let claim = converter.persistent_volume_claim(claim);
            cluster.claims.insert(claim.name.clone(), Arc::new(claim));
        }
        Object::PersistentVolume(volume) => {
            let volume = converter.persistent_volume(volume);
            cluster
                .volumes
                .insert(volume.name.clone(), Arc::new(volume));
        }
        Object::ConfigMap(config_map) => {
            if is_priority_expander(&config_map.metadata, autoscaler_namespace) {
                cluster.priority_expander = Some(converter.priorities(config_map));
            }
        }
        Object::PodDisruptionBudget(budget) => {
            let budget = converter.disruption_budget(budget);
            cluster.disruption_budgets.push(Arc::new(budget));
        }
        Object::StorageClass(class) => {
            let class = converter.storage_class(class);
            cluster
                .storage_classes
                .insert(class.name.clone(), Arc::new(class));
        }
        Object::CsiNode(node) => {
            let node = converter.csi_node(node);
            cluster.csi_nodes.insert(node.name.clone(), Arc::new(node));
        }
        Object::CsiDriver(driver) => {
            let driver = converter.csi_driver(driver);
            cluster
                .csi_drivers
                .insert(driver.name.clone(), Arc::new(driver));
        }
        Object::CsiStorageCapacity(capacity) => {
            let capacity = converter.csi_storage_capacity(capacity);
            cluster.csi_storage_capacities.push(Arc::new(capacity));
        }
        Object::VolumeAttachment(attachment) => {
            let attachment = converter.volume_attachment(attachment);
            cluster.volume_attachments.push(Arc::new(attachment));
        }
        Object::ResourceClaim(claim) => {
            let claim = converter.resource_claim(claim);
            cluster
                .resource_claims
                .insert(claim.name.clone(), Arc::new(claim));
        }
        Object::ResourceSlice(slice) => {
            let slice = converter.resource_slice(slice);
            cluster.resource_slices.push(Arc::new(slice));
        }
        Object::DeviceClass(class) => {
            let class = converter.device_class(class);
            cluster
                .device_classes
                .insert(class.name.clone(), Arc::new(class));
        }
        Object::PodTemplate(template) => {
            let template = converter.pod_template(template);
            cluster
                .pod_templates
                .insert(template.name.clone(), Arc::new(template));
        }
        Object::ProvisioningRequest(request) => {
            let request = Arc::new(converter.provisioning_request(request));
            replace(&mut cluster.provisioning_requests, request, |it| &it.name);
        }
        Object::CapacityBuffer(buffer) => {
            let buffer = Arc::new(converter.capacity_buffer(buffer));
            replace(&mut cluster.capacity_buffers, buffer, |it| &it.name);
        }
        Object::CapacityQuota(quota) => {
            let quota = Arc::new(converter.capacity_quota(quota));
            replace(&mut cluster.capacity_quotas, quota, |it| &it.name);
        }
        Object::ResourceQuota(quota) => {
            let quota = Arc::new(converter.resource_quota(quota));
            replace(&mut cluster.resource_quotas, quota, |it| &it.name);
        }
        // Read by simulated admission and controllers alone.
        Object::PriorityClass(_) | Object::ResourceClaimTemplate(_) => {}
    }
}

/// Puts an object in the place of its namesake, or behind the others.
fn replace<T, N: PartialEq>(objects: &mut Vec<T>, object: T, name: impl Fn(&T) -> &N) {
    let known = objects.iter().position(|it| name(it) == name(&object));
    match known {
        Some(known) => objects[known] = object,
        None => objects.push(object),
    }
}

/// A missing namespace is taken as meant, for the name says it.
fn is_priority_expander(metadata: &api::Metadata, autoscaler_namespace: &str) -> bool {
    metadata.name == "cluster-autoscaler-priority-expander"
        && (metadata.namespace.is_empty() || metadata.namespace == autoscaler_namespace)
}
