//! `/snapshotz`: what one whole loop saw and simulated. Source: `pkg/debuggingsnapshot`.

mod objects;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use windlass_core::{LoopView, Plan};
use windlass_model::{Cluster, Node, Pod};

const BUSY: &str = "Another debugging snapshot request is being processed. Concurrent requests \
                    not supported";
const ENDING: &str = "The process is ending";
/// What there is to say of a loop that ended before anything was simulated.
const NOTHING: &str = "Unable to collect any data";

/// Who waits for a snapshot: at most one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotRequests(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Nobody,
    /// For a loop that has not begun.
    For(oneshot::Sender<Answer>),
    /// A loop is collecting.
    Collecting,
}

/// The document, or why there is none.
pub(crate) type Answer = Result<Value, Value>;

impl SnapshotRequests {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a whole loop that begins after this call.
    pub(crate) async fn serve(self) -> Response {
        let answer = {
            let mut waiting = self.lock();
            let is_free = match &*waiting {
                Waiting::Nobody => true,
                // Whoever asked has gone.
                Waiting::For(asker) => asker.is_closed(),
                Waiting::Collecting => false,
            };
            if !is_free {
                return (StatusCode::TOO_MANY_REQUESTS, BUSY).into_response();
            }
            let (asker, answer) = oneshot::channel();
            *waiting = Waiting::For(asker);
            answer
        };
        let (status, document) = match answer.await {
            Ok(Ok(document)) => (StatusCode::OK, document),
            Ok(Err(document)) => (StatusCode::INTERNAL_SERVER_ERROR, document),
            Err(_) => return (StatusCode::SERVICE_UNAVAILABLE, ENDING).into_response(),
        };
        let headers = [(header::CONTENT_TYPE, "application/json")];
        (status, headers, document.to_string()).into_response()
    }

    /// A loop begins: takes who waits for it.
    pub(crate) fn begin(&self) -> Option<Collection> {
        let mut waiting = self.lock();
        match std::mem::take(&mut *waiting) {
            Waiting::For(asker) if !asker.is_closed() => {
                *waiting = Waiting::Collecting;
                Some(Collection {
                    asker: Some(asker),
                    requests: self.clone(),
                    began: Timestamp::now(),
                })
            }
            _ => None,
        }
    }
}

/// What a loop collects for who waits. Dropped without an answer, it makes room for the next.
#[derive(Debug)]
pub(crate) struct Collection {
    asker: Option<oneshot::Sender<Answer>>,
    requests: SnapshotRequests,
    began: Timestamp,
}

impl Collection {
    /// Answers with what the loop saw and simulated; without a view, that there was nothing.
    pub(crate) fn answer(mut self, cluster: &Cluster, view: Option<&LoopView>, plan: &Plan) {
        if let Some(asker) = self.asker.take() {
            // Whoever asked may have gone.
            let _ = asker.send(document(self.began, cluster, view, plan));
        }
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        *self.requests.lock() = Waiting::Nobody;
    }
}

fn document(began: Timestamp, cluster: &Cluster, view: Option<&LoopView>, plan: &Plan) -> Answer {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
    put("StartTimestamp", json!(began));
    let Some(view) = view else {
        for key in ["NodeList", "UnscheduledPodsCanBeScheduled", "TemplateNodes"] {
            put(key, Value::Null);
        }
        put("EndTimestamp", json!(Timestamp::now()));
        put("Error", json!(NOTHING));
        return Err(Value::Object(document));
    };
    let nodes = view.nodes.iter();
    let nodes: Vec<Value> = nodes.map(|(node, pods)| with_pods(node, pods)).collect();
    put("NodeList", json!(nodes));
    let schedulable = cluster.pods.iter().filter(|pod| {
        let name = pod.full_name();
        plan.pods.schedulable.contains(&name)
    });
    let schedulable: Vec<Value> = schedulable.map(|pod| objects::pod(pod)).collect();
    put("UnscheduledPodsCanBeScheduled", json!(schedulable));
    let templates = cluster.groups.iter().zip(&view.templates);
    let templates: Map<String, Value> = templates
        .filter_map(|(group, template)| {
            let template = template.as_ref()?;
            let node = with_pods(&template.node, &template.pods);
            Some((group.name.to_string(), node))
        })
        .collect();
    put("TemplateNodes", json!(templates));
    put("EndTimestamp", json!(Timestamp::now()));
    Ok(Value::Object(document))
}

fn with_pods(node: &Node, pods: &[Arc<Pod>]) -> Value {
    let pods: Vec<Value> = pods.iter().map(|pod| objects::pod(pod)).collect();
    json!({"Node": objects::node(node), "Pods": pods})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asks_at_a_time_and_a_gone_asker_makes_room() {
        let requests = SnapshotRequests::default();
        assert!(requests.begin().is_none());
        let first = tokio::spawn(requests.clone().serve());
        while !matches!(*requests.lock(), Waiting::For(_)) {
            tokio::task::yield_now().await;
        }
        let second = requests.clone().serve().await;
        assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
        let collection = requests.begin().expect("one waits");
        let second = requests.clone().serve().await;
        assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
        collection.answer(&Cluster::default(), None, &Plan::default());
        let first = first.await.expect("no panic");
        assert_eq!(first.status(), StatusCode::INTERNAL_SERVER_ERROR);

        let gone = tokio::spawn(requests.clone().serve());
        while !matches!(*requests.lock(), Waiting::For(_)) {
            tokio::task::yield_now().await;
        }
        gone.abort();
        let _ = gone.await;
        assert!(requests.begin().is_none());
    }
}
