//! Growing a group by the call that says at once what came of it.

use jiff::Timestamp;
use tracing::{debug, info, warn};
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_aws_client::{CallError, ErrorClass};
use windlass_config::AwsLaunchApi;

use super::{ActionError, Aws, Increase};
use crate::activity::{FailureCause, LaunchFailure};
use crate::group::{Group, OpenRequest};
use crate::launch::{Launch, Source};

/// Most instances in one call.
const AT_ONCE: u32 = 100;

impl Aws {
    /// Grows a group by `LaunchInstances`, where that is wished and the group allows it; none where
    /// `SetDesiredCapacity` is to be called instead. What AWS has none of does not enter the
    /// desired capacity, so nothing has to be taken back.
    pub(super) async fn launch(
        &self,
        group: &str,
        from: u32,
        to: u32,
        zone: Option<&str>,
    ) -> Option<Result<Increase, ActionError>> {
        if self.inner.actions.launch_api != AwsLaunchApi::LaunchInstances {
            return None;
        }
        let zone = self.launch_zone(group, zone)?;
        let mut size = from;
        let mut failure = None;
        while size < to && failure.is_none() {
            let count = (to - size).min(AT_ONCE);
            let server_time = self.inner.client.server_time();
            let sent_at = self.inner.client.now();
            let token = format!("windlass-{:032x}", rand::random::<u128>());
            let launched = self
                .inner
                .client
                .autoscaling()
                .launch_instances(group, count, &zone, &token)
                .await;
            let outcome = match launched {
                Ok(outcome) => outcome,
                Err(error) if size == from && is_not_for_us(&error) => {
                    if let Some(seen) = self.state().groups.get_mut(group) {
                        seen.note_launch_refusal(sent_at);
                    }
                    debug!(%group, %error, "LaunchInstances is refused: setting the desired capacity instead");
                    return None;
                }
                Err(error) => return Some(Err(error.into())),
            };
            let came = outcome
                .instances
                .iter()
                .map(|launched| launched.instance_ids.len())
                .sum::<usize>();
            size = size.saturating_add(u32::try_from(came).unwrap_or(u32::MAX));
            if 0 < came
                && let Some(seen) = self.state().groups.get_mut(group)
            {
                seen.note_increase(OpenRequest {
                    from,
                    to: size,
                    sent_at,
                    server_time,
                });
            }
            failure = outcome.errors.first().map(|error| {
                let message = format!("{}: {}", error.error_code, error.error_message);
                LaunchFailure {
                    cause: FailureCause::of(&message),
                    message,
                    at: server_time,
                }
            });
            if came == 0 && failure.is_none() {
                warn!(%group, "LaunchInstances brought neither instances nor an error");
                break;
            }
        }
        info!(%group, from, to = size, wanted = to, "launched instances");
        let Some(failure) = failure else {
            return Some(Ok(Increase::Requested { from, to: size }));
        };
        let now = self.inner.client.now();
        let mut state = self.state();
        state.launch_failures.push(failure.cause);
        if let Some(sources) = state.groups.get(group).map(|group| group.sources().clone()) {
            state.shortages.note(&sources, &failure, now);
        }
        Some(Err(ActionError::Launch {
            group: group.to_owned(),
            launched: size - from,
            requested: to - from,
            failure,
        }))
    }

    /// The zone to launch in: the one that is wished for, else the one with the fewest instances;
    /// none where the call is not allowed.
    fn launch_zone(&self, group: &str, wished: Option<&str>) -> Option<String> {
        let state = self.state();
        let description = state.groups.get(group)?.description()?;
        if !is_eligible(description) {
            return None;
        }
        let zones = &description.availability_zones;
        let wished = zones.iter().find(|zone| Some(zone.as_str()) == wished);
        wished.cloned().or_else(|| emptiest_zone(description))
    }

    /// Whether AWS can be told in which zone a group's next instances are to be.
    pub(super) fn can_choose_zone(&self, group: &Group, now: Timestamp) -> bool {
        self.inner.actions.launch_api == AwsLaunchApi::LaunchInstances
            && group.description().is_some_and(is_eligible)
            && !group.refuses_launches(now)
    }
}

/// AWS's guide wants a launch template, and a policy that is all on demand or all spot.
fn is_eligible(group: &AutoScalingGroup) -> bool {
    Launch::of(group).is_ok_and(|launch| {
        matches!(launch.source, Source::Template(_))
            && matches!(launch.spot_percent, None | Some(0 | 100))
            && group.warm_pool_configuration.is_none()
    })
}

fn emptiest_zone(group: &AutoScalingGroup) -> Option<String> {
    group
        .availability_zones
        .iter()
        .min_by_key(|zone| {
            let inside = group
                .instances
                .iter()
                .filter(|instance| instance.availability_zone == **zone);
            inside.count()
        })
        .cloned()
}

/// The caller may not make this call, or not for this group.
fn is_not_for_us(error: &CallError) -> bool {
    matches!(
        error.class(),
        ErrorClass::Denied | ErrorClass::Invalid | ErrorClass::Other
    )
}
