//! How long what was asked for takes to become a node. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_model::{ConditionStatus, Duration, Node};

use crate::provider_id::ProviderId;
use crate::schedule::later;

/// How long an instance is waited for that does not turn ready: by then it has long been given up.
const WAIT: Duration = Duration::from_hours(6);

/// A part of the way from a request to a ready node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// From the request for more to AWS's listing of an instance.
    RequestToInstance,
    /// From that listing to the ready node.
    InstanceToReady,
}

/// Instances on their way, and how long those took that have arrived.
#[derive(Clone, Debug, Default)]
pub struct OnTheirWay {
    /// When each was first listed.
    listed: BTreeMap<String, Timestamp>,
    took: Vec<(Step, Duration)>,
}

impl OnTheirWay {
    /// Takes in that an instance, which was asked for at `requested_at`, was listed at `now`.
    pub fn list(&mut self, instance: &str, requested_at: Timestamp, now: Timestamp) {
        self.listed.retain(|_, listed| now < later(*listed, WAIT));
        self.listed.insert(instance.to_owned(), now);
        self.took
            .push((Step::RequestToInstance, now.duration_since(requested_at)));
    }

    /// Takes in a node of the cluster. Cheap where nothing is on its way.
    pub fn see(&mut self, node: &Node, now: Timestamp) {
        if self.listed.is_empty() {
            return;
        }
        let is_ready = node
            .condition("Ready")
            .is_some_and(|ready| ready.status == ConditionStatus::True);
        if !is_ready {
            return;
        }
        let Some(id) = ProviderId::parse(&node.provider_id) else {
            return;
        };
        if let Some(listed) = self.listed.remove(&id.instance) {
            self.took
                .push((Step::InstanceToReady, now.duration_since(listed)));
        }
    }

    /// How long steps took that were taken since this was last asked.
    pub fn take(&mut self) -> Vec<(Step, Duration)> {
        std::mem::take(&mut self.took)
    }
}

#[cfg(test)]
mod tests {
    use windlass_model::Condition;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn node(instance: &str, ready: ConditionStatus) -> Node {
        Node {
            provider_id: format!("aws:///us-east-1a/{instance}").into(),
            conditions: vec![Condition {
                kind: "Ready".into(),
                status: ready,
                reason: "it".into(),
                last_transition: None,
            }],
            ..Node::default()
        }
    }

    #[test]
    fn each_step_is_measured_once() {
        let mut coming = OnTheirWay::default();
        coming.list("i-1", at(0), at(12));
        assert_eq!(
            coming.take(),
            [(Step::RequestToInstance, Duration::from_secs(12))]
        );
        coming.see(&node("i-1", ConditionStatus::False), at(40));
        // Another's, and one that was there before.
        coming.see(&node("i-2", ConditionStatus::True), at(41));
        assert_eq!(coming.take(), []);
        coming.see(&node("i-1", ConditionStatus::True), at(57));
        coming.see(&node("i-1", ConditionStatus::True), at(58));
        assert_eq!(
            coming.take(),
            [(Step::InstanceToReady, Duration::from_secs(45))]
        );
        assert_eq!(coming.take(), []);
    }
}
