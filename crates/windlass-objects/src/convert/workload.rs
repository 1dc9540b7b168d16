use std::sync::Arc;

use windlass_model::{
    DisruptionBudget, LabelSelector, OwnerReference, Service, SmolStr, Workload, WorkloadKind,
};

use crate::api;

use super::Converter;
use super::selector::label_selector;

/// What a kind's `current_replicas` and `replicas` are taken from, and the rest that differs.
struct Counts {
    replicas: Option<i64>,
    completions: Option<i64>,
    current: i64,
    selector: Option<LabelSelector>,
}

impl Converter {
    /// A Deployment, `ReplicaSet`, `StatefulSet`, `DaemonSet` or Job.
    pub fn workload(&mut self, kind: WorkloadKind, workload: &api::Workload) -> Workload {
        let api::Workload {
            metadata,
            spec,
            status,
        } = workload;
        let is_job = kind == WorkloadKind::Job;
        let counts = Counts {
            replicas: if is_job {
                spec.parallelism
            } else {
                spec.replicas
            },
            completions: spec.completions,
            current: match kind {
                WorkloadKind::Job => status.active,
                WorkloadKind::StatefulSet => status.current_replicas,
                _ => status.replicas,
            },
            selector: spec.selector.as_ref().map(label_selector),
        };
        let converted = self.workload_of(kind, metadata, status, spec.template.as_ref(), counts);
        Workload {
            is_parallel: spec.pod_management_policy == "Parallel",
            ..converted
        }
    }

    /// A `ReplicationController`.
    pub fn replication_controller(&mut self, controller: &api::ReplicationController) -> Workload {
        let api::ReplicationController {
            metadata,
            spec,
            status,
        } = controller;
        let counts = Counts {
            replicas: spec.replicas,
            completions: None,
            current: status.replicas,
            selector: spec
                .selector
                .as_ref()
                .map(|labels| LabelSelector::from_labels(&labels.0)),
        };
        let kind = WorkloadKind::ReplicationController;
        self.workload_of(kind, metadata, status, spec.template.as_ref(), counts)
    }

    fn workload_of(
        &mut self,
        kind: WorkloadKind,
        metadata: &api::Metadata,
        status: &api::WorkloadStatus,
        template: Option<&api::PodTemplate>,
        counts: Counts,
    ) -> Workload {
        let name = self.full_name(metadata);
        let uid = self.uid(kind.as_str(), metadata);
        let owner = OwnerReference {
            api_version: SmolStr::new_static(api_version(kind)),
            kind: SmolStr::new_static(kind.as_str()),
            name: name.name.clone(),
            uid: uid.clone(),
        };
        let template = template
            .map(|template| self.pod_of_template(template, name.namespace.clone(), owner))
            .map(Arc::new);
        Workload {
            kind,
            name,
            uid,
            created_at: metadata.creation_timestamp,
            replicas: counts.replicas,
            completions: counts.completions,
            current_replicas: counts.current,
            succeeded: status.succeeded,
            selector: counts.selector,
            is_parallel: false,
            template,
        }
    }

    /// A `PodDisruptionBudget`.
    pub fn disruption_budget(&self, budget: &api::PodDisruptionBudget) -> DisruptionBudget {
        DisruptionBudget {
            name: self.full_name(&budget.metadata),
            selector: budget.spec.selector.as_ref().map(label_selector),
            disruptions_allowed: budget.status.disruptions_allowed,
        }
    }

    /// A Service.
    pub fn service(&self, service: &api::Service) -> Service {
        Service {
            name: self.full_name(&service.metadata),
            selector: service
                .spec
                .selector
                .as_ref()
                .map(|labels| labels.0.clone()),
        }
    }

    /// `priorities` of the priority expander's `ConfigMap`, whose name the caller has checked.
    pub fn priorities(&self, config_map: &api::ConfigMap) -> Option<SmolStr> {
        config_map.data.0.get("priorities").cloned()
    }
}

fn api_version(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment
        | WorkloadKind::ReplicaSet
        | WorkloadKind::StatefulSet
        | WorkloadKind::DaemonSet => "apps/v1",
        WorkloadKind::Job => "batch/v1",
        WorkloadKind::ReplicationController => "v1",
    }
}
