//! Requests and bookings that are too old. Source: `pkg/processors/provreq/processor.go`.

use windlass_model::{ConditionStatus, Duration, Timestamp, find_condition};

use super::conditions::{BOOKING_EXPIRED, EXPIRED, FAILED, PROVISIONED, RESERVATION_TIME_EXPIRED};
use crate::{decide::Loop, instant::after};

/// How long room that was found is kept.
const RESERVATION_TIME: Duration = Duration::from_mins(10);
/// How long a request is tried.
const EXPIRATION_TIME: Duration = Duration::from_hours(7 * 24);
/// How long an answered request stays.
const RETENTION_TIME: Duration = Duration::from_hours(7 * 24);
/// Most requests ended in one loop.
const MOST_UPDATES: usize = 20;

/// Ends bookings and requests that are too old, and deletes those answered long ago, of whatever
/// class.
pub(super) fn run(context: &mut Loop<'_>) {
    let mut updates = 0;
    for index in 0..context.requests.list.len() {
        let request = &context.requests.list[index];
        let is_open =
            request.class.is_some() && !request.is(BOOKING_EXPIRED) && !request.is(FAILED);
        if !is_open || updates >= MOST_UPDATES {
            continue;
        }
        let is_past = |since: Option<Timestamp>, time: Duration| {
            since.is_some_and(|since| after(since, time) < context.now)
        };
        if request.is(PROVISIONED) {
            let since = find_condition(&request.conditions, PROVISIONED)
                .and_then(|condition| condition.last_transition);
            if !is_past(since, RESERVATION_TIME) {
                continue;
            }
            let because = RESERVATION_TIME_EXPIRED;
            context.set_request_condition(index, BOOKING_EXPIRED, ConditionStatus::True, because);
        } else if is_past(request.model.created_at, EXPIRATION_TIME) {
            context.set_request_condition(index, FAILED, ConditionStatus::True, EXPIRED);
        } else {
            continue;
        }
        updates += 1;
    }
    for request in &mut context.requests.list {
        request.is_deleted = [PROVISIONED, FAILED].into_iter().any(|kind| {
            find_condition(&request.conditions, kind)
                .and_then(|condition| condition.last_transition)
                .is_some_and(|since| after(since, RETENTION_TIME) < context.now)
        });
    }
}
