//! `windlass verify`: the scale test on a live cluster.

mod cluster;
mod compare;
mod progress;
mod report;
mod sizing;
mod template;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use windlass_kube::{ConnectOptions, connect};
use windlass_model::Quantity;

use crate::{cluster_file, duration, output};
use cluster::{Cluster, Leftover};
use progress::{Look, Progress, Step, Verdict};
use report::Report;
use sizing::{Asked, Load};
use template::Target;

/// Exit codes.
mod code {
    pub(super) const SCALE_UP_FAILED: u8 = 1;
    pub(super) const SCALE_DOWN_FAILED: u8 = 2;
    pub(super) const PREFLIGHT_FAILED: u8 = 3;
    pub(super) const INTERRUPTED: u8 = 4;
    pub(super) const NOT_CLEANED_UP: u8 = 5;
}

/// Most new nodes without `--yes`.
const MOST_NODES: u32 = 10;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

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
    /// without taints is to grow.
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
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(verify(args))
}

async fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(cluster_file::read).transpose()?;
    let of_config = config
        .as_ref()
        .map_or("kube-system", |config| &config.spec.autoscaler.namespace);
    let autoscaler_namespace = args.autoscaler_namespace.as_deref().unwrap_or(of_config);
    let options = ConnectOptions {
        kubeconfig: args.kubeconfig.clone(),
        kubernetes: None,
        queries_per_second: 20.0,
        burst: 40,
    };
    let cluster = Cluster {
        api: connect(&options).await?,
        namespace: args.namespace.clone(),
        autoscaler_namespace: autoscaler_namespace.to_owned(),
        lease: args.lease.clone(),
        status: args.status_config_map.clone(),
    };
    if args.cleanup {
        return cleanup(&cluster).await;
    }
    let target = match &config {
        Some(config) if args.selector.is_none() => template::target(config, args.group.as_deref())?,
        _ => None,
    };
    let selector = selector(args, target.as_ref())?;
    let problems = preflight(&cluster, args).await?;
    if !problems.is_empty() {
        for problem in &problems {
            output::talk(&format!("preflight: {problem}"));
        }
        return Ok(ExitCode::from(code::PREFLIGHT_FAILED));
    }
    let baseline = cluster.baseline(selector.as_ref()).await?;
    let asked = Asked {
        nodes: args.nodes,
        pods: args.pods,
        cpu_milli: args.cpu.map(Quantity::millis_ceil),
        memory_bytes: args.memory.units_ceil(),
    };
    let new_node = target.as_ref().and_then(|target| target.cpu_milli);
    let Some(load) = sizing::load(&baseline.rooms, new_node, asked) else {
        output::talk(
            "preflight: no ready node tells how big a new one would be: name the cluster's file \
             with --config, or give the size of a pod with --cpu",
        );
        return Ok(ExitCode::from(code::PREFLIGHT_FAILED));
    };
    let Load {
        pods, cpu_milli, ..
    } = load;
    output::talk(&format!(
        "want +{} nodes: {pods} pods of {}/{}",
        args.nodes,
        Quantity::from_millis(cpu_milli),
        args.memory
    ));
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::new(baseline.nodes, baseline.busy);
    let report = run_once(&cluster, args, load, selector.as_ref(), progress).await?;
    match args.output {
        Form::Text => output::data(&report.to_text())?,
        Form::Json => output::document(output::Encoding::Json, &report)?,
        Form::Junit => output::data(&report.to_junit())?,
    }
    Ok(ExitCode::from(report.code))
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
    match cluster.leftover().await? {
        Leftover::Foreign => bail!(
            "namespace {} was not made by windlass verify: it is left alone",
            cluster.namespace
        ),
        Leftover::None | Leftover::Ours { .. } => {}
    }
    cluster.clean_up().await?;
    output::talk("Nothing is left.");
    Ok(ExitCode::SUCCESS)
}

/// All that stands in the way, each with what to do.
async fn preflight(cluster: &Cluster, args: &VerifyArgs) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    if MOST_NODES < args.nodes && !args.yes {
        problems.push(format!(
            "{} nodes are many: allow more than {MOST_NODES} with --yes",
            args.nodes
        ));
    }
    match cluster.leftover().await? {
        Leftover::None => {}
        Leftover::Foreign => problems.push(format!(
            "namespace {} is somebody's: name another with --namespace",
            cluster.namespace
        )),
        Leftover::Ours { expires } => {
            if expires.is_some_and(|expires| Timestamp::now() < expires) {
                problems.push(format!(
                    "namespace {} is an earlier run's, or another is under way: `windlass verify \
                     --cleanup` removes it",
                    cluster.namespace
                ));
            } else {
                output::talk("removing what an earlier run has left");
                cluster.clean_up().await?;
            }
        }
    }
    if !cluster.is_autoscaler_alive().await? {
        problems.push(format!(
            "nobody has renewed Lease {}/{} lately: the autoscaler does not run (look at its \
             Deployment and log), or uses another name (--lease)",
            cluster.autoscaler_namespace, cluster.lease
        ));
    }
    let groups = cluster.groups().await?;
    let headroom: i64 = groups
        .values()
        .map(|(target, max)| (max - target).max(0))
        .sum();
    if !groups.is_empty() && headroom < i64::from(args.nodes) {
        problems.push(format!(
            "the groups together may grow by {headroom}: raise `max` in cluster.yaml"
        ));
    }
    let pending = cluster.unschedulable_pods().await?;
    if !pending.is_empty() && !args.force {
        problems.push(format!(
            "pods of others are unschedulable ({}): the result would not be ours; --force goes on",
            pending.join(", ")
        ));
    }
    Ok(problems)
}

/// Makes the pods, watches, and cleans up however it ends.
async fn run_once(
    cluster: &Cluster,
    args: &VerifyArgs,
    load: Load,
    selector: Option<&(String, String)>,
    mut progress: Progress,
) -> anyhow::Result<Report> {
    let began = Timestamp::now();
    let run = format!("{:x}", began.as_millisecond());
    let life = SignedDuration::try_from(args.timeout + args.scale_down_timeout)
        .unwrap_or(SignedDuration::from_hours(1));
    let expires = began.checked_add(life).unwrap_or(began);
    let mut report = Report::new(&run, began, args.nodes, load.pods);
    let clock = Instant::now();
    let ended = tokio::select! {
        ended = drive(cluster, args, (&run, load, selector, expires), &mut progress, &mut report, clock) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    report.phases = progress.phases();
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            report.code = code::SCALE_UP_FAILED;
            report.error = Some(format!("{error:#}"));
        }
        None => {
            output::talk("interrupted: cleaning up (a second time: leave everything)");
            report.code = code::INTERRUPTED;
            report.error = Some("interrupted".to_owned());
        }
    }
    if args.keep && report.code != code::INTERRUPTED {
        return Ok(report);
    }
    let cleaned = tokio::select! {
        cleaned = cluster.clean_up() => cleaned,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = cleaned {
        report.code = code::NOT_CLEANED_UP;
        output::talk(&format!(
            "left behind: namespace {0} and PriorityClass windlass-verify ({error:#}); remove them \
             with `windlass verify --cleanup --namespace {0}`",
            cluster.namespace
        ));
    }
    Ok(report)
}

/// Up, and down again if that was asked for.
async fn drive(
    cluster: &Cluster,
    args: &VerifyArgs,
    (run, load, selector, expires): (&str, Load, Option<&(String, String)>, Timestamp),
    progress: &mut Progress,
    report: &mut Report,
    clock: Instant,
) -> anyhow::Result<()> {
    cluster.start(run, load, selector, expires).await?;
    tell(report, clock, "pods created");
    let deadline = clock + args.timeout;
    let mut look = Look::default();
    loop {
        // A look that fails is one look less: the deadline decides.
        if let Ok(seen) = cluster.look().await {
            look = seen;
            for step in progress.observe(clock.elapsed().as_secs_f64(), &look) {
                say(report, step);
            }
            let pods = usize::try_from(load.pods).unwrap_or(usize::MAX);
            if look.pods.len() == pods && look.pods.iter().all(|pod| pod.is_running) {
                break;
            }
        }
        if deadline <= Instant::now() {
            report.code = code::SCALE_UP_FAILED;
            report.verdict = Some(Verdict::of(progress, &look));
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    report.new_nodes = progress.new_nodes(&look).cloned().collect();
    let new_nodes = report.new_nodes.len();
    let is_short = u32::try_from(new_nodes).is_ok_and(|new_nodes| new_nodes < args.nodes);
    if is_short && args.pods.is_none() {
        report.code = code::SCALE_UP_FAILED;
        report.verdict = Some(Verdict::RoomWasFree { new_nodes });
        return Ok(());
    }
    if args.scale_down {
        down(cluster, args, progress, report, clock).await?;
    }
    Ok(())
}

async fn down(
    cluster: &Cluster,
    args: &VerifyArgs,
    progress: &Progress,
    report: &mut Report,
    clock: Instant,
) -> anyhow::Result<()> {
    cluster.end_load().await?;
    tell(report, clock, "pods deleted");
    let deadline = Instant::now() + args.scale_down_timeout;
    let mut left = usize::MAX;
    loop {
        if let Ok(look) = cluster.look().await {
            let lost: Vec<String> = progress.lost_nodes(&look).cloned().collect();
            let surplus = progress.surplus(&look);
            if !lost.is_empty() {
                report.code = code::SCALE_DOWN_FAILED;
                report.error = Some(format!(
                    "nodes with pods of others are gone: {}",
                    lost.join(", ")
                ));
                return Ok(());
            }
            if surplus < left {
                left = surplus;
                tell(report, clock, &format!("{left} nodes more than before"));
            }
            if surplus == 0 {
                report.scaled_down = Some(clock.elapsed().as_secs_f64());
                return Ok(());
            }
            if deadline <= Instant::now() {
                report.code = code::SCALE_DOWN_FAILED;
                report.error = Some(format!(
                    "{surplus} nodes were not removed in time; `windlass explain node` says why \
                     each stays"
                ));
                return Ok(());
            }
        }
        sleep(PAUSE).await;
    }
}

fn tell(report: &mut Report, clock: Instant, what: &str) {
    say(
        report,
        Step {
            seconds: clock.elapsed().as_secs_f64(),
            what: what.to_owned(),
        },
    );
}

fn say(report: &mut Report, step: Step) {
    let minutes = (step.seconds / 60.0).floor();
    let seconds = step.seconds - minutes * 60.0;
    // A person at a terminal reads along; so does a log.
    let mark = if std::io::stderr().is_terminal() {
        "›"
    } else {
        ""
    };
    output::talk(&format!("{mark}{minutes:02}:{seconds:04.1}  {}", step.what));
    report.steps.push(step);
}
