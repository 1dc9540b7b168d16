//! The loop: observe, decide, check, write down, act, report. It holds no policy.

mod in_flight;
mod pace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use windlass_aws::Aws;
use windlass_config::Config;
use windlass_core::{Decision, EventTiming, Input, Memory, Outcome, OutcomeResult, Part, Plan};
use windlass_grpc_expander::GrpcExpander;
use windlass_kube::lease::Leadership;
use windlass_kube::{Api, ApiError, ClusterStore, StatusConfigMap, StatusWriter};
use windlass_model::Cluster;
use windlass_scheduler::Profiles;

use super::actions::Actor;
use super::budget::WallClock;
use super::consult;
use super::events::Announcer;
use super::health::Health;
use super::memory;
use super::metrics::Registry;
use super::snapshotz::{Collection, SnapshotRequests};
use in_flight::{Growing, InFlight};
use pace::Pace;

/// How long one write of the status `ConfigMap` may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two attempts to read what a predecessor left.
const LOAD_PAUSE: Duration = Duration::from_secs(2);
/// The pause between two looks whether the first view of the node groups is there.
const GROUPS_PAUSE: Duration = Duration::from_millis(100);

/// What the loop works with.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    /// The checks of the scheduler.
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) api: Api,
    pub(crate) store: ClusterStore,
    pub(crate) aws: Aws,
    pub(crate) groups_changed: Arc<Notify>,
    /// Asked which groups grow, with `--expander=grpc`.
    pub(crate) expander: Option<GrpcExpander>,
    pub(crate) announcer: Announcer,
    /// `None` with `--write-status-configmap=false`.
    pub(crate) status: Option<StatusWriter>,
    pub(crate) registry: Registry,
    pub(crate) health: Health,
    /// `None` without `--debugging-snapshot-enabled`.
    pub(crate) snapshots: Option<SnapshotRequests>,
}

/// The loop's state.
pub(crate) struct Shell {
    parts: Parts,
    leadership: watch::Receiver<Leadership>,
    memory: Arc<Memory>,
    /// What came of actions since the last decision.
    outcomes: Vec<Outcome>,
    in_flight: InFlight,
    pace: Pace,
}

/// Why a loop came to nothing; the words of `errors_total`.
#[derive(Debug, thiserror::Error)]
enum LoopError {
    #[error("the decision broke off: {0}")]
    Decision(String),
    #[error("the plan breaks rules and is not carried out: {0}")]
    Refused(String),
    #[error("cannot write down what is to be done, so it is not done")]
    Intent(#[source] ApiError),
}

impl LoopError {
    /// The label of `errors_total`.
    fn kind(&self) -> &'static str {
        match self {
            Self::Decision(_) | Self::Refused(_) => "internalError",
            Self::Intent(_) => "apiCallError",
        }
    }
}

impl Shell {
    pub(crate) fn new(parts: Parts, leadership: watch::Receiver<Leadership>) -> Self {
        let actor = Actor::new(&parts.config, &parts.api, &parts.aws, leadership.clone());
        let pace = Pace::new(&parts.config.process);
        let growing = if parts.config.scale_up.parallel_scale_up {
            Growing::AtOnce
        } else {
            Growing::InTurn
        };
        Self {
            parts,
            leadership,
            memory: Arc::default(),
            outcomes: Vec::new(),
            in_flight: InFlight::new(actor, growing),
            pace,
        }
    }

    /// Loops until `stop`.
    pub(crate) async fn run(mut self, stop: &CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        self.wait_until_leading().await;
        self.parts.health.begin(Instant::now());
        self.first_views().await;
        self.remember().await;
        self.set_limits();
        loop {
            self.pause().await;
            if *self.leadership.borrow() != Leadership::Leader {
                self.parts.health.pause();
                self.wait_until_leading().await;
                self.parts.health.begin(Instant::now());
            }
            self.tick().await;
        }
    }

    async fn wait_until_leading(&mut self) {
        let is_leader = |leadership: &Leadership| *leadership == Leadership::Leader;
        if self.leadership.wait_for(is_leader).await.is_err() {
            // Nobody elects any more: the process is ending.
            std::future::pending::<()>().await;
        }
    }

    async fn first_views(&self) {
        let began = Instant::now();
        self.parts.store.synced().await;
        while self.parts.aws.age().is_none() {
            tokio::time::sleep(GROUPS_PAUSE).await;
        }
        info!(took = ?began.elapsed(), "the first view is complete");
    }

    /// Reads what a predecessor, or this process before it was started again, left.
    async fn remember(&mut self) {
        let Some(status) = &mut self.parts.status else {
            info!(
                "without the status ConfigMap a restart forgets since when nodes are unneeded, which nodes were asked for and which are being removed"
            );
            return;
        };
        let mut is_known = false;
        let bytes = loop {
            match status.load_memory().await {
                Ok(bytes) => break bytes,
                Err(error) if error.is_transient() => {
                    if !std::mem::replace(&mut is_known, true) {
                        warn!(%error, "cannot read what was left to be remembered: trying again");
                    }
                    tokio::time::sleep(LOAD_PAUSE).await;
                }
                Err(error) => {
                    warn!(%error, "cannot read what was left to be remembered: beginning anew");
                    break None;
                }
            }
        };
        match bytes.as_deref().map(memory::decode) {
            None => info!("nothing was left to be remembered"),
            Some(Ok(memory)) => {
                info!(
                    open_scale_ups = memory.open_scale_ups.len(),
                    removals = memory.drains.len(),
                    "remembering what was left"
                );
                let proven = &memory.proven_groups;
                self.parts.aws.recall(proven.iter().map(AsRef::as_ref));
                self.memory = Arc::new(memory);
            }
            Some(Err(error)) => {
                warn!(%error, "what was left to be remembered cannot be used: beginning anew");
            }
        }
    }

    /// The gauges that flags set once.
    fn set_limits(&self) {
        let limits = &self.parts.config.limits;
        let bytes = limits.memory_total_bytes();
        for (name, range) in [
            ("cpu_limits_cores", limits.cores_total),
            ("memory_limits_bytes", bytes),
        ] {
            let registry = &self.parts.registry;
            registry.set(name, &[("direction", "minimum")], range.min as f64);
            registry.set(name, &[("direction", "maximum")], range.max as f64);
        }
    }

    /// Waits for the next loop's reason, and takes in what came of actions meanwhile.
    async fn pause(&mut self) {
        let began = Instant::now();
        let wake = self.parts.store.wake();
        let due = self.pace.due();
        loop {
            tokio::select! {
                finished = self.in_flight.next() => {
                    self.settle(finished);
                    break;
                }
                () = wake.wait(), if self.pace.heeds_events() => break,
                () = self.parts.groups_changed.notified(), if self.pace.heeds_events() => break,
                () = tokio::time::sleep_until(due) => break,
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if *self.leadership.borrow() != Leadership::Leader {
                        break;
                    }
                }
            }
        }
        self.pace.gather(&wake).await;
        while let Some(finished) = self.in_flight.finished() {
            self.settle(finished);
        }
        let reasons = wake.take();
        debug!(?reasons, outcomes = self.outcomes.len(), "woken");
        self.parts.registry.took("loopWait", began.elapsed());
    }

    fn settle(&mut self, finished: in_flight::Finished) {
        let in_flight::Finished {
            outcome,
            announcements,
        } = finished;
        match &outcome.result {
            OutcomeResult::Done => debug!(action = ?outcome.action, "done"),
            OutcomeResult::Refused { message } => {
                info!(action = ?outcome.action, message, "refused for now");
            }
            OutcomeResult::Failed { code, message } => {
                warn!(action = ?outcome.action, %code, message, "failed");
            }
        }
        let object = self.status_object();
        for event in &announcements {
            self.parts.announcer.announce(event, object.as_ref());
        }
        self.outcomes.push(outcome);
    }

    /// One loop.
    async fn tick(&mut self) {
        let began = Instant::now();
        let now = Timestamp::now();
        self.parts.health.note_activity(began);
        self.activity("main", now);
        let result = self.decide_and_act(now).await;
        self.parts.registry.took("main", began.elapsed());
        match result {
            Ok(plan) => {
                self.parts.health.note_success(Instant::now());
                self.activity("mainSuccessful", now);
                self.pace.after_loop(began, plan.wake_at);
            }
            Err(problem) => {
                let source = std::error::Error::source(&problem).map(ToString::to_string);
                error!(%problem, source, "the loop failed");
                let labels = [("type", problem.kind())];
                self.parts.registry.add("errors_total", &labels, 1.0);
                self.pace.after_loop(began, None);
            }
        }
    }

    fn activity(&self, activity: &str, now: Timestamp) {
        let labels = [("activity", activity)];
        let seconds = now.as_second() as f64;
        self.parts.registry.set("last_activity", &labels, seconds);
    }

    async fn decide_and_act(&mut self, now: Timestamp) -> Result<Plan, LoopError> {
        let began = Instant::now();
        let collection = self
            .parts
            .snapshots
            .as_ref()
            .and_then(SnapshotRequests::begin);
        let cluster = self.observe(now);
        self.parts
            .registry
            .took("updateClusterState", began.elapsed());
        let outcomes = std::mem::take(&mut self.outcomes);
        let judged = self
            .decide(cluster, outcomes.clone(), now, collection)
            .await;
        let Judged {
            decision,
            violations,
            timings,
        } = match judged {
            Ok(judged) => judged,
            Err(problem) => {
                self.outcomes = outcomes;
                return Err(problem);
            }
        };
        for (part, duration) in timings {
            self.parts.registry.took(part.as_str(), duration);
            if part == Part::ScaleUp {
                self.activity("scaleUp", now);
            }
        }
        let Decision { plan, memory } = decision;
        if !violations.is_empty() {
            self.outcomes = outcomes;
            self.parts
                .registry
                .add("windlass_refused_plans_total", &[], 1.0);
            return Err(LoopError::Refused(violations.join("; ")));
        }
        self.parts.registry.record(&plan.metrics);
        self.activity("autoscaling", now);
        if let Err(problem) = self.write_down(&plan, &memory, now).await {
            if plan.actions.is_empty() {
                warn!(error = %problem, "cannot write the status ConfigMap");
            } else {
                // What is not written down is not done, and has not been decided.
                self.outcomes = outcomes;
                return Err(LoopError::Intent(problem));
            }
        }
        self.memory = Arc::new(memory);
        self.act(&plan);
        Ok(plan)
    }

    /// The world as it is known, with what has been asked of AWS and not been answered.
    fn observe(&self, now: Timestamp) -> Cluster {
        let mut cluster = self.parts.store.cluster();
        self.parts
            .aws
            .learn(cluster.nodes.iter().map(AsRef::as_ref));
        if self.parts.config.features.csi_node_aware_scheduling {
            let nodes = cluster.nodes.iter().map(AsRef::as_ref);
            self.parts
                .aws
                .learn_volume_limits(nodes, &cluster.csi_nodes);
        }
        cluster.groups = self.parts.aws.node_groups();
        for group in &mut cluster.groups {
            if let Some(size) = self.in_flight.size_asked_for(&group.name) {
                group.target_size = group.target_size.max(size);
            }
        }
        let groups_age = self.parts.aws.age();
        let groups_at = groups_age.map(|age| now - age);
        if let (Some(at), Some(age)) = (cluster.current_at, groups_age) {
            let registry = &self.parts.registry;
            let of_objects = now.duration_since(at).as_secs_f64();
            registry.set(
                "windlass_view_age_seconds",
                &[("of", "cluster")],
                of_objects,
            );
            let of_groups = age.as_secs_f64();
            registry.set("windlass_view_age_seconds", &[("of", "groups")], of_groups);
        }
        cluster.current_at = match (cluster.current_at, groups_at) {
            (Some(objects), Some(groups)) => Some(objects.min(groups)),
            _ => Some(Timestamp::UNIX_EPOCH),
        };
        cluster
    }

    /// Decides on a thread of its own, so that the lease is renewed however long it takes.
    async fn decide(
        &self,
        cluster: Cluster,
        outcomes: Vec<Outcome>,
        now: Timestamp,
        collection: Option<Collection>,
    ) -> Result<Judged, LoopError> {
        let config = Arc::clone(&self.parts.config);
        let profiles = Arc::clone(&self.parts.profiles);
        let memory = Arc::clone(&self.memory);
        let expander = self.parts.expander.clone();
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let budget = WallClock::default();
            let input = Input {
                cluster: &cluster,
                memory: &memory,
                outcomes: &outcomes,
                config: &config,
                now,
                budget: &budget,
            };
            let view = collection.as_ref().and_then(|_| {
                windlass_core::view(
                    &input,
                    windlass_core::prepare_with(&cluster, &config, &profiles),
                )
            });
            let decision = consult::decide(&input, &profiles, expander.as_ref(), &runtime);
            if let Some(collection) = collection {
                collection.answer(&cluster, view.as_ref(), &decision.plan);
            }
            let violations = windlass_core::check(&input, &decision.plan)
                .iter()
                .map(ToString::to_string)
                .collect();
            debug!(
                took = ?began.elapsed(),
                nodes = cluster.nodes.len(),
                pods = cluster.pods.len(),
                actions = decision.plan.actions.len(),
                "decided"
            );
            Judged {
                decision,
                violations,
                timings: budget.into_timings(),
            }
        });
        // A mistake in one decision must not end the process.
        task.await
            .map_err(|problem| LoopError::Decision(problem.to_string()))
    }

    /// Writes the status and, before anything is done, what is going to be done.
    async fn write_down(
        &mut self,
        plan: &Plan,
        memory: &Memory,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(status) = &mut self.parts.status else {
            return Ok(());
        };
        let bytes = match memory::encode(memory) {
            Ok(bytes) => Some(bytes),
            Err(problem) => {
                error!(%problem, "cannot make bytes of what is to be remembered");
                None
            }
        };
        let content = StatusConfigMap {
            status: plan.status.as_deref(),
            last_updated: &go_time(now),
            memory: bytes.as_deref(),
        };
        match tokio::time::timeout(STATUS_TIMEOUT, status.write(content)).await {
            Ok(written) => written,
            Err(_) => Err(ApiError::Timeout(STATUS_TIMEOUT)),
        }
    }

    fn act(&mut self, plan: &Plan) {
        let object = self.status_object();
        for event in &plan.events {
            if event.timing == EventTiming::AtOnce {
                self.parts.announcer.announce(event, object.as_ref());
            }
        }
        for resize in &plan.scale_up.resizes {
            info!(group = %resize.group, from = resize.from, to = resize.to, "scale up");
        }
        for removal in &plan.scale_down.removals {
            info!(node = %removal.node, group = %removal.group, is_empty = removal.is_empty, "scale down");
        }
        for event in self.in_flight.start(plan) {
            self.parts.announcer.announce(&event, object.as_ref());
        }
    }

    fn status_object(&self) -> Option<windlass_kube::InvolvedObject> {
        self.parts.status.as_ref()?.involved_object()
    }
}

/// A decision and what the independent rules say of it.
struct Judged {
    decision: Decision,
    violations: Vec<String>,
    timings: Vec<(Part, Duration)>,
}

/// Go's way to print a time: `2023-11-24 04:28:19.546750398 +0000 UTC`.
fn go_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_does() {
        let time = |text: &str| go_time(text.parse().unwrap());
        assert_eq!(
            time("2023-11-24T04:28:19.5467503Z"),
            "2023-11-24 04:28:19.5467503 +0000 UTC"
        );
        assert_eq!(
            time("2023-11-24T04:28:19Z"),
            "2023-11-24 04:28:19 +0000 UTC"
        );
    }
}
