//! One attempt: read the credential, verify the cluster, write files, run kubeadm.

use std::borrow::Cow;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use windlass_aws_client::{CallError, Client, Secret};
use windlass_kube::Endpoint;
use windlass_provision::document::{DocumentError, JoinDocument};
use windlass_provision::join::{
    Discovery, Identity, LabelsFrom, NodeConfig, Phase, TaintConfig, check_skew,
    discovery_kubeconfig, join_configuration, promises, reserve,
};
use windlass_provision::pin;

use super::denial::{Known, Requests};
use super::files::write_secret;
use super::{Context, Joined, Stop, joined, kubeadm, preflight};

/// Life that a token must have left: the time of a TLS bootstrap and some.
const LEAST_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// Time for a connection to the API server before kubeadm is run at all.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn attempt(
    context: &Context<'_>,
    identity: &Identity,
    client: &Client,
    known: &mut Known,
) -> Result<Joined, Stop> {
    let document = read_credential(context, client).await?;
    if !context.skip.contains(&Phase::Preflight) {
        preflight::check_clock(context, client.server_time())?;
    }
    context.report.keep_secret(document.token.secret().clone());
    // Nothing has been sent to the control plane so far.
    document
        .verify(&context.config.ca_pins)
        .map_err(|error| Stop::for_good(Phase::Authority, chain(&error)))?;
    dial(&document).await?;
    let config = with_promises(context, client).await?;
    configure(context, &config, identity, &document).await?;
    if context.dry_run {
        context
            .report
            .say(&format!("would run kubeadm join to {}", document.endpoint));
        return Ok(Joined::NotReally);
    }
    if context.is_skipped(Phase::Kubeadm) {
        return Ok(Joined::Now);
    }
    let requests = Requests::of(identity, &document);
    let Err(mut stop) = kubeadm::join(context, requests.denied(known)).await else {
        return Ok(Joined::Now);
    };
    // A kubelet that has its certificate has joined, whatever kubeadm waited for in vain: the next
    // kubeadm would join nothing beside the Node that is ready now.
    if joined::is_joined(context, identity) {
        context.report.say(&format!("joined, though {}", stop.why));
        context.paths.remove_bootstrap_kubeconfig();
        kubeadm::start_kubelet(context.paths).await?;
        return Ok(Joined::Now);
    }
    if let Some(denial) = requests.denial(known).await {
        stop = Stop::for_now(Phase::Kubeadm, denial);
    }
    kubeadm::reset(context).await;
    Err(stop)
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        parts.push(error.to_string());
        source = error.source();
    }
    parts.join(": ")
}

async fn read_credential(context: &Context<'_>, client: &Client) -> Result<JoinDocument, Stop> {
    let parameter = context.config.parameter();
    let stop = |why| Stop::for_now(Phase::Credentials, why);
    // A call has a time limit of its own, which may be longer than what is left for joining.
    let ssm = client.ssm();
    let read = ssm.get_parameter(&parameter);
    let read = tokio::time::timeout(context.time_left(), read)
        .await
        .map_err(|_| {
            let why = format!("cannot read parameter {parameter}: no answer in time");
            Stop::cut_short(Phase::Credentials, why)
        })?
        .map_err(|error| unreadable(&parameter, &error))?;
    let read = read.ok_or_else(|| stop(format!("there is no parameter {parameter}")))?;
    let document = JoinDocument::from_value(&read.value).map_err(|error| match error {
        DocumentError::Version(_) => Stop::for_good(
            Phase::Credentials,
            format!("parameter {parameter}: {error}"),
        ),
        _ => stop(format!("parameter {parameter}: {error}")),
    })?;
    if document.cluster != context.config.cluster {
        return Err(Stop::for_good(
            Phase::Credentials,
            format!("parameter {parameter} is for cluster {}", document.cluster),
        ));
    }
    if document.expires.duration_since(client.server_time()) < LEAST_LIFE {
        return Err(stop(
            "the published token has expired or is about to: is the rotator running?".to_owned(),
        ));
    }
    Ok(document)
}

fn unreadable(parameter: &str, error: &CallError) -> Stop {
    if error.is_denied() {
        let resource = error.resource.as_deref().unwrap_or(parameter);
        return Stop::for_good(
            Phase::Credentials,
            format!(
                "denied: the node role needs ssm:GetParameter on {resource}, and kms:Decrypt on \
                 its key"
            ),
        );
    }
    Stop::for_now(
        Phase::Credentials,
        format!("cannot read parameter {parameter}: {}", chain(error)),
    )
}

/// The API server, known by the published CA; none where that was too long to publish.
pub(super) fn pinned(document: &JoinDocument) -> Option<Result<Endpoint, String>> {
    let authority = document.certificate_authority.as_ref()?;
    let endpoint = pin::certificates(authority.as_bytes())
        .map_err(|error| chain(&error))
        .and_then(|bundle| {
            Endpoint::pinned(&document.endpoint, &bundle).map_err(|error| chain(&error))
        });
    Some(endpoint)
}

/// Whether the API server answers: a line at once, instead of kubeadm's minutes. What it answers does
/// not matter, but that its certificate is by the published CA: a load balancer takes connections
/// without a server behind it. Nothing secret is sent.
async fn dial(document: &JoinDocument) -> Result<(), Stop> {
    let endpoint = &document.endpoint;
    let unreachable = |why: String| {
        Stop::for_now(
            Phase::Kubeadm,
            format!("cannot reach the API server at {endpoint}: {why}"),
        )
    };
    let late = || unreachable(format!("no answer in {} s", DIAL_TIMEOUT.as_secs()));
    let connection = tokio::net::TcpStream::connect(endpoint);
    tokio::time::timeout(DIAL_TIMEOUT, connection)
        .await
        .map_err(|_| late())?
        .map_err(|error| unreachable(error.to_string()))?;
    let Some(server) = pinned(document) else {
        return Ok(());
    };
    let server = server.map_err(|why| Stop::for_good(Phase::Authority, why))?;
    let version = server.api.get::<Value>("/version");
    match tokio::time::timeout(DIAL_TIMEOUT, version).await {
        Ok(Err(error)) if error.code().is_none() => Err(unreachable(chain(&error))),
        Ok(_) => Ok(()),
        Err(_) => Err(late()),
    }
}

async fn configure(
    context: &Context<'_>,
    config: &NodeConfig,
    identity: &Identity,
    document: &JoinDocument,
) -> Result<(), Stop> {
    let paths = context.paths;
    let kubeadm = kubeadm::version_of(&paths.kubeadm, &["version", "-o", "short"]).await?;
    let kubelet = kubeadm::version_of("kubelet".as_ref(), &["--version"]).await?;
    let refused = |why: String| Stop::for_good(Phase::Configure, why);
    if !document.kubernetes.is_empty() {
        check_skew(&kubelet, &document.kubernetes).map_err(|error| refused(error.to_string()))?;
    }
    let discovery_path = paths.discovery();
    let discovery_text = discovery_path.to_string_lossy();
    let discovery = match document.certificate_authority {
        Some(_) => Discovery::File(&discovery_text),
        None => Discovery::Token,
    };
    let (cpus, memory_mib) = machine();
    let reserved = reserve(&config.reserved, cpus, memory_mib);
    let configuration = join_configuration(
        config,
        identity,
        document,
        discovery,
        reserved.as_deref(),
        &kubeadm,
    )
    .map_err(|error| refused(error.to_string()))?;
    if context.dry_run {
        return Ok(());
    }
    let written = |path: &std::path::Path, content: &Secret| {
        write_secret(path, content)
            .map_err(|error| refused(format!("cannot write {}: {error}", path.display())))
    };
    if let Some(authority) = &document.certificate_authority {
        written(&discovery_path, &discovery_kubeconfig(document, authority))?;
    }
    written(&paths.join_configuration(), &configuration)
}

/// The configuration, with what the group promises of its nodes where that is asked for. Its own
/// labels and taints have the last word.
async fn with_promises<'a>(
    context: &Context<'a>,
    client: &Client,
) -> Result<Cow<'a, NodeConfig>, Stop> {
    if context.config.labels_from == LabelsFrom::Config {
        return Ok(Cow::Borrowed(context.config));
    }
    let group = context.config.auto_scaling_group();
    let unread = |why: String| format!("cannot read the tags of group {group}: {why}");
    let autoscaling = client.autoscaling();
    let tags = autoscaling.describe_tags(group);
    let tags = tokio::time::timeout(context.time_left(), tags)
        .await
        .map_err(|_| Stop::cut_short(Phase::Configure, unread("no answer in time".to_owned())))?
        .map_err(|error| {
            if error.is_denied() {
                let why = "denied: the node role needs autoscaling:DescribeTags".to_owned();
                Stop::for_good(Phase::Configure, unread(why))
            } else {
                Stop::for_now(Phase::Configure, unread(chain(&error)))
            }
        })?;
    let found = promises(tags.iter().map(|tag| (&*tag.key, &*tag.value)));
    for why in &found.left_out {
        context
            .report
            .say(&format!("a tag of group {group} is left out: {why}"));
    }
    let mut config = context.config.clone();
    for (key, value) in found.labels {
        config.labels.entry(key).or_insert(value);
    }
    for taint in found.taints {
        let is_there = |own: &TaintConfig| own.key == taint.key && own.effect == taint.effect;
        if !config.taints.iter().any(is_there) {
            config.taints.push(taint);
        }
    }
    Ok(Cow::Owned(config))
}

/// Processors and memory in MiB.
fn machine() -> (u64, u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    (cpus, kib.unwrap_or_default() >> 10)
}
