use std::sync::Arc;

use windlass_model::Pod;

use super::{Fate, PendingPods};
use crate::decide::Loop;

/// Adds the pods that will have to leave the nodes now being drained, as if they had no node.
pub(super) fn append(context: &Loop<'_>, pending: &mut PendingPods) {
    for node in context.memory.drains.keys() {
        let Some(id) = context.snapshot.node_id(node) else {
            continue;
        };
        for pod in context.snapshot.pods_on(id) {
            let safety = &pod.shape.safety;
            let stays = pod.deletion_timestamp.is_some()
                || safety.is_mirror
                || safety.is_static
                || pod.shape.is_daemonset_pod();
            if stays {
                continue;
            }
            let homeless = Pod {
                node_name: None,
                ..Pod::clone(pod)
            };
            pending.push(Arc::new(homeless), Fate::Waiting);
        }
    }
}
