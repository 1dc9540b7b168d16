use serde::Deserialize;

use windlass_model::SmolStr;

use super::{Amounts, Condition, Digest, LabelSelector, Metadata, NodeSelector, Skipped, Strings};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    pub metadata: Metadata,
    pub spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    pub node_name: Option<SmolStr>,
    pub node_selector: Option<Strings>,
    pub affinity: Affinity,
    pub tolerations: Vec<Toleration>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    pub volumes: Vec<Volume>,
    pub overhead: Amounts,
    pub resources: Option<Requirements>,
    pub topology_spread_constraints: Vec<SpreadConstraint>,
    pub resource_claims: Vec<PodClaim>,
    pub scheduling_gates: Vec<Named>,
    pub priority: Option<i32>,
    pub priority_class_name: SmolStr,
    pub preemption_policy: SmolStr,
    pub scheduler_name: SmolStr,
    pub restart_policy: SmolStr,
    pub termination_grace_period_seconds: Option<i64>,
    pub host_network: bool,
    pub host_users: Option<bool>,
    pub hostname: Skipped,
    pub ephemeral_containers: Digest,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    pub name: SmolStr,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodClaim {
    pub name: SmolStr,
    pub resource_claim_name: Option<SmolStr>,
    pub resource_claim_template_name: Option<SmolStr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    pub name: SmolStr,
    pub ports: Vec<ContainerPort>,
    pub resources: Requirements,
    pub restart_policy: SmolStr,
    pub restart_policy_rules: Vec<RestartRule>,
    pub volume_mounts: Vec<VolumeMount>,
    pub env: Skipped,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    pub name: SmolStr,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct RestartRule {
    pub action: SmolStr,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct Requirements {
    pub requests: Option<Amounts>,
    pub limits: Amounts,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    pub name: SmolStr,
    pub container_port: i32,
    pub host_port: i32,
    #[serde(rename = "hostIP")]
    pub host_ip: SmolStr,
    pub protocol: SmolStr,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    pub key: SmolStr,
    pub operator: SmolStr,
    pub value: SmolStr,
    pub effect: SmolStr,
    pub toleration_seconds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Affinity {
    pub node_affinity: NodeAffinity,
    pub pod_affinity: PodAffinity,
    pub pod_anti_affinity: PodAffinity,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<PodAffinityTerm>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<WeightedPodAffinityTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightedPodAffinityTerm {
    pub weight: i32,
    pub pod_affinity_term: PodAffinityTerm,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodAffinityTerm {
    pub label_selector: Option<LabelSelector>,
    pub namespace_selector: Option<LabelSelector>,
    pub namespaces: Vec<SmolStr>,
    pub topology_key: SmolStr,
    pub match_label_keys: Vec<SmolStr>,
    pub mismatch_label_keys: Vec<SmolStr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpreadConstraint {
    pub topology_key: SmolStr,
    pub max_skew: i32,
    pub min_domains: Option<i32>,
    pub when_unsatisfiable: SmolStr,
    pub label_selector: Option<LabelSelector>,
    pub match_label_keys: Vec<SmolStr>,
    pub node_affinity_policy: Option<SmolStr>,
    pub node_taints_policy: Option<SmolStr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    pub name: SmolStr,
    pub persistent_volume_claim: Option<ClaimSource>,
    pub ephemeral: Option<Digest>,
    pub empty_dir: Option<EmptyDir>,
    pub host_path: Option<Digest>,
    pub projected: Option<Skipped>,
    #[serde(flatten)]
    pub in_tree: InTreeSources,
    #[serde(flatten)]
    pub rest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimSource {
    pub claim_name: SmolStr,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EmptyDir {
    pub medium: SmolStr,
    pub size_limit: super::Amount,
}

/// The sources of in-tree plugins, of which at most one is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InTreeSources {
    pub aws_elastic_block_store: Option<InTreeSource>,
    pub gce_persistent_disk: Option<InTreeSource>,
    pub azure_disk: Option<InTreeSource>,
    pub azure_file: Option<InTreeSource>,
    pub cinder: Option<InTreeSource>,
    pub portworx_volume: Option<InTreeSource>,
    pub vsphere_volume: Option<InTreeSource>,
    pub iscsi: Option<InTreeSource>,
    pub rbd: Option<InTreeSource>,
}

/// What names the disk, by plugin, and how it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InTreeSource {
    #[serde(rename = "volumeID")]
    pub volume_id: SmolStr,
    pub pd_name: SmolStr,
    #[serde(rename = "diskURI")]
    pub disk_uri: SmolStr,
    pub share_name: SmolStr,
    pub volume_path: SmolStr,
    pub iqn: SmolStr,
    pub image: SmolStr,
    pub pool: SmolStr,
    pub monitors: Vec<SmolStr>,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    pub phase: SmolStr,
    pub conditions: Vec<Condition>,
    pub nominated_node_name: SmolStr,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
    pub allocated_resources: Option<Amounts>,
    pub resources: Option<Requirements>,
    pub resource_claim_statuses: Vec<PodClaim>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    pub name: SmolStr,
    pub allocated_resources: Option<Amounts>,
    pub resources: Option<Requirements>,
}
