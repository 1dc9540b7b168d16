//! Pods that controllers have still to create. Source: `pkg/processors/podinjection`.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{Phase, Pod, PodScheduled, SmolStr, Workload, WorkloadKind};

use crate::{
    decide::Loop,
    pending::{Standing, is_expendable, standing},
};

/// The pods that controllers are going to make besides those that are there, each a copy of the
/// controller's newest pod. A controller without any pod is passed over: what its pods will be
/// like after admission cannot be told.
pub(crate) fn missing_pods(context: &Loop<'_>) -> Vec<Arc<Pod>> {
    let desired: FxHashMap<&SmolStr, i64> = context
        .cluster
        .workloads
        .iter()
        .filter_map(|workload| Some((&workload.uid, desired_pods(workload)?)))
        .collect();
    let mut present: FxHashMap<&SmolStr, (i64, &Arc<Pod>)> = FxHashMap::default();
    for pod in &context.cluster.pods {
        let Some(owner) = &pod.shape.controller else {
            continue;
        };
        if !desired.contains_key(&owner.uid) || !counts(context, pod) {
            continue;
        }
        let (count, newest) = present.entry(&owner.uid).or_insert((0, pod));
        *count += 1;
        if pod.created_at > newest.created_at {
            *newest = pod;
        }
    }
    let mut missing = Vec::new();
    for workload in &context.cluster.workloads {
        let (Some(desired), Some((count, sample))) =
            (desired.get(&workload.uid), present.get(&workload.uid))
        else {
            continue;
        };
        missing.extend((1..=desired - count).map(|number| copy_of(sample, workload, number)));
    }
    missing
}

/// A pod of the snapshot, one that waits, or one that is held back by a gate.
fn counts(context: &Loop<'_>, pod: &Pod) -> bool {
    if is_expendable(pod, context.config) {
        return false;
    }
    match standing(pod, context.config) {
        Standing::Scheduled(_) | Standing::Nominated(_) | Standing::Unschedulable => true,
        Standing::Unprocessed => false,
        Standing::Ignored => {
            !pod.shape.constraints.scheduling_gates.is_empty()
                && pod.node_name.is_none()
                && pod.deletion_timestamp.is_none()
                && !pod.phase.is_terminal()
        }
    }
}

/// How many pods a controller wants at one time; `None` for one that is not looked at.
fn desired_pods(workload: &Workload) -> Option<i64> {
    match workload.kind {
        WorkloadKind::ReplicaSet => Some(workload.replicas.unwrap_or(0)),
        WorkloadKind::StatefulSet if workload.is_parallel => Some(workload.replicas.unwrap_or(1)),
        WorkloadKind::Job => Some(desired_pods_of_job(workload)),
        _ => None,
    }
}

/// Source: `pkg/processors/podinjection/job_controller.go`.
fn desired_pods_of_job(job: &Workload) -> i64 {
    match (job.completions, job.replicas) {
        (None, Some(parallelism)) if job.succeeded == 0 => parallelism,
        (completions, parallelism) => (completions.unwrap_or(1) - job.succeeded)
            .min(parallelism.unwrap_or(1))
            .max(0),
    }
}

fn copy_of(sample: &Arc<Pod>, workload: &Workload, number: i64) -> Arc<Pod> {
    Arc::new(Pod {
        name: format!("{}-copy-{number}", sample.name).into(),
        uid: format!("{}-{number}", workload.uid).into(),
        shape: Arc::clone(&sample.shape),
        resized_requests: None,
        created_at: sample.created_at,
        deletion_timestamp: None,
        node_name: None,
        nominated_node_name: None,
        phase: Phase::Pending,
        scheduled: PodScheduled::Absent,
        is_ready: false,
    })
}

#[cfg(test)]
mod tests {
    use windlass_model::ObjectName;

    use super::*;

    fn workload(kind: WorkloadKind) -> Workload {
        Workload {
            kind,
            name: ObjectName::new("default", "w"),
            uid: "w".into(),
            created_at: None,
            replicas: None,
            completions: None,
            current_replicas: 0,
            succeeded: 0,
            selector: None,
            is_parallel: false,
            template: None,
        }
    }

    fn job(parallelism: Option<i64>, completions: Option<i64>, succeeded: i64) -> Option<i64> {
        desired_pods(&Workload {
            replicas: parallelism,
            completions,
            succeeded,
            ..workload(WorkloadKind::Job)
        })
    }

    #[test]
    fn a_replica_set_wants_its_replicas_and_none_where_it_does_not_say() {
        let replica_set = workload(WorkloadKind::ReplicaSet);
        assert_eq!(desired_pods(&replica_set), Some(0));
        let five = Workload {
            replicas: Some(5),
            ..replica_set
        };
        assert_eq!(desired_pods(&five), Some(5));
    }

    #[test]
    fn only_a_parallel_stateful_set_is_looked_at() {
        let one_by_one = Workload {
            replicas: Some(5),
            ..workload(WorkloadKind::StatefulSet)
        };
        assert_eq!(desired_pods(&one_by_one), None);
        let parallel = Workload {
            is_parallel: true,
            ..one_by_one
        };
        assert_eq!(desired_pods(&parallel), Some(5));
    }

    #[test]
    fn a_job_without_completions_wants_its_parallelism_until_one_has_succeeded() {
        assert_eq!(job(Some(4), None, 0), Some(4));
        assert_eq!(job(Some(4), None, 1), Some(0));
    }

    #[test]
    fn a_job_wants_what_is_left_of_its_completions_at_most_its_parallelism() {
        assert_eq!(job(None, None, 0), Some(1));
        assert_eq!(job(Some(3), Some(10), 2), Some(3));
        assert_eq!(job(Some(3), Some(10), 8), Some(2));
        assert_eq!(job(Some(3), Some(10), 11), Some(0));
        assert_eq!(job(None, Some(10), 2), Some(1));
    }

    #[test]
    fn deployments_and_daemon_sets_are_not_looked_at() {
        for kind in [WorkloadKind::Deployment, WorkloadKind::DaemonSet] {
            let workload = Workload {
                replicas: Some(5),
                ..workload(kind)
            };
            assert_eq!(desired_pods(&workload), None);
        }
    }
}
