//! What is asked besides groups and templates: warm pools, instance refreshes, protection from
//! scale-in.

use jiff::Timestamp;
use tracing::warn;
use windlass_aws_client::CallError;
use windlass_aws_client::autoscaling::{InstanceRefresh, WarmPool};
use windlass_model::Duration;

use super::templates::{ask, keep};
use super::{Aws, RefreshReport, State};
use crate::condition::{Condition, ConditionKind};
use crate::lifecycle::Lifecycle;
use crate::memo::Memo;

/// How long what a warm pool holds is good for.
const WARM_POOL: Duration = Duration::from_mins(5);
/// How long it is good whether a group's instances are being refreshed: asked with every listing.
const REFRESHES: Duration = Duration::from_secs(50);
/// Groups about whose refreshes it is asked again with one listing, at most.
const REFRESHES_AT_ONCE: usize = 4;
/// Groups whose new instances are protected with one listing, at most.
const PROTECTED_AT_ONCE: usize = 10;
/// How long protection is not tried after it was refused.
const REFUSED: Duration = Duration::from_hours(1);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Extras {
    warm_pools: Memo<WarmPool>,
    /// Whether an instance refresh is under way, of groups that are restless.
    refreshes: Memo<bool>,
    /// Until when instances are not protected, because that was refused, and why.
    unprotected: Option<(Timestamp, String)>,
}

impl Extras {
    /// What people should know of it about a group.
    pub(super) fn troubles(&self, group: &str) -> Vec<Condition> {
        let pool = self
            .warm_pools
            .trouble(group)
            .map(|trouble| format!("its warm pool cannot be looked at: {trouble}"));
        let refreshes = self.refreshes.trouble(group).map(|trouble| {
            format!("whether its instances are being refreshed is not known: {trouble}")
        });
        let protection = self
            .unprotected
            .as_ref()
            .map(|(_, trouble)| format!("its instances are not protected: {trouble}"));
        pool.into_iter()
            .chain(refreshes)
            .chain(protection)
            .map(|text| ConditionKind::Unanswered.with(text))
            .collect()
    }
}

impl Aws {
    pub(super) async fn refresh_extras(&self, now: Timestamp, report: &mut RefreshReport) {
        self.ask_warm_pools(now, report).await;
        self.ask_refreshes(now, report).await;
        if self.inner.actions.protect_from_scale_in {
            self.protect(now, report).await;
        }
    }

    async fn ask_warm_pools(&self, now: Timestamp, report: &mut RefreshReport) {
        let due = {
            let mut state = self.state();
            let names: Vec<String> = state
                .groups
                .iter()
                .filter(|group| {
                    group
                        .description()
                        .is_some_and(|group| group.warm_pool_configuration.is_some())
                })
                .map(|group| group.name().to_owned())
                .collect();
            state.extras.warm_pools.due(names, 1, now)
        };
        let autoscaling = self.inner.client.autoscaling();
        let answers = ask(due, |group| {
            let group = group.to_owned();
            async move { autoscaling.describe_warm_pool(&group).await.map(Some) }
        })
        .await;
        let mut state = self.state();
        for (group, answer) in answers {
            if let Ok(Some(pool)) = &answer {
                let ids = pool
                    .instances
                    .iter()
                    .filter(|instance| Lifecycle::of(instance) == Lifecycle::Warm)
                    .map(|instance| instance.instance_id.clone());
                state.groups.note_warm_pool(&group, ids);
            }
            keep(
                &mut state.extras.warm_pools,
                group,
                answer,
                now,
                WARM_POOL,
                report,
            );
        }
    }

    /// Asks whether instances are being refreshed, where one has left that we had not ended: a
    /// refresh shows in no listing, and to ask about every group would cost more than all else.
    async fn ask_refreshes(&self, now: Timestamp, report: &mut RefreshReport) {
        let due = {
            let mut state = self.state();
            let restless: Vec<String> = state
                .groups
                .iter()
                .filter(|group| group.is_restless(now))
                .map(|group| group.name().to_owned())
                .collect();
            state.extras.refreshes.due(restless, REFRESHES_AT_ONCE, now)
        };
        let autoscaling = self.inner.client.autoscaling();
        let answers = ask(due, |group| {
            let group = group.to_owned();
            async move {
                let refreshes = autoscaling.describe_instance_refreshes(&group).await?;
                Ok(Some(refreshes.iter().any(InstanceRefresh::is_under_way)))
            }
        })
        .await;
        let mut state = self.state();
        let State { groups, extras, .. } = &mut *state;
        for (group, answer) in answers {
            let is_refreshing = match &answer {
                Ok(answer) => Some(answer.unwrap_or(false)),
                // Whoever may not look is not to hold the group for what was once seen.
                Err(error) => error.is_denied().then_some(false),
            };
            if let (Some(is_refreshing), Some(group)) = (is_refreshing, groups.get_mut(&group)) {
                group.set_refreshing(is_refreshing);
            }
            keep(&mut extras.refreshes, group, answer, now, REFRESHES, report);
        }
    }

    /// Protects instances that are not, so that AWS can choose none of them. Nothing is done to
    /// groups that may be another cluster's.
    async fn protect(&self, now: Timestamp, report: &mut RefreshReport) {
        let due: Vec<(String, Vec<String>)> = {
            let state = self.state();
            if state
                .extras
                .unprotected
                .as_ref()
                .is_some_and(|(until, _)| now < *until)
            {
                return;
            }
            state
                .groups
                .iter()
                .filter(|group| group.is_proven())
                .filter_map(|group| {
                    let bare: Vec<String> = group
                        .description()?
                        .instances
                        .iter()
                        .filter(|instance| Lifecycle::of(instance) == Lifecycle::Running)
                        .filter(|instance| !instance.protected_from_scale_in)
                        .map(|instance| instance.instance_id.clone())
                        .collect();
                    (!bare.is_empty()).then(|| (group.name().to_owned(), bare))
                })
                .take(PROTECTED_AT_ONCE)
                .collect()
        };
        for (group, instances) in due {
            let protected = self
                .inner
                .client
                .autoscaling()
                .protect_instances(&group, &instances)
                .await;
            let mut state = self.state();
            match protected {
                Ok(()) => state.extras.unprotected = None,
                Err(error) => {
                    if error.is_denied() {
                        note_refusal(&mut state.extras.unprotected, &error, now);
                    }
                    report.template_errors.push(error);
                    return;
                }
            }
        }
    }
}

fn note_refusal(unprotected: &mut Option<(Timestamp, String)>, error: &CallError, now: Timestamp) {
    if unprotected.is_none() {
        warn!(%error, "instances cannot be protected from scale-in: trying again in an hour");
    }
    *unprotected = Some((crate::schedule::later(now, REFUSED), error.to_string()));
}
