//! `windlass provision`: the AWS resources of the node groups.

mod destroy;
mod drain;
mod nodes;
mod prune;
mod roll;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use windlass_aws_client::autoscaling::Tag;
use windlass_aws_client::{CallError, Client, Options};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::iam::Actor;
use windlass_provision::manifests::yaml;
use windlass_provision::provision::execute::{ExecuteError, Executor};
use windlass_provision::provision::lock::{Held, Lock, LockError};
use windlass_provision::provision::plan::{self, Action, Allowed, Change, Plan, Resources};
use windlass_provision::provision::{
    GROUP_TAG, OWNER_TAG, Resource, ResourceId, ResourceKind, advice, desired, export, import,
    observe,
};

use crate::cluster_file::ConfigArgs;
use crate::hint;
use crate::output::{self, Format};
use crate::runtime;

/// Exit code of `plan` and `drift` when something differs.
const DIFFERS: u8 = 2;

/// Arguments of `windlass provision`.
#[derive(Args)]
pub(crate) struct ProvisionArgs {
    #[command(subcommand)]
    command: ProvisionCommand,
}

#[derive(Subcommand)]
enum ProvisionCommand {
    /// Show what `apply` would do. Exit code 0: nothing, 2: something.
    Plan(PlanArgs),
    /// Make AWS what the file says. Safe to run again, also after it was interrupted.
    Apply(ApplyArgs),
    /// Replace the nodes of a group that are not of its template any more: new ones first, then the
    /// old ones are drained within disruption budgets and ended. Stops at the first failure.
    Roll(roll::RollArgs),
    /// Tell what differs from the file. Exit code 0: nothing, 2: something.
    Drift(DriftArgs),
    /// Take over a group that was made by hand: print its entry for the file, and tag it.
    Import(ImportArgs),
    /// Move groups from their launch configuration to a launch template.
    Migrate(MigrateArgs),
    /// Print the same resources for another tool.
    Export(ExportArgs),
    /// Delete what carries this cluster's tag.
    Destroy(destroy::DestroyArgs),
}

#[derive(Args)]
struct PlanArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also write the plan to a file, which `apply` takes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    allow: AllowArgs,
}

#[derive(Args)]
struct AllowArgs {
    /// Lower a group's `max` below what it has: AWS then ends instances of its own choice.
    #[arg(long)]
    yes_shrink: bool,
}

impl AllowArgs {
    fn allowed(&self) -> Allowed {
        Allowed {
            shrink: self.yes_shrink,
            ..Allowed::default()
        }
    }
}

#[derive(Args)]
struct ApplyArgs {
    /// A plan that `plan --out` wrote: refused if anything has changed since.
    #[arg(value_name = "PLAN")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    allow: AllowArgs,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    lock: LockArgs,
}

#[derive(Args)]
struct MigrateArgs {
    /// Move this one alone, by its name in the file.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Delete the launch configurations that groups had before they were moved, once no instance is
    /// of them any more and no group has them.
    #[arg(long, conflicts_with_all = ["plan", "yes_shrink"])]
    prune: bool,
    #[command(flatten)]
    apply: ApplyArgs,
}

#[derive(Args)]
struct LockArgs {
    /// Take the lock away from somebody who is surely gone.
    #[arg(long)]
    force_unlock: bool,
}

#[derive(Args)]
struct DriftArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Args)]
struct ImportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the Auto Scaling group.
    #[arg(long, value_name = "NAME")]
    asg: String,
    /// Name of the node group in the file.
    #[arg(long, value_name = "NAME")]
    group: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// For which tool.
    #[arg(long, value_enum)]
    format: ExportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// A template, as JSON.
    #[value(name = "cloudformation")]
    CloudFormation,
    /// A file `windlass.tf.json`.
    Terraform,
    /// A bash script of plain `aws` commands.
    #[value(name = "aws-cli")]
    AwsCli,
}

pub(crate) fn run(args: &ProvisionArgs) -> anyhow::Result<ExitCode> {
    runtime::block_on(async {
        match &args.command {
            ProvisionCommand::Plan(args) => show(args).await,
            ProvisionCommand::Apply(args) => {
                Box::pin(apply(args, args.allow.allowed(), None)).await
            }
            ProvisionCommand::Import(args) => import(args).await,
            ProvisionCommand::Migrate(MigrateArgs {
                group,
                prune: true,
                apply: args,
            }) => Box::pin(prune::prune(args, group.as_deref())).await,
            ProvisionCommand::Migrate(MigrateArgs {
                group, apply: args, ..
            }) => {
                let allowed = Allowed {
                    migrate: true,
                    ..args.allow.allowed()
                };
                Box::pin(apply(args, allowed, group.as_deref())).await
            }
            ProvisionCommand::Roll(args) => Box::pin(roll::roll(args)).await,
            ProvisionCommand::Drift(args) => drift(args).await,
            ProvisionCommand::Export(args) => export(args).await,
            ProvisionCommand::Destroy(args) => Box::pin(destroy::destroy(args)).await,
        }
    })?
}

/// A failed call with what to do about it.
fn advised(error: CallError) -> anyhow::Error {
    hint::advised(error, Actor::Provisioner)
}

/// The file, AWS, and what both say.
struct Ground {
    config: ClusterConfig,
    client: Client,
    desired: Resources,
    observed: Resources,
}

async fn ground(args: &ConfigArgs) -> anyhow::Result<Ground> {
    let config = args.read()?;
    let client = connect(&config).await?;
    let facts = facts(&client, &config).await?;
    let desired = desired::desired(&config, &facts)?;
    let observed = observe::observe(&client, &config, &facts.zones).await;
    let observed = observed.map_err(advised)?;
    Ok(Ground {
        config,
        client,
        desired,
        observed,
    })
}

/// What AWS alone knows: the account, the images as of now, the zones.
async fn facts(client: &Client, config: &ClusterConfig) -> anyhow::Result<desired::Facts> {
    match observe::facts(client, config).await {
        Ok(facts) => {
            for warning in &facts.warnings {
                output::talk(&format!("warning: {warning}"));
            }
            Ok(facts)
        }
        Err(observe::FactsError::Call(error)) => Err(advised(error)),
        Err(error) => Err(error.into()),
    }
}

async fn connect(config: &ClusterConfig) -> anyhow::Result<Client> {
    let options = Options {
        region: Some(config.spec.region.clone()),
        ..Options::default()
    };
    Ok(Client::connect(options).await?)
}

impl Ground {
    fn plan(&self, allowed: Allowed) -> Plan {
        let cluster = &self.config.spec.cluster;
        plan::plan(cluster, &self.desired, &self.observed, allowed)
    }
}

/// Names of the Auto Scaling groups of a node group of the file: of a zonal one those of all zones.
fn aws_names(
    config: &ClusterConfig,
    zones: &desired::Zones,
    group: &str,
) -> anyhow::Result<Vec<String>> {
    let found = config.groups_in(zones).into_iter();
    let found = found.filter(|it| it.group.name == group);
    let names: Vec<String> = found.map(|it| it.aws_name).collect();
    if names.is_empty() {
        let names: Vec<&str> = config.groups().map(|it| it.group.name.as_str()).collect();
        bail!(
            "there is no group `{group}`; there are: {}",
            names.join(", ")
        );
    }
    Ok(names)
}

fn print(plan: &Plan, format: Format) -> anyhow::Result<()> {
    match format.encoding() {
        None => output::data(&plan.to_text()),
        Some(encoding) => output::document(encoding, plan),
    }
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERS)
    }
}

async fn show(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let plan = ground(&args.config).await?.plan(args.allow.allowed());
    print(&plan, args.output)?;
    if let Some(path) = &args.out {
        let json = serde_json::to_value(&plan).context("write the plan as JSON")?;
        fs::write(path, format!("{json:#}\n"))
            .with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(exit_code(plan.does_nothing()))
}

async fn drift(args: &DriftArgs) -> anyhow::Result<ExitCode> {
    let plan = ground(&args.config).await?.plan(Allowed::default());
    print(&plan, args.output)?;
    // What others have added differs, though nothing will be done about it.
    Ok(exit_code(plan.is_empty()))
}

/// Prints the group's entry for the file, and tags the group as this cluster's. Nothing else is
/// changed: the next plan says what the file would have otherwise.
async fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = connect(&config).await?;
    let found = observe::group(&client, &args.asg).await.map_err(advised)?;
    let Some(group) = found else {
        bail!("there is no Auto Scaling group `{}`", args.asg);
    };
    let cluster = &config.spec.cluster;
    let owner = group.tags.get(OWNER_TAG).map(|tag| tag.value.as_str());
    if owner.is_some_and(|owner| owner != cluster) {
        bail!(
            "`{}` belongs to cluster `{}`: that cluster has to let go of it first",
            args.asg,
            owner.unwrap_or_default()
        );
    }
    let launch = observe::launch(&client, &group).await.map_err(advised)?;
    let entry = import::entry(&args.group, &args.asg, &group, &launch);
    output::data(&yaml::to_yaml(&serde_json::json!({ "groups": [entry] })))?;
    for left in launch.left_out(&config) {
        output::talk(&format!("new instances differ in: {left}"));
    }
    output::talk(
        "Put this entry into spec.groups; `windlass provision plan` then says what differs.",
    );
    let question = format!("Tag `{}` as a group of cluster `{cluster}`?", args.asg);
    if !args.yes && !output::confirmed(&question)? {
        bail!("nothing was done");
    }
    let tags = [(OWNER_TAG, cluster), (GROUP_TAG, &args.group)].map(|(key, value)| Tag {
        key: key.to_owned(),
        value: value.clone(),
        propagate_at_launch: false,
    });
    let tagged = client.autoscaling().put_tags(&args.asg, &tags).await;
    tagged.map_err(advised)?;
    output::talk("Done.");
    Ok(ExitCode::SUCCESS)
}

async fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = connect(&config).await?;
    let desired = desired::desired(&config, &facts(&client, &config).await?)?;
    let export = match args.format {
        ExportFormat::CloudFormation => export::cloud_formation(&config.spec.cluster, &desired),
        ExportFormat::Terraform => export::terraform(config.join_key().as_deref(), &desired),
        ExportFormat::AwsCli => {
            let key = config.join_key();
            let spec = &config.spec;
            let script = export::aws_cli(&spec.cluster, &spec.region, key.as_deref(), &desired);
            output::data(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    for left in &export.left_out {
        output::talk(&format!("left out: {left}"));
    }
    output::document(output::Encoding::Json, &export.template)?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(
    args: &ApplyArgs,
    allowed: Allowed,
    group: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let client = connect(&config).await?;
    let work = Box::pin(async {
        let ground = ground(&args.config).await?;
        let mut plan = ground.plan(allowed);
        if let Some(group) = group {
            let named = only_group(&config, group, ground.desired.clone())?;
            plan.leave_other_groups_out(|id| named.contains_key(id));
        }
        if let Some(path) = &args.plan {
            refuse_if_stale(path, &plan)?;
        }
        output::talk(plan.to_text().trim_end());
        if plan.does_nothing() {
            return Ok(ExitCode::SUCCESS);
        }
        let attention = plan.attention().count();
        if 0 < attention {
            bail!(
                "{attention} of the changes need a decision first (marked `!`): nothing was done"
            );
        }
        if !args.yes && args.plan.is_none() && !output::confirmed("Carry this out?")? {
            bail!("nothing was done");
        }
        carry_out(&ground, &plan).await?;
        output::talk("Done.");
        Ok(ExitCode::SUCCESS)
    });
    with_lock(&client, &config, &args.lock, work).await
}

fn refuse_if_stale(path: &std::path::Path, plan: &Plan) -> anyhow::Result<()> {
    let file = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("read `{file}`"))?;
    let written: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("`{file}` is not a plan"))?;
    if written["state"] != plan.state {
        bail!(
            "`{file}` was made from another state: the file or AWS has changed since; make a new \
             plan"
        );
    }
    Ok(())
}

/// Changes nothing unless nobody else does at the same time.
async fn with_lock(
    client: &Client,
    config: &ClusterConfig,
    args: &LockArgs,
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let held = if args.force_unlock {
        Held::Break
    } else {
        Held::Respect
    };
    let now = jiff::Timestamp::now();
    let lock = Lock::take(client, &config.spec.cluster, &holder(), now, held).await;
    let lock = lock.map_err(|error| match error {
        LockError::Call(error) => advised(error),
        held @ LockError::Held { .. } => held.into(),
    })?;
    let result = work.await;
    if let Err(error) = lock.release(client).await {
        output::talk(&format!("the lock could not be released: {error}"));
    }
    result
}

/// Who holds the lock: the same for the same person on the same machine, so that a run goes on
/// after its predecessor was killed.
fn holder() -> String {
    let host = rustix::system::uname();
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    format!("{user}@{}", host.nodename().to_string_lossy())
}

async fn carry_out(ground: &Ground, plan: &Plan) -> anyhow::Result<()> {
    let key = ground.config.join_key();
    let executor = Executor {
        client: &ground.client,
        kms_key: key.as_deref(),
        report: &|change: &Change| {
            let done = match change.action {
                Action::Create => "created",
                Action::Change => "changed",
                Action::Destroy => "deleted",
                Action::Attention | Action::Keep => "left",
            };
            output::talk(&format!("{done} {}", change.id));
        },
    };
    let result = executor
        .execute(plan, &ground.desired, &ground.observed)
        .await;
    result.map_err(|error: ExecuteError| {
        let call = error.call();
        let hint = call.map(|call| advice::advice(call, Actor::Provisioner));
        let error = anyhow::Error::new(error);
        match hint {
            Some(hint) => error.context(format!(
                "not everything was done; what was made stays, and the next run goes on from it; \
                 hint: {hint}"
            )),
            None => error,
        }
    })
}

/// Group, template and launch configurations of one node group; of a zonal one those of all zones.
fn only_group(
    config: &ClusterConfig,
    group: &str,
    observed: Resources,
) -> anyhow::Result<Resources> {
    let in_file = config.groups().find(|found| found.group.name == group);
    let name = match in_file {
        Some(found) => found.aws_name,
        None => format!("{}-{group}", config.spec.cluster),
    };
    let groups: Vec<String> = observed
        .iter()
        .filter(|(id, found)| match found {
            Resource::Group(found) => {
                let tag = found.tags.get(GROUP_TAG);
                id.name == name || tag.is_some_and(|tag| tag.value == group)
            }
            Resource::LaunchTemplate(found) => {
                id.name == name || found.tags.get(GROUP_TAG).is_some_and(|tag| tag == group)
            }
            _ => false,
        })
        .map(|(id, _)| id.name.clone())
        .collect();
    let is_of_group = |id: &ResourceId| match id.kind {
        ResourceKind::LaunchTemplate | ResourceKind::AutoScalingGroup => groups.contains(&id.name),
        ResourceKind::LaunchConfiguration => groups
            .iter()
            .any(|group| desired::is_configuration_of(group, &id.name)),
        _ => false,
    };
    let found: Resources = observed
        .into_iter()
        .filter(|(id, _)| is_of_group(id))
        .collect();
    if found.is_empty() {
        bail!("there is neither a group nor a template `{name}`");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_one_word() {
        assert!(!holder().contains(' ') && holder().contains('@'));
    }
}
