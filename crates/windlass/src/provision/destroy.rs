//! `windlass provision destroy`: deletes what carries the cluster's tag.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::time::Instant;
use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::{AutoScalingGroup, GroupSpecification};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::provision::plan::{self, Action, KeyFate, Plan, Resources};
use windlass_provision::provision::{Resource, ResourceKind, observe};

use super::drain::{self, DrainArgs, Drainer};
use super::nodes::{Nodes, Reserved};
use super::{Ground, LockArgs, advised, carry_out, connect, only_group, with_lock};
use crate::cluster_file::ConfigArgs;
use crate::output;

/// How long ended instances may take to leave their group.
const GONE_TIMEOUT: Duration = Duration::from_mins(15);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a command's switches, each read in one place"
)]
pub(super) struct DestroyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Delete one node group alone, by its name in the file or its former one.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Drain the nodes of groups that still have instances first, within disruption budgets, and end
    /// each instance once its pods have left it.
    #[arg(long)]
    drain: bool,
    /// Delete groups that still have instances, and these with them: nothing is drained. With
    /// --drain: also end pods that nobody makes again, and those that say they are not safe to evict.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    draining: DrainArgs,
    /// Also have AWS delete the join credential's key, 30 days from now. Without it the key stays.
    #[arg(long, conflicts_with = "group")]
    schedule_key_deletion: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    lock: LockArgs,
}

pub(super) async fn destroy(args: &DestroyArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = connect(&config).await?;
    if args.drain {
        empty_groups(args, &config, &client).await?;
    }
    let work = Box::pin(async {
        let observed = observed(args, &config, &client).await?;
        let mut fate = KeyFate::Scheduled;
        if args.group.is_none() && !args.schedule_key_deletion {
            fate = KeyFate::Kept;
            tell_of_kept_keys(&config, &observed);
        }
        let plan = plan::destruction(&config.spec.cluster, &observed, fate);
        if plan.is_empty() {
            output::talk("There is nothing to delete.");
            return Ok(ExitCode::SUCCESS);
        }
        output::talk(plan.to_text().trim_end());
        // An instance that has come since the drain is nobody's to end undrained.
        let may_have_instances = args.force && !args.drain;
        if !may_have_instances {
            refuse_instances(&plan, &observed)?;
        }
        if !args.yes && !output::confirmed("Delete this?")? {
            bail!("nothing was deleted");
        }
        let ground = Ground {
            config: config.clone(),
            client: client.clone(),
            desired: Resources::new(),
            observed,
        };
        carry_out(&ground, &plan).await?;
        output::talk("Done.");
        Ok(ExitCode::SUCCESS)
    });
    with_lock(&client, &config, &args.lock, work).await
}

/// What there is of what is to be deleted.
async fn observed(
    args: &DestroyArgs,
    config: &ClusterConfig,
    client: &Client,
) -> anyhow::Result<Resources> {
    let zones = observe::zones(client, config).await.map_err(advised)?;
    let observed = observe::observe(client, config, &zones).await;
    let mut observed = observed.map_err(advised)?;
    let stray = observe::stray_configurations(client, config).await;
    observed.extend(stray.map_err(advised)?);
    match &args.group {
        Some(group) => only_group(config, group, observed),
        None => Ok(observed),
    }
}

/// A key that stays costs money, and whoever does not know of it pays for ever.
fn tell_of_kept_keys(config: &ClusterConfig, observed: &Resources) {
    for (id, found) in observed {
        if id.kind == ResourceKind::Key && found.owner() == Some(&config.spec.cluster) {
            output::talk(&format!(
                "{id} stays: what it has encrypted would be lost for ever. With \
                 --schedule-key-deletion AWS deletes it in {} days.",
                plan::KEY_DELETION_DAYS
            ));
        }
    }
}

/// Instances run pods; ending them without a drain has to be asked for.
fn refuse_instances(plan: &Plan, observed: &Resources) -> anyhow::Result<()> {
    for change in &plan.changes {
        if change.action == Action::Destroy
            && let Some(Resource::Group(group)) = observed.get(&change.id)
            && 0 < group.instances
        {
            bail!(
                "{} has {} instances: have their nodes drained with --drain, or end them as they \
                 are with --force",
                change.id,
                group.instances
            );
        }
    }
    Ok(())
}

/// Takes all instances out of the groups that are to be deleted.
async fn empty_groups(
    args: &DestroyArgs,
    config: &ClusterConfig,
    client: &Client,
) -> anyhow::Result<()> {
    let cluster = &config.spec.cluster;
    let observed = observed(args, config, client).await?;
    let full = observed.iter().filter_map(|(id, found)| match found {
        Resource::Group(group) if found.owner() == Some(cluster) && 0 < group.instances => {
            Some((&id.name, group.instances))
        }
        _ => None,
    });
    let full: Vec<(&String, usize)> = full.collect();
    if full.is_empty() {
        return Ok(());
    }
    for (group, instances) in &full {
        output::talk(&format!(
            "{} {group}: {instances} instances to drain and end",
            ResourceKind::AutoScalingGroup
        ));
    }
    let nodes = args.draining.nodes(args.force).await?;
    if !args.yes && !output::confirmed("Drain and end them?")? {
        bail!("nothing was done");
    }
    let drainer = Drainer::new(client, &nodes, &args.draining)?;
    for (group, _) in full {
        let emptying = Emptying {
            args,
            config,
            client,
            nodes: &nodes,
            drainer: &drainer,
            group,
        };
        emptying.run().await?;
    }
    Ok(())
}

/// A group whose instances go.
struct Emptying<'a> {
    args: &'a DestroyArgs,
    config: &'a ClusterConfig,
    client: &'a Client,
    nodes: &'a Nodes,
    drainer: &'a Drainer<'a>,
    /// Name of the Auto Scaling group.
    group: &'a str,
}

impl Emptying<'_> {
    /// Ends the instances one after the other, each once its node is drained. Whatever goes wrong,
    /// the nodes that are left take pods again and the group may be as big as it might before.
    async fn run(&self) -> anyhow::Result<()> {
        let Some(before) = self.look().await? else {
            return Ok(());
        };
        let mut reserved = BTreeMap::new();
        let Err(error) = self.empty(&mut reserved).await else {
            return Ok(());
        };
        for node in reserved.values() {
            if let Err(error) = self.nodes.give_back(node).await {
                output::talk(&format!("{error:#}"));
            }
        }
        self.resize(before.min_size, before.max_size).await?;
        Err(error).with_context(|| {
            format!(
                "`{}` is not emptied: its nodes take pods again, and nothing was deleted; what is \
                 left goes with the next run",
                self.group
            )
        })
    }

    async fn empty(&self, reserved: &mut BTreeMap<String, Reserved>) -> anyhow::Result<()> {
        let deadline = Instant::now() + GONE_TIMEOUT;
        while let Some(group) = self.look().await? {
            if group.instances.is_empty() {
                return Ok(());
            }
            let staying: Vec<String> = staying(&group).map(str::to_owned).collect();
            if staying.is_empty() {
                if deadline < Instant::now() {
                    bail!(
                        "its ended instances are still there after {} minutes",
                        GONE_TIMEOUT.as_secs() / 60
                    );
                }
                self.drainer.unless_interrupted(pause()).await?;
                continue;
            }
            self.resize(0, group.desired_capacity).await?;
            // All at once, or the pods of one would go to the next.
            for instance in &staying {
                if let Some(node) = self.nodes.of_instance(instance).await? {
                    let node = self.nodes.reserve(&node).await?;
                    reserved.entry(instance.clone()).or_insert(node);
                }
            }
            for instance in &staying {
                self.end(instance).await?;
                reserved.remove(instance);
            }
        }
        Ok(())
    }

    /// Ends one instance, and leaves the group room for the others alone: the autoscaler buys none
    /// here for the pods that have left.
    async fn end(&self, instance: &str) -> anyhow::Result<()> {
        // The lock lives for half an hour, and every node needs less.
        let work = Box::pin(async {
            let node = self.drainer.end(instance).await?;
            if let Some(group) = self.look().await? {
                self.resize(0, group.desired_capacity).await?;
            }
            let node = node.as_deref().unwrap_or("no node");
            output::talk(&format!("drained and ended {node} ({instance})"));
            Ok(ExitCode::SUCCESS)
        });
        let done = with_lock(self.client, self.config, &self.args.lock, work).await;
        done.map(drop)
    }

    async fn look(&self) -> anyhow::Result<Option<AutoScalingGroup>> {
        drain::group(self.client, self.group).await
    }

    async fn resize(&self, min: u32, max: u32) -> anyhow::Result<()> {
        let size = GroupSpecification {
            min_size: Some(min),
            max_size: Some(max),
            ..GroupSpecification::default()
        };
        let autoscaling = self.client.autoscaling();
        let resized = autoscaling.update_group(self.group, &size);
        resized.await.map_err(advised)
    }
}

/// Instances that are not going already.
fn staying(group: &AutoScalingGroup) -> impl Iterator<Item = &str> {
    let staying = group
        .instances
        .iter()
        .filter(|it| !it.lifecycle_state.starts_with("Terminat"));
    staying.map(|it| it.instance_id.as_str())
}

async fn pause() -> anyhow::Result<()> {
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
