//! A run: waves of pods, each watched until its nodes have come or gone, and the cleaning up.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::cloud::Cloud;
use super::cluster::{Cluster, Placement, StartError, Started};
use super::progress::{Look, Progress, Step, Verdict};
use super::report::{Report, Stage, Wave};
use super::sizing::Sizing;
use super::watches::Watches;
use super::{Form, VerifyArgs, code};
use crate::interrupts::Interrupts;
use crate::output;

/// Longest time without a look: the lease and the status object are not watched.
const LONGEST: Duration = Duration::from_secs(5);
/// How often AWS is asked for the instances of a group that was raised.
const AWS_PAUSE: Duration = Duration::from_secs(10);

/// All that a run is made with.
pub(super) struct Run<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) cloud: Option<&'a Cloud>,
    pub(super) args: &'a VerifyArgs,
    pub(super) sizing: Sizing,
    pub(super) placement: Placement,
    /// How many nodes more than at the begin each wave wants.
    pub(super) waves: Vec<u32>,
    /// How long the waves are repeated.
    pub(super) soak: Option<Duration>,
    pub(super) interrupts: Interrupts,
}

/// Where a run is.
struct State {
    id: String,
    began: Timestamp,
    clock: Instant,
    progress: Progress,
    report: Report,
    watches: Watches,
    aws_asked: Option<Instant>,
    instances: std::collections::BTreeMap<String, String>,
}

impl Run<'_> {
    /// Makes the pods, watches, and cleans up however it ends.
    pub(super) async fn once(&self, report: Report, progress: Progress) -> Report {
        let began = report.began;
        let mut state = State {
            id: report.run.clone(),
            began,
            clock: Instant::now(),
            progress,
            report,
            watches: Watches::new(self.cluster.api.clone(), &self.cluster.namespace),
            aws_asked: None,
            instances: std::collections::BTreeMap::new(),
        };
        let load = self.sizing.load(&self.waves);
        let (id, expires) = (state.id.clone(), self.expires(began));
        let started = self
            .cluster
            .start(&id, load, &self.placement, expires, &self.interrupts)
            .await;
        let mut is_uncertain = false;
        match started {
            Ok(Started::All) => {
                state.tell("pods created");
                let ended = tokio::select! {
                    ended = self.drive(&mut state) => Some(ended),
                    () = self.interrupts.reach(1) => None,
                };
                match ended {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        state.report.code = state.report.stage.failed();
                        state.report.error = Some(format!("{error:#}"));
                    }
                    None => state.interrupted(),
                }
            }
            Ok(Started::Interrupted) => state.interrupted(),
            Ok(Started::Taken) => {
                state.report.code = code::PREFLIGHT_FAILED;
                state.report.error = Some(format!(
                    "another run has namespace {}: wait for its end, or name another with \
                     --namespace",
                    self.cluster.namespace
                ));
                return state.report;
            }
            Err(StartError {
                error,
                is_uncertain: uncertain,
            }) => {
                is_uncertain = uncertain;
                state.report.code = code::SCALE_UP_FAILED;
                state.report.error = Some(format!("{error:#}"));
            }
        }
        let clock = state.clock;
        let mut report = state.finished();
        if self.args.keep && report.code != code::INTERRUPTED {
            return report;
        }
        self.clean_up(&id, is_uncertain, &mut report).await;
        if report.left_behind.is_none() {
            report.cleaned_up = Some(clock.elapsed().as_secs_f64());
        }
        report
    }

    /// When what a lost run has left may be removed.
    fn expires(&self, began: Timestamp) -> Timestamp {
        let up_and_down = self.args.timeout + self.args.scale_down_timeout;
        let waves = u32::try_from(self.waves.len()).unwrap_or(u32::MAX);
        let longest = up_and_down.saturating_mul(waves) + self.soak.unwrap_or_default();
        let life = SignedDuration::try_from(longest).unwrap_or(SignedDuration::from_hours(24));
        began.checked_add(life).unwrap_or(began)
    }

    /// A first interrupt has come already or does not matter here; one more leaves everything.
    async fn clean_up(&self, id: &str, is_uncertain: bool, report: &mut Report) {
        if report.code == 0 {
            report.stage = Stage::CleanUp;
        }
        let seen = self.interrupts.count().max(1);
        let cleaning = async {
            if is_uncertain {
                self.cluster.clean_up_late(id).await
            } else {
                self.cluster.clean_up(Some(id)).await
            }
        };
        let cleaned = tokio::select! {
            cleaned = cleaning => cleaned,
            () = self.interrupts.reach(seen + 1) => Err(anyhow::anyhow!("interrupted")),
        };
        if let Err(error) = cleaned {
            report.code = Stage::CleanUp.failed();
            let left = format!(
                "left behind: namespace {0} and PriorityClass {0} ({error:#}); remove them with \
                 `windlass verify --cleanup --namespace {0}`",
                self.cluster.namespace
            );
            // The other forms are for programs, and this is for a person.
            if self.args.output != Form::Text {
                output::talk(&left);
            }
            report.left_behind = Some(left);
        } else if report.code == 0 && 0 < self.interrupts.count() {
            report.code = code::INTERRUPTED;
            report.error = Some("interrupted".to_owned());
        }
    }

    /// The waves, again and again while a soak lasts.
    async fn drive(&self, state: &mut State) -> anyhow::Result<()> {
        let mut now = self.waves.first().copied().unwrap_or_default();
        let mut is_first = true;
        loop {
            for &nodes in &self.waves {
                let is_up = is_first || now < nodes;
                state.report.stage = if is_up {
                    Stage::ScaleUp
                } else {
                    Stage::ScaleDown
                };
                if !is_first {
                    self.cluster.scale(self.sizing.pods(nodes)).await?;
                    state.tell(&format!("wave of {nodes} nodes"));
                    state.progress.begin_wave();
                }
                let began = state.clock.elapsed().as_secs_f64();
                if is_up {
                    self.up(nodes, state).await?;
                } else {
                    self.down(nodes, state).await?;
                }
                if state.report.code != 0 {
                    return Ok(());
                }
                let ended = state.clock.elapsed().as_secs_f64();
                state.report.waves.push(Wave {
                    nodes,
                    seconds: ended - began,
                });
                (now, is_first) = (nodes, false);
            }
            if self.soak.is_none_or(|soak| soak <= state.clock.elapsed()) {
                return Ok(());
            }
        }
    }

    /// Waits until all pods of a wave run, on as many new nodes as it wants.
    async fn up(&self, nodes: u32, state: &mut State) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.args.timeout;
        let pods = usize::try_from(self.sizing.pods(nodes)).unwrap_or(usize::MAX);
        let mut last = Look::default();
        loop {
            // A look that fails is one look less: the deadline decides.
            if let Ok(look) = self.look(state).await {
                last = look;
                let seconds = state.clock.elapsed().as_secs_f64();
                for step in state.progress.observe(seconds, &last) {
                    state.say(step);
                }
                if last.pods.len() == pods && last.settled_pods() == pods {
                    break;
                }
            }
            if deadline <= Instant::now() {
                state.report.code = code::SCALE_UP_FAILED;
                let verdict = Verdict::of(&state.progress, &last);
                state.report.verdict = Some(self.explained(verdict, &last, state).await);
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            state.watches.changed(LONGEST.min(left)).await;
        }
        state.report.new_nodes = state.progress.own_nodes().iter().cloned().collect();
        let there = state
            .progress
            .own_nodes()
            .iter()
            .filter(|name| last.nodes.contains_key(*name))
            .count();
        let is_short = u32::try_from(there).is_ok_and(|there| there < nodes);
        if is_short && self.args.pods.is_none() {
            state.report.code = code::SCALE_UP_FAILED;
            state.report.verdict = Some(Verdict::RoomWasFree { new_nodes: there });
        }
        Ok(())
    }

    /// Waits until there are no more nodes than a wave wants.
    async fn down(&self, nodes: u32, state: &mut State) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.args.scale_down_timeout;
        let wanted = usize::try_from(nodes).unwrap_or(usize::MAX);
        let mut left = usize::MAX;
        loop {
            if let Ok(look) = self.look(state).await {
                let lost: Vec<String> = state.progress.lost_nodes(&look).cloned().collect();
                let surplus = state.progress.surplus(&look);
                if !lost.is_empty() {
                    state.report.code = code::SCALE_DOWN_FAILED;
                    state.report.error = Some(format!(
                        "nodes with pods of others are gone: {}",
                        lost.join(", ")
                    ));
                    return Ok(());
                }
                if surplus < left {
                    left = surplus;
                    state.tell(&format!("{left} nodes more than before"));
                }
                if surplus <= wanted {
                    state.report.scaled_down = Some(state.clock.elapsed().as_secs_f64());
                    return Ok(());
                }
                if deadline <= Instant::now() {
                    state.report.code = code::SCALE_DOWN_FAILED;
                    state.report.error = Some(format!(
                        "{surplus} nodes were not removed in time; `windlass explain node` says why \
                         each stays"
                    ));
                    return Ok(());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            state.watches.changed(LONGEST.min(left)).await;
        }
    }

    async fn look(&self, state: &mut State) -> anyhow::Result<Look> {
        let mut look = self
            .cluster
            .look(&mut state.watches, &self.placement)
            .await?;
        let groups = look.raised_groups();
        if let Some(cloud) = self.cloud.filter(|_| !groups.is_empty()) {
            let is_time = state
                .aws_asked
                .is_none_or(|asked| AWS_PAUSE <= asked.elapsed());
            if is_time {
                state.aws_asked = Some(Instant::now());
                state.instances = cloud.instances(&groups).await;
            }
            look.instances.clone_from(&state.instances);
        }
        Ok(look)
    }

    /// A verdict with what AWS says of it.
    async fn explained(&self, verdict: Verdict, look: &Look, state: &State) -> Verdict {
        let Some(cloud) = self.cloud else {
            return verdict;
        };
        let groups: BTreeSet<String> = look.raised_groups();
        match verdict {
            Verdict::NoNode { .. } => {
                let mut look = look.clone();
                look.instances = cloud.instances(&groups).await;
                let lone = look.instances_without_node();
                if lone.is_empty() {
                    return Verdict::NoInstance {
                        details: cloud.failed_launches(&groups, state.began).await,
                    };
                }
                let mut details = Vec::new();
                for instance in lone {
                    let console = cloud.console(&instance).await;
                    details.push(format!("{instance}: {}", console.join(" / ")));
                }
                details.extend(cloud.credential_age().await);
                Verdict::NotJoined { details }
            }
            Verdict::NotBound { mut details } => {
                details.extend(cloud.promised(&groups).await);
                Verdict::NotBound { details }
            }
            other => other,
        }
    }
}

impl State {
    fn interrupted(&mut self) {
        output::talk("interrupted: cleaning up (a second time: leave everything)");
        self.report.code = code::INTERRUPTED;
        self.report.error = Some("interrupted".to_owned());
    }

    fn finished(self) -> Report {
        let mut report = self.report;
        report.phases = self.progress.phases();
        report.nodes = self.progress.node_times();
        report.pod_times = self.progress.pod_times();
        report
    }

    fn tell(&mut self, what: &str) {
        let seconds = self.clock.elapsed().as_secs_f64();
        self.say(Step {
            seconds,
            what: what.to_owned(),
        });
    }

    fn say(&mut self, step: Step) {
        let minutes = (step.seconds / 60.0).floor();
        let seconds = step.seconds - minutes * 60.0;
        // A person at a terminal reads along; so does a log.
        let mark = if std::io::stderr().is_terminal() {
            "›"
        } else {
            ""
        };
        output::talk(&format!("{mark}{minutes:02}:{seconds:04.1}  {}", step.what));
        self.report.steps.push(step);
    }
}
