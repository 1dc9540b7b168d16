//! The test bed itself: what the other suites take for granted.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use windlass_testbed::proxy::{Act, Hold, Matcher};
use windlass_testbed::{
    Boot, Group, Options, Part, Spec, Testbed, User, Workload, phase, processes_of, stays, wait_for,
};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn two_instances_become_two_nodes_and_run_pods_and_nothing_is_left() -> Result<()> {
    let testbed = Testbed::start(Options::default())?;
    testbed
        .aws()
        .create_group(&Group::new("web").sizes(0, 4, 2))?;
    let nodes = testbed.cluster().wait_for_ready_nodes(2, SOON)?;
    let ids = testbed.aws().group("web")?.instance_ids();
    let mut providers: Vec<_> = nodes
        .iter()
        .map(|node| node.spec.as_ref().and_then(|s| s.provider_id.clone()))
        .collect();
    providers.sort_unstable();
    let expected: Vec<_> = ids
        .iter()
        .map(|id| Some(format!("aws:///us-east-1a/{id}")))
        .collect();
    assert_eq!(providers, expected);

    testbed.cluster().deploy(&Workload::new("web", 3))?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 3, SOON)?;

    let directory = testbed.directory().to_owned();
    let sleeper = testbed.spawn(Spec::new("sleeper", "/bin/sleep".as_ref(), ["1000"]))?;
    assert_eq!(processes_of(&directory).len(), Part::ALL.len() + 1);
    testbed.end()?;
    assert_eq!(
        processes_of(&directory),
        Vec::<u32>::new(),
        "the sleeper included"
    );
    assert!(!directory.exists());
    drop(sleeper);
    Ok(())
}

/// The names of the variable and the test by which this program, started once more, becomes a
/// process whose test bed is to be orphaned.
const ORPHAN: (&str, &str) = (
    "WINDLASS_E2E_ORPHAN",
    "a_test_bed_whose_process_is_killed_ends",
);

#[test]
fn a_test_bed_whose_process_is_killed_ends() -> Result<()> {
    if let Some(directory) = std::env::var_os(ORPHAN.0) {
        let directory = Some(directory.into());
        let _testbed = Testbed::start(Options {
            directory,
            ..Options::default()
        })?;
        std::thread::sleep(Duration::from_mins(5));
        return Ok(());
    }
    let directory = std::env::temp_dir().join(format!("orphan-{}", std::process::id()));
    let mut child = Command::new(std::env::current_exe()?)
        .args([ORPHAN.1, "--exact", "--nocapture"])
        .env(ORPHAN.0, &directory)
        .stdout(Stdio::null())
        .spawn()?;
    wait_for(
        "the parts of the other process",
        Duration::from_mins(4),
        || Ok(processes_of(&directory).len() == Part::ALL.len()),
    )?;
    child.kill()?;
    child.wait()?;
    wait_for("its parts to end", SOON, || {
        Ok(processes_of(&directory).is_empty())
    })?;
    wait_for("its data to go", SOON, || {
        Ok(!directory.join("etcd").exists())
    })?;
    assert!(
        directory.join("logs/kube-apiserver.log").exists(),
        "the logs stay"
    );
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

#[test]
fn pods_stop_at_once_or_after_their_grace_period() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed
        .aws()
        .create_group(&Group::new("web").sizes(0, 4, 1))?;
    let cluster = testbed.cluster();
    let mut slow = Workload::new("slow", 1).pod_spec(json!({"terminationGracePeriodSeconds": 5}));
    slow.annotations
        .push(("windlass-testbed/stops-slowly".to_owned(), String::new()));
    let quick = Workload::new("quick", 1).pod_spec(json!({"terminationGracePeriodSeconds": 5}));
    for workload in [&slow, &quick] {
        cluster.deploy(workload)?;
        cluster.wait_until_all_run("default", &workload.name, 1, SOON)?;
    }
    let pod_of = |name: &str| -> Result<Option<Pod>> {
        let mut pods = cluster.pods("default")?.into_iter();
        Ok(pods.find(|pod| pod.name_any().starts_with(name)))
    };
    for (name, fewest, most) in [("quick", 0, 3), ("slow", 3, 9)] {
        let pod = pod_of(name)?.context("it runs")?;
        // The pod itself: a Deployment's end takes the time of its controllers.
        let pods = cluster.api::<Pod>("default");
        let begun = Instant::now();
        cluster.run(pods.delete(&pod.name_any(), &DeleteParams::default()))?;
        wait_for(&format!("pod {} to go", pod.name_any()), SOON, || {
            let mut pods = cluster.pods("default")?.into_iter();
            Ok(!pods.any(|it| it.uid() == pod.uid()))
        })?;
        let seconds = begun.elapsed().as_secs();
        ensure!(
            (fewest..=most).contains(&seconds),
            "{name} went after {seconds} s"
        );
    }
    Ok(())
}

#[test]
fn an_instance_that_goes_takes_its_node_and_the_pods_on_it_along() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed
        .aws()
        .create_group(&Group::new("web").sizes(0, 4, 1))?;
    let cluster = testbed.cluster();
    let first = cluster.wait_for_ready_nodes(1, SOON)?;
    cluster.deploy(&Workload::new("web", 1))?;
    cluster.wait_until_all_run("default", "web", 1, SOON)?;
    let pod = cluster.pods_of("default", "web")?.pop().context("a pod")?;

    let id = testbed
        .aws()
        .group("web")?
        .instance_ids()
        .pop()
        .context("an instance")?;
    testbed.aws().interrupt(&id)?;
    wait_for("another node", SOON, || {
        let nodes = cluster.ready_nodes()?;
        Ok(nodes.len() == 1 && nodes[0].name_any() != first[0].name_any())
    })?;
    cluster.wait_until_all_run("default", "web", 1, SOON)?;
    assert!(
        cluster
            .pods("default")?
            .iter()
            .all(|other| other.uid() != pod.uid())
    );
    assert_eq!(testbed.aws().instance_state(&id)?, "terminated");
    Ok(())
}

#[test]
fn an_instance_that_never_boots_becomes_no_node() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed.joiner().set_boot("stuck", Boot::never());
    testbed
        .aws()
        .create_group(&Group::new("stuck").sizes(0, 4, 1))?;
    let none = || Ok(testbed.cluster().nodes()?.is_empty());
    stays("no node", Duration::from_secs(3), none)
}

#[test]
fn the_audit_log_has_the_moment_when_the_scheduler_gave_a_pod_up() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let before = Timestamp::now();
    testbed.cluster().deploy(&Workload::new("homeless", 1))?;
    let verdict = wait_for("a verdict of the scheduler", SOON, || {
        Ok(testbed
            .audit(before)?
            .into_iter()
            .find(windlass_testbed::AuditRecord::is_unschedulable))
    })?;
    assert_eq!(verdict.user, User::Scheduler.name());
    assert!(verdict.name.starts_with("homeless-"), "{verdict:?}");
    assert!(before <= verdict.received && verdict.received <= Timestamp::now());
    Ok(())
}

#[test]
fn the_api_server_comes_back_at_its_port_with_its_data() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed
        .aws()
        .create_group(&Group::new("web").sizes(0, 4, 1))?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(1, SOON)?;
    testbed.stop(Part::ApiServer);
    assert!(cluster.nodes().is_err());
    testbed.restart(Part::ApiServer)?;
    cluster.wait_for_ready_nodes(1, SOON)?;
    // Scheduler, controllers and kwok have outlived it, and work.
    cluster.deploy(&Workload::new("web", 2))?;
    cluster.wait_until_all_run("default", "web", 2, Duration::from_mins(1))?;
    assert_eq!(testbed.process_ids().len(), Part::ALL.len());
    Ok(())
}

#[test]
fn a_proxy_before_aws_records_fails_drops_and_holds() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    testbed
        .aws()
        .create_group(&Group::new("web").sizes(0, 9, 0))?;
    let proxy = testbed.proxy_aws()?;
    let aws = testbed.aws().through(&proxy);
    let set_desired = || Matcher::action("SetDesiredCapacity");
    let desired = || Ok::<_, anyhow::Error>(testbed.aws().group("web")?.desired);

    aws.set_desired("web", 1)?;
    let recorded = proxy.requests_matching(&set_desired());
    assert_eq!(recorded.len(), 1);
    assert_eq!(
        recorded[0].parameter("DesiredCapacity").as_deref(),
        Some("1")
    );
    assert_eq!(recorded[0].answer.map(|(status, _)| status), Some(200));

    proxy
        .on(set_desired(), Act::aws_error(400, "Throttling"))
        .times(1);
    let error = aws.set_desired("web", 2).unwrap_err();
    assert!(
        format!("{error:#}").contains("<Code>Throttling</Code>"),
        "{error:#}"
    );
    assert_eq!(desired()?, 1);

    proxy.on(set_desired(), Act::DropBeforeForwarding).times(1);
    assert!(aws.set_desired("web", 3).is_err());
    assert_eq!(desired()?, 1);

    proxy.on(set_desired(), Act::DropBeforeAnswering).times(1);
    assert!(aws.set_desired("web", 4).is_err());
    assert_eq!(desired()?, 4);

    proxy
        .on(set_desired(), Act::Delay(Duration::from_millis(500)))
        .times(1);
    let begun = Instant::now();
    aws.set_desired("web", 5)?;
    assert!(Duration::from_millis(500) <= begun.elapsed());

    for (at, during, verdict) in [
        (Hold::BeforeForwarding, 5, "refused"),
        (Hold::BeforeAnswering, 6, "released"),
    ] {
        let held = proxy.hold(set_desired(), at);
        std::thread::scope(|scope| -> Result<()> {
            let call = scope.spawn(|| aws.set_desired("web", 6));
            let request = held.wait(SOON)?;
            assert_eq!(request.parameter("DesiredCapacity").as_deref(), Some("6"));
            assert_eq!(desired()?, during);
            if verdict == "refused" {
                held.refuse();
            } else {
                held.release();
            }
            let answered = call.join().ok().context("the call panicked")?;
            assert_eq!(answered.is_err(), verdict == "refused");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_proxy_before_the_api_server_streams_watches_and_cuts_them() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    windlass_e2e::grant_rights(testbed)?;
    let proxy = testbed.proxy_api_server()?;
    let kubeconfig = testbed.kubeconfig_through(User::ClusterAutoscaler, &proxy)?;
    // client-go's leader election as a client that renews, watches nothing and is not ours.
    let flags = [
        "--identity=first",
        "--lease-duration=4s",
        "--renew-deadline=2s",
        "--retry-period=500ms",
    ];
    let leaderelect = |name: &str| {
        Spec::new(name, &testbed.leaderelect(), flags)
            .env("KUBECONFIG", kubeconfig.display().to_string())
    };
    let mut process = testbed.spawn(leaderelect("leaderelect"))?;
    wait_for("client-go to lead", SOON, || {
        Ok(process.log().contains("leading"))
    })?;
    let is_lease_write = Matcher::write("/leases");
    assert!(!proxy.requests_matching(&is_lease_write).is_empty());
    proxy.on(
        Matcher::all(),
        Act::kubernetes_error(503, "ServiceUnavailable"),
    );
    wait_for("client-go to give up", SOON, || {
        Ok(process.log().contains("stopped"))
    })?;
    process.stop();
    proxy.pass_all();

    // A watch through the proxy sees a change while it is open, and ends when it is cut.
    let cluster = testbed.cluster_through(&proxy)?;
    let mut watch = cluster.watch_pods("default")?;
    testbed.cluster().deploy(&Workload::new("homeless", 1))?;
    let seen = watch.next_within(SOON)?.context("the watch ended")?;
    assert_eq!(phase(&seen), "Pending");
    proxy.cut_connections();
    wait_for("the watch to end", SOON, || {
        Ok(matches!(
            watch.next_within(Duration::from_millis(200)),
            Ok(None)
        ))
    })?;
    ensure!(
        !cluster.pods("default")?.is_empty(),
        "the proxy takes new connections"
    );
    Ok(())
}
