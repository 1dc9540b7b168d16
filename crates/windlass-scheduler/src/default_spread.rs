use rustc_hash::FxHashMap;
use windlass_model::{
    Cluster, LabelSelector, Labels, PodShape, Requirement, SmolStr, Workload, WorkloadKind,
};

/// Services and controllers, of which the selector of default spread constraints is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct DefaultSelectors {
    /// Selectors of services by namespace; a null one selects nothing and is left out.
    services: FxHashMap<SmolStr, Vec<Labels>>,
    controllers: FxHashMap<(WorkloadKind, SmolStr, SmolStr), Option<LabelSelector>>,
}

impl DefaultSelectors {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let mut selectors = Self::default();
        for service in &cluster.services {
            if let Some(selector) = &service.selector {
                let namespace = service.name.namespace.clone();
                let of_namespace = selectors.services.entry(namespace).or_default();
                of_namespace.push(selector.clone());
            }
        }
        for workload in &cluster.workloads {
            let Workload {
                kind,
                name,
                selector,
                ..
            } = workload.as_ref();
            let key = (*kind, name.namespace.clone(), name.name.clone());
            selectors.controllers.insert(key, selector.clone());
        }
        selectors
    }

    /// What selects the pod's like: the labels of the services that match it, and the selector of
    /// its controller. Empty when there is neither.
    /// Source: `pkg/scheduler/framework/plugins/helper/spread.go` `DefaultSelector`.
    pub(crate) fn selector(&self, shape: &PodShape) -> LabelSelector {
        let mut labels = Labels::default();
        for service in self.services.get(&shape.namespace).into_iter().flatten() {
            if service
                .iter()
                .all(|(key, value)| shape.labels.get(key) == Some(value))
            {
                for (key, value) in service.iter() {
                    labels.insert(key.clone(), value.clone());
                }
            }
        }
        let mut selector = LabelSelector::from_labels(&labels);
        let Some((kind, controller)) = self.controller(shape) else {
            return selector;
        };
        if kind == WorkloadKind::ReplicationController {
            // Its selector is a label map, which replaces the services' values of equal keys.
            let replaced = |requirement: &Requirement| {
                controller
                    .requirements
                    .iter()
                    .any(|other| other.key == requirement.key)
            };
            selector
                .requirements
                .retain(|requirement| !replaced(requirement));
        }
        selector
            .requirements
            .extend(controller.requirements.iter().cloned());
        selector
    }

    fn controller(&self, shape: &PodShape) -> Option<(WorkloadKind, &LabelSelector)> {
        let owner = shape.controller.as_ref()?;
        let kind = match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("v1", "ReplicationController") => WorkloadKind::ReplicationController,
            ("apps/v1", "ReplicaSet") => WorkloadKind::ReplicaSet,
            ("apps/v1", "StatefulSet") => WorkloadKind::StatefulSet,
            _ => return None,
        };
        let key = (kind, shape.namespace.clone(), owner.name.clone());
        let selector = self.controllers.get(&key)?.as_ref()?;
        selector.is_valid().then_some((kind, selector))
    }
}
