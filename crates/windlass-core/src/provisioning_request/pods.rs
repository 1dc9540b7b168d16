//! The pods that a request is for. Source: `pkg/provisioningrequest/pods/pods.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{
    ObjectName, OwnerReference, Pod, PodShape, PodTemplate, ProvisioningRequest, SmolStr,
};

/// A request refers to templates that are not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "missing pod templates, {referenced} pod templates were referenced, {} templates were \
     missing: {}",
    .missing.len(), .missing.join(",")
)]
pub(super) struct MissingTemplates {
    referenced: usize,
    missing: Vec<SmolStr>,
}

/// The pods of a request: those of a set are alike and differ in name alone.
pub(super) fn pods_of(
    request: &ProvisioningRequest,
    templates: &BTreeMap<ObjectName, Arc<PodTemplate>>,
) -> Result<Vec<Arc<Pod>>, MissingTemplates> {
    let namespace = &request.name.namespace;
    let template_of =
        |name: &SmolStr| templates.get(&ObjectName::new(namespace.clone(), name.clone()));
    let missing: Vec<SmolStr> = request
        .pod_sets
        .iter()
        .map(|set| &set.template)
        .filter(|name| template_of(name).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(MissingTemplates {
            referenced: request.pod_sets.len(),
            missing,
        });
    }
    let mut pods = Vec::new();
    for (number, set) in request.pod_sets.iter().enumerate() {
        let Some(template) = template_of(&set.template) else {
            continue;
        };
        let shape = Arc::new(PodShape {
            controller: Some(OwnerReference {
                api_version: "autoscaling.x-k8s.io/v1".into(),
                kind: "ProvisioningRequest".into(),
                name: request.name.name.clone(),
                uid: request.uid.clone(),
            }),
            provisioning_request: Some(request.name.name.clone()),
            ..PodShape::clone(&template.pod.shape)
        });
        pods.extend((0..set.count).map(|index| {
            let name = format!("{}-{number}-{index}", request.name.name);
            Arc::new(Pod {
                uid: format!("{namespace}/{name}").into(),
                name: name.into(),
                shape: Arc::clone(&shape),
                created_at: request.created_at,
                ..Pod::clone(&template.pod)
            })
        }));
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use windlass_model::PodSet;

    use super::*;
    use crate::provisioning_request::tests::{request, template};

    #[test]
    fn pods_are_named_by_set_and_number_and_know_their_request() {
        let request = ProvisioningRequest {
            pod_sets: [("small", 2), ("big", 1)]
                .into_iter()
                .map(|(template, count)| PodSet {
                    template: template.into(),
                    count,
                })
                .collect(),
            ..request("train")
        };
        let templates = [template("small", 1), template("big", 3)]
            .into_iter()
            .map(|template| (template.name.clone(), Arc::new(template)))
            .collect();
        let pods = pods_of(&request, &templates).unwrap();
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["train-0-0", "train-0-1", "train-1-0"]);
        assert_eq!(pods[0].uid, "default/train-0-0");
        assert_eq!(pods[0].created_at, request.created_at);
        assert!(Arc::ptr_eq(&pods[0].shape, &pods[1].shape));
        let owner = pods[2].shape.controller.as_ref().unwrap();
        assert_eq!(
            (owner.kind.as_str(), &owner.uid),
            ("ProvisioningRequest", &request.uid)
        );
        assert_eq!(pods[2].shape.provisioning_request.as_deref(), Some("train"));
    }

    #[test]
    fn a_missing_template_is_named() {
        let error = pods_of(&request("train"), &BTreeMap::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing pod templates, 1 pod templates were referenced, 1 templates were missing: small"
        );
    }
}
