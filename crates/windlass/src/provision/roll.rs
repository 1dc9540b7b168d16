//! `windlass provision roll`: replaces nodes that are not of their group's template any more.

mod refresh;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use tokio::time::Instant;
use windlass_aws_client::Client;
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::provision::roll::{self, LaunchedFrom, OldInstance};
use windlass_provision::provision::{OWNER_TAG, ResourceKind, observe};

use super::drain::{self, DrainArgs, Drainer};
use super::nodes::Nodes;
use super::{LockArgs, advised};
use crate::cluster_file::ConfigArgs;
use crate::{duration, output};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// How nodes are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// New nodes are started, and old ones drained and ended, wave by wave.
    Drain,
    /// AWS replaces the instances by an instance refresh. It drains nothing itself: only for groups
    /// with a hook for ending instances, on which something else drains the node.
    InstanceRefresh,
}

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a command's switches, each read in one place"
)]
pub(super) struct RollArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The node group, by its name in the file.
    #[arg(long, value_name = "NAME")]
    group: String,
    /// How they are replaced.
    #[arg(long, value_enum, default_value_t = Strategy::Drain)]
    strategy: Strategy,
    /// New nodes that are started before as many old ones go.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_surge: u32,
    /// Replace one node and stop.
    #[arg(long)]
    canary: bool,
    /// How long new nodes may take to become Ready.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
    ready_timeout: Duration,
    #[command(flatten)]
    drain: DrainArgs,
    /// Also end pods that nobody makes again, and those that say they are not safe to evict.
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    lock: LockArgs,
}

/// What a run works on.
struct Roll<'a> {
    args: &'a RollArgs,
    config: &'a ClusterConfig,
    client: &'a Client,
    /// Name of the Auto Scaling group.
    group: String,
}

pub(super) async fn roll(args: &RollArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = super::connect(&config).await?;
    let zones = observe::zones(&client, &config).await.map_err(advised)?;
    let groups = super::aws_names(&config, &zones, &args.group)?;
    let nodes = match args.strategy {
        Strategy::Drain => Some(args.drain.nodes(args.force).await?),
        Strategy::InstanceRefresh => {
            refresh::refuse_what_is_of_drains(args)?;
            None
        }
    };
    let mut replaced = 0;
    for group in groups {
        let roll = Roll {
            args,
            config: &config,
            client: &client,
            group,
        };
        replaced += match &nodes {
            Some(nodes) => Box::pin(roll.drain(nodes)).await?,
            None => Box::pin(roll.refresh()).await?,
        };
        if args.canary && 0 < replaced {
            break;
        }
    }
    output::talk(match replaced {
        0 => "Every node is of the group's template: nothing to replace.",
        _ if args.dry_run => "Nothing was done.",
        _ => "Done.",
    });
    Ok(ExitCode::SUCCESS)
}

impl Roll<'_> {
    /// Gives the number of nodes that were replaced, or would be.
    async fn drain(&self, nodes: &Nodes) -> anyhow::Result<usize> {
        let group = self.look().await?;
        let mut old = self.old_instances(&group).await?;
        if self.args.canary {
            old.truncate(1);
        }
        let count = old.len();
        if count == 0 {
            return Ok(0);
        }
        if self.is_shown_only(&old)? {
            return Ok(count);
        }
        let drainer = Drainer::new(self.client, nodes, &self.args.drain)?;
        while !old.is_empty() {
            let group = self.look().await?;
            let wave = roll::wave(
                group.desired_capacity,
                group.max_size,
                self.args.max_surge,
                old.len(),
            )?;
            let next: Vec<OldInstance> = old.drain(..wave as usize).collect();
            // The lock lives for half an hour, and every wave needs less.
            let work = async {
                self.replace(nodes, &drainer, &group, &next).await?;
                Ok(ExitCode::SUCCESS)
            };
            super::with_lock(self.client, self.config, &self.args.lock, Box::pin(work)).await?;
        }
        Ok(count)
    }

    /// Shows what is to be replaced; whether that is all, or it is to be done now.
    fn is_shown_only(&self, old: &[OldInstance]) -> anyhow::Result<bool> {
        for OldInstance { id, launched_from } in old {
            output::talk(&format!("-/+ {id} ({launched_from})"));
        }
        output::talk(&format!("Plan: {} nodes to replace.", old.len()));
        if self.args.dry_run {
            return Ok(true);
        }
        if !self.args.yes && !output::confirmed("Replace them?")? {
            bail!("nothing was done");
        }
        Ok(false)
    }

    async fn look(&self) -> anyhow::Result<AutoScalingGroup> {
        let group = drain::group(self.client, &self.group).await?;
        let group = group.with_context(|| {
            format!(
                "there is no Auto Scaling group `{}`: apply the file first",
                self.group
            )
        })?;
        let cluster = &self.config.spec.cluster;
        if group.tag(OWNER_TAG) != Some(cluster) {
            bail!(
                "Auto Scaling group `{}` is not of cluster `{cluster}`",
                self.group
            );
        }
        Ok(group)
    }

    async fn old_instances(&self, group: &AutoScalingGroup) -> anyhow::Result<Vec<OldInstance>> {
        let observed = observe::group(self.client, &self.group)
            .await
            .map_err(advised)?;
        let observed = observed.context("the group has gone")?;
        let configuration = observed.launch_configuration.clone();
        if let Some(name) = configuration.filter(|_| self.is_of_configurations()) {
            let wanted = LaunchedFrom::Configuration(name);
            return Ok(roll::old_instances(group, &wanted));
        }
        let Some(template) = observed.launch_template else {
            bail!(
                "Auto Scaling group `{}` has no launch template: move it with `windlass provision \
                 migrate`",
                self.group
            );
        };
        let found = self
            .client
            .ec2()
            .launch_template(&template)
            .await
            .map_err(advised)?;
        let found = found
            .with_context(|| format!("{} `{template}` is gone", ResourceKind::LaunchTemplate))?;
        // Windlass writes numbers; whoever writes a name means the newest.
        let version = observed
            .version
            .filter(|version| version.parse::<u64>().is_ok())
            .unwrap_or_else(|| found.latest_version_number.to_string());
        let name = template;
        let wanted = LaunchedFrom::Template { name, version };
        Ok(roll::old_instances(group, &wanted))
    }

    /// Whether the file has the group made of launch configurations.
    fn is_of_configurations(&self) -> bool {
        let mut groups = self.config.groups();
        groups.any(|it| it.group.name == self.args.group && it.group.launch_configuration)
    }

    /// Starts as many new nodes, and once they are Ready drains and ends the old ones.
    async fn replace(
        &self,
        nodes: &Nodes,
        drainer: &Drainer<'_>,
        group: &AutoScalingGroup,
        old: &[OldInstance],
    ) -> anyhow::Result<()> {
        let before: BTreeSet<String> = ids(group);
        let more = u32::try_from(old.len()).unwrap_or(u32::MAX);
        let desired = group.desired_capacity.saturating_add(more);
        let autoscaling = self.client.autoscaling();
        let grown = autoscaling.set_desired_capacity(&self.group, desired).await;
        grown.map_err(advised)?;
        output::talk(&format!("{desired} instances wanted, {more} of them new"));
        let come = self.wait_for_new(nodes, &before, old.len());
        drainer.unless_interrupted(come).await.with_context(|| {
            format!(
                "no old node was touched, and `{}` goes on wanting the new ones",
                self.group
            )
        })?;
        for OldInstance { id, .. } in old {
            let node = drainer.end(id).await;
            let node = node.context("the node takes pods again, and no other was touched")?;
            output::talk(&format!(
                "replaced {} ({id})",
                node.as_deref().unwrap_or("no node")
            ));
        }
        Ok(())
    }

    /// Waits until so many instances that were not there before are Ready nodes.
    async fn wait_for_new(
        &self,
        nodes: &Nodes,
        before: &BTreeSet<String>,
        count: usize,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.args.ready_timeout;
        loop {
            let new: Vec<String> = ids(&self.look().await?)
                .difference(before)
                .cloned()
                .collect();
            let ready = nodes.ready(&new).await?;
            if count <= ready.len() {
                output::talk(&format!("Ready: {}", ready.join(", ")));
                return Ok(());
            }
            if deadline < Instant::now() {
                bail!(
                    "of {count} new nodes {} became Ready in {:?} (new instances: {}): look at the \
                     new one's console, whose last line begins with windlass-join",
                    ready.len(),
                    self.args.ready_timeout,
                    new.join(", ")
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn ids(group: &AutoScalingGroup) -> BTreeSet<String> {
    group
        .instances
        .iter()
        .map(|it| it.instance_id.clone())
        .collect()
}
