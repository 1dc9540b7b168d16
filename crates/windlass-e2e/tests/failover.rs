//! Two replicas, one of them killed at a bad moment: the other takes over, buys nothing twice and
//! leaves no taint behind. And whoever holds the lease: Windlass and client-go take turns.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_e2e::{Run, Windlass};
use windlass_testbed::proxy::{HeldRequest, Hold, Matcher};
use windlass_testbed::{Group, Process, Proxy, Spec, Testbed, User, Workload, stays, wait_for};

const SOON: Duration = Duration::from_secs(90);
/// The lease duration and two retry periods, by the flags' defaults.
const TAKEN_OVER: Duration = Duration::from_secs(15 + 2 * 2);
/// A released lease is taken at the next try.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Long enough for a second purchase, or a second removal, to show.
const SETTLED: Duration = Duration::from_secs(15);
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const LEASE: &str = "cluster-autoscaler";

/// One of two replicas, with proxies of its own.
struct Replica {
    windlass: Windlass,
    api_server: Proxy,
    aws: Proxy,
}

impl Replica {
    fn start(testbed: &'static Testbed, name: &str, flags: &[&str]) -> Result<Self> {
        let api_server = testbed.proxy_api_server()?;
        let aws = testbed.proxy_aws()?;
        let windlass = Run::of_cluster("demo")
            .flags(flags.iter().copied())
            .host_name(name)
            .api_server_through(testbed, &api_server)?
            .aws_through(&aws)
            .start(testbed, name)?;
        Ok(Self {
            windlass,
            api_server,
            aws,
        })
    }
}

/// A leader that has looped and another that waits.
fn leader_and_candidate(testbed: &'static Testbed, flags: &[&str]) -> Result<(Replica, Replica)> {
    let leader = Replica::start(testbed, "first", flags)?;
    let candidate = candidate(testbed, &leader, flags)?;
    Ok((leader, candidate))
}

/// The second, once the first leads and has decided.
fn candidate(testbed: &'static Testbed, leader: &Replica, flags: &[&str]) -> Result<Replica> {
    wait_for_holder(testbed, "first", SOON)?;
    leader.windlass.wait_for_log("decided", SOON)?;
    let candidate = Replica::start(testbed, "second", flags)?;
    candidate
        .windlass
        .wait_for_log("waiting for the lease", SOON)?;
    Ok(candidate)
}

fn holder(testbed: &Testbed) -> Result<Option<String>> {
    let lease = testbed.cluster().lease("kube-system", LEASE)?;
    Ok(lease.and_then(|lease| lease.spec?.holder_identity))
}

fn wait_for_holder(testbed: &Testbed, name: &str, deadline: Duration) -> Result<()> {
    wait_for(&format!("the lease of {name}"), deadline, || {
        Ok(holder(testbed)?.as_deref() == Some(name))
    })
}

/// Kills the leader while one of its requests is held, and sees the other take over.
fn kill_at(testbed: &Testbed, leader: &mut Replica, held: HeldRequest) -> Result<()> {
    held.wait(SOON)?;
    let killed = Instant::now();
    leader.windlass.process().kill();
    held.refuse();
    wait_for_holder(testbed, "second", TAKEN_OVER)?;
    eprintln!("taken over after {:?}", killed.elapsed());
    Ok(())
}

/// The sizes that were asked for.
fn sizes_asked_for(replica: &Replica) -> Vec<String> {
    replica
        .aws
        .requests_matching(&Matcher::action("SetDesiredCapacity"))
        .iter()
        .filter_map(|request| request.parameter("DesiredCapacity"))
        .collect()
}

/// A group of one node that is full, and a leader that is about to make it two. There is one
/// pending pod, and so one decision.
fn growing(
    hold: impl FnOnce(&Replica) -> HeldRequest,
) -> Result<(&'static Testbed, Replica, Replica)> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let large = |name: &str| Workload::new(name, 1).requests("1500m", "64Mi");
    testbed.cluster().deploy(&large("base"))?;
    testbed
        .cluster()
        .wait_until_all_run("default", "base", 1, SOON)?;
    // Only what happens begins a loop.
    let flags = ["--scan-interval=1h", "--scale-down-enabled=false"];
    let (mut leader, candidate) = leader_and_candidate(testbed, &flags)?;
    let call = hold(&leader);
    testbed.cluster().deploy(&large("web"))?;
    kill_at(testbed, &mut leader, call)?;
    Ok((testbed, leader, candidate))
}

/// The pod runs on the second node, and no third is ever asked for.
fn two_nodes(testbed: &Testbed, leader: &Replica, candidate: &Replica) -> Result<()> {
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 1, SOON)?;
    stays("two nodes are wanted", SETTLED, || {
        Ok(testbed.aws().group("web")?.desired == 2)
    })?;
    let asked = [sizes_asked_for(leader), sizes_asked_for(candidate)].concat();
    ensure!(asked.iter().all(|size| size == "2"), "asked for {asked:?}");
    candidate.windlass.check_for_panics()
}

#[test]
fn killed_before_the_intent_is_written() -> Result<()> {
    let status = Matcher::method("PUT", "/configmaps/cluster-autoscaler-status");
    let (testbed, leader, candidate) =
        growing(|leader| leader.api_server.hold(status, Hold::BeforeForwarding))?;
    ensure!(
        sizes_asked_for(&leader).is_empty(),
        "it asked before it wrote"
    );
    two_nodes(testbed, &leader, &candidate)
}

#[test]
fn killed_between_intent_and_call() -> Result<()> {
    let grow = Matcher::action("SetDesiredCapacity");
    let (testbed, leader, candidate) =
        growing(|leader| leader.aws.hold(grow, Hold::BeforeForwarding))?;
    two_nodes(testbed, &leader, &candidate)
}

#[test]
fn killed_after_the_call() -> Result<()> {
    let grow = Matcher::action("SetDesiredCapacity");
    let (testbed, leader, candidate) =
        growing(|leader| leader.aws.hold(grow, Hold::BeforeAnswering))?;
    two_nodes(testbed, &leader, &candidate)?;
    ensure!(
        sizes_asked_for(&candidate).is_empty(),
        "it was bought already"
    );
    Ok(())
}

/// Two nodes with a pod each, of which one is enough, and a leader that is about to see to it.
fn draining(
    hold: impl FnOnce(&Replica) -> HeldRequest,
) -> Result<(&'static Testbed, Replica, Replica)> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 2).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(2, SOON)?;
    // Beside a filler there is room for one pod, so that each node gets one.
    let cluster = testbed.cluster();
    cluster.deploy(&Workload::new("filler", 2).requests("1500m", "64Mi"))?;
    cluster.wait_until_all_run("default", "filler", 2, SOON)?;
    cluster.deploy(&Workload::new("web", 2).requests("300m", "64Mi"))?;
    cluster.wait_until_all_run("default", "web", 2, SOON)?;
    cluster.delete_deployment("default", "filler")?;
    wait_for("the fillers to be gone", SOON, || {
        Ok(cluster.pods_of("default", "filler")?.is_empty())
    })?;
    let flags = [
        "--scan-interval=2s",
        "--scale-down-unneeded-time=10s",
        "--node-delete-delay-after-taint=1s",
    ];
    let mut leader = Replica::start(testbed, "first", &flags)?;
    // The call may come before the candidate is there, and waits for it.
    let call = hold(&leader);
    let candidate = candidate(testbed, &leader, &flags)?;
    kill_at(testbed, &mut leader, call)?;
    Ok((testbed, leader, candidate))
}

/// One node is left, without a taint, and both pods run on it.
fn one_node(testbed: &Testbed, candidate: &Replica) -> Result<()> {
    wait_for("one node to be left", 2 * SOON, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1
            && testbed.cluster().nodes()?.len() == 1)
    })?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, SOON)?;
    wait_for("the last node to be without a taint", SOON, || {
        let nodes = testbed.cluster().nodes()?;
        let spec = nodes.into_iter().next().and_then(|node| node.spec);
        let spec = spec.context("one node is left")?;
        let taints = spec.taints.unwrap_or_default();
        let is_cordoned = spec.unschedulable.unwrap_or_default();
        Ok(!is_cordoned && taints.iter().all(|taint| taint.key != TAINT))
    })?;
    stays("one node is left", SETTLED, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1)
    })?;
    candidate.windlass.check_for_panics()
}

#[test]
fn killed_before_an_eviction() -> Result<()> {
    let evict = Matcher::method("POST", "/eviction");
    let (testbed, _leader, candidate) =
        draining(|leader| leader.api_server.hold(evict, Hold::BeforeForwarding))?;
    one_node(testbed, &candidate)
}

#[test]
fn killed_after_an_eviction() -> Result<()> {
    let evict = Matcher::method("POST", "/eviction");
    let (testbed, _leader, candidate) =
        draining(|leader| leader.api_server.hold(evict, Hold::BeforeAnswering))?;
    one_node(testbed, &candidate)
}

#[test]
fn killed_after_a_termination() -> Result<()> {
    let terminate = Matcher::action("TerminateInstanceInAutoScalingGroup");
    let (testbed, _leader, candidate) =
        draining(|leader| leader.aws.hold(terminate, Hold::BeforeAnswering))?;
    one_node(testbed, &candidate)
}

#[test]
fn a_leader_that_is_told_to_end_releases_the_lease() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let (mut leader, _candidate) = leader_and_candidate(testbed, &[])?;
    leader.windlass.process().terminate();
    wait_for_holder(testbed, "second", AT_ONCE)?;
    let status = leader.windlass.process().wait(SOON).context("it ends")?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// For client-go both would lead, and both would buy.
#[test]
fn of_two_processes_of_one_name_one_ends() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    let run = Run::of_cluster("demo").host_name("same");
    let mut first = run.start(testbed, "same-1")?;
    first.wait_for_log("decided", SOON)?;
    let mut second = run.start(testbed, "same-2")?;
    let (status, log) = wait_for("one of them to end", SOON, || {
        for windlass in [&mut first, &mut second] {
            if let Some(status) = windlass.process().exit_status() {
                return Ok(Some((status, windlass.log())));
            }
        }
        Ok(None)
    })?;
    ensure!(status.code() == Some(3), "it ended with {status}");
    ensure!(
        log.contains("another process renews the lease as same too"),
        "it does not say why it ended"
    );
    stays("the other leads", SETTLED, || {
        let ended = [&mut first, &mut second]
            .into_iter()
            .filter_map(|windlass| windlass.process().exit_status())
            .count();
        Ok(ended == 1 && holder(testbed)?.as_deref() == Some("same"))
    })
}

/// client-go's leader election, as the Go autoscaler has it.
fn client_go(testbed: &'static Testbed, name: &str) -> Result<Process> {
    let kubeconfig = testbed.kubeconfig(User::ClusterAutoscaler);
    let kubeconfig = kubeconfig.to_str().context("the path is UTF-8")?;
    let arguments = ["--kubeconfig", kubeconfig, "--identity", name];
    testbed.spawn(Spec::new(name, &testbed.leaderelect(), arguments))
}

/// A renewal is on its way when the leader is told to end, and is carried out between the release's look
/// at the Lease and its write.
#[test]
fn a_renewal_that_arrives_late_does_not_keep_the_lease() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut leader = Replica::start(testbed, "first", &[])?;
    wait_for_holder(testbed, "first", SOON)?;
    let writes = || Matcher::method("PUT", "/leases/cluster-autoscaler");
    let renewal = leader.api_server.hold(writes(), Hold::InTransit);
    renewal.wait(SOON)?;
    let release = leader.api_server.hold(writes(), Hold::BeforeForwarding);
    let process = leader.windlass.process().id().to_string();
    let sent = Command::new("kill").args(["-TERM", &process]).status()?;
    ensure!(sent.success(), "it is there to be told to end");
    release.wait(SOON)?;
    renewal.release();
    wait_for("the renewal to arrive", SOON, || {
        let writes = leader.api_server.requests_matching(&writes());
        let before_release = writes.iter().rev().nth(1);
        Ok(before_release.is_some_and(|renewal| renewal.answer.is_some()))
    })?;
    release.release();
    wait_for("the lease to be free", AT_ONCE, || {
        Ok(holder(testbed)?.is_none_or(|holder| holder.is_empty()))
    })
}

#[test]
fn windlass_and_client_go_take_turns() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;

    windlass_e2e::grant_rights(testbed)?;
    let mut go = client_go(testbed, "go-1")?;
    wait_for_holder(testbed, "go-1", SOON)?;
    let mut windlass = Replica::start(testbed, "windlass-1", &[])?;
    windlass
        .windlass
        .wait_for_log("waiting for the lease", SOON)?;
    stays("client-go keeps the lease", Duration::from_secs(20), || {
        Ok(holder(testbed)?.as_deref() == Some("go-1"))
    })?;
    go.terminate();
    wait_for_holder(testbed, "windlass-1", AT_ONCE)?;

    let mut go = client_go(testbed, "go-2")?;
    wait_for("client-go to see who leads", SOON, || {
        Ok(go.log().contains("observed windlass-1"))
    })?;
    stays("Windlass keeps the lease", Duration::from_secs(20), || {
        Ok(holder(testbed)?.as_deref() == Some("windlass-1"))
    })?;
    windlass.windlass.process().terminate();
    wait_for_holder(testbed, "go-2", AT_ONCE)?;

    // A leader that says nothing any more, both ways.
    let second = Replica::start(testbed, "windlass-2", &[])?;
    second
        .windlass
        .wait_for_log("waiting for the lease", SOON)?;
    go.kill();
    wait_for_holder(testbed, "windlass-2", TAKEN_OVER)?;
    Ok(())
}
