use windlass_model::Duration;

use super::Violations;
use crate::{Action, Input, ObjectWrite, Plan};

/// How long an answered request is left where its owner can read it.
const RETENTION: Duration = Duration::from_hours(7 * 24);

/// No request is deleted before its answer has stood for a week.
pub(super) fn check(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    for action in &plan.actions {
        let Action::Write(ObjectWrite::DeleteProvisioningRequest { uid, request }) = action else {
            continue;
        };
        let known = input
            .cluster
            .provisioning_requests
            .iter()
            .find(|known| known.uid == *uid && known.name == *request);
        let is_old = known.is_some_and(|known| {
            known.conditions.iter().any(|condition| {
                let is_answer = condition.kind == "Provisioned" || condition.kind == "Failed";
                let since = condition.last_transition;
                is_answer && since.is_some_and(|at| input.now.duration_since(at) > RETENTION)
            })
        });
        violations.unless(
            is_old,
            "an answered request stays for a week",
            format_args!("ProvisioningRequest {request} is to be deleted"),
        );
    }
}
