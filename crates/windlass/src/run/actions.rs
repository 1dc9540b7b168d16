mod writes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use windlass_aws::{ActionError, Aws, Cancellation, Floor};
use windlass_config::Config;
use windlass_core::taints::DELETION_CANDIDATE;
use windlass_core::{Action, OutcomeResult};
use windlass_kube::lease::Leadership;
use windlass_kube::nodes::{self, Cordon};
use windlass_kube::{Api, ApiError, Eviction};
use windlass_model::{Effect, SmolStr};

/// Nodes that are written at the same time: upstream's number.
const TAINTS_AT_ONCE: usize = 5;
/// `errors_total`'s word for an error of the API server.
const API_CALL_ERROR: &str = "apiCallError";
/// Its word for what is neither.
const TRANSIENT_ERROR: &str = "transientError";

/// Carries out actions: each is one thing asked of AWS or of the API server.
#[derive(Clone)]
pub(crate) struct Actor {
    api: Api,
    aws: Aws,
    leadership: watch::Receiver<Leadership>,
    taints: Arc<Semaphore>,
    /// `--max-bulk-soft-taint-time`.
    soft_taint_time: Duration,
}

impl Actor {
    pub(crate) fn new(
        config: &Config,
        api: &Api,
        aws: &Aws,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        Self {
            api: api.clone(),
            aws: aws.clone(),
            leadership,
            taints: Arc::new(Semaphore::new(TAINTS_AT_ONCE)),
            soft_taint_time: Duration::try_from(config.actuation.max_bulk_soft_taint_time)
                .unwrap_or_default(),
        }
    }

    /// Does it, if this process still leads.
    pub(crate) async fn perform(&self, action: &Action) -> OutcomeResult {
        if *self.leadership.borrow() != Leadership::Leader {
            return OutcomeResult::Refused {
                message: "this process does not lead any more".to_owned(),
            };
        }
        match action {
            Action::IncreaseSize(resize) => {
                let zone = resize.zone.as_deref();
                of_aws(self.aws.increase_in(&resize.group, resize.to, zone).await)
            }
            Action::DecreaseTargetSize { group, from, to } => {
                self.decrease(group, *from, *to).await
            }
            Action::DeleteInstances {
                group,
                instances,
                never_joined,
                force,
            } => match self.have_joined(never_joined).await {
                Some(refusal) => refusal,
                None => self.delete(group, instances, *force).await,
            },
            Action::AddTaint {
                node,
                taint,
                cordon,
            } => {
                let began = Instant::now();
                if taint.effect == Effect::PreferNoSchedule {
                    // Nobody waits for a soft taint.
                    self.api.wait_for_leave().await;
                }
                let _turn = self.taints.acquire().await;
                if let Some(too_late) = self.too_late(&taint.key, began) {
                    return too_late;
                }
                of_api(nodes::add_taint(&self.api, node, taint, cordoning(*cordon)).await)
            }
            Action::RemoveTaint {
                node,
                key,
                uncordon,
            } => {
                let began = Instant::now();
                let _turn = self.taints.acquire().await;
                if let Some(too_late) = self.too_late(key, began) {
                    return too_late;
                }
                let removed = nodes::remove_taint(&self.api, node, key, cordoning(*uncordon)).await;
                match removed {
                    // With the node its taint is gone.
                    Err(error) if error.is_not_found() => OutcomeResult::Done,
                    other => of_api(other),
                }
            }
            Action::Evict {
                pod,
                uid,
                grace_period_seconds,
                ..
            } => {
                let evicted = windlass_kube::evict(
                    &self.api,
                    &pod.namespace,
                    &pod.name,
                    uid,
                    *grace_period_seconds,
                );
                match evicted.await {
                    Ok(Eviction::Done) => OutcomeResult::Done,
                    Ok(Eviction::Refused(message)) => OutcomeResult::Refused { message },
                    Err(error) => api_failure(&error),
                }
            }
            Action::TerminateInstance {
                group,
                node,
                instance,
                known_pods,
            } => self.terminate(group, node, instance, known_pods).await,
            Action::Write(write) => of_api(writes::perform(&self.api, write).await),
        }
    }

    /// What comes of a write of a soft taint whose turn came too late in its loop.
    fn too_late(&self, key: &str, began: Instant) -> Option<OutcomeResult> {
        let is_late = key == DELETION_CANDIDATE && self.soft_taint_time <= began.elapsed();
        is_late.then(|| OutcomeResult::Refused {
            message: "--max-bulk-soft-taint-time is over".to_owned(),
        })
    }

    /// Ends the instance, unless a pod has come to its node that the plan did not know.
    async fn terminate(
        &self,
        group: &str,
        node: &str,
        instance: &str,
        known_pods: &[SmolStr],
    ) -> OutcomeResult {
        match windlass_kube::newcomers(&self.api, node, known_pods).await {
            Err(error) => api_failure(&error),
            Ok(pods) if pods.is_empty() => of_aws(
                self.aws
                    .terminate(group, instance, Floor::GroupMinimum)
                    .await,
            ),
            Ok(pods) => OutcomeResult::Refused {
                message: format!("new pods scheduled: {}", pods.join(", ")),
            },
        }
    }

    async fn decrease(&self, group: &str, from: i64, to: i64) -> OutcomeResult {
        let requests = u32::try_from(from.saturating_sub(to)).unwrap_or(0);
        match self.aws.cancel(group, requests).await {
            Ok(Cancellation::Postponed(because)) => OutcomeResult::Refused {
                message: because.to_string(),
            },
            other => of_aws(other),
        }
    }

    /// The refusal to delete instances of which one is a node by now, or nobody can tell.
    async fn have_joined(&self, never_joined: &[SmolStr]) -> Option<OutcomeResult> {
        if never_joined.is_empty() {
            return None;
        }
        let nodes = match windlass_kube::registered(&self.api, never_joined).await {
            Ok(nodes) => nodes,
            Err(error) => return Some(api_failure(&error)),
        };
        if nodes.is_empty() {
            return None;
        }
        let joined: Vec<String> = nodes
            .into_iter()
            .map(|(instance, node)| format!("{instance} is node {node}"))
            .collect();
        Some(OutcomeResult::Refused {
            message: format!("joined meanwhile: {}", joined.join(", ")),
        })
    }

    async fn delete(&self, group: &str, instances: &[SmolStr], force: bool) -> OutcomeResult {
        let ids: Vec<String> = instances.iter().map(ToString::to_string).collect();
        let floor = if force {
            Floor::None
        } else {
            Floor::GroupMinimum
        };
        let (deletions, cancelled) = self.aws.delete_instances(group, &ids, floor).await;
        let first_error = deletions
            .into_iter()
            .find_map(|deletion| deletion.result.err());
        match (first_error, cancelled) {
            (Some(error), _) | (None, Some(Err(error))) => aws_failure(&error),
            (None, Some(Ok(Cancellation::Postponed(because)))) => OutcomeResult::Refused {
                message: because.to_string(),
            },
            (None, _) => OutcomeResult::Done,
        }
    }
}

/// What became of an action whose task did not end in order.
pub(crate) fn broken_off(problem: &str) -> OutcomeResult {
    OutcomeResult::Failed {
        code: TRANSIENT_ERROR.into(),
        message: problem.to_owned(),
    }
}

fn cordoning(change: bool) -> Cordon {
    if change {
        Cordon::Change
    } else {
        Cordon::Leave
    }
}

fn of_api<T>(result: Result<T, ApiError>) -> OutcomeResult {
    match result {
        Ok(_) => OutcomeResult::Done,
        Err(error) => api_failure(&error),
    }
}

fn api_failure(error: &ApiError) -> OutcomeResult {
    OutcomeResult::Failed {
        code: API_CALL_ERROR.into(),
        message: error.to_string(),
    }
}

fn of_aws<T>(result: Result<T, ActionError>) -> OutcomeResult {
    match result {
        Ok(_) => OutcomeResult::Done,
        Err(error) => aws_failure(&error),
    }
}

fn aws_failure(error: &ActionError) -> OutcomeResult {
    OutcomeResult::Failed {
        code: error.code().into(),
        message: error.to_string(),
    }
}
