//! Acts on the groups. Each looks at the group afresh before it writes, never lets AWS choose a
//! victim, and says what came of it.

use std::fmt;
use std::sync::{Arc, PoisonError};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tracing::{info, warn};
use windlass_aws_client::autoscaling::Capacity;
use windlass_aws_client::{CallError, ErrorClass};
use windlass_model::Duration;

use super::Aws;
use crate::activity::LaunchFailure;
use crate::group::OpenRequest;
use crate::lifecycle::Lifecycle;
use crate::provider_id::ProviderId;
use crate::schedule::later;

/// Terminations under way at the same time.
const TERMINATIONS_AT_ONCE: usize = 8;
/// How old a description may be for a termination to go by it. The termination names its victim,
/// so what can go wrong is only the minimum.
const FRESH_ENOUGH: Duration = Duration::from_secs(5);
/// How long the same instances must have been listed before a request is cancelled.
const STEADY: Duration = Duration::from_secs(5);
/// The pause before it is seen to whether a launch is still under way; the refreshes find out.
const LAUNCH_PAUSE: Duration = Duration::from_secs(1);
/// How long a cancellation waits for its moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of asking for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increase {
    /// AWS was asked.
    Requested {
        /// The desired capacity before.
        from: u32,
        /// The desired capacity now.
        to: u32,
    },
    /// It is at least as large already.
    AlreadyThere {
        /// The desired capacity.
        desired: u32,
    },
}

/// What came of terminating an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// AWS was asked, and the desired capacity is one less.
    Requested,
    /// It was on its way out already: nothing was done.
    AlreadyGoing,
    /// It is not in the group any more: nothing was done.
    AlreadyGone,
}

/// What came of cancelling requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The desired capacity was lowered; no instance was there for the difference.
    Lowered {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// Nothing is outstanding, or the minimum forbids it.
    Nothing {
        /// The desired capacity.
        desired: u32,
    },
    /// Not now: being late costs nothing, an instance that arrives meanwhile would.
    Postponed(PostponedBecause),
}

/// Why a cancellation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostponedBecause {
    /// A launch is under way.
    Launching,
    /// The group's instances have changed a moment ago.
    Changing,
    /// More was asked for meanwhile, so what was to be taken back is not known any more.
    AskedAgain,
}

impl fmt::Display for PostponedBecause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Launching => "a launch is under way",
            Self::Changing => "the group's instances have changed a moment ago",
            Self::AskedAgain => "more was asked for meanwhile",
        })
    }
}

/// What came of deleting one of several instances.
#[derive(Debug)]
pub struct Deletion {
    /// Its provider id, as given.
    pub provider_id: String,
    /// What came of it.
    pub result: Result<Termination, ActionError>,
}

/// Why an act was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// No such group.
    #[error("`{group}` is not one of the cluster's groups, or does not exist on AWS")]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// Beyond a limit.
    #[error("`{group}` would go to {to}, over its maximum {max}")]
    OverMax {
        /// The group.
        group: String,
        /// The size wanted.
        to: i64,
        /// The limit.
        max: i64,
    },
    /// Below a limit. The text is the Go autoscaler's.
    #[error(
        "min size reached, nodes will not be deleted: `{group}` has {desired}, its minimum is {min}"
    )]
    AtMin {
        /// The group.
        group: String,
        /// Its desired capacity.
        desired: u32,
        /// The limit.
        min: i64,
    },
    /// The group is not to be touched.
    #[error("`{group}`: {reason}")]
    Held {
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// A provider id that is not AWS's.
    #[error("`{provider_id}` is not the provider id of an EC2 instance")]
    NotAnInstance {
        /// The text.
        provider_id: String,
    },
    /// An instance of another group.
    #[error("`{instance}` belongs to a different group than `{group}`: `{other}`")]
    OtherGroup {
        /// The instance.
        instance: String,
        /// The group given.
        group: String,
        /// The group that it is in.
        other: String,
    },
    /// AWS launched fewer instances than were asked for, and said so at once.
    #[error("`{group}` got {launched} of {requested} instances: {}", .failure.message)]
    Launch {
        /// The group.
        group: String,
        /// How many came.
        launched: u32,
        /// How many were asked for.
        requested: u32,
        /// Why no more.
        failure: LaunchFailure,
    },
    /// AWS failed or refused.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ActionError {
    /// A short code, for metrics and reports: AWS's where it is AWS's.
    pub fn code(&self) -> &str {
        match self {
            Self::UnknownGroup { .. } => "unknown-group",
            Self::OverMax { .. } => "max-size-reached",
            Self::AtMin { .. } => "min-size-reached",
            Self::Held { .. } => "group-held",
            Self::NotAnInstance { .. } => "not-an-instance",
            Self::OtherGroup { .. } => "other-group",
            Self::Launch { failure, .. } => failure.cause.code(),
            Self::Call(error) => error.code().unwrap_or("cloudProviderError"),
        }
    }

    /// Whether the group itself is in trouble, so that others should be tried first for a while.
    /// A limit that has moved is no such trouble.
    pub fn is_group_trouble(&self) -> bool {
        match self {
            Self::Call(error) => !error.is_transient(),
            Self::Held { .. } | Self::UnknownGroup { .. } | Self::Launch { .. } => true,
            Self::OverMax { .. }
            | Self::AtMin { .. }
            | Self::NotAnInstance { .. }
            | Self::OtherGroup { .. } => false,
        }
    }
}

/// The Go autoscaler's words, which people search their logs for.
fn say_size(group: &str, size: u32) {
    info!("Setting asg {group} size to {size}");
}

impl Aws {
    /// Asks for `to` nodes in a group. Never lowers: what AWS shows now is read first, for it may
    /// have been changed by others since the plan was made.
    pub async fn increase(&self, group: &str, to: i64) -> Result<Increase, ActionError> {
        self.increase_in(group, to, None).await
    }

    /// [`Self::increase`] with the new nodes in a certain zone, where AWS can be told (see
    /// [`windlass_model::GroupNotices::can_choose_zone`]).
    pub async fn increase_in(
        &self,
        group: &str,
        to: i64,
        zone: Option<&str>,
    ) -> Result<Increase, ActionError> {
        self.look(group).await?;
        let now = self.inner.client.now();
        let from = {
            let state = self.state();
            let seen = known(&state.groups, group)?;
            if let Some(reason) = seen.holds().scale_up {
                return Err(ActionError::Held {
                    group: group.to_owned(),
                    reason,
                });
            }
            // AWS enforces its own maximum, and a flag's may lie above it.
            let own = seen.description().map_or(0, |group| group.max_size);
            let max = seen.limits().max.min(i64::from(own));
            if max < to {
                return Err(ActionError::OverMax {
                    group: group.to_owned(),
                    to,
                    max,
                });
            }
            seen.desired()
        };
        let wanted = u32::try_from(to).unwrap_or(0);
        if wanted <= from {
            return Ok(Increase::AlreadyThere { desired: from });
        }
        if let Some(launched) = self.launch(group, from, wanted, zone).await {
            return launched;
        }
        let server_time = self.inner.client.server_time();
        say_size(group, wanted);
        let sent = self
            .inner
            .client
            .autoscaling()
            .set_desired_capacity(group, wanted)
            .await;
        let happened = sent.is_ok() || sent.as_ref().is_err_and(CallError::may_have_happened);
        if happened && let Some(seen) = self.state().groups.get_mut(group) {
            // Where the answer was lost, the next look tells; until then the larger number is the
            // one that buys nothing twice.
            seen.note_increase(OpenRequest {
                from,
                to: wanted,
                sent_at: now,
                server_time,
            });
        }
        sent?;
        info!(%group, from, to = wanted, "set desired capacity");
        Ok(Increase::Requested { from, to: wanted })
    }

    /// Terminates one instance of a group, by its provider id, with one less wanted after it.
    /// `floor` is the size that it may not go below.
    pub async fn terminate(
        &self,
        group: &str,
        provider_id: &str,
        floor: Floor,
    ) -> Result<Termination, ActionError> {
        let instance = ProviderId::parse(provider_id)
            .filter(|id| !id.is_placeholder())
            .ok_or_else(|| ActionError::NotAnInstance {
                provider_id: provider_id.to_owned(),
            })?
            .instance;
        let now = self.inner.client.now();
        let stale = {
            let state = self.state();
            later(known(&state.groups, group)?.described_at(), FRESH_ENOUGH) < now
        };
        if stale {
            self.look(group).await?;
        }
        if let Some(done) = self.reserve_termination(group, &instance, floor, now)? {
            return Ok(done);
        }
        let terminated = self
            .inner
            .client
            .autoscaling()
            .terminate_instance(&instance, Capacity::Decrement)
            .await;
        let error = match terminated {
            Ok(()) => {
                info!(%group, %instance, "terminating instance");
                self.force_refresh();
                return Ok(Termination::Requested);
            }
            Err(error) => error,
        };
        if error.may_have_happened() {
            return self.after_lost_answer(group, &instance, error).await;
        }
        if let Some(seen) = self.state().groups.get_mut(group) {
            seen.undo_termination(&instance);
        }
        self.force_refresh();
        // "Instance Id not found - No managed instance found for instance ID i-…".
        let says_gone = error
            .message()
            .is_some_and(|message| message.to_lowercase().contains("not found"));
        if error.class() == ErrorClass::NotFound
            || error.class() == ErrorClass::Invalid && says_gone
        {
            return Ok(Termination::AlreadyGone);
        }
        Err(error.into())
    }

    /// Checks a termination and notes it, in one step, so that several at once cannot together go
    /// below the floor. Gives the outcome if there is nothing to do.
    fn reserve_termination(
        &self,
        group: &str,
        instance: &str,
        floor: Floor,
        now: Timestamp,
    ) -> Result<Option<Termination>, ActionError> {
        let mut state = self.state();
        if let Some(other) = state
            .groups
            .iter()
            .find(|other| other.name() != group && other.instance(instance).is_some())
        {
            return Err(ActionError::OtherGroup {
                instance: instance.to_owned(),
                group: group.to_owned(),
                other: other.name().to_owned(),
            });
        }
        let seen = known(&state.groups, group)?;
        let Some(listed) = seen.instance(instance) else {
            return Ok(Some(Termination::AlreadyGone));
        };
        if seen.is_going(listed) {
            return Ok(Some(Termination::AlreadyGoing));
        }
        if let Some(reason) = seen.holds().scale_down {
            return Err(ActionError::Held {
                group: group.to_owned(),
                reason,
            });
        }
        if !seen.is_proven() {
            return Err(ActionError::Held {
                group: group.to_owned(),
                reason:
                    "no node of it was ever seen in this cluster: its instances may be another \
                         cluster's"
                        .to_owned(),
            });
        }
        if Lifecycle::of(listed) == Lifecycle::SetAside {
            return Err(ActionError::Held {
                group: group.to_owned(),
                reason: format!("`{instance}` is on standby"),
            });
        }
        let (desired, min) = (seen.desired(), seen.limits().min);
        if floor == Floor::GroupMinimum && i64::from(desired) <= min {
            return Err(ActionError::AtMin {
                group: group.to_owned(),
                desired,
                min,
            });
        }
        if let Some(seen) = state.groups.get_mut(group) {
            seen.note_termination(instance, now);
        }
        Ok(None)
    }

    /// A termination whose answer was lost is not repeated blindly: it would lower the desired
    /// capacity twice. The group tells whether it happened.
    async fn after_lost_answer(
        &self,
        group: &str,
        instance: &str,
        error: CallError,
    ) -> Result<Termination, ActionError> {
        let seen = self
            .describe_named(&[group.to_owned()])
            .await
            .ok()
            .and_then(|found| found.into_iter().next());
        let Some(seen) = seen else {
            // Nothing is known; the note of the termination stands until the next view, so that
            // nobody takes the instance for available.
            return Err(error.into());
        };
        let listed = seen
            .instances
            .iter()
            .find(|listed| listed.instance_id == instance);
        match listed {
            None => Ok(Termination::AlreadyGone),
            Some(listed) if Lifecycle::of(listed) == Lifecycle::Deleting => {
                Ok(Termination::Requested)
            }
            // It may be that AWS has not heard of it, or that its listing lags. The note of the
            // termination stands as long as a listing may lag, for a second call on an instance
            // that is going already would lower the desired capacity again.
            Some(_) => Err(error.into()),
        }
    }

    /// Deletes instances that never became nodes: real ones by their ids, placeholders by
    /// cancelling as many requests. Results come in the order given.
    pub async fn delete_instances(
        &self,
        group: &str,
        provider_ids: &[String],
        floor: Floor,
    ) -> (Vec<Deletion>, Option<Result<Cancellation, ActionError>>) {
        let (placeholders, instances): (Vec<&String>, Vec<&String>) = provider_ids
            .iter()
            .partition(|id| ProviderId::parse(id).is_some_and(|id| id.is_placeholder()));
        let instances: Vec<String> = instances.into_iter().cloned().collect();
        let deletions = stream::iter(instances)
            .map(|provider_id| async move {
                let result = self.terminate(group, &provider_id, floor).await;
                Deletion {
                    provider_id,
                    result,
                }
            })
            .buffered(TERMINATIONS_AT_ONCE)
            .collect()
            .await;
        let cancelled = match u32::try_from(placeholders.len()) {
            Ok(0) | Err(_) => None,
            Ok(count) => Some(self.cancel(group, count).await),
        };
        (deletions, cancelled)
    }

    /// Takes back requests that never became instances. The desired capacity never goes below the
    /// number of live instances, for AWS would then choose which of them dies, and would not
    /// drain it.
    ///
    /// Waits for a while, without a call, until the group has been steady for some seconds and no
    /// launch is under way: being late costs nothing, an instance that arrives meanwhile would.
    pub async fn cancel(&self, group: &str, requests: u32) -> Result<Cancellation, ActionError> {
        let turn = self.cancelling(group);
        let _one_at_a_time = turn.lock().await;
        let begun = self.inner.client.now();
        let open = known(&self.state().groups, group)?.request();
        loop {
            if let Some((because, pause)) = self.reason_to_wait(group)? {
                if later(begun, PATIENCE) <= later(self.inner.client.now(), pause) {
                    return Ok(Cancellation::Postponed(because));
                }
                tokio::time::sleep(pause.unsigned_abs()).await;
            }
            self.look(group).await?;
            if known(&self.state().groups, group)?.request() != open {
                return Ok(Cancellation::Postponed(PostponedBecause::AskedAgain));
            }
            if self.reason_to_wait(group)?.is_none() {
                break;
            }
        }
        let now = self.inner.client.now();
        let (from, to) = {
            let state = self.state();
            let seen = known(&state.groups, group)?;
            let from = seen.desired();
            let own = seen.description().map_or(0, |group| group.min_size);
            let min = u32::try_from(seen.limits().min).unwrap_or(0).max(own);
            let to = from.saturating_sub(requests).max(seen.least()).max(min);
            if from <= to {
                return Ok(Cancellation::Nothing { desired: from });
            }
            (from, to)
        };
        say_size(group, to);
        self.inner
            .client
            .autoscaling()
            .set_desired_capacity(group, to)
            .await?;
        if let Some(seen) = self.state().groups.get_mut(group) {
            seen.note_shrink(to, now);
        }
        info!(%group, from, to, "took back requests that were not met");
        // An instance may have slipped in between the look and the write.
        self.look(group).await?;
        let slipped = self
            .state()
            .groups
            .get(group)
            .and_then(crate::group::Group::slipped_in);
        if let Some(live) = slipped {
            self.raise_again(group, live, now).await?;
            return Ok(Cancellation::Lowered { from, to: live });
        }
        Ok(Cancellation::Lowered { from, to })
    }

    fn cancelling(&self, group: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self
            .inner
            .cancelling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(group.to_owned()).or_default())
    }

    /// Why a cancellation has to wait, and for how long at least.
    fn reason_to_wait(
        &self,
        group: &str,
    ) -> Result<Option<(PostponedBecause, Duration)>, ActionError> {
        let now = self.inner.client.now();
        let state = self.state();
        let seen = known(&state.groups, group)?;
        if seen.is_protected() {
            return Ok(None);
        }
        if seen.is_launching() {
            return Ok(Some((PostponedBecause::Launching, LAUNCH_PAUSE)));
        }
        let left = later(seen.steady_since(), STEADY).duration_since(now);
        Ok(left
            .is_positive()
            .then_some((PostponedBecause::Changing, left)))
    }

    /// Raises the desired capacity to the instances that are there.
    pub(super) async fn raise_again(
        &self,
        group: &str,
        live: u32,
        now: Timestamp,
    ) -> Result<(), CallError> {
        warn!(%group, live, "an instance arrived after its request was taken back: raising the desired capacity again, so that AWS terminates none");
        let server_time = self.inner.client.server_time();
        say_size(group, live);
        self.inner
            .client
            .autoscaling()
            .set_desired_capacity(group, live)
            .await?;
        if let Some(seen) = self.state().groups.get_mut(group) {
            seen.note_increase(OpenRequest {
                from: live,
                to: live,
                sent_at: now,
                server_time,
            });
        }
        Ok(())
    }

    /// Describes one group now.
    async fn look(&self, group: &str) -> Result<(), ActionError> {
        let name = [group.to_owned()];
        let acts = self.state().groups.acts();
        let asked_at = self.inner.client.now();
        let found = self.describe_named(&name).await?;
        let mut state = self.state();
        state.groups.named(&name, found, &acts, asked_at);
        Ok(())
    }
}

/// The size that a termination may not go below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// The group's minimum.
    GroupMinimum,
    /// None of ours; AWS still has the group's own.
    None,
}

fn known<'a>(
    groups: &'a crate::groups::Groups,
    name: &str,
) -> Result<&'a crate::group::Group, ActionError> {
    groups
        .get(name)
        .filter(|group| group.description().is_some())
        .ok_or_else(|| ActionError::UnknownGroup {
            group: name.to_owned(),
        })
}
