//! `windlass verify`: the scale test on a live cluster.

mod cloud;
mod cluster;
mod compare;
mod objects;
mod preflight;
mod progress;
mod report;
mod run;
mod sizing;
mod template;
mod watches;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use windlass_aws::price::Prices;
use windlass_kube::{ConnectOptions, connect};
use windlass_model::{MicroDollars, Quantity};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::provision::desired::Zones;

use crate::interrupts::Interrupts;
use crate::{cluster_file, duration, output, runtime};
use cloud::Cloud;
use cluster::{Cluster, Leftover};
use preflight::Preflight;
use progress::Progress;
use report::{Report, Versions};
use run::Run;
use sizing::Asked;
use template::{AwsNames, Target};

/// Exit codes.
mod code {
    pub(super) const SCALE_UP_FAILED: u8 = 1;
    pub(super) const SCALE_DOWN_FAILED: u8 = 2;
    pub(super) const PREFLIGHT_FAILED: u8 = 3;
    pub(super) const INTERRUPTED: u8 = 4;
    pub(super) const NOT_CLEANED_UP: u8 = 5;
}

/// Arguments of `windlass verify`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a command's switches, each read in one place"
)]
pub(crate) struct VerifyArgs {
    #[command(subcommand)]
    command: Option<VerifyCommand>,
    /// Path of a kubeconfig; without it the pod's own service account is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<String>,
    /// The cluster's configuration file: it tells how big a node of an empty group would be, and
    /// which namespace the autoscaler is in. Without `--group` and `--selector` its first group
    /// without taints is to grow. AWS is then asked too: for instances, scaling activities, consoles
    /// and the join credential.
    #[arg(long, value_name = "FILE", env = "WINDLASS_CONFIG")]
    config: Option<PathBuf>,
    /// Node group that is to grow, by its name in cluster.yaml: pods select its label
    /// `windlass.dev/node-group`.
    #[arg(long, value_name = "NAME", conflicts_with = "selector")]
    group: Option<String>,
    /// Label that the pods select nodes by, instead.
    #[arg(long, value_name = "KEY=VALUE")]
    selector: Option<String>,
    /// New nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Pods, instead of as many as need the nodes.
    #[arg(long, value_name = "N")]
    pods: Option<u32>,
    /// CPU of a pod, instead of most of a node.
    #[arg(long, value_name = "QUANTITY")]
    cpu: Option<Quantity>,
    /// Memory of a pod.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi")]
    memory: Quantity,
    /// How long the scale-up may take.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    timeout: Duration,
    /// Also wait until the new nodes are gone again.
    #[arg(long)]
    scale_down: bool,
    /// Waves instead: how many nodes more than at the begin each wants, such as `2,0,5,1,0`.
    #[arg(long, value_name = "NODES", value_delimiter = ',', conflicts_with_all = ["pods", "keep"])]
    churn: Vec<u32>,
    /// Go up and down, or through the waves, again and again for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with_all = ["pods", "keep"])]
    soak: Option<Duration>,
    /// How long the scale-down may take.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration::parse)]
    scale_down_timeout: Duration,
    /// Namespace of the run, which it makes and deletes.
    #[arg(long, value_name = "NAME", default_value = "windlass-verify")]
    namespace: String,
    /// Namespace of the autoscaler's Lease and status; that of the configuration file, else
    /// `kube-system`.
    #[arg(long, value_name = "NAME")]
    autoscaler_namespace: Option<String>,
    /// Name of the autoscaler's Lease.
    #[arg(long, value_name = "NAME", default_value = "cluster-autoscaler")]
    lease: String,
    /// Name of the autoscaler's status `ConfigMap`.
    #[arg(long, value_name = "NAME", default_value = "cluster-autoscaler-status")]
    status_config_map: String,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave the pods where they are.
    #[arg(long, conflicts_with = "scale_down")]
    keep: bool,
    /// Remove what an earlier run has left, and do nothing else.
    #[arg(long)]
    cleanup: bool,
    /// Go on although pods of others are unschedulable: what comes of it may be theirs.
    #[arg(long)]
    force: bool,
    /// Allow more than 10 nodes.
    #[arg(long)]
    yes: bool,
}

#[derive(Subcommand)]
enum VerifyCommand {
    /// Puts the times of two runs beside each other.
    Compare(compare::CompareArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines as things happen, and a verdict.
    Text,
    /// One JSON object at the end.
    Json,
    /// `JUnit` XML at the end.
    Junit,
}

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    if let Some(VerifyCommand::Compare(args)) = &args.command {
        return compare::run(args).map(|()| ExitCode::SUCCESS);
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime::block_on(verify(args))?
}

async fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let interrupts = Interrupts::listen()?;
    tokio::select! {
        // Until it makes something there is nothing to clean up.
        prepared = Box::pin(prepare(args, &interrupts)) => match prepared? {
            Prepared::Ended(code) => Ok(code),
            Prepared::Ready(ready) => ready.go(args).await,
        },
        () = interrupts.reach(1) => Ok(ExitCode::from(code::INTERRUPTED)),
    }
}

/// Up to where something is made.
enum Prepared {
    /// There is nothing to do, or something stands in the way.
    Ended(ExitCode),
    /// All that a run needs.
    Ready(Box<Ready>),
}

struct Ready {
    cluster: Cluster,
    cloud: Option<Cloud>,
    sizing: sizing::Sizing,
    placement: cluster::Placement,
    waves: Vec<u32>,
    report: Report,
    progress: Progress,
    interrupts: Interrupts,
}

async fn prepare(args: &VerifyArgs, interrupts: &Interrupts) -> anyhow::Result<Prepared> {
    let config = args.config.as_deref().map(cluster_file::read).transpose()?;
    let cluster = connected(args, config.as_ref()).await?;
    if args.cleanup {
        return cleanup(&cluster).await.map(Prepared::Ended);
    }
    let target = match &config {
        Some(config) if args.selector.is_none() => template::target(config, args.group.as_deref())?,
        _ => None,
    };
    let cloud = match &config {
        Some(config) => Box::pin(cloud(config)).await,
        None => None,
    };
    let names = match (&config, &target) {
        (Some(config), Some(target)) => Some(aws_names(config, target, cloud.as_ref()).await),
        _ => None,
    };
    let waves = waves(args);
    let most_nodes = waves.iter().copied().max().unwrap_or_default();
    let known = (cloud.as_ref(), names.as_ref());
    let Preflight { problems, expired } =
        preflight::preflight(&cluster, args, most_nodes, known).await?;
    if expired.is_some() {
        output::talk(&format!(
            "namespace {} is an earlier run's and has expired: a run removes it first",
            cluster.namespace
        ));
    }
    if !problems.is_empty() {
        return Ok(in_the_way(&problems));
    }
    let selector = selector(args, target.as_ref())?;
    let taints = target.as_ref().map(|target| target.taints.clone());
    let placement = cluster
        .placement(selector, taints.unwrap_or_default())
        .await?;
    let baseline = cluster.baseline(&placement).await?;
    let asked = Asked {
        pods: args.pods,
        cpu_milli: args.cpu.map(Quantity::millis_ceil),
        memory_bytes: args.memory.units_ceil(),
    };
    let new_node = target.as_ref().and_then(|target| target.cpu_milli);
    let Some(sizing) = sizing::sizing(&baseline.rooms, new_node, asked) else {
        return Ok(in_the_way(&[
            "no ready node tells how big a new one would be: name the cluster's file with --config, \
             or give the size of a pod with --cpu"
                .to_owned(),
        ]));
    };
    let ready = baseline.rooms.iter().map(|room| room.empty_cpu_milli);
    let biggest = ready.chain(new_node).max();
    let is_too_big = biggest.is_some_and(|biggest| biggest < sizing.cpu_milli);
    let began = Timestamp::now();
    let mut report = Report::new(
        &format!("{:x}", began.as_millisecond()),
        began,
        most_nodes,
        sizing.pods(most_nodes),
    );
    report.versions = Versions {
        windlass: env!("CARGO_PKG_VERSION").to_owned(),
        kubernetes: cluster.version().await?,
    };
    report.config_hash = config_hash(args, &waves, sizing);
    report.dollars_per_hour = dollars(&baseline.instance_types, most_nodes);
    output::talk(&headline(
        args,
        (cloud.as_ref(), target.as_ref()),
        &report,
        sizing,
    ));
    if args.dry_run {
        return Ok(Prepared::Ended(ExitCode::SUCCESS));
    }
    if let Some(run) = expired
        && let Err(error) = cluster.clean_up(Some(&run)).await
    {
        return Ok(in_the_way(&[format!(
            "an earlier run's namespace {} cannot be removed: {error:#}",
            cluster.namespace
        )]));
    }
    Ok(Prepared::Ready(Box::new(Ready {
        progress: Progress::new(baseline.nodes, baseline.busy).with_pods_too_big(is_too_big),
        cluster,
        cloud,
        sizing,
        placement,
        waves,
        report,
        interrupts: interrupts.clone(),
    })))
}

/// The API server, and the names of what the autoscaler writes there.
async fn connected(args: &VerifyArgs, config: Option<&ClusterConfig>) -> anyhow::Result<Cluster> {
    let of_config = config.map_or("kube-system", |config| &config.spec.autoscaler.namespace);
    let autoscaler_namespace = args.autoscaler_namespace.as_deref().unwrap_or(of_config);
    let options = ConnectOptions {
        kubeconfig: args.kubeconfig.clone(),
        kubernetes: None,
        queries_per_second: 20.0,
        burst: 40,
    };
    Ok(Cluster {
        api: connect(&options).await?,
        namespace: args.namespace.clone(),
        autoscaler_namespace: autoscaler_namespace.to_owned(),
        lease: args.lease.clone(),
        status: args.status_config_map.clone(),
    })
}

impl Ready {
    async fn go(self, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
        let run = Run {
            cluster: &self.cluster,
            cloud: self.cloud.as_ref(),
            args,
            sizing: self.sizing,
            placement: self.placement,
            waves: self.waves,
            soak: args.soak,
            interrupts: self.interrupts,
        };
        let report = Box::pin(run.once(self.report, self.progress)).await;
        let report = report.summed_up();
        match args.output {
            Form::Text => output::data(&report.to_text())?,
            Form::Json => output::document(output::Encoding::Json, &report)?,
            Form::Junit => output::data(&report.to_junit())?,
        }
        Ok(ExitCode::from(report.code))
    }
}

fn in_the_way(problems: &[String]) -> Prepared {
    for problem in problems {
        output::talk(&format!("preflight: {problem}"));
    }
    Prepared::Ended(ExitCode::from(code::PREFLIGHT_FAILED))
}

/// AWS, where it can be reached; a run does without.
async fn cloud(config: &ClusterConfig) -> Option<Cloud> {
    match Cloud::connect(config.clone()).await {
        Ok(cloud) => Some(cloud),
        Err(error) => {
            output::talk(&format!("AWS is not asked: {error:#}"));
            None
        }
    }
}

/// What the group that is to grow is called in AWS.
async fn aws_names(config: &ClusterConfig, target: &Target, cloud: Option<&Cloud>) -> AwsNames {
    let zones = match cloud {
        Some(cloud) => cloud.zones().await,
        None => Zones::new(),
    };
    template::aws_names(config, &target.group, &zones)
}

/// How many nodes more than at the begin each wave wants. What is repeated ends where it began.
fn waves(args: &VerifyArgs) -> Vec<u32> {
    let mut waves = if args.churn.is_empty() {
        vec![args.nodes]
    } else {
        args.churn.clone()
    };
    let ends_up = waves.last().is_some_and(|nodes| 0 < *nodes);
    if ends_up && (args.scale_down || args.soak.is_some()) {
        waves.push(0);
    }
    waves
}

/// What new nodes cost by the hour: none where a type is not known. The dearest type counts.
fn dollars(instance_types: &std::collections::BTreeSet<String>, nodes: u32) -> Option<f64> {
    let prices: Option<Vec<MicroDollars>> = instance_types
        .iter()
        .map(|it| Prices::built_in(it))
        .collect();
    let dearest = prices?.into_iter().max()?;
    Some(dearest.as_dollars() * f64::from(nodes))
}

fn headline(
    args: &VerifyArgs,
    (cloud, target): (Option<&Cloud>, Option<&Target>),
    report: &Report,
    sizing: sizing::Sizing,
) -> String {
    let mut words = vec!["windlass verify".to_owned()];
    words.extend(cloud.map(|cloud| format!("cluster {}", cloud.config().spec.cluster)));
    words.push(format!("run {}", report.run));
    let group = args.group.as_ref().or(target.map(|target| &target.group));
    words.extend(group.map(|group| format!("group {group}")));
    words.push(format!(
        "want +{} nodes ({} pods of {}/{})",
        report.wanted_nodes,
        report.pods,
        Quantity::from_millis(sizing.cpu_milli),
        args.memory
    ));
    words.extend(
        report
            .dollars_per_hour
            .map(|dollars| format!("about ${dollars:.3} an hour on demand")),
    );
    words.join("  ")
}

/// Of all that makes the times of two runs comparable. FNV-1a: stable from one build to the next.
fn config_hash(args: &VerifyArgs, waves: &[u32], sizing: sizing::Sizing) -> String {
    let text = format!(
        "{waves:?} {:?} {:?} {} {}",
        args.group, args.selector, sizing.cpu_milli, sizing.memory_bytes
    );
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn selector(
    args: &VerifyArgs,
    target: Option<&Target>,
) -> anyhow::Result<Option<(String, String)>> {
    let of_file = target.map(|target| &target.group);
    if let Some(group) = args.group.as_ref().or(of_file) {
        return Ok(Some(("windlass.dev/node-group".to_owned(), group.clone())));
    }
    let Some(text) = &args.selector else {
        return Ok(None);
    };
    match text.split_once('=') {
        Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
        None => bail!("--selector: `{text}` is not KEY=VALUE"),
    }
}

async fn cleanup(cluster: &Cluster) -> anyhow::Result<ExitCode> {
    if cluster.leftover().await? == Leftover::Foreign {
        bail!(
            "namespace {} was not made by windlass verify: it is left alone",
            cluster.namespace
        );
    }
    cluster.clean_up(None).await?;
    output::talk("Nothing is left.");
    Ok(ExitCode::SUCCESS)
}
