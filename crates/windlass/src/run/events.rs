use windlass_core::{Event, EventObject, EventType};
use windlass_kube::{ClusterStore, EventRecord, EventRecorder, EventSeverity, InvolvedObject};
use windlass_model::ObjectName;

/// Records events about objects that the store knows.
pub(crate) struct Announcer {
    recorder: EventRecorder,
    store: ClusterStore,
    /// The priority expander's `ConfigMap`.
    priority_config_map: ObjectName,
}

impl Announcer {
    pub(crate) fn new(
        recorder: EventRecorder,
        store: ClusterStore,
        priority_config_map: ObjectName,
    ) -> Self {
        Self {
            recorder,
            store,
            priority_config_map,
        }
    }

    /// Records `event`; one on the status object is lost where that was never written.
    pub(crate) fn announce(&self, event: &Event, status: Option<&InvolvedObject>) {
        let Some(object) = self.object(&event.object, status) else {
            return;
        };
        self.recorder.record(EventRecord {
            severity: match event.kind {
                EventType::Normal => EventSeverity::Normal,
                EventType::Warning => EventSeverity::Warning,
            },
            reason: event.reason.to_string(),
            message: event.message.to_string(),
            object,
        });
    }

    fn object(
        &self,
        object: &EventObject,
        status: Option<&InvolvedObject>,
    ) -> Option<InvolvedObject> {
        match object {
            EventObject::Status => status.cloned(),
            EventObject::Pod(name) => {
                let uid = self.store.pod(name).map(|pod| pod.uid.to_string());
                Some(about("Pod", name, uid))
            }
            EventObject::Node(name) => {
                let uid = self.store.node(name).map(|node| node.uid.to_string());
                Some(about("Node", &ObjectName::new("", name.clone()), uid))
            }
            EventObject::CapacityBuffer(name) => {
                let uid = self.store.capacity_buffer(name);
                let uid = uid.map(|buffer| buffer.uid.to_string());
                Some(InvolvedObject {
                    api_version: "autoscaling.x-k8s.io/v1beta1",
                    ..about("CapacityBuffer", name, uid)
                })
            }
            EventObject::PriorityExpander => {
                Some(about("ConfigMap", &self.priority_config_map, None))
            }
        }
    }
}

fn about(kind: &'static str, name: &ObjectName, uid: Option<String>) -> InvolvedObject {
    InvolvedObject {
        api_version: "v1",
        kind,
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        uid: uid.unwrap_or_default(),
    }
}
