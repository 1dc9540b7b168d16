use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use windlass_kube::Endpoint;
use windlass_kube::lease::{Elector, ElectorOptions, Leadership};
use windlass_provision::rotation::{
    Action, Coordination, Decision, Form, NOT_SIGNED, Outcome, Reason, Retry, Settings, TurnError,
    keep, look, remaining, turn,
};

use super::connection::{Cluster, ClusterArgs, ParameterArgs};
use super::live::{Live, Sight, record_event};
use super::{duration, duration_or_zero, random, rounded, until_told_to_end};
use crate::output;

mod metrics;

use metrics::Metrics;

/// Attempts of a single run, where a failure may pass.
const ATTEMPTS: u32 = 3;

/// Exit codes of a single run that failed.
const STILL_GOOD: u8 = 3;
const TOO_SHORT: u8 = 4;

/// Arguments of `windlass token rotate`.
#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    parameter: ParameterArgs,
    /// `host:port` that nodes reach the API server at; that of cluster-info if left out.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Look once, renew if it is due, and end: for cron and timers. This is the default.
    ///
    /// Exit code 0: renewed, or still fresh; 3: failed, and the published token is still good
    /// for a booting node; 4: failed, and it is not.
    #[arg(long, conflicts_with = "daemon")]
    once: bool,
    /// Look again and again.
    #[arg(long)]
    daemon: bool,
    /// Look once, say what a rotation would do now, and end: nothing is made, written or deleted.
    ///
    /// Exit code 4 if it would refuse to do anything.
    #[arg(long, conflicts_with_all = ["daemon", "render", "metrics_file"])]
    dry_run: bool,
    /// Who acts where there are several rotators.
    #[arg(long, value_enum, default_value = "age")]
    coordination: CoordinationName,
    /// Life of a token.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Age from which on the published token is renewed.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    renew_after: Duration,
    /// Pause between two looks, give or take a fifth.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    tick: Duration,
    /// How much a renewal may slip before it is a fault.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    lateness: Duration,
    /// Longest time from a node's reading of the token to its own certificate.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    boot_budget: Duration,
    /// Longest random wait before a look, with coordination by age.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration_or_zero)]
    spread: Duration,
    /// How long to wait for the signature of a new token before it is deleted again.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    sign_deadline: Duration,
    /// See only the published token's Secret, by its id, and leave all others to expire: for an
    /// account that may create and get Secrets in kube-system, and neither list, change nor delete
    /// them.
    #[arg(long)]
    no_list: bool,
    /// Print what runs this command on a control-plane node, with these very flags, and end.
    #[arg(long, value_enum, value_name = "FORM")]
    render: Option<FormName>,
    /// Write metrics to this file after every look, for `node_exporter`'s textfile collector.
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CoordinationName {
    /// Each by the parameter's age, after a random wait.
    Age,
    /// Who holds the Lease kube-system/windlass-token-rotator.
    Lease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormName {
    /// A systemd service that looks again and again.
    Service,
    /// A systemd service and its timer, every five minutes.
    Timer,
    /// A line for `/etc/cron.d`, every five minutes.
    Cron,
}

const COMPAT_WARNING: &str = "\
warning: --compat=2019 also writes the bare token to a plain parameter. Whoever may read any
  parameter of the account reads it; it names no endpoint, no expiry and no CA, so a script that
  joins with it cannot tell the control plane from an impostor. Move the nodes to the encrypted
  parameter, then run `windlass token retire-compat`.";

pub(super) async fn rotate(args: &RotateArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings {
        ttl: args.ttl,
        renew_after: args.renew_after,
        tick: args.tick,
        lateness: args.lateness,
        boot_budget: args.boot_budget,
        spread: args.spread,
        sign_deadline: args.sign_deadline,
        ..Settings::default()
    }
    .validate()?;
    if args.parameter.compat.is_some() {
        output::talk(COMPAT_WARNING);
    }
    if let Some(form) = args.render {
        let form = match form {
            FormName::Service => Form::Service,
            FormName::Timer => Form::Timer,
            FormName::Cron => Form::Cron,
        };
        output::data(&form.render(&forwarded(std::env::args().skip(3))))?;
        return Ok(ExitCode::SUCCESS);
    }
    let endpoint = args.endpoint.clone();
    let sight = if args.no_list {
        Sight::Published
    } else {
        Sight::All
    };
    let live = Live::connect(&args.cluster, &args.parameter, endpoint, sight);
    let live = Box::pin(live).await?;
    if args.dry_run {
        return dry_run(&live, &settings).await;
    }
    let mut random = random()?;
    let mut metrics = Metrics::new(args.metrics_file.clone());
    match (args.daemon, args.coordination) {
        (false, CoordinationName::Lease) => {
            bail!("--coordination=lease needs --daemon: a single run cannot hold a lease")
        }
        (false, CoordinationName::Age) => once(&live, &settings, &mut random, &mut metrics).await,
        (true, CoordinationName::Age) => {
            let by_age = keep(&live, &settings, Coordination::Age, &mut random, |result| {
                report(&live, &mut metrics, result);
                announce(&live, result);
            });
            until_told_to_end(Box::pin(by_age)).await
        }
        (true, CoordinationName::Lease) => {
            let by_lease = as_leader(&live, &settings, &mut random, &mut metrics);
            until_told_to_end(Box::pin(by_lease)).await
        }
    }
}

async fn dry_run(live: &Live, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (observation, decision) = look(live, settings).await.map_err(|failed| {
        let hint = failed.hint.clone();
        let error = anyhow::Error::new(failed);
        if hint.is_empty() {
            error
        } else {
            error.context(hint)
        }
    })?;
    output::data(&would(&decision, remaining(&observation)))?;
    Ok(match decision.action {
        Action::Refuse { .. } => ExitCode::from(TOO_SHORT),
        _ => ExitCode::SUCCESS,
    })
}

/// What would be done, a line for each thing. Of a token nothing but its id is said.
fn would(decision: &Decision, remaining: Option<Duration>) -> String {
    let mut lines = Vec::new();
    for (id, _) in &decision.sweep {
        lines.push(format!("would delete token {id}: it was superseded"));
    }
    let good_for = remaining.map_or_else(|| "an unknown time".to_owned(), rounded);
    lines.push(match &decision.action {
        Action::Keep => format!("would keep the published token, good for {good_for}"),
        Action::PublishCompat => {
            "would bring the plain parameter up to date with the published token".to_owned()
        }
        Action::Publish(id, reason) => {
            format!("would publish token {id}, which was made and not published: {reason}")
        }
        Action::Create(reason) => format!("would make a token and publish it: {reason}"),
        Action::Refuse { version } => format!(
            "would refuse: the parameter holds a document of version {version}, by a later Windlass"
        ),
    });
    lines.join("\n") + "\n"
}

async fn once(
    live: &Live,
    settings: &Settings,
    random: &mut ChaCha20Rng,
    metrics: &mut Metrics,
) -> anyhow::Result<ExitCode> {
    tokio::time::sleep(settings.spread_wait(random.random())).await;
    let mut attempt = 1;
    loop {
        let result = turn(live, settings, random).await;
        report(live, metrics, &result);
        if let Some((reason, message)) = announcement(&result) {
            record_event(live.cluster().api().clone(), reason, message).await;
        }
        match result {
            Ok(outcome) => {
                output::data(&format!("{}\n", told(&outcome)))?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) if error.retry == Retry::Later && attempt < ATTEMPTS => {
                tokio::time::sleep(settings.backoff(attempt, random.random())).await;
                attempt += 1;
            }
            Err(error) => {
                let left = error.remaining.or_else(|| live.last_known_remaining());
                let (message, code) = match left {
                    Some(left) if left >= settings.boot_budget => (
                        format!("failed, published token still good for {}", rounded(left)),
                        STILL_GOOD,
                    ),
                    Some(left) => (
                        format!(
                            "failed, published token good for {}, less than the boot budget of {}",
                            rounded(left),
                            rounded(settings.boot_budget)
                        ),
                        TOO_SHORT,
                    ),
                    None => (
                        "failed, and no published token is known".to_owned(),
                        TOO_SHORT,
                    ),
                };
                output::data(&format!("{message}\n"))?;
                return Ok(ExitCode::from(code));
            }
        }
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fresh { remaining } => {
            format!(
                "still fresh: published token good for {}",
                rounded(*remaining)
            )
        }
        Outcome::Renewed {
            id,
            reason,
            remaining,
        } => format!(
            "renewed: {reason}; published token {id}, good for {}",
            rounded(*remaining)
        ),
        Outcome::Yielded { .. } => {
            "still fresh: another rotator has renewed it in the meantime".to_owned()
        }
        Outcome::CompatMended => {
            "still fresh: the plain parameter was brought up to date".to_owned()
        }
    }
}

/// The flags of this command that the rendered one has too: all but how it runs.
fn forwarded(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--once" | "--daemon" => {}
            "--render" => drop(arguments.next()),
            _ if argument.starts_with("--render=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}

/// What of a turn becomes an event: its reason and text.
fn announcement(result: &Result<Outcome, TurnError>) -> Option<(&'static str, String)> {
    match result {
        Ok(Outcome::Renewed {
            id,
            reason: reason @ Reason::Revoked,
            ..
        }) => Some((
            "TokenRevoked",
            format!("{reason}; token {id} is published now"),
        )),
        Err(error) if error.operation == NOT_SIGNED => {
            Some(("TokenNotSigned", format!("{NOT_SIGNED}: {}", error.hint)))
        }
        _ => None,
    }
}

fn announce(live: &Live, result: &Result<Outcome, TurnError>) {
    if let Some((reason, message)) = announcement(result) {
        tokio::spawn(record_event(live.cluster().api().clone(), reason, message));
    }
}

/// The rotator as a part of another process, by age, with the defaults of `windlass token rotate`.
pub(crate) struct Rotation {
    live: Live,
    settings: Settings,
}

/// What a part's owner is told of each turn.
pub(crate) struct TurnReport {
    /// `failed`, `fresh` or `renewed`.
    pub(crate) result: &'static str,
    /// How long the published token is still good, where that is known.
    pub(crate) remaining: Option<Duration>,
}

impl Rotation {
    /// Nothing is sent yet.
    pub(crate) async fn new(
        endpoint: Endpoint,
        cluster: &str,
        kms_key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let args = ParameterArgs::of(cluster, kms_key);
        Ok(Self {
            live: Live::of(Cluster::of(endpoint), &args, None, Sight::All).await?,
            settings: Settings::default().validate()?,
        })
    }

    /// Looks again and again until dropped.
    pub(crate) async fn keep(self, mut told: impl FnMut(&TurnReport)) -> anyhow::Result<()> {
        let Self { live, settings } = self;
        let mut random = random()?;
        let mut metrics = Metrics::new(None);
        keep(&live, &settings, Coordination::Age, &mut random, |result| {
            report(&live, &mut metrics, result);
            announce(&live, result);
            told(&TurnReport {
                result: metrics::result_of(result),
                remaining: live.last_known_remaining(),
            });
        })
        .await;
        Ok(())
    }
}

fn report(live: &Live, metrics: &mut Metrics, result: &Result<Outcome, TurnError>) {
    let parameter = live.parameter();
    match result {
        Ok(Outcome::Fresh { remaining }) => {
            info!(
                parameter,
                remaining = rounded(*remaining),
                "the join credential is fresh"
            );
        }
        Ok(Outcome::Renewed {
            id,
            reason,
            remaining,
        }) => {
            info!(parameter, token = %id, %reason, remaining = rounded(*remaining), "renewed the join credential");
        }
        Ok(Outcome::Yielded { overwritten }) => {
            info!(
                parameter,
                overwritten, "another rotator has renewed the join credential"
            );
        }
        Ok(Outcome::CompatMended) => info!(parameter, "brought the plain parameter up to date"),
        Err(failed) => {
            let left = failed.remaining.or_else(|| live.last_known_remaining());
            let remaining = left.map_or_else(|| "unknown".to_owned(), rounded);
            let mut cause = String::new();
            let mut source = std::error::Error::source(failed);
            while let Some(error) = source {
                if !cause.is_empty() {
                    cause.push_str(": ");
                }
                cause.push_str(&error.to_string());
                source = error.source();
            }
            let problem = failed.operation;
            let hint = failed.hint.as_str();
            match failed.retry {
                Retry::Later => warn!(
                    parameter,
                    remaining, cause, hint, problem, "cannot renew the join credential"
                ),
                Retry::Never => error!(
                    parameter,
                    remaining, cause, hint, problem, "cannot renew the join credential"
                ),
            }
        }
    }
    let remaining = match result {
        Ok(_) => live.last_known_remaining(),
        Err(failed) => failed.remaining.or_else(|| live.last_known_remaining()),
    };
    metrics.count(
        result,
        remaining,
        live.last_known_age(),
        live.last_known_live(),
    );
    if let Err(problem) = metrics.write() {
        warn!(problem = format!("{problem:#}"), "cannot write the metrics");
    }
}

/// Looks as long as this process holds the lease.
async fn as_leader(
    live: &Live,
    settings: &Settings,
    random: &mut ChaCha20Rng,
    metrics: &mut Metrics,
) {
    let identity = format!(
        "{}_{:016x}",
        windlass_provision::rotation::Surroundings::identity(live)
            .split('/')
            .next()
            .unwrap_or_default(),
        random.random::<u64>()
    );
    loop {
        let elector = Elector::new(
            live.cluster().api(),
            ElectorOptions {
                namespace: "kube-system".to_owned(),
                name: "windlass-token-rotator".to_owned(),
                identity: identity.clone(),
                lease_duration: Duration::from_mins(1),
                renew_deadline: Duration::from_secs(40),
                retry_period: Duration::from_secs(10),
            },
        );
        let leadership = elector.leadership();
        let cancel = CancellationToken::new();
        tokio::select! {
            biased;
            lost = elector.run(&cancel) => {
                if let Err(lost) = lost {
                    info!(%lost, "another rotator acts now");
                }
            }
            () = while_leading(live, settings, random, metrics, leadership) => {}
        }
    }
}

async fn while_leading(
    live: &Live,
    settings: &Settings,
    random: &mut ChaCha20Rng,
    metrics: &mut Metrics,
    mut leadership: watch::Receiver<Leadership>,
) {
    loop {
        if leadership
            .wait_for(|it| *it == Leadership::Leader)
            .await
            .is_err()
        {
            return;
        }
        let mut lost = leadership.clone();
        let acting = keep(live, settings, Coordination::Lease, random, |result| {
            report(live, metrics, result);
            announce(live, result);
        });
        tokio::select! {
            biased;
            _ = lost.wait_for(|it| *it != Leadership::Leader) => {}
            () = acting => {}
        }
    }
}
