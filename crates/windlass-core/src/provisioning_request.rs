//! Requests for room: pods that somebody will make once all of them have a place. Source:
//! `pkg/provisioningrequest`, `pkg/processors/provreq`.
//!
//! Each loop, in this order: what came of earlier loops is noted and what is too old is ended
//! (`observe`, `housekeeping`); the oldest request that is due is accepted and its pods wait
//! beside the real ones (`inject`); room that was found earlier is kept (`booking`); requests
//! and pods take turns in scaling up (`takes_turn`, `provision`); conditions are written
//! (`finish`).

mod booking;
mod class;
mod conditions;
mod housekeeping;
mod pods;
mod provision;
mod retries;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use windlass_model::{
    ConditionStatus, Duration, ObjectName, Pod, ProvisioningRequest, SmolStr, StatusCondition,
    Timestamp, find_condition, is_condition_true, set_condition,
};

pub(crate) use booking::book;
pub(crate) use class::Class;
pub(crate) use provision::provision;
pub use retries::Retries;

use self::{
    class::class_of,
    conditions::{
        ACCEPTED, CAPACITY_IS_NOT_FOUND, CAPACITY_IS_PROVISIONED, FAILED, FAILED_TO_CREATE_PODS,
        IS_ACCEPTED, PROVISIONED,
    },
};
use crate::{Action, ObjectWrite, Outcome, OutcomeResult, decide::Loop, instant::after};

/// An answer of the cloud that has not come after so long will not come: whoever asked is gone.
const ANSWER_TIME: Duration = Duration::from_mins(2);

/// What is remembered of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestMemory {
    /// How long those wait of which there was no room.
    pub retries: Retries,
    /// Where requests and pods both wait, it is the requests' turn.
    pub is_their_turn: bool,
    /// Room that the cloud has been asked for, by the request's uid.
    pub awaited: BTreeMap<SmolStr, Awaited>,
}

/// Room that the cloud has been asked for on behalf of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Awaited {
    /// The sizes asked for, by group, of which the answer has not come.
    pub sizes: BTreeMap<SmolStr, i64>,
    /// Whether some group could not grow.
    pub has_failed: bool,
    /// When they were asked for.
    pub since: Timestamp,
}

/// The requests as one loop knows them, the oldest first.
#[derive(Default)]
pub(crate) struct Requests {
    list: Vec<Request>,
    /// The request whose pods wait in this loop, with these.
    injected: Option<(usize, Vec<Arc<Pod>>)>,
}

struct Request {
    model: Arc<ProvisioningRequest>,
    /// What is to be done about it; `None` if somebody else does it.
    class: Option<Class>,
    /// As they are, and as this loop changes them.
    conditions: Vec<StatusCondition>,
    /// The types that this loop writes.
    changed: Vec<&'static str>,
    is_deleted: bool,
}

impl Request {
    fn is(&self, kind: &str) -> bool {
        is_condition_true(&self.conditions, kind)
    }
}

/// Takes in the requests, with what this process has written of them, and what came of the room
/// that the cloud was asked for.
pub(crate) fn observe(context: &mut Loop<'_>) {
    if !context.config.features.provisioning_requests {
        return;
    }
    let cluster = context.cluster;
    note_failed_writes(context);
    let by_uid: BTreeMap<&str, &Vec<StatusCondition>> = cluster
        .provisioning_requests
        .iter()
        .map(|request| (request.uid.as_str(), &request.conditions))
        .collect();
    let unseen = &mut context.memory.unseen_requests;
    unseen.settle(context.now, |uid| by_uid.get(uid).copied());
    let instance = context
        .config
        .features
        .check_capacity_processor_instance
        .as_deref();
    let mut list: Vec<Request> = cluster
        .provisioning_requests
        .iter()
        .map(|model| Request {
            class: class_of(model, instance.unwrap_or_default()),
            conditions: unseen.or(&model.uid, &model.conditions).clone(),
            model: Arc::clone(model),
            changed: Vec::new(),
            is_deleted: false,
        })
        .collect();
    list.sort_by(|a, b| {
        let key = |request: &Request| (request.model.created_at, request.model.name.clone());
        key(a).cmp(&key(b))
    });
    context.requests.list = list;
    note_answers(context);
    housekeeping::run(context);
}

fn note_failed_writes(context: &mut Loop<'_>) {
    for outcome in context.outcomes {
        if let Outcome {
            action: Action::Write(ObjectWrite::UpdateProvisioningRequest { uid, .. }),
            result: OutcomeResult::Failed { .. } | OutcomeResult::Refused { .. },
        } = outcome
        {
            context.memory.unseen_requests.forget(uid);
        }
    }
}

/// A request is provisioned once every group has been enlarged for it.
fn note_answers(context: &mut Loop<'_>) {
    let mut awaited = std::mem::take(&mut context.memory.requests.awaited);
    awaited.retain(|uid, awaited| {
        let Some(index) = context.index_of_request(uid) else {
            return false;
        };
        for outcome in context.outcomes {
            let Action::IncreaseSize(resize) = &outcome.action else {
                continue;
            };
            if awaited.sizes.get(&resize.group) == Some(&resize.to) {
                awaited.sizes.remove(&resize.group);
                awaited.has_failed |= outcome.result != OutcomeResult::Done;
            }
        }
        if awaited.sizes.is_empty() {
            let (status, because) = if awaited.has_failed {
                (ConditionStatus::False, CAPACITY_IS_NOT_FOUND)
            } else {
                (ConditionStatus::True, CAPACITY_IS_PROVISIONED)
            };
            context.set_request_condition(index, PROVISIONED, status, because);
            return false;
        }
        after(awaited.since, ANSWER_TIME) > context.now
    });
    context.memory.requests.awaited = awaited;
}

/// Accepts the oldest request that is due, and has its pods wait in this loop.
pub(crate) fn inject(context: &mut Loop<'_>) {
    let is_batch = context.config.features.check_capacity_batch_processing;
    for index in 0..context.requests.list.len() {
        let Some(class) = context.requests.list[index].class else {
            continue;
        };
        if !context.is_request_due(index) {
            continue;
        }
        let Some(pods) = context.pods_of_request(index) else {
            continue;
        };
        if !(is_batch && class == Class::CheckCapacity) {
            context.accept_request(index);
        }
        context.requests.injected = Some((index, pods));
        // Whatever comes of it, the next request need not wait.
        context.plan.wake_by(context.now);
        return;
    }
}

/// Whether a request waits in this loop.
pub(crate) fn is_waiting(context: &Loop<'_>) -> bool {
    context.requests.injected.is_some()
}

/// Whether this scale-up is for a request rather than for pods; where both wait, they take turns.
pub(crate) fn takes_turn(context: &mut Loop<'_>, do_pods_wait: bool) -> bool {
    let is_their_turn = match (is_waiting(context), do_pods_wait) {
        (true, true) => context.memory.requests.is_their_turn,
        (does_request_wait, _) => does_request_wait,
    };
    context.memory.requests.is_their_turn = !is_their_turn;
    is_their_turn
}

/// Plans the writing of what this loop has changed.
pub(crate) fn finish(context: &mut Loop<'_>) {
    for request in std::mem::take(&mut context.requests.list) {
        let Request {
            model,
            conditions,
            changed,
            is_deleted,
            ..
        } = request;
        if is_deleted {
            context.plan.write(ObjectWrite::DeleteProvisioningRequest {
                request: model.name.clone(),
                uid: model.uid.clone(),
            });
            continue;
        }
        if changed.is_empty() {
            continue;
        }
        let written = changed
            .iter()
            .filter_map(|kind| find_condition(&conditions, kind).cloned())
            .collect();
        context.plan.write(ObjectWrite::UpdateProvisioningRequest {
            request: model.name.clone(),
            uid: model.uid.clone(),
            conditions: written,
        });
        let unseen = &mut context.memory.unseen_requests;
        unseen.note(model.uid.clone(), conditions, context.now);
    }
}

impl Loop<'_> {
    fn index_of_request(&self, uid: &str) -> Option<usize> {
        let mut requests = self.requests.list.iter();
        requests.position(|request| request.model.uid == uid)
    }

    /// Whether something is to be done about a request now. One that is done with is forgotten.
    fn is_request_due(&mut self, index: usize) -> bool {
        let request = &self.requests.list[index];
        let uid = &request.model.uid;
        if request.is_deleted || request.is(FAILED) || request.is(PROVISIONED) {
            self.memory.requests.retries.forget(uid);
            return false;
        }
        if self.memory.requests.awaited.contains_key(uid) {
            return false;
        }
        let Some(condition) = find_condition(&request.conditions, PROVISIONED) else {
            return true;
        };
        let since = condition.last_transition.unwrap_or(Timestamp::UNIX_EPOCH);
        let flags = &self.config.features;
        let due = self.memory.requests.retries.due(uid, since, flags);
        condition.status == ConditionStatus::False && due < self.now
    }

    /// The pods of a request; without its templates it fails.
    fn pods_of_request(&mut self, index: usize) -> Option<Vec<Arc<Pod>>> {
        let model = &self.requests.list[index].model;
        match pods::pods_of(model, &self.cluster.pod_templates) {
            Ok(pods) => Some(pods),
            Err(error) => {
                let because = (FAILED_TO_CREATE_PODS, error.to_string());
                self.set_request_condition(index, FAILED, ConditionStatus::True, because);
                None
            }
        }
    }

    fn accept_request(&mut self, index: usize) {
        if !self.requests.list[index].is(ACCEPTED) {
            self.set_request_condition(index, ACCEPTED, ConditionStatus::True, IS_ACCEPTED);
        }
    }

    /// A request is looked at once more after there was no room for it: the next time it waits
    /// longer.
    fn count_retry(&mut self, index: usize) {
        let request = &self.requests.list[index];
        if find_condition(&request.conditions, PROVISIONED).is_some() {
            let retries = &mut self.memory.requests.retries;
            retries.retry(&request.model.uid, &self.config.features);
        }
    }

    /// Sets a condition, dated now even where its status stays as it was: delays count from there.
    fn set_request_condition(
        &mut self,
        index: usize,
        kind: &'static str,
        status: ConditionStatus,
        because: (&'static str, impl Into<SmolStr>),
    ) {
        let request = &mut self.requests.list[index];
        let (reason, message) = because;
        let condition = StatusCondition {
            kind: SmolStr::new_static(kind),
            status,
            reason: SmolStr::new_static(reason),
            message: message.into(),
            // Upstream applies the conditions of this class without it.
            observed_generation: (request.class != Some(Class::BestEffortAtomic))
                .then_some(request.model.generation),
            last_transition: Some(whole_seconds(self.now)),
        };
        set_condition(&mut request.conditions, condition);
        if !request.changed.contains(&kind) {
            request.changed.push(kind);
        }
    }
}

/// As the API server keeps times.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The request whose room a pod uses.
pub(crate) fn consumed_by(pod: &Pod) -> Option<ObjectName> {
    let request = pod.shape.provisioning_request.as_ref()?;
    Some(ObjectName::new(pod.namespace().clone(), request.clone()))
}
