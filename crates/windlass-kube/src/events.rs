//! Events, as client-go records them: the same shape, the same aggregation of similar ones,
//! the same filter against floods. Source: `k8s.io/client-go/tools/record` and the Go
//! autoscaler's `pkg/utils/kubernetes/client.go`.

mod correlator;
mod lru;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::api::{Api, ApiError};

use correlator::{Correlator, Write};

/// `source.component` of every event.
const COMPONENT: &str = "cluster-autoscaler";

/// Events that wait to be written; more are dropped, as client-go does.
const QUEUE: usize = 1000;

/// How often an event is tried while the API server is away, and the pause between: client-go's
/// numbers.
const TRIES: u32 = 12;
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Whether somebody may want to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventSeverity {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl EventSeverity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct InvolvedObject {
    /// `apiVersion`.
    pub api_version: &'static str,
    /// `kind`.
    pub kind: &'static str,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid, or empty when not known.
    pub uid: String,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The type.
    pub severity: EventSeverity,
    /// The reason, one word.
    pub reason: String,
    /// The text.
    pub message: String,
    /// What it is about.
    pub object: InvolvedObject,
}

/// How events are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecorderOptions {
    /// `--record-duplicated-events`: only the client library's own filter.
    pub record_duplicates: bool,
}

/// Records events without making anybody wait.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<EventRecord>,
    dropped: Arc<Mutex<u64>>,
}

impl EventRecorder {
    /// A recorder, and the task that writes what it records; the task ends when the last
    /// recorder is dropped.
    pub fn new(
        api: Api,
        options: RecorderOptions,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let recorder = Self {
            queue,
            dropped: Arc::default(),
        };
        (recorder, write_all(api, options, receiver))
    }

    /// Says `event`, later. With a full queue it is dropped: events are a courtesy.
    pub fn record(&self, event: EventRecord) {
        if self.queue.try_send(event).is_err() {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            if dropped.is_multiple_of(100) {
                warn!(dropped = *dropped + 1, "too many events: some are dropped");
            }
            *dropped += 1;
        }
    }
}

async fn write_all(api: Api, options: RecorderOptions, mut queue: mpsc::Receiver<EventRecord>) {
    let mut correlator = Correlator::new(options);
    while let Some(event) = queue.recv().await {
        let now = Timestamp::now();
        let Some(write) = correlator.observe(&event, now) else {
            debug!(
                reason = event.reason,
                object = event.object.name,
                "event filtered"
            );
            continue;
        };
        api.wait_for_leave().await;
        deliver(&api, &mut correlator, &event, write).await;
    }
}

/// client-go's `recordToSink`.
async fn deliver(api: &Api, correlator: &mut Correlator, event: &EventRecord, mut write: Write) {
    for attempt in 1..=TRIES {
        let result = send(api, event, &write).await;
        match result {
            Ok(()) => return,
            Err(error) if write.is_patch() && error.is_not_found() => {
                // The earlier event has expired: say it anew.
                write = correlator.recreate(event, &write, Timestamp::now());
            }
            Err(error) if error.is_transient() && attempt < TRIES => {
                debug!(%error, attempt, "cannot record an event, trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                warn!(%error, reason = event.reason, object = event.object.name, "cannot record an event");
                return;
            }
        }
    }
}

async fn send(api: &Api, event: &EventRecord, write: &Write) -> Result<(), ApiError> {
    let namespace = event_namespace(&event.object);
    let collection = format!("/api/v1/namespaces/{namespace}/events");
    match write {
        Write::Create(entry) => {
            let body = json!({
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": entry.name, "namespace": namespace},
                "involvedObject": involved(&event.object),
                "type": event.severity.as_str(),
                "reason": event.reason,
                "message": entry.message,
                "source": {"component": COMPONENT},
                "reportingComponent": COMPONENT,
                "reportingInstance": "",
                "firstTimestamp": seconds(entry.first),
                "lastTimestamp": seconds(entry.last),
                "count": entry.count,
            });
            api.create::<Value>(&collection, &body).await.map(drop)
        }
        Write::Patch(entry) => {
            let body = json!({
                "message": entry.message,
                "lastTimestamp": seconds(entry.last),
                "count": entry.count,
            });
            let path = format!("{collection}/{}", entry.name);
            api.merge::<Value>(&path, &body).await.map(drop)
        }
    }
}

fn involved(object: &InvolvedObject) -> Value {
    let mut value = json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "name": object.name,
    });
    for (field, content) in [("namespace", &object.namespace), ("uid", &object.uid)] {
        if !content.is_empty() {
            value[field] = json!(content);
        }
    }
    value
}

/// Events about objects without a namespace are kept in `default`.
fn event_namespace(object: &InvolvedObject) -> &str {
    if object.namespace.is_empty() {
        "default"
    } else {
        &object.namespace
    }
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
