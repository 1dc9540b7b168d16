//! The role of the instance that builds: made where there is none.

use windlass_aws_client::Client;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::iam::Actor;
use windlass_provision::provision::execute::Executor;
use windlass_provision::provision::plan::{self, Allowed, Change};
use windlass_provision::provision::{advice, builder};

use super::advised;
use crate::output;

/// Makes the builder's role and instance profile, or what is missing of them. One that somebody
/// else has made is taken as it is.
pub(super) async fn ensure(client: &Client, config: &ClusterConfig) -> anyhow::Result<()> {
    if builder::role_name(config).is_none() {
        return Ok(());
    }
    let observed = match builder::observe(client, config).await {
        Ok(observed) => observed,
        // Who may build need not be who may look at roles: the launch tells whether it is there.
        Err(error) if error.is_denied() => {
            output::talk(&format!(
                "going on without a look at the builder's role: {error}"
            ));
            return Ok(());
        }
        Err(error) => return Err(advised(error)),
    };
    let cluster = config.spec.cluster.as_str();
    if observed.values().any(|it| it.owner() != Some(cluster)) {
        return Ok(());
    }
    let caller = client.sts().get_caller_identity().await.map_err(advised)?;
    let desired = builder::desired(config, &caller.account);
    let plan = plan::plan(cluster, &desired, &observed, Allowed::default());
    let executor = Executor {
        client,
        kms_key: None,
        report: &|change: &Change| output::talk(&format!("made {}", change.id)),
    };
    let done = executor.execute(&plan, &desired, &observed).await;
    done.map_err(|error| {
        let call = error.call();
        let hint = call.map(|call| advice::advice(call, Actor::AmiBuilder));
        let hint = hint.unwrap_or_default();
        anyhow::Error::new(error).context(format!(
            "the builder has no role; hint: {hint}, or name an instance profile of your own in \
             spec.ami.builder.instanceProfile"
        ))
    })
}
