//! `windlass ami list`, `prune` and `gc`: what builds have made, and what may go of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use windlass_aws_client::{CallError, Client, Options};
use windlass_provision::ami::build::{self, Outcome};
use windlass_provision::ami::images::{self, BuiltImage};
use windlass_provision::ami::leftovers::{self, Leftover};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::provision::advice;

use super::build::LEFT;
use crate::cluster_file::ConfigArgs;
use crate::output::{self, Format};

/// How often it is asked whether an instance is gone.
const POLL: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Args)]
pub(super) struct PruneArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How many images stay for each architecture in each region, the newest; besides them those stay
    /// that are in use.
    #[arg(long, default_value_t = 3, value_name = "N")]
    keep: usize,
    /// Show what would go and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(super) struct GcArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// This build, even if its time is not over.
    #[arg(long, value_name = "ID")]
    build: Option<String>,
    /// Show what would go and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs a command that calls AWS.
fn with_runtime<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(command)
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let found = with_runtime(async {
        let regions = regions(&config).await?;
        all_images(&config, &regions).await
    })?;
    match args.output.encoding() {
        None if found.is_empty() => output::talk(&format!(
            "no image of cluster `{}`: `windlass ami build` makes one",
            config.spec.cluster
        )),
        None => output::data(&as_table(&found))?,
        Some(encoding) => output::document(encoding, &found)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn prune(args: &PruneArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    with_runtime(async {
        let regions = regions(&config).await?;
        let found = all_images(&config, &regions).await?;
        let of_region = |client: &Client| {
            let own = found.iter().filter(|it| it.region == client.region());
            own.cloned().collect::<Vec<_>>()
        };
        let gone: Vec<(&Client, BuiltImage)> = regions
            .iter()
            .flat_map(|client| {
                let own = of_region(client);
                let gone = images::superseded(&own, args.keep);
                let gone: Vec<_> = gone.into_iter().cloned().collect();
                gone.into_iter().map(move |image| (client, image))
            })
            .collect();
        if gone.is_empty() {
            output::talk("nothing to remove");
            return Ok(ExitCode::SUCCESS);
        }
        let shown: Vec<BuiltImage> = gone.iter().map(|(_, image)| image.clone()).collect();
        output::data(&as_table(&shown))?;
        let question = format!("Remove {} of {} images?", gone.len(), found.len());
        if args.dry_run || !(args.yes || output::confirmed(&question)?) {
            output::talk("nothing was removed");
            return Ok(ExitCode::SUCCESS);
        }
        for (client, image) in &gone {
            images::remove(client, image).await.map_err(advised)?;
            output::talk(&format!("removed {} ({})", image.id, image.region));
        }
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn gc(args: &GcArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    with_runtime(async {
        let mut left = Vec::new();
        let mut is_known = args.build.is_none();
        for client in &regions(&config).await? {
            let builds = leftovers::builds(client, &config.spec.cluster).await;
            for found in builds.map_err(advised)? {
                is_known |= args.build.as_ref() == Some(&found.build);
                left.extend(collect_build(args, client, &found).await?);
            }
            collect_snapshots(args, client, &config.spec.cluster).await?;
        }
        if !is_known {
            let build = args.build.as_deref().unwrap_or_default();
            bail!("there is nothing of a build `{build}` of this cluster");
        }
        for line in &left {
            output::talk(&format!("left behind: {line}"));
        }
        if left.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Ok(ExitCode::from(LEFT))
        }
    })
}

/// Removes what a build has left if its time is over or it is the one that was asked for, and gives
/// what could not be removed.
async fn collect_build(
    args: &GcArgs,
    client: &Client,
    found: &Leftover,
) -> anyhow::Result<Vec<String>> {
    let (region, build) = (client.region(), &found.build);
    let resources = found.resources.join(", ");
    let is_asked_for = args.build.as_ref() == Some(build);
    if !is_asked_for && !found.is_over(Timestamp::now()) {
        let until = match found.expires {
            Some(expires) => format!("its time is over at {expires:.0}"),
            None => format!("its tag {} says no time", build::EXPIRES_TAG),
        };
        output::talk(&format!(
            "build {build} ({region}: {resources}) stays: {until}; --build {build} removes it now"
        ));
        return Ok(Vec::new());
    }
    if args.dry_run {
        output::talk(&format!(
            "build {build} ({region}): would remove {resources}"
        ));
        return Ok(Vec::new());
    }
    let left = build::clean_up(client, build, Outcome::DiscardUnlessWhole, POLL).await;
    if left.is_empty() {
        output::talk(&format!("build {build} ({region}): removed {resources}"));
    }
    Ok(left)
}

async fn collect_snapshots(args: &GcArgs, client: &Client, cluster: &str) -> anyhow::Result<()> {
    let orphans = leftovers::orphaned_snapshots(client, cluster).await;
    for snapshot in orphans.map_err(advised)? {
        let what = format!(
            "{snapshot} ({}), which no image has any more",
            client.region()
        );
        if args.dry_run {
            output::talk(&format!("would remove {what}"));
            continue;
        }
        let deleted = client.ec2().delete_snapshot(&snapshot).await;
        deleted.map_err(advised)?;
        output::talk(&format!("removed {what}"));
    }
    Ok(())
}

/// A client for each region that images are published to, the cluster's own first.
async fn regions(config: &ClusterConfig) -> anyhow::Result<Vec<Client>> {
    let copies = config.spec.ami.iter().flat_map(|ami| &ami.publish.copies);
    let mut names = vec![&config.spec.region];
    names.extend(copies.map(|copy| &copy.region));
    let mut clients = Vec::new();
    for name in names {
        let options = Options {
            region: Some(name.clone()),
            ..Options::default()
        };
        clients.push(Client::connect(options).await?);
    }
    Ok(clients)
}

async fn all_images(config: &ClusterConfig, regions: &[Client]) -> anyhow::Result<Vec<BuiltImage>> {
    let publish = config.spec.ami.as_ref().map(|ami| &ami.publish);
    let mut announced = publish.and_then(|publish| publish.parameter.as_deref());
    let mut all = Vec::new();
    for client in regions {
        let found = images::images(client, &config.spec.cluster, announced).await;
        all.extend(found.map_err(advised)?);
        // The parameter is in the first region, the cluster's.
        announced = None;
    }
    Ok(all)
}

fn as_table(images: &[BuiltImage]) -> String {
    let headings = [
        "REGION",
        "IMAGE",
        "CREATED",
        "STATE",
        "KUBERNETES",
        "ARCH",
        "RECIPE",
        "USED BY",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 8]> = images
        .iter()
        .map(|image| {
            [
                image.region.clone(),
                image.id.clone(),
                image.created.clone(),
                image.state.clone(),
                image.kubernetes.clone(),
                image.architecture.clone(),
                image.recipe.clone(),
                used_by(&image.used_by),
            ]
        })
        .collect();
    output::table(&headings, &rows)
}

/// The first users, and how many more there are.
fn used_by(users: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = users.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match users.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ if users.is_empty() => "-".to_owned(),
        _ => shown.join(", "),
    }
}

fn advised(error: CallError) -> anyhow::Error {
    let hint = advice::advice(&error);
    anyhow::Error::new(error).context(format!("AWS refused or did not answer; hint: {hint}"))
}
