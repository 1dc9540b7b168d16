//! The simulated world: API server, controllers, scheduler, kubelets, cloud and clock, with the
//! production autoscaler in its middle. Time passes from event to event.

mod autoscaler;
mod budgets;
mod chaos;
mod cloud;
mod controllers;
mod extras;
mod log;
mod observer;
mod pods;
mod queue;
mod scheduler;
mod suffix;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_config::Config;
use windlass_core::{Memory, Outcome};
use windlass_model::{Cluster, Duration, MicroDollars, SmolStr, Timestamp};
use windlass_objects::{Converter, api};
use windlass_scheduler::Profiles;

use crate::report::{Counts, Entry, Report, Sample, Summary};
use crate::scenario::{Object, Scenario, TimelineEntry};

pub(crate) use extras::describe as describe_condition;

use budgets::BudgetRule;
use chaos::Chaos;
pub use chaos::{BudgetKeeper, Faults};
use cloud::{Donor, Machine};
use controllers::Controllers;
use log::Log;
use observer::Observer;
use pods::{PodId, Pods, is_waiting};
use queue::{Event, Queue};
use suffix::Suffixes;

/// A scenario without an end of its own is played for so long.
const LONGEST: Duration = Duration::from_hours(24);

/// Where a simulation is, for whoever watches it.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Simulated time since the start.
    pub elapsed: Duration,
    /// What there is now.
    pub counts: Counts,
    /// What happened since the last report.
    pub entries: &'a [Entry],
}

/// Plays a scenario for so long, or, without a limit, until its last entry has been played and
/// nothing changes any more (24 hours at most). `watch` is told of every instant.
pub fn play(
    scenario: &Scenario,
    limit: Option<Duration>,
    watch: &mut dyn FnMut(&Progress<'_>),
) -> Report {
    let mut world = World::new(scenario);
    world.run(limit, watch);
    world.into_report()
}

/// What came of playing a scenario with faults.
#[derive(Clone, Debug)]
pub struct FaultReport {
    /// What happened.
    pub report: Report,
    /// What must never happen and did, as an observer saw it who knows nothing of the autoscaler.
    pub violations: Vec<String>,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, usize>,
}

/// Plays a scenario for so long while things go wrong.
pub fn play_with_faults(scenario: &Scenario, faults: &Faults, length: Duration) -> FaultReport {
    let mut world = World::new(scenario);
    world.chaos = Some(Chaos::new(faults, world.start));
    world.observer = Some(Observer::default());
    world.run(Some(length), &mut |_| {});
    world.observe_the_end();
    let violations = world.observer.take().unwrap_or_default().violations;
    let faults = world.chaos.take().map(|it| it.counts).unwrap_or_default();
    FaultReport {
        report: world.into_report(),
        violations,
        faults,
    }
}

struct World {
    start: Timestamp,
    now: Timestamp,
    config: Config,
    profiles: Profiles,
    converter: Converter,
    timeline: Vec<TimelineEntry>,
    /// All objects; its pods and workloads are brought up to date by [`World::refresh`].
    cluster: Cluster,
    is_stale: bool,
    pods: Pods,
    pods_created: u64,
    controllers: Controllers,
    daemon_targets: FxHashMap<PodId, SmolStr>,
    run_times: FxHashMap<PodId, Duration>,
    priority_classes: BTreeMap<SmolStr, api::PriorityClass>,
    budget_rules: Vec<BudgetRule>,
    machines: BTreeMap<SmolStr, Machine>,
    donors: BTreeMap<SmolStr, Donor>,
    node_numbers: BTreeMap<SmolStr, u64>,
    failures: BTreeMap<SmolStr, (Timestamp, SmolStr)>,
    suffixes: Suffixes,
    queue: Queue,
    /// Whether controllers and scheduler have something new to look at.
    is_unsettled: bool,
    memory: Memory,
    outcomes: Vec<Outcome>,
    scan_due: Timestamp,
    woken_for: Option<Timestamp>,
    /// What goes wrong, if anything does.
    chaos: Option<Chaos>,
    /// Who watches, if anybody does.
    observer: Option<Observer>,
    log: Log,
    counts: Counts,
    series: Vec<Sample>,
    machine_nanos: BTreeMap<SmolStr, i128>,
    groupless_nanos: i128,
    pending_nanos: i128,
    loops: usize,
    evictions: usize,
    refused_plans: usize,
    nodes_added: usize,
    nodes_removed: usize,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let mut converter = scenario.converter();
        let mut cluster = scenario.cluster_with(&mut converter);
        let mut pods = Pods::default();
        for pod in std::mem::take(&mut cluster.pods) {
            pods.add(pod);
        }
        cluster.workloads.clear();
        let mut queue = Queue::default();
        for (index, entry) in scenario.timeline.iter().enumerate() {
            queue.push(scenario.now + entry.at, Event::Timeline(index));
        }
        let mut world = Self {
            start: scenario.now,
            now: scenario.now,
            config: scenario.config.clone(),
            profiles: scenario.profiles.clone(),
            converter,
            timeline: scenario.timeline.clone(),
            cluster,
            is_stale: true,
            pods,
            pods_created: 0,
            controllers: Controllers::new(),
            daemon_targets: FxHashMap::default(),
            run_times: FxHashMap::default(),
            priority_classes: BTreeMap::new(),
            budget_rules: Vec::new(),
            machines: BTreeMap::new(),
            donors: BTreeMap::new(),
            node_numbers: BTreeMap::new(),
            failures: BTreeMap::new(),
            suffixes: Suffixes::new(scenario.seed),
            queue,
            is_unsettled: true,
            memory: Memory::default(),
            outcomes: Vec::new(),
            scan_due: scenario.now,
            woken_for: None,
            chaos: None,
            observer: None,
            log: Log::default(),
            counts: Counts::default(),
            series: Vec::new(),
            machine_nanos: BTreeMap::new(),
            groupless_nanos: 0,
            pending_nanos: 0,
            loops: 0,
            evictions: 0,
            refused_plans: 0,
            nodes_added: 0,
            nodes_removed: 0,
        };
        world.take_over_machines();
        for object in &scenario.objects {
            match object {
                Object::Workload(..)
                | Object::ReplicationController(_)
                | Object::PriorityClass(_)
                | Object::PodDisruptionBudget(_) => world.apply(object),
                _ => {}
            }
        }
        world
    }

    fn run(&mut self, limit: Option<Duration>, watch: &mut dyn FnMut(&Progress<'_>)) {
        let end = self.start + limit.unwrap_or(LONGEST);
        let mut last_change = self.now;
        let mut reported = 0;
        loop {
            self.play_instant();
            if self.log.take_changed() {
                last_change = self.now;
            }
            let elapsed = self.now.duration_since(self.start);
            self.log.end_instant(elapsed, self.counts);
            self.sample(elapsed);
            let entries = self.log.entries_from(reported);
            watch(&Progress {
                elapsed,
                counts: self.counts,
                entries,
            });
            reported += entries.len();
            let is_quiet = self.queue.is_empty()
                && self.now.duration_since(last_change) >= self.settling_time();
            if limit.is_none() && is_quiet {
                break;
            }
            let next_loop = self.loop_due();
            let next = self
                .queue
                .next_time()
                .map_or(next_loop, |event| event.min(next_loop));
            if next >= end {
                self.pass_time(end);
                break;
            }
            self.pass_time(next);
        }
    }

    /// Everything that is due now, until nothing is.
    fn play_instant(&mut self) {
        loop {
            let mut is_idle = true;
            while let Some(event) = self.queue.pop_due(self.now) {
                self.handle(event);
                is_idle = false;
            }
            self.settle();
            if self.loop_due() <= self.now {
                self.run_loop();
                is_idle = false;
            }
            if is_idle {
                break;
            }
        }
        self.count();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Timeline(index) => self.play_entry(index),
            Event::InstanceReady(id) => self.instance_ready(&id),
            Event::InstanceFails(id) => self.instance_fails(&id),
            Event::InstanceGone(id) => self.instance_gone(&id),
            Event::FailureEnds(group) => self.end_failure(&group),
            Event::PodFinished(pod) => self.finish_pod(pod),
            Event::PodGone(pod) => self.forget_pod(pod),
            Event::Late(id) => self.arrive_late(id),
        }
    }

    /// Controllers, cloud and scheduler take turns until none of them finds anything to do.
    fn settle(&mut self) {
        while std::mem::take(&mut self.is_unsettled) {
            self.reconcile();
            self.launch_missing();
            self.schedule();
            self.update_budgets();
        }
    }

    /// Something changed that controllers and scheduler look at.
    fn touch(&mut self) {
        self.is_unsettled = true;
        self.is_stale = true;
    }

    /// Brings the cluster's lists of pods and workloads up to date.
    fn refresh(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.cluster.pods = self.pods.iter().map(|(_, pod)| Arc::clone(pod)).collect();
            self.cluster.workloads = self
                .controllers
                .values()
                .map(|controller| Arc::clone(&controller.model))
                .collect();
        }
    }

    fn count(&mut self) {
        let mut counts = Counts {
            nodes: self.cluster.nodes.len(),
            ..Counts::default()
        };
        for (_, pod) in self.pods.iter() {
            counts.running += usize::from(pod.node_name.is_some() && !pod.phase.is_terminal());
            counts.pending += usize::from(is_waiting(pod));
        }
        self.counts = counts;
    }

    /// Notes what there is, where it has changed.
    fn sample(&mut self, at: Duration) {
        let counts = self.counts;
        if self.series.last().is_none_or(|last| last.counts != counts) {
            self.series.push(Sample { at, counts });
        }
    }

    /// Lets time pass, and keeps account of what it costs.
    fn pass_time(&mut self, until: Timestamp) {
        let nanos = until.duration_since(self.now).as_nanos();
        let groups: Vec<SmolStr> = self.paid_machines().cloned().collect();
        for group in groups {
            *self.machine_nanos.entry(group).or_default() += nanos;
        }
        let groupless = self
            .cluster
            .nodes
            .iter()
            .filter(|node| !self.machines.contains_key(&node.provider_id));
        self.groupless_nanos += nanos * as_i128(groupless.count());
        self.pending_nanos += nanos * as_i128(self.counts.pending);
        self.now = until;
    }

    fn into_report(self) -> Report {
        let machine_nanos: i128 = self.machine_nanos.values().sum();
        let summary = Summary {
            duration: self.now.duration_since(self.start),
            loops: self.loops,
            nodes_added: self.nodes_added,
            nodes_removed: self.nodes_removed,
            pods_evicted: self.evictions,
            node_hours: (machine_nanos + self.groupless_nanos) as f64 / NANOS_PER_HOUR as f64,
            pending_pod_seconds: self.pending_nanos as f64 / 1e9,
            cost: self.cost(),
            refused_plans: self.refused_plans,
        };
        Report::new(self.log.into_entries(), self.series, summary)
    }

    fn cost(&self) -> Option<MicroDollars> {
        let priced = |group: &&windlass_model::NodeGroup| group.price_per_hour.is_some();
        if !self.cluster.groups.iter().any(|group| priced(&group)) {
            return None;
        }
        let sum: i128 = self
            .cluster
            .groups
            .iter()
            .filter_map(|group| {
                let nanos = self.machine_nanos.get(&group.name).copied().unwrap_or(0);
                Some(i128::from(group.price_per_hour?.0) * nanos / NANOS_PER_HOUR)
            })
            .sum();
        Some(MicroDollars(i64::try_from(sum).unwrap_or(i64::MAX)))
    }
}

const NANOS_PER_HOUR: i128 = 3_600_000_000_000;

fn as_i128(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(i128::MAX)
}
