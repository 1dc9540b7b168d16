//! The strategy `instance-refresh`: AWS replaces the instances itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use windlass_aws_client::autoscaling::{InstanceRefresh, RefreshSpecification};
use windlass_provision::provision::ResourceKind;
use windlass_provision::provision::refresh;

use super::{Roll, RollArgs};
use crate::interrupts::Interrupts;
use crate::output;
use crate::provision::{advised, with_lock};

/// Pause between two looks at a refresh, which takes minutes for each instance.
const PAUSE: Duration = Duration::from_secs(5);

/// What only drains know of is not to be taken for heeded.
pub(super) fn refuse_what_is_of_drains(args: &RollArgs) -> anyhow::Result<()> {
    for (flag, is_given) in [
        ("--canary", args.canary),
        ("--force", args.force),
        ("--max-surge", args.max_surge != 1),
    ] {
        if is_given {
            bail!("{flag} is of the strategy `drain`: an instance refresh knows none");
        }
    }
    Ok(())
}

impl Roll<'_> {
    /// Follows a refresh that is under way to its end, and starts one for what is left. Gives the
    /// number of instances that were to be replaced.
    pub(super) async fn refresh(&self) -> anyhow::Result<usize> {
        let mut replaced = 0;
        loop {
            let group = self.look().await?;
            let old = self.old_instances(&group).await?;
            if !self.args.dry_run
                && let Some(InstanceRefresh { id, .. }) = self.under_way().await?
            {
                output::talk(&format!("instance refresh {id} is under way: following it"));
                replaced += old.len();
                self.follow(&id, &Interrupts::listen()?).await?;
                continue;
            }
            if old.is_empty() {
                return Ok(replaced);
            }
            let autoscaling = self.client.autoscaling();
            let hooks = autoscaling.lifecycle_hooks(&self.group).await;
            let hooks = hooks.map_err(advised)?;
            let wanted = refresh::specification(&group, &hooks).with_context(|| {
                let kind = ResourceKind::AutoScalingGroup;
                format!(
                    "AWS is not asked to replace instances of {kind} `{}`",
                    self.group
                )
            })?;
            if self.is_shown_only(&old)? {
                return Ok(old.len());
            }
            // An interrupt from here on is one while the refresh is under way.
            let interrupts = Interrupts::listen()?;
            let Some(id) = self.start(&wanted).await? else {
                // Somebody was faster.
                let other = self.under_way().await?;
                other.context("AWS says that an instance refresh is under way, and lists none")?;
                continue;
            };
            output::talk(&format!("instance refresh {id} has begun"));
            self.follow(&id, &interrupts).await?;
            self.expect_nothing_left().await?;
            return Ok(replaced + old.len());
        }
    }

    async fn under_way(&self) -> anyhow::Result<Option<InstanceRefresh>> {
        let mut all = self.refreshes().await?.into_iter();
        Ok(all.find(InstanceRefresh::is_under_way))
    }

    async fn refreshes(&self) -> anyhow::Result<Vec<InstanceRefresh>> {
        let autoscaling = self.client.autoscaling();
        let found = autoscaling.describe_instance_refreshes(&self.group).await;
        found.map_err(advised)
    }

    async fn start(&self, wanted: &RefreshSpecification) -> anyhow::Result<Option<String>> {
        let mut id = None;
        let work = async {
            let autoscaling = self.client.autoscaling();
            let started = autoscaling.start_instance_refresh(&self.group, wanted);
            id = started.await.map_err(advised)?;
            Ok(ExitCode::SUCCESS)
        };
        with_lock(self.client, self.config, &self.args.lock, Box::pin(work)).await?;
        Ok(id)
    }

    /// Tells how far a refresh is until it is over.
    async fn follow(&self, id: &str, interrupts: &Interrupts) -> anyhow::Result<()> {
        let over = self.until_over(id, interrupts).await;
        let over = over.with_context(|| {
            let group = &self.group;
            format!(
                "AWS goes on with instance refresh {id} of `{group}`: the same command follows it \
                 again, and `aws autoscaling cancel-instance-refresh --auto-scaling-group-name \
                 {group}` ends it"
            )
        })?;
        Ok(refresh::outcome(&over)?)
    }

    /// Looks again and again, and asks for nothing else.
    async fn until_over(
        &self,
        id: &str,
        interrupts: &Interrupts,
    ) -> anyhow::Result<InstanceRefresh> {
        let mut told = String::new();
        loop {
            let found = self.refreshes().await?.into_iter().find(|it| it.id == id);
            let refresh = found.context("AWS does not list it any more")?;
            let progress = refresh::progress(&refresh);
            if progress != told {
                output::talk(&progress);
                told = progress;
            }
            if !refresh.is_under_way() {
                return Ok(refresh);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = interrupts.reach(1) => bail!("interrupted"),
            }
        }
    }

    /// A refresh passes over instances in standby.
    async fn expect_nothing_left(&self) -> anyhow::Result<()> {
        let left = self.old_instances(&self.look().await?).await?;
        let ids: Vec<&str> = left.iter().map(|it| it.id.as_str()).collect();
        if !ids.is_empty() {
            bail!(
                "the refresh is over, and {} instances are of an older version still: {}; it passes \
                 over those in standby",
                ids.len(),
                ids.join(", ")
            );
        }
        Ok(())
    }
}
