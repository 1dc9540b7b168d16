//! `windlass provision migrate --prune`: deletes the launch configurations that groups had before
//! their launch templates.

use std::process::ExitCode;

use anyhow::bail;
use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::provision::prune::{self, Fate, Former};
use windlass_provision::provision::{FORMER_TAG, OWNER_TAG, ResourceKind, observe};

use super::{ApplyArgs, advised, aws_names, connect, with_lock};
use crate::output;

/// Of all groups of the cluster, or of one by its name in the file.
pub(super) async fn prune(args: &ApplyArgs, group: Option<&str>) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = connect(&config).await?;
    let work = Box::pin(async {
        let former = former(&client, &config, group).await?;
        if former.is_empty() {
            output::talk(
                "There is nothing left to delete: no group is known to have had another launch \
                 configuration before.",
            );
            return Ok(ExitCode::SUCCESS);
        }
        for one in &former {
            output::talk(&one.to_string());
        }
        let staying = former.iter().filter(|it| matches!(it.fate, Fate::Stays(_)));
        let count = staying.count();
        if 0 < count {
            bail!(
                "{count} of {} launch configurations are needed still (marked `!`): nothing was \
                 deleted; --group deletes that of one group alone",
                former.len()
            );
        }
        if !args.yes && !output::confirmed("Delete this?")? {
            bail!("nothing was deleted");
        }
        for one in &former {
            delete(&client, one).await?;
        }
        output::talk("Done.");
        Ok(ExitCode::SUCCESS)
    });
    with_lock(&client, &config, &args.lock, work).await
}

async fn former(
    client: &Client,
    config: &ClusterConfig,
    group: Option<&str>,
) -> anyhow::Result<Vec<Former>> {
    let named = match group {
        None => None,
        Some(group) => {
            let zones = observe::zones(client, config).await.map_err(advised)?;
            Some(aws_names(config, &zones, group)?)
        }
    };
    let autoscaling = client.autoscaling();
    let groups = autoscaling.describe_all_groups().await.map_err(advised)?;
    let cluster = &config.spec.cluster;
    for name in named.iter().flatten() {
        refuse_unmoved(cluster, name, &groups)?;
    }
    let meant = |name: &str| {
        named
            .as_ref()
            .is_none_or(|it| it.iter().any(|it| it == name))
    };
    let recorded = prune::recorded(cluster, &groups, meant);
    if recorded.is_empty() {
        // No name at all would ask for all that there are.
        return Ok(Vec::new());
    }
    let former: Vec<String> = recorded.keys().cloned().collect();
    let found = autoscaling.launch_configurations(&former).await;
    let are_there = found.map_err(advised)?.into_iter().map(|it| it.name);
    Ok(prune::former(recorded, &groups, &are_there.collect()))
}

/// A group that is asked about by its name has to be one that was moved.
fn refuse_unmoved(cluster: &str, name: &str, groups: &[AutoScalingGroup]) -> anyhow::Result<()> {
    let kind = ResourceKind::AutoScalingGroup;
    let Some(group) = groups.iter().find(|it| it.name == name) else {
        bail!("there is no {kind} `{name}`");
    };
    if group.tag(OWNER_TAG) != Some(cluster) {
        bail!("{kind} `{name}` is not of cluster `{cluster}`");
    }
    if group.tag(FORMER_TAG).is_none()
        && let Some(configuration) = group.next_launch_configuration()
    {
        bail!(
            "{kind} `{name}` has launch configuration `{configuration}` itself: `windlass provision \
             migrate` moves it to a template first"
        );
    }
    Ok(())
}

/// The tags go last: a run that ends between the two is finished by the next.
async fn delete(client: &Client, former: &Former) -> anyhow::Result<()> {
    let Former { name, groups, fate } = former;
    let autoscaling = client.autoscaling();
    if *fate == Fate::Goes {
        let deleted = autoscaling.delete_launch_configuration(name).await;
        deleted.map_err(advised)?;
        let kind = ResourceKind::LaunchConfiguration;
        output::talk(&format!("deleted {kind} `{name}`"));
    }
    for group in groups {
        let tags = [FORMER_TAG.to_owned()];
        let forgotten = autoscaling.delete_tags(group, &tags).await;
        forgotten.map_err(advised)?;
    }
    Ok(())
}
