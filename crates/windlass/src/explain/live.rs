//! The live cluster, as the autoscaler sees it: the same watches, the same groups, the same flags
//! and what it remembers.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use windlass_aws::{Aws, GroupExplanation};
use windlass_config::Config;
use windlass_core::Memory;
use windlass_kube::{Api, ClusterStore, ConnectOptions, StatusWriter};
use windlass_model::Cluster;
use windlass_sim::{DESCRIPTION, Explanation, Subject, explain};

use super::{Answer, flags};
use crate::run::memory;
use crate::{logging, output, reach, scheduler_config};

/// Longest time for the first view of all that decisions read.
const SYNC: Duration = Duration::from_mins(1);
/// Longest time for AWS to list the groups and tell what their nodes would be.
const GROUPS: Duration = Duration::from_secs(90);

/// Where the live cluster is.
#[derive(clap::Args)]
pub(super) struct LiveArgs {
    /// Path of a kubeconfig; without it `$KUBECONFIG` or the pod's own service account.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    kubeconfig: Option<String>,
    /// Namespace of the autoscaler's lease and status ConfigMap.
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "kube-system",
        conflicts_with = "files"
    )]
    namespace: String,
    /// The flags that the autoscaler runs with, after `--`; left out, those of the pod that holds
    /// its lease.
    #[arg(last = true, value_name = "FLAGS", conflicts_with = "files")]
    flags: Vec<String>,
}

/// Asks the live cluster.
pub(super) fn ask(args: &LiveArgs, subject: &Subject) -> Result<Answer> {
    logging::start_quietly();
    // Once, before anything speaks TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the thread that carries requests")?;
    let View {
        config,
        cluster,
        memory,
        aws,
    } = runtime.block_on(look(args))?;
    let explanation = explain(
        &cluster,
        &config,
        &scheduler_config::profiles(&config)?,
        &memory,
        Timestamp::now(),
        subject,
    )?;
    let aws = match subject {
        Subject::Group(name) => aws.explain(name),
        Subject::Pod(_) | Subject::Node(_) => None,
    };
    Ok(with_sources(explanation, aws))
}

/// Has AWS tell where the values come from that are as it describes the group.
fn with_sources(mut explanation: Explanation, aws: Option<GroupExplanation>) -> Answer {
    if let Some(aws) = &aws {
        for part in &mut explanation.template {
            if part.source == DESCRIPTION
                && let Some(source) = aws.source_of(&part.part)
            {
                source.clone_into(&mut part.source);
            }
        }
    }
    Answer { explanation, aws }
}

/// What the autoscaler would decide from.
struct View {
    config: Config,
    cluster: Cluster,
    memory: Memory,
    aws: Aws,
}

async fn look(args: &LiveArgs) -> Result<View> {
    let api = windlass_kube::connect(&server(args)).await;
    let api = api.context("connect to the API server")?;
    let config = configuration(args, &api).await?;
    let version = windlass_kube::scheduler_version(&api).await;
    let version = version.context("ask the API server for its version")?;
    let (store, watches) = ClusterStore::watch(&api, &reach::objects(&config, version));
    let aws = Aws::connect(reach::cloud(&config, None)?).await;
    let aws = aws.context("connect to AWS")?;
    let (synced, remembered) = tokio::join!(sync(&store), remember(&config, &api));
    synced?;
    let mut cluster = store.cluster();
    drop(watches);
    let proven = remembered.proven_groups.iter();
    aws.recall(proven.map(AsRef::as_ref));
    if config.features.csi_node_aware_scheduling {
        let nodes = cluster.nodes.iter().map(AsRef::as_ref);
        aws.learn_volume_limits(nodes, &cluster.csi_nodes);
    }
    // Before the groups are listed, so that their templates know how real nodes turned out.
    aws.learn(cluster.nodes.iter().map(AsRef::as_ref));
    list_groups(&aws).await?;
    // And again, so that the groups know which of their instances are nodes.
    aws.learn(cluster.nodes.iter().map(AsRef::as_ref));
    cluster.groups = aws.node_groups();
    Ok(View {
        config,
        cluster,
        memory: remembered,
        aws,
    })
}

fn server(args: &LiveArgs) -> ConnectOptions {
    ConnectOptions {
        kubeconfig: args.kubeconfig.clone().or_else(|| {
            let path = std::env::var("KUBECONFIG").ok();
            path.filter(|path| !path.is_empty())
        }),
        kubernetes: None,
        // Urgent calls do not ask for leave, and all calls here are.
        queries_per_second: 5.0,
        burst: 10,
    }
}

/// The flags that were given, or those of the pod that leads.
async fn configuration(args: &LiveArgs, api: &Api) -> Result<Config> {
    let flags = if args.flags.is_empty() {
        let flags = flags::of_the_leader(api, &args.namespace).await?;
        output::talk(&format!("with the flags of {}", flags.pod));
        flags.flags
    } else {
        args.flags.clone()
    };
    let (config, _) = Config::parse(&flags).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!(errors.join("; "))
    })?;
    if config.node_groups.nodes.is_empty() && config.node_groups.auto_discovery.is_empty() {
        bail!(
            "the flags name no node group: add the autoscaler's --node-group-auto-discovery or --nodes after `--`"
        );
    }
    Ok(config)
}

async fn sync(store: &ClusterStore) -> Result<()> {
    if tokio::time::timeout(SYNC, store.synced()).await.is_ok() {
        return Ok(());
    }
    let behind = store.freshness().behind.join(", ");
    bail!(
        "the API server has not shown {behind} within {} s: may you list and watch them?",
        SYNC.as_secs()
    );
}

async fn list_groups(aws: &Aws) -> Result<()> {
    let Ok(report) = tokio::time::timeout(GROUPS, aws.refresh()).await else {
        bail!(
            "AWS has not listed the node groups within {} s",
            GROUPS.as_secs()
        );
    };
    if let Some(error) = report.errors.into_iter().next() {
        return Err(anyhow::Error::new(error).context("list the node groups"));
    }
    for error in report.template_errors {
        output::talk(&format!(
            "warning: what a new node would be is not known: {error}"
        ));
    }
    Ok(())
}

/// What the leader has written down; without it nodes count as unneeded from now on.
async fn remember(config: &Config, api: &Api) -> Memory {
    let process = &config.process;
    let mut status = StatusWriter::new(api, &process.namespace, &process.status_config_map_name);
    let problem = match status.load_memory().await {
        Ok(None) => return Memory::default(),
        Ok(Some(bytes)) => match memory::decode(&bytes) {
            Ok(memory) => return memory,
            Err(problem) => problem.to_string(),
        },
        Err(error) => error.to_string(),
    };
    output::talk(&format!(
        "warning: what the autoscaler remembers is left out: {problem}"
    ));
    Memory::default()
}
