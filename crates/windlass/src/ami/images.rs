//! `windlass ami list`, `prune` and `gc`: what builds have made, and what may go of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use windlass_aws_client::{Client, Options};
use windlass_provision::ami::build;
use windlass_provision::ami::clean_up::{Outcome, clean_up};
use windlass_provision::ami::images::{self, BuiltImage};
use windlass_provision::ami::leftovers::{self, Leftover};
use windlass_provision::cluster_config::ClusterConfig;

use super::advised;
use super::build::LEFT;
use crate::cluster_file::ConfigArgs;
use crate::output::{self, Format};
use crate::runtime;

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

pub(super) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    let regions = runtime::block_on(all_images(&config))??;
    let found: Vec<&BuiltImage> = regions.iter().flat_map(|(_, images)| images).collect();
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
    runtime::block_on(async {
        let regions = all_images(&config).await?;
        let (mut gone, mut shown) = (Vec::new(), Vec::new());
        for (client, images) in &regions {
            for image in images::superseded(images, args.keep) {
                gone.push((client, image));
                shown.push(image);
            }
        }
        if gone.is_empty() {
            output::talk("nothing to remove");
            return Ok(ExitCode::SUCCESS);
        }
        output::data(&as_table(&shown))?;
        let all: usize = regions.iter().map(|(_, images)| images.len()).sum();
        let question = format!("Remove {} of {all} images?", gone.len());
        if args.dry_run || !(args.yes || output::confirmed(&question)?) {
            output::talk("nothing was removed");
            return Ok(ExitCode::SUCCESS);
        }
        for (client, image) in gone {
            images::remove(client, image).await.map_err(advised)?;
            output::talk(&format!("removed {} ({})", image.id, image.region));
        }
        Ok(ExitCode::SUCCESS)
    })?
}

pub(super) fn gc(args: &GcArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.read()?;
    runtime::block_on(async {
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
    })?
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
    let left = clean_up(client, build, Outcome::DiscardUnlessWhole, POLL).await;
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

/// The cluster's images in each of its regions.
async fn all_images(config: &ClusterConfig) -> anyhow::Result<Vec<(Client, Vec<BuiltImage>)>> {
    let publish = config.spec.ami.as_ref().map(|ami| &ami.publish);
    let mut announced = publish.and_then(|publish| publish.parameter.as_deref());
    let mut all = Vec::new();
    for client in regions(config).await? {
        // The parameter is in the first region, the cluster's.
        let found = images::images(&client, &config.spec.cluster, announced.take()).await;
        all.push((client, found.map_err(advised)?));
    }
    Ok(all)
}

fn as_table(images: &[&BuiltImage]) -> String {
    let headings = [
        "REGION",
        "IMAGE",
        "CREATED",
        "STATE",
        "KUBERNETES",
        "ARCH",
        "RECIPE",
        "DEPRECATED FROM",
        "USED BY",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 9]> = images
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
                image
                    .deprecated_from
                    .clone()
                    .unwrap_or_else(|| "-".to_owned()),
                used_by(&image.used_by),
            ]
        })
        .collect();
    output::table(&headings, &rows)
}

/// The first users, and how many more there are.
fn used_by(users: &[String]) -> String {
    const SHOWN: usize = 3;
    match users.split_at_checked(SHOWN) {
        Some((shown, more @ [_, ..])) => format!("{} and {} more", shown.join(", "), more.len()),
        _ if users.is_empty() => "-".to_owned(),
        _ => users.join(", "),
    }
}
