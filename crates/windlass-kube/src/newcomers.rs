use serde::Deserialize;
use windlass_model::SmolStr;

use crate::api::{Api, ApiError};
use crate::watch::escape;

/// The pods on a node, as the API server has them at this moment, that are not among the `known`
/// uids and would be missed: neither ended, nor of a `DaemonSet`, nor the kubelet's own. Namespace
/// and name of each.
///
/// Watches may lag behind. Who is about to end a node asks this last.
///
/// # Errors
///
/// Any answer but success.
pub async fn newcomers(api: &Api, node: &str, known: &[SmolStr]) -> Result<Vec<String>, ApiError> {
    // Without a `resourceVersion` the server answers with what is so now, not with what was.
    let path = format!(
        "/api/v1/pods?fieldSelector=spec.nodeName%3D{}",
        escape(node)
    );
    let list: PodList = api.get(&path).await?;
    Ok(list
        .items
        .into_iter()
        .flatten()
        .filter(|pod| !known.contains(&pod.metadata.uid) && pod.would_be_missed())
        .map(|pod| format!("{}/{}", pod.metadata.namespace, pod.metadata.name))
        .collect())
}

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    items: Option<Vec<Pod>>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: windlass_objects::api::Metadata,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

impl Pod {
    fn would_be_missed(&self) -> bool {
        let annotations = &self.metadata.annotations.0;
        let is_of_daemonset = self
            .metadata
            .owner_references
            .iter()
            .any(|owner| owner.controller && owner.kind == "DaemonSet")
            || annotations
                .get("cluster-autoscaler.kubernetes.io/daemonset-pod")
                .is_some_and(|value| value == "true");
        let is_mirror = annotations.contains_key("kubernetes.io/config.mirror");
        let has_ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        !is_of_daemonset && !is_mirror && !has_ended
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn would_be_missed(pod: Value) -> bool {
        serde_json::from_value::<Pod>(pod)
            .unwrap()
            .would_be_missed()
    }

    #[test]
    fn pods_that_end_with_their_node_are_not_missed() {
        let owned = |kind: &str| {
            json!({"metadata": {"name": "p", "uid": "1", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "2", "controller": true},
            ]}, "status": {"phase": "Running"}})
        };
        assert!(would_be_missed(owned("ReplicaSet")));
        assert!(!would_be_missed(owned("DaemonSet")));
        assert!(would_be_missed(json!({"metadata": {"name": "bare"}})));
        assert!(!would_be_missed(json!({
            "metadata": {"name": "static", "annotations": {"kubernetes.io/config.mirror": "x"}},
        })));
        assert!(!would_be_missed(json!({
            "metadata": {"name": "done"}, "status": {"phase": "Succeeded"},
        })));
    }
}
