//! `windlass join`: makes this instance a node of its cluster. Idempotent: a unit runs it at every
//! boot, and an instance that has joined is left as it is.

mod attempt;
mod commands;
mod denial;
mod disks;
mod files;
mod instance;
mod joined;
mod kubeadm;
mod leftover;
mod preflight;
mod ready;
mod report;
mod signal;

use std::fs::File;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use rand::RngExt as _;
use windlass_aws_client::{Client, Options};
use windlass_provision::join::{Identity, NodeConfig, Phase, UNIT, backoff};

use crate::output;
use crate::runtime;
use attempt::attempt;
use denial::Known;
use files::Paths;
use leftover::Found;
use report::Report;

/// Arguments of `windlass join`.
///
/// Exit codes: 0 joined, or joined before; 10 the instance's identity; 11 a check before the
/// join, or a command of the operator's before it; 12 the credential; 13 the cluster's CA; 14 kubeadm; 15 the node did not turn ready; 16
/// the time was spent on attempts; 64 the configuration. The last line says what stopped it.
#[derive(Args)]
pub(crate) struct JoinArgs {
    /// What this instance is told about its node.
    #[arg(long, value_name = "FILE", default_value = "/etc/windlass/node.yaml")]
    config: String,
    /// Leave phases out: already-joined, preflight, pre-join, kubeadm, ready, post-join, signal,
    /// cleanup.
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    skip: Vec<Phase>,
    /// Say what would be done: nothing is written, run or told to anybody.
    #[arg(long)]
    dry_run: bool,
    /// Print the systemd unit that runs this at every boot, and end.
    #[arg(long)]
    print_unit: bool,
}

/// Why a phase did not do what it is for.
#[derive(Debug)]
struct Stop {
    phase: Phase,
    lasts: Lasts,
    why: String,
}

/// Whether the same again may go better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    /// It may.
    ForNow,
    /// It may: the time for joining was over before it had come to an end of its own.
    CutShort,
    /// It will not.
    ForGood,
}

impl Stop {
    fn new(phase: Phase, lasts: Lasts, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { phase, lasts, why }
    }

    fn for_now(phase: Phase, why: impl Into<String>) -> Self {
        Self::new(phase, Lasts::ForNow, why)
    }

    fn for_good(phase: Phase, why: impl Into<String>) -> Self {
        Self::new(phase, Lasts::ForGood, why)
    }

    /// A call or a program that was given all the time that was left.
    fn cut_short(phase: Phase, why: impl Into<String>) -> Self {
        Self::new(phase, Lasts::CutShort, why)
    }

    /// Whether this tells more than how a later attempt ended: one that the end of the time has cut
    /// short came less far, or came as far and has no reason of its own.
    fn tells_more_than(&self, later: &Self) -> bool {
        match later.lasts {
            Lasts::CutShort => later.phase <= self.phase,
            Lasts::ForNow => later.phase < self.phase,
            Lasts::ForGood => false,
        }
    }
}

/// How a join ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    /// The node is there.
    Now,
    /// It was there before.
    Before,
    /// The instance is being warmed for a pool and joins when it comes into service.
    Warmed,
    /// Nothing was done.
    NotReally,
}

impl Joined {
    fn name(self) -> &'static str {
        match self {
            Self::Now => "joined",
            Self::Before => "already-joined",
            Self::Warmed => "warmed",
            Self::NotReally => "dry-run",
        }
    }
}

/// What all phases have in common.
struct Context<'a> {
    config: &'a NodeConfig,
    paths: &'a Paths,
    report: &'a Report,
    skip: &'a [Phase],
    dry_run: bool,
    begun: Instant,
}

impl Context<'_> {
    fn is_skipped(&self, phase: Phase) -> bool {
        let is_skipped = self.skip.contains(&phase);
        if is_skipped {
            self.report.say(&format!("{phase}: left out"));
        }
        is_skipped
    }

    fn time_left(&self) -> Duration {
        self.config.budget.saturating_sub(self.begun.elapsed())
    }
}

pub(crate) fn run(args: &JoinArgs) -> anyhow::Result<ExitCode> {
    if args.print_unit {
        output::data(UNIT)?;
        return Ok(ExitCode::SUCCESS);
    }
    crate::logging::start();
    crate::token::install_tls();
    let code = runtime::block_on(Box::pin(join(args)))?;
    Ok(ExitCode::from(code))
}

async fn join(args: &JoinArgs) -> u8 {
    let begun = Instant::now();
    let paths = Paths::from_environment(&args.config);
    let report = Report::start(&paths, args.dry_run);
    let config = match read_config(&paths) {
        Ok(config) => config,
        Err(why) => {
            let stop = Stop::for_good(Phase::Config, why);
            return report.end(&Err(stop), false, begun);
        }
    };
    let context = Context {
        config: &config,
        paths: &paths,
        report: &report,
        skip: &args.skip,
        dry_run: args.dry_run,
        begun,
    };
    let _lock = match lock(&context).await {
        Ok(lock) => lock,
        Err(stop) => return report.end(&Err(stop), false, begun),
    };
    let mut known = None;
    let result = Box::pin(phases(&context, &mut known)).await;
    if !args.dry_run {
        if !context.is_skipped(Phase::Cleanup) {
            paths.remove_secrets();
        }
        if let Some((identity, client)) = &known
            && !context.is_skipped(Phase::Signal)
        {
            signal::tell_group(&context, identity, client, &result).await;
        }
    }
    let was_budget_spent = result
        .as_ref()
        .is_err_and(|stop| stop.lasts != Lasts::ForGood);
    report.end(&result, was_budget_spent, begun)
}

fn read_config(paths: &Paths) -> Result<NodeConfig, String> {
    let path = paths.config();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    NodeConfig::from_yaml(&text).map_err(|error| {
        let source = std::error::Error::source(&error);
        let source = source.map_or_else(String::new, |source| format!(": {source}"));
        // One line: YAML's errors come with an excerpt below.
        let text = format!("{}: {error}{source}", path.display());
        text.lines().next().unwrap_or_default().to_owned()
    })
}

/// One join at a time; a second one waits for the first.
async fn lock(context: &Context<'_>) -> Result<Option<File>, Stop> {
    if context.dry_run {
        return Ok(None);
    }
    let failed = |error: std::io::Error| {
        let path = context.paths.lock();
        Stop::for_good(
            Phase::Lock,
            format!("cannot lock {}: {error}", path.display()),
        )
    };
    let file = context.paths.open_lock().map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) if context.time_left().is_zero() => {
                return Err(Stop::for_good(
                    Phase::Lock,
                    "another join has been running all the time",
                ));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// All phases up to the signal. `known` is who there is to signal for, once that is known.
async fn phases(
    context: &Context<'_>,
    known: &mut Option<(Identity, Client)>,
) -> Result<Joined, Stop> {
    let Context { config, report, .. } = context;
    let identity = instance::identify(context).await?;
    report.say(&format!(
        "instance {} in {} joins {} as {}",
        identity.instance_id, identity.zone, config.cluster, identity.node_name
    ));
    let client = connect(&identity).await?;
    let (identity, client) = known.insert((identity, client));
    leftover::end_kubeadm(context).await;
    if !context.is_skipped(Phase::AlreadyJoined) && joined::is_joined(context, identity) {
        return joined_before(context).await;
    }
    if !context.is_skipped(Phase::Preflight) {
        preflight::check(context)?;
    }
    if identity.is_warming {
        report.say("this instance is being warmed for a pool: it joins when it comes into service");
        return Ok(Joined::Warmed);
    }
    if leftover::undo(context, identity).await == Found::Joined {
        return joined_before(context).await;
    }
    let heartbeat = signal::heartbeat(context, identity, client);
    tokio::select! {
        result = with_commands(context, identity, client) => result,
        never = heartbeat => match never {},
    }
}

/// Changes nothing of a node but to start its kubelet, if that does not run.
async fn joined_before(context: &Context<'_>) -> Result<Joined, Stop> {
    context.report.say("joined before");
    if !context.dry_run {
        context.paths.remove_bootstrap_kubeconfig();
        kubeadm::start_kubelet(context.paths).await?;
    }
    Ok(Joined::Before)
}

async fn connect(identity: &Identity) -> Result<Client, Stop> {
    let options = Options {
        region: Some(identity.region.clone()),
        ..Options::default()
    };
    Client::connect(options)
        .await
        .map_err(|error| Stop::for_good(Phase::Identity, format!("no AWS client: {error}")))
}

/// The join between the operator's own commands.
async fn with_commands(
    context: &Context<'_>,
    identity: &Identity,
    client: &Client,
) -> Result<Joined, Stop> {
    let NodeConfig {
        pre_join,
        post_join,
        ..
    } = context.config;
    disks::set_up(context).await?;
    commands::run(context, Phase::PreJoin, pre_join).await?;
    let joined = until_joined(context, identity, client).await?;
    commands::run(context, Phase::PostJoin, post_join).await?;
    Ok(joined)
}

/// Attempts, with pauses, until one succeeds, one fails for good, or the time is spent.
async fn until_joined(
    context: &Context<'_>,
    identity: &Identity,
    client: &Client,
) -> Result<Joined, Stop> {
    let mut number = 1;
    let mut known = Known::new();
    let mut before = None;
    loop {
        let stop = match attempt(context, identity, client, &mut known).await {
            Ok(joined) if context.dry_run || context.is_skipped(Phase::Ready) => return Ok(joined),
            Ok(_) => return ready::wait(context, identity).await,
            Err(stop) => stop,
        };
        let pause = backoff(number, rand::rng().random());
        if stop.lasts == Lasts::ForGood || context.dry_run {
            return Err(stop);
        }
        if context.time_left() <= pause {
            let telling = before.filter(|before: &Stop| before.tells_more_than(&stop));
            return Err(telling.unwrap_or(stop));
        }
        context
            .report
            .say(&format!("attempt {number}: {}", stop.why));
        tokio::time::sleep(pause).await;
        before = Some(stop);
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attempt_found_itself_is_told_and_not_that_the_next_was_cut_short() {
        let denied = Stop::for_now(Phase::Kubeadm, "denied");
        assert!(denied.tells_more_than(&Stop::cut_short(Phase::Kubeadm, "late")));
        assert!(denied.tells_more_than(&Stop::cut_short(Phase::Credentials, "late")));
        assert!(denied.tells_more_than(&Stop::for_now(Phase::Credentials, "throttled")));
        assert!(!denied.tells_more_than(&Stop::for_now(Phase::Kubeadm, "another")));
        assert!(!denied.tells_more_than(&Stop::for_good(Phase::Credentials, "denied")));
        let throttled = Stop::for_now(Phase::Credentials, "throttled");
        assert!(!throttled.tells_more_than(&Stop::cut_short(Phase::Kubeadm, "late")));
    }
}
