//! What the group is told: by its lifecycle hook, else by the instance's health.

use std::convert::Infallible;
use std::time::Duration;

use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::LifecycleResult;
use windlass_provision::join::{HookConfig, Identity, OnFailureSetting};

use super::{Context, Joined, Stop, kubeadm};

const HEARTBEAT: Duration = Duration::from_mins(1);

/// Tells the lifecycle hook once a minute that the join is at work, as long as it is polled.
pub(super) async fn heartbeat(
    context: &Context<'_>,
    identity: &Identity,
    client: &Client,
) -> Infallible {
    let Some(HookConfig {
        auto_scaling_group,
        name,
    }) = &context.config.lifecycle_hook
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if context.dry_run {
            continue;
        }
        let told = client
            .autoscaling()
            .record_lifecycle_action_heartbeat(auto_scaling_group, name, &identity.instance_id)
            .await;
        if let Err(error) = told {
            context
                .report
                .say(&format!("the lifecycle hook was not told: {error}"));
        }
    }
}

pub(super) async fn tell_group(
    context: &Context<'_>,
    identity: &Identity,
    client: &Client,
    result: &Result<Joined, Stop>,
) {
    let id = &identity.instance_id;
    let told = match (&context.config.lifecycle_hook, result) {
        // Also where it had joined before: the run that joined may have been killed before it
        // came to say so.
        (
            Some(HookConfig {
                auto_scaling_group,
                name,
            }),
            _,
        ) => {
            let outcome = match result {
                Ok(_) => LifecycleResult::Continue,
                Err(_) => LifecycleResult::Abandon,
            };
            client
                .autoscaling()
                .complete_lifecycle_action(auto_scaling_group, name, id, outcome)
                .await
        }
        (None, Ok(_)) => return,
        (None, Err(_)) => match context.config.on_failure {
            OnFailureSetting::Keep => return,
            OnFailureSetting::Unhealthy => client.autoscaling().set_instance_unhealthy(id).await,
            OnFailureSetting::Terminate => {
                context.report.say("powering off");
                if let Err(error) = kubeadm::power_off(context.paths).await {
                    context.report.say(&format!("cannot power off: {error}"));
                }
                return;
            }
        },
    };
    if let Err(error) = told {
        context
            .report
            .say(&format!("the group could not be told: {error}"));
    }
}
