//! Keeping the view of the groups fresh.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tracing::{debug, info, warn};
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_aws_client::{CallError, ErrorClass};
use windlass_model::Duration;

use super::{Aws, State};
use crate::activity::{LaunchFailure, launch_failure};
use crate::discovery::describe;
use crate::schedule::ListingSchedule;
use crate::shortage::Pool;

/// Groups whose activities are read at the same time, and at most in one refresh: the first in
/// need come first, the others in the next, a second later.
const ACTIVITIES_AT_ONCE: usize = 4;
const ACTIVITIES_PER_REFRESH: usize = 12;

/// How much earlier than the request, by AWS's clock, an activity may have begun that belongs to
/// it: that clock is known by the `Date` of its answers, to the second.
const CLOCK_MARGIN: Duration = Duration::from_secs(2);

/// What a refresh did and found.
#[derive(Debug, Default)]
pub struct RefreshReport {
    /// Whether all groups were listed.
    pub listed: bool,
    /// The groups that were looked at on their own account.
    pub polled: Vec<String>,
    /// Launches that were found to fail and were not known to.
    pub failures: Vec<(String, LaunchFailure)>,
    /// Groups whose desired capacity was raised again, because an instance slipped in after a
    /// request had been cancelled, and AWS would have picked a victim.
    pub raised_again: Vec<(String, u32)>,
    /// The queries of discovery that no group answers to, in words.
    pub fruitless: Vec<String>,
    /// Discovery found nothing where it had found groups; the groups are kept for now.
    pub suspiciously_empty: bool,
    /// What went wrong. What is not concerned by it is fresh all the same.
    pub errors: Vec<CallError>,
    /// What went wrong in finding out what new nodes would look like. Groups keep the last
    /// template that was good.
    pub template_errors: Vec<CallError>,
}

impl Aws {
    /// Brings the view up to date, as far as that is due: all groups every minute, those with
    /// instances outstanding every second at first. Costs no call when nothing is due, so it may
    /// be called at every loop. An error leaves the last good view in place.
    pub async fn refresh(&self) -> RefreshReport {
        let _one_at_a_time = self.inner.refreshing.lock().await;
        let now = self.inner.client.now();
        let mut report = RefreshReport::default();
        if self.state().listing.is_due(now) {
            self.list(now, &mut report).await;
        } else {
            let due = self.state().groups.due_polls(now);
            if !due.is_empty() {
                self.poll(due, now, &mut report).await;
            }
        }
        self.note_arrivals();
        if report.listed || !report.polled.is_empty() {
            self.say_outstanding();
            self.read_activities(now, &mut report).await;
            self.undo_slips(now, &mut report).await;
        }
        if report.listed {
            self.refresh_templates(now, &mut report).await;
            self.refresh_extras(now, &mut report).await;
        }
        report
    }

    /// Makes the next refresh list all groups.
    pub fn force_refresh(&self) {
        self.state().listing.force();
    }

    async fn list(&self, now: Timestamp, report: &mut RefreshReport) {
        let (names, queries, acts) = {
            let state = self.state();
            let membership = state.groups.membership();
            (
                membership.names(),
                membership.queries().to_vec(),
                state.groups.acts(),
            )
        };
        // Here and below: the Go autoscaler's words, which people search their logs for.
        debug!("Regenerating instance to ASG map for ASG names: {names:?}");
        let autoscaling = self.inner.client.autoscaling();
        let (described, found) = futures::join!(
            self.describe_named(&names),
            futures::future::try_join_all(
                queries
                    .iter()
                    .map(|tags| autoscaling.describe_groups_by_tags(tags))
            )
        );
        let mut state = self.state();
        match described {
            Ok(described) => state.groups.named(&names, described, &acts, now),
            Err(error) => report.errors.push(error),
        }
        match found {
            Ok(found) => {
                let answered = queries.iter().zip(&found);
                report.fruitless = answered
                    .filter(|(_, found)| found.is_empty())
                    .map(|(tags, _)| describe(tags))
                    .collect();
                let taken = queries.is_empty()
                    || state
                        .groups
                        .discovered(found.into_iter().flatten().collect(), &acts, now);
                report.suspiciously_empty = !taken;
            }
            Err(error) => report.errors.push(error),
        }
        if report.errors.is_empty() {
            report.listed = true;
            state.listing.succeeded(now);
            let next = state.listing.due().unwrap_or(now);
            debug!("Refreshed ASG list, next refresh after {next}");
            if !report.suspiciously_empty {
                state.listed_at = Some(now);
            }
        } else {
            state.listing.failed(now, rand::random::<f64>());
        }
    }

    /// Describes groups by name. A name that AWS refuses must not hide the others, so a batch
    /// that is refused is asked for one by one.
    pub(super) async fn describe_named(
        &self,
        names: &[String],
    ) -> Result<Vec<AutoScalingGroup>, CallError> {
        let autoscaling = self.inner.client.autoscaling();
        match autoscaling.describe_groups_by_name(names).await {
            Err(error) if error.class() == ErrorClass::Invalid && names.len() > 1 => {
                let mut groups = Vec::new();
                for name in names {
                    match autoscaling
                        .describe_groups_by_name(std::slice::from_ref(name))
                        .await
                    {
                        Ok(found) => groups.extend(found),
                        Err(error) if error.class() == ErrorClass::Invalid => {
                            warn!(group = %name, %error, "AWS refuses this group's name");
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(groups)
            }
            other => other,
        }
    }

    /// A pool that gives instances is not short.
    fn note_arrivals(&self) {
        let mut state = self.state();
        let State {
            groups,
            shortages,
            on_their_way,
            ..
        } = &mut *state;
        for arrival in groups.take_arrivals() {
            if let Some(requested_at) = arrival.requested_at {
                on_their_way.list(&arrival.instance, requested_at, arrival.at);
            }
            let Some(group) = groups.get(&arrival.group) else {
                continue;
            };
            let pools: Vec<&Pool> = group
                .sources()
                .pools
                .iter()
                .filter(|pool| pool.zone == arrival.zone)
                .filter(|pool| Some(&pool.instance_type) == arrival.instance_type.as_ref())
                .collect();
            // Where both markets come into question, nobody tells which it was.
            if let [pool] = pools[..] {
                shortages.relieve(pool);
            }
        }
    }

    async fn poll(&self, due: Vec<String>, now: Timestamp, report: &mut RefreshReport) {
        let acts = self.state().groups.acts();
        let described = self.describe_named(&due).await;
        let mut state = self.state();
        for name in &due {
            if let Some(group) = state.groups.get_mut(name) {
                group.note_poll(now);
            }
        }
        match described {
            Ok(described) => {
                state.groups.named(&due, described, &acts, now);
                report.polled = due;
            }
            Err(error) => report.errors.push(error),
        }
    }

    fn say_outstanding(&self) {
        for group in self.state().groups.iter() {
            if 0 < group.outstanding() {
                debug!(
                    "Instance group {} has only {} instances created while requested count is {}. \
                     Creating placeholder instances.",
                    group.name(),
                    group.live(),
                    group.desired()
                );
            }
        }
    }

    /// Finds out why instances that were asked for do not come.
    async fn read_activities(&self, now: Timestamp, report: &mut RefreshReport) {
        let mut outstanding: Vec<(Timestamp, String, Timestamp)> = {
            let state = self.state();
            if !state.activities.is_due(now) {
                return;
            }
            state
                .groups
                .iter()
                .filter(|group| group.outstanding() > 0)
                .map(|group| {
                    let since = group.request().map_or(state.started_at, |request| {
                        let margin = request.server_time.checked_sub(CLOCK_MARGIN);
                        margin.unwrap_or(request.server_time)
                    });
                    let asked = group.activities_read_at().unwrap_or(Timestamp::MIN);
                    (asked, group.name().to_owned(), since.max(state.started_at))
                })
                .collect()
        };
        outstanding.sort();
        outstanding.truncate(ACTIVITIES_PER_REFRESH);
        let autoscaling = self.inner.client.autoscaling();
        let answers: Vec<_> = stream::iter(outstanding)
            .map(|(_, name, since)| async move {
                let activities = autoscaling.describe_scaling_activities(&name, since).await;
                (name, since, activities)
            })
            .buffer_unordered(ACTIVITIES_AT_ONCE)
            .collect()
            .await;
        let mut state = self.state();
        let State {
            groups,
            shortages,
            activities,
            launch_failures,
            ..
        } = &mut *state;
        let mut throttled = false;
        for (name, since, answer) in answers {
            let Some(group) = groups.get_mut(&name) else {
                continue;
            };
            match answer {
                Ok(found) => {
                    let found = group.relevant(found);
                    let failure = launch_failure(&found, since);
                    if let Some(failure) = &failure
                        && group.failure() != Some(failure)
                    {
                        info!(group = %name, cause = failure.cause.code(), message = %failure.message, "launch failed");
                        warn!("Instance group {name} cannot provision any more nodes!");
                        shortages.note(group.sources(), failure, now);
                        launch_failures.push(failure.cause);
                        report.failures.push((name, failure.clone()));
                    }
                    group.note_activities(failure, &found, now);
                }
                // Not knowing is not failing: the instances are taken to be on their way.
                Err(error) => {
                    throttled |= error.is_throttling();
                    report.errors.push(error);
                }
            }
        }
        if throttled {
            activities.failed(now, rand::random::<f64>());
        } else {
            *activities = ListingSchedule::default();
        }
        report.failures.sort_by(|one, other| one.0.cmp(&other.0));
    }

    /// Raises the desired capacity of groups that have more instances than we have asked for.
    async fn undo_slips(&self, now: Timestamp, report: &mut RefreshReport) {
        let slips: Vec<(String, u32)> = self
            .state()
            .groups
            .iter()
            .filter_map(|group| Some((group.name().to_owned(), group.slipped_in()?)))
            .collect();
        for (name, live) in slips {
            match self.raise_again(&name, live, now).await {
                Ok(()) => report.raised_again.push((name, live)),
                Err(error) => report.errors.push(error),
            }
        }
    }
}
