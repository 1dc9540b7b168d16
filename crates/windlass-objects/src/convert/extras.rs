//! The kinds of the optional features.

use std::sync::Arc;

use windlass_model::{
    BufferSource, BufferStatus, CapacityBuffer, CapacityQuota, ConditionStatus, PodSet,
    PodTemplate, ProvisioningRequest, Quantity, QuotaScope, QuotaStatus, ResourceQuota, SmolStr,
    StatusCondition,
};

use crate::api;

use super::Converter;
use super::selector::label_selector;

impl Converter {
    /// A `PodTemplate` object.
    pub fn pod_template(&mut self, object: &api::PodTemplateObject) -> PodTemplate {
        let name = self.full_name(&object.metadata);
        let pod = self.pod_without_owner(&object.template, name.namespace.clone());
        PodTemplate {
            uid: self.uid("PodTemplate", &object.metadata),
            generation: object.metadata.generation,
            annotations: object.metadata.annotations.0.clone(),
            pod: Arc::new(pod),
            name,
        }
    }

    /// A request for room.
    pub fn provisioning_request(&self, request: &api::ProvisioningRequest) -> ProvisioningRequest {
        let api::ProvisioningRequest {
            metadata,
            spec,
            status,
        } = request;
        ProvisioningRequest {
            name: self.full_name(metadata),
            uid: self.uid("ProvisioningRequest", metadata),
            generation: metadata.generation,
            created_at: metadata.creation_timestamp,
            class: spec.provisioning_class_name.clone(),
            pod_sets: spec
                .pod_sets
                .iter()
                .map(|set| PodSet {
                    template: set.pod_template_ref.name.clone(),
                    count: set.count,
                })
                .collect(),
            parameters: spec.parameters.0.clone(),
            conditions: conditions(&status.conditions),
        }
    }

    /// A buffer of capacity.
    pub fn capacity_buffer(&self, buffer: &api::CapacityBuffer) -> CapacityBuffer {
        let api::CapacityBuffer {
            metadata,
            spec,
            status,
        } = buffer;
        let template = spec.pod_template_ref.as_ref();
        let source = template
            .map(|reference| BufferSource::PodTemplate(reference.name.clone()))
            .or_else(|| {
                let reference = spec.scalable_ref.as_ref()?;
                Some(BufferSource::Scalable {
                    api_group: reference.api_group.clone(),
                    kind: reference.kind.clone(),
                    name: reference.name.clone(),
                })
            });
        CapacityBuffer {
            name: self.full_name(metadata),
            uid: self.uid("CapacityBuffer", metadata),
            generation: metadata.generation,
            created_at: metadata.creation_timestamp,
            strategy: spec.provisioning_strategy.clone(),
            source,
            replicas: spec.replicas,
            percentage: spec.percentage,
            limits: spec.limits.as_ref().map(|limits| limits.0.clone()),
            status: BufferStatus {
                pod_template: status
                    .pod_template_ref
                    .as_ref()
                    .map(|reference| reference.name.clone()),
                pod_template_generation: status.pod_template_generation,
                replicas: status.replicas,
                strategy: status.provisioning_strategy.clone(),
                conditions: conditions(&status.conditions),
            },
        }
    }

    /// A quota of nodes.
    pub fn capacity_quota(&self, quota: &api::CapacityQuota) -> CapacityQuota {
        let api::CapacityQuota {
            metadata,
            spec,
            status,
        } = quota;
        CapacityQuota {
            name: metadata.name.clone(),
            uid: if metadata.uid.is_empty() {
                self.made_uid("CapacityQuota", "", &metadata.name)
            } else {
                metadata.uid.clone()
            },
            generation: metadata.generation,
            selector: spec.selector.as_ref().map(label_selector),
            limits: spec.limits.resources.0.clone(),
            status: QuotaStatus {
                used: status
                    .used
                    .resources
                    .0
                    .iter()
                    .map(|(name, amount): (&SmolStr, Quantity)| (name.clone(), amount.units_ceil()))
                    .collect(),
                observed_generation: status.observed_generation,
                conditions: conditions(&status.conditions),
            },
        }
    }

    /// A quota of a namespace.
    pub fn resource_quota(&self, quota: &api::ResourceQuota) -> ResourceQuota {
        let plain = quota.spec.scopes.iter().map(|name| QuotaScope {
            name: name.clone(),
            operator: SmolStr::new_static("Exists"),
            values: Vec::new(),
        });
        let selected = quota.spec.scope_selector.match_expressions.iter();
        let selected = selected.map(|requirement| QuotaScope {
            name: requirement.scope_name.clone(),
            operator: requirement.operator.clone(),
            values: requirement.values.clone(),
        });
        ResourceQuota {
            name: self.full_name(&quota.metadata),
            scopes: plain.chain(selected).collect(),
            hard: quota.status.hard.0.clone(),
            used: quota.status.used.0.clone(),
        }
    }
}

fn conditions(conditions: &[api::StatusCondition]) -> Vec<StatusCondition> {
    conditions
        .iter()
        .map(|condition| StatusCondition {
            kind: condition.kind.clone(),
            status: match condition.status.as_str() {
                "True" => ConditionStatus::True,
                "False" => ConditionStatus::False,
                _ => ConditionStatus::Unknown,
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            observed_generation: condition.observed_generation,
            last_transition: condition.last_transition_time,
        })
        .collect()
}
