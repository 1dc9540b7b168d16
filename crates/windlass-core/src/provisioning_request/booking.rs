//! Room that was found is kept for a while. Source: `pkg/processors/provreq/processor.go`.

use rustc_hash::FxHashMap;
use windlass_model::{ConditionStatus, ObjectName};

use super::conditions::{
    BOOKING_CONSUMED, BOOKING_EXPIRED, FAILED, FAILED_TO_BOOK_CAPACITY, PROVISIONED,
};
use super::{consumed_by, pods};
use crate::decide::Loop;

/// Places the pods of provisioned requests in the snapshot, so that neither other pods nor
/// scale-down take their room; of a request whose real pods all run the booking ends.
pub(crate) fn book(context: &mut Loop<'_>) {
    let booked: Vec<usize> = (0..context.requests.list.len())
        .filter(|index| {
            let request = &context.requests.list[*index];
            request.class.is_some()
                && !request.is_deleted
                && request.is(PROVISIONED)
                && !request.is(FAILED)
                && !request.is(BOOKING_EXPIRED)
        })
        .collect();
    if booked.is_empty() {
        return;
    }
    let consumers = count_consumers(context);
    for index in booked {
        let model = &context.requests.list[index].model;
        let wanted = model
            .pod_sets
            .iter()
            .fold(0_i64, |sum, set| sum.saturating_add(set.count));
        if consumers
            .get(&model.name)
            .is_some_and(|running| *running >= wanted)
        {
            let because = BOOKING_CONSUMED;
            context.set_request_condition(index, BOOKING_EXPIRED, ConditionStatus::True, because);
            continue;
        }
        match pods::pods_of(model, &context.cluster.pod_templates) {
            Ok(pods) => {
                for pod in pods {
                    if let Some(node) = context.snapshot.first_fit(&pod, |_| true) {
                        context.snapshot.add_pod(&pod, node);
                    }
                }
            }
            Err(error) => {
                let message = format!("Couldn't create pods, err: {error}");
                let because = (FAILED_TO_BOOK_CAPACITY, message);
                context.set_request_condition(index, FAILED, ConditionStatus::True, because);
            }
        }
    }
}

/// How many pods of the snapshot use the room of each request.
fn count_consumers(context: &Loop<'_>) -> FxHashMap<ObjectName, i64> {
    let mut consumers = FxHashMap::default();
    for node in context.snapshot.node_ids() {
        for request in context
            .snapshot
            .pods_on(node)
            .filter_map(|pod| consumed_by(pod))
        {
            *consumers.entry(request).or_default() += 1;
        }
    }
    consumers
}
