use serde::Deserialize;

use windlass_model::{SmolStr, Timestamp};

use super::{Amounts, LabelSelector, Metadata, PodTemplate, Strings};

/// A `PodTemplate` object; [`PodTemplate`] is the template that stands in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplateObject {
    pub metadata: Metadata,
    pub template: PodTemplate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProvisioningRequest {
    pub metadata: Metadata,
    pub spec: ProvisioningRequestSpec,
    pub status: ProvisioningRequestStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProvisioningRequestSpec {
    pub pod_sets: Vec<PodSet>,
    pub provisioning_class_name: SmolStr,
    pub parameters: Strings,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSet {
    pub pod_template_ref: NameReference,
    pub count: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NameReference {
    pub name: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProvisioningRequestStatus {
    pub conditions: Vec<StatusCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusCondition {
    #[serde(rename = "type")]
    pub kind: SmolStr,
    pub status: SmolStr,
    pub reason: SmolStr,
    pub message: SmolStr,
    pub observed_generation: Option<i64>,
    pub last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapacityBuffer {
    pub metadata: Metadata,
    pub spec: CapacityBufferSpec,
    pub status: CapacityBufferStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CapacityBufferSpec {
    pub provisioning_strategy: SmolStr,
    pub pod_template_ref: Option<NameReference>,
    pub scalable_ref: Option<ScalableReference>,
    pub replicas: Option<i64>,
    pub percentage: Option<i64>,
    pub limits: Option<Amounts>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScalableReference {
    pub api_group: SmolStr,
    pub kind: SmolStr,
    pub name: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CapacityBufferStatus {
    pub pod_template_ref: Option<NameReference>,
    pub pod_template_generation: Option<i64>,
    pub replicas: Option<i64>,
    pub provisioning_strategy: Option<SmolStr>,
    pub conditions: Vec<StatusCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapacityQuota {
    pub metadata: Metadata,
    pub spec: CapacityQuotaSpec,
    pub status: CapacityQuotaStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapacityQuotaSpec {
    pub selector: Option<LabelSelector>,
    pub limits: ResourceLimits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceLimits {
    pub resources: Amounts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CapacityQuotaStatus {
    pub used: ResourceLimits,
    pub observed_generation: Option<i64>,
    pub conditions: Vec<StatusCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceQuota {
    pub metadata: Metadata,
    pub spec: ResourceQuotaSpec,
    pub status: ResourceQuotaStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceQuotaSpec {
    pub scopes: Vec<SmolStr>,
    pub scope_selector: ScopeSelector,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScopeSelector {
    pub match_expressions: Vec<ScopeRequirement>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScopeRequirement {
    pub scope_name: SmolStr,
    pub operator: SmolStr,
    pub values: Vec<SmolStr>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceQuotaStatus {
    pub hard: Amounts,
    pub used: Amounts,
}
