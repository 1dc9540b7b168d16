//! What the tests of this module are made of; whole loops are tried in the crate's `tests`.

use std::sync::Arc;

use windlass_model::{
    Labels, ObjectName, Phase, Pod, PodScheduled, PodSet, PodShape, PodTemplate,
    ProvisioningRequest, Resources, Timestamp,
};

use super::class::CHECK_CAPACITY;

/// A check-capacity request for one pod of the template `small`.
pub(crate) fn request(name: &str) -> ProvisioningRequest {
    ProvisioningRequest {
        name: ObjectName::new("default", name),
        uid: format!("uid-{name}").into(),
        generation: 1,
        created_at: Some(Timestamp::UNIX_EPOCH),
        class: CHECK_CAPACITY.into(),
        pod_sets: vec![PodSet {
            template: "small".into(),
            count: 1,
        }],
        parameters: Labels::default(),
        conditions: Vec::new(),
    }
}

/// A template of pods that request so many cores.
pub(crate) fn template(name: &str, cores: i64) -> PodTemplate {
    let shape = PodShape {
        namespace: "default".into(),
        requests: Resources {
            milli_cpu: cores * 1000,
            ..Resources::default()
        },
        ..PodShape::default()
    };
    PodTemplate {
        name: ObjectName::new("default", name),
        uid: format!("uid-{name}").into(),
        generation: 1,
        annotations: Labels::default(),
        pod: Arc::new(Pod {
            name: "".into(),
            uid: "".into(),
            shape: Arc::new(shape),
            resized_requests: None,
            created_at: None,
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: PodScheduled::Absent,
            is_ready: false,
        }),
    }
}
