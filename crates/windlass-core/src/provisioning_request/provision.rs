//! Room is looked for, or made. Source: `pkg/provisioningrequest/checkcapacity`,
//! `pkg/provisioningrequest/besteffortatomic`.

use std::sync::Arc;

use windlass_model::{ConditionStatus, Pod};

use super::conditions::{
    CAPACITY_IS_FOUND, CAPACITY_IS_NOT_FOUND, CAPACITY_IS_NOT_FOUND_AT_ALL, FAILED, PROVISIONED,
};
use super::{Awaited, Class, class};
use crate::{
    TimeLimit,
    decide::Loop,
    pending::PendingPods,
    scale_up::{Extent, ScaleUpResult, attempt, note_skipped},
};

/// Does what the waiting request asks for; with batches, also what other requests ask for that
/// only look for room.
pub(crate) fn provision(context: &mut Loop<'_>) -> ScaleUpResult {
    let Some((index, pods)) = context.requests.injected.take() else {
        return ScaleUpResult::NotNeeded;
    };
    let checks = if context.config.features.check_capacity_batch_processing {
        batch(context, index, &pods)
    } else if context.requests.list[index].class == Some(Class::CheckCapacity) {
        vec![(index, pods.clone())]
    } else {
        Vec::new()
    };
    // What requests hold is nobody's but for this attempt: booking keeps it from the next loop on.
    context.snapshot.fork();
    let result = if !checks.is_empty() {
        look_for_room(context, checks)
    } else if context.requests.list[index].class == Some(Class::BestEffortAtomic) {
        make_room(context, index, &pods)
    } else {
        ScaleUpResult::NotNeeded
    };
    context.snapshot.revert();
    result
}

type Checks = Vec<(usize, Vec<Arc<Pod>>)>;

/// The requests of a batch, the waiting one among them if it only looks for room.
fn batch(context: &mut Loop<'_>, waiting: usize, pods: &[Arc<Pod>]) -> Checks {
    let most = context.config.features.check_capacity_max_batch_size;
    let most = usize::try_from(most).unwrap_or(0);
    let mut batch = Checks::new();
    for index in 0..context.requests.list.len() {
        if batch.len() >= most {
            break;
        }
        if context.requests.list[index].class != Some(Class::CheckCapacity) {
            continue;
        }
        if index == waiting {
            batch.push((index, pods.to_vec()));
        } else if context.is_request_due(index)
            && let Some(pods) = context.pods_of_request(index)
        {
            batch.push((index, pods));
        }
    }
    batch
}

/// Looks for room for the pods of each request, beside those of the requests before it.
fn look_for_room(context: &mut Loop<'_>, checks: Checks) -> ScaleUpResult {
    let limit = TimeLimit::CheckCapacityBatch;
    let timebox = context.config.features.check_capacity_batch_timebox;
    context.budget.start(limit, timebox);
    let mut result = ScaleUpResult::NoOptionsAvailable;
    for (index, pods) in checks {
        context.accept_request(index);
        context.count_retry(index);
        if place_all(context, &pods) {
            let because = CAPACITY_IS_FOUND;
            context.set_request_condition(index, PROVISIONED, ConditionStatus::True, because);
            result = ScaleUpResult::Successful;
        } else if class::is_tried_once(&context.requests.list[index].model) {
            let because = CAPACITY_IS_NOT_FOUND_AT_ALL;
            context.set_request_condition(index, FAILED, ConditionStatus::True, because);
        } else {
            let because = CAPACITY_IS_NOT_FOUND;
            context.set_request_condition(index, PROVISIONED, ConditionStatus::False, because);
        }
        if context.budget.is_spent(limit) {
            break;
        }
    }
    result
}

/// Places all pods, or none.
fn place_all(context: &mut Loop<'_>, pods: &[Arc<Pod>]) -> bool {
    context.snapshot.fork();
    let all_fit = pods.iter().all(|pod| place(context, pod));
    if all_fit {
        context.snapshot.commit();
    } else {
        context.snapshot.revert();
    }
    all_fit
}

fn place(context: &mut Loop<'_>, pod: &Arc<Pod>) -> bool {
    let node = context.snapshot.first_fit(pod, |_| true);
    if let Some(node) = node {
        context.snapshot.add_pod(pod, node);
    }
    node.is_some()
}

/// Asks for the nodes that all pods need which there is no room for, or for none.
fn make_room(context: &mut Loop<'_>, index: usize, pods: &[Arc<Pod>]) -> ScaleUpResult {
    context.count_retry(index);
    let mut homeless = Vec::new();
    for pod in pods {
        if !place(context, pod) {
            homeless.push(Arc::clone(pod));
        }
    }
    if homeless.is_empty() {
        let because = CAPACITY_IS_FOUND;
        context.set_request_condition(index, PROVISIONED, ConditionStatus::True, because);
        return ScaleUpResult::NotNeeded;
    }
    let (pending, wanting) = PendingPods::waiting(homeless);
    let attempt = attempt(context, &pending, &wanting, Extent::AllOrNothing);
    note_skipped(context, &attempt);
    if attempt.result == ScaleUpResult::Successful && !attempt.resizes.is_empty() {
        let sizes = attempt
            .resizes
            .iter()
            .map(|resize| {
                let group = &context.cluster.groups[resize.group];
                (group.name.clone(), resize.to)
            })
            .collect();
        let awaited = Awaited {
            sizes,
            has_failed: false,
            since: context.now,
        };
        let uid = context.requests.list[index].model.uid.clone();
        context.memory.requests.awaited.insert(uid, awaited);
    } else {
        let because = CAPACITY_IS_NOT_FOUND;
        context.set_request_condition(index, PROVISIONED, ConditionStatus::False, because);
    }
    attempt.result
}
