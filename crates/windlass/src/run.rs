//! `windlass run`: autoscales a live cluster.
//!
//! The order of the start: flags, logs, HTTP, the API server, watches, AWS, the lease, memory,
//! the loop ([`shell`]). A candidate that does not lead watches already, so that it can act as
//! soon as it does.

mod actions;
mod budget;
mod consult;
mod events;
mod groups;
mod health;
mod http;
mod logging;
pub(crate) mod memory;
mod metrics;
mod shell;
mod snapshotz;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use windlass_aws::Aws;
use windlass_aws_client::{Attempt, Observer, Operation};
use windlass_config::{Config, FlagError, Warning};
use windlass_kube::lease::{Elector, ElectorOptions, Leadership, Lost};
use windlass_kube::{Api, ClusterStore, Endpoint, EventRecorder, RecorderOptions, StatusWriter};
use windlass_model::{ObjectName, SchedulerVersion};

use crate::token::Rotation;
use crate::{hint, output, reach, scheduler_config};
use metrics::Registry;
use shell::{Parts, Shell};

/// Exit code after a mistake in the flags; nothing was done.
const BAD_FLAGS: u8 = 2;
/// Exit code after another replica has taken the lease: start again as a candidate.
const LOST_LEASE: u8 = 3;

/// What stands before the flags in the help.
const USAGE: &str = "\
Autoscale a cluster: the flags are those of the Go cluster-autoscaler.

Usage: windlass run [FLAGS]

It ends with 0 when it was told to, 1 when it cannot work (its address is taken, no credentials),
2 after a mistake in the flags, 3 when another replica has taken the lease. An API server or a
cloud that is away does not end it.

";

/// The pause between two attempts to reach the API server at the start.
const CONNECT_PAUSE: Duration = Duration::from_secs(2);
/// Threads that carry requests. Decisions have one of their own.
const WORKERS: usize = 2;

/// Runs with these flags until told to end.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let Ok(arguments) = arguments
        .iter()
        .map(|argument| argument.to_str().ok_or(()))
        .collect::<Result<Vec<&str>, ()>>()
    else {
        output::error(&anyhow!("an argument is not UTF-8"));
        return ExitCode::from(BAD_FLAGS);
    };
    let (config, warnings) = match Config::parse(arguments) {
        Ok(parsed) => parsed,
        Err(errors) if errors.contains(&FlagError::Help) => return help(),
        Err(errors) => {
            for error in errors {
                output::error(&anyhow::Error::new(error));
            }
            return ExitCode::from(BAD_FLAGS);
        }
    };
    if let Err(error) = logging::begin(&config.logging) {
        output::error(&error);
        return ExitCode::FAILURE;
    }
    // Once, before anything speaks TLS; whoever comes second finds it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let ended = runtime
        .context("start the threads that carry requests")
        .and_then(|runtime| {
            let ended = runtime.block_on(autoscale(Arc::new(config), &warnings));
            // What is still under way is not waited for: its intent is written down.
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            if error.is::<Lost>() {
                ExitCode::from(LOST_LEASE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn help() -> ExitCode {
    match output::data(&format!("{USAGE}{}\n", windlass_config::help())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn autoscale(config: Arc<Config>, warnings: &[Warning]) -> Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), "windlass run");
    for argument in config.to_arguments() {
        info!(argument, "flag");
    }
    for warning in warnings {
        warn!("{warning}");
    }
    if !names_groups(&config) {
        warn!(
            "no node group is named: add --node-group-auto-discovery=asg:tag=KEY,... or --nodes=MIN:MAX:NAME"
        );
    }
    let stop = stop_on_signal()?;
    let Some(prepared) = stop.run_until_cancelled(Box::pin(prepare(&config))).await else {
        return Ok(());
    };
    let Prepared {
        api,
        parts,
        _tasks,
        _watches,
    } = prepared?;
    let elector = config
        .leader_election
        .enabled
        .then(|| elector(&config, &api))
        .transpose()?;
    // Without an election this process leads as long as it lives.
    let (alone, always) = watch::channel(Leadership::Leader);
    let leadership = elector.as_ref().map_or(always, Elector::leadership);
    let working = stop.child_token();
    let election = async {
        let ended = if let Some(elector) = elector {
            elector.run(&stop).await
        } else {
            stop.cancelled().await;
            Ok(())
        };
        working.cancel();
        ended
    };
    let shell = Shell::new(parts, leadership);
    let (ended, ()) = tokio::join!(election, shell.run(&working));
    drop(alone);
    Ok(ended?)
}

/// All that runs before this process leads.
struct Prepared {
    api: Api,
    parts: Parts,
    /// What serves and refreshes; it ends with this value.
    _tasks: JoinSet<()>,
    _watches: JoinSet<()>,
}

async fn prepare(config: &Arc<Config>) -> Result<Prepared> {
    let process = &config.process;
    let expander = consult::server(config)?;
    let profiles = Arc::new(scheduler_config::profiles(config)?);
    let registry = Registry::new(process.emit_per_nodegroup_metrics);
    let health = health::Health::new(config);
    let listener = http::listen(&process.address)
        .await
        .with_context(|| format!("listen on --address={}", process.address))?;
    let mut tasks = JoinSet::new();
    let snapshots = process
        .debugging_snapshot_enabled
        .then(snapshotz::SnapshotRequests::default);
    let served = http::serve(
        listener,
        registry.clone(),
        health.clone(),
        snapshots.clone(),
    );
    tasks.spawn(async move {
        if let Err(error) = served.await {
            warn!(%error, "the HTTP server has ended");
        }
    });

    let api = connect(config).await?;
    let options = reach::objects(config, reach_server(&api).await);
    let (store, watches) = ClusterStore::watch(&api, &options);
    let aws = connect_aws(config, &registry).await?;
    let groups_changed = Arc::new(Notify::new());
    tasks.spawn(groups::keep_current(
        aws.clone(),
        Arc::clone(&groups_changed),
        registry.clone(),
        names_groups(config),
    ));
    if let Some(rotation) = Box::pin(rotation(config, registry.clone())).await? {
        tasks.spawn(rotation);
    }
    let recorder_options = RecorderOptions {
        record_duplicates: process.record_duplicated_events,
    };
    let (recorder, recording) = EventRecorder::new(api.clone(), recorder_options);
    tasks.spawn(recording);
    let priority_config_map = ObjectName::new(&*process.namespace, reach::PRIORITY_CONFIG_MAP);
    let status = process
        .write_status_configmap
        .then(|| StatusWriter::new(&api, &process.namespace, &process.status_config_map_name));
    let parts = Parts {
        config: Arc::clone(config),
        profiles,
        api: api.clone(),
        announcer: events::Announcer::new(recorder, store.clone(), priority_config_map),
        store,
        aws,
        groups_changed,
        expander,
        status,
        registry,
        health,
        snapshots,
    };
    Ok(Prepared {
        api,
        parts,
        _tasks: tasks,
        _watches: watches,
    })
}

/// Whether there is any group to look for.
fn names_groups(config: &Config) -> bool {
    let groups = &config.node_groups;
    !groups.nodes.is_empty() || !groups.auto_discovery.is_empty()
}

fn elector(config: &Config, api: &Api) -> Result<Elector> {
    let flags = &config.leader_election;
    let options = ElectorOptions {
        namespace: config.process.namespace.clone(),
        name: flags.resource_name.clone(),
        identity: host_name()?,
        lease_duration: flags.lease_duration.unsigned_abs(),
        renew_deadline: flags.renew_deadline.unsigned_abs(),
        retry_period: flags.retry_period.unsigned_abs(),
    };
    Ok(Elector::new(api, options))
}

async fn connect(config: &Config) -> Result<Api> {
    let api = windlass_kube::connect(&reach::api_server(config)).await;
    api.context("connect to the API server")
}

/// `--token-rotation`: leader or not, since any number of rotators may look.
async fn rotation(
    config: &Config,
    registry: Registry,
) -> Result<Option<impl Future<Output = ()> + use<>>> {
    let process = &config.process;
    let cluster = process.token_cluster.as_ref();
    let Some(cluster) = cluster.filter(|_| process.token_rotation) else {
        return Ok(None);
    };
    let endpoint = Endpoint::find(&reach::api_server(config))
        .await
        .context("connect to the API server")?;
    let key = process.token_kms_key.as_deref();
    let rotation = Box::pin(Rotation::new(endpoint, cluster, key))
        .await
        .context("--token-rotation")?;
    let kept = rotation.keep(move |turn| {
        if let Some(remaining) = turn.remaining {
            let seconds = remaining.as_secs_f64();
            registry.set("windlass_join_token_remaining_seconds", &[], seconds);
        }
        let labels = [("result", turn.result)];
        registry.add("windlass_join_token_rotations_total", &labels, 1.0);
    });
    Ok(Some(async move {
        if let Err(error) = kept.await {
            warn!(%error, "the join credential is not kept fresh");
        }
    }))
}

/// Waits until the API server answers, and asks it whose scheduler decides.
async fn reach_server(api: &Api) -> SchedulerVersion {
    let mut is_known = false;
    loop {
        match windlass_kube::scheduler_version(api).await {
            Ok(version) => return version,
            Err(error) if error.is_transient() => {
                if !std::mem::replace(&mut is_known, true) {
                    warn!(%error, "cannot reach the API server: trying again");
                }
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            Err(error) => {
                let hint = hint::of_api(&error);
                warn!(%error, hint, "the API server does not tell its version");
                return SchedulerVersion::default();
            }
        }
    }
}

async fn connect_aws(config: &Config, registry: &Registry) -> Result<Aws> {
    let observer = Arc::new(Timed(registry.clone()));
    let aws = Aws::connect(reach::cloud(config, Some(observer))?).await;
    let aws = aws.context("connect to AWS")?;
    info!(groups = aws.summary(), "node groups");
    Ok(aws)
}

/// Observes how long AWS takes.
struct Timed(Registry);

impl Observer for Timed {
    fn operation(&self, operation: &Operation<'_>) {
        let labels = [
            ("endpoint", operation.endpoint),
            ("status", operation.status),
        ];
        let seconds = operation.duration.as_secs_f64();
        self.0
            .observe("aws_request_duration_seconds", &labels, seconds);
    }

    fn attempt(&self, attempt: &Attempt<'_>) {
        if attempt.throttled {
            let labels = [("endpoint", attempt.action)];
            self.0
                .add("windlass_aws_throttled_calls_total", &labels, 1.0);
        }
    }
}

fn host_name() -> Result<String> {
    let name = rustix::system::uname();
    let name = name
        .nodename()
        .to_str()
        .context("the host name is not UTF-8")?;
    Ok(name.trim().to_lowercase())
}

/// Cancelled by the first SIGINT, SIGTERM or SIGQUIT.
fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::quit(),
    ] {
        let mut signals = signal(kind).context("listen for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            info!("told to end");
            stop.cancel();
        });
    }
    Ok(stop)
}
