use std::borrow::Cow;
use std::sync::Arc;

use windlass_model::{
    AffinityTerm, Claim, Constraints, Effect, HostPort, InTreeKind, InclusionPolicy, InlineVolume,
    LabelSelector, Labels, OwnerReference, Phase, Pod, PodScheduled, PodShape, PreemptionPolicy,
    Requirement, RequirementOperator, RestartPolicy, Safety, SmolStr, SpreadConstraint, Toleration,
    TolerationOperator, Volume, VolumeSource, WhenUnsatisfiable,
};

use crate::digest::spec_digest;
use crate::{api, requests};

use super::extended_requests::extended_requests;
use super::selector::{label_selector, node_selector};
use super::{Converter, Origin};

impl Converter {
    /// A pod of the cluster, bound or not.
    pub fn pod(&mut self, pod: &api::Pod) -> Pod {
        self.convert_pod(pod, None)
    }

    /// A pod that is to be placed: its `spec.nodeName` is a constraint rather than a place.
    pub fn pod_to_place(&mut self, pod: &api::Pod) -> Pod {
        let mut converted = self.convert_pod(pod, pod.spec.node_name.clone());
        converted.node_name = None;
        converted.resized_requests = None;
        converted
    }

    fn convert_pod(&mut self, pod: &api::Pod, wanted_node: Option<SmolStr>) -> Pod {
        let api::Pod {
            metadata,
            spec,
            status,
        } = pod;
        let controller = self.controller(metadata);
        let shape = self.shape(
            metadata,
            spec,
            &status.resource_claim_statuses,
            controller,
            wanted_node,
        );
        let node_name = spec.node_name.clone().filter(|name| !name.is_empty());
        let resized_requests = node_name
            .as_ref()
            .and_then(|_| requests::resized(pod, self.scheduler_version))
            .filter(|resized| *resized != shape.requests)
            .map(Box::new);
        Pod {
            name: metadata.name.clone(),
            uid: self.uid("Pod", metadata),
            shape,
            resized_requests,
            created_at: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            node_name,
            nominated_node_name: Some(status.nominated_node_name.clone())
                .filter(|name| !name.is_empty()),
            phase: phase(&status.phase),
            scheduled: scheduled(&status.conditions),
            is_ready: status
                .conditions
                .iter()
                .any(|condition| condition.kind == "Ready" && condition.status == "True"),
        }
    }

    /// The pod that a controller makes from a template, without a name, a place or a status.
    pub fn pod_of_template(
        &mut self,
        template: &api::PodTemplate,
        namespace: SmolStr,
        controller: OwnerReference,
    ) -> Pod {
        self.pod_to_be_made(template, namespace, Some(controller))
    }

    /// The same of a template that nobody has made a pod of.
    pub(super) fn pod_without_owner(
        &mut self,
        template: &api::PodTemplate,
        namespace: SmolStr,
    ) -> Pod {
        self.pod_to_be_made(template, namespace, None)
    }

    fn pod_to_be_made(
        &mut self,
        template: &api::PodTemplate,
        namespace: SmolStr,
        controller: Option<OwnerReference>,
    ) -> Pod {
        let metadata = api::Metadata {
            namespace,
            ..template.metadata.clone()
        };
        let is_daemonset = controller
            .as_ref()
            .is_some_and(|owner| owner.kind == "DaemonSet");
        let mut spec = template.spec.clone();
        if is_daemonset {
            add_daemonset_tolerations(&mut spec);
        }
        let origin = self.origin;
        if origin == Origin::ApiServer {
            // The API server defaults pods when they are made, which this one is not yet.
            self.origin = Origin::Scenario;
        }
        let shape = self.shape(&metadata, &spec, &[], controller, None);
        self.origin = origin;
        Pod {
            name: SmolStr::default(),
            uid: SmolStr::default(),
            shape,
            resized_requests: None,
            created_at: None,
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: PodScheduled::Absent,
            is_ready: false,
        }
    }

    fn shape(
        &mut self,
        metadata: &api::Metadata,
        spec: &api::PodSpec,
        claim_statuses: &[api::PodClaim],
        controller: Option<OwnerReference>,
        wanted_node: Option<SmolStr>,
    ) -> Arc<PodShape> {
        let labels = metadata.labels.0.clone();
        let annotations = &metadata.annotations.0;
        let with_requests = if self.origin == Origin::Scenario {
            requests::with_defaults(spec)
        } else {
            Cow::Borrowed(spec)
        };
        let requests = requests::of_spec(&with_requests);
        let constraints = Constraints {
            extended_requests: extended_requests(&with_requests),
            ..self.constraints(spec, &labels, claim_statuses, wanted_node)
        };
        let shape = PodShape {
            namespace: self.namespace(metadata),
            labels,
            controller,
            priority: spec.priority,
            preemption_policy: match spec.preemption_policy.as_str() {
                "Never" => PreemptionPolicy::Never,
                _ => PreemptionPolicy::PreemptLowerPriority,
            },
            priority_class_name: spec.priority_class_name.clone(),
            scheduler_name: spec.scheduler_name.clone(),
            requests,
            constraints: self.constraints.intern(constraints),
            safety: safety(annotations),
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            restart_policy: match spec.restart_policy.as_str() {
                "Never" => RestartPolicy::Never,
                "OnFailure" => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            spec_digest: spec_digest(spec),
            scale_up_delay: annotations
                .get("cluster-autoscaler.kubernetes.io/pod-scale-up-delay")
                .cloned(),
            provisioning_request: [
                "autoscaling.x-k8s.io/consume-provisioning-request",
                "cluster-autoscaler.kubernetes.io/consume-provisioning-request",
            ]
            .into_iter()
            .find_map(|key| annotations.get(key).cloned()),
        };
        self.shapes.intern(shape)
    }

    fn constraints(
        &self,
        spec: &api::PodSpec,
        labels: &Labels,
        claim_statuses: &[api::PodClaim],
        wanted_node: Option<SmolStr>,
    ) -> Constraints {
        let api::Affinity {
            node_affinity,
            pod_affinity,
            pod_anti_affinity,
        } = &spec.affinity;
        let term = |term: &api::PodAffinityTerm| self.affinity_term(term, labels);
        let preferred = |weighted: &api::WeightedPodAffinityTerm| term(&weighted.pod_affinity_term);
        Constraints {
            node_name: wanted_node.filter(|name| !name.is_empty()),
            node_selector: spec.node_selector.as_ref().map(|labels| labels.0.clone()),
            node_affinity: node_affinity.required.as_ref().map(node_selector),
            tolerations: spec.tolerations.iter().map(toleration).collect(),
            host_ports: self.host_ports(spec),
            spread: spec
                .topology_spread_constraints
                .iter()
                .map(spread_constraint)
                .collect(),
            affinity: pod_affinity.required.iter().map(term).collect(),
            anti_affinity: pod_anti_affinity.required.iter().map(term).collect(),
            preferred_affinity: pod_affinity.preferred.iter().map(preferred).collect(),
            preferred_anti_affinity: pod_anti_affinity.preferred.iter().map(preferred).collect(),
            volumes: spec.volumes.iter().filter_map(volume).collect(),
            claims: spec
                .resource_claims
                .iter()
                .map(|entry| claim(entry, claim_statuses))
                .collect(),
            extended_requests: Vec::new(),
            required_features: required_features(spec),
            scheduling_gates: spec
                .scheduling_gates
                .iter()
                .map(|gate| gate.name.clone())
                .collect(),
        }
    }

    /// Merges `matchLabelKeys` and `mismatchLabelKeys` into the selector where no API server has
    /// done so. Source: `pkg/registry/core/pod/strategy.go`.
    fn affinity_term(&self, term: &api::PodAffinityTerm, labels: &Labels) -> AffinityTerm {
        let mut selector = term.label_selector.as_ref().map(label_selector);
        if let Some(selector) = &mut selector
            && self.origin == Origin::Scenario
        {
            merge_label_keys(
                selector,
                &term.match_label_keys,
                &RequirementOperator::In,
                labels,
            );
            merge_label_keys(
                selector,
                &term.mismatch_label_keys,
                &RequirementOperator::NotIn,
                labels,
            );
        }
        AffinityTerm {
            topology_key: term.topology_key.clone(),
            selector,
            namespaces: term.namespaces.clone(),
            namespace_selector: term.namespace_selector.as_ref().map(label_selector),
        }
    }

    fn host_ports(&self, spec: &api::PodSpec) -> Vec<HostPort> {
        let sidecars = spec
            .init_containers
            .iter()
            .filter(|container| container.restart_policy == "Always");
        let uses_host_network = spec.host_network && self.origin == Origin::Scenario;
        sidecars
            .chain(&spec.containers)
            .flat_map(|container| &container.ports)
            .filter_map(|port| {
                let number = if port.host_port == 0 && uses_host_network {
                    port.container_port
                } else {
                    port.host_port
                };
                (number > 0).then(|| HostPort {
                    ip: or_else(&port.host_ip, "0.0.0.0"),
                    protocol: or_else(&port.protocol, "TCP"),
                    port: number,
                })
            })
            .collect()
    }
}

fn or_else(value: &SmolStr, default: &'static str) -> SmolStr {
    if value.is_empty() {
        SmolStr::new_static(default)
    } else {
        value.clone()
    }
}

fn merge_label_keys(
    selector: &mut LabelSelector,
    keys: &[SmolStr],
    operator: &RequirementOperator,
    labels: &Labels,
) {
    for key in keys {
        let Some(value) = labels.get(key) else {
            continue;
        };
        let requirement = Requirement {
            key: key.clone(),
            operator: operator.clone(),
            values: vec![value.clone()],
        };
        // An object that did come through an API server has it already.
        if !selector.requirements.contains(&requirement) {
            selector.requirements.push(requirement);
        }
    }
}

fn phase(phase: &str) -> Phase {
    match phase {
        "" | "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Unknown,
    }
}

fn scheduled(conditions: &[api::Condition]) -> PodScheduled {
    let Some(condition) = conditions
        .iter()
        .find(|condition| condition.kind == "PodScheduled")
    else {
        return PodScheduled::Absent;
    };
    match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) => PodScheduled::Scheduled,
        ("False", "Unschedulable") => PodScheduled::Unschedulable {
            since: condition.last_transition_time,
        },
        ("False", "") => PodScheduled::NoReason,
        _ => PodScheduled::Other,
    }
}

fn safety(annotations: &Labels) -> Safety {
    let annotation = |key: &str| annotations.get(key).cloned();
    Safety {
        safe_to_evict: annotation("cluster-autoscaler.kubernetes.io/safe-to-evict"),
        safe_to_evict_local_volumes: annotation(
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
        ),
        enable_daemonset_eviction: annotation(
            "cluster-autoscaler.kubernetes.io/enable-ds-eviction",
        ),
        is_annotated_daemonset_pod: annotation("cluster-autoscaler.kubernetes.io/daemonset-pod")
            .is_some_and(|value| value == "true"),
        is_mirror: annotations.contains_key("kubernetes.io/config.mirror"),
        is_static: annotation("kubernetes.io/config.source").is_some_and(|value| value != "api"),
    }
}

fn toleration(toleration: &api::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone(),
        operator: match toleration.operator.as_str() {
            "" | "Equal" => TolerationOperator::Equal,
            "Exists" => TolerationOperator::Exists,
            other => TolerationOperator::Other(other.into()),
        },
        value: toleration.value.clone(),
        effect: match toleration.effect.as_str() {
            "" => None,
            effect => Some(Effect::from(effect)),
        },
    }
}

/// What the `DaemonSet` controller lets its pods ignore, not-ready and cordoned nodes above all.
/// Source: `pkg/controller/daemon/util/daemonset_util.go` `AddOrUpdateDaemonPodTolerations`.
fn add_daemonset_tolerations(spec: &mut api::PodSpec) {
    let mut tolerated = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network {
        tolerated.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    for (key, effect) in tolerated {
        let toleration = api::Toleration {
            key: SmolStr::new_static(key),
            operator: SmolStr::new_static("Exists"),
            effect: SmolStr::new_static(effect),
            ..api::Toleration::default()
        };
        if !spec.tolerations.contains(&toleration) {
            spec.tolerations.push(toleration);
        }
    }
}

fn spread_constraint(constraint: &api::SpreadConstraint) -> SpreadConstraint {
    let policy = |policy: &Option<SmolStr>, default| match policy.as_deref() {
        Some("Honor") => InclusionPolicy::Honor,
        Some("Ignore") => InclusionPolicy::Ignore,
        _ => default,
    };
    SpreadConstraint {
        topology_key: constraint.topology_key.clone(),
        max_skew: constraint.max_skew,
        min_domains: constraint.min_domains.unwrap_or(1),
        when_unsatisfiable: match constraint.when_unsatisfiable.as_str() {
            "DoNotSchedule" => WhenUnsatisfiable::DoNotSchedule,
            // A word that is not known keeps no pod off a node either.
            _ => WhenUnsatisfiable::ScheduleAnyway,
        },
        selector: constraint.label_selector.as_ref().map(label_selector),
        match_label_keys: constraint.match_label_keys.clone(),
        node_affinity_policy: policy(&constraint.node_affinity_policy, InclusionPolicy::Honor),
        node_taints_policy: policy(&constraint.node_taints_policy, InclusionPolicy::Ignore),
    }
}

fn volume(volume: &api::Volume) -> Option<Volume> {
    let source = if let Some(claim) = &volume.persistent_volume_claim {
        VolumeSource::Claim {
            name: claim.claim_name.clone(),
            read_only: claim.read_only,
        }
    } else if volume.ephemeral.is_some() {
        VolumeSource::Ephemeral
    } else if let Some(directory) = &volume.empty_dir {
        VolumeSource::EmptyDir {
            in_memory: directory.medium == "Memory",
        }
    } else if volume.host_path.is_some() {
        VolumeSource::HostPath
    } else {
        VolumeSource::Inline(in_tree_volume(&volume.in_tree)?)
    };
    Some(Volume {
        name: volume.name.clone(),
        source,
    })
}

pub(super) fn in_tree_volume(sources: &api::InTreeSources) -> Option<InlineVolume> {
    let api::InTreeSources {
        aws_elastic_block_store,
        gce_persistent_disk,
        azure_disk,
        azure_file,
        cinder,
        portworx_volume,
        vsphere_volume,
        iscsi,
        rbd,
    } = sources;
    let volume = |kind, source: &api::InTreeSource, handle: &SmolStr| InlineVolume {
        kind,
        handle: handle.clone(),
        read_only: source.read_only,
        rbd_pool_and_image: None,
        rbd_monitors: Vec::new(),
    };
    if let Some(source) = aws_elastic_block_store {
        let kind = InTreeKind::AwsElasticBlockStore;
        return Some(volume(kind, source, &source.volume_id));
    }
    if let Some(source) = gce_persistent_disk {
        let kind = InTreeKind::GcePersistentDisk;
        return Some(volume(kind, source, &source.pd_name));
    }
    if let Some(source) = azure_disk {
        return Some(volume(InTreeKind::AzureDisk, source, &source.disk_uri));
    }
    if let Some(source) = azure_file {
        return Some(volume(InTreeKind::AzureFile, source, &source.share_name));
    }
    if let Some(source) = cinder {
        return Some(volume(InTreeKind::Cinder, source, &source.volume_id));
    }
    if let Some(source) = portworx_volume {
        return Some(volume(InTreeKind::Portworx, source, &source.volume_id));
    }
    if let Some(source) = vsphere_volume {
        return Some(volume(InTreeKind::Vsphere, source, &source.volume_path));
    }
    if let Some(source) = iscsi {
        return Some(volume(InTreeKind::Iscsi, source, &source.iqn));
    }
    let source = rbd.as_ref()?;
    Some(InlineVolume {
        rbd_pool_and_image: Some((source.pool.clone(), source.image.clone())),
        rbd_monitors: source.monitors.clone(),
        ..volume(InTreeKind::Rbd, source, &source.image)
    })
}

/// Source: `k8s.io/dynamic-resource-allocation/resourceclaim` `Name`.
fn claim(entry: &api::PodClaim, statuses: &[api::PodClaim]) -> Claim {
    if let Some(name) = &entry.resource_claim_name {
        return Claim::Named {
            name: name.clone(),
            from_template: false,
        };
    }
    if entry.resource_claim_template_name.is_none() {
        return Claim::Unknown {
            entry: entry.name.clone(),
        };
    }
    match statuses.iter().find(|status| status.name == entry.name) {
        None => Claim::NotCreatedYet,
        Some(status) => match &status.resource_claim_name {
            None => Claim::NotNeeded,
            Some(name) => Claim::Named {
                name: name.clone(),
                from_template: true,
            },
        },
    }
}

/// Source: `k8s.io/component-helpers/nodedeclaredfeatures/features`.
fn required_features(spec: &api::PodSpec) -> Vec<SmolStr> {
    let mut features = Vec::new();
    let restarts_all = spec
        .containers
        .iter()
        .chain(&spec.init_containers)
        .flat_map(|container| &container.restart_policy_rules)
        .any(|rule| rule.action == "RestartAllContainers");
    if restarts_all {
        features.push(SmolStr::new_static("RestartAllContainersOnContainerExits"));
    }
    if spec.host_network && spec.host_users == Some(false) {
        features.push(SmolStr::new_static("UserNamespacesHostNetworkSupport"));
    }
    features
}
