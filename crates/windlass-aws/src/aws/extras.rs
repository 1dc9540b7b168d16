//! What is asked besides groups and templates: warm pools, protection from scale-in.

use jiff::Timestamp;
use tracing::warn;
use windlass_aws_client::CallError;
use windlass_aws_client::autoscaling::WarmPool;
use windlass_model::Duration;

use super::templates::{ask, keep};
use super::{Aws, RefreshReport};
use crate::lifecycle::Lifecycle;
use crate::memo::Memo;

/// How long what a warm pool holds is good for.
const WARM_POOL: Duration = Duration::from_mins(5);
/// Groups whose new instances are protected with one listing, at most.
const PROTECTED_AT_ONCE: usize = 10;
/// How long protection is not tried after it was refused.
const REFUSED: Duration = Duration::from_hours(1);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Extras {
    warm_pools: Memo<WarmPool>,
    /// Until when instances are not protected, because that was refused, and why.
    unprotected: Option<(Timestamp, String)>,
}

impl Extras {
    /// What people should know of it about a group.
    pub(super) fn troubles(&self, group: &str) -> Vec<String> {
        let pool = self
            .warm_pools
            .trouble(group)
            .map(|trouble| format!("its warm pool cannot be looked at: {trouble}"));
        let protection = self
            .unprotected
            .as_ref()
            .map(|(_, trouble)| format!("its instances are not protected: {trouble}"));
        pool.into_iter().chain(protection).collect()
    }
}

impl Aws {
    pub(super) async fn refresh_extras(&self, now: Timestamp, report: &mut RefreshReport) {
        self.ask_warm_pools(now, report).await;
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
