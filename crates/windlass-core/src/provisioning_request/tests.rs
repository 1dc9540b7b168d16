//! What a loop does about requests; longer stretches of time are played in `windlass-sim`.

use std::sync::Arc;

use windlass_config::Config;
use windlass_model::{
    Cluster, Condition, ConditionStatus, Duration, Labels, Node, ObjectName, Phase, Pod,
    PodScheduled, PodSet, PodShape, PodTemplate, ProvisioningRequest, Quantity, ResourceList,
    Resources, Timestamp,
};

use super::Awaited;
use super::class::{BEST_EFFORT_ATOMIC, CHECK_CAPACITY};
use crate::{
    Action, Budget, Decision, Event, Input, Memory, NoTimeLimits, ObjectWrite, Outcome,
    OutcomeResult, Plan, Resize, ResizeCause, TimeLimit, check, decide, prepare,
};

/// A check-capacity request for one pod of the template `small`.
pub(crate) fn request(name: &str) -> ProvisioningRequest {
    ProvisioningRequest {
        name: ObjectName::new("default", name),
        uid: format!("uid-{name}").into(),
        generation: 1,
        created_at: Some(Timestamp::UNIX_EPOCH),
        class: CHECK_CAPACITY.into(),
        pod_sets: vec![PodSet {
            template: "small".into(),
            count: 1,
        }],
        parameters: Labels::default(),
        conditions: Vec::new(),
    }
}

/// A template of pods that request so many cores.
pub(crate) fn template(name: &str, cores: i64) -> PodTemplate {
    let shape = PodShape {
        namespace: "default".into(),
        requests: Resources {
            milli_cpu: cores * 1000,
            ..Resources::default()
        },
        ..PodShape::default()
    };
    PodTemplate {
        name: ObjectName::new("default", name),
        uid: format!("uid-{name}").into(),
        generation: 1,
        annotations: Labels::default(),
        pod: Arc::new(Pod {
            name: "".into(),
            uid: "".into(),
            shape: Arc::new(shape),
            resized_requests: None,
            created_at: None,
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: PodScheduled::Absent,
            is_ready: false,
        }),
    }
}

const NOW: &str = "2026-01-01T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A ready node of so many cores, and the requests, each for a pod of a core.
fn cluster(cores: i64, requests: Vec<ProvisioningRequest>) -> Cluster {
    let capacity: ResourceList = [("cpu", cores), ("pods", 100)]
        .into_iter()
        .map(|(name, amount)| (name, Quantity::from_units(amount)))
        .collect();
    let node = Node {
        name: "n".into(),
        capacity: capacity.clone(),
        allocatable: capacity,
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: ConditionStatus::True,
            reason: "".into(),
            last_transition: Some(Timestamp::UNIX_EPOCH),
        }],
        ..Node::default()
    };
    let small = template("small", 1);
    Cluster {
        nodes: vec![Arc::new(node)],
        provisioning_requests: requests.into_iter().map(Arc::new).collect(),
        pod_templates: [(small.name.clone(), Arc::new(small))]
            .into_iter()
            .collect(),
        ..Cluster::default()
    }
}

/// A request that was made just now.
fn fresh(name: &str) -> ProvisioningRequest {
    ProvisioningRequest {
        created_at: Some(now() - Duration::from_secs(5)),
        ..request(name)
    }
}

struct Run<'a> {
    flags: &'a [&'a str],
    memory: Memory,
    outcomes: Vec<Outcome>,
    budget: &'a dyn Budget,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            flags: &[],
            memory: Memory::default(),
            outcomes: Vec::new(),
            budget: &NoTimeLimits,
        }
    }
}

impl Run<'_> {
    fn decide(&self, cluster: &Cluster) -> Decision {
        let flags = ["--enable-provisioning-requests"];
        let (config, _) = Config::parse(flags.iter().chain(self.flags)).unwrap();
        let input = Input {
            cluster,
            memory: &self.memory,
            outcomes: &self.outcomes,
            config: &config,
            now: now(),
            budget: self.budget,
        };
        let decision = decide(&input, prepare(cluster, &config));
        let violations = check(&input, &decision.plan);
        assert!(violations.is_empty(), "{violations:?}");
        decision
    }
}

/// What is written of requests: `name type=status (reason)`.
fn written(decision: &Decision) -> Vec<String> {
    let mut lines = Vec::new();
    for action in &decision.plan.actions {
        let Action::Write(ObjectWrite::UpdateProvisioningRequest {
            request,
            conditions,
            ..
        }) = action
        else {
            continue;
        };
        lines.extend(conditions.iter().map(|it| {
            format!(
                "{} {}={:?} ({})",
                request.name, it.kind, it.status, it.reason
            )
        }));
    }
    lines
}

#[test]
fn conditions_are_dated_now_and_name_the_generation_but_for_atomic_requests() {
    for (class, generation) in [(CHECK_CAPACITY, Some(1)), (BEST_EFFORT_ATOMIC, None)] {
        let request = ProvisioningRequest {
            class: class.into(),
            ..fresh("r")
        };
        let decision = Run::default().decide(&cluster(1, vec![request]));
        let expected = [
            "r Accepted=True (Accepted)",
            "r Provisioned=True (CapacityIsFound)",
        ];
        assert_eq!(written(&decision), expected);
        let [Action::Write(ObjectWrite::UpdateProvisioningRequest { conditions, .. })] =
            &decision.plan.actions[..]
        else {
            panic!("one write: {:?}", decision.plan.actions);
        };
        for condition in conditions {
            assert_eq!(condition.observed_generation, generation);
            assert_eq!(condition.last_transition, Some(now()));
        }
    }
}

#[test]
fn what_has_been_written_counts_before_it_is_seen_unless_the_write_failed() {
    let cluster = cluster(1, vec![fresh("r")]);
    let first = Run::default().decide(&cluster);
    assert_eq!(written(&first).len(), 2);
    let action = first.plan.actions[0].clone();
    let again = |result: OutcomeResult| {
        let action = action.clone();
        let run = Run {
            memory: first.memory.clone(),
            outcomes: vec![Outcome { action, result }],
            ..Run::default()
        };
        written(&run.decide(&cluster))
    };
    assert!(again(OutcomeResult::Done).is_empty());
    let failed = OutcomeResult::Failed {
        code: "apiCallError".into(),
        message: "gone".into(),
    };
    assert_eq!(again(failed), written(&first));
}

/// Every limit strikes at once.
struct NoTime;

impl Budget for NoTime {
    fn start(&self, _: TimeLimit, _: Duration) {}

    fn is_spent(&self, limit: TimeLimit) -> bool {
        limit == TimeLimit::CheckCapacityBatch
    }
}

#[test]
fn a_batch_ends_when_its_time_is_over_but_answers_one_request() {
    let requests = ["a", "b", "c"].map(fresh).to_vec();
    let run = Run {
        flags: &["--check-capacity-batch-processing"],
        budget: &NoTime,
        ..Run::default()
    };
    let expected = [
        "a Accepted=True (Accepted)",
        "a Provisioned=True (CapacityIsFound)",
    ];
    assert_eq!(written(&run.decide(&cluster(9, requests))), expected);
}

#[test]
fn no_more_than_twenty_requests_are_ended_in_one_loop() {
    let old = |number: usize| ProvisioningRequest {
        created_at: Some(now() - Duration::from_hours(7 * 24 + 1)),
        ..request(&format!("r{number:02}"))
    };
    let decision = Run::default().decide(&cluster(0, (0..25).map(old).collect()));
    let expired = written(&decision)
        .into_iter()
        .filter(|line| line.ends_with("Failed=True (Expired)"))
        .count();
    assert_eq!(expired, 20);
}

fn answer(result: OutcomeResult) -> Vec<String> {
    let atomic = ProvisioningRequest {
        class: BEST_EFFORT_ATOMIC.into(),
        ..fresh("r")
    };
    let mut memory = Memory::default();
    let awaited = Awaited {
        sizes: [("a".into(), 3)].into_iter().collect(),
        has_failed: false,
        since: now() - Duration::from_secs(1),
    };
    memory.requests.awaited.insert(atomic.uid.clone(), awaited);
    let resize = Resize {
        group: "a".into(),
        from: 1,
        to: 3,
        max: 9,
        cause: ResizeCause::PendingPods,
        zone: None,
    };
    let action = Action::IncreaseSize(resize);
    let run = Run {
        memory,
        outcomes: vec![Outcome { action, result }],
        ..Run::default()
    };
    written(&run.decide(&cluster(0, vec![atomic])))
}

#[test]
fn an_atomic_request_is_provisioned_when_the_cloud_has_said_yes() {
    assert_eq!(
        answer(OutcomeResult::Done),
        ["r Provisioned=True (CapacityIsProvisioned)"]
    );
    let failed = OutcomeResult::Failed {
        code: "cloudProviderError".into(),
        message: "no capacity".into(),
    };
    assert_eq!(answer(failed), ["r Provisioned=False (CapacityIsNotFound)"]);
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let atomic = ProvisioningRequest {
        class: BEST_EFFORT_ATOMIC.into(),
        ..fresh("r")
    };
    let of = |age: Duration| {
        let awaited = Awaited {
            sizes: [("a".into(), 3)].into_iter().collect(),
            has_failed: false,
            since: now() - age,
        };
        let mut run = Run::default();
        let awaiting = &mut run.memory.requests.awaited;
        awaiting.insert(atomic.uid.clone(), awaited);
        written(&run.decide(&cluster(1, vec![atomic.clone()])))
    };
    assert!(of(Duration::from_mins(1)).is_empty());
    assert_eq!(of(Duration::from_mins(3)).len(), 2);
}

#[test]
fn fifty_pods_that_use_requests_are_told_so() {
    let consumer = |number: usize| {
        let mut pod = Pod::clone(&template("big", 99).pod);
        pod.name = format!("p{number}").into();
        pod.scheduled = PodScheduled::Unschedulable { since: None };
        Arc::make_mut(&mut pod.shape).provisioning_request = Some("r".into());
        Arc::new(pod)
    };
    let mut cluster = cluster(1, Vec::new());
    cluster.pods = (0..60).map(consumer).collect();
    let decision = Run::default().decide(&cluster);
    let told: Vec<&Event> = decision
        .plan
        .events
        .iter()
        .filter(|event| event.reason.is_empty())
        .collect();
    assert_eq!(told.len(), 50);
    assert_eq!(
        told[0].message,
        "Unschedulable pod didn't trigger scale-up, because it's consuming ProvisioningRequest \
         default/r"
    );
}

#[test]
fn the_check_refuses_to_delete_what_was_not_answered_a_week_ago() {
    let cluster = cluster(1, vec![fresh("r")]);
    let (config, _) = Config::parse(["--enable-provisioning-requests"]).unwrap();
    let memory = Memory::default();
    let input = Input {
        cluster: &cluster,
        memory: &memory,
        outcomes: &[],
        config: &config,
        now: now(),
        budget: &NoTimeLimits,
    };
    let model = &cluster.provisioning_requests[0];
    let plan = Plan {
        actions: vec![Action::Write(ObjectWrite::DeleteProvisioningRequest {
            request: model.name.clone(),
            uid: model.uid.clone(),
        })],
        ..Plan::default()
    };
    assert_eq!(check(&input, &plan).len(), 1);
}
