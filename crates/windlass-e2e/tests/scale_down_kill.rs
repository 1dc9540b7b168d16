//! Kill -9 at every point of a removal, before and after each side effect, and a restart: no taint
//! is lost, nothing is deleted twice, and no node is deleted whose drain had failed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use windlass_e2e::{Run, Windlass};
use windlass_testbed::proxy::{Act, HeldRequest, Hold, Matcher};
use windlass_testbed::{Group, Proxy, Testbed, Workload, stays, wait_for};

const SOON: Duration = Duration::from_secs(90);
/// Long enough for a second removal, or a second call, to show.
const SETTLED: Duration = Duration::from_secs(8);
const HARD_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const SOFT_TAINT: &str = "DeletionCandidateOfClusterAutoscaler";
const UNNEEDED_SECONDS: u64 = 8;

/// The autoscaler behind proxies that outlive it.
struct Autoscaler {
    testbed: &'static Testbed,
    api_server: Proxy,
    aws: Proxy,
    run: Run,
}

impl Autoscaler {
    fn new(testbed: &'static Testbed) -> Result<Self> {
        let api_server = testbed.proxy_api_server()?;
        let aws = testbed.proxy_aws()?;
        let run = Run::of_cluster("demo")
            .flags([
                "--leader-elect=false",
                "--scan-interval=1s",
                "--scale-down-unneeded-time=8s",
                "--node-delete-delay-after-taint=1s",
                "--max-pod-eviction-time=6s",
            ])
            .api_server_through(testbed, &api_server)?
            .aws_through(&aws);
        Ok(Self {
            testbed,
            api_server,
            aws,
            run,
        })
    }

    fn start(&self, name: &str) -> Result<Windlass> {
        self.run.start(self.testbed, name)
    }

    /// How often the end of an instance was asked of AWS and granted.
    fn granted_terminations(&self) -> usize {
        self.aws
            .requests_matching(&Matcher::action("TerminateInstanceInAutoScalingGroup"))
            .iter()
            .filter(|request| request.answer.is_some_and(|(status, _)| status == 200))
            .count()
    }
}

/// Two nodes with a pod each, of which one is enough.
fn two_nodes() -> Result<(&'static Testbed, Autoscaler)> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 2).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(2, SOON)?;
    // Beside a filler there is room for one pod, so that each node gets one.
    cluster.deploy(&Workload::new("filler", 2).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "filler", 2, SOON)?;
    cluster.deploy(&Workload::new("web", 2).requests("300m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 2, SOON)?;
    cluster.delete_deployment("default", "filler")?;
    wait_for("the fillers to be gone", SOON, || {
        Ok(cluster.pods_of("default", "filler")?.is_empty())
    })?;
    Ok((testbed, Autoscaler::new(testbed)?))
}

fn has_taint(node: &Node, key: &str) -> bool {
    taint_value(node, key).is_some()
}

fn taint_value(node: &Node, key: &str) -> Option<String> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let taint = taints.iter().find(|taint| taint.key == key)?;
    Some(taint.value.clone().unwrap_or_default())
}

fn is_clean(node: &Node) -> bool {
    let is_cordoned = node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default();
    !is_cordoned && !has_taint(node, HARD_TAINT)
}

/// Kills the autoscaler while one of its requests is held and starts it again.
fn kill_at(autoscaler: &Autoscaler, mut first: Windlass, held: HeldRequest) -> Result<Windlass> {
    held.wait(SOON)?;
    first.kill();
    held.refuse();
    autoscaler.start("second")
}

/// One node is left, clean, and both pods run on it; the other was ended once.
fn one_node(autoscaler: &Autoscaler, second: &Windlass) -> Result<()> {
    let testbed = autoscaler.testbed;
    let one_is_left = || {
        Ok(testbed.aws().group("web")?.instances.len() == 1
            && testbed.cluster().nodes()?.len() == 1)
    };
    wait_for("one node to be left", 2 * SOON, one_is_left)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, SOON)?;
    wait_for("the last node to be clean", SOON, || {
        Ok(testbed.cluster().nodes()?.iter().all(is_clean))
    })?;
    stays("one clean node is left", SETTLED, || {
        let group = testbed.aws().group("web")?;
        let nodes = testbed.cluster().nodes()?;
        Ok(group.desired == 1 && group.instances.len() == 1 && nodes.iter().all(is_clean))
    })?;
    let granted = autoscaler.granted_terminations();
    ensure!(granted <= 1, "{granted} terminations were granted");
    second.check_for_panics()
}

/// A removal in which the autoscaler is killed at the request that `wanted` has held.
fn killed(wanted: impl FnOnce(&Autoscaler) -> HeldRequest) -> Result<()> {
    let (_, autoscaler) = two_nodes()?;
    let held = wanted(&autoscaler);
    let first = autoscaler.start("first")?;
    let second = kill_at(&autoscaler, first, held)?;
    one_node(&autoscaler, &second)
}

fn status() -> Matcher {
    Matcher::method("PUT", "/configmaps/cluster-autoscaler-status")
}

fn taint() -> Matcher {
    Matcher::method("PUT", "/api/v1/nodes/").body_contains(HARD_TAINT)
}

fn eviction() -> Matcher {
    Matcher::method("POST", "/eviction")
}

fn last_look() -> Matcher {
    Matcher::method("GET", "/api/v1/pods?fieldSelector=spec.nodeName")
}

fn termination() -> Matcher {
    Matcher::action("TerminateInstanceInAutoScalingGroup")
}

/// Killed while the loop that begins the removal writes its intent down: a node has been unneeded
/// for so long that only that loop is left.
fn killed_at_the_intent(at: Hold) -> Result<()> {
    let (testbed, autoscaler) = two_nodes()?;
    let first = autoscaler.start("first")?;
    wait_for("a node's time to come", SOON, || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let is_due = |node: &Node| {
            taint_value(node, SOFT_TAINT)
                .and_then(|value| value.parse::<u64>().ok())
                .is_some_and(|since| since + UNNEEDED_SECONDS <= now)
        };
        Ok(testbed.cluster().nodes()?.iter().any(is_due))
    })?;
    let held = autoscaler.api_server.hold(status(), at);
    let second = kill_at(&autoscaler, first, held)?;
    one_node(&autoscaler, &second)
}

#[test]
fn before_the_intent_is_written() -> Result<()> {
    killed_at_the_intent(Hold::BeforeForwarding)
}

#[test]
fn after_the_intent_is_written() -> Result<()> {
    killed_at_the_intent(Hold::BeforeAnswering)
}

#[test]
fn before_the_taint() -> Result<()> {
    killed(|it| it.api_server.hold(taint(), Hold::BeforeForwarding))
}

#[test]
fn after_the_taint() -> Result<()> {
    killed(|it| it.api_server.hold(taint(), Hold::BeforeAnswering))
}

#[test]
fn before_an_eviction() -> Result<()> {
    killed(|it| it.api_server.hold(eviction(), Hold::BeforeForwarding))
}

#[test]
fn after_an_eviction() -> Result<()> {
    killed(|it| it.api_server.hold(eviction(), Hold::BeforeAnswering))
}

#[test]
fn before_the_last_look_at_the_pods() -> Result<()> {
    killed(|it| it.api_server.hold(last_look(), Hold::BeforeForwarding))
}

#[test]
fn after_the_last_look_at_the_pods() -> Result<()> {
    killed(|it| it.api_server.hold(last_look(), Hold::BeforeAnswering))
}

#[test]
fn before_the_termination() -> Result<()> {
    killed(|it| it.aws.hold(termination(), Hold::BeforeForwarding))
}

#[test]
fn after_the_termination() -> Result<()> {
    killed(|it| it.aws.hold(termination(), Hold::BeforeAnswering))
}

/// A removal whose evictions are all refused, killed at the roll-back.
fn killed_at_the_roll_back(at: Hold) -> Result<()> {
    let (testbed, autoscaler) = two_nodes()?;
    let refuse = Act::kubernetes_error(429, "TooManyRequests");
    autoscaler.api_server.on(eviction(), refuse);
    let first = autoscaler.start("first")?;
    wait_for("a node to be tainted", SOON, || {
        let nodes = testbed.cluster().nodes()?;
        Ok(nodes.iter().any(|node| has_taint(node, HARD_TAINT)))
    })?;
    let tainted = testbed.cluster().nodes()?;
    let tainted = tainted.iter().find(|node| has_taint(node, HARD_TAINT));
    let name = tainted
        .and_then(|node| node.metadata.name.clone())
        .context("the tainted node is there")?;
    // The next write to it that is without the taint takes it away.
    let path = format!("/api/v1/nodes/{name}");
    let untaint = Matcher::new(move |request| {
        request.method == "PUT"
            && request.path.contains(&path)
            && !request.body_text().contains(HARD_TAINT)
    });
    let held = autoscaler.api_server.hold(untaint, at);
    let second = kill_at(&autoscaler, first, held)?;
    wait_for("the taint to be gone", SOON, || {
        Ok(testbed.cluster().nodes()?.iter().all(is_clean))
    })?;
    ensure!(
        testbed.aws().group("web")?.instances.len() == 2,
        "a node was deleted whose drain had failed"
    );
    ensure!(autoscaler.granted_terminations() == 0);
    second.wait_for_log("decided", SOON)?;
    // Once evictions pass, so does the removal.
    autoscaler.api_server.pass_all();
    one_node(&autoscaler, &second)
}

#[test]
fn before_the_roll_back() -> Result<()> {
    killed_at_the_roll_back(Hold::BeforeForwarding)
}

#[test]
fn after_the_roll_back() -> Result<()> {
    killed_at_the_roll_back(Hold::BeforeAnswering)
}
